"""What pretrain does where nothing is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie import config


@pytest.fixture(scope="module")
def corpus(prepare_sentences: Callable[..., Path]) -> Path:
    return prepare_sentences(("cat", "dog", "sat", "ran"), count=60, lengths=(3, 6), document=6)


@pytest.mark.parametrize(
    ("optimizer", "given", "rate"), [("adamw", None, 1e-3), ("muon", None, 6e-3), ("muon", 2e-3, 2e-3)]
)
def test_the_rate_is_the_optimizers_own(
    corpus: Path, tmp_path: Path, optimizer: Any, given: float | None, rate: float
) -> None:
    said = {} if given is None else {"learning_rate": given}
    out = tmp_path / "out"
    shape = {"model": {"size": "1/32", "num_heads": 2}, "optimizer": {"name": optimizer}}
    bertie.pretrain(corpus=corpus, out=out, steps=1, batch_tokens=512, threads=1, **shape, **said)
    assert config.read(out)["learning_rate"] == rate


def test_an_optimizer_that_is_not_named_suits_the_start(corpus: Path, tmp_path: Path) -> None:
    shape: Any = {"model": {"size": "1/32", "num_heads": 2}, "steps": 1, "batch_tokens": 512, "threads": 1}
    bertie.pretrain(corpus=corpus, out=tmp_path / "random", **shape)
    begun = config.read(tmp_path / "random")
    assert (begun["optimizer"]["name"], begun["learning_rate"]) == ("muon", 6e-3)
    paper = {**shape, "model": {**shape["model"], "start": "paper"}}
    bertie.pretrain(corpus=corpus, out=tmp_path / "paper", **paper)
    assert config.read(tmp_path / "paper")["learning_rate"] == 4e-3
    electra = {**shape, "model": {"architecture": "electra", **shape["model"]}, "task": "replaced_token"}
    bertie.pretrain(corpus=corpus, out=tmp_path / "electra", **electra)
    assert config.read(tmp_path / "electra")["optimizer"]["name"] == "adamw"
    rest = {name: value for name, value in shape.items() if name != "model"}
    bertie.pretrain(corpus=corpus, out=tmp_path / "further", from_=str(tmp_path / "random" / "model"), **rest)
    further = config.read(tmp_path / "further")
    assert (further["optimizer"]["name"], further["learning_rate"]) == ("adamw", 1e-3)


def test_wide_models_get_a_lower_rate_of_muon(corpus: Path, tmp_path: Path) -> None:
    model: Any = {"size": "1/1024"}
    bertie.pretrain(corpus=corpus, out=tmp_path / "wide", model=model, steps=1, batch_tokens=128, threads=1)
    assert config.read(tmp_path / "wide")["learning_rate"] == 3e-3


def test_a_run_that_goes_on_keeps_the_optimizer_it_began_with(corpus: Path, tmp_path: Path) -> None:
    given: Any = {"corpus": corpus, "out": tmp_path / "run", "steps": 2, "batch_tokens": 512, "threads": 1}
    given["model"] = {"size": "1/32", "num_heads": 2}
    bertie.pretrain(optimizer={"name": "adamw"}, **given)
    bertie.pretrain(resume=True, **given)  # no word of the optimizer: as it began
    assert config.read(tmp_path / "run")["optimizer"]["name"] == "adamw"
