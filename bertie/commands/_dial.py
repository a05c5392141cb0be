"""The dial of pre-training: from the time, or the tokens, to the size of the encoder and of its batches; no command.

The speed of this machine is measured on a few steps of each size that may be worth it. What a size is expected to reach
in that time is told by `bertie.training.scaling`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.commands._begin import with_start
from bertie.commands._going_on import further_batch
from bertie.commands._random import ModelSettings, RandomStart
from bertie.commands._recipe import Recipe
from bertie.errors import SettingsError
from bertie.training.scaling import (
    LADDER,
    USUAL_BATCH,
    Rung,
    batch_of,
    best,
    dropout_of,
    fitting,
    for_time,
    for_tokens,
    weights_of,
)

if TYPE_CHECKING:
    import torch

    from bertie.corpus.shards import Corpus
    from bertie.tasks.task import Task
    from bertie.tokenizer.tokenizer import Tokenizer
    from bertie.training.runfolder import RunFolder
    from bertie.training.settings import OptimizerSettings

MEASURED_TASK, MEASURED_START = "masked_lm", "neighbours"
"""What the curve of `bertie.training.scaling` is about."""
_EXPECTED = "expected"  # what a run's record calls it
_FEWEST, _MOST, _SECONDS = 4, 16, 2.0  # steps of each size, as many as fit the time; the first half only warms up
_LOOK = 0.05  # share of the time after which no further size is measured
_TABLE_WIDTH = 256  # of the word vectors that guessing compares with, for all sizes alike


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How long a run is, in the terms of the user; None but for one."""

    steps: int | None
    tokens: int | None
    epochs: int | None
    seconds: float | None

    def tokens_of(self, batch_tokens: int, corpus_tokens: int) -> float:
        """Return the tokens of a run that isn't given in time."""
        return self.tokens or (self.steps or 0) * batch_tokens or (self.epochs or 0) * corpus_tokens


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What the speed of a size is measured with: the corpus, the machine, and the settings of the run."""

    corpus: Corpus
    tokenizer: Tokenizer
    task: Task
    optimizer: OptimizerSettings
    length: int
    micro_tokens: int
    precision: Any
    device: torch.device

    def speed(self, start: RandomStart, batch_tokens: int) -> float:
        """Measure the tokens a second of an encoder of random weights, on the first batches of the corpus."""
        from bertie.training.feed import corpus_feed
        from bertie.training.loop import train
        from bertie.training.optimizer import build
        from bertie.training.schedule import Stage

        task = self.task.at(0.5)  # hides as many tokens as the run does on average
        network = task.network(start.draw(task, seed=0).model, seed=0).to(self.device)
        sizes: dict[str, Any] = {"batch_tokens": batch_tokens, "micro_tokens": self.micro_tokens}
        about: dict[str, Any] = {"seed": 0, "progress": lambda steps, tokens: 0.0, "state": {}}
        draws = corpus_feed(self.corpus, task, self.tokenizer, stages=(Stage(self.length, 1.0),), **sizes, **about)
        steps = train(
            network,
            task,
            islice(draws, _MOST),
            optimizer=build(network, self.optimizer),
            rate=lambda number: 0.0,
            clip_norm=self.optimizer.clip_norm,
            precision=self.precision,
            device=self.device,
            seed=0,
        )
        each, began = [], time.monotonic()
        before = began
        for step in steps:
            now = time.monotonic()
            each.append((now - before) / max(1, step.tokens))
            before = now
            if len(each) >= _FEWEST and now - began > _SECONDS:
                break
        return 1.0 / max(1e-9, median(each[len(each) // 2 :]))


@dataclass(frozen=True, kw_only=True)
class Dialled:
    """What a run begins with, and what is expected of it."""

    start: str | RandomStart
    """A model to go on from, or random weights."""
    model: ModelSettings
    """Of random weights, with everything said."""
    batch_tokens: int
    rung: Rung | None = None
    """Of the size that was chosen; None where nothing is known about such a run."""
    speed: float | None = None
    """Tokens a second; None where it wasn't measured."""
    looked_at: tuple[Rung, ...] = ()
    """Sizes that were compared, smallest first."""

    @property
    def said(self) -> str:
        """What was chosen, in a line."""
        if self.rung is None:
            return ""
        dropout = self.model.dropout
        rate = "" if self.speed is None else f" at {self.speed:,.0f} a second"
        return (
            f"{self.rung.size} ({self.rung.weights / 1e6:.2g} M weights in its blocks), {self.batch_tokens:,} tokens a "
            f"step: about {self.rung.tokens / 1e6:,.3g} M tokens{rate}, {self.rung.passes:.2g} x the corpus"
            f"{f', dropout {dropout}' if dropout else ''}"
        )

    def expected(self, unigram_loss: float) -> dict[str, float]:
        """Return the held-out losses at [MASK] that are expected of this run and of one of twice the length.

        Args:
            unigram_loss: on the same text.
        """
        if self.rung is None or self.rung.left >= 1.0:  # so short a run, or so small a text, is beyond the curve
            return {}
        twice = replace(self.rung, tokens=2 * self.rung.tokens)
        return {
            "expected_mask_loss": round(self.rung.left * unigram_loss, 4),
            "expected_mask_loss_of_twice": round(twice.left * unigram_loss, 4),
        }


def expected(dialled: Dialled, figures: Mapping[str, float], folder: RunFolder) -> dict[str, float]:
    """Say what the held-out loss is expected to be, and keep it for a process that goes on with the run.

    Args:
        dialled: what was chosen.
        figures: yardsticks on held-out text; empty without any.
        folder: of the run.
    """
    if earlier := folder.kept(_EXPECTED):
        return dict(earlier)
    unigram = figures.get("yardstick_unigram_loss")
    found = {} if unigram is None else dialled.expected(unigram)
    if found:
        this, twice = found.values()
        progress.note(
            f"expected at the end: a loss of {this:.2f} at [MASK] on held-out text, {twice:.2f} after twice as much"
        )
        folder.keep(_EXPECTED, found)
    return found


def dial(
    parameters: Mapping[str, Any],
    recipe: Recipe,
    corpus: Corpus,
    tokenizer: Tokenizer,
    longest: int,
    device: torch.device,
) -> Dialled:
    """Choose the size and the batch of a run, as far as they are open, and say so; a run that goes on keeps its own.

    Args:
        parameters: of pretrain, machine and optimizer decided.
        recipe: what is learned.
        corpus: from what.
        tokenizer: of the corpus.
        longest: tokens of the longest sequence.
        device: that the run is on.

    Raises:
        SettingsError: a size or a length that there isn't.
        DataError: the record of the run to go on with is damaged.
    """
    from bertie.training.runfolder import settings_of
    from bertie.training.schedule import Horizon, parse_duration

    seconds = None if parameters["budget"] is None else parse_duration(parameters["budget"])
    if parameters["epochs"] is None:
        Horizon(parameters["steps"], parameters["tokens"], seconds)  # refuses what is none
    out, resume = Path(parameters["out"]), parameters["resume"]
    usual = recipe.batch_tokens or max(USUAL_BATCH, longest)
    if parameters["from_"] is not None:
        further = further_batch(parameters, longest, whole_batch=recipe.objective.whole_batch)
        return Dialled(start=parameters["from_"], model=recipe.model, batch_tokens=recipe.batch_tokens or further)
    model = with_start(recipe.model, out, resume=resume)
    known = recipe.task == MEASURED_TASK and model.start == MEASURED_START
    goes_on = resume and settings_of(out) is not None
    if model.size is not None and (goes_on or not known):
        start = _started(_with_dropout(model, 0.0), tokenizer, longest)
        return Dialled(start=start, model=start.settings, batch_tokens=usual)
    given: dict[str, Any] = {name: parameters[name] for name in ("steps", "tokens", "epochs")}
    amount = Amount(**given, seconds=seconds)
    bench = Bench(
        corpus=corpus,
        tokenizer=tokenizer,
        task=recipe.objective,
        optimizer=parameters["optimizer"],
        length=longest,
        micro_tokens=parameters["training"].micro_tokens,
        precision=parameters["precision"],
        device=device,
    )
    found = turn(model, recipe.batch_tokens, amount, bench)
    progress.note(found.said)
    return found if known else replace(found, rung=None)


def turn(model: ModelSettings, batch_tokens: int | None, amount: Amount, bench: Bench) -> Dialled:
    """Choose the size of the encoder and of the batches, as far as they are open.

    Args:
        model: as given; without a size one is chosen.
        batch_tokens: as given.
        amount: of time or tokens.
        bench: to measure with.

    Raises:
        SettingsError: a size, or a setting of it, that the architecture doesn't have.
    """
    began, speeds = time.monotonic(), dict[str, float]()
    usual = batch_tokens or max(USUAL_BATCH, bench.length)
    plain = _with_dropout(model, 0.0)
    starts = {size: _started(replace(plain, size=size), bench.tokenizer, bench.length) for size in _ladder(model)}

    def tokens_of(size: str) -> float:
        if amount.seconds is None:
            return amount.tokens_of(usual, bench.corpus.num_tokens)
        if speeds and time.monotonic() - began > _LOOK * amount.seconds:
            return 0.0
        speeds[size] = bench.speed(starts[size], usual)
        return speeds[size] * amount.seconds

    if amount.seconds is not None:
        progress.note(f"measuring how fast {'encoders learn' if len(starts) > 1 else 'it learns'} on this machine")
    text = bench.corpus.num_tokens
    sizes = fitting([(size, _weights(start)) for size, start in starts.items()], text)
    if amount.seconds is None:
        guessing = round(getattr(bench.task.at(0.5), "mask_rate", 1.0) * bench.tokenizer.vocab_size * _TABLE_WIDTH)
        looked_at = [for_tokens(sizes, tokens_of(""), text, guessing)]
    else:
        looked_at = for_time(sizes, tokens_of, text)
    rung = best(looked_at)
    chosen = _with_dropout(replace(model, size=rung.size), dropout_of(rung.passes))
    start = _started(chosen, bench.tokenizer, bench.length)
    size = batch_of(rung.tokens, rung.weights, whole_batch=bench.task.whole_batch)
    return Dialled(
        start=start,
        model=start.settings,
        batch_tokens=batch_tokens or max(size, bench.length),
        rung=rung,
        speed=speeds.get(rung.size),
        looked_at=tuple(looked_at),
    )


def _with_dropout(model: ModelSettings, rate: float) -> ModelSettings:
    """Set the rate where it is open; weights that begin as in the paper have the paper's."""
    return model if model.start == "paper" or model.dropout is not None else replace(model, dropout=rate)


def _ladder(model: ModelSettings) -> tuple[str, ...]:
    """Return the sizes to choose from: the one that is given, or those that the architecture has."""
    if model.size is not None:
        return (model.size,)
    from bertie.models.model import architecture

    known = getattr(architecture(model.architecture).config, "SIZES", ())
    return tuple(size for size in LADDER if size in known) or LADDER[:1]


def _started(model: ModelSettings, tokenizer: Tokenizer, longest: int) -> RandomStart:
    """Look an encoder up, and see that it takes sequences of that length."""
    start = RandomStart.of(model, tokenizer)
    if longest > (limit := start.shape.max_positions):
        raise SettingsError(f"--length {longest} is more than --model.max-positions {limit}")
    return start


def _weights(start: RandomStart) -> int:
    """Count the weights of an encoder's blocks as the curve counts them."""
    return weights_of(getattr(start.shape, "num_layers", 1), start.shape.hidden_size)
