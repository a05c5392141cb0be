"""What pretrain does where nothing is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

import bertie
from bertie import config
from bertie.training.settings import PEAKS, OptimizerSettings


@pytest.fixture(scope="module")
def corpus(prepare_sentences: Callable[..., Path]) -> Path:
    return prepare_sentences(("cat", "dog", "sat", "ran"), count=60, lengths=(3, 6), document=6)


@pytest.mark.parametrize(
    ("optimizer", "given", "rate"), [("adamw", None, 1e-3), ("muon", None, 4e-3), ("muon", 2e-3, 2e-3)]
)
def test_the_rate_is_the_optimizers_own(
    corpus: Path, tmp_path: Path, optimizer: Any, given: float | None, rate: float
) -> None:
    said = {} if given is None else {"learning_rate": given}
    out = tmp_path / "out"
    shape = {"model": {"size": "1/32", "num_heads": 2}, "optimizer": {"name": optimizer}}
    bertie.pretrain(corpus=corpus, out=out, steps=1, batch_tokens=512, threads=1, **shape, **said)
    assert config.read(out)["learning_rate"] == rate


def test_every_optimizer_has_a_rate() -> None:
    assert PEAKS.keys() == set(get_args(get_type_hints(OptimizerSettings)["name"]))
