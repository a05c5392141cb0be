"""docs/measured/benchmarks.md is what its script draws from the committed results, and names every benchmark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import draw, ledger
from benchmarks.page import filled

ROOT = Path(__file__).parents[2]
QUESTIONS = sorted(
    path.stem for path in (ROOT / "benchmarks").glob("*.py") if "def cases(" in path.read_text(encoding="utf-8")
)


def test_the_page_is_what_the_script_draws() -> None:
    page = draw.PAGE.read_text(encoding="utf-8")
    assert draw.drawn(page, draw.results()) == page, "run: python -m benchmarks.draw"


def test_the_plots_are_what_the_script_draws() -> None:
    for result in draw.results():
        image = draw.IMAGES / f"benchmark-{result['name']}.svg"
        assert image.read_text(encoding="utf-8") == draw.plot(result), "run: python -m benchmarks.draw"


def test_every_question_is_listed() -> None:
    page = draw.PAGE.read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == QUESTIONS
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    own_data_or_card = {"gpu", "evaluation_memory"}
    listed = next(line for line in makefile.splitlines() if line.startswith("BENCH :=")).split()[2:]
    assert sorted(listed) == sorted(set(QUESTIONS) - own_data_or_card)


def test_committed_results_are_measured() -> None:
    for result in draw.results():
        assert result["name"] in QUESTIONS and result["date"] and result["machine"]["processor"]
        for case in result["cases"]:
            for row in case["rows"].values():
                assert row["repeats"] >= 5 and row["min"] <= row["median"] <= row["max"]


def test_a_plot_is_an_image_of_every_row() -> None:
    row = {"median": 1234.0, "min": 1000.0, "max": 2000.0, "repeats": 5}
    case: dict[str, Any] = {"name": "a < b", "unit": "MB/s", "better": "higher", "reference": "bertie"}
    case["rows"] = {"bertie": row, "peer & co": row}
    root = ET.fromstring(draw.plot({"name": "x", "cases": [case]}))
    texts = [node.text for node in root.iter() if node.text and node.text.strip()]
    assert "bertie" in texts and "peer & co" in texts and texts.count("1,234") == 2
    assert float(root.attrib["height"]) >= 2 * 24


def test_what_is_missing_is_drawn() -> None:
    case = {
        "name": "many",
        "unit": "ms",
        "better": "lower",
        "reference": "bertie",
        "rows": {},
        "faster_by": {},
        "missing": {"engine": "pip install engine"},
        "left_out": {"other": "failed: no"},
    }
    result = {
        "name": "x",
        "question": "?",
        "cases": [case],
        "date": "d",
        "versions": {"python": "3"},
        "machine": {"processor": "P", "threads": 2, "flags": []},
    }
    shown = draw.section(result)
    assert "Not installed: engine (`pip install engine`)." in shown and "Not timed: other: failed: no." in shown
    page = f"a<!-- begin: drawn by {draw.SCRIPT} -->old<!-- end: drawn by {draw.SCRIPT} -->b"
    assert draw.drawn(page, []).split("\n\n")[1] == "No result has been committed yet."


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"page\.md has no markers for a\.py"):
        filled("a<!-- begin: drawn by a.py -->", "new", "a.py", "page.md")
    with pytest.raises(SystemExit, match=r"benchmarks\.md has no markers for benchmarks/draw\.py"):
        draw.drawn("text", [])


def test_only_what_stands_between_the_markers_is_drawn_anew() -> None:
    page = "a<!-- begin: drawn by a.py -->old<!-- end: drawn by a.py -->b"
    once = filled(page, "new", "a.py", "page.md")
    assert once == "a<!-- begin: drawn by a.py -->\n\nnew\n\n<!-- end: drawn by a.py -->b"
    assert filled(once, "new", "a.py", "page.md") == once


def test_figures_are_readable() -> None:
    assert [ledger.figure(value) for value in (0.01234, 3.14159, 99.9, 1234.5)] == ["0.0123", "3.14", "99.9", "1,234"]
