"""ONNX: the encoder as a graph over padded batches, written by hand from its parts and run by ONNX Runtime.

The graph is written in a moment and holds operators of the ONNX standard alone, so that other programs run it too:
input_ids, attention_mask and token_type_ids (B, S) in, last_hidden_state (B, S, H) out. For int8 a layer's products are
ONNX Runtime's own operator `MatMulNBits`: weights of 8 bits and activations rounded as they come, both with a scale for
each run of 32 inputs. A scale for a whole batch, as the standard's operators have it, is faster; it would let a text's
vector depend on the texts beside it, and costs the class (mean cosine 0.992 on MiniLM-L6, against 0.9996).

Shapes: B sequences, S longest sequence, H hidden, N heads, D head size.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bertie.backends.backend import (
    Backend,
    FrozenEncoder,
    Ids,
    Precision,
    check_hidden,
    sha256,
    stored_graph,
    under_head,
)
from bertie.errors import DataError, SettingsError
from bertie.formats.format import Bundle
from bertie.models.albert import Albert
from bertie.models.bert import Bert
from bertie.native import native
from bertie.nn.block import Block
from bertie.nn.embeddings import Embeddings
from bertie.nn.feedforward import activation_function
from bertie.tasks.task import TaskModel

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "last_hidden_state"
FILE = "encoder.onnx"
BLOCK = 32
"""Inputs that share a scale in int8."""
_OPSET, _IR, _CONTRIB = 20, 10, "com.microsoft"
_MOST_BYTES = 2**31 - 2**20  # a protobuf message is smaller than 2 GiB
_ACTIVATIONS: dict[Any, tuple[str, dict[str, Any]]] = {
    activation_function("gelu"): ("Gelu", {"approximate": "none"}),
    activation_function("gelu_tanh"): ("Gelu", {"approximate": "tanh"}),
    activation_function("relu"): ("Relu", {}),
}


class Onnx(Backend):
    """The encoder in ONNX Runtime."""

    name: ClassVar[str] = "onnx"
    packages: ClassVar[tuple[str, ...]] = ("onnx", "onnxruntime")
    extra: ClassVar[str] = "onnx"

    def refusal(self, bundle: Bundle, precision: Precision) -> str:
        """Say why not: this file has no graph for the encoder, or ONNX Runtime no bf16 on CPUs."""
        if precision == "bf16":
            return "ONNX Runtime has no bf16 on CPUs"
        return no_graph(bundle)

    def freeze(self, bundle: Bundle, path: Path, precision: Precision) -> None:
        """Write the graph."""
        (path / FILE).write_bytes(graph(bundle, int8=precision == "int8"))

    def open(self, bundle: Bundle, path: Path, precision: Precision) -> TaskModel:
        """Start a session; its threads sleep while they wait, as ours do."""
        # It keeps a database of its use in the home folder from its import on, unless told not to.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        file = path / FILE
        content = stored_graph(file)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        settings.log_severity_level = 4  # what fails is raised as well, and need not be printed in red
        with native(f"{file} can't be run"):
            session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
            check_names([one.name for one in session.get_inputs()], [one.name for one in session.get_outputs()], file)

        def run(tokens: Ids, mask: Ids, segments: Ids) -> NDArray[np.float32]:
            with native(f"{file} can't be run"):
                (hidden,) = session.run([OUTPUT], dict(zip(INPUTS, (tokens, mask, segments), strict=True)))
            check_hidden(hidden, (*tokens.shape, bundle.config.hidden_size), file)
            return cast(NDArray[np.float32], hidden)

        return under_head(FrozenEncoder(bundle.config, run, sha256(content)), bundle)


def check_names(inputs: list[str], outputs: list[str], file: Path) -> None:
    """Refuse a graph with other inputs or outputs than `graph` writes.

    Raises:
        DataError: it has.
    """
    # A program may drop token_type_ids, which an encoder without segments never reads.
    if not set(INPUTS[:2]) <= set(inputs) <= set(INPUTS) or OUTPUT not in outputs:
        raise DataError(
            f"{file} takes {', '.join(inputs)} and gives {', '.join(outputs)}; bertie's graphs take "
            f"{', '.join(INPUTS)} and give {OUTPUT}: export the model again"
        )


def no_graph(bundle: Bundle) -> str:
    """Say why no graph can be written for a bundle's encoder; empty when one can."""
    encoder: Any = bundle.model.encoder
    plain = isinstance(encoder, Bert) and type(encoder).forward is Bert.forward
    if not plain or {type(part) for part in (encoder.embeddings, *encoder.blocks)} != {Embeddings, Block}:
        return f"there is no ONNX graph for encoders of the kind {bundle.architecture}"
    if bundle.task.left_to_right:
        return f"{bundle.task.name} also reads from left to right, for which there is no ONNX graph"
    weights = {id(value): value.numel() * 4 for value in encoder.parameters()}
    return "its weights are more than the 2 GiB an ONNX file holds" if sum(weights.values()) > _MOST_BYTES else ""


def graph(bundle: Bundle, *, int8: bool = False) -> bytes:
    """Write the encoder's graph.

    Args:
        bundle: of the encoder, in fp32.
        int8: whether the products of the layers are of 8-bit integers.

    Raises:
        SettingsError: there is no graph for this encoder.
    """
    if reason := no_graph(bundle):
        raise SettingsError(f"{reason}; use --backend eager")
    encoder: Any = bundle.model.encoder
    writer = _Writer(int8=int8)
    hidden = writer.embeddings(encoder.embeddings)
    hiding = writer.hiding()
    for block in encoder.blocks:
        for _ in range(encoder.num_rounds if isinstance(encoder, Albert) else 1):
            hidden = writer.block(hidden, block, hiding)
    return writer.finish(hidden, encoder.config.hidden_size)


class _Writer:
    """Collects nodes and weights; every method returns the name of what it computes.

    Args:
        int8: whether `linear` multiplies 8-bit integers.
    """

    def __init__(self, *, int8: bool) -> None:
        self._int8 = int8
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._known: dict[Any, str] = {}

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Append a node; return the name of its output, or a list of them."""
        from onnx import helper

        names = [f"{operator}_{len(self._nodes)}_{number}" for number in range(outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), names, name=names[0], **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, key: Any = None) -> str:
        """Store an array; one `key` is stored once."""
        from onnx import numpy_helper

        if key is not None and key in self._known:
            return self._known[key]
        name = f"constant_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        if key is not None:
            self._known[key] = name
        return name

    def integers(self, *values: int) -> str:
        """Store a list of numbers, such as a shape."""
        return self.constant(np.array(values, np.int64), values)

    def weight(self, value: Any) -> str:
        """Store a parameter, once however often it serves."""
        return self.constant(_array(value), id(value))

    def norm(self, hidden: str, module: Any) -> str:
        """Normalise the last axis."""
        given = self.weight(module.weight), self.weight(module.bias)
        return str(self.add("LayerNormalization", hidden, *given, axis=-1, epsilon=module.eps))

    def linear(self, hidden: str, module: nn.Linear) -> str:
        """Multiply and add the bias."""
        matrix = _array(module.weight)
        if self._int8:
            weights, scales = in_blocks(matrix)
            given = self.constant(weights, (id(module.weight), "int8")), self.constant(scales, (id(module.weight), "s"))
            sizes = {"N": matrix.shape[0], "K": matrix.shape[1], "bits": 8, "block_size": BLOCK, "accuracy_level": 4}
            product = self.add("MatMulNBits", hidden, *given, domain=_CONTRIB, **sizes)
        else:
            product = self.add("MatMul", hidden, self.constant(matrix.T, (id(module.weight), "T")))
        return product if module.bias is None else str(self.add("Add", product, self.weight(module.bias)))

    def embeddings(self, module: Embeddings) -> str:
        """Sum the tables' rows and normalise them; widen them where there is a projection."""
        assert module.position is not None
        word = self.add("Gather", self.weight(module.word.weight), "input_ids")
        first = module.first_position
        length = self.add("Shape", "input_ids", start=1, end=2)
        last = self.add("Add", length, self.integers(first))
        place = self.add("Slice", self.weight(module.position.weight), self.integers(first), last, self.integers(0))
        if module.segment is not None:
            table = self.weight(module.segment.weight)
            told = self.add("Gather", table, "token_type_ids" if module.tells_segments else self.integers(0))
            word = self.add("Add", word, told)
        hidden = self.norm(self.add("Add", word, place), module.norm)
        return hidden if module.project is None else self.linear(hidden, module.project)

    def hiding(self) -> str:
        """Turn the mask into what is added to scores: 0, or so little that nothing is left of them; (B, 1, 1, S)."""
        seen = self.add("Cast", self.add("Unsqueeze", "attention_mask", self.integers(1, 2)), to=_float())
        return str(self.add("Mul", self.add("Sub", self._number(1.0), seen), self._number(-1e9)))

    def _number(self, value: float) -> str:
        return self.constant(np.float32(value), value)

    def block(self, hidden: str, module: Any, hiding: str) -> str:
        """Write one post-norm layer."""
        seen = self.linear(self.attention(hidden, module.attention, hiding), module.attention.output)
        hidden = self.norm(self.add("Add", hidden, seen), module.attention_norm)
        operator, attributes = _ACTIVATIONS[module.feedforward.activation]
        wide = self.add(operator, self.linear(hidden, module.feedforward.up), **attributes)
        narrow = self.linear(wide, module.feedforward.down)
        return self.norm(self.add("Add", hidden, narrow), module.feedforward_norm)

    def attention(self, hidden: str, module: Any, hiding: str) -> str:
        """Write softmax(Q K^T / sqrt(D)) V."""
        size = module.qkv.in_features // module.num_heads
        fused = self.linear(hidden, module.qkv)
        query, key, value = list(self.add("Split", fused, outputs=3, axis=-1, num_outputs=3))
        heads = self.integers(0, 0, module.num_heads, size)
        query = self.add("Mul", query, self._number(1.0 / math.sqrt(size)))
        query, key, value = (
            self.add("Transpose", self.add("Reshape", part, heads), perm=order)
            for part, order in ((query, [0, 2, 1, 3]), (key, [0, 2, 3, 1]), (value, [0, 2, 1, 3]))
        )
        scores = self.add("Add", self.add("MatMul", query, key), hiding)  # (B, N, S, S)
        mixed = self.add("MatMul", self.add("Softmax", scores, axis=-1), value)
        together = self.add("Transpose", mixed, perm=[0, 2, 1, 3])
        return str(self.add("Reshape", together, self.integers(0, 0, module.num_heads * size)))

    def finish(self, hidden: str, size: int) -> bytes:
        """Name inputs and output, check the whole, and return it as a file's content."""
        from onnx import TensorProto, checker, helper

        self._nodes.append(helper.make_node("Identity", [hidden], [OUTPUT], name=OUTPUT))
        shape = ["batch", "length"]
        given = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in INPUTS]
        made = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [*shape, size])
        whole = helper.make_graph(self._nodes, "encoder", given, [made], self._weights)
        opsets = [helper.make_opsetid("", _OPSET), *([helper.make_opsetid(_CONTRIB, 1)] if self._int8 else [])]
        model = helper.make_model(whole, opset_imports=opsets, ir_version=_IR, producer_name="bertie")
        content: bytes = model.SerializeToString()
        checker.check_model(content)
        return content


def _array(value: Any) -> NDArray[np.float32]:
    return cast(NDArray[np.float32], value.detach().cpu().float().numpy())


def _float() -> int:
    from onnx import TensorProto

    return int(TensorProto.FLOAT)


def in_blocks(weight: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Round a matrix (outputs, inputs) to 8 bits, with 128 for 0 and a scale for every `BLOCK` inputs of an output.

    Returns:
        The numbers (outputs, blocks, BLOCK), and the scales, flat.
    """
    outputs, inputs = weight.shape
    blocks = -(-inputs // BLOCK)
    padded = np.zeros((outputs, blocks * BLOCK), np.float32)
    padded[:, :inputs] = weight
    runs = padded.reshape(outputs, blocks, BLOCK)
    scales = np.maximum(np.abs(runs).max(2), 1e-30) / 127.0
    return (np.round(runs / scales[..., None]) + 128).astype(np.uint8), scales.astype(np.float32).reshape(-1)


BACKEND = Onnx
