"""Line charts: gaps, thinning, smooth lines, values under the pointer; sound drawings for any numbers."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.reports.chart import Point, Series, lines, smoothed, thin

Read = Callable[[str], Any]
GOLDEN = Path(__file__).with_name("small_chart.html")
values = st.none() | st.floats() | st.floats(0, 20)
series = st.builds(
    lambda name, ys, marked, smooth: Series(name, [(float(x), y) for x, y in enumerate(ys)], marked, smooth),
    st.text(max_size=8),
    st.lists(values, max_size=60),
    st.booleans(),
    st.booleans(),
)


def small_chart() -> str:
    train = Series("train", [(0, 4.0), (10, 2.5), (20, None), (30, 2.0), (40, 1.5)])
    dev = Series("dev <1>", [(0, 4.2), (40, math.nan)], marked=True)
    return lines("Loss & more", [train, dev], x_label="step")


def test_small_chart_is_drawn_as_ever() -> None:
    assert small_chart() + "\n" == GOLDEN.read_text(encoding="utf-8")


def test_parts_of_the_small_chart(read_page: Read) -> None:
    page = read_page(small_chart())
    svg = page.all("svg")[0]
    assert svg.attributes["aria-label"] == "Loss & more over step; last values: train 1.5, dev <1> 4.2"
    assert [path.attributes["d"].count("M") for path in svg.all("path", "line")] == [2, 1]
    assert [text.text for text in svg.all("text", "mid")] == ["0", "10", "20", "30", "40"]
    titles = [title.text for title in svg.all("title")]
    assert titles[0] == "step 0\ntrain: 4\ndev <1>: 4.2" and titles[-1] == "step 40\ntrain: 1.5"
    assert page.all("span", "legend")[0].inside[0].words().split() == ["train", "1.5"]


@settings(max_examples=60)
@given(st.text(max_size=10), st.lists(series, max_size=8), st.booleans(), st.sampled_from(["large", "small"]))
def test_sound_for_any_numbers(read_page: Read, title: str, many: list[Series], log: bool, size: str) -> None:
    page = read_page(lines(title, many, x_label="step", log=log, size=size))
    drawable = [
        y for one in many for _, y in one.points if y is not None and abs(y) <= 1e150 and (y >= 1e-150 or not log)
    ]
    assert bool(page.all("svg")) == bool(drawable)
    if not drawable:
        assert "no data" in page.words()


def test_a_lone_point_is_seen(read_page: Read) -> None:
    page = read_page(lines("x", [Series("a", [(0, 1.0), (1, None), (2, 3.0), (3, None), (4, 2.0)])], x_label="step"))
    seen = [circle for circle in page.all("svg")[0].inside if circle.tag == "circle"]
    assert len(seen) == 3


def test_a_smooth_line_over_faint_points(read_page: Read) -> None:
    points: list[Point] = [(float(x), 5.0 + (-1) ** x) for x in range(100)]
    page = read_page(lines("x", [Series("a", points, smooth=True)], x_label="step"))
    assert len(page.all("path", "raw")) == len(page.all("path", "line")) == 1
    few = read_page(lines("x", [Series("a", points[:10], smooth=True)], x_label="step"))
    assert not few.all("path", "raw") and len(few.all("path", "line")) == 1


def test_a_running_mean_is_a_mean() -> None:
    steep: list[Point] = [(float(x), 10.0 if x == 0 else 1.0) for x in range(300)]
    found = smoothed(steep)
    assert found[0] == (0.0, 10.0), "a steep start is not flattened"
    assert found[-1] == (299.0, 1.0)
    noisy: list[Point] = [(float(x), float(x % 2)) for x in range(600)]
    assert all(y is not None and abs(y - 0.5) < 0.05 for _, y in smoothed(noisy)[20:])


@given(st.lists(st.none() | st.floats(-1e9, 1e9), min_size=30, max_size=1200))
def test_a_running_mean_stays_within_the_data(ys: list[float | None]) -> None:
    real = [y for y in ys if y is not None]
    found = smoothed([(float(x), y) for x, y in enumerate(ys)])
    assert len(found) <= 2 * 480
    assert [x for x, _ in found] == sorted({x for x, _ in found})
    slack = 1e-6 * max((abs(y) for y in real), default=0.0)
    assert all(y is None or min(real) - slack <= y <= max(real) + slack for _, y in found)
    assert all(ys[int(x)] is None for x, y in found if y is None)


def test_thousands_of_points_are_thinned_and_spikes_stay() -> None:
    points: list[Point] = [(float(x), math.sin(x / 500)) for x in range(20_000)]
    points[7_777] = (7_777.0, 50.0)
    points[12_345] = (12_345.0, None)
    kept = thin(points)
    assert len(kept) < 600
    assert kept[0] == points[0] and kept[-1] == points[-1]
    assert (7_777.0, 50.0) in kept and (12_345.0, None) in kept
    assert thin(points) == kept, "the same points every time"
    assert thin(points[:300]) == points[:300]


def test_a_long_run_makes_no_long_page() -> None:
    points: list[Point] = [(float(x), float(x % 97)) for x in range(50_000)]
    assert len(lines("x", [Series("a", points, smooth=True)], x_label="step")) < 40_000


def test_a_logarithmic_axis(read_page: Read) -> None:
    page = read_page(lines("x", [Series("a", [(0, 1.0), (1, 0.0), (2, 1000.0)])], x_label="step", log=True))
    assert [text.text for text in page.all("text", "end")][:-1] == ["1", "10", "100", "1,000"]
    assert page.all("path", "line")[0].attributes["d"].count("M") == 2


def test_marks_stand_where_they_belong(read_page: Read) -> None:
    one = Series("a", [(0, 1.0), (100, 2.0)])
    page = read_page(lines("x", [one], x_label="step", marks=[(50, "24 → 48"), (500, "beyond"), (-1, "before")]))
    (mark,) = page.all("path", "mark")
    ends = [
        float(word) for path in page.all("path", "line") for word in re.findall(r"[ML]([0-9.]+) ", path.attributes["d"])
    ]
    assert float(mark.attributes["d"][1:].split()[0]) == pytest.approx(sum(ends) / 2, abs=0.2)
    assert "24 → 48" in page.words() and "beyond" not in page.words() and "before" not in page.words()


def test_levels_cross_the_frame_and_belong_to_its_range(read_page: Read) -> None:
    one = Series("dev", [(0, 3.0), (100, 2.0)])
    page = read_page(lines("x", [one], x_label="step", levels=[(6.6, "unigram"), (0.5, "<low>"), (math.nan, "none")]))
    words = [word.text for word in page.all("text", "label")]
    assert words == ["unigram 6.6", "<low> 0.5"]
    heights = [float(path.attributes["d"].split()[1].split("H")[0]) for path in page.all("path", "mark")]
    assert len(heights) == 2 and heights[0] < heights[1]
    assert all(10 <= height <= 190 for height in heights)


def test_a_word_without_room_at_the_left_stands_at_the_right(read_page: Read) -> None:
    one = Series("dev", [(0, 3.0), (100, 2.0)])
    page = read_page(lines("x", [one], x_label="step", marks=[(2, "plateau left"), (90, "plateau left")]))
    near, far = page.all("text", "label")
    lines_at = [float(path.attributes["d"][1:].split()[0]) for path in page.all("path", "mark")]
    assert float(near.attributes["x"]) > lines_at[0] and "end" not in near.attributes["class"].split()
    assert float(far.attributes["x"]) < lines_at[1] and "end" in far.attributes["class"].split()
