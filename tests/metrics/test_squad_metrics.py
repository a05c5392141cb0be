"""Scores of answers: SQuAD 1.1 and 2.0, CMRC 2018 and the best threshold, against the rules written out plainly."""

from __future__ import annotations

import string
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.metrics.question_answering import (
    answer_scores,
    best_threshold,
    cmrc,
    cmrc_words,
    english_words,
    longest_common_run,
    normalize,
    squad,
)

WORDS = st.sampled_from(["the", "The", "a", "an", "cat", "Cat", "cat,", "dog.", "anthem", "-", "'", "“", "é", "1,000"])
TEXTS = st.lists(WORDS, max_size=5).map(" ".join)


def plain_words(text: str) -> list[str]:
    """Normalize word by word, as the rules say it in prose."""
    bare = "".join(character for character in text.lower() if character not in string.punctuation)
    return [word for word in bare.split() if word not in ("a", "an", "the")]


def plain_f1(said: list[str], gold: list[str]) -> float:
    left, shared = list(gold), 0
    for word in said:
        if word in left:
            left.remove(word)
            shared += 1
    return 2 * shared / (len(said) + len(gold)) if shared else 0.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Cat", "cat"),
        ("U.S.A.", "usa"),
        ("an anthem of  the\tband", "anthem of band"),
        ("a-b", "ab"),
        ("“Quoted”", "“quoted”"),
        ("the.", ""),
        ("", ""),
    ],
)
def test_normalize(text: str, expected: str) -> None:
    assert normalize(text) == expected


@given(guess=TEXTS, answers=st.lists(TEXTS, min_size=1, max_size=3))
def test_version_1_by_the_rules(guess: str, answers: list[str]) -> None:
    said, golds = plain_words(guess), [plain_words(answer) for answer in answers]
    exact, f1 = squad(guess, answers, version=1)
    assert exact == float(said in golds)
    assert f1 == pytest.approx(max(plain_f1(said, gold) for gold in golds))


@given(guess=TEXTS, answers=st.lists(TEXTS, max_size=3))
def test_version_2_by_the_rules(guess: str, answers: list[str]) -> None:
    said, golds = plain_words(guess), [words for answer in answers if (words := plain_words(answer))]
    exact, f1 = squad(guess, answers, version=2)
    if golds:
        assert exact == float(said in golds)
        assert f1 == pytest.approx(max(plain_f1(said, gold) for gold in golds))
    else:
        assert exact == f1 == float(not said)


def test_empty_answers() -> None:
    assert squad("", [], version=2) == (1.0, 1.0)
    assert squad("cat", [], version=2) == (0.0, 0.0)
    assert squad("", ["cat"], version=2) == (0.0, 0.0)
    assert squad("the", ["a"], version=1) == (1.0, 0.0)
    assert squad("the", ["a"], version=2) == (1.0, 1.0)


QUESTIONS = st.lists(
    st.tuples(st.floats(0, 1), st.booleans(), st.booleans(), st.integers(-1000, 1000)),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row[3],
)


@given(rows=QUESTIONS)
def test_best_threshold_is_the_best_of_all(rows: list[tuple[float, bool, bool, int]]) -> None:
    marks = np.array([mark if there else float(not said) for mark, said, there, _ in rows])
    said, there = [row[1] for row in rows], [row[2] for row in rows]
    nulls = [float(row[3]) for row in rows]

    def reached(threshold: float) -> float:
        kept = [null <= threshold for null in nulls]
        return float(np.mean([mark if keep else not has for mark, keep, has in zip(marks, kept, there, strict=True)]))

    best, threshold = best_threshold(marks, said, there, nulls, nothing=-2000.0)
    assert best == pytest.approx(max(reached(value) for value in [-2000.0, *nulls]))
    assert reached(threshold) == pytest.approx(best)
    assert best_threshold(marks, said, there, nulls)[1] == (0.0 if threshold == -2000.0 else threshold)


def test_parts_and_thresholds() -> None:
    marks, there = np.array([[1.0, 1.0], [0.0, 0.5], [0.0, 0.0], [0.0, 0.0]]), [True, True, False, False]
    nulls = [-3.0, -1.0, -2.0, 4.0]
    scores = answer_scores(marks, there, answered=[True] * 4, null_scores=nulls, threshold=0.0)
    assert scores == pytest.approx(
        {
            "exact_match": 0.5,
            "f1": 0.625,
            "has_answer_exact_match": 0.5,
            "has_answer_f1": 0.75,
            "no_answer_exact_match": 0.5,
            "no_answer_f1": 0.5,
            "best_exact_match": 0.75,
            "best_exact_match_threshold": -3.0,
            "best_f1": 0.75,
            "best_f1_threshold": -3.0,
        }
    )
    assert answer_scores(marks[:2], there[:2]) == {"exact_match": 0.5, "f1": 0.75}
    assert answer_scores(marks[2:], there[2:])["no_answer_f1"] == 0.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("光荣和ω-force", ["光", "荣", "和", "ωforce"]),
        (
            "《战国无双3》，2009年。",
            ["战", "国", "无", "双", "32009", "年"],
        ),  # as the script does: a sign parts nothing
        ("好……", ["好", "……"]),
        ("New York City", ["new", "york", "city"]),
        ("", []),
        ("。", []),
    ],
)
def test_mixed_segmentation(text: str, words: list[str]) -> None:
    assert cmrc_words(text) == words


def test_cmrc_by_hand() -> None:
    assert cmrc("光荣", ["光荣"]) == (1.0, 1.0)
    assert cmrc("《光荣》", ["“光荣”"]) == (1.0, 1.0)
    exact, f1 = cmrc("北京大学", ["北方大学"])  # the run is 大学: 2 of 4 in both
    assert (exact, f1) == (0.0, 0.5)
    assert cmrc("在北京", ["上海", "北京"])[1] == pytest.approx(2 * (2 / 3) / (2 / 3 + 1))
    assert cmrc("X", ["Y"]) == (0.0, 0.0)
    assert cmrc("", []) == (1.0, 1.0)
    assert cmrc("猫", []) == (0.0, 0.0)


@given(first=st.lists(st.sampled_from("abc"), max_size=7), second=st.lists(st.sampled_from("abc"), max_size=7))
def test_longest_common_run(first: list[str], second: list[str]) -> None:
    runs = {tuple(second[start:end]) for start, end in combinations(range(len(second) + 1), 2)}
    lengths = [end - start for start, end in combinations(range(len(first) + 1), 2) if tuple(first[start:end]) in runs]
    assert longest_common_run(first, second) == max(lengths, default=0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("it cost $5.11, they said.", "it|cost|$|5.11|,|they|said|."),
        ("don't can't it's they'll", "do|n't|ca|n't|it|'s|they|'ll"),
        ("the cats' tail", "the|cats|'|tail"),
        ('he said "no" (twice)', "he|said|``|no|''|(|twice|)"),
        ("1,000 and 2,", "1,000|and|2|,"),
        ("end here. and go on.", "end|here|.|and|go|on|."),
        ("dr. who met j. smith of the u.s. army", "dr.|who|met|j.|smith|of|the|u.s.|army"),
        ("wait... what?!", "wait|...|what|?|!"),
        ("r&b @home #1 50%", "r|&|b|@|home|#|1|50|%"),
        ("cannot gonna wanna go", "can|not|gon|na|wan|na|go"),
        ("'tis said", "'|tis|said"),
        ("", ""),
    ],
)
def test_english_words(text: str, words: str) -> None:
    assert english_words(text) == [word for word in words.split("|") if word]


@given(text=st.text())
def test_any_text_has_words(text: str) -> None:
    assert all(word and not word.isspace() for word in cmrc_words(text))
    assert cmrc(text, [text])[0] == 1.0
