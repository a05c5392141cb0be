"""Pairs against the recipe, written out plainly for one document after another with the same keyed draws."""

from collections.abc import Callable, Iterator
from itertools import chain, count, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.errors import DataError
from bertie.sampling import plan as plans
from bertie.sampling.plan import pair_plan
from bertie.sampling.random import integers, permutation, stream, uniform
from bertie.sampling.single_plan import text_plan

Documents = list[list[int]]
documents = st.lists(
    st.lists(st.one_of(st.integers(1, 40), st.integers(1, 200)), min_size=1, max_size=12), min_size=2, max_size=6
)


class Recipe:
    """The recipe for one corpus and epoch, sentence by sentence and token by token."""

    def __init__(self, corpus: Any, *, seed: int, epoch: int, length: int) -> None:
        starts = corpus.sentence_starts.tolist()
        edges = corpus.document_offsets.tolist()
        sentences = [list(range(start, end)) for start, end in pairwise(starts)]
        self.documents = [sentences[first:last] for first, last in pairwise(edges)]
        self.first_sentence = edges
        self.seed, self.epoch, self.most = seed, epoch, length - 3

    def key(self, purpose: int, number: int) -> Any:
        return stream(self.seed, self.epoch, purpose, number)

    def coins(self, purpose: int, number: int) -> Iterator[bool]:
        for word in count():
            bits = int(stream(self.key(purpose, number), word)[0])
            yield from (bit == "1" for bit in f"{bits:064b}")

    def draw(self, purpose: int, number: int, low: int, high: int) -> int:
        return int(integers(self.key(purpose, number), low, high)[0])

    def instances(self) -> list[tuple[list[int], list[int], int, int, int, int]]:
        """Walk the documents; (A, B, label, sentences of the chunk, document, partner) in corpus order."""
        found = []
        for number, document in enumerate(self.documents):
            target = self.most
            if uniform(self.key(plans.SHORT, number))[0] < 0.1:
                target = self.draw(plans.TARGET, number, 2, self.most + 1)
            chunk: list[list[int]] = []
            place = 0
            while place < len(document):
                chunk.append(document[place])
                place += 1
                if place < len(document) and sum(map(len, chunk)) < target:
                    continue
                name = self.first_sentence[number] + place - len(chunk)  # what the keys call this chunk
                cut = self.draw(plans._CUT, name, 1, len(chunk)) if len(chunk) > 1 else 1
                a = list(chain(*chunk[:cut]))
                if len(chunk) == 1 or uniform(self.key(plans._COIN, name))[0] < 0.5:
                    label, partner = 1, self.draw(plans._PARTNER, name, 0, len(self.documents) - 1)
                    partner += partner >= number
                    b = self.random_text(partner, name, target - len(a))
                    place -= len(chunk) - cut
                else:
                    label, partner, b = 0, number, list(chain(*chunk[cut:]))
                found.append((*self.truncate(a, b, name), label, len(chunk), number, partner))
                chunk = []
        return found

    def random_text(self, partner: int, name: int, wanted: int) -> list[int]:
        """Take sentences from a random one on until there are enough tokens."""
        edge = self.first_sentence
        first = self.draw(plans._START, name, edge[partner], edge[partner + 1]) - edge[partner]
        text: list[int] = []
        for sentence in self.documents[partner][first:]:
            text += sentence
            if len(text) >= wanted:
                break
        return text

    def truncate(self, a: list[int], b: list[int], name: int) -> tuple[list[int], list[int]]:
        """Drop one token after another from the longer side, B on ties, from its front or its end by a coin."""
        coins_a, coins_b = self.coins(plans._FRONT_A, name), self.coins(plans._FRONT_B, name)
        while len(a) + len(b) > self.most:
            longer, coins = (a, coins_a) if len(a) > len(b) else (b, coins_b)
            longer.pop(0 if next(coins) else -1)
        return a, b


@settings(max_examples=150)
@given(lengths=documents, seed=st.integers(0, 10**6), length=st.integers(5, 64))
def test_equals_the_recipe(
    lengths: Documents, seed: int, length: int, memory_corpus: Callable[[Documents], Any]
) -> None:
    corpus = memory_corpus(lengths)
    expected = Recipe(corpus, seed=seed, epoch=1, length=length).instances()
    if not any(sentences > 1 for *_, sentences, _, _ in expected):
        with pytest.raises(DataError, match="two sentences"):
            pair_plan(corpus, seed=seed, epoch=1, length=length)
        return
    plan = pair_plan(corpus, seed=seed, epoch=1, length=length)
    order = permutation(seed, 1, len(expected))
    columns = zip(
        plan.a_start, plan.a_length, plan.b_start, plan.b_length, plan.labels, plan.num_sentences, plan.document,
        plan.partner, strict=True,
    )  # fmt: skip
    found = [
        (list(range(a_start, a_start + a)), list(range(b_start, b_start + b)), *rest)
        for a_start, a, b_start, b, *rest in columns
    ]
    assert found == [expected[place] for place in order]


def test_a_tenth_of_the_documents_has_a_shorter_target(memory_corpus: Callable[[Documents], Any]) -> None:
    # Sentences of one token: a chunk is as long as its document's target, but for the document's last ones.
    plan = pair_plan(memory_corpus([[1] * 40] * 20_000), seed=0, epoch=0, length=13)
    first = np.arange(20_000) * 40
    order = np.argsort(plan.a_start)
    place = np.searchsorted(plan.a_start[order], first)
    targets = plan.num_sentences[order][place]
    shares = np.bincount(targets, minlength=11) / len(targets)
    assert shares[:2].sum() == 0
    assert abs(shares[2:10] - 0.1 / 9).max() < 5 * (0.1 / 9 / 20_000) ** 0.5
    assert shares[10] == pytest.approx(0.9 + 0.1 / 9, abs=0.01)


def test_blocks_make_no_difference(generated: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [make(generated, seed=2, epoch=3, length=64) for make in (pair_plan, text_plan)]
    monkeypatch.setattr(plans, "_BLOCK", 1000)
    for before, make in zip(whole, (pair_plan, text_plan), strict=True):
        after = make(generated, seed=2, epoch=3, length=64)
        assert np.array_equal(before.a_start, after.a_start)
        assert np.array_equal(before.b_start, after.b_start)


def test_documents_of_thousands_of_chunks(memory_corpus: Callable[[Documents], Any]) -> None:
    plan = pair_plan(memory_corpus([[30, 31] * 10_000, [29, 32] * 10_000]), seed=0, epoch=0, length=64)
    assert np.bincount(plan.document).min() > 8000
    assert (plan.partner[plan.labels == 1] != plan.document[plan.labels == 1]).all()


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


@settings(max_examples=150)
@given(lengths=documents, length=st.integers(3, 50), epoch=st.integers(0, 3))
def test_single_segments_are_whole_sentences(
    lengths: Documents, length: int, epoch: int, memory_corpus: Callable[[Documents], Any]
) -> None:
    corpus, most = memory_corpus(lengths), length - 2
    plan = text_plan(corpus, seed=0, epoch=epoch, length=length)
    ranges = sorted(zip(plan.a_start.tolist(), plan.a_length.tolist(), plan.document.tolist(), strict=True))
    ends = [start + size for start, size, _ in ranges]
    assert [start for start, _, _ in ranges] == [0, *ends[:-1]]  # every token once
    assert ends[-1] == corpus.num_tokens
    begins = set(corpus.sentence_starts.tolist())
    for start, size, number in ranges:
        sentence = int(np.searchsorted(corpus.sentence_starts, start, side="right")) - 1
        first = corpus.sentence_starts[sentence]
        assert 1 <= size <= most
        assert start in begins or (start - first) % most == 0  # the rest of a sentence that fits no segment
        assert corpus.document_offsets[number] <= sentence < corpus.document_offsets[number + 1]
        assert start + size <= corpus.sentence_starts[corpus.document_offsets[number + 1]]
    assert plan.lengths.max() <= length


def test_single_segments_are_full_and_move(memory_corpus: Callable[[Documents], Any]) -> None:
    corpus = memory_corpus([[7, 11, 5, 13] * 500])
    plans_ = [text_plan(corpus, seed=0, epoch=epoch, length=66) for epoch in range(2)]
    for plan in plans_:
        assert (plan.a_length >= 64 - 12).mean() > 0.85  # no room for one sentence more
    starts = [set(plan.a_start.tolist()) for plan in plans_]
    assert len(starts[0] & starts[1]) < 0.6 * len(starts[0])
    assert max(len(sentences) for sentences in starts) < 36_000 / 64 * 1.35


def test_a_sentence_longer_than_many_segments(memory_corpus: Callable[[Documents], Any]) -> None:
    plan = text_plan(memory_corpus([[3], [1000], [4, 2]]), seed=0, epoch=0, length=12)
    assert plan.a_length.sum() == 1009
    assert sorted(plan.a_length[plan.document == 1].tolist()) == [10] * 100
