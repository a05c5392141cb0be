"""Recipes by name: listed, run from anywhere, told apart from files of the same name, and suggested for a near word."""

import json
from pathlib import Path

import pytest

import bertie
from bertie.cli import main
from bertie.commands._recipe_files import recipes, settings_file
from bertie.errors import SettingsError


def test_they_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["recipe"]: row for row in found["recipes"]}
    assert rows.keys() == recipes().keys() >= {"sst2", "mrpc", "bert-base"}
    assert rows["bert-base"]["command"] == "pretrain" and rows["mrpc"]["command"] == "finetune"
    assert all(10 < len(row["about"]) <= 120 for row in rows.values())
    assert len({row["about"] for row in rows.values()}) == len(rows)
    assert main(["run"]) == 0
    assert "  sst2           SST-2 (GLUE): the sentiment of" in capsys.readouterr().out
    assert main(["run", "--quiet"]) == 0
    with pytest.raises(SettingsError, match="without a file"):
        bertie.run(model="x")


def test_a_name_is_the_recipe_wherever_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    table = tmp_path / "rows.tsv"
    table.write_text("sentence\tlabel\ngood film\t1\nbad film\t0\n")
    words = ["--model", "gone", "--train", str(table), "--dev", str(table), "--out", "o"]
    assert main(["run", "sst2", *words]) == 2  # all settings are read; the model is missing
    assert "gone" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="gone"):
        bertie.run("sst2", model="gone", train=table, dev=table, out="o")


def test_a_file_or_folder_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mrpc").mkdir()
    assert settings_file("mrpc") == recipes()["mrpc"]
    assert "has no config.toml" in capsys.readouterr().err
    Path("mrpc/config.toml").write_text('command = "show"\npath = "gone"\n')
    assert settings_file("mrpc") == Path("mrpc")
    assert str(recipes()["mrpc"]) in capsys.readouterr().err
    assert main(["run", "mrpc"]) == 2
    assert "no such file or folder: gone" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["mrcp", "mrcp.toml", "MRPC", "configs/finetune/mrpc.toml"])
def test_a_near_name_is_suggested(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", word, "--model", "x"]) == 2
    assert "did you mean bertie run mrpc?" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["", "zzzzz", "a" * 5000, "../..", "\0", "日本語", "mrpc/"])
def test_hostile_words(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", word]) == 2
    assert capsys.readouterr().err.startswith("error: ")
