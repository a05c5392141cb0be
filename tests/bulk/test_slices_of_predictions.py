"""Predictions in slices: the same bytes as at once, and errors that name the slice and the command to type."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bertie.bulk import run
from bertie.cli import main


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PART_ROWS", 8)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of 45 rows, one of them without text."""
    file = tmp_path / "in.csv"
    rows = [f"{number},{'the good film ' * (number % 4) if number != 13 else ''}x" for number in range(45)]
    rows[13] = "13,"
    file.write_text("id,text\n" + "".join(f"{row}\n" for row in rows))
    return file


def test_slices_give_the_bytes_of_one_run(film: str, table: Path, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    command = ["predict", film, "--file", str(table), "--out"]
    assert main([*command, str(whole)]) == 3  # a row has no text
    for index in (2, 0, 1, 2):
        assert main([*command, str(out), "--runner", "slice", "--index", str(index), "--of", "3"]) == 0
    assert main(["seal", str(out)]) == 3
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.jsonl", "whole.jsonl"]


def test_seal_names_a_slice_with_another_setting_or_other_data(
    film: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.jsonl"
    command = ["predict", film, "--file", str(table), "--out", str(out), "--runner", "slice", "--of", "2", "--index"]
    assert main([*command, "0"]) == 0
    assert main([*command, "1"]) == 0
    assert main([*command, "1", "--length", "8"]) == 2
    assert "--length" in capsys.readouterr().err
    table.write_text(table.read_text().replace("good", "bad", 1))
    assert main(["seal", str(out)]) == 2
    assert "in.csv changed" in capsys.readouterr().err
    assert not out.exists()


def test_resume_and_a_runner_without_a_file_are_refused(
    film: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", film, "a text", "--runner", "ray"]) == 2
    assert "--out" in capsys.readouterr().err
    command = ["predict", film, "--file", str(table), "--out", str(tmp_path / "o.jsonl"), "--resume"]
    assert main([*command, "--runner", "slice", "--index", "0", "--of", "2"]) == 2
    assert "--resume" in capsys.readouterr().err
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir())) == '["in.csv"]'
