"""Eager: torch and bertie's kernels on packed batches, without padding, in fp32, bf16 or int8, without other packages.

On CPUs one kernel runs BERT's blocks (`_fused.py`), if it can be built and the processor has the products. Otherwise
bf16 casts the encoder's weights once, and the whole encoder computes in bf16. int8 replaces its linear layers by
`Int8Linear`: 8-bit weights with a scale for each output, activations that are rounded at run time with a scale for each
token, and sums in 32 bits. Everything else stays fp32.

Shapes: T tokens, H hidden, I inputs, O outputs.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from bertie import progress
from bertie.backends._frozen import Facts
from bertie.backends._fused import shared_copy, with_fused_layers
from bertie.backends.backend import Backend, Precision, has_bf16, has_int8, under_head
from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.formats.format import Bundle
from bertie.ops.layer.kernel import Element, in_bytes
from bertie.tasks.task import TaskModel


class Eager(Backend):
    """The encoder in torch."""

    name: ClassVar[str] = "eager"

    def refusal(self, bundle: Bundle, precision: Precision) -> str:
        """Refuse int8 on devices other than CPUs."""
        if precision != "int8" or next(bundle.model.parameters()).device.type == "cpu":
            return ""
        return "int8 runs on CPUs only; use --precision bf16"

    def freeze(self, bundle: Bundle, path: Path, precision: Precision, *, hidden: bool = False) -> Facts:
        """Refuse: there is nothing to freeze.

        Raises:
            SettingsError: always.
        """
        raise SettingsError(
            "--backend eager runs the model folder as it is, in any --precision; there is nothing to export"
        )

    def prepare(self, bundle: Bundle, precision: Precision) -> TaskModel:
        """Return the model itself, or the head on a copy of the encoder in kernels or in a lower precision."""
        self.admit(bundle, precision)
        encoder = bundle.model.encoder
        if (with_kernels := with_fused_layers(encoder, _ELEMENTS[precision])) is not None:
            return under_head(with_kernels, bundle)
        if precision == "exact":
            return bundle.model.eval()
        on_cpu = next(bundle.model.parameters()).device.type == "cpu"
        if on_cpu and not (has_bf16() if precision == "bf16" else has_int8()):
            progress.warn(f"this CPU has no {precision} products: eager is many times slower in it than in fp32")
        return under_head(Lowered(encoder, precision), bundle)


_ELEMENTS: dict[Precision, Element] = {"exact": "float", "bf16": "bfloat", "int8": "byte"}


class Lowered(nn.Module):
    """A copy of an encoder that computes in a lower precision with torch's products and returns vectors in fp32.

    Args:
        encoder: is not changed.
        precision: of the copy.
    """

    def __init__(self, encoder: nn.Module, precision: Literal["bf16", "int8"]) -> None:
        super().__init__()
        self.config: Any = encoder.config
        if precision == "bf16":
            self.encoder = copy.deepcopy(encoder).to(torch.bfloat16)
        else:
            self.encoder = shared_copy(encoder)
            _lower(self.encoder)

    def forward(self, batch: Batch, noise: None = None) -> Tensor:
        """Map a packed batch to (T, H)."""
        hidden: Tensor = self.encoder(batch, noise)
        return hidden.float()


def _lower(module: nn.Module) -> None:
    """Replace every linear layer inside a module by `Int8Linear`."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child))
        else:
            _lower(child)


class Int8Linear(nn.Module):
    """x W^T + b with products of 8-bit integers.

    Args:
        linear: (O, I) in fp32.
    """

    matrix: Tensor
    scales: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        rounded, scales = in_bytes(linear.weight.detach().float())
        self.register_buffer("matrix", rounded.t().contiguous())  # (I, O)
        self.register_buffer("scales", scales)  # (O,)
        self.bias = linear.bias

    def forward(self, values: Tensor) -> Tensor:
        """Map (T, I) to (T, O) in fp32."""
        largest = torch.linalg.vector_norm(values, math.inf, 1, keepdim=True).clamp_min_(_MIN_SCALE)  # (T, 1)
        rounded = torch.mul(values, 127.0 / largest).round_().to(torch.int8)
        # The sums are 32-bit integers; the operations below read them once and write in place.
        sums = torch._int_mm(rounded, self.matrix).float().mul_(largest.div_(127.0))  # (T, O)
        return sums.mul_(self.scales) if self.bias is None else torch.addcmul(self.bias, sums, self.scales)

    def extra_repr(self) -> str:
        """Return the sizes for the printed module."""
        return f"in_features={self.matrix.shape[0]}, out_features={self.matrix.shape[1]}"


_MIN_SCALE = 1e-30  # avoids a division by 0 for a row of zeros

BACKEND = Eager
