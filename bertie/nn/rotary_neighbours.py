"""Heads with rotary positions that begin at a token's neighbours, by the biases of queries and keys alone.

A constant query and a constant key, turned by their places, have a product that depends on the distance alone: a sum of
cosines, largest where all agree. The key's constant points one way in each pair of coordinates, and the query's is
turned ahead by as much as the wanted distance. No learned vector is needed, so a head keeps its place at any rate.

Shapes: H hidden, N heads, D head size, P pairs of coordinates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from bertie.nn.rotary import RotaryAttention

_LAYERS = 2  # from the lowest, whose heads begin at neighbours
_MARGIN = 3.0  # by which the wanted place's score lies above those of the places beside it: nine tenths of the weight
_SLOWEST = 0.03  # radians a place; slower pairs don't tell neighbours apart
_FEWEST_PAIRS = 4  # with fewer the cosines agree again a few places away


@torch.no_grad()
def turn_to_neighbours(
    attentions: Iterable[RotaryAttention], offsets: Sequence[int], base: float, generator: torch.Generator
) -> None:
    """Let heads of the lowest layers begin at neighbours.

    Args:
        attentions: of the layers from the lowest up, with biases and interleaved pairs; changed in place.
        offsets: what the heads of a layer look at, in places to the right; 0 for a head that stays as it was drawn.
            Layers of one head take turns.
        base: of the angles.
        generator: of the values and outputs, which begin large enough to be heard.
    """
    for layer, attention in enumerate(attentions):
        hidden, heads = attention.output.weight.shape[0], attention.num_heads
        deviation = 1.0 / math.sqrt(hidden)
        for weight in (attention.qkv.weight[2 * hidden :], attention.output.weight):
            torch.nn.init.trunc_normal_(weight, 0.0, deviation, -2 * deviation, 2 * deviation, generator=generator)
        if layer >= _LAYERS:
            continue
        queries, keys = (part.view(heads, -1, 2) for part in attention.qkv.bias.view(3, hidden)[:2])  # (N, D/2, 2)
        for head in range(heads):
            if offset := offsets[(head if heads > 1 else layer) % len(offsets)]:
                queries[head], keys[head] = constants(hidden // heads, offset, base)


def constants(size: int, offset: int, base: float) -> tuple[Tensor, Tensor]:
    """Work out the query and the key of a head of `size` that looks `offset` places to the right: (P, 2) each.

    Both are 0, so that all places are alike, where a head is too small to tell them apart.
    """
    turns = base ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)  # (P,)
    used = turns > _SLOWEST
    gain = (_MARGIN * math.sqrt(size) / (1.0 - turns[used].cos()).sum()).sqrt() * used
    if int(used.sum()) < _FEWEST_PAIRS:
        gain = torch.zeros_like(turns)
    ahead = turns * offset
    query, key = torch.stack([ahead.cos(), ahead.sin()], 1), torch.stack([torch.ones_like(turns), turns * 0.0], 1)
    return (query * gain[:, None]).float(), (key * gain[:, None]).float()
