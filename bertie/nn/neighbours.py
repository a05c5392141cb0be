"""Attention heads that begin at a token's neighbours, as first weights; the architecture stays as it is.

A masked language model of the usual first weights sits for millions of tokens on a plateau, where it says the commonest
word everywhere, until its attention has found the tokens beside a [MASK]. Heads that look there from the start have no
such plateau.

With learned positions, some columns of the table of positions begin as sines and cosines of the place. A head whose
queries are those columns turned by one place, and whose keys are the columns as they are, looks at the token one place
away. With rotary positions two constant vectors do the same, which are biases where an architecture has them.

Shapes: V vocabulary, E width of the tables, H hidden, N heads, D head size, P pairs of columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from bertie.nn.block import SelfAttention
from bertie.nn.embeddings import Embeddings, WordEmbeddings
from bertie.nn.relative import RelativeVectors
from bertie.nn.rotary import RotaryAttention

LAYERS = 2
"""Layers, from the lowest, whose heads begin at neighbours."""
_SHARPNESS = 18.0  # how far the score of the neighbour lies above that of a far token
_AMPLITUDE = 1.5  # of the sines and cosines, in standard deviations of the word vectors
_DAMPED = 0.3  # what is left of other draws where positions, queries and keys are set
_MOST_PAIRS = 32
_CONSTANT = 4.0  # in standard deviations of a word's vector
_GAP = 3.0  # by how much a rotary head's score of the neighbour lies above that of the token next to it
_SLOWEST = 0.03  # radians a place below which a rotary pair tells no neighbours apart
_TRIALS = 256
_CLEAR = 0.3  # weight by which keys read the vectors of distances; they read words by the same


def pairs_of(width: int) -> int:
    """Return how many pairs of columns of a table so wide tell positions: a quarter of its columns, 64 at most."""
    return min(_MOST_PAIRS, max(width // 8, int(width >= 4)))


@dataclass(frozen=True, eq=False)
class Places:
    """How hidden vectors tell where a token stands: by pairs of columns, the sine and the cosine of its place."""

    sines: Tensor
    """(P,) columns."""
    cosines: Tensor
    """(P,) columns."""
    turns: Tensor
    """(P,) radians a place."""
    amplitude: float
    """Of sines and cosines."""

    def some(self, count: int) -> Places:
        """Keep at most `count` pairs, evenly spread over the frequencies."""
        total = len(self.turns)
        if count >= total:
            return self
        kept = torch.arange(count) * total // max(1, count)
        return Places(self.sines[kept], self.cosines[kept], self.turns[kept], self.amplitude)


@cache
def frequencies(count: int) -> Tensor:
    """Choose (count,) radians a place whose cosines add up at distance 0 and nowhere else as far as sequences reach.

    The best of some draws from a fixed seed, one frequency in each of `count` equal parts of the circle's half.
    """
    if count == 0:
        return torch.zeros(0, dtype=torch.float64)
    reach = min(512, 8 * count * count)
    draw = torch.Generator().manual_seed(0)
    steps = torch.rand(_TRIALS, count, generator=draw, dtype=torch.float64)
    trials = (steps + torch.arange(count)) * math.pi / count
    distances = torch.arange(1, reach + 1, dtype=torch.float64)
    echoes = (trials[:, None, :] * distances[:, None]).cos().mean(-1).amax(1)
    return trials[echoes.argmin()]


@torch.no_grad()
def mark_places(embeddings: Embeddings, *, deviation: float) -> None:
    """Let the last columns of the tables tell where a token stands.

    Args:
        embeddings: with word vectors that are set already; changed in place.
        deviation: standard deviation of the word vectors.
    """
    assert embeddings.position is not None
    table = embeddings.position.weight
    count = pairs_of(table.shape[1])
    table.zero_()
    if embeddings.segment is not None:
        embeddings.segment.weight.zero_()  # it is learned soon, and until then it blurs words and places
    if count == 0:
        return
    turns = torch.arange(len(table), dtype=torch.float64)[:, None] * frequencies(count)  # (positions, P)
    table[:, -2 * count :] = torch.cat([turns.sin(), turns.cos()], 1).to(table.dtype) * (_AMPLITUDE * deviation)
    embeddings.word.weight[:, -2 * count :] *= _DAMPED


@torch.no_grad()
def look_beside(
    embeddings: Embeddings, attentions: Iterable[SelfAttention], offsets: Sequence[int], generator: torch.Generator
) -> None:
    """Let heads of the lowest layers begin at neighbours, where positions are learned.

    Args:
        embeddings: whose places are marked; their projection, if there is one, is set to carry the marks.
        attentions: of the layers from the lowest up.
        offsets: what the heads of a layer look at, in places to the right; 0 for a head that stays as it was drawn.
            Layers of one head take turns.
        generator: of the values and outputs, which begin large enough to be heard.
    """
    places = _told(embeddings, generator)
    for layer, attention in enumerate(attentions):
        hidden = attention.output.weight.shape[0]
        for weight in (attention.qkv.weight[2 * hidden :], attention.output.weight):
            weight.copy_(_normal(weight.shape, 1.0 / math.sqrt(hidden), generator))
        known = places.some(hidden // attention.num_heads // 2)
        if layer >= LAYERS or not len(known.turns):
            continue
        # The next layer finds places in the same columns, so little is added there.
        attention.output.weight[torch.cat([places.sines, places.cosines])] *= _DAMPED
        for head in range(attention.num_heads):
            if offset := _offset(offsets, layer, head, attention.num_heads):
                _point(attention, head, offset, known)


@torch.no_grad()
def mark_constant(embeddings: WordEmbeddings) -> float:
    """Give the last column of all word vectors the same value behind the LayerNorm, and return that value.

    A layer without biases makes a fixed query or key of it. In an output matrix that is the same table it adds about as
    much to every word.

    Args:
        embeddings: with word vectors that are set already; changed in place.
    """
    table = embeddings.word.weight
    width = table.shape[1]
    if width < 2:
        return 0.0
    rest = table[:, :-1] - table[:, :-1].mean(1, keepdim=True)
    table[:, :-1] = rest
    spread = rest.square().mean(1).sqrt()
    table[:, -1] = _CONSTANT * spread
    mean = _CONSTANT / width
    return (_CONSTANT - mean) / math.sqrt((width - 1 + _CONSTANT**2) / width - mean * mean)


@torch.no_grad()
def look_beside_by_rotation(
    blocks: Iterable[Any], thetas: Sequence[float], offsets: Sequence[int], constant: float, generator: torch.Generator
) -> None:
    """Let heads of the lowest layers begin at neighbours, where positions are rotary and there are no biases.

    Args:
        blocks: with `attention` and `feedforward.down`, from the lowest up.
        thetas: their rotary bases.
        offsets: as in `look_beside`.
        constant: the value that `mark_constant` gave the last column.
        generator: of the values and outputs.
    """
    for layer, (block, theta) in enumerate(zip(blocks, thetas, strict=True)):
        if layer >= LAYERS or constant == 0.0:
            break
        attention, hidden = block.attention, block.attention.output.weight.shape[0]
        for weight in (attention.qkv.weight[2 * hidden :], attention.output.weight):
            weight.copy_(_normal(weight.shape, 1.0 / math.sqrt(hidden), generator))
        attention.output.weight[-1] = 0.0  # so that the constant stays one for the next layer
        block.feedforward.down.weight[-1] = 0.0
        seen = constant / math.sqrt(layer + 1)  # each layer adds about as much as there is, before the next LayerNorm
        size = hidden // attention.num_heads
        for head in range(attention.num_heads):
            if not (offset := _offset(offsets, layer, head, attention.num_heads)):
                continue
            for part, vector in enumerate(rotary_vectors(size, theta, offset)):
                rows = attention.qkv.weight[part * hidden + head * size :][:size]
                rows *= _DAMPED
                rows[:, -1] += vector / seen


@torch.no_grad()
def look_beside_by_biases(
    attentions: Iterable[RotaryAttention], theta: float, offsets: Sequence[int], generator: torch.Generator
) -> None:
    """Let heads of the lowest layers begin at neighbours, where positions are rotary and queries and keys have biases.

    Args:
        attentions: of the layers from the lowest up.
        theta: the rotary base.
        offsets: as in `look_beside`.
        generator: of the values and outputs.
    """
    for layer, attention in enumerate(attentions):
        hidden = attention.output.weight.shape[0]
        for weight in (attention.qkv.weight[2 * hidden :], attention.output.weight):
            weight.copy_(_normal(weight.shape, 1.0 / math.sqrt(hidden), generator))
        size = hidden // attention.num_heads
        for head in range(attention.num_heads if layer < LAYERS else 0):
            if not (offset := _offset(offsets, layer, head, attention.num_heads)):
                continue
            for part, vector in enumerate(rotary_vectors(size, theta, offset)):
                pairs = vector.view(2, -1).T.flatten() if attention.interleaved else vector
                attention.qkv.bias[part * hidden + head * size :][:size] = pairs


@torch.no_grad()
def look_beside_by_distances(
    relative: RelativeVectors, attentions: Iterable[SelfAttention], offsets: Sequence[int], generator: torch.Generator
) -> None:
    """Let heads of the lowest layers begin at neighbours, where the score of two tokens depends on their distance.

    The vectors of distances begin as sines and cosines, as positions do elsewhere. The bias of a head's queries is the
    vector of the distance that it looks at.

    Args:
        relative: the vectors; changed in place.
        attentions: of the layers from the lowest up.
        offsets: as in `look_beside`.
        generator: of the values and outputs.
    """
    table = relative.table.weight
    hidden = table.shape[1]
    count = pairs_of(hidden)
    turns = frequencies(count).to(table.dtype)
    angles = (relative.span - torch.arange(len(table)))[:, None] * turns  # rows count to the left
    table.zero_()
    table[:, hidden - 2 * count :] = torch.cat([angles.sin(), angles.cos()], 1)
    pairs = torch.arange(count)
    amplitude = float(relative().abs().max()) if count else 0.0
    places = Places(hidden - 2 * count + pairs, hidden - count + pairs, turns, amplitude)
    for layer, attention in enumerate(attentions):
        for weight in (attention.qkv.weight[2 * hidden :], attention.output.weight):
            weight.copy_(_normal(weight.shape, 1.0 / math.sqrt(hidden), generator))
        size = hidden // attention.num_heads
        known = places.some(size // 2)
        if layer >= LAYERS or not len(known.turns):
            continue
        for head in range(attention.num_heads):
            if offset := _offset(offsets, layer, head, attention.num_heads):
                _expect(attention, head, offset, known)


def rotary_vectors(size: int, theta: float, offset: int) -> tuple[Tensor, Tensor]:
    """Return a query and a key (D,) whose product, once they are turned, is highest for the key `offset` to the right.

    Args:
        size: D, even.
        theta: the rotary base.
        offset: places.
    """
    turns = theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)  # (D/2,)
    heard = (turns > _SLOWEST).double()
    gap = ((1.0 - turns.cos()) * heard).sum()
    height = (_GAP * math.sqrt(size) / gap).sqrt() * heard
    query = torch.cat([height * (turns * offset).cos(), height * (turns * offset).sin()])
    return query.float(), torch.cat([height, 0.0 * height]).float()


def _offset(offsets: Sequence[int], layer: int, head: int, num_heads: int) -> int:
    """Choose what a head looks at; layers of one head take turns."""
    return offsets[(head if num_heads > 1 else layer) % len(offsets)]


def _told(embeddings: Embeddings, generator: torch.Generator) -> Places:
    """Find the marks in the hidden vectors of the first layer; a projection in between is set to carry them."""
    assert embeddings.position is not None
    table = embeddings.position.weight[embeddings.first_position :]
    width, total = table.shape[1], pairs_of(table.shape[1])
    spread = (embeddings.word.weight.square().mean() + table.square().mean()).sqrt()  # what the LayerNorm divides by
    pairs = torch.arange(total)
    amplitude = float(table.abs().max() / spread.clamp_min(1e-12))
    places = Places(width - 2 * total + pairs, width - total + pairs, frequencies(total), amplitude)
    if embeddings.project is None:
        return places
    weight = embeddings.project.weight  # (H, E)
    hidden = weight.shape[0]
    places = places.some(pairs_of(hidden))
    count = len(places.turns)
    weight.copy_(_normal(weight.shape, 1.0 / math.sqrt(width), generator))
    if count == 0:
        return places
    weight[:, -2 * total :] = 0.0
    weight[-2 * count :] = 0.0
    pairs = torch.arange(count)
    sines, cosines = hidden - 2 * count + pairs, hidden - count + pairs
    weight[sines, places.sines] = weight[cosines, places.cosines] = 1.0
    return Places(sines, cosines, places.turns, amplitude)


def _point(attention: SelfAttention, head: int, offset: int, places: Places) -> None:
    """Let one head look `offset` places to the right, which is not 0."""
    hidden = attention.output.weight.shape[0]
    size, count = hidden // attention.num_heads, len(places.turns)
    gain = math.sqrt(_SHARPNESS * math.sqrt(size) / count) / places.amplitude
    cosine, sine = ((offset * places.turns).cos() * gain).float(), ((offset * places.turns).sin() * gain).float()
    query, key = (attention.qkv.weight[part * hidden + head * size :][:size] for part in (0, 1))
    query *= _DAMPED
    key *= _DAMPED
    rows = torch.arange(count)
    # sin(p + o) = sin p cos o + cos p sin o, cos(p + o) = cos p cos o - sin p sin o
    query[rows, places.sines] += cosine
    query[rows, places.cosines] += sine
    query[count + rows, places.cosines] += cosine
    query[count + rows, places.sines] -= sine
    key[rows, places.sines] += gain
    key[count + rows, places.cosines] += gain


def _expect(attention: SelfAttention, head: int, offset: int, places: Places) -> None:
    """Let one head look `offset` places to the right by the bias of its queries."""
    hidden = attention.output.weight.shape[0]
    size, count = hidden // attention.num_heads, len(places.turns)
    query, key = (attention.qkv.weight[part * hidden + head * size :][:size] for part in (0, 1))
    query *= _DAMPED
    key *= _DAMPED
    rows = torch.arange(count)
    key[rows, places.sines] += _CLEAR
    key[count + rows, places.cosines] += _CLEAR
    height = _SHARPNESS * math.sqrt(3 * size) / (count * _CLEAR * places.amplitude)
    bias = attention.qkv.bias[head * size :][:size]
    bias[rows], bias[count + rows] = height * (offset * places.turns).sin(), height * (offset * places.turns).cos()


def _normal(shape: torch.Size, deviation: float, generator: torch.Generator) -> Tensor:
    """Draw from a normal distribution cut at two deviations."""
    values = torch.empty(shape)
    torch.nn.init.trunc_normal_(values, 0.0, deviation, -2 * deviation, 2 * deviation, generator=generator)
    return values
