"""LoRA: a frozen matrix with a trainable update of low rank (Hu et al. 2021).

y = x W^T + bias + (alpha / r) (x A^T) B^T. A starts random and B starts at zero, so an adapted network first computes
what it did without adapters. Merging replaces W by W + (alpha / r) B A and removes the adapter. The fused product of
queries, keys and values has one adapter, so the three share A.

Shapes: T tokens, I inputs, O outputs, r rank.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from bertie.ops.linear.op import Linear


class LoraLinear(nn.Module):
    """A linear layer with frozen weights and an update of low rank.

    Args:
        plain: the layer; its parameters move here and keep their names.
        rank: r.
        alpha: the update is multiplied by alpha / rank.
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
        """Return the equivalent plain layer. It takes over the parameters, which are changed in place."""
        outputs, inputs = self.weight.shape
        plain = Linear(inputs, outputs, bias=self.bias is not None, device="meta")
        self.weight.addmm_(self.lora_b, self.lora_a, alpha=self.scale)
        plain.weight, plain.bias = self.weight, self.bias
        return plain

    def extra_repr(self) -> str:
        """Return sizes and scale for the printed module."""
        outputs, inputs = self.weight.shape
        return f"in_features={inputs}, out_features={outputs}, rank={len(self.lora_a)}, scale={self.scale}"


def adapt(
    module: nn.Module, *, rank: int, alpha: float, generator: torch.Generator, chosen: Callable[[str], bool]
) -> int:
    """Put adapters on linear layers of `module`, in the order of their names, and return their number.

    Args:
        module: changed in place.
        rank: of every update.
        alpha: the updates are multiplied by alpha / rank.
        generator: draws the first weights.
        chosen: returns whether the layer of a name gets an adapter.
    """
    layers = {name: part for name, part in module.named_modules() if isinstance(part, nn.Linear) and chosen(name)}
    for name, plain in sorted(layers.items()):
        _put(module, name, LoraLinear(plain, rank=rank, alpha=alpha, generator=generator))
    return len(layers)


def merge(module: nn.Module) -> None:
    """Replace every adapted layer of `module` by the equivalent plain layer."""
    for name, part in list(module.named_modules()):
        if isinstance(part, LoraLinear):
            _put(module, name, part.merged())


def _put(module: nn.Module, name: str, part: nn.Module) -> None:
    parent, _, attribute = name.rpartition(".")
    part.train(module.training)
    setattr(module.get_submodule(parent), attribute, part)
