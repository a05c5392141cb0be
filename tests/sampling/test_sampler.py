"""Batches as a function of their step, and the tokens they are made of."""

from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.errors import SettingsError
from bertie.sampling.instances import draw_instances, draw_share, joined
from bertie.sampling.sampler import Sampler, _edges, shares


def test_an_epoch_sees_every_instance_once_and_no_batch_is_too_large(generated: Any) -> None:
    sampler = Sampler(generated, seed=0, length=64, batch_tokens=512, plan="pairs")
    batches = [sampler.instances(step)[1] for step in range(sampler.num_batches(0))]
    lengths = sampler.plan(0).lengths
    assert np.array_equal(np.concatenate(batches), np.arange(len(lengths)))
    assert max(lengths[batch].sum() for batch in batches) <= 512
    assert min(len(batch) for batch in batches) >= 1


@settings(max_examples=200)
@given(lengths=st.lists(st.integers(4, 64), min_size=1, max_size=60), budget=st.integers(64, 300))
def test_no_batch_of_an_epoch_is_tiny(lengths: list[int], budget: int) -> None:
    edges = _edges(np.asarray(lengths), budget).tolist()
    assert edges[0] == 0
    assert edges[-1] == len(lengths)
    sizes = [sum(lengths[first:last]) for first, last in pairwise(edges)]
    assert min(sizes) > 0
    assert max(sizes) <= budget
    # Greedy: one instance more would be too much. The last two share what is left; one instance tips the scale.
    assert all(size + lengths[last] > budget for size, last in zip(sizes[:-2], edges[1:-2], strict=False))
    if len(sizes) > 1:
        assert sizes[-2] + sizes[-1] > budget
        assert abs(sizes[-2] - sizes[-1]) <= 2 * 64


@settings(max_examples=200)
@given(lengths=st.lists(st.integers(4, 128), min_size=1, max_size=60), data=st.data())
def test_parts_of_a_batch(lengths: list[int], data: st.DataObject) -> None:
    num_parts = data.draw(st.integers(1, len(lengths)) | st.just(len(lengths)))
    edges = shares(np.asarray(lengths), num_parts).tolist()
    assert edges[0] == 0
    assert edges[-1] == len(lengths)
    assert len(edges) == num_parts + 1
    sizes = [sum(lengths[first:last]) for first, last in pairwise(edges)]
    assert min(sizes) > 0
    if len(lengths) >= 40 * num_parts:
        assert max(sizes) <= sum(lengths) / num_parts + 128


def test_no_part_is_empty_beside_a_long_sequence() -> None:
    assert shares(np.array([128, 4, 4]), 3).tolist() == [0, 1, 2, 3]
    assert shares(np.array([4, 4, 128]), 3).tolist() == [0, 1, 2, 3]
    assert shares(np.array([128, 4, 4, 4]), 2).tolist() == [0, 1, 4]


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("num_ranks", [1, 2, 3, 8, 60])
def test_any_number_of_processes_sees_the_same_batches(
    generated: Any, tiny_tokenizer: Any, num_ranks: int, steps: int
) -> None:
    sampler = Sampler(generated, seed=1, length=64, batch_tokens=1024, plan="pairs")
    for step in (0, 7, sampler.num_batches(0) - 1):
        some = range(step, step + steps)
        whole = joined([draw_instances(sampler, each, tiny_tokenizer) for each in some])
        each = [draw_share(sampler, some, tiny_tokenizer, rank=n, num_ranks=num_ranks) for n in range(num_ranks)]
        parts = [share.instances for share in each if share.instances is not None]
        for name in ("tokens", "segments", "labels", "keys"):
            together = np.concatenate([getattr(part, name) for part in parts])
            assert np.array_equal(together, getattr(whole, name))
        assert len(parts) == min(num_ranks, len(whole))
        assert max(len(part.tokens) for part in parts) <= len(whole.tokens) / num_ranks + 64
        for share, before in zip(each, accumulate(map(len, parts), initial=0), strict=False):
            assert share.sequences_before == before
            assert share.tokens_before == whole.offsets[before]
        assert {(share.num_tokens, share.longest, int(share.first_key[0])) for share in each} == {
            (len(whole.tokens), int(np.diff(whole.offsets).max()), int(whole.keys[0]))
        }


def test_processes_without_a_sequence() -> None:
    assert shares(np.array([5, 9]), 4).tolist() == [0, 1, 2, 2, 2]


def test_a_step_means_the_same_however_it_is_reached(generated: Any) -> None:
    forward = Sampler(generated, seed=4, length=32, batch_tokens=2048, plan="pairs")
    last = forward.num_batches(0) + forward.num_batches(1) + 3
    for step in range(last):
        forward.instances(step)
    jumped = Sampler(generated, seed=4, length=32, batch_tokens=2048, plan="pairs")
    for step in (last, 0, forward.num_batches(0)):
        (one, first), (two, second) = forward.instances(step), jumped.instances(step)
        assert one == two
        assert np.array_equal(first, second)
    assert jumped.locate(last)[0] == 2


def test_a_batch_holds_at_least_one_sequence(generated: Any) -> None:
    with pytest.raises(SettingsError, match="batch-tokens"):
        Sampler(generated, seed=0, length=128, batch_tokens=64, plan="pairs")


@pytest.mark.parametrize("cut", ["pairs", "texts"])
def test_instances(generated: Any, tiny_tokenizer: Any, cut: str) -> None:
    sampler = Sampler(generated, seed=0, length=64, batch_tokens=1024, plan=cut)
    pairs = cut == "pairs"
    found = draw_instances(sampler, 5, tiny_tokenizer)
    plan, (_, numbers) = sampler.plan(0), sampler.instances(5)
    assert len(found) == len(numbers)
    assert len(set(found.keys.tolist())) == len(found)
    for row, number in enumerate(numbers):
        tokens = found.tokens[found.offsets[row] : found.offsets[row + 1]]
        segments = found.segments[found.offsets[row] : found.offsets[row + 1]]
        a = generated.gather([plan.a_start[number]], [plan.a_length[number]])
        b = generated.gather([plan.b_start[number]], [plan.b_length[number]])
        expected = [tiny_tokenizer.start, *a, tiny_tokenizer.separator]
        expected += [*b, tiny_tokenizer.separator] if pairs else []
        assert tokens.tolist() == expected
        assert segments.tolist() == [0] * (len(a) + 2) + [1] * (len(b) + 1 if pairs else 0)
    assert found.labels.tolist() == plan.labels[numbers].tolist()


def test_the_memory_corpus_is_like_a_real_one(memory_corpus: Callable[[list[list[int]]], Any]) -> None:
    corpus = memory_corpus([[2, 3], [4]])
    assert corpus.document_offsets.tolist() == [0, 2, 3]
    assert corpus.sentence_starts.tolist() == [0, 2, 5, 9]
