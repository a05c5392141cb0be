"""Commands that are killed while they write: the next one under the same name names and removes what they left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertie import registry
from bertie.cli import main
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.tasks.classification import Classification
from bertie.tokenizer.writing import save_tokenizer

KILLED = """
import os, signal, sys
from importlib import import_module
from bertie.cli import main
module, name = sys.argv[1].split(":")
holder = import_module(module)
*path, last = name.split(".")
for part in path:
    holder = getattr(holder, part)
def kill(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(holder, last, kill)
main(sys.argv[2:])
"""


def kill(place: str, words: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", KILLED, place, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


def again(words: list[str], out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Type the command once more, and look at what it says and leaves."""
    (left,) = out.parent.glob("out*")
    assert left.name.startswith("out.partial-")
    assert main(words) == 0
    assert f"removed {left} (" in capsys.readouterr().err
    assert [path.name for path in out.parent.glob("out*")] == ["out"]


@pytest.mark.parametrize("processes", [1, 2])
def test_prepare_corpus(
    tiny_tokenizer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], processes: int
) -> None:
    save_tokenizer(tiny_tokenizer, tmp_path / "tokenizer")
    (tmp_path / "text.txt").write_text("the dog sat .\n\nthe cat ran .\n" * 200)
    out, texts = tmp_path / "out", str(tmp_path / "text.txt")
    words = ["prepare-corpus", texts, "--tokenizer", str(tmp_path / "tokenizer"), "--out", str(out)]
    words += ["--processes", str(processes)]
    kill("bertie.corpus.prepare:CorpusWriter.finish", words)
    again(words, out, capsys)


def test_export(
    build_model: Callable[..., Any], tiny_tokenizer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if registry.load("backends", "onnx").BACKEND().missing():
        pytest.skip("onnxruntime is not installed")
    task = Classification(labels=("bad", "good"), max_length=16)
    model = build_model(task)
    write(Bundle(model, task, tiny_tokenizer, model.encoder.config), tmp_path / "model")
    words = ["export", str(tmp_path / "model"), "--out", str(tmp_path / "out")]
    kill("bertie.inference.proof:compare_outputs", words)
    again(words, tmp_path / "out", capsys)
