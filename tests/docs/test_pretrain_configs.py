"""Settings files of pre-training: of the command's own shape, and each runs, with a smaller network and fewer steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bertie import config
from bertie.commands.pretrain import pretrain
from bertie.commands.run import run

FILES = sorted((Path(__file__).parents[2] / "bertie" / "recipes" / "pretrain").glob("*.toml"))
EACH = pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
COMPLETE = {"corpus", "out", "task", "steps", "length", "batch_tokens", "learning_rate", "seed", "model", "optimizer"}
WORDS = ("the dog sat", "a cat ran", "the bird saw it", "fish never slept", "a house in the city")


@EACH
def test_it_is_complete_and_says_how_to_run_it(file: Path) -> None:
    settings = config.read(file)
    assert settings.pop("command") == "pretrain"
    found = config.validate(pretrain, settings, source=str(file))
    assert found.keys() >= COMPLETE
    text = file.read_text(encoding="utf-8")
    assert f"bertie run {file.stem} --corpus CORPUS --out {found['out']}" in text
    assert max(map(len, text.splitlines())) <= 120


@EACH
def test_it_runs(file: Path, prepare_sentences: Callable[..., Path], tmp_path: Path) -> None:
    corpus = prepare_sentences(WORDS, count=200, lengths=(2, 5), document=8)
    size: dict[str, Any] = {"size": "1/32", "num_heads": 2}
    report = run(file, corpus=corpus, out=tmp_path / "out", model=size, batch_tokens=1024, threads=1, steps=2)
    assert report.values["steps"] > 0
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()
