"""What an evaluation found, as sections: calibration, numbers against numbers, errors as a table or in their texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.reports.calibration import calibration_section, expected_calibration_error
from bertie.reports.findings import Findings, Wrong, sections
from bertie.reports.page import page as whole_page
from bertie.reports.scatter import scatter

Read = Callable[[str], Any]


def on_page(*parts: str) -> str:
    return whole_page("Title", "kind", parts, footer="end")


def headings(page: Any) -> list[str]:
    return [heading.text for heading in page.all("h2")]


def test_the_error_of_calibration_is_weighed_by_items() -> None:
    assert expected_calibration_error([(0.5, 0.6, 10), (0.9, 0.8, 30)]) == pytest.approx(0.1)
    assert expected_calibration_error([(0.95, 0.95, 7)]) == 0
    assert expected_calibration_error([]) == 0


@pytest.mark.parametrize(
    ("tenths", "lean"),
    [
        ([(0.9, 0.7, 10)], "the model is overconfident."),
        ([(0.7, 0.9, 10)], "the model is underconfident."),
        ([(0.6, 0.7, 10), (0.9, 0.8, 10)], "the confidence matches the share of correct"),
    ],
)
def test_the_lean_is_said(tenths: list[tuple[float, float, int]], lean: str, read_page: Read) -> None:
    page = read_page(on_page(calibration_section(tenths)))
    assert lean in page.words()
    assert len(page.all("circle")) == len(page.all("tbody")[0].all("tr")) == len(tenths)


def test_dots_stand_where_they_should(read_page: Read) -> None:
    """The right answers' share goes up, the model's word goes right, and the gap reaches to the diagonal."""
    svg = read_page(on_page(calibration_section([(0.25, 0.25, 5), (0.75, 1.0, 20)]))).all("svg")[0]
    low, high = svg.all("circle")
    assert float(low.attributes["cx"]) < float(high.attributes["cx"])
    assert float(low.attributes["cy"]) > float(high.attributes["cy"])
    assert float(low.attributes["r"]) < float(high.attributes["r"])
    start, end = (float(place) for place in re.findall(r"[\d.]+", svg.all("path", "gap")[1].attributes["d"])[1:])
    assert end < start and end == pytest.approx(float(high.attributes["cy"]))
    assert [title.text for title in svg.all("title")][1] == "confidence 75.0%, correct 100%, 20 items"


def test_numbers_are_drawn_on_one_scale(read_page: Read) -> None:
    page = read_page(scatter([(0.0, 0.0), (5.0, 5.0), (2.5, 2.5), (5.0, 0.0), (1.0, float("nan"))]))
    dots = [(float(dot.attributes["cx"]), float(dot.attributes["cy"])) for dot in page.all("circle")]
    assert len(dots) == 4
    (left, bottom), (right, top), (middle, half), corner = dots
    assert left < middle < right and top < half < bottom and corner == (right, bottom)
    ideal = [float(number) for number in re.findall(r"[\d.]+", page.all("path", "ideal")[0].attributes["d"])]
    assert ideal == [left, bottom, right, top]


def test_thousands_of_numbers_stay_a_small_drawing(read_page: Read) -> None:
    page = read_page(scatter([(place % 7, place % 5) for place in range(20_000)]))
    assert len(page.all("circle")) <= 1500 and "every 14th of 20,000 items" in page.words()


def test_only_what_was_found_is_shown(read_page: Read) -> None:
    assert not any(sections(Findings()))
    page = read_page(on_page(*sections(Findings(estimates=[(1.0, 2.0)], worst=[Wrong("a text", "1", "2")]))))
    assert headings(page) == ["Predictions", "Worst errors"]
    assert [cell.text for cell in page.all("th")] == ["text", "gold", "prediction"]


def test_classes_without_confusion_are_a_table(read_page: Read) -> None:
    """Items with several labels have scores of every label, and no one cell of a matrix."""
    scores = {"comedy": {"precision": 1.0, "recall": 0.5, "f1": 2 / 3, "support": 4.0}}
    page = read_page(
        on_page(*sections(Findings(labels=["comedy"], per_class=scores, worst=[Wrong("x", "", "comedy", 1.0)])))
    )
    assert headings(page) == ["By class", "Worst errors"] and not page.all("table", "heat")
    row = page.all("tbody")[0].all("tr")[0]
    assert row.words().split() == ["comedy", "100%", "50.0%", "66.7%", "4"]
    assert "none" in page.all("tbody")[1].words(), "no label at all is said"


def test_a_very_long_text_is_cut(read_page: Read) -> None:
    page = read_page(on_page(*sections(Findings(worst=[Wrong("word " * 200_000, "a", "b", 1.0)]))))
    assert len(page.all("tbody")[0].words()) < 2000


numbers = st.floats() | st.floats(-1, 2)


@settings(max_examples=60)
@given(st.lists(st.tuples(numbers, numbers, st.integers(0, 10**9)), max_size=12), st.lists(st.tuples(numbers, numbers)))
def test_sound_for_any_figures(
    read_page: Read, tenths: list[tuple[float, float, int]], pairs: list[tuple[float, float]]
) -> None:
    read_page(on_page(*sections(Findings(calibration=tenths, estimates=pairs))))
