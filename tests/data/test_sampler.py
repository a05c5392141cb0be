"""Batches as a function of their step, and the tokens they are made of."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bertie.data.instances import draw_instances
from bertie.data.sampler import Sampler
from bertie.errors import SettingsError


def test_an_epoch_sees_every_instance_once_and_no_batch_is_too_large(generated: Any) -> None:
    sampler = Sampler(generated, seed=0, length=64, batch_tokens=512, pairs=True)
    batches = [sampler.instances(step)[1] for step in range(sampler.num_batches(0))]
    lengths = sampler.plan(0).lengths
    assert np.array_equal(np.concatenate(batches), np.arange(len(lengths)))
    assert max(lengths[batch].sum() for batch in batches) <= 512
    assert min(len(batch) for batch in batches) >= 1


def test_a_step_means_the_same_however_it_is_reached(generated: Any) -> None:
    settings = {"seed": 4, "length": 32, "batch_tokens": 2048, "pairs": True}
    forward = Sampler(generated, **settings)
    last = forward.num_batches(0) + forward.num_batches(1) + 3
    for step in range(last):
        forward.instances(step)
    jumped = Sampler(generated, **settings)
    for step in (last, 0, forward.num_batches(0)):
        (one, first), (two, second) = forward.instances(step), jumped.instances(step)
        assert one == two
        assert np.array_equal(first, second)
    assert jumped.locate(last)[0] == 2


def test_a_batch_holds_at_least_one_sequence(generated: Any) -> None:
    with pytest.raises(SettingsError, match="batch-tokens"):
        Sampler(generated, seed=0, length=128, batch_tokens=64, pairs=True)


@pytest.mark.parametrize("pairs", [True, False])
def test_instances(generated: Any, tiny_tokenizer: Any, pairs: bool) -> None:
    sampler = Sampler(generated, seed=0, length=64, batch_tokens=1024, pairs=pairs)
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
