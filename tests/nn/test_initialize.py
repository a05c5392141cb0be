"""First weights: distribution, what is left at identity, and independence of the order modules were made in."""

from __future__ import annotations

import torch
from torch import nn

from bertie.nn.initialize import initialize


class Forward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(300, 400)
        self.norm = nn.LayerNorm(400)
        self.second = nn.Linear(400, 300)


class Backward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Linear(400, 300)
        self.norm = nn.LayerNorm(400)
        self.first = nn.Linear(300, 400)


def seeded(module: nn.Module, seed: int = 1) -> dict[str, torch.Tensor]:
    for parameter in module.parameters():
        nn.init.constant_(parameter, 7.0)  # every value must be written
    initialize(module, deviation=0.02, generator=torch.Generator().manual_seed(seed))
    return {name: value.detach() for name, value in module.named_parameters()}


def test_matrices_are_truncated_normal() -> None:
    weight = seeded(Forward())["first.weight"]
    assert float(weight.abs().max()) <= 0.04
    assert abs(float(weight.mean())) < 5 * 0.02 / weight.numel() ** 0.5
    assert abs(float(weight.std()) / 0.02 - 0.8796) < 0.01  # deviation of a normal cut at two deviations
    inside = float((weight.abs() < 0.02).float().mean())
    assert abs(inside - 0.6827 / 0.9545) < 0.01


def test_biases_are_zero_and_norms_at_identity() -> None:
    parameters = seeded(Forward())
    assert not any(bool(parameters[name].any()) for name in ("first.bias", "second.bias", "norm.bias"))
    assert bool((parameters["norm.weight"] == 1.0).all())


def test_order_of_making_does_not_matter_but_the_seed_does() -> None:
    one, other, third = seeded(Forward()), seeded(Backward()), seeded(Forward(), seed=2)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["first.weight"], third["first.weight"])
    assert not torch.equal(one["first.weight"].flatten()[:1000], one["second.weight"].flatten()[:1000])
