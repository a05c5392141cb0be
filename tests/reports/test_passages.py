"""Texts with spans drawn in them: every character stays, every mark covers its own, and long texts are excerpts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.reports.passages import Mark, Passage, excerpts, marked, passages

Read = Callable[[str], Any]
TEXT = "Anna Schmidt moved to Berlin ."


def looks(page: Any) -> list[tuple[str, str]]:
    return [(span.attributes["class"].removeprefix("found "), span.text) for span in page.all("span", "found")]


def tags(page: Any) -> list[str]:
    return [" ".join(tag.words().replace("\u202f", " ").split()) for tag in page.all("small", "tag")]


def test_right_missed_and_wrong(read_page: Read) -> None:
    marks = [Mark(0, 12, "right", "PER"), Mark(22, 28, "missed", "LOC"), Mark(13, 18, "wrong", "ORG")]
    page = read_page(marked(TEXT, marks))
    assert looks(page) == [("right", "Anna Schmidt"), ("wrong", "moved"), ("missed", "Berlin")]
    assert tags(page) == ["✓ PER right", "✗ ORG wrong", "○ LOC missed"]


def test_spans_that_cross_are_both_seen(read_page: Read) -> None:
    """Gold is the whole name, the guess half of it and the next word."""
    page = read_page(marked(TEXT, [Mark(0, 12, "missed", "PER"), Mark(5, 18, "wrong", "PER")]))
    assert looks(page) == [("missed", "Anna "), ("missed wrong", "Schmidt"), ("wrong", " moved")]


def test_the_same_span_of_another_type(read_page: Read) -> None:
    page = read_page(marked(TEXT, [Mark(22, 28, "missed", "LOC"), Mark(22, 28, "wrong", "PER")]))
    assert looks(page) == [("missed wrong", "Berlin")] and len(tags(page)) == 2


def test_an_answer_in_a_long_context(read_page: Read) -> None:
    text = "before " * 500 + "the answer" + " after" * 500
    start = text.index("the answer")
    page = read_page(marked(text, [Mark(start, start + 10, "right")]))
    words = page.words()
    assert looks(page) == [("right", "the answer")]
    assert words.startswith("… before") and " …" in words and 200 < len(words) < 400


def test_far_apart_spans_are_two_excerpts() -> None:
    text = "x" * 10_000
    runs = excerpts(text, [Mark(100, 110, "missed"), Mark(9000, 9010, "wrong")])
    assert len(runs) == 2 and runs[0][1] < 300 and runs[1][0] > 8800
    assert excerpts(text, []) == [(0, 280)]


def test_a_question_with_its_verdict(read_page: Read) -> None:
    drawn = [
        Passage(TEXT, [Mark(22, 28, "right")], "Where to?", "Berlin", "Berlin", right=True, confidence=0.75),
        Passage(TEXT, [], "When?", "", "", confidence=0.5),
    ]
    first, second = read_page(passages(drawn)).all("article")
    assert first.all("h3")[0].text == "Where to?"
    assert [chip.text for chip in first.all("bdi", "chip")] == ["Berlin", "Berlin"]
    assert not first.all("bdi", "wrong") and "75.0%" in first.words()
    assert second.words().count("none") == 2, "no answer is said"
    assert passages([]) == ""


def test_a_million_characters_and_a_thousand_marks(read_page: Read) -> None:
    text = "word " * 200_000
    marks = [Mark(place * 900, place * 900 + 4, "wrong", "X") for place in range(1000)]
    html = marked(text, marks)
    assert len(html) < 60_000 and "and 940 more spans" in read_page(html).words()


anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=40)
spans = st.builds(
    Mark, st.integers(-3, 45), st.integers(-3, 45), st.sampled_from(["right", "missed", "wrong"]), anything
)


@settings(max_examples=80)
@given(anything, st.lists(spans, max_size=6), anything)
def test_sound_for_any_text_and_marks(read_page: Read, text: str, marks: list[Mark], question: str) -> None:
    read_page(passages([Passage(text, marks, question, text, question)]))


@settings(max_examples=80)
@given(st.text("ab <&", min_size=1, max_size=30), st.lists(spans, max_size=6))
def test_every_character_stays_and_is_covered_as_it_should(read_page: Read, text: str, marks: list[Mark]) -> None:
    bare = [Mark(mark.start, mark.end, mark.kind) for mark in marks]
    html = marked(text, bare)
    covered = {
        place for mark in bare if 0 <= mark.start < mark.end <= len(text) for place in range(mark.start, mark.end)
    }
    assert sum(len(span.text) for span in read_page(html).all("span", "found")) == len(covered)
