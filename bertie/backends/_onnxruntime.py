"""Private helper: open an ONNX graph in ONNX Runtime, on the CPU."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from bertie.backends._frozen import Ids, Session
from bertie.errors import DataError

_EXTERNAL = b"\x0a\x08location\x12"  # marks a tensor in another file in an ONNX graph


def open_session(contents: Sequence[bytes], precision: str, threads: int | None) -> Session:
    """Open the graph; its threads sleep while they wait.

    Args:
        contents: that of the .onnx file.
        precision: of the export; the graph itself has it.
        threads: number of threads; None for one a core.

    Raises:
        DataError: weights are in other files, which have no checksums.
    """
    # By default it records its use in a database in the home folder, from its import on.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    del precision
    (content,) = contents
    if _EXTERNAL in content:
        raise DataError("the graph has weights in other files, unlike bertie's exports; export the model again")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads or 0
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.log_severity_level = 4  # failures raise exceptions, so they need not be printed
    session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    outputs = tuple(node.name for node in session.get_outputs())

    def run(arrays: dict[str, Ids]) -> dict[str, NDArray[Any]]:
        return dict(zip(outputs, session.run(None, arrays), strict=True))

    return Session(tuple(node.name for node in session.get_inputs()), outputs, run)
