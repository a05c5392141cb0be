"""What the demo says of its figures, also when pre-training lost."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bertie.commands._demo_files import DemoFiles
from bertie.commands._demo_report import CLASSICAL, PRETRAINED, RANDOM, Outcome, masks_remark, remark
from bertie.commands._demo_text import Language
from bertie.items.words import Words

_DEV = [Words(("a",), ("O",)) for _ in range(7)]


def _outcome(
    scores: dict[str, Sequence[float]], *, drawn: int = 5, task: str = "tagging", language: Language = "en"
) -> Outcome:
    files = DemoFiles(
        corpus=(Path("text.jsonl"),),
        language=language,
        task=task,
        criterion="f1" if task == "tagging" else "accuracy",
        num_train=50,
        dev=_DEV,
        dev_table=Path("dev.jsonl"),
        draws=(),
        num_labelled=drawn,
        samples=(),
    )
    return Outcome(
        folder=Path("out"),
        files=files,
        documents=1,
        tokens=1,
        life={"seconds": 60.2},
        scores=scores,
        model=Path("model"),
        seconds=1.0,
        processor_seconds=1.0,
    )


def test_a_gain_is_told_in_points() -> None:
    said = remark(_outcome({PRETRAINED: [0.4, 0.5], RANDOM: [0.3, 0.2], CLASSICAL: [0.35, 0.45]}))
    assert said.startswith("F1 on 7 held-out sentences, after fine-tuning on 5 labelled ones (2 seeds, each with")
    assert "60 seconds of pre-training" in said
    assert "20.0 points above random weights and 5.0 points above the classical method" in said


def test_chinese_features_are_named() -> None:
    said = remark(_outcome({PRETRAINED: [0.4], RANDOM: [0.3], CLASSICAL: [0.3]}, language="zh"))
    assert "logistic regression on character, neighbours" in said


def test_a_loss_is_told_as_plainly() -> None:
    said = remark(_outcome({PRETRAINED: [0.4], RANDOM: [0.45], CLASSICAL: [0.6]}, drawn=50, task="classification"))
    assert said.startswith("Accuracy on 7 held-out texts")
    assert "one seed, so the spread is unknown" in said
    assert "5.0 points below random weights and 20.0 points below the classical method" in said


def test_what_does_not_hold_for_every_seed_may_be_chance() -> None:
    said = remark(_outcome({PRETRAINED: [0.4, 0.4], RANDOM: [0.3, 0.42]}))
    assert "4.0 points above (not for every seed, so possibly by chance) random weights" in said
    assert "scikit-learn" in said


@pytest.mark.parametrize(("loss", "word"), [(3.0, "below"), (4.5, "above")])
def test_masks_stand_beside_counts(loss: float, word: str) -> None:
    life = {"dev_mask_accuracy": 0.31, "dev_mask_loss": loss}
    life |= {"yardstick_neighbours_accuracy": 0.264, "yardstick_neighbours_loss": 3.8}
    said = masks_remark(life)
    assert "31.0% of the hidden pieces" in said and "26.4%" in said
    assert f"{abs(3.8 - loss):.2f} nats {word} theirs" in said


def test_without_held_out_text_nothing_is_said_of_masks() -> None:
    assert masks_remark({"train_loss": 3.0}) == ""
