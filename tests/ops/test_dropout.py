"""Dropout's hash held to the statistics of independent draws; seeds are fixed, so the figures never change."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bertie.ops.dropout.op import Dropout, Noise, attention_mask, keep_mask, mix64

CPU = torch.device("cpu")
COUNT = 1 << 18
RATES = [0.1, 0.5, 0.9]


def mask(rate: float, noise: Noise, site: int = 0, count: int = COUNT) -> Tensor:
    return keep_mask((count,), rate, noise, site, CPU)


def agreement(one: Tensor, other: Tensor, rate: float) -> float:
    """Correlation of two masks in standard deviations: normally distributed around 0 when they are independent."""
    product = (one.double() - (1 - rate)) * (other.double() - (1 - rate))
    return abs(float(product.sum())) / (rate * (1 - rate) * math.sqrt(product.numel()))


@pytest.mark.parametrize("rate", [1 / 65536, 0.01, *RATES])
def test_rate(rate: float) -> None:
    for seed in range(4):
        dropped = 1.0 - float(mask(rate, Noise(seed)).double().mean())
        assert abs(dropped - rate) < 4.5 * math.sqrt(rate * (1 - rate) / COUNT)


@pytest.mark.parametrize("rate", RATES)
def test_keys_draw_independently(rate: float) -> None:
    noises = [Noise(seed, step, micro) for seed in range(2) for step in range(3) for micro in range(2)]
    masks = [mask(rate, noise, site) for noise in noises for site in range(2)]
    pairs = [(one, other) for place, one in enumerate(masks) for other in masks[:place]]
    assert len(pairs) == 276
    assert max(agreement(one, other, rate) for one, other in pairs) < 4.5


@pytest.mark.parametrize("rate", RATES)
def test_neighbours_and_lanes_draw_independently(rate: float) -> None:
    drawn = mask(rate, Noise(3))
    lags = [*range(1, 40), 64, 128, 256, 768, 1024, 4096]
    assert max(agreement(drawn[lag:], drawn[:-lag], rate) for lag in lags) < 4.5
    assert agreement(drawn[::2], drawn[1::2], rate) < 4.5  # both draws of one hashed word


@pytest.mark.parametrize("width", [32, 256, 768])
def test_rows_and_columns_of_a_matrix_vary_as_they_should(width: int) -> None:
    drawn = mask(0.1, Noise(4))[: COUNT // width * width].view(-1, width).double()
    for axis in (0, 1):
        expected = drawn.shape[axis] * 0.1 * 0.9
        spread = float(drawn.sum(axis).var()) / expected
        assert abs(spread - 1.0) < 5 * math.sqrt(2 / drawn.shape[1 - axis])


@pytest.mark.parametrize("rate", RATES)
def test_attention_weights_draw_independently(rate: float) -> None:
    first, second = Noise(5).at(3)
    queries = torch.arange(2 * 64).view(2, 64)
    drawn = attention_mask(queries, heads=4, num_keys=48, words=24, rate=rate, first=first, second=second)
    assert drawn.shape == (2, 4, 64, 48)
    assert abs(1.0 - float(drawn.double().mean()) - rate) < 4.5 * math.sqrt(rate * (1 - rate) / drawn.numel())
    for axis in range(4):
        halves = drawn.chunk(2, dim=axis)
        assert agreement(*halves, rate) < 4.5
    assert agreement(drawn[..., ::2], drawn[..., 1::2], rate) < 4.5


def test_an_attention_weight_draws_alike_wherever_its_query_stands() -> None:
    settings = {"heads": 3, "words": 20, "rate": 0.5, "first": 7, "second": 9}
    whole = attention_mask(torch.arange(12)[None], num_keys=40, **settings)  # type: ignore[arg-type]
    part = attention_mask(torch.tensor([[5, 3]]), num_keys=16, **settings)  # type: ignore[arg-type]
    assert torch.equal(part[0], whole[0][:, [5, 3], :16])


def test_equal_keys_draw_equal_masks_of_any_shape() -> None:
    whole = mask(0.3, Noise(1, 2, 3), 4)
    assert torch.equal(whole, mask(0.3, Noise(1, 2, 3), 4))
    assert torch.equal(whole[:1001], mask(0.3, Noise(1, 2, 3), 4, 1001))  # an odd count uses one lane of its last word
    assert torch.equal(whole[:60].view(3, 4, 5), keep_mask((3, 4, 5), 0.3, Noise(1, 2, 3), 4, CPU))


def test_hash_spreads_single_bits() -> None:
    keys = {mix64(*parts) for parts in ((), (0,), (0, 0), (1,), (0, 1), (1, 0), (-1,), (1 << 63,))}
    assert len(keys) == 8 and all(0 <= key < 1 << 64 for key in keys)
    flips = [bin(mix64(5, 6) ^ mix64(5 ^ (1 << bit), 6)).count("1") for bit in range(64)]
    assert 28 < sum(flips) / 64 < 36


def test_layer_scales_what_it_keeps_and_its_gradient() -> None:
    layer, values = Dropout(0.25, site=1), torch.ones(400, 30, requires_grad=True)
    dropped = layer(values, Noise(2))
    kept = dropped != 0
    assert torch.allclose(dropped[kept], torch.tensor(1 / 0.75))
    assert abs(float(dropped.detach().mean()) - 1.0) < 0.02
    dropped.sum().backward()
    assert values.grad is not None and torch.equal(values.grad, dropped.detach())


def test_layer_rests_outside_training_and_at_rate_zero() -> None:
    values = torch.randn(5, 3)
    assert Dropout(0.5, site=0).eval()(values, Noise(1)) is values
    assert Dropout(0.0, site=0)(values, None) is values


def test_layer_without_noise_follows_torch_own_generator() -> None:
    layer, values = Dropout(0.5, site=0), torch.ones(1000)
    torch.manual_seed(11)
    first, second = layer(values, None), layer(values, None)
    torch.manual_seed(11)
    assert torch.equal(first, layer(values, None)) and not torch.equal(first, second)


def test_half_precision_keeps_its_dtype() -> None:
    dropped = Dropout(0.5, site=0)(torch.ones(1000, dtype=torch.bfloat16, requires_grad=True), Noise(1))
    assert dropped.dtype == torch.bfloat16
    assert set(dropped.tolist()) == {0.0, 2.0}
