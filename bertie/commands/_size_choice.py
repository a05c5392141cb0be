"""Choose the size of the encoder and of its batches for the time or the tokens of a pre-training run.

A few steps of each promising size measure the speed of this machine. `bertie.training.scaling` predicts the loss that
each size reaches in the given time.
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
from bertie.commands._continuing import further_batch
from bertie.commands._first_weights import with_start
from bertie.commands._new_model import ModelSettings, RandomStart
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
"""The objective and the start for which the curve of `bertie.training.scaling` was measured."""
_EXPECTED_KEY = "expected"  # key in the run's record
_FEWEST, _MOST, _SECONDS = 4, 16, 2.0  # steps measured for each size, within the seconds; the first half only warms up
_LOOK = 0.05  # share of the time after which no further size is measured
_TABLE_WIDTH = 256  # width of the output table for all sizes


@dataclass(frozen=True, kw_only=True)
class Amount:
    """The length of a run as the user gave it; all but one are None."""

    steps: int | None
    tokens: int | None
    epochs: int | None
    seconds: float | None

    def tokens_of(self, batch_tokens: int, corpus_tokens: int) -> float:
        """Return the number of tokens of a run whose length isn't given as time."""
        return self.tokens or (self.steps or 0) * batch_tokens or (self.epochs or 0) * corpus_tokens


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The corpus, the device and the run's settings, to measure the speed of a size."""

    corpus: Corpus
    tokenizer: Tokenizer
    task: Task
    optimizer: OptimizerSettings
    length: int
    micro_tokens: int
    precision: Any
    device: torch.device

    def speed(self, start: RandomStart, batch_tokens: int) -> float:
        """Measure tokens per second of an encoder with random weights, on the first batches of the corpus."""
        from bertie.training.feed import corpus_feed
        from bertie.training.loop import train
        from bertie.training.optimizer import build
        from bertie.training.schedule import Stage

        task = self.task.at(0.5)  # with the average mask rate of the run
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
        token_times, started = [], time.monotonic()
        before = started
        for step in steps:
            now = time.monotonic()
            token_times.append((now - before) / max(1, step.tokens))
            before = now
            if len(token_times) >= _FEWEST and now - started > _SECONDS:
                break
        return 1.0 / max(1e-9, median(token_times[len(token_times) // 2 :]))


@dataclass(frozen=True, kw_only=True)
class SizeChoice:
    """The chosen size and batch of a run, with the expected result."""

    start: str | RandomStart
    """A model to continue from, or random weights."""
    model: ModelSettings
    """The complete settings of random weights."""
    batch_tokens: int
    rung: Rung | None = None
    """The chosen size on the curve; None if the curve doesn't apply to the run."""
    speed: float | None = None
    """Tokens per second; None if not measured."""
    looked_at: tuple[Rung, ...] = ()
    """The sizes that were compared, smallest first."""

    @property
    def said(self) -> str:
        """The choice in one line; empty without a choice."""
        if self.rung is None:
            return ""
        dropout = self.model.dropout
        rate = "" if self.speed is None else f" at {self.speed:,.0f} per second"
        return (
            f"{self.rung.size} ({self.rung.weights / 1e6:.2g} M weights in its blocks), {self.batch_tokens:,} tokens "
            f"per step: about {self.rung.tokens / 1e6:,.3g} M tokens{rate}, {self.rung.passes:.2g} x the corpus"
            f"{f', dropout {dropout}' if dropout else ''}"
        )

    def expected(self, unigram_loss: float) -> dict[str, float]:
        """Return the expected held-out losses at [MASK] of this run and of a run of twice the length.

        Args:
            unigram_loss: the unigram's loss on the same text.
        """
        if self.rung is None or self.rung.left >= 1.0:  # the run is too short, or the text too small, for the curve
            return {}
        twice = replace(self.rung, tokens=2 * self.rung.tokens)
        return {
            "expected_mask_loss": round(self.rung.left * unigram_loss, 4),
            "expected_mask_loss_of_twice": round(twice.left * unigram_loss, 4),
        }


def expected(dialled: SizeChoice, figures: Mapping[str, float], folder: RunFolder) -> dict[str, float]:
    """Return the expected held-out losses, write a note about them, and record them for a resumed run.

    Args:
        dialled: the chosen size and batch.
        figures: yardsticks on held-out text; empty without held-out text.
        folder: the run folder.
    """
    if earlier := folder.kept(_EXPECTED_KEY):
        return dict(earlier)
    unigram = figures.get("yardstick_unigram_loss")
    losses = {} if unigram is None else dialled.expected(unigram)
    if losses:
        this, twice = losses.values()
        progress.note(
            f"expected at the end: a loss of {this:.2f} at [MASK] on held-out text; {twice:.2f} for a run twice as long"
        )
        folder.keep(_EXPECTED_KEY, losses)
    return losses


def choose_size(
    parameters: Mapping[str, Any],
    recipe: Recipe,
    corpus: Corpus,
    tokenizer: Tokenizer,
    longest: int,
    device: torch.device,
) -> SizeChoice:
    """Choose the size and the batch of a run, if they aren't given, and write a note about the choice.

    A resumed run keeps its earlier choice.

    Args:
        parameters: the parameters of pretrain, with device, precision and optimizer decided.
        recipe: the objective and its settings.
        corpus: the training corpus.
        tokenizer: the corpus's tokenizer.
        longest: tokens of the longest sequence.
        device: the run's device.

    Raises:
        SettingsError: an unknown size, or an invalid length.
        DataError: the record of the resumed run is damaged.
    """
    from bertie.training.duration import parse_duration
    from bertie.training.runfolder import settings_of
    from bertie.training.schedule import RunLength

    seconds = None if parameters["budget"] is None else parse_duration(parameters["budget"])
    if parameters["epochs"] is None:
        RunLength(parameters["steps"], parameters["tokens"], seconds)  # raises if they are invalid
    out, resume = Path(parameters["out"]), parameters["resume"]
    default_batch = recipe.batch_tokens or max(USUAL_BATCH, longest)
    if parameters["from_"] is not None:
        further = further_batch(parameters, longest, compares_items=recipe.objective.compares_items)
        return SizeChoice(start=parameters["from_"], model=recipe.model, batch_tokens=recipe.batch_tokens or further)
    model = with_start(recipe.model, out, resume=resume)
    is_measured = recipe.task == MEASURED_TASK and model.start == MEASURED_START
    continues = resume and settings_of(out) is not None
    if model.size is not None and (continues or not is_measured):
        start = _random_start(_with_dropout(model, 0.0), tokenizer, longest)
        return SizeChoice(start=start, model=start.settings, batch_tokens=default_batch)
    lengths: dict[str, Any] = {name: parameters[name] for name in ("steps", "tokens", "epochs")}
    amount = Amount(**lengths, seconds=seconds)
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
    dialled = turn(model, recipe.batch_tokens, amount, bench)
    progress.note(dialled.said)
    return dialled if is_measured else replace(dialled, rung=None)


def turn(model: ModelSettings, batch_tokens: int | None, amount: Amount, bench: Bench) -> SizeChoice:
    """Choose the size of the encoder and of the batches, if they aren't given.

    Args:
        model: the given model settings; a size is chosen if it is None.
        batch_tokens: the given tokens of a batch; chosen if None.
        amount: the length of the run.
        bench: measures the speed of a size.

    Raises:
        SettingsError: the architecture doesn't have the size, or a setting.
    """
    started, speeds = time.monotonic(), dict[str, float]()
    default_batch = batch_tokens or max(USUAL_BATCH, bench.length)
    without_dropout = _with_dropout(model, 0.0)
    starts = {
        size: _random_start(replace(without_dropout, size=size), bench.tokenizer, bench.length)
        for size in _candidate_sizes(model)
    }

    def tokens_of(size: str) -> float:
        if amount.seconds is None:
            return amount.tokens_of(default_batch, bench.corpus.num_tokens)
        if speeds and time.monotonic() - started > _LOOK * amount.seconds:
            return 0.0
        speeds[size] = bench.speed(starts[size], default_batch)
        return speeds[size] * amount.seconds

    if amount.seconds is not None:
        progress.note(f"measuring the speed of {'several sizes' if len(starts) > 1 else 'the encoder'} on this machine")
    text = bench.corpus.num_tokens
    sizes = fitting([(size, _weights(start)) for size, start in starts.items()], text)
    if amount.seconds is None:
        guessing = round(getattr(bench.task.at(0.5), "mask_rate", 1.0) * bench.tokenizer.vocab_size * _TABLE_WIDTH)
        looked_at = [for_tokens(sizes, tokens_of(""), text, guessing)]
    else:
        looked_at = for_time(sizes, tokens_of, text)
    rung = best(looked_at)
    chosen_model = _with_dropout(replace(model, size=rung.size), dropout_of(rung.passes))
    start = _random_start(chosen_model, bench.tokenizer, bench.length)
    size = batch_of(rung.tokens, rung.weights, compares_items=bench.task.compares_items)
    return SizeChoice(
        start=start,
        model=start.settings,
        batch_tokens=batch_tokens or max(size, bench.length),
        rung=rung,
        speed=speeds.get(rung.size),
        looked_at=tuple(looked_at),
    )


def _with_dropout(model: ModelSettings, rate: float) -> ModelSettings:
    """Set the dropout rate if it isn't given; with the start `paper`, the architecture's default remains."""
    return model if model.start == "paper" or model.dropout is not None else replace(model, dropout=rate)


def _candidate_sizes(model: ModelSettings) -> tuple[str, ...]:
    """Return the sizes to choose from: the given one, or those of the architecture."""
    if model.size is not None:
        return (model.size,)
    from bertie.models.model import architecture

    known = getattr(architecture(model.architecture).config, "SIZES", ())
    return tuple(size for size in LADDER if size in known) or LADDER[:1]


def _random_start(model: ModelSettings, tokenizer: Tokenizer, longest: int) -> RandomStart:
    """Look up an encoder, and check that it has enough positions for the longest sequence."""
    start = RandomStart.of(model, tokenizer)
    if longest > (limit := start.shape.max_positions):
        raise SettingsError(f"--length {longest} is more than --model.max-positions {limit}")
    return start


def _weights(start: RandomStart) -> int:
    """Return the number of weights in an encoder's blocks, counted as for the curve."""
    return weights_of(getattr(start.shape, "num_layers", 1), start.shape.hidden_size)
