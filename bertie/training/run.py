"""A run from its first step, or from its newest checkpoint, to its end: the plain `if`s around the loop.

It logs, evaluates, saves and stops. The commands decide what is trained on which data. `loop.py` computes a step, and
`checkpoint.py`, `journal.py` and `runfolder.py` write the files.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import torch
from torch import nn

from bertie import progress
from bertie.errors import DataError, Interrupted, ResourceError
from bertie.nn.device import memory_kept
from bertie.optimizers.optimizer import Optimizer
from bertie.sampling.loader import prefetch
from bertie.tasks.task import Task
from bertie.training import checkpoint
from bertie.training import journal as journals
from bertie.training.average import Average
from bertie.training.feed import Progress
from bertie.training.interrupt import Stop, interrupts
from bertie.training.journal import Journal
from bertie.training.loop import Step, StepBatches, train
from bertie.training.optimizer import build, frozen_digest, restore_tensors, state_tensors
from bertie.training.precision import compute
from bertie.training.runfolder import RunFolder
from bertie.training.schedule import RunLength, learning_rate
from bertie.training.selection import Selection
from bertie.training.settings import OptimizerSettings, ScheduleSettings, TrainingSettings
from bertie.training.tracking import tracked


@dataclass(frozen=True, eq=False)
class RunSpec:
    """The model, task, data and settings of a run."""

    model: nn.Module
    task: Task
    feed: Callable[[Progress, dict[str, Any]], Iterator[StepBatches]]
    """Yields draws without end, starting from a state."""
    horizon: RunLength
    peak: float
    """Learning rate at the end of the warm-up."""
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    training: TrainingSettings
    precision: Literal["fp32", "bf16"]
    device: torch.device
    seed: int
    evaluate: Callable[[Mapping[str, Any]], dict[str, float]] | None = None
    """(state of the feed) -> figures on the dev set."""
    watch: Callable[[Mapping[str, Any], float], str] = lambda record, done: ""
    """(logged line, share of the run that is done) -> warning, or ""."""
    keep: float = 0.0
    """Share of the first weights in the weights that are evaluated and saved."""
    epoch_steps: int | None = None
    """Steps of an epoch of the training table; None for a corpus, whose epochs differ in length."""

    @cached_property
    def frozen(self) -> str:
        """Digest of the frozen weights, which are in no checkpoint."""
        return frozen_digest(self.model)


@dataclass
class RunState:
    """The state of a run."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    """Time of earlier processes; after the run, of the whole run."""
    feed: dict[str, Any] = field(default_factory=dict)
    window: list[dict[str, float]] = field(default_factory=list)
    """Figures of the steps since the last logged step."""
    timed_tokens: int = 0
    timed_seconds: float = 0.0
    """Tokens and time from which the next line's tokens per second are counted, without evaluations and saves."""
    chosen: dict[str, Any] = field(default_factory=dict)
    """Decisions by dev scores, for the run's figures."""


class _Clock:
    """Counts the seconds of the whole run, including earlier processes."""

    def __init__(self, before: float) -> None:
        self._before, self._start = before, time.monotonic()

    def __call__(self) -> float:
        return self._before + time.monotonic() - self._start


def run(job: RunSpec, folder: RunFolder) -> RunState:
    """Train to the end of the run, resuming from the newest valid checkpoint if there is one.

    Args:
        job: the run's model, task, data and settings.
        folder: the run's folder, held by this process.

    Returns:
        The state at the end. The model has its final weights: the last, the averaged, or the best ones.

    Raises:
        Interrupted: a signal came. Everything up to here is saved.
        DataError: a loss or gradient isn't finite, or a file of the run doesn't fit.
    """
    job.model.to(job.device)
    this = _Run(job, folder)
    this.restore()
    with (
        memory_kept(),
        tracked(folder, this.state.step) as followers,
        Journal(folder.metrics, followers.log) as this.journal,
        interrupts() as stop,
        progress.bar("Training", total=job.horizon.amount, unit=job.horizon.unit) as bar,
    ):
        bar.begin(this.reached())
        # On a table the head is new: a measurement before the first step is of use only in a dev curve.
        if job.evaluate is not None and this.state.step == 0 and (job.epoch_steps is None or job.training.watches):
            this.evaluate()
            this.clock = _Clock(this.state.seconds)  # so that this doesn't use up the warm-up of a short budget
        saved = this.state.step
        this.time_from_here()
        for step in () if this.selection.exhausted else this.steps():
            done = this.take(step)
            measure = job.evaluate is not None and (done or _evaluation_due(job, step.number))
            if step.number % job.training.log_every == 0 or done or measure:
                bar.advance(0, **this.shown(this.log(step)))
            elif step.number < job.training.log_every:  # to show figures before the first line is due
                bar.advance(0, **this.shown(step.figures))
            bar.advance(this.reached() - bar.done)
            if measure:
                this.evaluate()
                done = done or this.selection.exhausted
                this.time_from_here()
            if done or stop.requested or _due(step.number, job.training.save_every):
                saved = this.state.step if this.save() else saved
                this.time_from_here()
            _stop(stop, folder, saved, done=done)
            if done:
                break
    return this.finish()


def _due(step: int, every: int | None) -> bool:
    return every is not None and every > 0 and step % every == 0


def _evaluation_due(job: RunSpec, step: int) -> bool:
    return _due(step, job.training.evaluate_every) or (job.training.evaluate_each_epoch and _due(step, job.epoch_steps))


def _stop(stop: Stop, folder: RunFolder, saved: int, *, done: bool) -> None:
    """Stop the run if a signal came."""
    if stop.requested and not done:
        raise Interrupted(f"{stop.requested}: saved at step {saved}; resume it with --resume --out {folder.path}")


class _Run:
    """A run in progress: its parts, and what each of its steps does with them."""

    journal: Journal
    """Open during the run."""

    def __init__(self, job: RunSpec, folder: RunFolder) -> None:
        self.job, self.folder = job, folder
        self.optimizer: Optimizer = build(job.model, job.optimizer)
        self.average = Average(job.model, job.optimizer.ema, keep=job.keep)
        self.selection = Selection(job.training, job.task.criterion)
        self.state = RunState()
        self.clock = _Clock(0.0)

    def restore(self) -> None:
        """Load the newest valid checkpoint, cut the journal back to it, and start the clock."""
        newest = checkpoint.load_newest(self.folder.checkpoints)
        if newest is not None:
            _check_journal(self.folder, newest.state.get("journal", ""))
        journals.cut(self.folder.metrics, step=-1 if newest is None else newest.step)
        if newest is not None:
            self._restore_from(newest)
        self.clock = _Clock(self.state.seconds)

    def _restore_from(self, newest: checkpoint.Checkpoint) -> None:
        state = newest.state
        if state["frozen"] != self.job.frozen:
            raise DataError(
                f"{self.folder.path} can't be resumed: the frozen weights aren't those it began with; restore the old "
                "model, or choose another --out"
            )
        try:
            restore_tensors(self.job.model, self.optimizer, newest.tensors)
        except (KeyError, RuntimeError) as error:
            raise DataError(
                f"{newest.path} doesn't fit the model that these settings make ({error!s:.150}); choose another --out"
            ) from error
        self.average.restore(newest.tensors)
        self.selection.restore(state["selection"], newest.tensors)
        torch.set_rng_state(newest.tensors["random.torch"])
        progress.note(f"resuming after step {newest.step}, {state['seconds']:.0f} s into the run")
        self.state = RunState(newest.step, state["tokens"], state["seconds"], state["feed"], state["window"])

    def fraction(self, step: int, tokens: int) -> float:
        """Return the share of the run that is done after so many steps and tokens, now."""
        return self.job.horizon.fraction(step=step, tokens=tokens, seconds=self.clock())

    def reached(self) -> float:
        """Return how far the run is, in the unit of its length."""
        return self.job.horizon.reached(step=self.state.step, tokens=self.state.tokens, seconds=self.clock())

    def time_from_here(self) -> None:
        """Count the next line's tokens per second from here."""
        self.state.timed_tokens, self.state.timed_seconds = self.state.tokens, self.clock()

    def steps(self) -> Iterator[Step]:
        """Draw batches and train; yield no step if the run is done already."""
        job, state = self.job, self.state
        if self.fraction(state.step, state.tokens) >= 1.0:
            return
        draws: Any = job.feed(self.fraction, state.feed)
        if job.device.type != "cpu":
            # Not on a CPU: a second thread that builds tensors starts a second pool of threads, which halves the speed,
            # and drawing a batch takes only about a hundredth of a step.
            draws = prefetch(draws)
        try:
            yield from train(
                job.model,
                job.task,
                draws,
                optimizer=self.optimizer,
                rate=lambda number: learning_rate(self.fraction(number, state.tokens), job.peak, job.schedule),
                clip_norm=job.optimizer.clip_norm,
                precision=job.precision,
                device=job.device,
                seed=job.seed,
                start=state.step,
            )
        finally:
            draws.close()

    def take(self, step: Step) -> bool:
        """Take a finished step into the state; return whether the run is done."""
        state = self.state
        self.average.update(self.job.model, step.number)
        state.step, state.feed = step.number, step.state
        state.tokens += step.tokens
        state.window.append(step.figures)
        return self.fraction(state.step, state.tokens) >= 1.0

    def shown(self, figures: Mapping[str, Any]) -> dict[str, str]:
        """Return what the progress bar shows: the step, if the bar counts something else, the loss and the speed."""
        shown = {} if self.job.horizon.unit == "steps" else {"step": f"{self.state.step:,}"}
        speed = figures.get("tokens_per_second")
        return {
            **shown,
            "loss": f"{figures['loss']:.3f}",
            **({"tokens_per_second": f"{speed:,.0f}"} if speed else {}),
        }

    def log(self, step: Step) -> dict[str, Any]:
        """Write one line with the mean of each figure over the steps since the last line that have it."""
        state, seconds = self.state, self.clock()
        collected: dict[str, list[float]] = {}
        for figures in state.window:
            for name, value in figures.items():
                collected.setdefault(name, []).append(value)
        means = {name: sum(values) / len(values) for name, values in collected.items()}
        speed = (state.tokens - state.timed_tokens) / max(1e-6, seconds - state.timed_seconds)
        record = {
            "kind": "train",
            "step": step.number,
            "seconds": round(seconds, 3),
            "tokens": state.tokens,
            "tokens_per_second": round(speed, 1),
            "learning_rate": step.learning_rate,
            "gradient_norm": step.gradient_norm,
            **({"length": step.state["length"]} if "length" in step.state else {}),
            **means,
        }
        self.journal.write(record)
        state.window, state.timed_tokens, state.timed_seconds = [], state.tokens, seconds
        done = self.job.horizon.fraction(step=state.step, tokens=state.tokens, seconds=seconds)
        if warning := self.job.watch(record, done):
            progress.warn(warning)
        return record

    def evaluate(self) -> None:
        """Measure the dev set, log the figures and compare them with earlier ones."""
        job, state = self.job, self.state
        assert job.evaluate is not None
        with self.average.applied(job.model), compute(job.precision, job.device):
            figures = job.evaluate(state.feed)
            self.selection.consider(state.step, figures, job.model)
        place = {"step": state.step, "seconds": round(self.clock(), 3), "tokens": state.tokens}
        self.journal.write({"kind": "dev", **place, **figures})

    def save(self) -> bool:
        """Write a checkpoint and return whether that worked. On a full disk, warn and continue the run."""
        self.journal.sync()
        tensors = {
            **state_tensors(self.job.model, self.optimizer),
            **self.average.tensors(),
            **self.selection.tensors(),
            "random.torch": torch.get_rng_state(),
        }
        state = {
            "tokens": self.state.tokens,
            "seconds": self.clock(),
            "feed": self.state.feed,
            "window": self.state.window,
            "selection": self.selection.state(),
            "frozen": self.job.frozen,
            "journal": self.journal.sums(),
        }
        step, keep = self.state.step, self.job.training.keep or 2
        try:
            checkpoint.save(self.folder.checkpoints, step=step, tensors=tensors, state=state, keep=keep)
        except ResourceError as error:
            progress.warn(f"no checkpoint at step {step}: {error}")
            return False
        return True

    def finish(self) -> RunState:
        """Give the model its final weights, and return the state at the end."""
        state = self.state
        state.seconds = self.clock()
        unfinished = self.job.horizon.fraction(step=state.step, tokens=state.tokens, seconds=state.seconds) < 1.0
        state.chosen = self.selection.facts(ended_early=self.selection.exhausted and unfinished)
        self.average.apply(self.job.model)
        self.selection.apply(self.job.model)
        return state


def _check_journal(folder: RunFolder, sums: str) -> None:
    """Refuse to resume if a line was changed, unless the user accepts changes."""
    try:
        journals.check(folder.metrics, sums)
    except DataError as error:
        if not folder.accepts_changes:
            raise DataError(f"{error}; restore the file, or accept it as it is with --accept-changes") from error
        progress.warn(str(error))
