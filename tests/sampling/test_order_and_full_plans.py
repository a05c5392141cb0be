"""Segments whose order is to be told, and sequences that go on across documents."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.errors import DataError, SettingsError
from bertie.sampling import plan as plans
from bertie.sampling.instances import draw_instances, gather
from bertie.sampling.plan import order_plan, pair_plan
from bertie.sampling.random import integers, permutation, stream, uniform
from bertie.sampling.sampler import PLANS, Sampler
from bertie.sampling.single_plan import full_plan

Documents = list[list[int]]
documents = st.lists(
    st.lists(st.one_of(st.integers(1, 40), st.integers(1, 200)), min_size=1, max_size=12), min_size=1, max_size=6
)


def in_order(lengths: Documents, *, seed: int, epoch: int, most: int) -> list[tuple[int, int, int, int, int, int]]:
    """Walk the documents: (first token of A, tokens, the same of B, label, sentences), before truncation."""
    found, token, sentence = [], 0, 0
    for number, document in enumerate(lengths):
        target, chunk = most, []
        if uniform(stream(seed, epoch, plans.SHORT, number))[0] < 0.1:
            target = int(integers(stream(seed, epoch, plans.TARGET, number), 2, most + 1)[0])
        for place, length in enumerate(document):
            chunk.append(length)
            if place + 1 < len(document) and sum(chunk) < target:
                continue
            cut = 1
            if len(chunk) > 1:
                cut = int(integers(stream(seed, epoch, plans._CUT, sentence), 1, len(chunk))[0])
            a, b = (token, sum(chunk[:cut])), (token + sum(chunk[:cut]), sum(chunk[cut:]))
            label = int(uniform(stream(seed, epoch, plans._COIN, sentence))[0] < 0.5) if len(chunk) > 1 else -1
            found.append((*(a if label < 1 else b), *(b if label < 1 else a), label, len(chunk)))
            token, sentence, chunk = token + sum(chunk), sentence + len(chunk), []
    return found


@settings(max_examples=50)
@given(lengths=documents, seed=st.integers(0, 10**6), length=st.integers(5, 64))
def test_order_equals_the_recipe(
    lengths: Documents, seed: int, length: int, memory_corpus: Callable[[Documents], Any]
) -> None:
    expected = in_order(lengths, seed=seed, epoch=1, most=length - 3)
    if all(label < 0 for *_, label, _ in expected):
        with pytest.raises(DataError, match="no order to predict"):
            order_plan(memory_corpus(lengths), seed=seed, epoch=1, length=length)
        return
    plan = order_plan(memory_corpus(lengths), seed=seed, epoch=1, length=length)
    assert plan.lengths.max() <= length
    assert len(plan) == len(expected)
    for row, place in enumerate(permutation(seed, 1, len(expected))):
        a, a_length, b, b_length, label, count = expected[place]
        assert (plan.labels[row], plan.num_sentences[row]) == (label, count)
        # Truncation takes from both ends of both segments, and never all of one.
        assert a <= plan.a_start[row] and plan.a_start[row] + plan.a_length[row] <= a + a_length
        assert b <= plan.b_start[row] and plan.b_start[row] + plan.b_length[row] <= b + b_length
        assert plan.a_length[row] and (plan.b_length[row] > 0) == (label >= 0)
        lost = a_length + b_length - plan.a_length[row] - plan.b_length[row]
        assert lost == max(0, a_length + b_length - (length - 3))


def test_half_are_exchanged_and_nothing_of_the_corpus_is_left_out(generated: Any) -> None:
    found = [order_plan(generated, seed=2, epoch=epoch, length=128) for epoch in range(5)]
    labels = np.concatenate([plan.labels[plan.labels >= 0] for plan in found])
    assert len(labels) > 50_000
    assert abs(labels.mean() - 0.5) < 4 * 0.5 / len(labels) ** 0.5
    assert sum(plan.num_sentences.sum() for plan in found) == 5 * len(generated.sentence_lengths)
    assert (found[0].partner == found[0].document).all()


@settings(max_examples=40)
@given(lengths=documents, seed=st.integers(0, 10**6), length=st.integers(3, 64))
def test_full_sequences_hold_every_token_once_and_as_many_sentences_as_fit(
    lengths: Documents, seed: int, length: int, memory_corpus: Callable[[Documents], Any]
) -> None:
    corpus = memory_corpus(lengths)
    plan = full_plan(corpus, seed=seed, epoch=0, length=length)
    assert plan.lengths.max() <= length
    order = np.argsort(plan.a_start)
    ends = (plan.a_start + plan.a_length)[order]
    assert plan.a_start[order].tolist() == [0, *ends[:-1].tolist()] and ends[-1] == corpus.num_tokens
    starts = corpus.sentence_starts.tolist()
    firsts = {starts[edge] for edge in corpus.document_offsets[:-1].tolist()}
    # Where a sequence may end: behind a sentence, or within one that is too long.
    pieces = [place for first, last in pairwise(starts) for place in range(first, last, length - 2)]
    number = {place: count for count, place in enumerate([*pieces, starts[-1]])}
    for start, end in zip(plan.a_start.tolist(), ends[np.argsort(order)].tolist(), strict=True):
        following = number[end] + 1
        if following < len(number):  # would not have fitted too, but for sequences that were given less room
            is_short = uniform(stream(seed, 0, plans.SHORT, number[start]))[0] < 0.1
            breaks = sum(start < first <= end for first in firsts)
            assert is_short or [*pieces, starts[-1]][following] - start + breaks > length - 2


def test_full_sequences_cross_documents_and_differ_between_epochs(memory_corpus: Callable[[Documents], Any]) -> None:
    corpus = memory_corpus([[7, 11, 5, 13]] * 2000)
    found = [full_plan(corpus, seed=0, epoch=epoch, length=128) for epoch in range(2)]
    for plan in found:
        assert plan.lengths.mean() > 0.9 * 128 and (plan.lengths > 110).mean() > 0.85
        assert plan.num_breaks.mean() > 2
    starts = [set(plan.a_start.tolist()) for plan in found]
    assert len(starts[0] & starts[1]) < 0.6 * len(starts[0])


def test_a_separator_stands_between_documents(tiny_tokenizer: Any, memory_corpus: Callable[[Documents], Any]) -> None:
    corpus = memory_corpus([[3, 2], [4], [1, 1, 6], [40]])
    plan = full_plan(corpus, seed=1, epoch=0, length=20)
    drawn = gather(corpus, plan, np.arange(len(plan)), tiny_tokenizer, seed=0, epoch=0)
    text = corpus.tokens
    start, end, separator = tiny_tokenizer.start, tiny_tokenizer.separator, tiny_tokenizer.separator
    (row,) = np.flatnonzero(plan.a_start == 0)
    expected = [start, *text[:5], separator, *text[5:9], separator, *text[9 : int(plan.a_length[row])], end]
    assert plan.a_length[row] > 9
    assert drawn.tokens[drawn.offsets[row] : drawn.offsets[row + 1]].tolist() == expected
    assert np.array_equal(np.diff(drawn.offsets), plan.lengths)
    assert (drawn.tokens == start).sum() == len(plan)
    assert (drawn.tokens == separator).sum() == len(plan) + plan.num_breaks.sum()
    assert not drawn.segments.any() and (drawn.labels == -1).all()


@pytest.mark.parametrize("cut", sorted(PLANS))
def test_every_plan_gives_batches(generated: Any, tiny_tokenizer: Any, cut: str) -> None:
    sampler = Sampler(generated, seed=0, length=64, batch_tokens=1024, plan=cut)
    for step in (0, 5):
        drawn = draw_instances(sampler, step, tiny_tokenizer)
        plan, (_, numbers) = sampler.plan(0), sampler.instances(step)
        assert np.array_equal(np.diff(drawn.offsets), plan.lengths[numbers]) and drawn.offsets[-1] <= 1024
        for row, number in enumerate(numbers):
            tokens = drawn.tokens[drawn.offsets[row] : drawn.offsets[row + 1]]
            a = generated.gather([plan.a_start[number]], [plan.a_length[number]])
            b = generated.gather([plan.b_start[number]], [plan.b_length[number]])
            assert tokens[0] == tiny_tokenizer.start and tokens[-1] == tiny_tokenizer.separator
            assert tokens[tokens > 4].tolist() == [*a, *b]
            second = drawn.segments[drawn.offsets[row] : drawn.offsets[row + 1]].sum()
            assert second == (len(b) + 1 if len(b) else 0)


def test_what_cannot_be_cut(memory_corpus: Callable[[Documents], Any], generated: Any) -> None:
    with pytest.raises(DataError, match="no document has two sentences"):
        order_plan(memory_corpus([[5], [5], [5]]), seed=0, epoch=0, length=64)
    with pytest.raises(DataError, match="no room for a pair"):
        order_plan(memory_corpus([[5, 5]]), seed=0, epoch=0, length=4)
    with pytest.raises(DataError, match="no room for text"):
        full_plan(memory_corpus([[5, 5]]), seed=0, epoch=0, length=2)
    with pytest.raises(SettingsError, match="plan 'pair'; did you mean 'pairs'"):
        Sampler(generated, seed=0, length=64, batch_tokens=64, plan="pair")
    assert len(order_plan(memory_corpus([[5, 5]]), seed=0, epoch=0, length=64))  # one document is enough here
    with pytest.raises(DataError, match="1 document"):
        pair_plan(memory_corpus([[5, 5]]), seed=0, epoch=0, length=64)
