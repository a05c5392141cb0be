"""A small fine-tuning run that can be broken off anywhere and taken up again, for the tests of training aids."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bertie import config
from bertie.items.text import Text
from bertie.training.settings import (
    DistillSettings,
    LoraSettings,
    OptimizerSettings,
    ScheduleSettings,
    TrainingSettings,
)

if TYPE_CHECKING:
    from torch import Tensor

    from bertie.tasks.task import TaskModel
    from bertie.training.activations import Activations
    from bertie.training.spec import RunState

EVERY_THIRD = TrainingSettings(save_every=3, log_every=2)
PLAIN, NO_LORA, LINEAR = OptimizerSettings(), LoraSettings(), ScheduleSettings()
WORDS = ("film", "story", "day", "cat", "dog", "bird", "fish", "house", "river", "good", "bad", "great", "poor", "very")


class BrokenOffError(Exception):
    """Stands for whatever ends a process in the middle of a run."""


@dataclass(frozen=True)
class Outcome:
    """What a run left behind."""

    weights: dict[str, Tensor]
    journal: list[dict[str, Any]]
    """Without what is a time."""
    position: RunState
    model: TaskModel


def some_texts(count: int, seed: int) -> list[Text]:
    draw = random.Random(seed)
    words = [draw.choices(WORDS, k=draw.randint(1, 25)) for _ in range(count)]
    return [Text(" ".join(each), label=draw.choice(("no", "yes"))) for each in words]


@dataclass(frozen=True)
class AidedRun:
    """A run of 3 epochs, 4 steps each, that `start` begins or goes on with."""

    build: Callable[..., TaskModel]
    tokenizer: Any
    training: TrainingSettings = EVERY_THIRD
    optimizer: OptimizerSettings = PLAIN
    schedule: ScheduleSettings = LINEAR
    lora: LoraSettings = NO_LORA
    freeze: int = 0
    teacher: TaskModel | None = None
    distill: DistillSettings | None = None
    """What is learned from the teacher."""
    gigabytes: float = 0.0
    dropout: float = 0.1
    scores: tuple[float, ...] = ()
    """What is measured after so many steps, in place of the dev texts' scores."""
    items: list[Text] = field(default_factory=lambda: some_texts(30, 1))
    dev: list[Text] = field(default_factory=lambda: some_texts(24, 2))

    def start(self, folder: Path, *, stop_after: int | None = None) -> Outcome:
        """Run to the end, or let the step after `stop_after` fail; goes on with what is in `folder`."""
        import torch

        from bertie.inference.evaluate import evaluate
        from bertie.tasks.classification import Classification
        from bertie.training.distillation import Distilled, DistilledModel
        from bertie.training.feed import table_feed
        from bertie.training.journal import read
        from bertie.training.run import run
        from bertie.training.runfolder import RunFolder
        from bertie.training.schedule import RunLength
        from bertie.training.spec import RunSpec
        from bertie.training.trainable import choose

        task = Classification(labels=("no", "yes"), max_length=16, truncation="window")
        model = self.build(task, dropout=self.dropout)
        network = choose(model, freeze=self.freeze, lora=self.lora, seed=0)
        known = self.remembered(network, task, folder.parent) if self.gigabytes else None
        learner: tuple[TaskModel, Any] = (network, task)
        if self.teacher is not None and self.distill is not None:
            learner = (DistilledModel(network, self.teacher, self.distill, seed=0), Distilled(task, self.distill))
        at = [0]  # steps drawn so far

        def feed(state: dict[str, Any]) -> Iterator[Any]:
            plain = partial(table_feed, self.items, task, self.tokenizer, batch_size=8, micro_tokens=64, seed=3)
            for draw in plain(state=state, activations=known):
                if stop_after is not None and draw.state["step"] > stop_after:
                    raise BrokenOffError
                at.append(draw.state["step"])
                yield draw

        def measure(feed: Mapping[str, Any]) -> dict[str, float]:
            if self.scores:
                return {"accuracy": self.scores[at[-1]]}
            return evaluate(model, task, self.dev, self.tokenizer).scores

        job = RunSpec(
            model=learner[0],
            task=learner[1],
            feed=lambda done, state: feed(state),
            horizon=RunLength(steps=12),
            peak=2e-2,
            optimizer=self.optimizer,
            schedule=self.schedule,
            training=self.training,
            precision="fp32",
            device=torch.device("cpu"),
            seed=5,
            evaluate=measure,
            epoch_steps=4,
        )
        parameters: dict[str, Any] = {"freeze": self.freeze}
        with RunFolder.open(folder, "finetune", parameters, resume=True, data="x", settings_file=config) as run_folder:
            position = run(job, run_folder)
        lines = read(folder / "metrics.jsonl")
        journal = [{key: line[key] for key in line if not key.startswith(("seconds", "tokens_per"))} for line in lines]
        weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        return Outcome(weights, journal, position, model)

    def remembered(self, network: Any, task: Any, folder: Path) -> Activations:
        """Work out what the frozen layers make of the items."""
        import torch

        from bertie.training.activations import remember

        found = remember(
            network,
            task,
            self.items,
            self.tokenizer,
            folder=folder,
            gigabytes=self.gigabytes,
            precision="fp32",
            device=torch.device("cpu"),
        )
        assert found is not None
        return found

    def check_resuming(self, folder: Path, *, stops: tuple[int, ...] = (2, 7)) -> Outcome:
        """Break a run off at several steps and compare its end, bit for bit, with that of an unbroken one."""
        import torch

        whole = self.start(folder / "whole")
        for stop in stops:
            if stop < whole.position.step:
                with pytest.raises(BrokenOffError):
                    self.start(folder / f"broken-{stop}", stop_after=stop)
            found = self.start(folder / f"broken-{stop}")
            assert found.weights.keys() == whole.weights.keys()
            assert all(torch.equal(found.weights[name], whole.weights[name]) for name in whole.weights), stop
            assert found.journal == whole.journal
            assert (found.position.step, found.position.chosen) == (whole.position.step, whole.position.chosen)
        again = self.start(folder / "whole")  # nothing left to do: the same weights, nothing written
        assert all(torch.equal(again.weights[name], whole.weights[name]) for name in whole.weights)
        assert again.journal == whole.journal
        assert again.position.chosen == whole.position.chosen
        return whole


@pytest.fixture
def aided_run(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> Callable[..., AidedRun]:
    """Return a function that describes a small run with training aids."""
    return partial(AidedRun, build_model, tiny_tokenizer)
