"""Write token by token: greedy, beam search, sampling; many items at once over one cache, each until it is done.

Beam search keeps the K best unfinished and the K best finished texts. A text's score is the sum of its
log-probabilities divided by its length (the end token counts) to the power of `length_penalty`; an item is done when
its best unfinished text, at its present length, is no better than its worst finished one. Those are the rules that
transformers' `generate` follows by default, and a test holds them equal. Samples come from streams keyed by the seed
and the source's tokens, so that neither company nor order changes them.

Shapes: I items, K rows an item, R = I x K rows, L tokens so far, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.nn.cache import Cache
from bertie.nn.dropout import mix64

_NEVER = -1e9
_Nameless = tuple[int | None, tuple[int, ...]]
"""Ids without a piece: those from a number on, and single ones below it."""


@dataclass(frozen=True)
class Search:
    """How to write."""

    num_beams: int = 1
    """Texts kept at each step; 1 is greedy."""
    max_new_tokens: int = 64
    """Tokens of the longest text, its end included."""
    min_new_tokens: int = 0
    """Tokens before the end may come."""
    length_penalty: float = 1.0
    """Above 0 favours long texts, below 0 short ones; for beams."""
    no_repeat_ngram: int = 0
    """No run of so many tokens comes twice in a text; 0 for no such rule."""
    num_texts: int = 1
    """Texts of each item: the best beams, or as many samples."""
    sample: bool = False
    """Draw each token instead of taking the likeliest."""
    temperature: float = 1.0
    """Below 1 sharpens what is drawn from, above 1 flattens it."""
    top_k: int = 0
    """Draw from so many likeliest tokens only; 0 from all."""
    top_p: float = 1.0
    """Draw from the likeliest tokens that have this probability together."""
    seed: int = 0
    """Of the samples."""

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
            raise SettingsError(f"samples are drawn one by one, without beams; got num_beams {self.num_beams}")
        if not self.sample and (self.temperature, self.top_k, self.top_p) != (1.0, 0, 1.0):
            raise SettingsError("temperature, top_k and top_p change what is drawn; say sample=true too")
        if not self.sample and self.num_texts > self.num_beams:
            raise SettingsError(f"{self.num_texts} texts of an item need as many beams; got num_beams {self.num_beams}")


class Writer(Protocol):
    """What writes: a decoder over a source, or an encoder that goes on with texts."""

    @property
    def max_positions(self) -> int:
        """Tokens of the longest text."""

    def begin(self, memory: Tensor, source: Batch, rows_per_item: int = 1) -> Cache:
        """Look at the source once, and return a cache with K rows for each sequence of it."""

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        """Read one more token (R,) in every row, and return what comes next, (R, V) logits, and the longer cache."""


@dataclass(frozen=True)
class Written:
    """One text that was written for an item."""

    tokens: tuple[int, ...]
    """Without start, and without end."""
    ended: bool
    """Whether it came to its end before `max_new_tokens`."""
    log_probability: float
    """Mean over its tokens, the end included."""
    score: float
    """What it was ranked by: that mean, for beams the sum by the length penalty."""


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
    """Write `num_texts` texts for every sequence of `source`, the best first.

    Args:
        writer: in evaluation mode.
        memory: the encoder's hidden vectors of `source`.
        source: I sequences.
        search: how.
        start: id that every text begins with, or (I,) such ids.
        end: id that it ends with.
        size: ids from this one on have no piece and are never written, if the writer has more.
        gaps: ids below it without a piece.

    Raises:
        SettingsError: texts longer than the writer's positions, or more beams than the vocabulary allows.
    """
    if search.max_new_tokens > writer.max_positions:
        raise SettingsError(
            f"max_new_tokens {search.max_new_tokens} is more than the decoder's {writer.max_positions} positions"
        )
    firsts = torch.as_tensor(start, device=memory.device).expand(len(source))
    nameless = (size, tuple(gaps))
    if search.num_beams > 1:
        return _Beams(writer, memory, source, search, firsts, end, nameless).run()
    return _one_by_one(writer, memory, source, search, firsts, end, nameless)


def _one_by_one(
    writer: Writer, memory: Tensor, source: Batch, search: Search, firsts: Tensor, end: int, nameless: _Nameless
) -> list[list[Written]]:
    """Go on with the likeliest token of each row, or with one that is drawn."""
    texts_each = search.num_texts if search.sample else 1
    keys = _sample_keys(source, texts_each, search.seed) if search.sample else []
    cache = writer.begin(memory, source, texts_each)
    num_rows = len(source) * texts_each
    tokens = firsts.repeat_interleave(texts_each)[:, None]  # (R, L)
    sums = torch.zeros(num_rows, device=memory.device)
    ended = torch.zeros(num_rows, dtype=torch.bool, device=memory.device)
    alive = torch.arange(len(source), device=memory.device)  # items that still write
    found: list[list[Written]] = [[] for _ in range(len(source))]
    for number in range(1, search.max_new_tokens + 1):
        logits, cache = writer.step(tokens[:, -1], cache)
        logits = _ruled(logits.float(), tokens, search, end, number)
        shares = logits.log_softmax(1)
        logits = _named(logits, nameless)
        chosen = _draw(logits, search, keys, number) if search.sample else logits.argmax(1)
        gained = shares.gather(1, chosen[:, None])[:, 0]
        sums += torch.where(ended, 0.0, gained)
        tokens = torch.cat([tokens, torch.where(ended, end, chosen)[:, None]], dim=1)
        ended = ended | (chosen == end)
        done = ended.view(-1, texts_each).all(1) | (number == search.max_new_tokens)  # (items,)
        if not bool(done.any()):
            continue
        rows = zip(tokens.tolist(), sums.tolist(), strict=True)
        written = [_finish(row[1:], end, total) for row, total in rows]
        for place in done.nonzero().flatten().tolist():
            texts = written[place * texts_each : (place + 1) * texts_each]
            found[int(alive[place])] = sorted(texts, key=lambda text: -text.score) if search.sample else texts
        left = (~done).nonzero().flatten()
        if len(left) == 0:
            break
        kept = (left[:, None] * texts_each + torch.arange(texts_each, device=left.device)).flatten()
        cache, alive = cache.keep(left), alive[left]
        tokens, sums, ended = tokens[kept], sums[kept], ended[kept]
        keys = [keys[row] for row in kept.tolist()] if search.sample else keys
    return found


def _finish(tokens: Sequence[int], end: int, total: float) -> Written:
    """Cut a row at its end."""
    place = tokens.index(end) if end in tokens else len(tokens)
    length = min(len(tokens), place + 1)
    mean = total / length
    return Written(tuple(tokens[:place]), place < len(tokens), mean, mean)


def _ruled(scores: Tensor, tokens: Tensor, search: Search, end: int, number: int) -> Tensor:
    """Forbid, in (R, V) scores of token `number` (from 1), the end before its time and runs that were there already."""
    if number <= search.min_new_tokens:
        scores[:, end] = -math.inf
    size = search.no_repeat_ngram
    if size and tokens.shape[1] >= size:
        runs = tokens.unfold(1, size, 1)  # (R, runs, size)
        tail = tokens[:, tokens.shape[1] - size + 1 :]  # (R, size - 1)
        again = (runs[:, :, :-1] == tail[:, None]).all(2)
        rows, places = again.nonzero(as_tuple=True)
        scores[rows, runs[rows, places, -1]] = -math.inf
    return scores


def _named(scores: Tensor, nameless: _Nameless) -> Tensor:
    """Forbid, in (R, V) scores, what has no piece; it has its share of the probability all the same."""
    size, gaps = nameless
    if size is not None:
        scores[:, size:] = -math.inf
    if gaps:
        scores[:, list(gaps)] = -math.inf
    return scores


def _sample_keys(source: Batch, texts_each: int, seed: int) -> list[int]:
    """Key a stream for each of (R,) samples."""
    edges, tokens = source.offsets.tolist(), source.tokens.tolist()
    firsts = [mix64(seed, *tokens[start:stop]) for start, stop in pairwise(edges)]
    return [mix64(first, number) for first in firsts for number in range(texts_each)]


def _draw(logits: Tensor, search: Search, keys: Sequence[int], number: int) -> Tensor:
    """Draw a token for each of (R, V) rows: where the row's uniform number falls among its likeliest tokens."""
    ranked, order = (logits / search.temperature).sort(dim=1, descending=True, stable=True)
    if search.top_k:
        ranked = ranked[:, : search.top_k]
    shares = ranked.softmax(1).double()
    before = shares.cumsum(1) - shares
    shares = shares.masked_fill(before >= search.top_p, 0.0) if search.top_p < 1.0 else shares
    heights = shares.cumsum(1)
    uniform = [(mix64(key, number) >> 11) / 2**53 for key in keys]
    level = torch.tensor(uniform, dtype=torch.float64, device=logits.device)[:, None] * heights[:, -1:]
    place = (heights <= level).sum(1, keepdim=True)  # the first token whose height is above the level
    return order.gather(1, place.clamp(max=shares.shape[1] - 1))[:, 0]


@dataclass(eq=False)
class _Beams:
    """Beam search over items; what is done leaves, so that the tensors below shrink."""

    writer: Writer
    memory: Tensor
    source: Batch
    search: Search
    firsts: Tensor
    end: int
    nameless: _Nameless
    found: list[list[Written]] = field(default_factory=list)

    def __post_init__(self) -> None:
        items, beams, device = len(self.source), self.search.num_beams, self.memory.device
        self.found = [[] for _ in range(items)]
        self.alive = torch.arange(items, device=device)
        self.running = self.firsts[:, None, None].repeat(1, beams, 1)  # (I, K, L)
        self.sums = torch.full((items, beams), _NEVER, device=device)
        self.sums[:, 0] = 0.0  # all beams are equal yet: one of them goes on
        # Finished texts, padded with the end token, with sums of log-probabilities and scores.
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
            left = self._leave(hopeless | (number == self.search.max_new_tokens))
            if len(left) == 0:
                break
            if len(left) < len(hopeless):
                cache = cache.keep(left)
        return self.found

    def _advance(self, logits: Tensor, number: int) -> Tensor:
        """Write token `number` (from 1) in every beam, and return the (R,) rows that the new rows go on from."""
        items, beams, _ = self.running.shape
        shares = _named(logits.log_softmax(1), self.nameless)  # (R, V)
        shares = _ruled(shares, self.running.flatten(0, 1), self.search, self.end, number)
        vocabulary = shares.shape[1]
        sums, places = (self.sums[:, :, None] + shares.view(items, beams, -1)).flatten(1).topk(2 * beams)  # (I, 2K)
        parents, tokens = places // vocabulary, places % vocabulary
        texts = torch.cat([_take(self.running, parents), tokens[:, :, None]], dim=2)  # (I, 2K, L + 1)
        stops = (tokens == self.end) | (number == self.search.max_new_tokens)
        self._collect(texts, sums, stops, number)
        going = torch.where(stops, sums + _NEVER, sums).topk(beams)  # (I, K)
        self.running, self.sums = _take(texts, going.indices), going.values
        offsets = torch.arange(items, device=parents.device)[:, None] * beams
        return (parents.gather(1, going.indices) + offsets).flatten()

    def _collect(self, texts: Tensor, sums: Tensor, stops: Tensor, number: int) -> None:
        """Take what ended among the K best into the K finished texts, where it is better than they are."""
        beams = self.search.num_beams
        stops, sums = stops[:, :beams], sums[:, :beams]
        scores = sums / number**self.search.length_penalty
        spare = torch.full_like(self.texts[:, :, :1], self.end)
        merged = torch.cat([torch.cat([self.texts, spare], dim=2), texts[:, :beams]], dim=1)  # (I, 2K, L + 1)
        best = torch.cat([self.scores, torch.where(stops, scores, scores + _NEVER)], dim=1).topk(beams)
        self.scores, self.texts = best.values, _take(merged, best.indices)
        self.totals = torch.cat([self.totals, sums], dim=1).gather(1, best.indices)
        self.finished = torch.cat([self.finished, stops], dim=1).gather(1, best.indices)

    def _leave(self, done: Tensor) -> Tensor:
        """Note down the items that are done (I,), and return the places of the others."""
        if not bool(done.any()):
            return torch.arange(len(done), device=done.device)
        for place in done.nonzero().flatten().tolist():
            texts = self.texts[place, : self.search.num_texts, 1:].tolist()
            totals, scores = self.totals[place].tolist(), self.scores[place].tolist()
            self.found[int(self.alive[place])] = [
                _ranked(_finish(text, self.end, totals[rank]), scores[rank]) for rank, text in enumerate(texts)
            ]
        left = (~done).nonzero().flatten()
        for name in ("alive", "running", "sums", "texts", "scores", "totals", "finished"):
            setattr(self, name, getattr(self, name)[left])
        return left


def _ranked(text: Written, score: float) -> Written:
    return Written(text.tokens, text.ended, text.log_probability, score)


def _take(values: Tensor, places: Tensor) -> Tensor:
    """Pick (I, K', L) rows at `places` (I, K') of (I, K, L)."""
    return values.gather(1, places[:, :, None].expand(-1, -1, values.shape[2]))
