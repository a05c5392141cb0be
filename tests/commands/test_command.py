"""Reports: one line of JSON for programs, tables for people."""

import json
from pathlib import Path

import numpy as np
import pytest

from bertie.commands.command import Report


def test_json_holds_the_values_and_no_nan() -> None:
    report = Report(title="t", values={"a": float("nan"), "b": [1.5, {"c": float("inf")}], "d": "模型"}, text="unseen")
    assert report.as_json() == '{"a": null, "b": [1.5, {"c": null}], "d": "模型"}'
    assert json.loads(report.as_json())["b"] == [1.5, {"c": None}]


def test_json_takes_paths_and_numpy() -> None:
    values = {"path": Path("a") / "b", "n": np.int64(3), "x": np.float32(0.5), "hidden": np.zeros((1, 2), np.float32)}
    assert json.loads(Report(title="t", values=values).as_json()) == {
        "path": "a/b",
        "n": 3,
        "x": 0.5,
        "hidden": [[0.0, 0.0]],
    }


def test_text_takes_the_place_of_tables() -> None:
    assert Report(title="t", values={"a": 1}, text="as it is").as_text() == "as it is"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (12345, "12,345"),
        (0.87654321, "0.8765"),
        (0.0, "0.0000"),
        (1e-5, "1e-05"),
        (12345.678, "12,345.7"),
        (True, "yes"),
        (None, "-"),
        ([1, 2.5], "1, 2.5000"),
        ("[MASK] [bold]", "[MASK] [bold]"),
    ],
)
def test_figures(value: object, shown: str) -> None:
    assert Report(title="t", values={"some_figure": value}).as_text() == f"t\n  some figure    {shown}"


def test_groups_and_records() -> None:
    values = {"scores": {"accuracy": 0.5}, "rows": [{"text": "[MASK]", "n": 1}, {"text": "b"}], "none": []}
    lines = Report(title="t", values=values).as_text().splitlines()
    assert lines[:3] == ["t", "  scores.accuracy    0.5000", "  none"]
    assert [line.split() for line in lines[3:] if line and "─" not in line] == [
        ["rows"],
        ["text", "n"],
        ["[MASK]", "1"],
        ["b"],
    ]


def test_width_is_kept() -> None:
    report = Report(title="t", values={"rows": [{"text": "word " * 40}]})
    assert max(map(len, report.as_text(60).splitlines())) <= 60
    assert any("word " * 39 in line for line in report.as_text().splitlines())


def test_a_report_of_nothing_is_its_title() -> None:
    assert Report(title="nothing to do").as_text() == "nothing to do"
