"""Rotary heads that begin at neighbours: most of their weight there, by biases alone, whatever the text."""

from __future__ import annotations

import pytest
import torch

from bertie.nn.neighbours import attend_to_neighbours_by_biases, rotary_vectors
from bertie.nn.rotary import RotaryAttention, angles, rotate
from bertie.ops.attention.attend import Layout, attention_weights

BASE = 10_000.0


def attention(size: int, heads: int, *, interleaved: bool = True) -> RotaryAttention:
    made = RotaryAttention(size * heads, heads, dropout=0.0, site=0, bias=True, interleaved=interleaved)
    for parameter in made.parameters():
        torch.nn.init.zeros_(parameter)
    return made


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("offset", [-1, 1, -2, 3])
def test_a_head_looks_at_its_neighbour(size: int, offset: int, interleaved: bool) -> None:
    made = attention(size, 2, interleaved=interleaved)
    attend_to_neighbours_by_biases([made], BASE, (0, offset), torch.Generator().manual_seed(1))
    query, key, _ = made.project(torch.randn(96, 2 * size))  # query and key matrices are 0 here
    turned = [rotate(part, angles(torch.arange(96), size, BASE), interleaved=interleaved) for part in (query, key)]
    edges = torch.tensor([0, 96], dtype=torch.int32)
    (weights,) = attention_weights(turned[0], turned[1], Layout(edges, edges, 96, 96))
    inner = torch.arange(4, 92)
    assert float(weights[1, inner, inner + offset].detach().min()) > 0.85
    assert float(weights[0].detach().max()) == pytest.approx(1 / 96)  # the free head


def test_layers_and_heads_take_turns() -> None:
    layers = [attention(32, 2) for _ in range(3)]
    attend_to_neighbours_by_biases(layers, BASE, (-1, 0), torch.Generator().manual_seed(1))
    biases = [layer.qkv.bias.detach().view(3, 2, 32) for layer in layers]
    expected = [vector.view(2, 16).T.flatten() for vector in rotary_vectors(32, BASE, -1)]
    assert torch.equal(biases[0][0, 0], expected[0]) and torch.equal(biases[0][1, 0], expected[1])
    assert not biases[0][:, 1].any() and not biases[0][2].any()
    assert torch.equal(biases[1], biases[0]) and not biases[2].any()
    for layer in layers:
        assert not layer.qkv.weight[:128].any()
        for weight in (layer.qkv.weight[128:], layer.output.weight):
            assert 0.1 < float(weight.detach().std()) < 0.125
    single = [attention(32, 1) for _ in range(2)]
    attend_to_neighbours_by_biases(single, BASE, (-1, 1), torch.Generator().manual_seed(1))
    assert not torch.equal(single[0].qkv.bias, single[1].qkv.bias)
