"""A run that is killed and resumed ends with the weights of an unbroken one, bit for bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).with_name("kill_runs.py")


@pytest.mark.slow
def test_killed_runs_end_like_the_unbroken_one(tmp_path: Path) -> None:
    command = [sys.executable, str(DRIVER), str(tmp_path / "runs"), "--random", "3", "--forced", "3"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.endswith("\n8 of 8\n"), done.stdout
