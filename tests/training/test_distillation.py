"""Learning from a teacher: each term by hand, what learns and what is kept, and that a broken run ends like a whole."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.items.text import Text
from bertie.models.bert import BertConfig
from bertie.nn.divergence import divergence, relation_divergence
from bertie.nn.initialize import initialize
from bertie.ops.dropout.op import Noise
from bertie.registry import load
from bertie.tasks.classification import Classification
from bertie.tasks.task import Task, TaskModel
from bertie.training.distillation import Distilled, DistilledModel, like
from bertie.training.optimizer import frozen_digest, learning
from bertie.training.settings import DistillSettings, LoraSettings
from bertie.training.trainable import FrozenModel, choose

TASK = Classification(labels=("no", "yes"), max_length=16, truncation="window")
ALL = DistillSettings("a folder", logits=0.7, task=0.3, temperature=2.0, hidden=0.2, attention=5.0)
Build = Callable[..., TaskModel]


def teacher_of(tokenizer: Any, task: Task = TASK, *, hidden: int = 48, layers: int = 4, seed: int = 9) -> TaskModel:
    shape = BertConfig(
        tokenizer.vocab_size, hidden_size=hidden, num_layers=layers, num_heads=3, intermediate_size=48, max_positions=64
    )
    encoder = shape.build()
    model = TaskModel(encoder, task.head(encoder))
    initialize(model, deviation=0.2, generator=torch.Generator().manual_seed(seed))
    return model


def some_batch(tokenizer: Any) -> Batch:
    texts = ["the cat sat in the house", "not bad", "a very poor story of the dog and the bird in the old city by it"]
    return TASK.encode([Text(text, label=("yes", "no")[place % 2]) for place, text in enumerate(texts)], tokenizer)


def test_layers_are_spread_evenly() -> None:
    assert [like(number, 4, 12) for number in range(1, 5)] == [3, 6, 9, 12]
    assert [like(number, 6, 4) for number in range(1, 7)] == [1, 1, 2, 3, 3, 4]
    assert like(1, 5, 2) == 1 and like(1, 1, 9) == 9


def test_every_term_by_hand(build_model: Build, tiny_tokenizer: Any) -> None:
    student, teacher, batch, noise = build_model(TASK, dropout=0.1), teacher_of(tiny_tokenizer), None, Noise(3)
    batch = some_batch(tiny_tokenizer)
    model = DistilledModel(student, teacher, ALL, seed=0).train()
    loss = Distilled(TASK, ALL).loss(model(batch, noise), batch)
    assert loss.terms.keys() == {"classification", "distill_logits", "distill_hidden", "distill_attention"}
    assert {name: term.count for name, term in loss.terms.items()} == Distilled(TASK, ALL).counts(batch)
    outputs, opinion = student(batch, noise), teacher.eval()(batch)
    own = TASK.loss(outputs, batch)
    assert torch.equal(loss.terms["classification"].sum, own.terms["classification"].sum)
    assert loss.figures.keys() == own.figures.keys()
    expected = divergence(*(batch.item_means(each) for each in (outputs, opinion)), 2.0)
    torch.testing.assert_close(loss.terms["distill_logits"].sum, expected)
    assert model.project is not None
    distances, mine, theirs = [], None, None
    for number in (1, 2):
        mine = student.encoder(batch, noise, blocks=slice(number))
        theirs = teacher.encoder(batch, None, blocks=slice(2 * number))
        distances.append((model.project(mine) - theirs).square().mean(1).sum())
    torch.testing.assert_close(loss.terms["distill_hidden"].sum, sum(distances) / 2)
    before = student.encoder(batch, noise, blocks=slice(1)), teacher.encoder(batch, None, blocks=slice(3))
    parts = [
        network.encoder.blocks[-1].attention.qkv(hidden)  # type: ignore[union-attr, operator, index]
        for network, hidden in zip((student, teacher), before, strict=True)
    ]
    torch.testing.assert_close(loss.terms["distill_attention"].sum, relation_divergence(*parts, batch))
    weights = {"classification": 0.3, "distill_logits": 0.7, "distill_hidden": 0.2, "distill_attention": 5.0}
    assert {name: term.weight for name, term in loss.terms.items()} == weights
    bare = Distilled(TASK, replace(ALL, logits=0.0, hidden=0.0))
    assert bare.counts(batch).keys() == {"classification", "distill_attention"}


def test_only_the_student_and_the_projection_learn(build_model: Build, tiny_tokenizer: Any) -> None:
    student, teacher, batch = build_model(TASK, dropout=0.3), teacher_of(tiny_tokenizer), some_batch(tiny_tokenizer)
    names = set(learning(student))
    model = DistilledModel(student, teacher, ALL, seed=0)
    assert set(learning(model)) == names | {"project.weight"}
    assert frozen_digest(model) != "" and frozen_digest(model) != frozen_digest(
        DistilledModel(student, teacher_of(tiny_tokenizer, seed=1), ALL, seed=0)
    )
    same = DistilledModel(student, teacher_of(tiny_tokenizer, hidden=32 * 3), replace(ALL, hidden=0.0), seed=0)
    assert same.project is None
    model.train()
    task = Distilled(TASK, ALL)
    first, second = (model(batch, Noise(seed)) for seed in (1, 2))
    assert torch.equal(first.teacher, second.teacher) and not torch.equal(first.student, second.student)
    task.loss(first, batch).total(task.counts(batch)).backward()  # type: ignore[no-untyped-call]
    assert {name for name, value in model.named_parameters() if value.grad is not None} == names | {"project.weight"}
    for name in ("name", "criterion", "needs_labels", "compares_items", "architecture"):
        assert getattr(task, name) == getattr(TASK, name)


def test_a_student_comes_near_its_teacher(build_model: Build, tiny_tokenizer: Any) -> None:
    alone = replace(ALL, task=0.0, hidden=1.0)
    batch, task = some_batch(tiny_tokenizer), Distilled(TASK, alone)
    model = DistilledModel(build_model(TASK), teacher_of(tiny_tokenizer), alone, seed=0).train()
    optimizer, sums = torch.optim.AdamW(learning(model).values(), lr=5e-3), []
    for step in range(40):
        loss = task.loss(model(batch, Noise(0, step)), batch)
        loss.total(task.counts(batch)).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()
        sums.append({name: float(term.sum.detach()) for name, term in loss.terms.items()})
    for name in ("distill_logits", "distill_hidden", "distill_attention"):
        assert sums[-1][name] < 0.6 * sums[0][name], name


@pytest.mark.parametrize("architecture", ["albert", "distilbert", "modernbert"])
def test_teachers_of_any_architecture(build_model: Build, tiny_tokenizer: Any, architecture: str) -> None:
    config = load("models", architecture).ARCHITECTURE.config
    encoder: Any = config.sized("3/16", vocab_size=tiny_tokenizer.vocab_size).build()
    encoder.initialize(0)
    teacher = TaskModel(encoder, TASK.head(encoder))
    initialize(teacher.head, deviation=0.1, generator=torch.Generator().manual_seed(0))
    batch = some_batch(tiny_tokenizer)
    loss = Distilled(TASK, ALL).loss(DistilledModel(build_model(TASK), teacher, ALL, seed=0)(batch), batch)
    assert all(float(term.sum.detach()) > 0.0 for term in loss.terms.values()) and len(loss.terms) == 4


def test_frozen_layers_learn_nothing(build_model: Build, tiny_tokenizer: Any) -> None:
    batch, teacher = some_batch(tiny_tokenizer), teacher_of(tiny_tokenizer)
    network = choose(build_model(TASK), freeze=1, lora=LoraSettings(), seed=0)
    assert isinstance(network, FrozenModel)
    model = DistilledModel(network, teacher, ALL, seed=0).train()
    assert {name.split(".")[2] for name in learning(model) if "blocks" in name} == {"1"}
    given = replace(batch, targets={**batch.targets, "token.prefix": network.prefix(batch)})
    plain, cached = (model(each, Noise(1)) for each in (batch, given))
    assert len(plain.layers) == len(cached.layers) == 1
    torch.testing.assert_close(plain.layers, cached.layers)
    whole = choose(build_model(TASK), freeze=-1, lora=LoraSettings(), seed=0)
    with pytest.raises(SettingsError, match="that learn; freeze fewer"):
        DistilledModel(whole, teacher, ALL, seed=0)(batch)


def test_a_broken_run_ends_like_an_unbroken_one(
    aided_run: Callable[..., Any], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    aids: dict[str, Any] = {"freeze": 1, "gigabytes": 1.0, "lora": LoraSettings(rank=2)}
    run = aided_run(teacher=teacher_of(tiny_tokenizer), distill=ALL, **aids)
    whole = run.check_resuming(tmp_path, stops=(7,))
    lines = [line for line in whole.journal if line["kind"] == "train"]
    assert {"distill_logits_loss", "distill_hidden_loss", "distill_attention_loss", "accuracy"} <= lines[0].keys()
    assert not any(name.startswith(("teacher", "project")) for name in whole.weights)
    file = max((tmp_path / "whole" / "checkpoints").glob("step-*/tensors-00001.safetensors"))
    with safe_open(file, framework="pt") as stored:
        held = {name.split(".")[1] for name in stored.keys() if name.startswith("model.")}  # noqa: SIM118
    assert held == {"encoder", "head", "project"}
    with pytest.raises(DataError, match="the frozen weights aren't those it began with"):
        replace(run, teacher=teacher_of(tiny_tokenizer, seed=1)).start(tmp_path / "whole")


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        ({"hidden": 0.5}, "distill.hidden 0.5 has no effect without distill.teacher"),
        ({"temperature": 3.0}, "distill.temperature 3.0 has no effect"),
        ({"teacher": "t", "temperature": 0.0}, "distill.temperature must be above 0"),
        ({"teacher": "t", "attention": -1.0}, "distill.attention must be at least 0"),
        ({"teacher": "t", "logits": 0.0}, "are all 0"),
    ],
)
def test_wrong_settings(wishes: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        DistillSettings(**wishes)


def test_a_teacher_reads_from_position_zero(build_model: Build, tiny_tokenizer: Any) -> None:
    student, teacher, batch = build_model(TASK), teacher_of(tiny_tokenizer), some_batch(tiny_tokenizer)
    model = DistilledModel(student, teacher, ALL, seed=0).eval()
    with torch.no_grad():
        usual, moved = model(batch), model(batch.begun_at(torch.tensor([3, 0, 1, 2])))
    assert torch.equal(moved.teacher, usual.teacher) and not torch.equal(moved.student, usual.student)
    for (mine, theirs), (his, same) in zip(moved.layers, usual.layers, strict=True):
        assert torch.equal(theirs, same) and not torch.equal(mine, his)
