"""A new head on a trained encoder learns alone first, before a pre-training run takes its first step.

Gradients that have passed a head of random weights say nothing, and would undo what the encoder knows. So the output
bias begins at the logarithm of the corpus' frequencies, and the head's new weights learn for some steps while the
encoder stays as it is and is given no gradients. The same arguments give the same weights.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from bertie import progress
from bertie.corpus.shards import Corpus
from bertie.formats.format import Bundle
from bertie.starts._counts import count_pieces
from bertie.starts._outputs import set_outputs
from bertie.tasks.task import TaskModel
from bertie.training.feed import corpus_feed
from bertie.training.loop import train
from bertie.training.optimizer import build
from bertie.training.schedule import Stage, learning_rate
from bertie.training.settings import OptimizerSettings, ScheduleSettings
from bertie.training.trainable import FrozenModel

STEPS = 50
"""Steps that a new head learns alone; the loss falls little after that (docs/measured/results.md)."""
_TOKENS = 2048  # of a step
_RATE = 3e-3
_SCHEDULE = ScheduleSettings(warmup=0.1)
_STREAM = 5  # seeds before it draw weights; the run's own batches are drawn from another one


@dataclass(frozen=True)
class Warmed:
    """What was done to a new head."""

    steps: int
    tokens: int
    """That it learned from."""
    seconds: float
    loss: float
    """Of the last step."""


def warm(
    bundle: Bundle,
    corpus: Corpus,
    *,
    length: int,
    precision: Literal["fp32", "bf16"],
    device: torch.device,
    seed: int,
    steps: int = STEPS,
    most_seconds: float | None = None,
) -> Warmed:
    """Let the head's parameters that were drawn at random learn, in place.

    Args:
        bundle: a trained encoder under a head for a task that learns from a corpus.
        corpus: what is learned from.
        length: tokens of a sequence at most.
        precision: of the products.
        device: where the network is.
        seed: of the run.
        steps: to do.
        most_seconds: time after which no further step is begun; None for no limit.
    """
    started = time.monotonic()
    names = dict(bundle.model.head.named_parameters())
    drawn = [names[name] for name in bundle.drawn]
    set_outputs([bundle.model], count_pieces(corpus), bundle.task, bundle.tokenizer, only=drawn)
    bundle.model.to(device)
    done, tokens, loss = 0, 0, 0.0
    with _alone(bundle.model, drawn) as network, progress.bar("Warming the new head", total=steps, unit="steps") as bar:
        draws = corpus_feed(
            corpus,
            bundle.task,
            bundle.tokenizer,
            stages=(Stage(length, 1.0),),
            batch_tokens=max(_TOKENS, length),
            micro_tokens=_TOKENS,
            seed=seed + _STREAM,
            progress=lambda step, tokens: 0.0,
            state={},
        )
        for step in train(
            network,
            bundle.task,
            draws,
            optimizer=build(network, OptimizerSettings("adamw")),
            rate=lambda number: learning_rate((number + 1) / (steps + 1), _RATE, _SCHEDULE),
            clip_norm=1.0,
            precision=precision,
            device=device,
            seed=seed + _STREAM,
        ):
            done, tokens, loss = step.number, tokens + step.tokens, step.figures["loss"]
            bar.advance(1, loss=f"{loss:.3f}")
            if done >= steps or (most_seconds is not None and time.monotonic() - started >= most_seconds):
                break
    return Warmed(done, tokens, time.monotonic() - started, loss)


@contextmanager
def _alone(model: TaskModel, drawn: list[nn.Parameter]) -> Iterator[nn.Module]:
    """Return the network in which nothing but `drawn` learns, and let all learn again afterwards that did before."""
    learned = {value: value.requires_grad for value in model.parameters()}
    training = model.training
    try:
        model.requires_grad_(False)
        for value in drawn:
            value.requires_grad_(True)
        encoder: Any = model.encoder
        yield FrozenModel(model, len(encoder.blocks))
    finally:
        for value, before in learned.items():
            value.requires_grad_(before)
        model.train(training)
