"""OpenVINO: encoder and head as one graph in OpenVINO's own format, compiled for this CPU when it is opened.

It runs in fp32 or, if the CPU has it, in bf16. OpenVINO's int8 needs calibration on texts by another package and is not
supported here. `_openvino.py` runs the graph.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from bertie.backends._frozen import RUNTIMES, Facts, sha256
from bertie.backends._heads import has_form
from bertie.backends.backend import Backend, Precision, has_bf16
from bertie.backends.onnx import graph, no_graph
from bertie.files.atomic import disk_errors
from bertie.formats.format import Bundle
from bertie.untrusted import read_bytes

FILES = RUNTIMES["openvino"][2]


class OpenVino(Backend):
    """A model in OpenVINO's CPU plugin."""

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

    def freezes_head(self, bundle: Bundle) -> bool:
        """Tell whether the head has a form in a graph."""
        return has_form(bundle.model.head)

    def freeze(self, bundle: Bundle, path: Path, precision: Precision, *, hidden: bool = False) -> Facts:
        """Write the graph in fp32; bf16 is chosen when it is compiled."""
        import openvino

        content, inputs, outputs = graph(bundle, hidden=hidden)
        with disk_errors(path):
            openvino.save_model(openvino.Core().read_model(content), path / FILES[0], compress_to_fp16=False)
        sums = {name: sha256(read_bytes(path / name, limit=2**31)) for name in FILES}
        return Facts(self.name, precision, bundle.config.max_positions, inputs, outputs, sums)


BACKEND = OpenVino
