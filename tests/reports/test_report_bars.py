"""Comparisons of several seeds: mean and spread are right, bars begin at zero, every seed has its dot."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.metrics.spread import deviation as spread
from bertie.metrics.spread import mean
from bertie.reports.bars import bars

Read = Callable[[str], Any]
ROWS = [("pre-trained", [0.79, 0.7812, 0.7919]), ("random", [0.7244, 0.7301, 0.7187])]


def test_mean_and_spread() -> None:
    assert mean([1.0, 2.0, 6.0]) == 3
    assert spread([1.0, 2.0, 6.0]) == pytest.approx(7**0.5)
    assert spread([4.0]) == 0


def test_figures_and_dots(read_page: Read) -> None:
    page = read_page(bars("What it bought", ROWS, unit="%"))
    svg = page.all("svg")[0]
    assert svg.attributes["aria-label"] == "What it bought. pre-trained: 78.8 ± 0.6%; random: 72.4 ± 0.6%"
    assert [text.text for text in svg.all("text", "strong")] == ["78.8 ± 0.6%", "72.4 ± 0.6%"]
    assert [title.text for circle in svg.all("circle") for title in circle.inside][:3] == ["79.0%", "78.1%", "79.2%"]
    first, second = (float(bar.attributes["width"]) for bar in svg.all("rect", "bar"))
    assert first / second == pytest.approx(mean(ROWS[0][1]) / mean(ROWS[1][1]), abs=0.002), "bars begin at zero"


def test_one_seed_has_no_spread(read_page: Read) -> None:
    page = read_page(bars("x", [("only", [2.5])], unit="points"))
    assert [text.text for text in page.all("text", "strong")] == ["2.500 points"]


def test_nothing_to_compare(read_page: Read) -> None:
    assert "no data" in read_page(bars("x", [("a", []), ("b", [float("nan")])])).words()


def test_a_row_without_scores_stays(read_page: Read) -> None:
    page = read_page(bars("x", [("a", []), ("b", [1.0, 2.0])]))
    assert [text.text for text in page.all("text", "strong")] == ["–", "1.500 ± 0.707"]
    assert len(page.all("rect", "bar")) == 1


def test_long_names_are_cut_and_told(read_page: Read) -> None:
    name = "a very long name of a way to begin"
    text = read_page(bars("x", [(name, [1.0])])).all("text", "name")[0]
    assert text.text.endswith("…") and text.inside[0].text == name


@settings(max_examples=60)
@given(
    st.text(max_size=12),
    st.lists(st.tuples(st.text(max_size=40), st.lists(st.floats(), max_size=5)), max_size=8),
    st.sampled_from(["", "%", "<b>"]),
)
def test_sound_for_any_scores(read_page: Read, title: str, rows: list[tuple[str, list[float]]], unit: str) -> None:
    read_page(bars(title, rows, unit=unit))
