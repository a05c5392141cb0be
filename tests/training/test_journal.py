"""The journal: whole lines only, cut back to a step, and never the end of a run."""

import errno
import json
import math
import os
from pathlib import Path

import pytest

from bertie.errors import DataError
from bertie.training import journal
from bertie.training.journal import Journal

LINES = [{"kind": "train", "step": step, "loss": 7 - step / 10} for step in (10, 20, 30)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with Journal(tmp_path / "metrics.jsonl") as written:
        for line in LINES:
            written.write(line)
    return tmp_path / "metrics.jsonl"


def test_lines_are_readable_while_the_journal_is_open(tmp_path: Path) -> None:
    with Journal(tmp_path / "a.jsonl") as written:
        written.write({"step": 1, "b": 2, "a": "二\n"})
        assert (tmp_path / "a.jsonl").read_text() == '{"step": 1, "b": 2, "a": "\\u4e8c\\n"}\n'
        written.sync()
    with Journal(tmp_path / "a.jsonl") as written:
        written.write({"step": 2})
    assert [record["step"] for record in journal.read(tmp_path / "a.jsonl")] == [1, 2]


def test_numbers_that_are_not_finite_become_null(tmp_path: Path) -> None:
    with Journal(tmp_path / "a.jsonl") as written:
        written.write({"loss": math.nan, "parts": {"x": [math.inf, 1.5]}, "n": 3})
    assert json.loads((tmp_path / "a.jsonl").read_text()) == {"loss": None, "parts": {"x": [None, 1.5]}, "n": 3}


@pytest.mark.parametrize(("step", "left"), [(-1, 0), (9, 0), (10, 1), (19, 1), (20, 2), (30, 3), (99, 3)])
def test_cut_keeps_what_a_checkpoint_covers(path: Path, step: int, left: int) -> None:
    journal.cut(path, step=step)
    assert journal.read(path) == LINES[:left]
    with Journal(path) as written:
        written.write({"step": 40})
    assert journal.read(path) == [*LINES[:left], {"step": 40}]


@pytest.mark.parametrize("lost", range(1, 40))
def test_cut_drops_a_torn_last_line(path: Path, lost: int) -> None:
    whole = path.read_bytes()
    length = len(whole.splitlines(keepends=True)[-1])
    os.truncate(path, len(whole) - lost)
    left = LINES[:2] if lost <= length else LINES[:1]
    assert journal.read(path) == left
    journal.cut(path, step=30)
    assert path.read_bytes() == b"".join(whole.splitlines(keepends=True)[: len(left)])


@pytest.mark.parametrize("rubbish", [b"\0" * 100, b"[1]\n", b"\xff\n", b"nonsense\n"])
def test_cut_drops_what_a_power_cut_left_behind(path: Path, rubbish: bytes) -> None:
    with path.open("ab") as file:
        file.write(rubbish + b'{"step": 31}\n')
    journal.cut(path, step=99)
    assert journal.read(path) == LINES
    assert path.read_bytes().count(b"\n") == 3


def test_a_torn_line_is_taken_off_with_a_word(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal.cut(path, step=20)
    assert capsys.readouterr().err == ""  # lines after the checkpoint are written anew: nothing is lost
    with path.open("ab") as file:
        file.write(b'{"step": 2')
    journal.cut(path, step=20)
    assert f"{path}:3 is incomplete; the file is cut back to the 2 lines before it" in capsys.readouterr().err


def test_altered_and_lost_lines_are_named(path: Path) -> None:
    with Journal(path) as written:
        written.write({"step": 40})
        sums = written.sums()
        written.write({"step": 50})
    whole = path.read_bytes()
    journal.check(path, sums)
    lines = whole.splitlines(keepends=True)
    for number in range(4):
        for place in range(len(lines[number])):
            flipped = bytearray(lines[number])
            flipped[place] ^= 1 << place % 8
            path.write_bytes(b"".join([*lines[:number], bytes(flipped), *lines[number + 1 :]]))
            with pytest.raises(DataError, match=rf"metrics\.jsonl:{number + 1} was changed|has lost lines"):
                journal.check(path, sums)
    path.write_bytes(b"".join(lines[:2]))
    with pytest.raises(DataError, match="has lost lines 3 to 4"):
        journal.check(path, sums)
    path.write_bytes(whole.replace(b'"step": 50', b'"step": 51'))
    journal.check(path, sums)  # after the checkpoint


def test_lines_that_a_full_disk_holds_back_are_not_vouched_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(tmp_path / "a.jsonl") as written:
        written.write({"step": 1})
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            written.write({"step": 2})
            journal.check(tmp_path / "a.jsonl", written.sums())
        written.write({"step": 3})
        assert len(written.sums().split()) == 3
        journal.check(tmp_path / "a.jsonl", written.sums())


def test_nothing_written_yet(tmp_path: Path) -> None:
    journal.cut(tmp_path / "none.jsonl", step=3)
    assert journal.read(tmp_path / "none.jsonl") == []
    assert not (tmp_path / "none.jsonl").exists()


def test_lines_wait_while_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    really_write, room = os.write, [1000]

    def write(descriptor: int, content: bytes) -> int:
        if not room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = really_write(descriptor, bytes(content)[: room[0]])
        room[0] -= done
        return done

    monkeypatch.setattr(os, "write", write)
    with Journal(tmp_path / "a.jsonl") as written:
        for step in range(50):
            if step == 40:
                assert (tmp_path / "a.jsonl").stat().st_size == 1000
                room[0] = 10**6
            written.write({"step": step, "text": "x" * 50})
            if step == 30:
                written.sync()
    assert [record["step"] for record in journal.read(tmp_path / "a.jsonl")] == list(range(50))
    assert capsys.readouterr().err.count("No space left") == 1


def test_lines_lost_to_a_full_disk_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(descriptor: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with Journal(tmp_path / "a.jsonl") as written:
        written.write({"step": 1})
        written.write({"step": 2})
    assert "the last 2 lines are lost" in capsys.readouterr().err
