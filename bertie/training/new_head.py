"""Train a new head alone on a trained encoder, before the first step of a pre-training run.

Gradients that pass a head of random weights carry no information and would damage the encoder. So the output bias
starts at the logarithm of the token frequencies in the corpus, and the head's random weights learn for some steps while
the encoder is frozen. The same arguments give the same weights.
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
"""Steps for which a new head is trained alone; the loss falls little after that (docs/measured/results.md)."""
_TOKENS = 2048  # per step
_RATE = 3e-3
_SCHEDULE = ScheduleSettings(warmup=0.1)
_STREAM = 5  # added to the run's seed; smaller numbers draw weights, and the run's batches have another seed


@dataclass(frozen=True)
class Warmed:
    """How a new head was trained."""

    steps: int
    tokens: int
    """Tokens that it learned from."""
    seconds: float
    loss: float
    """Loss of the last step."""


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
    """Train the random weights of a head, in place.

    Args:
        bundle: a trained encoder with a new head for a task that learns from a corpus.
        corpus: the corpus of the run.
        length: the most tokens of a sequence.
        precision: number format of the matrix products.
        device: where the network runs.
        seed: the run's.
        steps: number of steps.
        most_seconds: time after which no further step starts; None for no limit.
    """
    started = time.monotonic()
    names = dict(bundle.model.head.named_parameters())
    drawn = [names[name] for name in bundle.drawn]
    set_outputs([bundle.model], count_pieces(corpus), bundle.task, bundle.tokenizer, only=drawn)
    bundle.model.to(device)
    done, tokens, loss = 0, 0, 0.0
    with (
        _alone(bundle.model, drawn) as network,
        progress.bar("Training the new head", total=steps, unit="steps") as bar,
    ):
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
    """Yield the network with only `drawn` learning. Afterwards the same weights learn as before."""
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
