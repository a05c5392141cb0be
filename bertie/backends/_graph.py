"""Write an encoder as an ONNX graph over padded batches, from its parts.

Its inputs are input_ids, attention_mask and, if the encoder distinguishes segments, token_type_ids. In fp32 the graph
has only operators of the ONNX standard, so other programs can run it too. In int8 the products are ONNX Runtime's
operator `MatMulNBits`: 8-bit weights, and activations that are rounded at run time, both with a scale for every 32
inputs. The standard's operators have one scale for a whole batch. They are faster, but a text's vector would depend on
the other texts of the batch, and the result misses the limit of int8: a mean cosine of 0.992 on MiniLM-L6, against
0.9996. The tables of embeddings are stored in the same form. Looking up a row multiplies its integers by its scales, in
operators of the standard.

Shapes: B sequences, S longest sequence, H hidden, N heads, D head size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import gelu, relu

from bertie.backends._frozen import INPUTS, Output
from bertie.models.albert import Albert
from bertie.nn.block import Block
from bertie.nn.embeddings import Embeddings
from bertie.nn.feedforward import activation_function
from bertie.version import VERSION

BLOCK = 32
"""Number of inputs that share a scale in int8."""
MAX_BYTES = 2**31 - 2**20
"""A protobuf message is smaller than 2 GiB."""
_OPSET, _IR, _CONTRIB = 20, 10, "com.microsoft"
_BATCH, _LENGTH = "batch_size", "sequence_length"
_ACTIVATIONS: dict[Any, tuple[str, dict[str, Any]]] = {
    activation_function("gelu"): ("Gelu", {"approximate": "none"}),
    activation_function("gelu_tanh"): ("Gelu", {"approximate": "tanh"}),
    activation_function("relu"): ("Relu", {}),
    gelu: ("Gelu", {"approximate": "none"}),
    relu: ("Relu", {}),
    torch.tanh: ("Tanh", {}),
}


class Writer:
    """Collects nodes and weights; methods return the names of their outputs.

    Args:
        size: H.
        int8: whether products are of 8-bit integers and tables are stored in 8 bits.
        choices: whether the inputs are (items, choices, S).
    """

    def __init__(self, size: int, *, int8: bool, choices: bool = False) -> None:
        self.size, self._int8, self._choices = size, int8, choices
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._known: dict[Any, str] = {}
        self._read: dict[str, str] = {}

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
        array = np.asarray(value)
        self._weights.append(numpy_helper.from_array(array if array.ndim == 0 else np.ascontiguousarray(array), name))
        if key is not None:
            self._known[key] = name
        return name

    def integers(self, *values: int) -> str:
        """Store a list of integers, such as a shape."""
        return self.constant(np.array(values, np.int64), values)

    def integer(self, value: int) -> str:
        """Store a single integer."""
        return self.constant(np.array(value, np.int64), (value, "scalar"))

    def number(self, value: float) -> str:
        """Store a number."""
        return self.constant(np.array(value, np.float32), (value, "float"))

    def weight(self, value: Any) -> str:
        """Store a parameter, once even if several nodes use it."""
        return self.constant(as_array(value), id(value))

    def input(self, name: str) -> str:
        """Return an input of the graph as (B, S)."""
        if name not in self._read:
            flat = self.add("Reshape", name, self._flat_shape()) if self._choices else name
            self._read[name] = str(flat)
        return self._read[name]

    def _flat_shape(self) -> str:
        length = self.add("Shape", INPUTS[0], start=2, end=3)
        return str(self.add("Concat", self.integers(-1), length, axis=0))

    def cast(self, value: str, kind: str) -> str:
        """Convert to an ONNX type, such as FLOAT."""
        from onnx import TensorProto

        return str(self.add("Cast", value, to=int(getattr(TensorProto, kind))))

    def norm(self, hidden: str, module: Any) -> str:
        """Normalise the last axis."""
        weights = self.weight(module.weight), self.weight(module.bias)
        return str(self.add("LayerNormalization", hidden, *weights, axis=-1, epsilon=module.eps))

    def activate(self, values: str, function: Any) -> str:
        """Apply an activation."""
        operator, attributes = _ACTIVATIONS[function]
        return str(self.add(operator, values, **attributes))

    def linear(self, hidden: str, module: nn.Linear) -> str:
        """Multiply and add the bias."""
        if self._int8:
            product = self._product_of_bytes(hidden, module.weight)
        else:
            matrix = as_array(module.weight)
            product = self.add("MatMul", hidden, self.constant(matrix.T, (id(module.weight), "T")))
        return product if module.bias is None else str(self.add("Add", product, self.weight(module.bias)))

    def small_linear(self, hidden: str, weight: Any, bias: Any) -> str:
        """Multiply by a matrix in fp32, whatever the other products are, and add the bias."""
        product = self.add("MatMul", hidden, self.constant(as_array(weight).T))
        return str(self.add("Add", product, self.constant(as_array(bias))))

    def over_vocabulary(self, rows: str, table: Any, bias: Any) -> str:
        """Multiply (M, H) by a table of embeddings, which may be stored for lookups already: (M, V)."""
        if self._int8:
            return str(self.add("Add", self._product_of_bytes(rows, table), self.weight(bias)))
        return str(self.add("Gemm", rows, self.weight(table), self.weight(bias), transB=1))

    def _product_of_bytes(self, hidden: str, weight: Any) -> str:
        sizes = {"N": weight.shape[0], "K": weight.shape[1], "bits": 8, "block_size": BLOCK, "accuracy_level": 4}
        return str(self.add("MatMulNBits", hidden, *self._in_bytes(weight), domain=_CONTRIB, **sizes))

    def _in_bytes(self, weight: Any) -> tuple[str, str]:
        """Store a matrix as integers and scales, once even if several nodes use it."""
        if (id(weight), "int8") not in self._known:
            rounded, scales = in_blocks(as_array(weight))
            self.constant(rounded, (id(weight), "int8"))
            self.constant(scales, (id(weight), "scales"))
        return self._known[id(weight), "int8"], self._known[id(weight), "scales"]

    def rows(self, table: Any, indices: str) -> str:
        """Look up rows of a table: (...) indices to (..., H)."""
        if not self._int8:
            return str(self.add("Gather", self.weight(table), indices))
        count, size = table.shape
        rounded, scales = self._in_bytes(table)
        by_row = self.add("Reshape", scales, self.integers(count, -1))
        integers = self.cast(self.add("Gather", rounded, indices), "FLOAT")  # (..., blocks, BLOCK)
        centred = self.add("Sub", integers, self.number(128.0))
        scale = self.add("Unsqueeze", self.add("Gather", by_row, indices), self.integers(-1))
        shape = self.add("Concat", self.add("Shape", indices), self.integers(-1), axis=0)
        values = self.add("Reshape", self.add("Mul", centred, scale), shape)
        if size % BLOCK:
            values = self.add("Slice", values, self.integers(0), self.integers(size), self.integers(-1))
        return str(values)

    def embeddings(self, module: Embeddings) -> str:
        """Sum the rows of the tables, normalise, and apply the projection if there is one."""
        assert module.position is not None
        ids = self.input("input_ids")
        summed = self.rows(module.word.weight, ids)
        if module.segment is not None:
            table = module.segment.weight
            told = tells_segments(module)
            segment = self.rows(table, self.input("token_type_ids")) if told else self.constant(as_array(table)[:1])
            summed = self.add("Add", summed, segment)
        hidden = self.norm(self.add("Add", summed, self._positions(module, ids)), module.norm)
        return hidden if module.project is None else self.linear(hidden, module.project)

    def _positions(self, module: Embeddings, ids: str) -> str:
        """Look up the vectors of the positions, which count from 0 or, as in RoBERTa, from the row after padding's."""
        assert module.position is not None
        padding = module.first_position - 1
        if padding >= 0:
            counted = self.cast(self.add("Not", self.add("Equal", ids, self.integer(padding))), "INT64")
            number = self.add("Mul", self.add("CumSum", counted, self.integer(1)), counted)
            return self.rows(module.position.weight, self.add("Add", number, self.integer(padding)))
        length = self.add("Squeeze", self.add("Shape", ids, start=1, end=2))
        return self.rows(module.position.weight, self.add("Range", self.integer(0), length, self.integer(1)))

    def real(self) -> str:
        """Write (B, S) numbers: 1 at tokens and 0 at padding."""
        return self.cast(self.cast(self.input("attention_mask"), "BOOL"), "FLOAT")

    def mask(self) -> str:
        """Write (B, 1, 1, S) numbers to add to scores: 0 at tokens and -1e9 at padding."""
        real = self.add("Unsqueeze", self.real(), self.integers(1, 2))
        return str(self.add("Mul", self.add("Sub", self.number(1.0), real), self.number(-1e9)))

    def encoder(self, module: Any) -> str:
        """Write a whole encoder: (B, S, H)."""
        hidden, mask = self.embeddings(module.embeddings), self.mask()
        for block in module.blocks:
            for _ in range(module.num_rounds if isinstance(module, Albert) else 1):
                hidden = self.block(hidden, block, mask)
        return hidden

    def block(self, hidden: str, module: Block, mask: str) -> str:
        """Write a post-norm block."""
        seen = self.linear(self.attention(hidden, module.attention, mask), module.attention.output)
        hidden = self.norm(self.add("Add", hidden, seen), module.attention_norm)
        wide = self.activate(self.linear(hidden, module.feedforward.up), module.feedforward.activation)
        narrow = self.linear(wide, module.feedforward.down)
        return self.norm(self.add("Add", hidden, narrow), module.feedforward_norm)

    def attention(self, hidden: str, module: Any, mask: str) -> str:
        """Write softmax(Q K^T / sqrt(D)) V."""
        size = module.qkv.in_features // module.num_heads
        fused = self.linear(hidden, module.qkv)
        query, key, value = list(self.add("Split", fused, outputs=3, axis=-1, num_outputs=3))
        heads = self.integers(0, 0, module.num_heads, size)
        query = self.add("Mul", query, self.number(1.0 / math.sqrt(size)))
        query, key, value = (
            self.add("Transpose", self.add("Reshape", part, heads), perm=order)
            for part, order in ((query, [0, 2, 1, 3]), (key, [0, 2, 3, 1]), (value, [0, 2, 1, 3]))
        )
        scores = self.add("Add", self.add("MatMul", query, key), mask)  # (B, N, S, S)
        attended = self.add("MatMul", self.add("Softmax", scores, axis=-1), value)
        by_token = self.add("Transpose", attended, perm=[0, 2, 1, 3])
        return str(self.add("Reshape", by_token, self.integers(0, 0, module.num_heads * size)))

    def inputs(self) -> tuple[str, ...]:
        """Return the names of the inputs that are read."""
        return tuple(name for name in INPUTS if name in self._read)

    def finish(self, outputs: Mapping[str, tuple[str, Output]]) -> bytes:
        """Add inputs and outputs, check the model, and return it as the content of a file.

        Args:
            outputs: the name of a value, and what it holds, by the name of the output.
        """
        from onnx import TensorProto, checker, helper

        shape = [_BATCH, "num_choices", _LENGTH] if self._choices else [_BATCH, _LENGTH]
        rows = ["rows" if self._choices else _BATCH, _LENGTH]
        shapes = {"choice": shape[:2], "sequence": rows[:1], "token": rows, "slot": rows}
        results = []
        for name, (value, output) in outputs.items():
            self._nodes.append(helper.make_node("Identity", [value], [name], name=name))
            axes: list[str | int | None] = [*shapes[output.per], *([output.width] if output.width else [])]
            results.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, axes))
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in self.inputs()]
        graph = helper.make_graph(self._nodes, "encoder", inputs, results, self._weights)
        opsets = [helper.make_opsetid("", _OPSET), *([helper.make_opsetid(_CONTRIB, 1)] if self._int8 else [])]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=_IR, producer_name="bertie", producer_version=VERSION
        )
        content: bytes = model.SerializeToString()
        checker.check_model(content)
        return content


def tells_segments(module: Embeddings) -> bool:
    """Tell whether embeddings depend on segment ids."""
    return module.segment is not None and module.tells_segments


def as_array(value: Any) -> NDArray[np.float32]:
    """Return a tensor as an array in fp32."""
    return cast(NDArray[np.float32], value.detach().cpu().float().numpy())


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
