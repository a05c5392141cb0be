"""Private helper: compile a graph in OpenVINO's own format, for the CPU."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bertie.backends._frozen import Ids, Session


def open_session(contents: Sequence[bytes], precision: str, threads: int | None) -> Session:
    """Compile the graph.

    Args:
        contents: those of the .xml and the .bin file.
        precision: `bf16` or `exact`.
        threads: number of threads; None for OpenVINO's choice.
    """
    import openvino

    settings: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "PERFORMANCE_HINT": "LATENCY",
        **({"INFERENCE_NUM_THREADS": threads} if threads else {}),
    }
    graph, weights = contents
    core = openvino.Core()
    model = core.read_model(graph, weights)
    inputs, outputs = (tuple(node.any_name for node in nodes) for nodes in (model.inputs, model.outputs))
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    lock = threading.Lock()  # a request runs once at a time

    def run(arrays: dict[str, Ids]) -> dict[str, NDArray[Any]]:
        with lock:
            found = request.infer(arrays)
            return {name: np.array(found[number]) for number, name in enumerate(outputs)}

    return Session(inputs, outputs, run)
