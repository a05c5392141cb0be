"""The command line as a process: readers that go away, full disks, closed streams, terminals without the letters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bertie import cli


@pytest.mark.parametrize("words", [["--help"], ["show", "--help"], ["show", "."]])
def test_a_reader_that_goes_away_is_no_error(words: list[str], tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a")
    words = [str(tmp_path) if word == "." else word for word in words]
    script = f"from bertie.cli import main; raise SystemExit(main({[*words, '--quiet']!r}))"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("words", [["--help"], ["show", "--help"]])
def test_output_onto_a_full_disk_is_said(words: list[str]) -> None:
    script = f"from bertie.cli import main; raise SystemExit(main({words!r}))"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.stderr.startswith("error: no space left on device")
    assert done.returncode == 4


def test_closed_streams_are_no_error(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a")
    script = f"from bertie.cli import main; raise SystemExit(main(['show', {str(tmp_path)!r}]))"
    command = f'exec "{sys.executable}" -c "$0" >&- 2>&-'
    assert subprocess.run(["sh", "-c", command, script], check=False).returncode == 0


def test_a_terminal_without_the_letters_still_gets_the_figures() -> None:
    script = "from bertie import cli; cli._print('模型 0.5')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, check=True)
    assert done.stdout == b"\\u6a21\\u578b 0.5\n"


def test_threads_sleep_while_they_wait_beside_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = tmp_path / "loadavg"
    for said, given, expected in (
        ("0.30 0.20 0.10 1/118 4242\n", None, None),
        ("0.30 0.20 0.10 3/118 4242\n", None, "PASSIVE"),
        ("0.30 0.20 0.10 3/118 4242\n", "ACTIVE", "ACTIVE"),
        ("something else\n", None, None),
    ):
        state.write_text(said, encoding="ascii")
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        if given:
            monkeypatch.setenv("OMP_WAIT_POLICY", given)
        cli._share_the_machine(state)
        assert os.environ.get("OMP_WAIT_POLICY") == expected
    cli._share_the_machine(tmp_path / "nowhere")
