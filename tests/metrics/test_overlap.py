"""Scores of written texts: by hand, by properties, and as sacrebleu has them where it is installed."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.metrics.overlap import chrf, exact_match, further_scores, same_words

TEXTS = st.lists(st.tuples(st.text("ab c。猫", max_size=12), st.text("ab c。猫", max_size=12)), min_size=1, max_size=4)


@pytest.mark.parametrize(
    ("gold", "guess", "same"),
    [
        ("The film.", "the film .", True),
        ("北京的猫", "北 京 的 猫", True),
        ("don't", "don ' t", True),
        ("1 2 3", "12 3", False),
        ("a b", "b a", False),
        ("", "  ", True),
        ("", "a", False),
    ],
)
def test_words_count_and_spaces_do_not(gold: str, guess: str, same: bool) -> None:
    assert same_words(gold, guess) == same


def test_exact_match_is_a_share() -> None:
    assert exact_match(["a", "b", "c d"], ["a", "x", "C  d"]) == pytest.approx(2 / 3)


def test_chrf_by_hand() -> None:
    """Compare abc and abd: 2 of 3 letters, 1 of 2 pairs, 0 of 1 triple on both sides: (2/3 + 1/2 + 0) / 3."""
    assert chrf(["abc"], ["a bd"]) == pytest.approx((2 / 3 + 1 / 2) / 3)
    # ab against abcd: precision (2/4 + 1/3) / 2, recall 1; orders that one side lacks don't count.
    precision = (2 / 4 + 1 / 3) / 2
    assert chrf(["ab"], ["abcd"]) == pytest.approx(5 * precision / (4 * precision + 1))


@given(TEXTS)
def test_chrf_is_a_share_and_1_for_the_same(pairs: list[tuple[str, str]]) -> None:
    gold, guesses = [one for one, _ in pairs], [other for _, other in pairs]
    assert 0.0 <= chrf(gold, guesses) <= 1.0
    assert chrf(gold, gold) == (1.0 if "".join(gold).strip() else 0.0)


@settings(max_examples=200)
@given(TEXTS)
def test_chrf_is_that_of_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    gold, guesses = [one for one, _ in pairs], [other for _, other in pairs]
    assert chrf(gold, guesses) == pytest.approx(sacrebleu.corpus_chrf(guesses, [gold]).score / 100, abs=1e-9)


def test_further_scores_of_a_perfect_text() -> None:
    pytest.importorskip("sacrebleu")
    pytest.importorskip("rouge_score")
    gold = ["the old dog ran in the city", "a bird sat in the house"]
    assert further_scores(gold, gold) == pytest.approx({"bleu": 1.0, "rouge_l": 1.0})
    assert further_scores(["北京的猫吃了三条鱼"], ["北京的猫吃了三条鱼"])["bleu"] == pytest.approx(1.0)
