"""What counting reaches at chosen tokens, beside tables of the whole vocabulary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bertie.batch import Batch
from bertie.corpus.pairs import PairCounts, count_pairs
from bertie.sampling.yardsticks import NOTHING, Places, measure, places_of

SIZE, SPECIAL = 23, (0, 1, 2)


def counted(memory_corpus: Callable[..., Any], tokens: Any, size: int = SIZE) -> PairCounts:
    corpus = memory_corpus([[len(tokens)]])
    corpus.tokens, corpus.vocab_size = np.asarray(tokens), size
    return count_pairs(corpus)


def by_tables(pairs: PairCounts, places: Places) -> tuple[list[float], list[int]]:
    """Score every token of the vocabulary at every place."""
    size, allowed = pairs.vocab_size, np.array([token not in SPECIAL for token in range(pairs.vocab_size)])
    table = np.zeros((size, size))
    table[pairs.left, pairs.right] = pairs.counts
    less = np.maximum(table - 0.75, 0.0)
    unigram = np.where(allowed, pairs.tokens + 0.5, 0.0)
    kinds = (table > 0).sum(0) + 0.5
    words = np.where(allowed, kinds, 0.0)
    forward = less + ((table > 0) * allowed).sum(1)[:, None] * 0.75 * words / words.sum() + words / words.sum()
    forward = forward * allowed / ((table * allowed).sum(1)[:, None] + 1.0)
    back = (less + ((table > 0).sum(1)[:, None] * 0.75 + 1.0) * kinds / kinds.sum()) / (table.sum(1)[:, None] + 1.0)
    assert np.allclose(forward.sum(1), 1.0) and np.allclose(back.sum(1), 1.0)
    losses, guesses = [], []
    for token, left, right in zip(places.tokens, places.left, places.right, strict=True):
        scores = unigram / unigram.sum() if left == NOTHING else forward[left]
        scores = scores if right == NOTHING else scores * back[:, right]
        losses.append(-np.log(scores[token] / scores.sum()))
        guesses.append(int(scores.argmax()))
    return losses, guesses


def test_sparse_counts_say_what_tables_say(memory_corpus: Callable[..., Any]) -> None:
    draw = np.random.default_rng(3)
    steps = draw.choice([1, 1, 1, 2, 5], 600)
    pairs = counted(memory_corpus, 1 + np.cumsum(steps) % (SIZE - 1))  # of the special ones only 0 is never met
    count = 400
    places = Places(
        draw.integers(len(SPECIAL), SIZE, count), draw.integers(-1, SIZE, count), draw.integers(-1, SIZE, count)
    )
    found = measure(pairs, places, SPECIAL)
    losses, guesses = by_tables(pairs, places)
    assert found.neighbours_loss == pytest.approx(np.mean(losses), rel=1e-9)
    assert found.neighbours_accuracy == pytest.approx(np.mean(np.array(guesses) == places.tokens))
    unigram = np.where(np.arange(SIZE) < len(SPECIAL), 0.0, pairs.tokens + 0.5)
    unigram /= unigram.sum()
    assert found.unigram_loss == pytest.approx(-np.log(unigram[places.tokens]).mean())
    assert found.unigram_accuracy == pytest.approx((places.tokens == unigram.argmax()).mean())
    assert found.figures() == {
        "yardstick_unigram_loss": round(found.unigram_loss, 4),
        "yardstick_unigram_accuracy": round(found.unigram_accuracy, 4),
        "yardstick_neighbours_loss": round(found.neighbours_loss, 4),
        "yardstick_neighbours_accuracy": round(found.neighbours_accuracy, 4),
    }


def test_neighbours_that_determine_the_token_are_enough(memory_corpus: Callable[..., Any]) -> None:
    cycle = 3 + np.arange(4000) % 20
    pairs = counted(memory_corpus, cycle)
    tokens = 3 + np.arange(20)
    before, behind = 3 + (np.arange(20) - 1) % 20, 3 + (np.arange(20) + 1) % 20
    for left, right in ((before, behind), (before, np.full(20, NOTHING)), (np.full(20, NOTHING), behind)):
        found = measure(pairs, Places(tokens, left, right), SPECIAL)
        assert found.neighbours_accuracy == 1.0 and found.neighbours_loss < 0.2
        assert found.unigram_accuracy == 0.05 and found.unigram_loss == pytest.approx(np.log(20.0), abs=1e-3)


def test_neighbours_that_say_nothing_leave_the_unigram(memory_corpus: Callable[..., Any]) -> None:
    pairs = counted(memory_corpus, np.random.default_rng(0).integers(3, SIZE, 500))
    nothing = np.full(50, NOTHING)
    found = measure(pairs, Places(np.arange(50) % 20 + 3, nothing, nothing), SPECIAL)
    assert found.neighbours_loss == pytest.approx(found.unigram_loss)
    assert found.neighbours_accuracy == found.unigram_accuracy


def test_a_corpus_without_text_leaves_every_token_alike() -> None:
    empty = PairCounts(np.zeros(SIZE, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.int64))
    places = Places(np.array([3, 9]), np.array([NOTHING, 4]), np.array([5, 6]))
    found = measure(empty, places, SPECIAL)
    assert found.unigram_loss == pytest.approx(np.log(20.0)) and found.neighbours_loss == pytest.approx(np.log(20.0))
    assert found.neighbours_accuracy == 0.5


def test_masked_and_special_neighbours_say_nothing(tiny_tokenizer: Any) -> None:
    start, stop, mask = tiny_tokenizer.start, tiny_tokenizer.separator, tiny_tokenizer.mask
    cat, dog, unknown = (tiny_tokenizer.token_id(piece) for piece in ("cat", "dog", "[UNK]"))
    tokens = [start, mask, cat, mask, stop, start, dog, mask, mask, unknown, mask, dog, stop]
    places = places_of(
        [
            Batch.pack(
                tokens,
                [0] * len(tokens),
                [0, 5, len(tokens)],
                targets={"slot.position": [1, 3, 7, 8, 10], "slot.token": [7, 8, 9, 10, 11]},
            )
        ],
        tiny_tokenizer,
    )
    assert places.tokens.tolist() == [7, 8, 9, 10, 11]
    assert places.left.tolist() == [NOTHING, cat, dog, NOTHING, unknown]
    assert places.right.tolist() == [cat, NOTHING, NOTHING, unknown, dog]
