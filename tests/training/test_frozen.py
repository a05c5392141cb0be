"""Frozen layers: the rest learns, their outputs may come from a file, and a broken run ends like a whole one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from bertie.errors import DataError, SettingsError
from bertie.items.text import Text
from bertie.nn.lora import LoraLinear, merge
from bertie.ops.dropout.op import Noise
from bertie.tasks.classification import Classification
from bertie.tasks.task import TaskModel
from bertie.training.activations import Activations, remember
from bertie.training.settings import LoraSettings, OptimizerSettings, TrainingSettings
from bertie.training.trainable import PREFIX, FrozenModel, choose

CPU = torch.device("cpu")
NO_LORA = LoraSettings()
TASK = Classification(labels=("no", "yes"), max_length=12, truncation="window")
ITEMS = [
    Text("good film", label="yes"),
    Text("a very poor story of the city " * 5, label="no"),
    Text("", label="no"),
    Text("good dog", "bad cat", label="yes"),
    *(Text(f"story {'fish ' * number}", label="no") for number in range(40)),
]


def learning(model: TaskModel) -> set[str]:
    return {name for name, value in model.named_parameters() if value.requires_grad}


def remembered(model: TaskModel, tokenizer: Any, folder: Path, *, gigabytes: float = 1.0) -> Activations | None:
    assert isinstance(model, FrozenModel)
    room = {"folder": folder, "gigabytes": gigabytes}
    return remember(model, TASK, ITEMS, tokenizer, **room, precision="fp32", device=CPU)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_an_encoder_in_two_parts_is_the_whole(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, count: int
) -> None:
    encoder = build_model(TASK, dropout=0.2).encoder.train()
    batch, noise = TASK.encode(ITEMS, tiny_tokenizer), Noise(3)
    hidden = encoder(batch, noise, blocks=slice(count))
    assert torch.equal(encoder(batch, noise, hidden, slice(count, None)), encoder(batch, noise))


def test_what_learns(build_model: Callable[..., TaskModel]) -> None:
    model = build_model(TASK)
    everything, head = learning(model), {name for name in learning(model) if name.startswith("head.")}
    upper = {name for name in everything if name.startswith("encoder.blocks.1.")}
    assert choose(model, freeze=0, lora=NO_LORA, seed=0) is model
    assert learning(choose(build_model(TASK), freeze=1, lora=NO_LORA, seed=0)) == upper | head
    assert learning(choose(build_model(TASK), freeze=2, lora=NO_LORA, seed=0)) == head
    assert learning(choose(build_model(TASK), freeze=-1, lora=NO_LORA, seed=0)) == head
    small = choose(build_model(TASK), freeze=1, lora=LoraSettings(rank=2, targets="attention"), seed=0)
    layers = [f"encoder.blocks.1.attention.{name}.lora_{part}" for name in ("qkv", "output") for part in "ab"]
    assert learning(small) == {*layers, *head}
    both = choose(build_model(TASK), freeze=0, lora=LoraSettings(rank=2), seed=0)
    assert sum(isinstance(part, LoraLinear) for part in both.modules()) == 8


@pytest.mark.parametrize(
    ("freeze", "rank", "message"),
    [(3, 0, "from 0 to 2, the blocks of this encoder, or -1; got 3"), (-2, 0, "got -2"), (2, 4, "freeze fewer")],
)
def test_wrong_wishes(build_model: Callable[..., TaskModel], freeze: int, rank: int, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        choose(build_model(TASK), freeze=freeze, lora=LoraSettings(rank=rank), seed=0)
    with pytest.raises(SettingsError, match="rank must be at least 0"):
        LoraSettings(rank=-1)
    with pytest.raises(SettingsError, match="alpha must be above 0"):
        LoraSettings(alpha=0.0)


def test_frozen_layers_have_no_dropout_and_no_gradient(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any
) -> None:
    network = choose(build_model(TASK, dropout=0.3), freeze=1, lora=NO_LORA, seed=0).train()
    assert isinstance(network, FrozenModel)
    batch = TASK.encode(ITEMS, tiny_tokenizer)
    assert torch.equal(network.prefix(batch, Noise(1)), network.prefix(batch, Noise(2)))
    assert not torch.equal(network(batch, Noise(1)), network(batch, Noise(2)))
    TASK.loss(network(batch, Noise(1)), batch).total({"classification": 1.0}).backward()
    assert {name for name, value in network.named_parameters() if value.grad is not None} == learning(network)
    network.eval()
    assert torch.equal(network(batch), network(batch))


@pytest.mark.parametrize("freeze", [1, 2])
def test_outputs_from_the_file_are_those_worked_out(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path, freeze: int
) -> None:
    network = choose(build_model(TASK, dropout=0.1), freeze=freeze, lora=NO_LORA, seed=0)
    known = remembered(network, tiny_tokenizer, tmp_path)
    assert known is not None
    assert list(tmp_path.iterdir()) == []  # the file has no name
    chosen = [7, 1, 3, 2, 41]
    batch = TASK.encode([ITEMS[item] for item in chosen], tiny_tokenizer)
    dressed = known.attach(batch, chosen)
    assert len(batch) > len(chosen)  # a long text has several sequences
    assert torch.equal(dressed.tokens, batch.tokens) and dressed.targets.keys() == {*batch.targets, PREFIX}
    network.train()
    pairs = [(dressed, batch), *zip(dressed.split(40), batch.split(40), strict=True)]
    assert len(pairs) > 2
    for ours, plain in pairs:
        torch.testing.assert_close(network(ours, Noise(1)), network(plain, Noise(1)), rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="the chosen items, whole and in their order"):
        known.attach(batch, [1, 7, 3, 2, 41])


def test_without_room_they_are_worked_out_anew(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = choose(build_model(TASK), freeze=1, lora=NO_LORA, seed=0)
    assert remembered(network, tiny_tokenizer, tmp_path, gigabytes=1e-6) is None
    assert "--freeze-cache allows 1e-06: they are computed again in every epoch" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wishes",
    [
        {"freeze": 1},
        {"freeze": 1, "gigabytes": 1.0},
        {"freeze": -1, "gigabytes": 1.0, "optimizer": OptimizerSettings(layer_decay=0.8)},
        {"lora": LoraSettings(rank=2)},
        {
            "freeze": 1,
            "gigabytes": 1.0,
            "lora": LoraSettings(rank=2, targets="feedforward"),
            "training": TrainingSettings(evaluate_every=2, best=True, save_every=3),
        },
    ],
    ids=lambda wishes: "-".join(wishes),
)
def test_a_broken_run_ends_like_an_unbroken_one(
    aided_run: Callable[..., Any], tmp_path: Path, wishes: dict[str, Any]
) -> None:
    run = aided_run(**wishes)
    whole = run.check_resuming(tmp_path)
    before = run.build(TASK, dropout=0.1).state_dict()
    learned = learning(whole.model)
    assert all(torch.equal(whole.weights[name], value) == (name not in learned) for name, value in before.items())
    file = max((tmp_path / "whole" / "checkpoints").glob("step-*/tensors-00001.safetensors"))
    with safe_open(file, framework="pt") as stored:
        held = {name.split(".", 1)[1] for name in stored.keys() if name.startswith(("model.", "best."))}  # noqa: SIM118
    assert held == learned


def test_kept_outputs_change_a_run_by_rounding_only(aided_run: Callable[..., Any], tmp_path: Path) -> None:
    plain, kept = (aided_run(freeze=1, gigabytes=room).start(tmp_path / str(room)) for room in (0.0, 1.0))
    for ours, theirs in zip(kept.journal, plain.journal, strict=True):
        assert ours["step"] == theirs["step"] and ours["tokens"] == theirs["tokens"]
        if ours["kind"] == "train":
            assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-2)
    for name, value in plain.weights.items():
        assert float((value - kept.weights[name]).abs().max()) < 1e-2, name


def test_merged_after_a_run_it_answers_alike(
    aided_run: Callable[..., Any], build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    model = aided_run(lora=LoraSettings(rank=4)).start(tmp_path / "run").model.eval()
    batch = TASK.encode(ITEMS, tiny_tokenizer)
    adapted = model(batch)
    merge(model)
    assert model.state_dict().keys() == build_model(TASK).state_dict().keys()
    torch.testing.assert_close(model(batch), adapted, rtol=0, atol=1e-5)


def test_other_frozen_weights_are_refused(aided_run: Callable[..., Any], tmp_path: Path) -> None:
    run = aided_run(freeze=1)
    run.start(tmp_path / "run")
    changed = replace(run, build=lambda task, **rest: run.build(task, seed=9, **rest))
    with pytest.raises(DataError, match="the frozen weights aren't those it began with"):
        changed.start(tmp_path / "run")
