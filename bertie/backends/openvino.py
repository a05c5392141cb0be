"""OpenVINO: the encoder's ONNX graph, compiled for this CPU, in fp32 or, if the CPU has it, in bf16.

OpenVINO's int8 needs calibration on texts by another package and is not supported here.

Shapes: B sequences, S longest sequence, H hidden.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from bertie.backends.backend import (
    Backend,
    FrozenEncoder,
    Ids,
    Precision,
    check_hidden,
    has_bf16,
    sha256,
    stored_graph,
    under_head,
)
from bertie.backends.onnx import FILE, INPUTS, check_names, graph, no_graph
from bertie.formats.format import Bundle
from bertie.native import native
from bertie.tasks.task import TaskModel


class OpenVino(Backend):
    """The encoder in OpenVINO's CPU plugin."""

    name: ClassVar[str] = "openvino"
    packages: ClassVar[tuple[str, ...]] = ("openvino", "onnx")
    extra: ClassVar[str] = "openvino,onnx"

    def refusal(self, bundle: Bundle, precision: Precision) -> str:
        """Refuse int8, bf16 on a CPU without it, and encoders without a graph."""
        if precision == "int8":
            return "OpenVINO's int8 needs calibration, which bertie doesn't support"
        if precision == "bf16" and not has_bf16():
            return "this CPU has no bf16, and OpenVINO would run fp32 instead"
        return no_graph(bundle)

    def freeze(self, bundle: Bundle, path: Path, precision: Precision) -> None:
        """Write the ONNX graph in fp32; bf16 is chosen when it is compiled."""
        (path / FILE).write_bytes(graph(bundle))

    def open(self, bundle: Bundle, path: Path, precision: Precision) -> TaskModel:
        """Compile the graph."""
        import openvino

        core = openvino.Core()
        settings = {
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
            "PERFORMANCE_HINT": "LATENCY",
        }
        file = path / FILE
        content = stored_graph(file)
        with native(f"{file} can't be run"):
            model = core.read_model(content)
            inputs = [node.any_name for node in model.inputs]  # without token_type_ids if no node reads them
            check_names(inputs, [node.any_name for node in model.outputs], file)
            request = core.compile_model(model, "CPU", settings).create_infer_request()

        def run(tokens: Ids, mask: Ids, segments: Ids) -> NDArray[np.float32]:
            arrays = dict(zip(INPUTS, (tokens, mask, segments), strict=True))
            with native(f"{file} can't be run"):
                hidden = np.asarray(request.infer({name: arrays[name] for name in inputs})[0])
            check_hidden(hidden, (*tokens.shape, bundle.config.hidden_size), file)
            return cast(NDArray[np.float32], hidden)

        digest = sha256(content, precision.encode())
        return under_head(FrozenEncoder(bundle.config, run, digest), bundle)


BACKEND = OpenVino
