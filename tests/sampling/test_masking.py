"""How many tokens are hidden, which, and what stands in their place."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.sampling.masking import choose_masked, num_masked
from bertie.sampling.random import stream

SPECIALS, VOCABULARY, MASK = (0, 1, 2, 3, 4), 1000, 4


def sequences(lengths: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    offsets = np.cumsum([0, *lengths]).astype(np.int32)
    tokens = draw.integers(5, VOCABULARY, offsets[-1])
    tokens[offsets[:-1]], tokens[offsets[1:] - 1] = 2, 3
    return tokens, offsets, stream(seed, np.arange(len(lengths)))


def hide(lengths: list[int], *, rate: float = 0.15, cap: int | None = None, seed: int = 0) -> tuple[np.ndarray, ...]:
    tokens, offsets, keys = sequences(lengths, seed)
    found = choose_masked(
        tokens, offsets, keys, rate=rate, cap=cap, special_ids=SPECIALS, vocab_size=VOCABULARY, mask_id=MASK
    )
    return (tokens, offsets, *found)


@settings(max_examples=100, deadline=None)
@given(
    lengths=st.lists(st.integers(3, 300), min_size=1, max_size=20),
    rate=st.sampled_from([0.15, 0.3, 0.5]),
    cap=st.sampled_from([None, 1, 20]),
)
def test_exactly_so_many(lengths: list[int], rate: float, cap: int | None) -> None:
    tokens, offsets, positions, original, shown = hide(lengths, rate=rate, cap=cap)
    counts = np.diff(np.searchsorted(positions, offsets))
    for length, count in zip(lengths, counts, strict=True):
        wanted = max(1, round(rate * length))
        assert count == min(wanted if cap is None else min(cap, wanted), length - 2)
    assert np.array_equal(original, tokens[positions])
    assert (np.diff(positions) > 0).all()
    assert not np.isin(tokens[positions], SPECIALS).any()
    untouched = np.setdiff1d(np.arange(len(tokens)), positions)
    assert np.array_equal(shown[untouched], tokens[untouched])


def test_halves_round_to_even() -> None:
    lengths = np.array([10, 30, 50, 70])  # 1.5, 4.5, 7.5, 10.5
    assert num_masked(lengths, rate=0.15, cap=None).tolist() == [round(0.15 * length) for length in lengths]


def test_shares_and_uniform_replacements() -> None:
    _, _, positions, original, shown = hide([128] * 4000)
    now = shown[positions]
    masked, kept = now == MASK, now == original
    count = len(positions)
    assert count > 70_000
    assert abs(masked.mean() - 0.8) < 0.006
    assert abs(kept.mean() - 0.1) < 0.006
    replaced = now[~masked & ~kept]
    assert not np.isin(replaced, SPECIALS).any()
    assert (replaced.min(), replaced.max()) == (5, VOCABULARY - 1)
    seen = np.bincount(replaced, minlength=VOCABULARY)[5:]
    expected = len(replaced) / len(seen)
    chi = ((seen - expected) ** 2 / expected).sum()
    assert abs(chi - len(seen)) < 5 * (2 * len(seen)) ** 0.5
    where = np.bincount(positions % 128, minlength=128)[1:127]
    assert abs(where - where.mean()).max() < 6 * where.mean() ** 0.5


def test_draws_belong_to_the_instance_not_to_its_company() -> None:
    tokens, offsets, keys = sequences([20, 31, 17])
    settings_ = {"rate": 0.15, "cap": None, "special_ids": SPECIALS, "vocab_size": VOCABULARY, "mask_id": MASK}
    _, _, together = choose_masked(tokens, offsets, keys, **settings_)
    for number in range(3):
        start, end = offsets[number], offsets[number + 1]
        alone = choose_masked(
            tokens[start:end], np.array([0, end - start], np.int32), keys[number : number + 1], **settings_
        )[2]
        assert np.array_equal(alone, together[start:end])


@pytest.mark.parametrize("length", [2, 3])
def test_sequences_with_hardly_a_token(length: int) -> None:
    _, _, positions, _, _ = hide([length, 50])
    assert (positions < length).sum() == length - 2
