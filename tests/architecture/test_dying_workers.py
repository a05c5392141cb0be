"""The settings of the suite itself: a test that crashes or hangs is named, and the others still run."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CRASHES = """
import os, signal
def test_before(): pass
def test_crashes(): os.kill(os.getpid(), signal.SIGSEGV)
def test_after(): pass
"""
HANGS = """
import ctypes, signal
def test_hangs_in_python():
    while True: pass
def test_hangs_in_native_code():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    ctypes.PyDLL(None).sleep(600)  # it holds the interpreter, and no signal wakes it
def test_behind(): pass
"""


@pytest.mark.slow
def test_a_test_that_crashes_or_hangs_is_named_and_the_others_run(tmp_path: Path) -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["pytest"]["ini_options"]
    assert settings["timeout"] < settings["faulthandler_timeout"] <= 300
    options = [f"--override-ini={name}={settings[name]}" for name in ("faulthandler_exit_on_timeout",)]
    options += ["--override-ini=timeout=3", "--override-ini=faulthandler_timeout=6"]
    flags = re.search(r"^TEST_FLAGS := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert flags is not None
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --import-mode=importlib\n")
    (tmp_path / "test_crashes.py").write_text(CRASHES)
    (tmp_path / "test_hangs.py").write_text(HANGS)
    command = [sys.executable, "-m", "pytest", *flags[1].split(), "--numprocesses=2", *options, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "3 failed, 3 passed" in done.stdout
    for name in ("test_crashes.py::test_crashes", "test_hangs.py::test_hangs_in_native_code"):
        assert f"crashed while running '{name}'" in done.stdout
    assert "FAILED test_hangs.py::test_hangs_in_python - Failed: Timeout" in done.stdout
