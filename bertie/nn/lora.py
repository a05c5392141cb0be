"""LoRA: a frozen matrix and an update of low rank that learns in its place (Hu et al. 2021).

y = x W^T + bias + (alpha / r) (x A^T) B^T; A is drawn, B begins at zero, so that an adapted network begins as it was.
Merged, W + (alpha / r) B A is one matrix again and nothing is left of the adapter. A fused product has one adapter, so
its parts share A.

Shapes: T tokens, I inputs, O outputs, r rank.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from bertie.nn.linear import Linear


class LoraLinear(nn.Module):
    """A linear layer whose weights are frozen under an update of low rank.

    Args:
        plain: the layer; its parameters are taken over, under their names.
        rank: r.
        alpha: the update is multiplied with alpha / rank.
        generator: draws A, uniformly between -1/sqrt(I) and 1/sqrt(I).
    """

    def __init__(self, plain: nn.Linear, *, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        plain.requires_grad_(False)
        self.weight, self.bias = plain.weight, plain.bias
        outputs, inputs = plain.weight.shape
        first = torch.empty(rank, inputs).uniform_(-(inputs**-0.5), inputs**-0.5, generator=generator)
        self.lora_a = nn.Parameter(first.to(plain.weight))
        self.lora_b = nn.Parameter(plain.weight.new_zeros(outputs, rank))
        self.scale = alpha / rank

    def forward(self, values: Tensor) -> Tensor:
        """Map (T, I) to (T, O)."""
        update = linear(linear(values, self.lora_a), self.lora_b)
        return linear(values, self.weight, self.bias).add(update, alpha=self.scale)

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """Return the plain layer that does the same; it takes the parameters over, changed in place."""
        outputs, inputs = self.weight.shape
        plain = Linear(inputs, outputs, bias=self.bias is not None, device="meta")
        self.weight.addmm_(self.lora_b, self.lora_a, alpha=self.scale)
        plain.weight, plain.bias = self.weight, self.bias
        return plain

    def extra_repr(self) -> str:
        """Show sizes and scale in the module's print."""
        outputs, inputs = self.weight.shape
        return f"in_features={inputs}, out_features={outputs}, rank={len(self.lora_a)}, scale={self.scale}"


def adapt(
    module: nn.Module, *, rank: int, alpha: float, generator: torch.Generator, chosen: Callable[[str], bool]
) -> int:
    """Put an adapter on linear layers of `module`, in the order of their names, and return on how many.

    Args:
        module: changed in place.
        rank: of every update.
        alpha: the updates are multiplied with alpha / rank.
        generator: draws the first weights.
        chosen: tells by its name whether a layer gets one.
    """
    found = {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear) and chosen(name)}
    for name, plain in sorted(found.items()):
        _put(module, name, LoraLinear(plain, rank=rank, alpha=alpha, generator=generator))
    return len(found)


def merge(module: nn.Module) -> None:
    """Turn every adapted layer of `module` into a plain one that does the same."""
    for name, part in list(module.named_modules()):
        if isinstance(part, LoraLinear):
            _put(module, name, part.merged())


def _put(module: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    part.train(module.training)
    setattr(module.get_submodule(parent), own, part)
