"""Measuring on dev while fine-tuning: as often as needed and no more, and always the model that is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie.commands import _dev
from bertie.commands._new_model import ModelSettings
from bertie.errors import SettingsError
from bertie.training.settings import LoraSettings, OptimizerSettings, TrainingSettings

ROWS = [f"the {word}\t{'no' if word in ('bad', 'city') else 'yes'}" for word in ("film", "bad", "city", "good", "cat")]


@pytest.fixture(scope="module")
def start(prepare_sentences: Callable[..., Path]) -> Path:
    """A pre-trained model beside a table."""
    corpus = prepare_sentences(("film", "bad", "city", "good", "cat"), count=60, lengths=(3, 8), document=6)
    bertie.pretrain(corpus=corpus, out=corpus / "run", model=ModelSettings(size="2/32"), steps=1, length=32, threads=1)
    (corpus / "table.tsv").write_text("\n".join(["text\tlabel", *ROWS]), encoding="utf-8")
    return corpus


@pytest.mark.parametrize(
    ("wishes", "evaluations"),
    [
        ({}, 1),
        ({"optimizer": OptimizerSettings(ema=0.5)}, 1),
        ({"lora": LoraSettings(rank=2)}, 2),
        ({"training": TrainingSettings(evaluate_every=2)}, 3),
        ({"training": TrainingSettings(evaluate_every=2, best=True)}, 4),
        ({"precision": "bf16"}, 2),
    ],
    ids=["last", "mean", "merged", "curve", "best", "bf16"],
)
def test_dev_is_measured_no_more_often_than_needed(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wishes: dict[str, Any], evaluations: int
) -> None:
    """Once at the end, for the journal and the report alike, unless the written model isn't what was measured then."""
    count, evaluate = [0], _dev.evaluate

    def counting(*parts: Any, **more: Any) -> Any:
        count[0] += 1
        return evaluate(*parts, **more)

    monkeypatch.setattr(_dev, "evaluate", counting)
    table = start / "table.tsv"
    settings: dict[str, Any] = {"precision": "fp32", **wishes}
    run = bertie.finetune(
        str(start / "run" / "model"), train=table, dev=table, out=tmp_path / "run", steps=4, threads=1, **settings
    )
    for stored in (tmp_path / "run" / "run.json", tmp_path / "run" / "model" / "config.json"):
        values = json.loads(stored.read_text("utf-8"))
        plan = (values.get("values") or values["bertie"])["reading"]
        assert plan["columns"] == {"text": "text", "label": "label"} and plan["rows"] == len(ROWS)
    for shown in (tmp_path / "run" / "report.html", tmp_path / "run" / "model" / "README.md"):
        assert "label from column" in shown.read_text("utf-8")
    assert count[0] == evaluations
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text("utf-8").splitlines()]
    steps = [line["step"] for line in lines if line["kind"] == "dev"]
    assert steps == ([0, 2, 4] if "training" in wishes else [4])
    assert bertie.evaluate(tmp_path / "run" / "model", table).scores == pytest.approx(run.scores, abs=1e-4)


def test_parts_of_the_tables(start: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, model = start / "table.tsv", str(start / "run" / "model")
    wishes: dict[str, Any] = {"train": table, "dev": table, "steps": 1, "threads": 1}
    run = bertie.finetune(model, out=tmp_path / "run", train_limit=4, dev_limit=2, **wishes)
    assert (run.values["dev_items"], run.values["steps"]) == (2, 1)
    said = capsys.readouterr().err
    assert "4 of 5 items are used" in said and "2 of 5 items are used" in said
    with pytest.raises(SettingsError, match=r"train-limit.* at least 1 item; got 0"):
        bertie.finetune(model, out=tmp_path / "none", train_limit=0, **wishes)
    assert not (tmp_path / "none").exists()
