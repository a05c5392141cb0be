"""Pairs of neighbouring tokens, beside counts by a plain loop."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from bertie.corpus import pairs, spread
from bertie.corpus.pairs import count_pairs


class SomeCorpus:
    """Documents of random tokens, two sentences each."""

    def __init__(self, lengths: list[int], size: int) -> None:
        self.vocab_size, self.num_tokens = size, sum(lengths)
        self.tokens = np.random.default_rng(1).integers(0, size, self.num_tokens)
        halves = [half for length in lengths for half in (length // 2, length - length // 2)]
        self.sentence_starts = np.concatenate([[0], np.cumsum(halves)])
        self.document_offsets = np.arange(0, len(halves) + 1, 2)
        self.documents = np.repeat(np.arange(len(lengths)), lengths)

    def gather(self, starts: Any, lengths: Any) -> Any:
        return np.concatenate([self.tokens[start : start + n] for start, n in zip(starts, lengths, strict=True)])


def expected(corpus: SomeCorpus, left_out: set[int]) -> tuple[Counter[int], Counter[tuple[int, int]]]:
    kept = [place for place in range(corpus.num_tokens) if place not in left_out]
    together = [
        (int(corpus.tokens[place]), int(corpus.tokens[place + 1]))
        for place in kept
        if place + 1 < corpus.num_tokens
        and place + 1 not in left_out
        and corpus.documents[place] == corpus.documents[place + 1]
    ]
    return Counter(corpus.tokens[kept].tolist()), Counter(together)


@pytest.mark.parametrize("span", [7, 64, 1 << 16])
@pytest.mark.parametrize("without", [None, ([3, 40, 41, 190], [5, 1, 20, 11])])
@pytest.mark.parametrize("size", [9, 70_000])
def test_counts_are_those_of_a_loop(
    monkeypatch: pytest.MonkeyPatch, span: int, without: tuple[list[int], list[int]] | None, size: int
) -> None:
    monkeypatch.setattr(spread, "_PART", span)
    monkeypatch.setattr(pairs, "_AT_ONCE", 3)
    corpus: Any = SomeCorpus([30, 2, 55, 14, 99], size)
    left_out = {place for start, n in zip(*(without or ([], [])), strict=True) for place in range(start, start + n)}
    ranges = None if without is None else (np.array(without[0]), np.array(without[1]))
    found = count_pairs(corpus, without=ranges)
    tokens, together = expected(corpus, left_out)
    assert found.tokens.tolist() == [tokens[token] for token in range(size)]
    assert (np.diff(found.keys.astype(np.int64)) > 0).all()
    triples = zip(found.left.tolist(), found.right.tolist(), found.counts.tolist(), strict=True)
    assert {(left, right): count for left, right, count in triples} == dict(together)
    for token in corpus.tokens[:9].tolist():
        behind = slice(*found.by_left[token : token + 2])
        assert set(found.right[behind].tolist()) == {right for left, right in together if left == token}
        before = found.order[slice(*found.by_right[token : token + 2])]
        assert set(found.left[before].tolist()) == {left for left, right in together if right == token}
    some = np.array([(left, right) for left in range(9) for right in range(9)])
    assert found.of(some[:, 0], some[:, 1]).tolist() == [together[left, right] for left, right in some.tolist()]


def test_a_long_corpus_is_read_in_parts_from_all_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "_PART", 10)
    corpus: Any = SomeCorpus([1000], 50)
    corpus.tokens = np.arange(1000) // 20  # twenty of each
    found = count_pairs(corpus, most=200)
    assert found.tokens.sum() == 200 and found.tokens.max() == 10
    assert np.convolve(found.tokens > 0, np.ones(4))[3:-3].min() > 0  # no gap of four tokens
    assert found.counts.sum() == 200 - 1  # all but the corpus's first token stand behind one that was looked at


def test_nothing_is_left() -> None:
    corpus: Any = SomeCorpus([8], 5)
    found = count_pairs(corpus, without=(np.array([0]), np.array([8])))
    assert not found.tokens.any() and len(found.keys) == 0
    assert found.of(np.array([1]), np.array([2])).tolist() == [0]
