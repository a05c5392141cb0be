"""First weights that make attention heads attend to a token's neighbours; the architecture does not change.

With the usual first weights, a masked language model stays on a plateau for millions of tokens: it predicts the
commonest word everywhere until its attention has found the tokens next to a [MASK]. Heads that attend to neighbours
from the start skip that plateau.

With learned positions, some columns of the position table start as sines and cosines of the position. A head attends
to the token one position away if its keys are these columns and its queries are the same columns rotated by one
position. With rotary positions, a constant query and a constant key do the same. They are biases where an architecture
has biases.

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
from bertie.nn.initialize import truncated_normal
from bertie.nn.relative import RelativeVectors
from bertie.nn.rotary import RotaryAttention
from bertie.nn.similar import HEADS, attend_to_similar

LAYERS = 2
"""Number of blocks, from the lowest up, whose heads start at neighbours."""
_SHARPNESS = 18.0  # by how much the score of the neighbour exceeds that of a far token
_AMPLITUDE = 1.5  # of the sines and cosines, in standard deviations of the word vectors
_DAMPED = 0.3  # factor of the random weights where positions, queries and keys are set
_MAX_PAIRS = 32
_CONSTANT = 4.0  # in standard deviations of a word's vector
_GAP = 3.0  # by how much a rotary head's score of the neighbour exceeds that of the token next to it
_SLOWEST = 0.03  # radians a position; slower rotary pairs don't distinguish neighbours
_TRIALS = 256  # random draws of the frequencies
_CLEAR = 0.3  # weight by which keys read the vectors of distances; they read words with the same weights


def pairs_of(width: int) -> int:
    """Return the number of column pairs that hold positions in a table of this width.

    They take a quarter of its columns, at most 64.
    """
    return min(_MAX_PAIRS, max(width // 8, int(width >= 4)))


@dataclass(frozen=True, eq=False)
class Places:
    """The columns of hidden vectors that hold a token's position, as pairs of a sine and a cosine."""

    sines: Tensor
    """(P,) columns."""
    cosines: Tensor
    """(P,) columns."""
    turns: Tensor
    """(P,) frequencies, in radians a position."""
    amplitude: float
    """Largest value of the sines and cosines."""

    def some(self, count: int) -> Places:
        """Return at most `count` of the pairs, evenly spread over the frequencies."""
        total = len(self.turns)
        if count >= total:
            return self
        kept = torch.arange(count) * total // max(1, count)
        return Places(self.sines[kept], self.cosines[kept], self.turns[kept], self.amplitude)


@cache
def frequencies(count: int) -> Tensor:
    """Return (count,) frequencies, in radians a position, whose cosines add up at distance 0 only.

    They are the best of 256 random draws from a fixed seed. A draw has one frequency in each of `count` equal parts of
    the range from 0 to pi. The best draw has the lowest peak of the mean cosine over the distances that sequences have.
    """
    if count == 0:
        return torch.zeros(0, dtype=torch.float64)
    reach = min(512, 8 * count * count)
    draw = torch.Generator().manual_seed(0)
    steps = torch.rand(_TRIALS, count, generator=draw, dtype=torch.float64)
    trials = (steps + torch.arange(count)) * math.pi / count
    distances = torch.arange(1, reach + 1, dtype=torch.float64)
    peaks = (trials[:, None, :] * distances[:, None]).cos().mean(-1).amax(1)
    return trials[peaks.argmin()]


@torch.no_grad()
def mark_positions(embeddings: Embeddings, *, deviation: float) -> None:
    """Write sines and cosines of the position into the last columns of the position table.

    Args:
        embeddings: with word vectors that are already set; changed in place.
        deviation: standard deviation of the word vectors.
    """
    assert embeddings.position is not None
    table = embeddings.position.weight
    count = pairs_of(table.shape[1])
    table.zero_()
    if embeddings.segment is not None:
        embeddings.segment.weight.zero_()  # learned soon; random values would blur words and positions until then
    if count == 0:
        return
    turns = torch.arange(len(table), dtype=torch.float64)[:, None] * frequencies(count)  # (positions, P)
    table[:, -2 * count :] = torch.cat([turns.sin(), turns.cos()], 1).to(table.dtype) * (_AMPLITUDE * deviation)
    embeddings.word.weight[:, -2 * count :] *= _DAMPED


@torch.no_grad()
def attend_to_neighbours(
    embeddings: Embeddings, attentions: Iterable[SelfAttention], offsets: Sequence[int], generator: torch.Generator
) -> None:
    """Make heads of the lowest blocks attend to neighbours, where positions are learned.

    Args:
        embeddings: after `mark_positions`. A projection in them is changed so that it passes the marks on.
        attentions: of the blocks, from the lowest up.
        offsets: for each head of a block, how many positions to the right it attends; 0 keeps the head as it was drawn.
            Blocks with a single head take the offsets in turn. Where a head attends to the next token, some heads of
            the blocks above attend to similar tokens.
        generator: draws values and outputs, which start large enough to have an effect.
    """
    places = _position_columns(embeddings, generator)
    for layer, attention in enumerate(attentions):
        hidden = attention.output.weight.shape[0]
        _draw_values(attention, hidden, generator)
        known = places.some(hidden // attention.num_heads // 2)
        if layer >= LAYERS and len(places.turns):
            for head in range(min(HEADS, attention.num_heads // 2) if 1 in offsets else 0):
                attend_to_similar(attention, head, places.sines, places.cosines, places.amplitude, generator)
        if layer >= LAYERS or not len(known.turns):
            continue
        # The next block reads positions from the same columns, so this one adds little to them.
        attention.output.weight[torch.cat([places.sines, places.cosines])] *= _DAMPED
        for head in range(attention.num_heads):
            if offset := _offset(offsets, layer, head, attention.num_heads):
                _point(attention, head, offset, known)


@torch.no_grad()
def mark_constant(embeddings: WordEmbeddings) -> float:
    """Make the last element of all word vectors equal after the LayerNorm, and return its value.

    A layer without biases turns this constant into a fixed query or key. In a tied output matrix it adds about the same
    to the logit of every word.

    Args:
        embeddings: with word vectors that are already set; changed in place.
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
def attend_to_neighbours_by_rotation(
    blocks: Iterable[Any], thetas: Sequence[float], offsets: Sequence[int], constant: float, generator: torch.Generator
) -> None:
    """Make heads of the lowest blocks attend to neighbours, where positions are rotary and there are no biases.

    Args:
        blocks: with `attention` and `feedforward.down`, from the lowest up.
        thetas: their rotary bases.
        offsets: as in `attend_to_neighbours`.
        constant: the value that `mark_constant` returned.
        generator: draws values and outputs.
    """
    for layer, (block, theta) in enumerate(zip(blocks, thetas, strict=True)):
        if layer >= LAYERS or constant == 0.0:
            break
        attention, hidden = block.attention, block.attention.output.weight.shape[0]
        _draw_values(attention, hidden, generator)
        attention.output.weight[-1] = 0.0  # keeps the constant for the next block
        block.feedforward.down.weight[-1] = 0.0
        # Each block adds about as much variance as the embeddings have, and the next LayerNorm divides by the total.
        scaled = constant / math.sqrt(layer + 1)
        size = hidden // attention.num_heads
        for head in range(attention.num_heads):
            if not (offset := _offset(offsets, layer, head, attention.num_heads)):
                continue
            for part, vector in enumerate(rotary_vectors(size, theta, offset)):
                rows = attention.qkv.weight[part * hidden + head * size :][:size]
                rows *= _DAMPED
                rows[:, -1] += vector / scaled


@torch.no_grad()
def attend_to_neighbours_by_biases(
    attentions: Iterable[RotaryAttention], theta: float, offsets: Sequence[int], generator: torch.Generator
) -> None:
    """Make heads of the lowest blocks attend to neighbours, where positions are rotary and projections have biases.

    Args:
        attentions: of the blocks, from the lowest up.
        theta: the rotary base.
        offsets: as in `attend_to_neighbours`.
        generator: draws values and outputs.
    """
    for layer, attention in enumerate(attentions):
        hidden = attention.output.weight.shape[0]
        _draw_values(attention, hidden, generator)
        size = hidden // attention.num_heads
        for head in range(attention.num_heads if layer < LAYERS else 0):
            if not (offset := _offset(offsets, layer, head, attention.num_heads)):
                continue
            for part, vector in enumerate(rotary_vectors(size, theta, offset)):
                pairs = vector.view(2, -1).T.flatten() if attention.interleaved else vector
                attention.qkv.bias[part * hidden + head * size :][:size] = pairs


@torch.no_grad()
def attend_to_neighbours_by_distances(
    relative: RelativeVectors, attentions: Iterable[SelfAttention], offsets: Sequence[int], generator: torch.Generator
) -> None:
    """Let heads of the lowest layers begin at neighbours, where the score of two tokens depends on their distance.

    The vectors of distances begin as sines and cosines, as positions do elsewhere. The bias of a head's queries is the
    vector of the distance that it looks at.

    Args:
        relative: the vectors; changed in place.
        attentions: of the layers from the lowest up.
        offsets: as in `attend_to_neighbours`.
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
        _draw_values(attention, hidden, generator)
        size = hidden // attention.num_heads
        known = places.some(size // 2)
        if layer >= LAYERS or not len(known.turns):
            continue
        for head in range(attention.num_heads):
            if offset := _offset(offsets, layer, head, attention.num_heads):
                _expect(attention, head, offset, known)


def rotary_vectors(size: int, theta: float, offset: int) -> tuple[Tensor, Tensor]:
    """Return a query and a key (D,) whose rotated product is highest when the key is `offset` positions to the right.

    Args:
        size: D, even.
        theta: the rotary base.
        offset: in positions.
    """
    turns = theta ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)  # (D/2,)
    used = (turns > _SLOWEST).double()
    gap = ((1.0 - turns.cos()) * used).sum()
    height = (_GAP * math.sqrt(size) / gap).sqrt() * used
    query = torch.cat([height * (turns * offset).cos(), height * (turns * offset).sin()])
    return query.float(), torch.cat([height, 0.0 * height]).float()


def _offset(offsets: Sequence[int], layer: int, head: int, num_heads: int) -> int:
    """Return the offset of a head; blocks with a single head take the offsets in turn."""
    return offsets[(head if num_heads > 1 else layer) % len(offsets)]


def _position_columns(embeddings: Embeddings, generator: torch.Generator) -> Places:
    """Return the columns of the first block's input that hold positions; make a projection pass them on."""
    assert embeddings.position is not None
    table = embeddings.position.weight[embeddings.first_position :]
    width, total = table.shape[1], pairs_of(table.shape[1])
    spread = (embeddings.word.weight.square().mean() + table.square().mean()).sqrt()  # the divisor of the LayerNorm
    pairs = torch.arange(total)
    amplitude = float(table.abs().max() / spread.clamp_min(1e-12))
    places = Places(width - 2 * total + pairs, width - total + pairs, frequencies(total), amplitude)
    if embeddings.project is None:
        return places
    weight = embeddings.project.weight  # (H, E)
    hidden = weight.shape[0]
    places = places.some(pairs_of(hidden))
    count = len(places.turns)
    weight.copy_(truncated_normal(weight.shape, 1.0 / math.sqrt(width), generator))
    if count == 0:
        return places
    weight[:, -2 * total :] = 0.0
    weight[-2 * count :] = 0.0
    pairs = torch.arange(count)
    sines, cosines = hidden - 2 * count + pairs, hidden - count + pairs
    weight[sines, places.sines] = weight[cosines, places.cosines] = 1.0
    return Places(sines, cosines, places.turns, amplitude)


def _point(attention: SelfAttention, head: int, offset: int, places: Places) -> None:
    """Make a head attend `offset` positions to the right; `offset` is not 0."""
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


def _draw_values(attention: SelfAttention, hidden: int, generator: torch.Generator) -> None:
    """Draw the weights of values and outputs of all heads, large enough for the next layer."""
    for weight in (attention.qkv.weight[2 * hidden :], attention.output.weight):
        weight.copy_(truncated_normal(weight.shape, 1.0 / math.sqrt(hidden), generator))
