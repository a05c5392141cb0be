"""Pairs against the recipe, written out plainly for one document after another with the same keyed draws."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.data import plan as plans
from bertie.data.plan import Plan, pair_plan, text_plan
from bertie.data.random import integers, permutation, stream, uniform
from bertie.errors import DataError

Documents = list[list[int]]
documents = st.lists(st.lists(st.integers(1, 40), min_size=1, max_size=12), min_size=2, max_size=6)


def draw(key: Any, purpose: int, low: int, high: int) -> int:
    return int(integers(stream(key, purpose), low, high)[0])


def reference(corpus: Any, *, seed: int, epoch: int, length: int) -> list[tuple[int, ...]]:
    """Walk each document as the original script does; (a_start, a, b_start, b, label) before truncation."""
    starts, edges, most = corpus.sentence_starts, corpus.document_offsets, length - 3
    found = []
    for number in range(corpus.num_documents):
        own = stream(seed, epoch, [number])
        short = uniform(stream(own, plans._SHORT))[0] < 0.1
        target = draw(own, plans._TARGET, 2, most + 1) if short else most
        place, chunk = int(edges[number]), 0
        while place < edges[number + 1]:
            key = stream(own, chunk + 16)
            stop = place
            while stop < edges[number + 1] and (stop == place or starts[stop] - starts[place] < target):
                stop += 1
            count = stop - place
            cut = draw(key, plans._CUT, 1, count) if count > 1 else 1
            a = starts[place + cut] - starts[place]
            if count == 1 or uniform(stream(key, plans._COIN))[0] < 0.5:
                other = draw(key, plans._PARTNER, 0, corpus.num_documents - 1)
                other += other >= number
                first = draw(key, plans._START, int(edges[other]), int(edges[other + 1]))
                last = first
                while last < edges[other + 1] and (last == first or starts[last] - starts[first] < target - a):
                    last += 1
                found.append((starts[place], a, starts[first], starts[last] - starts[first], 1, count, chunk, number))
                place += cut
            else:
                b_start = starts[place + cut]
                found.append((starts[place], a, b_start, starts[stop] - b_start, 0, count, chunk, number))
                place = stop
            chunk += 1
    return [tuple(int(value) for value in row) for row in found]


def in_order(plan: Plan, *, seed: int, epoch: int) -> list[int]:
    """Return, for each instance in the order it was made, its place in the plan."""
    return np.argsort(permutation(seed, epoch, len(plan))).tolist()


@settings(max_examples=150, deadline=None)
@given(lengths=documents, seed=st.integers(0, 9), length=st.integers(8, 64))
def test_equals_the_recipe(
    lengths: Documents, seed: int, length: int, memory_corpus: Callable[[Documents], Any]
) -> None:
    corpus = memory_corpus(lengths)
    expected = sorted(reference(corpus, seed=seed, epoch=1, length=length), key=lambda row: (row[6], row[7]))
    if not any(row[5] > 1 for row in expected):
        with pytest.raises(DataError, match="two sentences"):
            pair_plan(corpus, seed=seed, epoch=1, length=length)
        return
    plan = pair_plan(corpus, seed=seed, epoch=1, length=length)
    assert len(plan) == len(expected)
    for (a_start, a, b_start, b, label, count, _, number), place in zip(
        expected, in_order(plan, seed=seed, epoch=1), strict=True
    ):
        assert (plan.labels[place], plan.num_sentences[place], plan.document[place]) == (label, count, number)
        cut_a, cut_b = a, b
        while cut_a + cut_b > length - 3:
            if cut_a > cut_b:
                cut_a -= 1
            else:
                cut_b -= 1
        assert (plan.a_length[place], plan.b_length[place]) == (cut_a, cut_b)
        assert 0 <= plan.a_start[place] - a_start <= a - cut_a
        assert 0 <= plan.b_start[place] - b_start <= b - cut_b


def test_never_from_the_same_document_and_never_too_long(generated: Any) -> None:
    plan = pair_plan(generated, seed=3, epoch=0, length=128)
    random = plan.labels == 1
    assert random.any()
    assert (plan.document[random] != plan.partner[random]).all()
    assert (plan.document[~random] == plan.partner[~random]).all()
    assert plan.lengths.max() <= 128
    assert plan.a_length.min() >= 1
    assert plan.b_length.min() >= 1
    assert (plan.labels[plan.num_sentences == 1] == 1).all()


def test_half_of_the_longer_chunks_are_random(generated: Any) -> None:
    labels = np.concatenate(
        [
            plan.labels[plan.num_sentences > 1]
            for plan in (pair_plan(generated, seed=1, epoch=epoch, length=128) for epoch in range(6))
        ]
    )
    assert len(labels) > 50_000
    assert abs(labels.mean() - 0.5) < 4 * 0.5 / len(labels) ** 0.5


def test_truncation_takes_front_and_end_alike(memory_corpus: Callable[[Documents], Any]) -> None:
    corpus = memory_corpus([[100, 100]] * 2000)
    plan = pair_plan(corpus, seed=0, epoch=0, length=128)
    follows = plan.labels == 0
    front = plan.a_start[follows] - corpus.sentence_starts[corpus.document_offsets[plan.document[follows]]]
    lost = 100 - plan.a_length[follows]
    assert abs((front / lost).mean() - 0.5) < 0.02
    assert front.std() == pytest.approx((lost.mean() / 4) ** 0.5, rel=0.2)


def test_epochs_differ_and_repeat(generated: Any) -> None:
    first, again = (pair_plan(generated, seed=0, epoch=0, length=64) for _ in range(2))
    other = pair_plan(generated, seed=0, epoch=1, length=64)
    assert np.array_equal(first.a_start, again.a_start)
    assert len(first) != len(other) or not np.array_equal(first.a_start, other.a_start)


def test_impossible_corpora(memory_corpus: Callable[[Documents], Any]) -> None:
    with pytest.raises(DataError, match="1 document"):
        pair_plan(memory_corpus([[5, 5]]), seed=0, epoch=0, length=64)
    with pytest.raises(DataError, match="two sentences"):
        pair_plan(memory_corpus([[5], [5], [5]]), seed=0, epoch=0, length=64)
    with pytest.raises(DataError, match="at least 5"):
        pair_plan(memory_corpus([[5, 5], [5]]), seed=0, epoch=0, length=4)


@settings(max_examples=100, deadline=None)
@given(lengths=documents, length=st.integers(3, 50))
def test_single_segments_cover_every_token_once(
    lengths: Documents, length: int, memory_corpus: Callable[[Documents], Any]
) -> None:
    corpus = memory_corpus(lengths)
    plan = text_plan(corpus, seed=0, epoch=0, length=length)
    seen = Counter(
        token for start, count in zip(plan.a_start, plan.a_length, strict=True) for token in range(start, start + count)
    )
    assert set(seen) == set(range(corpus.num_tokens))
    assert set(seen.values()) == {1}
    assert plan.lengths.max() <= length
    assert plan.a_length.min() >= 1
