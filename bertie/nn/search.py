"""Generate text token by token: greedy, by beam search or by sampling, for many items at once over one cache.

Beam search keeps the K best unfinished and the K best finished texts. The score of a text is the sum of its
log-probabilities divided by its length, end token included, to the power of `length_penalty`. An item is done when its
best unfinished text, at its present length, is no better than its worst finished one. transformers' `generate` follows
the same rules by default, and a test compares the two. Samples come from streams keyed by the seed and the source's
tokens, so they depend neither on the other items nor on the order.

Shapes: I items, K rows an item, R = I x K rows, L tokens so far, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.nn.cache import Cache
from bertie.ops.dropout.op import mix64

_NEVER = -1e9
_Unnamed = tuple[int | None, tuple[int, ...]]
"""Ids without a token in the vocabulary: all from the first number on, and single ones below it."""


@dataclass(frozen=True)
class Search:
    """Settings of generation."""

    searches: ClassVar[bool] = True
    """Marks the tasks that derive from it, see `Task`."""
    num_beams: int = 1
    """Texts kept at each step; 1 is greedy."""
    max_new_tokens: int = 64
    """Tokens of the longest text, end token included."""
    min_new_tokens: int = 0
    """Tokens before the end token is allowed."""
    length_penalty: float = 1.0
    """Above 0 favours long texts, below 0 short ones; for beams."""
    no_repeat_ngram: int = 0
    """Length of the token runs that may occur only once in a text; 0 allows repetition."""
    num_texts: int = 1
    """Texts for each item: the best beams, or this many samples."""
    sample: bool = False
    """Draw each token instead of taking the likeliest."""
    temperature: float = 1.0
    """Below 1 sharpens the distribution of samples, above 1 flattens it."""
    top_k: int = 0
    """Draw from this many likeliest tokens only; 0 for all."""
    top_p: float = 1.0
    """Draw from the likeliest tokens that together have this probability."""
    seed: int = 0
    """Seed of the samples."""

    def __post_init__(self) -> None:
        for name in ("num_beams", "max_new_tokens", "num_texts"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} must be at least 1; got {getattr(self, name)}")
        for name in ("min_new_tokens", "no_repeat_ngram", "top_k"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name} must be at least 0; got {getattr(self, name)}")
        if self.min_new_tokens > self.max_new_tokens:
            raise SettingsError(
                f"min_new_tokens {self.min_new_tokens} is more than max_new_tokens {self.max_new_tokens}"
            )
        if not self.temperature > 0.0 or not 0.0 < self.top_p <= 1.0:
            raise SettingsError(
                f"temperature must be above 0 and top_p above 0 to 1; got {self.temperature} and {self.top_p}"
            )
        if self.sample and self.num_beams > 1:
            raise SettingsError(f"sampling needs num_beams 1; got {self.num_beams}")
        if not self.sample and (self.temperature, self.top_k, self.top_p) != (1.0, 0, 1.0):
            raise SettingsError("temperature, top_k and top_p apply to sampling only; set sample=true as well")
        if not self.sample and self.num_texts > self.num_beams:
            raise SettingsError(f"num_texts {self.num_texts} needs as many beams; got num_beams {self.num_beams}")


class Writer(Protocol):
    """A model that generates text: a decoder over a source, or a causal encoder that continues prompts."""

    @property
    def max_positions(self) -> int:
        """Tokens of the longest text."""

    def begin(self, memory: Tensor, source: Batch, rows_per_item: int = 1) -> Cache:
        """Read the source once, and return a cache with K rows for each of its sequences."""

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Read one more token (R,) in every row; return (R, V) logits of the next one, and the longer cache."""


@dataclass(frozen=True)
class Written:
    """A generated text of an item."""

    tokens: tuple[int, ...]
    """Without start and end token."""
    ended: bool
    """Whether the end token came within `max_new_tokens`."""
    log_probability: float
    """Mean over the tokens, end token included."""
    score: float
    """The ranking score: the mean log-probability, or for beams the sum divided by length ** length_penalty."""


def write(
    writer: Writer,
    memory: Tensor,
    source: Batch,
    search: Search,
    *,
    start: int | Tensor,
    end: int,
    size: int | None = None,
    gaps: Sequence[int] = (),
) -> list[list[Written]]:
    """Generate `num_texts` texts for every sequence of `source`, the best first.

    Args:
        writer: in evaluation mode.
        memory: the encoder's hidden vectors of `source`.
        source: I sequences.
        search: settings.
        start: id of the start token, the same for every text, or (I,) ids.
        end: id of the end token.
        size: size of the vocabulary; the writer's ids from here on have no token and are never generated.
        gaps: ids below `size` without a token.

    Raises:
        SettingsError: texts may get longer than the writer's positions.
    """
    if search.max_new_tokens > writer.max_positions:
        raise SettingsError(
            f"max_new_tokens {search.max_new_tokens} is more than the decoder's {writer.max_positions} positions"
        )
    firsts = torch.as_tensor(start, device=memory.device).expand(len(source))
    unnamed = (size, tuple(gaps))
    if search.num_beams > 1:
        return _Beams(writer, memory, source, search, firsts, end, unnamed).run()
    return _write_without_beams(writer, memory, source, search, firsts, end, unnamed)


def _write_without_beams(
    writer: Writer, memory: Tensor, source: Batch, search: Search, firsts: Tensor, end: int, unnamed: _Unnamed
) -> list[list[Written]]:
    """Continue each row with the likeliest token or with a sample."""
    texts_each = search.num_texts if search.sample else 1
    keys = _sample_keys(source, texts_each, search.seed) if search.sample else []
    cache = writer.begin(memory, source, texts_each)
    num_rows = len(source) * texts_each
    tokens = firsts.repeat_interleave(texts_each)[:, None]  # (R, L)
    sums = torch.zeros(num_rows, device=memory.device)
    ended = torch.zeros(num_rows, dtype=torch.bool, device=memory.device)
    alive = torch.arange(len(source), device=memory.device)  # items that are not done
    results: list[list[Written]] = [[] for _ in range(len(source))]
    for number in range(1, search.max_new_tokens + 1):
        logits, cache = writer.step(tokens[:, -1], cache)
        logits = _forbid(logits.float(), tokens, search, end, number)
        log_probabilities = logits.log_softmax(1)
        logits = _forbid_unnamed(logits, unnamed)
        chosen = _draw(logits, search, keys, number) if search.sample else logits.argmax(1)
        sums += torch.where(ended, 0.0, log_probabilities.gather(1, chosen[:, None])[:, 0])
        tokens = torch.cat([tokens, torch.where(ended, end, chosen)[:, None]], dim=1)
        ended = ended | (chosen == end)
        done = ended.view(-1, texts_each).all(1) | (number == search.max_new_tokens)  # (items,)
        if not bool(done.any()):
            continue
        rows = zip(tokens.tolist(), sums.tolist(), strict=True)
        written = [_finish(row[1:], end, total) for row, total in rows]
        for index in done.nonzero().flatten().tolist():
            texts = written[index * texts_each : (index + 1) * texts_each]
            results[int(alive[index])] = sorted(texts, key=lambda text: -text.score) if search.sample else texts
        remaining = (~done).nonzero().flatten()
        if len(remaining) == 0:
            break
        kept = (remaining[:, None] * texts_each + torch.arange(texts_each, device=remaining.device)).flatten()
        cache, alive = cache.keep(remaining), alive[remaining]
        tokens, sums, ended = tokens[kept], sums[kept], ended[kept]
        keys = [keys[row] for row in kept.tolist()] if search.sample else keys
    return results


def _finish(tokens: Sequence[int], end: int, total: float) -> Written:
    """Return the text of a row, cut at its end token; `total` is the sum of its log-probabilities."""
    stop = tokens.index(end) if end in tokens else len(tokens)
    length = min(len(tokens), stop + 1)
    mean = total / length
    return Written(tuple(tokens[:stop]), stop < len(tokens), mean, mean)


def _forbid(scores: Tensor, tokens: Tensor, search: Search, end: int, number: int) -> Tensor:
    """Set the (R, V) scores of token `number` (from 1) to -inf for an early end and for repeated runs."""
    if number <= search.min_new_tokens:
        scores[:, end] = -math.inf
    size = search.no_repeat_ngram
    if size and tokens.shape[1] >= size:
        runs = tokens.unfold(1, size, 1)  # (R, runs, size)
        tail = tokens[:, tokens.shape[1] - size + 1 :]  # (R, size - 1)
        repeated = (runs[:, :, :-1] == tail[:, None]).all(2)
        rows, starts = repeated.nonzero(as_tuple=True)
        scores[rows, runs[rows, starts, -1]] = -math.inf
    return scores


def _forbid_unnamed(scores: Tensor, unnamed: _Unnamed) -> Tensor:
    """Set the (R, V) scores of ids without a token to -inf; the softmax before still counts them."""
    size, gaps = unnamed
    if size is not None:
        scores[:, size:] = -math.inf
    if gaps:
        scores[:, list(gaps)] = -math.inf
    return scores


def _sample_keys(source: Batch, texts_each: int, seed: int) -> list[int]:
    """Return the key of the random stream of each of (R,) samples."""
    edges, tokens = source.offsets.tolist(), source.tokens.tolist()
    firsts = [mix64(seed, *tokens[start:stop]) for start, stop in pairwise(edges)]
    return [mix64(first, number) for first in firsts for number in range(texts_each)]


def _draw(logits: Tensor, search: Search, keys: Sequence[int], number: int) -> Tensor:
    """Draw a token (R,) from each row of (R, V) logits by the row's uniform number."""
    ranked, order = (logits / search.temperature).sort(dim=1, descending=True, stable=True)
    if search.top_k:
        ranked = ranked[:, : search.top_k]
    probabilities = ranked.softmax(1).double()
    before = probabilities.cumsum(1) - probabilities
    if search.top_p < 1.0:
        probabilities = probabilities.masked_fill(before >= search.top_p, 0.0)
    heights = probabilities.cumsum(1)
    uniform = [(mix64(key, number) >> 11) / 2**53 for key in keys]
    level = torch.tensor(uniform, dtype=torch.float64, device=logits.device)[:, None] * heights[:, -1:]
    rank = (heights <= level).sum(1, keepdim=True)  # the first token whose height is above the level
    return order.gather(1, rank.clamp(max=heights.shape[1] - 1))[:, 0]


@dataclass(eq=False)
class _Beams:
    """Beam search over items. An item that is done is dropped from all tensors below, which shrink."""

    writer: Writer
    memory: Tensor
    source: Batch
    search: Search
    firsts: Tensor
    end: int
    unnamed: _Unnamed
    results: list[list[Written]] = field(default_factory=list)

    def __post_init__(self) -> None:
        items, beams, device = len(self.source), self.search.num_beams, self.memory.device
        self.results = [[] for _ in range(items)]
        self.alive = torch.arange(items, device=device)
        self.running = self.firsts[:, None, None].repeat(1, beams, 1)  # (I, K, L)
        self.sums = torch.full((items, beams), _NEVER, device=device)
        self.sums[:, 0] = 0.0  # all beams start equal, so only the first of them counts
        # Finished texts, padded with the end token, their scores and the sums of their log-probabilities.
        self.texts = self.running.clone()
        self.scores = torch.full((items, beams), _NEVER, device=device)
        self.totals = torch.zeros(items, beams, device=device)
        self.finished = torch.zeros(items, beams, dtype=torch.bool, device=device)

    def run(self) -> list[list[Written]]:
        cache = self.writer.begin(self.memory, self.source, self.search.num_beams)
        for number in range(1, self.search.max_new_tokens + 1):
            logits, cache = self.writer.step(self.running[:, :, -1].flatten(), cache)
            cache = cache.follow(self._advance(logits.float(), number))
            hopeless = self.finished.all(1) & (
                self.sums[:, 0] / number**self.search.length_penalty <= self.scores.min(1).values
            )
            remaining = self._drop_done(hopeless | (number == self.search.max_new_tokens))
            if len(remaining) == 0:
                break
            if len(remaining) < len(hopeless):
                cache = cache.keep(remaining)
        return self.results

    def _advance(self, logits: Tensor, number: int) -> Tensor:
        """Append token `number` (from 1) to every beam; return the row (R,) that each new row continues."""
        items, beams, _ = self.running.shape
        scores = _forbid_unnamed(logits.log_softmax(1), self.unnamed)  # (R, V)
        scores = _forbid(scores, self.running.flatten(0, 1), self.search, self.end, number)
        vocabulary = scores.shape[1]
        sums, chosen = (self.sums[:, :, None] + scores.view(items, beams, -1)).flatten(1).topk(2 * beams)  # (I, 2K)
        parents, tokens = chosen // vocabulary, chosen % vocabulary
        texts = torch.cat([_take(self.running, parents), tokens[:, :, None]], dim=2)  # (I, 2K, L + 1)
        stops = (tokens == self.end) | (number == self.search.max_new_tokens)
        self._collect(texts, sums, stops, number)
        going = torch.where(stops, sums + _NEVER, sums).topk(beams)  # (I, K)
        self.running, self.sums = _take(texts, going.indices), going.values
        offsets = torch.arange(items, device=parents.device)[:, None] * beams
        return (parents.gather(1, going.indices) + offsets).flatten()

    def _collect(self, texts: Tensor, sums: Tensor, stops: Tensor, number: int) -> None:
        """Update the K best finished texts with those among the K best candidates that have ended."""
        beams = self.search.num_beams
        stops, sums = stops[:, :beams], sums[:, :beams]
        scores = sums / number**self.search.length_penalty
        spare = torch.full_like(self.texts[:, :, :1], self.end)
        merged = torch.cat([torch.cat([self.texts, spare], dim=2), texts[:, :beams]], dim=1)  # (I, 2K, L + 1)
        best = torch.cat([self.scores, torch.where(stops, scores, scores + _NEVER)], dim=1).topk(beams)
        self.scores, self.texts = best.values, _take(merged, best.indices)
        self.totals = torch.cat([self.totals, sums], dim=1).gather(1, best.indices)
        self.finished = torch.cat([self.finished, stops], dim=1).gather(1, best.indices)

    def _drop_done(self, done: Tensor) -> Tensor:
        """Record the results of the items that are done (I,), drop them, and return the indices of the others."""
        if not bool(done.any()):
            return torch.arange(len(done), device=done.device)
        for index in done.nonzero().flatten().tolist():
            texts = self.texts[index, : self.search.num_texts, 1:].tolist()
            totals, scores = self.totals[index].tolist(), self.scores[index].tolist()
            self.results[int(self.alive[index])] = [
                _ranked(_finish(text, self.end, totals[rank]), scores[rank]) for rank, text in enumerate(texts)
            ]
        remaining = (~done).nonzero().flatten()
        for name in ("alive", "running", "sums", "texts", "scores", "totals", "finished"):
            setattr(self, name, getattr(self, name)[remaining])
        return remaining


def _ranked(text: Written, score: float) -> Written:
    return Written(text.tokens, text.ended, text.log_probability, score)


def _take(values: Tensor, rows: Tensor) -> Tensor:
    """Return the rows at indices `rows` (I, K') of (I, K, L) values: (I, K', L)."""
    return values.gather(1, rows[:, :, None].expand(-1, -1, values.shape[2]))
