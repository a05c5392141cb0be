"""The page of studies is what its script draws; a run's journal becomes few points, and its loss that of its end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from docs import studies

ROOT = Path(__file__).parents[2]


def run_folder(place: Path, losses: list[float], **dev: float) -> Path:
    place.mkdir(parents=True)
    lines: list[dict[str, Any]] = [
        {"kind": "train", "step": 10 * number, "seconds": 6.0 * number, "tokens": 1000 * number, "loss": loss}
        for number, loss in enumerate(losses, 1)
    ]
    last = lines[-1]
    lines.append({"kind": "dev", **{key: last[key] for key in ("step", "seconds", "tokens")}, **dev})
    (place / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    record = {"settings": {"learning_rate": 1e-3, "out": str(place), "corpus": str(place), "threads": 2}}
    (place / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return place


def test_the_page_and_its_pictures_are_what_the_script_draws() -> None:
    found = studies.studies()
    page = studies.PAGE.read_text(encoding="utf-8")
    assert studies.drawn(page, found) == page, "run: python docs/studies.py draw"
    for name, runs in found.items():
        image = (studies.IMAGES / f"study-{name}.svg").read_text(encoding="utf-8")
        assert image == studies.picture(studies.STUDIES[name], runs), "run: python docs/studies.py draw"


def test_a_run_becomes_an_entry(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", [9.0 - number / 100 for number in range(400)], loss=5.5)
    found = studies.entry("fp32", folder)
    assert len(found["points"]) == studies.NUM_POINTS and found["points"][0][2] == pytest.approx(8.99, abs=0.02)
    assert found["tokens"] == 400_000 and found["minutes"] == 40.0 and found["dev"] == {"loss": 5.5}
    assert found["loss"] == pytest.approx(5.205)  # of the last 40 lines, 5.4 to 5.01
    assert found["settings"] == {"learning_rate": 1e-3, "threads": 2}


def test_runs_are_compared_after_what_all_have_seen(tmp_path: Path) -> None:
    long = studies.entry("long", run_folder(tmp_path / "long", [8.0] * 50 + [4.0] * 50))
    short = studies.entry("short <b>", run_folder(tmp_path / "short", [7.0] * 50, loss=6.5))
    head, _, first, second = studies.table([long, short])
    assert "loss at 0.05 M tokens" in head and "dev loss" in head
    assert first.split(" | ")[3:5] == ["4.000", "8.000"] and second.split(" | ")[3:5] == ["7.000", "7.000"]
    root = ET.fromstring(studies.picture(studies.STUDIES["learning"], [long, short]))
    assert "short <b>: 7.000" in [node.text for node in root.iter()]


def test_the_best_of_each_kind_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "LEDGER", tmp_path)
    with pytest.raises(SystemExit, match="run rates first"):
        studies.planned("optimizers")
    with pytest.raises(SystemExit, match=r"has no planned runs; add finished runs"):
        studies.planned("learning")
    assert len(studies.planned("rates")) == 10
    runs = [
        {"label": "adamw 5e-4", "loss": 6.0},
        {"label": "adamw 1e-3", "loss": 5.0},
        {"label": "muon 2e-3", "loss": 4.0},
    ]
    (tmp_path / "rates.json").write_text(json.dumps(runs), encoding="utf-8")
    found = studies.planned("optimizers")
    assert list(found) == ["adamw 1e-3", "muon 2e-3"]
    assert "--learning-rate 2e-3" in found["muon 2e-3"] and "--budget 15m" in found["muon 2e-3"]


def test_a_study_runs(prepare_sentences: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = prepare_sentences(("cat", "dog", "film", "day"), count=120, lengths=(3, 9), document=6)
    common = "--model.size 2/32 --length 32 --batch-tokens 256 --training.log-every 1"
    study = studies.Study(
        "Two", "Which?", runs={"adamw 1": "--steps 2", "lamb 1": "--optimizer.name lamb --steps 3"}, flags=common
    )
    monkeypatch.setattr(studies, "STUDIES", {"two": study})
    monkeypatch.setattr(studies, "LEDGER", tmp_path / "ledger")
    studies.run_all("two", corpus, corpus, tmp_path / "out", at_once=2)
    found = studies.studies()["two"]
    assert [(run["label"], len(run["points"])) for run in found] == [("adamw 1", 2), ("lamb 1", 3)]
    assert found[1]["settings"]["optimizer.name"] == "lamb" and found[1]["dev"]["loss"] > 0
    before = (tmp_path / "out" / "two-lamb-1" / "metrics.jsonl").read_bytes()
    studies.run_all("two", corpus, corpus, tmp_path / "out", at_once=1)  # finished ones stay
    assert (tmp_path / "out" / "two-lamb-1" / "metrics.jsonl").read_bytes() == before


def test_a_folder_without_a_journal(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"no metrics\.jsonl"):
        studies.entry("x", tmp_path)


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"studies\.md has no markers for docs/studies\.py"):
        studies.drawn("text", {})
