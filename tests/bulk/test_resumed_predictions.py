"""A run that is killed, or that fills the disk, continues by --resume: the same bytes as of an undisturbed run."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie.bulk import parts, run
from bertie.cli import main
from bertie.errors import DataError, Interrupted, ResourceError, SettingsError

KILLED = """
import os, signal, sys
from importlib import import_module
from bertie.bulk import run
from bertie.cli import main
run.PART_ROWS = 8
place, times = sys.argv[1], int(sys.argv[2])
module, name = place.split(":")
holder = import_module(module)
*path, last = name.split(".")
for part in path:
    holder = getattr(holder, part)
real = getattr(holder, last)
def killed(*args, **kwargs):
    global times
    times -= 1
    if times < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*args, **kwargs)
setattr(holder, last, killed)
main(sys.argv[3:])
"""
WORDS = ["good", "bad", "film", "cat", "dog", "the", "river", "ran"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of 60 rows, two of them bad."""
    rows = [f"{number},{' '.join(WORDS[number % 8 :][: 1 + number % 5])}" for number in range(60)]
    rows[13], rows[40] = "13", "40,"
    file = tmp_path / "in.csv"
    file.write_text("id,text\n" + "".join(f"{row}\n" for row in rows))
    return file


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "PART_ROWS", 8)


def kill(place: str, times: int, words: list[str]) -> None:
    """Kill the command when it calls a function for the given time and once more."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", KILLED, place, str(times), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


@pytest.mark.parametrize(
    ("place", "times", "num_parts", "suffix"),
    [
        ("bertie.bulk.run:answers", 0, 0, ".csv"),
        ("bertie.bulk.run:answers", 4, 4, ".parquet"),
        ("bertie.files.atomic:_rename_with_retries", 3, 2, ".jsonl.gz"),  # the first is of origin.json
        ("bertie.bulk.run:Work.finish", 0, 8, ".tsv.zst"),
        ("bertie.bulk.run:publish", 0, 8, ".parquet"),
        ("bertie.bulk.run:Work.remove", 0, 8, ".csv"),
    ],
)
def test_killed_and_resumed(film: str, table: Path, place: str, times: int, num_parts: int, suffix: str) -> None:
    out, plain = table.with_name(f"out{suffix}"), table.with_name(f"plain{suffix}")
    words = ["predict", film, "--file", str(table), "--out", str(out)]
    kill(place, times, words)
    folder = out.with_name(f"{out.name}.parts")
    assert len(list(folder.glob("*.jsonl"))) == num_parts
    if num_parts:
        assert main(words) == 2
    assert main([*words, "--resume"]) == 3
    assert main(["predict", film, "--file", str(table), "--out", str(plain)]) == 3
    assert out.read_bytes() == plain.read_bytes()
    assert sorted(path.name for path in table.parent.iterdir()) == sorted([table.name, out.name, plain.name])
    assert main([*words, "--resume"]) == 2  # exists already


def test_removal_that_was_killed(film: str, table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = table.with_name("out.csv")
    words = ["predict", film, "--file", str(table), "--out", str(out)]
    kill("shutil:rmtree", 1, words)  # the first is of the temporary folder
    assert [path.name for path in out.with_name("out.csv.parts").glob("*.jsonl")] == []
    assert main([*words, "--resume", "--json"]) == 3
    captured = capsys.readouterr()
    assert "already finished; nothing to do" in captured.err
    assert json.loads(captured.out)["rows"] == 60
    assert not out.with_name("out.csv.parts").exists()


def stopped(film: str, table: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, **how: Any) -> None:
    """Begin to predict, and stop by an error in the fourth part."""
    count = 0
    real = run.answers

    def answers(*args: Any) -> Any:
        nonlocal count
        count += 1
        if count == 4:
            raise error
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(run, "answers", answers)
        bertie.predict(film, file=table, out=table.with_name("out.csv"), **how)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.write_text(file.read_text() + "60,good\n"), "the input file has changed"),
        (lambda file: os.utime(file, ns=(1, 1)), "the input file has changed"),
        (None, "--length, --batch-tokens have changed"),
    ],
)
def test_what_changed_is_named(
    film: str,
    table: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], Any] | None,
    message: str,
) -> None:
    with pytest.raises(Interrupted, match=r"stopped after 24 rows; continue with --resume"):
        stopped(film, table, monkeypatch, KeyboardInterrupt())
    if change is not None:
        change(table)
    how: dict[str, Any] = {} if change is not None else {"length": 12, "batch_tokens": 100}
    before = sorted(table.with_name("out.csv.parts").iterdir())
    with pytest.raises(SettingsError, match=message):
        bertie.predict(film, file=table, out=table.with_name("out.csv"), resume=True, **how)
    assert sorted(table.with_name("out.csv.parts").iterdir()) == before


def test_python_tables_are_compared_by_content(film: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: Any = [{"text": word} for word in WORDS * 5]
    out = tmp_path / "out.csv"
    with monkeypatch.context() as patch:
        patch.setattr(run, "publish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(Interrupted):
            bertie.predict(film, file=rows, out=out)
    with pytest.raises(SettingsError, match="the input file has changed"):
        bertie.predict(film, file=rows[:-1], out=out, resume=True)
    assert bertie.predict(film, file=rows, out=out, resume=True).values["rows"] == 40


def test_a_file_that_changes_meanwhile_is_noticed(film: str, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def add(self: Any, part: Any, answers: Any, real: Any = parts.Work.add) -> None:
        table.write_text(table.read_text() + "61,good\n")
        real(self, part, answers)

    monkeypatch.setattr(parts.Work, "add", add)
    with pytest.raises(SettingsError, match="changed while it was read"):
        bertie.predict(film, file=table, out=table.with_name("out.csv"))
    assert not table.with_name("out.csv").exists()


def test_full_disk(film: str, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the disk is full, the parts so far stay, and the run continues."""
    plain, out = table.with_name("plain.csv"), table.with_name("out.csv")
    bertie.predict(film, file=table, out=plain)
    real, refused = os.fsync, 0
    for number in range(0, 40, 3):
        seen = 0

        def full(descriptor: int, number: int = number) -> None:
            nonlocal seen
            seen += 1
            if seen - 1 == number:
                raise OSError(errno.ENOSPC, "No space left on device")
            real(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            try:
                bertie.predict(film, file=table, out=out)
            except ResourceError as error:
                assert "No space left on device; free some space" in str(error)
                refused += 1
                patch.undo()
                bertie.predict(film, file=table, out=out, resume=True)
        assert out.read_bytes() == plain.read_bytes()
        out.unlink()
        if seen <= number:
            break
    assert refused >= 5


def test_limit_of_the_system_while_joining(film: str, table: Path) -> None:
    out, limits = table.with_name("out.csv"), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(ResourceError, match=r"out\.csv: File too large; free some space.*continue with --resume"):
            bertie.predict(film, file=table, out=out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not out.exists()
    assert bertie.predict(film, file=table, out=out, resume=True).values["rows"] == 60


def test_damaged_parts_and_foreign_folders(film: str, table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, folder = table.with_name("out.csv"), table.with_name("out.csv.parts")
    folder.mkdir()
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"out\.csv\.parts exists already and is not of bertie"):
        bertie.predict(film, file=table, out=out)
    (folder / "mine.txt").unlink()
    with pytest.raises(Interrupted):
        stopped(film, table, monkeypatch, KeyboardInterrupt())
    part = folder / "000001.jsonl"
    whole = part.read_text()
    head, *lines = whole.splitlines(keepends=True)
    values = json.loads(head)
    for broken in (
        "",
        "[]\n",
        json.dumps({**values, "rows": -1}) + "\n",
        json.dumps({**values, "first": 9}) + "\n",
        json.dumps({**values, "own": {"text": "list:object"}}) + "\n",
        head + "".join(lines[1:]),
        head + "".join(["[]\n", *lines[1:]]),
    ):
        part.write_text(broken)
        with pytest.raises(DataError, match=r"000001\.jsonl"):
            bertie.predict(film, file=table, out=out, resume=True)
    part.write_text(whole)
    with (
        parts.opened(out, json.loads((folder / "origin.json").read_text()), resume=True),
        pytest.raises(SettingsError, match="another command is writing"),
    ):
        bertie.predict(film, file=table, out=out, resume=True)
    assert bertie.predict(film, file=table, out=out, resume=True).values["rows"] == 60
