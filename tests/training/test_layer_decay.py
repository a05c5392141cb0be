"""Layer-wise rate decay: each layer's share of the rate, in the groups of the optimizer and in what a step does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bertie.errors import SettingsError
from bertie.items.text import Text
from bertie.tasks.classification import Classification
from bertie.tasks.masked_lm import TASK as MASKED_LM
from bertie.training.layers import depth, num_blocks, rate_scales
from bertie.training.loop import StepBatches, train
from bertie.training.optimizer import build
from bertie.training.settings import OptimizerSettings

TASK = Classification(labels=("no", "yes"), max_length=16)
ITEMS = [Text("good film", label="yes"), Text("a very poor story of the city", label="no")]
SHARES = {"encoder.embeddings": 0.125, "encoder.blocks.0": 0.25, "encoder.blocks.1": 0.5, "head": 1.0}


def share_of(name: str) -> float:
    return next(share for prefix, share in SHARES.items() if name.startswith(f"{prefix}."))


def test_names_tell_the_layer() -> None:
    names = ["encoder.embeddings.norm.bias", "encoder.blocks.0.attention.qkv.weight", "encoder.blocks.11.x", "head.y"]
    assert [depth(name, 12) for name in names] == [0, 1, 12, 13]
    assert depth("encoder.final_norm.weight", 12) == 13


def test_each_layer_has_its_share(build_model: Callable[..., Any]) -> None:
    model = build_model(TASK)
    assert num_blocks(model) == 2
    assert rate_scales(model, 0.5) == {name: share_of(name) for name, _ in model.named_parameters()}
    groups = build(model, OptimizerSettings(layer_decay=0.5)).param_groups
    names = {id(value): name for name, value in model.named_parameters()}
    found = {names[id(value)]: group["scale"] for group in groups for value in group["params"]}
    assert found == {name: share_of(name) for name in names.values()}
    assert len(groups) == 8  # of each layer what decays and what doesn't


def test_a_tied_matrix_belongs_to_the_embeddings(build_model: Callable[..., Any]) -> None:
    model = build_model(MASKED_LM(max_length=16))
    groups = build(model, OptimizerSettings(layer_decay=0.5)).param_groups
    word = model.encoder.embeddings.word.weight
    assert [group["scale"] for group in groups if any(value is word for value in group["params"])] == [0.125]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_without_decay_there_are_two_groups(build_model: Callable[..., Any]) -> None:
    groups = build(build_model(TASK), OptimizerSettings()).param_groups
    assert sorted((group["scale"], group["weight_decay"]) for group in groups) == [(1.0, 0.0), (1.0, 0.01)]


@pytest.mark.parametrize("name", ["adamw", "bert_adam"])
def test_a_step_moves_weights_by_their_share(build_model: Callable[..., Any], tiny_tokenizer: Any, name: Any) -> None:
    model = build_model(TASK)
    before = {key: value.detach().clone() for key, value in model.named_parameters()}
    settings = OptimizerSettings(name, layer_decay=0.5, weight_decay=0.0, epsilon=1e-30)
    draw = StepBatches([TASK.encode(ITEMS, tiny_tokenizer)])
    (step,) = train(
        model,
        TASK,
        [draw],
        optimizer=build(model, settings),
        rate=lambda number: 1e-3,
        clip_norm=0.0,
        precision="fp32",
        device=torch.device("cpu"),
        seed=0,
    )
    assert step.learning_rate == 1e-3
    # A first update has everywhere the size of the rate; without bias correction (1 - beta1) / sqrt(1 - beta2) of it.
    size = 1e-3 if name == "adamw" else 1e-3 * 0.1 / 0.001**0.5
    for key, value in model.named_parameters():
        if key.endswith("qkv.bias"):
            continue  # the keys' part has no gradient but rounding
        moved = float((value.detach() - before[key]).abs().max())
        assert moved == pytest.approx(size * share_of(key), rel=2e-2), key


def test_wrong_decays() -> None:
    for wrong in (0.0, -0.5, 1.5):
        with pytest.raises(SettingsError, match=r"layer_decay must be above 0 and at most 1; got"):
            OptimizerSettings(layer_decay=wrong)
    with pytest.raises(SettingsError, match="this one has none"):
        rate_scales(nn.Linear(2, 2), 0.9)
    assert rate_scales(nn.Linear(2, 2), 1.0) == {"weight": 1.0, "bias": 1.0}


def test_a_broken_run_ends_like_an_unbroken_one(aided_run: Callable[..., Any], tmp_path: Path) -> None:
    whole = aided_run(optimizer=OptimizerSettings(layer_decay=0.7)).check_resuming(tmp_path)
    plain = aided_run().start(tmp_path / "plain")
    assert not torch.equal(whole.weights["head.classifier.weight"], plain.weights["head.classifier.weight"])
