"""The command line as a process: readers that go away, full disks, closed streams, terminals without the letters."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


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


def test_threads_do_not_spin_while_they_wait() -> None:
    """The environment is set before torch, which reads it once, is loaded; what the user has set stays."""
    script = (
        "import os, sys; from bertie.cli import main; main(['show', 'nowhere']); print(os.environ['OMP_WAIT_POLICY'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    for given, expected in (({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE")):
        words = [sys.executable, "-c", script]
        done = subprocess.run(words, env={**environment, **given}, capture_output=True, check=True, text=True)
        assert done.stdout.split()[-1] == expected
