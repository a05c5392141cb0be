"""Rotary positions: lengths stay, products depend on distances alone, the first place turns nothing."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from bertie.nn.rotary import angles, rotate


def test_a_pair_is_turned_by_its_angle() -> None:
    values = torch.tensor([[[1.0, 0.0, 0.0, 2.0]]])  # pairs (1, 0) and (0, 2)
    turned = rotate(values, angles(torch.tensor([3]), 4, 100.0))
    slow = 3 / 100**0.5
    expected = [math.cos(3), -2 * math.sin(slow), math.sin(3), 2 * math.cos(slow)]
    torch.testing.assert_close(turned.flatten(), torch.tensor(expected))


@given(place=st.integers(0, 500), distance=st.integers(-500, 500), shift=st.integers(0, 500))
def test_products_depend_on_the_distance(place: int, distance: int, shift: int) -> None:
    draw = torch.Generator().manual_seed(1)
    query, key = torch.randn(2, 1, 1, 8, generator=draw, dtype=torch.float32)

    def product(at: int) -> float:
        turns = [angles(torch.tensor([position]), 8, 10_000.0) for position in (at, at + distance)]
        return float((rotate(query, turns[0]) * rotate(key, turns[1])).sum())

    assert abs(product(place) - product(place + shift)) < 1e-3


def test_lengths_stay_and_place_0_turns_nothing() -> None:
    values = torch.randn(5, 3, 6)
    turned = rotate(values, angles(torch.arange(5), 6, 10_000.0))
    torch.testing.assert_close(turned.norm(dim=-1), values.norm(dim=-1))
    assert torch.equal(turned[0], values[0]) and not torch.allclose(turned[1], values[1])
    assert rotate(values.bfloat16(), angles(torch.arange(5), 6, 10_000.0)).dtype == torch.bfloat16
