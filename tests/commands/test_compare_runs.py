"""compare: groups of seeds, settings that differ, tests on the dev rows, unfinished and damaged runs, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie.cli import main
from bertie.commands._stored_runs import distinct_names
from bertie.errors import DataError, SettingsError
from bertie.files.atomic import sha256_file
from bertie.tokenizer.writing import save_tokenizer
from bertie.training import record as records

WORDS = ("cat", "sat", "film", "good", "ran", "house", "old", "new", "red", "blue")
ROWS = [f"the {WORDS[number % 10]} {WORDS[number // 10]}\t{('neg', 'pos')[number % 2]}" for number in range(60)]


def stored(folder: Path, *, done: bool = True, command: str = "pretrain", data: str = "d1", **settings: Any) -> Path:
    """Write the folder of a run, without a model."""
    folder.mkdir(parents=True)
    seed = settings.get("seed", 0)
    lines = [{"kind": "train", "step": step, "seconds": step / 2, "loss": 9.0 - step / 10} for step in (10, 20, 30)]
    lines.append({"kind": "dev", "step": 30, "seconds": 15.5, "mask_loss": 5.0 + seed / 10})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    record: dict[str, Any] = {"command": command, "settings": {"seed": 0, **settings}, "data": data, "torch": "2"}
    if done:
        record["values"] = {"steps": 30, "seconds": 16.0, "dev_mask_loss": 5.0 + seed / 10}
        record["files"] = {"metrics.jsonl": sha256_file(folder / "metrics.jsonl")}
    records.write(folder / "run.json", record)
    return folder


def test_seeds_are_a_group_and_only_settings_that_differ_are_listed(tmp_path: Path) -> None:
    pytest.importorskip("scipy.stats")
    first = [stored(tmp_path / f"a{seed}", seed=seed, task="masked_lm", length=128) for seed in (1, 2)]
    second = [stored(tmp_path / f"b{seed}", seed=seed, task="masked_lm", length=64) for seed in (5, 7)]
    found = bertie.compare([*first, *second], out=tmp_path / "page.html")
    assert found.values["settings_that_differ"] == [{"setting": "length", "a1": "128", "b5": "64"}]
    means = {row["group"]: row["mean"] for row in found.values["scores"] if row["score"] == "dev_mask_loss"}
    assert means == pytest.approx({"a1": 5.15, "b5": 5.6})
    (test,) = found.values["tests"]
    assert test["difference"] == pytest.approx(-0.45) and test["test"].startswith("Welch")
    assert [row["group"] for row in found.values["runs"]] == ["a1", "a1", "b5", "b5"]
    page = (tmp_path / "page.html").read_text()
    assert page.count("<svg") >= 2 and "Settings that differ" in page and 'class="raw' in page


def test_an_unfinished_run_shows_what_it_has_logged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, part = stored(tmp_path / "whole", length=128), stored(tmp_path / "part", done=False, length=64)
    with (part / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 40, "lo')  # the run is writing this line
    found = bertie.compare([whole, part], out=tmp_path / "page.html")
    row = found.values["runs"][1]
    assert (row["state"], row["step"], row["mask_loss"]) == ("unfinished", 30, 5.0)
    assert any("not finished" in line and "part" in line for line in found.values["remarks"])
    empty = stored(tmp_path / "empty", done=False, length=32)
    (empty / "metrics.jsonl").unlink()
    assert main(["compare", str(whole), str(empty), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"][1]["step"] == 0


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    run = stored(tmp_path / "run", task="masked_lm", dev="/d/dev")
    wrong = {
        "of finetune": stored(tmp_path / "other", command="finetune", task="masked_lm", dev="/d/dev"),
        "learns masked_lm, the second pretraining": stored(tmp_path / "task", task="pretraining", dev="/d/dev"),
        "their dev data differ": stored(tmp_path / "dev", task="masked_lm", dev="/d/else"),
        "has no dev data": stored(tmp_path / "none", task="masked_lm"),
    }
    for message, folder in wrong.items():
        with pytest.raises(SettingsError, match=message):
            bertie.compare([run, folder])
    share = {"command": "finetune", "task": "classification"}
    first, second = (stored(tmp_path / f"s{seed}", seed=seed, dev="/w/20%", **share) for seed in (1, 2))
    with pytest.raises(SettingsError, match="--split-seed"):
        bertie.compare([first, second])
    with pytest.raises(SettingsError, match="training data differ"):
        bertie.compare([stored(tmp_path / "x", data="d1"), stored(tmp_path / "y", data="d2")])


def test_what_is_no_run(tmp_path: Path) -> None:
    run = stored(tmp_path / "run")
    with pytest.raises(SettingsError, match="given twice"):
        bertie.compare([run, tmp_path / "run" / "run.json"])
    with pytest.raises(SettingsError, match="one run can't be compared"):
        bertie.compare([run])
    (tmp_path / "empty").mkdir()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (run / "model").mkdir()
    (tmp_path / "file").write_text("x")
    for name, message in (
        ("gone", "no such folder"),
        ("empty", "no run.json"),
        ("model", "a model and not a run"),
        ("run/model", "inside the run"),
        ("file", "is a file"),
    ):
        with pytest.raises(SettingsError, match=message):
            bertie.compare([run, tmp_path / name])
    with pytest.raises(SettingsError, match="is a folder"):
        bertie.compare([run, stored(tmp_path / "second", length=2)], out=tmp_path)


def test_damage_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, other = stored(tmp_path / "run"), stored(tmp_path / "other", length=3)
    with (other / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "dev", "step": "x", "mask_loss": "</svg><script>"}\n{"kind": "dev", "step": 1e999}\n')
    bertie.compare([run, other], out=tmp_path / "page.html")
    assert "has changed since the run was finished" in capsys.readouterr().err
    assert "<script" not in (tmp_path / "page.html").read_text()
    text = (other / "run.json").read_text()
    for broken in ("", "[]", text.replace('"d1"', '"d2"'), text[:50], "\0"):
        (other / "run.json").write_text(broken)
        with pytest.raises(DataError, match="out of the comparison"):
            bertie.compare([run, other])


def test_finished_models_are_tested_on_their_dev_rows(
    tmp_path: Path, tiny_tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("scipy.stats")
    table = tmp_path / "train.tsv"
    table.write_text("text\tlabel\n" + "\n".join(ROWS) + "\n", encoding="utf-8")
    save_tokenizer(tiny_tokenizer, tmp_path / "tokenizer")
    given: dict[str, Any] = {"model": {"size": "1/32", "num_heads": 2}, "tokenizer": tmp_path / "tokenizer"}
    given |= {"train": table, "dev": "25%", "steps": 3, "batch_size": 8, "threads": 1}
    bertie.finetune(**given, learning_rate=1e-3, out=tmp_path / "several", seeds=(1, 2))
    bertie.finetune(**given, learning_rate=1e-2, out=tmp_path / "one", seed=4, split_seed=0)
    folders = [tmp_path / "several", tmp_path / "one"]
    found = bertie.compare(folders, threads=1)
    rows = {row["score"]: row for row in found.values["tests"]}
    stored_score = json.loads((tmp_path / "one" / "run.json").read_text())["values"]["scores"]["accuracy"]
    assert rows["accuracy"]["other_mean"] == pytest.approx(stored_score, abs=1e-4)
    assert [row["group"] for row in found.values["runs"]] == ["several", "several", "one"]
    assert [row["setting"] for row in found.values["settings_that_differ"]] == ["learning_rate"]
    assert found.values["verdicts"] and "verdicts" not in found.values["remarks"]
    assert "p = " in found.as_text()
    left_out = bertie.compare(folders, test=False)
    assert left_out.values["tests"] == [] and "left out" in left_out.values["remarks"][0]
    table.write_text("text\tlabel\n" + "\n".join(ROWS[30:]) + "\n", encoding="utf-8")
    changed = bertie.compare(folders, threads=1)
    assert changed.values["tests"] == [] and "has changed since" in changed.values["remarks"][0]
    table.unlink()
    assert bertie.compare(folders, threads=1).values["tests"] == []


def test_names() -> None:
    assert distinct_names([Path("/o/a/run"), Path("/o/b/run"), Path("/c")]) == ["a/run", "b/run", "c"]
