"""Heads that begin at neighbours by biases alone: most of the weight there, at any place, whatever the text."""

from __future__ import annotations

import math

import pytest
import torch

from bertie.nn.attention import Layout, attention_weights
from bertie.nn.rotary import RotaryAttention, angles, rotate
from bertie.nn.rotary_neighbours import constants, turn_to_neighbours

BASE = 10_000.0


@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("offset", [-1, 1, -2, 3])
def test_a_head_looks_at_its_neighbour(size: int, offset: int) -> None:
    query, key = (part.flatten().expand(96, 1, size) for part in constants(size, offset, BASE))
    turn = angles(torch.arange(96), size, BASE)
    edges = torch.tensor([0, 96], dtype=torch.int32)
    (weights,) = attention_weights(
        rotate(query, turn, interleaved=True), rotate(key, turn, interleaved=True), Layout(edges, edges, 96, 96)
    )
    inner = torch.arange(4, 92)
    assert float(weights[0, inner, inner + offset].min()) > 0.85


def test_heads_too_small_stay_free() -> None:
    assert not any(part.any() for part in constants(8, 1, BASE))


def test_layers_and_heads_take_turns() -> None:
    layers = [RotaryAttention(64, 2, dropout=0.0, site=0, bias=True, interleaved=True) for _ in range(3)]
    for layer in layers:
        torch.nn.init.zeros_(layer.qkv.bias)
        torch.nn.init.zeros_(layer.qkv.weight)
    turn_to_neighbours(layers, (-1, 0), BASE, torch.Generator().manual_seed(1))
    queries, keys, values = layers[0].qkv.bias.detach().view(3, 2, 32)
    query, key = constants(32, -1, BASE)
    assert torch.equal(queries[0], query.flatten()) and torch.equal(keys[0], key.flatten())
    assert not queries[1].any() and not keys[1].any() and not values.any()
    assert torch.equal(layers[1].qkv.bias, layers[0].qkv.bias) and not layers[2].qkv.bias.any()
    for layer in layers:
        assert not layer.qkv.weight[:128].any()
        assert float(layer.output.weight.detach().std()) == pytest.approx(0.88 / math.sqrt(64), rel=0.05)
    single = [RotaryAttention(32, 1, dropout=0.0, site=0, bias=True, interleaved=True) for _ in range(2)]
    for layer in single:
        torch.nn.init.zeros_(layer.qkv.bias)
    turn_to_neighbours(single, (-1, 1), BASE, torch.Generator().manual_seed(1))
    for layer, offset in zip(single, (-1, 1), strict=True):
        assert torch.equal(layer.qkv.bias.detach()[:32], constants(32, offset, BASE)[0].flatten())
