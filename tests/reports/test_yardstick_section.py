"""[MASK] alone beside counting: the section, the lines across the curves, and reports of runs that lack them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from bertie.reports.run import RunReport, render
from bertie.reports.yardsticks import levels, moment, plateau, yardsticks

Read = Callable[[str], Any]
SUMMARY: dict[str, Any] = {
    "dev_mask_loss": 3.92,
    "dev_mask_accuracy": 0.281,
    "dev_mask_cosine": 0.31,
    "train_mask_loss": 3.8,
    "train_mask_accuracy": 0.29,
    "yardstick_unigram_loss": 6.63,
    "yardstick_unigram_accuracy": 0.044,
    "yardstick_neighbours_loss": 4.07,
    "yardstick_neighbours_accuracy": 0.278,
    "plateau_left_step": 80,
    "plateau_left_tokens": 327_680,
    "plateau_left_seconds": 39.7,
    "tokens": 2_000_000,
}


def records(*, dev: bool = True) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for step in range(0, 501, 10):
        loss = 3.8 + 5 * math.exp(-step / 60)
        common = {
            "step": step,
            "seconds": step / 2,
            "tokens": step * 4096,
            "mask_loss": loss,
            "mask_accuracy": 0.3 - loss / 30,
        }
        if step:
            found.append({"kind": "train", **common, "loss": loss - 0.4, "mlm_accuracy": 0.35})
        if dev and step % 100 == 0:
            found.append({"kind": "dev", **common, "loss": loss - 0.3, "mlm_accuracy": 0.36, "mask_cosine": 0.9})
    return found


def test_the_section(read_page: Read) -> None:
    page = read_page(render(RunReport("x", "pretrain", SUMMARY, records=records(), machine={}, versions={})))
    assert [heading.text for heading in page.all("h2")][:2] == ["[MASK] alone, compared with token counts", "Curves"]
    rows = [[" ".join(cell.words().split()) for cell in row.all("td")] for row in page.all("tbody")[0].all("tr")]
    assert rows == [
        ["Always the most frequent token (unigram)", "6.63", "4.4%"],
        ["Counts of the tokens on both sides (two neighbours)", "4.07", "27.8%"],
        ["This model, dev set", "3.92", "28.1%"],
    ]
    assert "The run left the plateau after 330k tokens (40 s)." in page.words()
    facts = " ".join(page.all("dl", "facts")[0].words().split())
    assert "ardstick" not in facts and "lateau" not in facts and "Cosine between masks, dev 0.31" in facts


def test_yardsticks_and_the_moment_cross_the_curves_of_masks_alone(read_page: Read) -> None:
    page = read_page(render(RunReport("x", "pretrain", SUMMARY, records=records(), machine={}, versions={})))
    charts = page.all("figure", "large") + page.all("figure", "small")
    names = [chart.all("figcaption")[0].text for chart in charts]
    assert names[:2] == ["Loss, [MASK] alone", "Accuracy, [MASK] alone"] and "Loss" in names
    said = [
        [word.text for word in chart.all("text", "tick") if not word.text.replace(".", "").isdigit()]
        for chart in charts
    ]
    assert {"unigram 6.63", "two neighbours 4.07", "plateau left"} <= set(said[0])
    assert {"unigram 4.4%", "two neighbours 27.8%", "plateau left"} <= set(said[1])
    assert not any(word.startswith(("unigram", "two", "plateau")) for words in said[2:] for word in words)
    assert "unigram 6.63; two neighbours 4.07" in charts[0].all("svg")[0].attributes["aria-label"]


def test_without_dev_the_end_of_training_stands_beside() -> None:
    summary = {name: value for name, value in SUMMARY.items() if not name.startswith("dev_")}
    assert "This model, last steps of training" in yardsticks(summary)


@pytest.mark.parametrize("missing", ["yardstick_unigram_loss", "yardstick_neighbours_loss"])
def test_runs_without_yardsticks_have_no_section(read_page: Read, missing: str) -> None:
    summary = {name: value for name, value in SUMMARY.items() if name != missing}
    assert yardsticks(summary) == ""
    page = read_page(render(RunReport("x", "pretrain", summary, records=records(dev=False))))
    assert "token counts" not in page.words()


def test_an_older_run_is_drawn_as_before(read_page: Read) -> None:
    old = [{name: value for name, value in row.items() if "mask_" not in name} for row in records()]
    page = read_page(render(RunReport("x", "pretrain", {"dev_loss": 3.5, "dev_mlm_accuracy": 0.36}, records=old)))
    assert [chart.all("figcaption")[0].text for chart in page.all("figure", "large")] == ["Loss", "MLM accuracy"]
    assert "[MASK] alone" not in page.words()


@pytest.mark.parametrize("value", [math.nan, math.inf, "much", True, None, 1e200])
def test_what_is_no_number_is_left_out(read_page: Read, value: Any) -> None:
    summary = {**SUMMARY, "plateau_left_step": value, "plateau_left_tokens": value, "yardstick_unigram_loss": value}
    assert moment(summary) == "" and plateau(summary, "mask_loss") == []
    assert levels(summary, "mask_loss") == [(4.07, "two neighbours")] and levels(summary, "loss") == []
    read_page(render(RunReport("x", "pretrain", summary, records=records())))
    with_own = {**SUMMARY, "dev_mask_loss": value, "dev_mask_accuracy": value}
    assert "This model, last steps of training" in yardsticks(with_own)


def test_what_was_expected_is_told_there_and_nowhere_else() -> None:
    assert "expected" not in yardsticks(SUMMARY)
    hopes = {"expected_mask_loss": 3.9, "expected_mask_loss_of_twice": 3.7}
    said = "The loss expected before the run was 3.90, and 3.70 for a run twice as long."
    page = render(RunReport(title="run", kind="pretrain", summary={**SUMMARY, **hopes}, records=records(), settings=""))
    assert said in page and "Expected mask loss" not in page
