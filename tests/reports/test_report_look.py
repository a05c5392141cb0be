"""The look of reports: text and lines stand out from both papers, and colours stay apart for every kind of eye."""

import re
from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest

from bertie.reports.chart import NUM_COLOURS
from bertie.reports.page import page, section
from bertie.reports.style import DARK, LIGHT, STYLE

# Linear RGB as seen without one kind of cone: Machado, Oliveira and Fernandes (2009), severity 1.
EYES = {
    "all cones": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}
THEMES = pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])


def colours(theme: str) -> dict[str, tuple[float, ...]]:
    """Return the named colours of a theme as linear RGB."""
    found = {}
    for name, digits in re.findall(r"--([\w-]+):#([0-9a-f]+)", theme):
        whole = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
        found[name] = tuple(_linear(int(whole[place : place + 2], 16) / 255) for place in (0, 2, 4))
    return found


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def contrast(one: tuple[float, ...], other: tuple[float, ...]) -> float:
    """Return the contrast of WCAG 2, from 1 to 21."""
    bright = sorted(0.2126 * red + 0.7152 * green + 0.0722 * blue for red, green, blue in (one, other))
    return (bright[1] + 0.05) / (bright[0] + 0.05)


def lab(rgb: tuple[float, ...], eye: str) -> tuple[float, float, float]:
    red, green, blue = (min(1.0, max(0.0, sum(a * b for a, b in zip(row, rgb, strict=True)))) for row in EYES[eye])
    xyz = (
        (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505,
        0.2126 * red + 0.7152 * green + 0.0722 * blue,
        (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089,
    )
    x, y, z = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in xyz)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def test_contrast_of_black_and_white() -> None:
    assert contrast((0, 0, 0), (1, 1, 1)) == pytest.approx(21)


@THEMES
def test_text_is_readable(theme: str) -> None:
    found = colours(theme)
    for ink in ("ink", "soft", "accent", "good"):
        for paper in ("paper", "card"):
            assert contrast(found[ink], found[paper]) >= 4.5, f"{ink} on {paper}"


@THEMES
def test_lines_stand_out(theme: str) -> None:
    found = colours(theme)
    assert all(contrast(found[f"c{place}"], found["card"]) >= 3 for place in range(NUM_COLOURS))


@THEMES
@pytest.mark.parametrize("eye", EYES)
def test_colours_are_told_apart(theme: str, eye: str) -> None:
    found = {place: lab(colours(theme)[f"c{place}"], eye) for place in range(NUM_COLOURS)}
    for one, other in combinations(found, 2):
        distance = sum((a - b) ** 2 for a, b in zip(found[one], found[other], strict=True)) ** 0.5
        assert distance >= 20, f"colours {one} and {other} look alike"


def test_every_class_in_use_has_a_rule_and_every_variable_a_value() -> None:
    assert set(re.findall(r"var\(--([\w-]+)", STYLE)) <= set(re.findall(r"--([\w-]+):", STYLE)) | {"share"}
    assert set(re.findall(r"--([\w-]+):", LIGHT)) == set(re.findall(r"--([\w-]+):", DARK))


def test_paper_is_never_dark() -> None:
    assert STYLE.count("prefers-color-scheme") == STYLE.count("screen and (prefers-color-scheme:dark)") == 1
    assert "@media print" in STYLE


def test_a_page_has_language_width_and_one_heading() -> None:
    written = page("Title", "kind", ["<p>x</p>", ""], footer="end")
    assert written.startswith('<!doctype html>\n<html lang="en"><head><meta charset="utf-8">')
    assert 'name="viewport"' in written and written.count("<h1") == 1 and "<nav" not in written


def test_places_to_jump_to_have_names_of_their_own(read_page: Callable[[str], Any]) -> None:
    titles = ["Curves", "Curves", "?!", "curves 1", "北京"]
    written = read_page(page("Title", "kind", [section(title, "<p>x</p>") for title in titles], footer="end"))
    assert [part.attributes["id"] for part in written.all("section")] == [
        "curves",
        "curves-1",
        "part",
        "curves-1-3",
        "北京",
    ]
    assert [link.text for link in written.all("a")] == titles
