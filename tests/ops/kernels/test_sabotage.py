"""A user's prediction with a kernel that crashes, hangs or is wrong: it goes on, and one sentence says what is off."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertie.cli import main
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.ops.kernels import build, levels, library
from bertie.tasks.classification import Classification
from bertie.tasks.task import TaskModel

PROGRAM = """
import sys
from pathlib import Path
from bertie.ops.kernels import build, library, trial
build.SOURCES, library.NAMES, trial.SECONDS = Path(sys.argv[1]), ("gelu",), float(sys.argv[2])
from bertie.cli import main
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(library.load("gelu") is None, reason="no C++ compiler on this machine")
@pytest.mark.parametrize("how", ["crash", "hang", "wrong"])
def test_a_prediction_goes_on(
    how: str,
    tmp_path: Path,
    sabotage: Callable[[Path, str], str],
    build_model: Callable[..., TaskModel],
    tiny_tokenizer: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sources, folder = tmp_path / "sources", tmp_path / "model"
    task = Classification(labels=("bad", "good"), max_length=16)
    shutil.copytree(build.SOURCES, sources, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    said = sabotage(sources, how)
    model = build_model(task, deviation=0.3)
    write(Bundle(model, task, tiny_tokenizer, model.encoder.config), folder)
    words = ["predict", str(folder), "the cat sat", "--json", "--quiet"]
    own = {"XDG_CACHE_HOME": str(tmp_path / "cache"), levels.SWITCH: levels.available()[-1].name}
    command = [sys.executable, "-c", PROGRAM, str(sources), "20" if how == "hang" else "120", *words]
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: C++ kernels that failed on this machine are off: gelu for ") and said in line
    assert main(words) == 0
    usual = capsys.readouterr().out
    assert numbers(json.loads(done.stdout)) == pytest.approx(numbers(json.loads(usual)), abs=1e-4)


def numbers(value: Any) -> list[float]:
    """Take the numbers out of a record."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for part in value for number in numbers(part)]
    return [value] if isinstance(value, float) else []
