"""ONNX: the encoder as a graph over padded batches, built from its parts and run by ONNX Runtime.

Its inputs are input_ids, attention_mask and token_type_ids (B, S), its output is last_hidden_state (B, S, H). In fp32
the graph has only operators of the ONNX standard, so other programs can run it too. In int8 the products of the blocks
are ONNX Runtime's operator `MatMulNBits`: 8-bit weights, and activations that are rounded at run time, both with a
scale for every 32 inputs. The standard's operators have one scale for a whole batch. They are faster, but a text's
vector would depend on the other texts of the batch, and the result misses the limit of int8: a mean cosine of 0.992 on
MiniLM-L6, against 0.9996.

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
"""Number of inputs that share a scale in int8."""
_OPSET, _IR, _CONTRIB = 20, 10, "com.microsoft"
_MAX_BYTES = 2**31 - 2**20  # a protobuf message is smaller than 2 GiB
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
        """Refuse bf16, which ONNX Runtime lacks on CPUs, and encoders without a graph."""
        if precision == "bf16":
            return "ONNX Runtime has no bf16 on CPUs"
        return no_graph(bundle)

    def freeze(self, bundle: Bundle, path: Path, precision: Precision) -> None:
        """Write the graph."""
        (path / FILE).write_bytes(graph(bundle, int8=precision == "int8"))

    def open(self, bundle: Bundle, path: Path, precision: Precision) -> TaskModel:
        """Start a session; its threads sleep while they wait."""
        # By default it records its use in a database in the home folder, from its import on.
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
        import onnxruntime

        file = path / FILE
        content = stored_graph(file)
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        settings.log_severity_level = 4  # failures raise exceptions, so they need not be printed
        with native(f"{file} can't be run"):
            session = onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
            inputs, outputs = ([node.name for node in nodes] for nodes in (session.get_inputs(), session.get_outputs()))
            check_names(inputs, outputs, file)

        def run(tokens: Ids, mask: Ids, segments: Ids) -> NDArray[np.float32]:
            with native(f"{file} can't be run"):
                (hidden,) = session.run([OUTPUT], dict(zip(INPUTS, (tokens, mask, segments), strict=True)))
            check_hidden(hidden, (*tokens.shape, bundle.config.hidden_size), file)
            return cast(NDArray[np.float32], hidden)

        return under_head(FrozenEncoder(bundle.config, run, sha256(content)), bundle)


def check_names(inputs: list[str], outputs: list[str], file: Path) -> None:
    """Check that a graph has the inputs and outputs that `graph` writes.

    Raises:
        DataError: it has others.
    """
    # A program may drop token_type_ids, which an encoder without segments doesn't read.
    if not set(INPUTS[:2]) <= set(inputs) <= set(INPUTS) or OUTPUT not in outputs:
        raise DataError(
            f"{file} has inputs {', '.join(inputs)} and outputs {', '.join(outputs)}; bertie's graphs have inputs "
            f"{', '.join(INPUTS)} and output {OUTPUT}: export the model again"
        )


def no_graph(bundle: Bundle) -> str:
    """Return why no graph can be written for a bundle's encoder, as a clause; empty if one can."""
    encoder: Any = bundle.model.encoder
    plain = isinstance(encoder, Bert) and type(encoder).forward is Bert.forward
    if not plain or {type(part) for part in (encoder.embeddings, *encoder.blocks)} != {Embeddings, Block}:
        return f"bertie writes no ONNX graph for architecture {bundle.architecture}"
    if bundle.task.left_to_right:
        return f"task {bundle.task.name} needs causal attention, for which bertie writes no ONNX graph"
    sizes = {id(value): value.numel() * 4 for value in encoder.parameters()}
    return "its weights exceed 2 GiB, the limit of an ONNX file" if sum(sizes.values()) > _MAX_BYTES else ""


def graph(bundle: Bundle, *, int8: bool = False) -> bytes:
    """Return the encoder's graph as the content of an ONNX file.

    Args:
        bundle: of the encoder, in fp32.
        int8: whether the blocks multiply 8-bit integers.

    Raises:
        SettingsError: this encoder has no graph.
    """
    if reason := no_graph(bundle):
        raise SettingsError(f"{reason}; use --backend eager")
    encoder: Any = bundle.model.encoder
    writer = _Writer(int8=int8)
    hidden = writer.embeddings(encoder.embeddings)
    mask = writer.mask()
    for block in encoder.blocks:
        for _ in range(encoder.num_rounds if isinstance(encoder, Albert) else 1):
            hidden = writer.block(hidden, block, mask)
    return writer.finish(hidden, encoder.config.hidden_size)


class _Writer:
    """Collects nodes and weights; methods return the names of their outputs.

    Args:
        int8: whether `linear` multiplies 8-bit integers.
    """

    def __init__(self, *, int8: bool) -> None:
        self._int8 = int8
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._known: dict[Any, str] = {}

    def add(self, operator: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """Append a node; return the name of its output, or the list of its outputs."""
        from onnx import helper

        names = [f"{operator}_{len(self._nodes)}_{number}" for number in range(outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), names, name=names[0], **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, value: Any, key: Any = None) -> str:
        """Store an array, or reuse the one that has the same `key`."""
        from onnx import numpy_helper

        if key is not None and key in self._known:
            return self._known[key]
        name = f"constant_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        if key is not None:
            self._known[key] = name
        return name

    def integers(self, *values: int) -> str:
        """Store a list of integers, such as a shape."""
        return self.constant(np.array(values, np.int64), values)

    def weight(self, value: Any) -> str:
        """Store a parameter, once even if several nodes use it."""
        return self.constant(_array(value), id(value))

    def norm(self, hidden: str, module: Any) -> str:
        """Normalise the last axis."""
        weights = self.weight(module.weight), self.weight(module.bias)
        return str(self.add("LayerNormalization", hidden, *weights, axis=-1, epsilon=module.eps))

    def linear(self, hidden: str, module: nn.Linear) -> str:
        """Multiply and add the bias."""
        matrix = _array(module.weight)
        if self._int8:
            rounded, scales = in_blocks(matrix)
            names = self.constant(rounded, (id(module.weight), "int8")), self.constant(scales, (id(module.weight), "s"))
            sizes = {"N": matrix.shape[0], "K": matrix.shape[1], "bits": 8, "block_size": BLOCK, "accuracy_level": 4}
            product = self.add("MatMulNBits", hidden, *names, domain=_CONTRIB, **sizes)
        else:
            product = self.add("MatMul", hidden, self.constant(matrix.T, (id(module.weight), "T")))
        return product if module.bias is None else str(self.add("Add", product, self.weight(module.bias)))

    def embeddings(self, module: Embeddings) -> str:
        """Sum the rows of the tables, normalise, and apply the projection if there is one."""
        assert module.position is not None
        word = self.add("Gather", self.weight(module.word.weight), "input_ids")
        first = module.first_position
        length = self.add("Shape", "input_ids", start=1, end=2)
        last = self.add("Add", length, self.integers(first))
        position = self.add("Slice", self.weight(module.position.weight), self.integers(first), last, self.integers(0))
        if module.segment is not None:
            table = self.weight(module.segment.weight)
            segment = self.add("Gather", table, "token_type_ids" if module.tells_segments else self.integers(0))
            word = self.add("Add", word, segment)
        hidden = self.norm(self.add("Add", word, position), module.norm)
        return hidden if module.project is None else self.linear(hidden, module.project)

    def mask(self) -> str:
        """Write (B, 1, 1, S) numbers to add to scores: 0 at tokens and -1e9 at padding."""
        real = self.add("Cast", self.add("Unsqueeze", "attention_mask", self.integers(1, 2)), to=_float())
        return str(self.add("Mul", self.add("Sub", self._number(1.0), real), self._number(-1e9)))

    def _number(self, value: float) -> str:
        return self.constant(np.float32(value), value)

    def block(self, hidden: str, module: Any, mask: str) -> str:
        """Write a post-norm block."""
        seen = self.linear(self.attention(hidden, module.attention, mask), module.attention.output)
        hidden = self.norm(self.add("Add", hidden, seen), module.attention_norm)
        operator, attributes = _ACTIVATIONS[module.feedforward.activation]
        wide = self.add(operator, self.linear(hidden, module.feedforward.up), **attributes)
        narrow = self.linear(wide, module.feedforward.down)
        return self.norm(self.add("Add", hidden, narrow), module.feedforward_norm)

    def attention(self, hidden: str, module: Any, mask: str) -> str:
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
        scores = self.add("Add", self.add("MatMul", query, key), mask)  # (B, N, S, S)
        attended = self.add("MatMul", self.add("Softmax", scores, axis=-1), value)
        by_token = self.add("Transpose", attended, perm=[0, 2, 1, 3])
        return str(self.add("Reshape", by_token, self.integers(0, 0, module.num_heads * size)))

    def finish(self, hidden: str, size: int) -> bytes:
        """Add inputs and output, check the model, and return it as the content of a file."""
        from onnx import TensorProto, checker, helper

        self._nodes.append(helper.make_node("Identity", [hidden], [OUTPUT], name=OUTPUT))
        shape = ["batch", "length"]
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in INPUTS]
        output = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [*shape, size])
        encoder = helper.make_graph(self._nodes, "encoder", inputs, [output], self._weights)
        opsets = [helper.make_opsetid("", _OPSET), *([helper.make_opsetid(_CONTRIB, 1)] if self._int8 else [])]
        model = helper.make_model(encoder, opset_imports=opsets, ir_version=_IR, producer_name="bertie")
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
        The integers (outputs, blocks, BLOCK), and the scales (outputs * blocks,).
    """
    outputs, inputs = weight.shape
    blocks = -(-inputs // BLOCK)
    padded = np.zeros((outputs, blocks * BLOCK), np.float32)
    padded[:, :inputs] = weight
    runs = padded.reshape(outputs, blocks, BLOCK)
    scales = np.maximum(np.abs(runs).max(2), 1e-30) / 127.0
    return (np.round(runs / scales[..., None]) + 128).astype(np.uint8), scales.astype(np.float32).reshape(-1)


BACKEND = Onnx
