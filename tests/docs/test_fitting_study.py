"""The study of fine-tuning defaults: grids are halved, stopped runs are gone on with, the page is what is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from docs import fitting

CELL = ("mini", "sst2", 100)
GRID = fitting.grid((1e-4, 1e-3), (8,), (5, 20))


def entry(start: str, task: str, size: int, given: Any, seed: int) -> dict[str, Any]:
    """Pretend that the rate alone decides, and that 1e-3 is right."""
    right = given.get("learning_rate", 5e-4) == 1e-3
    return {
        "start": start,
        "task": task,
        "examples": size,
        "seed": seed,
        "given": dict(given),
        "chosen": {"learning_rate": 5e-4, "batch_size": 8, "epochs": 30, **given},
        "held_out": 0.8 if right else 0.7 - 0.001 * given.get("epochs", 1),
        "dev": 0.75 if right else 0.745,
        "date": "2026-11-30",
        "machine": {"Processor": "A processor"},
    }


def test_a_grid_is_halved_and_gone_on_with() -> None:
    assert len(GRID) == 4 and {"learning_rate": 1e-4, "batch_size": 8, "epochs": 20} in GRID
    entries: list[dict[str, Any]] = []
    runs = fitting.halve(entries, CELL, GRID, (1, 2, 3), entry)
    for _ in range(6):
        next(runs)
    again = list(fitting.halve(entries, CELL, GRID, (1, 2, 3), entry))  # the process was stopped
    assert [each["seed"] for each in entries] == [1] * 5 + [2] * 3 + [3] * 2 and len(again) == 4
    assert all(each["given"].get("learning_rate", 1e-3) == 1e-3 for each in entries if each["seed"] > 1)
    assert not list(fitting.halve(entries, CELL, GRID, (1, 2, 3), entry))
    assert list(fitting.halve([], CELL, [], (1,), entry)) == [entry(*CELL, {}, 1)]


def test_a_line_holds_defaults_against_the_best() -> None:
    entries: list[dict[str, Any]] = []
    list(fitting.halve(entries, CELL, GRID, (1, 2), entry))
    list(fitting.halve(entries, ("mini", "cola", 500), [], (1,), entry))
    _, _, first, second = fitting.rows(entries)
    assert first == (
        "| mini | sst2 | 100 | 5e-4, 8, 30 epochs | 74.5 (74.5 to 74.5) | 1e-3, 8, 5 epochs | 75.0 (75.0 to 75.0) "
        "| -0.5 | 4 |"
    )
    assert second == "| mini | cola | 500 | 5e-4, 8, 30 epochs | 74.5 (one run) |  |  |  | 0 |"


def test_the_page_is_what_the_script_draws() -> None:
    page = fitting.PAGE.read_text(encoding="utf-8")
    assert fitting.drawn(page, fitting.entries_of(fitting.LEDGER)) == page, "run: python docs/fitting.py draw"


def test_a_real_run_becomes_an_entry(
    tiny_tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bertie.tokenizer.writing import save_tokenizer

    data, tokenizer = tmp_path / "data", tmp_path / "tokenizer"
    tokenizer.mkdir()
    save_tokenizer(tiny_tokenizer, tokenizer)
    (data / "glue").mkdir(parents=True)
    nouns = ("cat", "dog", "bird", "fish", "house", "river", "city", "story", "film", "day")
    lines = [
        f"the {one} saw the {two} . it was {kind}\t{kind}" for one in nouns for two in nouns for kind in ("good", "bad")
    ]
    for name in ("train.tsv", "dev.tsv"):
        (data / "glue" / name).write_text("\n".join(["sentence\tlabel", *lines]) + "\n", encoding="utf-8")
    configs = tmp_path / "configs"
    configs.mkdir()
    (configs / "sst2.toml").write_text(
        'task = "classification"\ntrain = "data/glue/train.tsv"\ndev = "data/glue/dev.tsv"\nlength = 16\n'
        'truncation = "truncate"\ncolumns = { text = "sentence", label = "label" }\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(fitting, "CONFIGS", configs)
    monkeypatch.setattr(fitting, "LEDGER", tmp_path / "fitting.json")
    words = ["run", "--random", f"small=1/32,{tokenizer}", "--data", str(data), "--out", str(tmp_path / "out")]
    words += ["--tasks", "sst2", "--sizes", "16", "--rates", "1e-3", "--batches", "8", "--epochs", "1", "--seeds", "1"]
    fitting.main([*words, "--dev-limit", "20"])
    found = json.loads((tmp_path / "fitting.json").read_text(encoding="utf-8"))
    assert [each["given"] for each in found] == [{}, {"learning_rate": 1e-3, "batch_size": 8, "epochs": 1}]
    assert found[0]["chosen"]["epochs"] == 30 and all(0 <= each["dev"] <= 1 for each in found)
    assert len(fitting.rows(found)) == 3
    capsys.readouterr()
    fitting.main([*words, "--dev-limit", "20"])
    assert capsys.readouterr().out == ""
