"""ONNX: encoder and head as one graph over padded batches, run by ONNX Runtime.

`_graph.py` writes the encoder and `_heads.py` the head, both from the modules' weights, into one file that holds all of
them. `_onnxruntime.py` runs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from bertie.backends._frozen import RUNTIMES, Facts, Output, sha256
from bertie.backends._graph import MAX_BYTES, Writer
from bertie.backends._heads import has_form, hidden_of, hidden_output, write_head
from bertie.backends.backend import Backend, Precision
from bertie.errors import SettingsError
from bertie.files.atomic import disk_errors
from bertie.formats.format import Bundle
from bertie.models.bert import Bert
from bertie.nn.block import Block
from bertie.nn.embeddings import Embeddings

(FILE,) = RUNTIMES["onnx"][2]


class Onnx(Backend):
    """A model in ONNX Runtime."""

    name: ClassVar[str] = "onnx"
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")
    extra: ClassVar[str] = "export"

    def refusal(self, bundle: Bundle, precision: Precision) -> str:
        """Refuse bf16, which ONNX Runtime lacks on CPUs, and encoders without a graph."""
        if precision == "bf16":
            return "ONNX Runtime has no bf16 on CPUs"
        return no_graph(bundle)

    def freezes_head(self, bundle: Bundle) -> bool:
        """Tell whether the head has a form in a graph."""
        return has_form(bundle.model.head)

    def freeze(self, bundle: Bundle, path: Path, precision: Precision, *, hidden: bool = False) -> Facts:
        """Write the graph."""
        content, inputs, outputs = graph(bundle, int8=precision == "int8", hidden=hidden)
        with disk_errors(path / FILE):
            (path / FILE).write_bytes(content)
        return Facts(self.name, precision, bundle.config.max_positions, inputs, outputs, {FILE: sha256(content)})


def no_graph(bundle: Bundle) -> str:
    """Return why no graph can be written for a bundle's encoder, as a clause; empty if one can."""
    encoder: Any = bundle.model.encoder
    plain = isinstance(encoder, Bert) and type(encoder).forward is Bert.forward
    if not plain or {type(part) for part in (encoder.embeddings, *encoder.blocks)} != {Embeddings, Block}:
        return f"bertie writes no ONNX graph for architecture {bundle.architecture}"
    if bundle.task.left_to_right:
        return f"task {bundle.task.name} needs causal attention, for which bertie writes no ONNX graph"
    sizes = {id(value): value.numel() * 4 for value in bundle.model.parameters()}
    return "its weights exceed 2 GiB, the limit of an ONNX file" if sum(sizes.values()) > MAX_BYTES else ""


def graph(
    bundle: Bundle, *, int8: bool = False, hidden: bool = False
) -> tuple[bytes, tuple[str, ...], dict[str, Output]]:
    """Return the graph of encoder and head as the content of an ONNX file, its inputs, and what its outputs hold.

    Args:
        bundle: a model in fp32.
        int8: whether products are of 8-bit integers and tables are stored in 8 bits.
        hidden: whether the graph returns the hidden vectors too.

    Raises:
        SettingsError: this encoder has no graph.
    """
    if reason := no_graph(bundle):
        raise SettingsError(f"{reason}; use --backend eager")
    encoder, head = bundle.model.encoder, bundle.model.head
    size = bundle.config.hidden_size
    writer = Writer(size, int8=int8, choices=bundle.task.takes_choices and has_form(head))
    vectors = writer.encoder(encoder)
    outputs = write_head(writer, head, vectors) if has_form(head) else hidden_output(vectors, size)
    if hidden and hidden_of(outputs) is None:
        outputs |= hidden_output(vectors, size)
    return writer.finish(outputs), writer.inputs(), {name: output for name, (_, output) in outputs.items()}


BACKEND = Onnx
