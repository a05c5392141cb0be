"""Whole words and spans: against both written out plainly, and over many sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bertie.sampling import masking
from bertie.sampling.masking import choose_masked, num_masked, span_words
from bertie.sampling.random import stream, uniform

SPECIALS, VOCABULARY, MASK = (0, 1, 2, 3, 4), 1000, 4
BEGINS, ENDS = np.arange(VOCABULARY) % 4 != 1, np.arange(VOCABULARY) % 50 == 2  # a quarter of the pieces goes on
INSTANCES = 20_000


def sequences(lengths: list[int], seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make [CLS] a [SEP] b [SEP]; the middle one stands anywhere."""
    draw = np.random.default_rng(seed)
    offsets = np.cumsum([0, *lengths]).astype(np.int32)
    tokens = draw.integers(5, VOCABULARY, offsets[-1])
    tokens[offsets[:-1] + draw.integers(1, lengths)] = 3
    tokens[offsets[:-1]], tokens[offsets[1:] - 1] = 2, 3
    return tokens, offsets, stream(seed, np.arange(len(lengths)))


def marks(tokens: np.ndarray, seed: int) -> np.ndarray:
    """Mark half of the tokens as going on with a word, none of them at or behind [CLS] and [SEP]."""
    edge = np.isin(tokens, (2, 3))
    goes_on = (np.random.default_rng(seed).random(len(tokens)) < 0.5) & ~edge
    goes_on[1:] &= ~edge[:-1]
    return goes_on


def hide(
    tokens: Any,
    offsets: Any,
    keys: Any,
    *,
    rate: float,
    cap: int | None,
    spans: bool,
    goes_on: np.ndarray | None = None,
) -> tuple[np.ndarray, ...]:
    return choose_masked(
        tokens,
        offsets,
        keys,
        rate=rate,
        cap=cap,
        special_ids=SPECIALS,
        vocab_size=VOCABULARY,
        mask_id=MASK,
        word_edges=(BEGINS, ENDS),
        goes_on=goes_on,
        spans=spans,
    )


def words_of(tokens: list[int], goes_on: list[bool]) -> list[list[int]]:
    """Return the places of each word's pieces; [UNK] inside a word doesn't part it, and isn't one of them."""
    words: list[list[int]] = []
    for place, token in enumerate(tokens):
        before = tokens[place - 1]
        if not goes_on[place] and (token in SPECIALS or BEGINS[token] or before in SPECIALS or ENDS[before]):
            words.append([])
        if token not in SPECIALS:
            words[-1].append(place)
    return [word for word in words if word]


def plainly(
    tokens: list[int], key: np.uint64, goes_on: list[bool], *, rate: float, cap: int | None, spans: bool
) -> list[list[int]]:
    """Choose word after word, or span after span; the places of each."""
    words = words_of(tokens, goes_on)
    budget = int(num_masked(np.array([len(tokens)]), rate=rate, cap=cap)[0])
    alone = np.array([key])
    drawn = {word[0]: int(stream(stream(alone, masking._CHOICE), word[0])[0]) for word in words}
    hidden: set[int] = set()
    found = []
    for number in sorted(range(len(words)), key=lambda number: drawn[words[number][0]]):
        first = words[number][0]
        length = int(span_words(stream(stream(alone, masking._SPAN), first))[0]) if spans else 1
        span: list[int] = []
        for word in words[number : number + length]:
            between = range(span[-1] + 1, word[0]) if span else ()
            behind_special = any(not goes_on[place] for place in between)
            if behind_special or hidden & set(word) or len(hidden) + len(word) > budget:
                break
            span += word
            hidden |= set(word)
        if span:
            found.append(span)
    return found


@settings(max_examples=40)
@given(
    lengths=st.lists(st.integers(3, 120), min_size=1, max_size=6),
    seed=st.integers(0, 10**6),
    rate=st.sampled_from([0.05, 0.15, 0.3, 1.0]),
    cap=st.sampled_from([None, 1, 9]),
    spans=st.booleans(),
    marked=st.booleans(),
)
@example(lengths=[3, 3], seed=0, rate=0.15, cap=None, spans=True, marked=False)
def test_equals_the_plain_way(
    lengths: list[int], seed: int, rate: float, cap: int | None, spans: bool, marked: bool
) -> None:
    tokens, offsets, keys = sequences(lengths, seed)
    tokens[(np.random.default_rng(seed).random(len(tokens)) < 0.1) & ~np.isin(tokens, SPECIALS)] = 1  # [UNK]
    goes_on = marks(tokens, seed) if marked else None
    positions, original, shown = hide(tokens, offsets, keys, rate=rate, cap=cap, spans=spans, goes_on=goes_on)
    expected: list[int] = []
    for number, start in enumerate(offsets[:-1].tolist()):
        own = tokens[start : offsets[number + 1]].tolist()
        flags = [False] * len(own) if goes_on is None else goes_on[start : offsets[number + 1]].tolist()
        units = plainly(own, keys[number], flags, rate=rate, cap=cap, spans=spans)
        expected += sorted(start + place for unit in units for place in unit)
        for unit in units:
            fates = stream(stream(keys[number : number + 1], masking._FATE), unit)
            fate = uniform(np.repeat(fates[:1], len(unit)) if spans else fates)
            now = shown[start + np.array(unit)]
            assert (now[fate < 0.8] == MASK).all()
            assert (now[fate >= 0.9] == tokens[start + np.array(unit)][fate >= 0.9]).all()
    assert positions.tolist() == expected
    assert np.array_equal(original, tokens[positions]) and not np.isin(original, SPECIALS).any()


def statistics(instances: int, *, spans: bool, seed: int = 1) -> dict[str, float]:
    """Hide pieces of sequences of 128 and count."""
    tokens, offsets, keys = sequences([128] * instances, seed)
    positions, original, shown = hide(tokens, offsets, keys, rate=0.15, cap=None, spans=spans)
    is_text = ~np.isin(tokens, SPECIALS)
    begins = is_text.copy()
    begins[1:] &= BEGINS[tokens[1:]] | ~is_text[:-1] | ENDS[tokens[:-1]]
    hidden = np.zeros(len(tokens), bool)
    hidden[positions] = True
    torn = is_text[1:] & ~begins[1:] & (hidden[1:] != hidden[:-1])
    now = shown[positions]
    masked, kept = now == MASK, now == original
    together = np.flatnonzero((np.diff(positions) == 1) & begins[positions[1:]])  # words hidden beside one another
    words = np.bincount(positions[begins[positions]] % 128, minlength=128)[20:100]
    pieces = np.bincount(now[~masked & ~kept], minlength=VOCABULARY)[5:]
    return {
        "chosen": len(positions) / instances,
        "torn_words": int(torn.sum()),
        "masked": masked.mean(),
        "kept": kept.mean(),
        "neighbours_of_other_fate": (masked[together] != masked[together + 1]).mean(),
        "neighbours": len(together) / begins[positions].sum(),
        "unevenness_over_places": words.std() / words.mean() ** 0.5,
        "replacement_z": (((pieces - pieces.mean()) ** 2 / pieces.mean()).sum() - 995) / 1990**0.5,
    }


def check(found: dict[str, float], *, spans: bool) -> None:
    """Hold the figures to the recipes: 19 pieces of 128, 80/10/10, whole words, and fates by piece or by span."""
    assert found["torn_words"] == 0
    assert 18.9 < found["chosen"] <= 19
    tolerance = 0.008 if spans else 0.004  # of a third as many draws
    assert abs(found["masked"] - 0.8) < tolerance and abs(found["kept"] - 0.1) < tolerance
    if spans:  # words of a span share their fate; some spans lie beside one another
        assert 0.6 < found["neighbours"] < 0.8 and found["neighbours_of_other_fate"] < 0.06
    else:
        assert found["neighbours"] < 0.2 and abs(found["neighbours_of_other_fate"] - 0.32) < 0.02
    assert found["unevenness_over_places"] < (2.0 if spans else 1.5) and abs(found["replacement_z"]) < 5


@pytest.mark.parametrize("spans", [False, True])
def test_statistics(spans: bool) -> None:
    check(statistics(INSTANCES, spans=spans), spans=spans)


def test_lengths_of_spans_are_geometric() -> None:
    shares = np.bincount(span_words(stream(0, np.arange(200_000))), minlength=11)[1:] / 200_000
    expected = 0.2 * 0.8 ** np.arange(10)
    assert abs(shares - expected / expected.sum()).max() < 0.004
    assert (shares * np.arange(1, 11)).sum() == pytest.approx(3.8, abs=0.02)  # as SpanBERT says
