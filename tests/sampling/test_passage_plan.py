"""Passages of one document, two behind one another."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.errors import DataError
from bertie.sampling.sampler import Sampler
from bertie.sampling.single_plan import passage_plan

Documents = list[list[int]]
documents = st.lists(st.lists(st.integers(1, 90), min_size=1, max_size=12), min_size=2, max_size=8)


@given(lengths=documents, seed=st.integers(0, 9), length=st.integers(8, 64))
@settings(max_examples=60, deadline=None)
def test_passages_hold_every_token_once_and_at_most_one_of_a_document_stands_alone(
    lengths: Documents, seed: int, length: int, memory_corpus: Callable[[Documents], Any]
) -> None:
    if all(len(document) == 1 and document[0] <= length - 2 for document in lengths):
        return  # nothing to pair, which the last test looks at
    corpus = memory_corpus(lengths)
    plan = passage_plan(corpus, seed=seed, epoch=0, length=length)
    assert plan.lengths.max() <= length
    order = np.argsort(plan.a_start)
    ends = (plan.a_start + plan.a_length)[order]
    assert plan.a_start[order].tolist() == [0, *ends[:-1].tolist()] and ends[-1] == corpus.num_tokens
    # Every passage lies in the document that it is said to be of.
    starts = corpus.sentence_starts[corpus.document_offsets]
    assert (plan.a_start >= starts[plan.document]).all()
    assert (plan.a_start + plan.a_length <= starts[plan.document + 1]).all()
    # Runs of one document have an even length but for one of them at most, whose last passage stands alone.
    runs = [(document, len(list(run))) for document, run in groupby(plan.document.tolist())]
    for document in set(plan.document.tolist()):
        odd = [size for owner, size in runs if owner == document and size % 2]
        assert len(odd) == int((plan.document == document).sum()) % 2


def test_short_documents_give_two_passages(memory_corpus: Callable[[Documents], Any]) -> None:
    plan = passage_plan(memory_corpus([[5, 5], [4, 6, 2], [7, 9]]), seed=0, epoch=0, length=64)
    assert np.bincount(plan.document).min() == 2  # though each would fit one


def test_pairs_and_their_order_are_drawn_anew(memory_corpus: Callable[[Documents], Any]) -> None:
    corpus = memory_corpus([[9] * 40] * 50)
    first, again, second = (passage_plan(corpus, seed=0, epoch=epoch, length=20) for epoch in (0, 0, 1))
    assert np.array_equal(first.a_start, again.a_start)
    mates = [
        {frozenset(pair) for pair in zip(plan.a_start[::2].tolist(), plan.a_start[1::2].tolist(), strict=False)}
        for plan in (first, second)
    ]
    assert len(mates[0] & mates[1]) < 0.2 * len(mates[0])
    assert not np.array_equal(np.sort(first.document), first.document)


def test_batches_hold_pairs(generated: Any) -> None:
    sampler = Sampler(generated, seed=0, length=64, batch_tokens=2048, plan="passages")
    shares = []
    for step in range(8):
        epoch, numbers = sampler.instances(step)
        document = sampler.plan(epoch).document[numbers]
        sizes = np.array([len(list(run)) for _, run in groupby(document.tolist())])
        shares.append((sizes // 2).sum() * 2 / len(document))
    assert min(shares) > 0.85


def test_what_gives_no_passages(memory_corpus: Callable[[Documents], Any]) -> None:
    with pytest.raises(DataError, match="1 document; passages"):
        passage_plan(memory_corpus([[5, 5]]), seed=0, epoch=0, length=64)
    with pytest.raises(DataError, match="no document of the corpus has two sentences"):
        passage_plan(memory_corpus([[5], [5], [5]]), seed=0, epoch=0, length=64)


def test_documents_are_cut_into_an_even_number_of_like_parts(memory_corpus: Callable[[Documents], Any]) -> None:
    draw = np.random.default_rng(0)
    corpus = memory_corpus([draw.integers(3, 30, draw.integers(2, 60)).tolist() for _ in range(2000)])
    plan = passage_plan(corpus, seed=0, epoch=0, length=128)
    assert (np.bincount(plan.document) % 2).mean() < 0.2
    assert np.percentile(plan.a_length, 5) > 15 and (plan.a_length < 10).mean() < 0.05
    assert np.median(plan.a_length) > 70
