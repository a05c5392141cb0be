"""The plateau: when a run left it, what one that sits on it is told, and nothing of one that went well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bertie.training.plateau import Recipe, Watch, advice, last_loss, left, remarks

UNIGRAM = 6.6
YARDSTICKS = {
    "yardstick_unigram_loss": UNIGRAM,
    "yardstick_unigram_accuracy": 0.04,
    "yardstick_neighbours_loss": 4.0,
    "yardstick_neighbours_accuracy": 0.25,
}
WORST = Recipe(task="pretraining", optimizer="adamw", peak=1e-3, vocab_size=30_522, start="paper", dropout=0.1)
BEST = Recipe(task="masked_lm", optimizer="muon", peak=6e-3, vocab_size=8192, start="neighbours")


def line(step: int, loss: float | None, kind: str = "train", **more: Any) -> dict[str, Any]:
    row = {"kind": kind, "step": step, "tokens": step * 8000, "seconds": step / 4.0, "loss": 7.0, **more}
    return row if loss is None else {**row, "mask_loss": loss}


def test_the_line_from_which_on_the_loss_is_below_for_good() -> None:
    losses = [8.0, 6.6, 6.05, 6.3, 6.1, 5.0, 4.0]
    records = [line(10 * place, loss) for place, loss in enumerate(losses, 1)]
    assert left(records, UNIGRAM) == records[4]
    assert left(records[:4], UNIGRAM) is None  # back on it
    assert left(records[:2], UNIGRAM) is None and left([], UNIGRAM) is None
    assert left(records[4:], UNIGRAM) == records[4]


def test_dev_must_agree_with_training() -> None:
    train = [line(10, 6.6), line(20, 5.0), line(30, 4.0)]
    first, last = line(0, 8.3, "dev"), line(30, 4.2, "dev")
    assert left([first, *train, last], UNIGRAM) == train[1]
    assert left([first, *train, line(30, 6.5, "dev")], UNIGRAM) is None  # learned by heart
    assert left([line(0, 3.0, "dev"), *train, last], UNIGRAM) is None  # it began beyond


def test_dev_alone_and_lines_of_older_runs() -> None:
    dev = [line(0, 8.3, "dev"), line(50, 6.5, "dev"), line(100, 6.0, "dev")]
    assert left(dev, UNIGRAM) == dev[2]
    assert left([line(10, None), line(20, None)], UNIGRAM) is None
    assert left([line(10, float("nan")), line(20, 5.0)], UNIGRAM) == line(20, 5.0)
    assert last_loss([*dev, line(120, 3.0)]) == 6.0 and last_loss([line(120, 3.0)]) == 3.0
    assert last_loss([line(1, None)]) is None


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (
            WORST,
            [
                "--model.start neighbours",
                "--optimizer.name muon",
                "--task masked_lm",
                "--model.dropout 0",
                "8,192 pieces",
            ],
        ),
        (BEST, []),
        (replace(BEST, start=None), []),
        (replace(BEST, peak=1e-3), ["--learning-rate 6e-3"]),
        (replace(BEST, task="hybrid"), []),
        (replace(WORST, start=None, random=False), ["random weights", "--task masked_lm", "8,192 pieces"]),
    ],
)
def test_only_what_the_run_does_not_do_already_is_advised(recipe: Recipe, words: list[str]) -> None:
    found = advice(recipe)
    assert len(found) == len(words)
    for said, word in zip(found, words, strict=True):
        assert word in said


def test_a_run_that_ended_on_the_plateau() -> None:
    records = [line(0, 8.3, "dev"), line(1000, 6.6), line(1000, 6.61, "dev", mask_cosine=0.987)]
    said = remarks(records, YARDSTICKS, WORST)
    assert len(said) == 1 and said[0].startswith("the run ended on the plateau: masked tokens are predicted by their")
    assert "loss 6.61, the unigram's 6.60" in said[0] and "(mean cosine 0.99)" in said[0]
    assert said[0].endswith("and a vocabulary of 8,192 pieces (train-tokenizer --vocab-size 8192); or train longer")
    assert "Train longer, or at another --learning-rate" in remarks(records, YARDSTICKS, BEST)[0]
    records[-1]["mask_cosine"] = 0.5
    assert "cosine" not in remarks(records, YARDSTICKS, WORST)[0]


def test_a_run_that_counting_beats() -> None:
    said = remarks([line(1000, 4.8)], YARDSTICKS, BEST)
    assert said == [
        "counting does better: the loss at [MASK] is 4.80, and counts of the two neighbouring tokens reach "
        "4.00 (25.0% right) without a network; train longer"
    ]


def test_nothing_is_said_of_a_good_run_a_short_one_or_one_without_masks() -> None:
    assert remarks([line(1000, 3.5)], YARDSTICKS, WORST) == []
    assert remarks([line(100, 6.6)], YARDSTICKS, WORST) == []
    assert remarks([line(1000, 6.6, tokens=900_000)], YARDSTICKS, WORST) == []
    assert remarks([line(1000, None)], {}, WORST) == [] == remarks([line(1000, None)], YARDSTICKS, WORST)
    assert remarks([], YARDSTICKS, WORST) == []


def test_a_run_under_way_is_told_once() -> None:
    watch = Watch(UNIGRAM, WORST)
    assert watch(line(200, 6.6), 0.5) == ""  # 1.6 M tokens
    assert watch(line(1000, 6.6), 0.1) == ""  # the rate is still rising
    assert watch(line(1000, None), 0.5) == ""
    said = watch(line(1000, 6.6), 0.5)
    assert said.startswith("still on the plateau after 8.0 M tokens: ") and "--model.start neighbours" in said
    assert watch(line(2000, 6.6), 0.6) == ""


def test_a_run_under_way_that_left_is_not_told() -> None:
    watch = Watch(UNIGRAM, WORST)
    assert [watch(line(step, loss), 0.5) for step, loss in ((1000, 6.0), (2000, 5.0))] == ["", ""]
    assert watch(line(3000, 6.6), 1.0) == ""  # the end has a remark of its own
