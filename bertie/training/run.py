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
    optimizer = build(job.model, job.optimizer)
    average = Average(job.model, job.optimizer.ema, keep=job.keep)
    selection = Selection(job.training, job.task.criterion)
    position = _restore(job, optimizer, average, selection, folder)
    clock = _Clock(position.seconds)
    with (
        memory_kept(),
        Journal(folder.metrics) as journal,
        interrupts() as stop,
        progress.bar("Training", total=job.horizon.amount, unit=job.horizon.unit) as bar,
    ):
        bar.begin(job.horizon.reached(step=position.step, tokens=position.tokens, seconds=position.seconds))
        # On a table the head is new: a measurement before the first step is of use only in a dev curve.
        if job.evaluate is not None and position.step == 0 and (job.epoch_steps is None or job.training.watches):
            _evaluate(job, average, selection, journal, position, clock)
            clock = _Clock(position.seconds)  # so that this evaluation doesn't use up the warm-up of a short budget
        saved, position.timed_tokens, position.timed_seconds = position.step, position.tokens, clock()
        for step in () if selection.exhausted else _steps(job, optimizer, position, clock):
            average.update(job.model, step.number)
            position.step, position.feed = step.number, step.state
            position.tokens += step.tokens
            position.window.append(step.figures)
            done = job.horizon.fraction(step=position.step, tokens=position.tokens, seconds=clock()) >= 1.0
            measure = job.evaluate is not None and (done or _evaluation_due(job, step.number))
            if step.number % job.training.log_every == 0 or done or measure:
                record = _log(job, journal, position, step, clock)
                bar.advance(0, **_shown(job, position, record))
            elif position.step < job.training.log_every:  # to show figures before the first line is due
                bar.advance(0, **_shown(job, position, step.figures))
            reached = job.horizon.reached(step=position.step, tokens=position.tokens, seconds=clock())
            bar.advance(reached - bar.done)
            if measure:
                _evaluate(job, average, selection, journal, position, clock)
                done = done or selection.exhausted
                position.timed_tokens, position.timed_seconds = position.tokens, clock()
            if done or stop.requested or _due(step.number, job.training.save_every):
                if _save(job, optimizer, average, selection, folder, journal, position, clock):
                    saved = position.step
                position.timed_tokens, position.timed_seconds = position.tokens, clock()
            _stop(stop, folder, saved, done=done)
            if done:
                break
    position.seconds = clock()
    unfinished = job.horizon.fraction(step=position.step, tokens=position.tokens, seconds=position.seconds) < 1.0
    position.chosen = selection.facts(ended_early=selection.exhausted and unfinished)
    average.apply(job.model)
    selection.apply(job.model)
    return position


def _shown(job: RunSpec, position: RunState, figures: Mapping[str, Any]) -> dict[str, str]:
    """Return what the progress bar shows: the step, if the bar counts something else, the loss and the speed."""
    shown = {} if job.horizon.unit == "steps" else {"step": f"{position.step:,}"}
    speed = figures.get("tokens_per_second")
    return {**shown, "loss": f"{figures['loss']:.3f}", **({"tokens_per_second": f"{speed:,.0f}"} if speed else {})}


def _steps(job: RunSpec, optimizer: Optimizer, position: RunState, clock: _Clock) -> Iterator[Step]:
    """Draw batches and train; yield no step if the run is done already."""

    def fraction(step: int, tokens: int) -> float:
        return job.horizon.fraction(step=step, tokens=tokens, seconds=clock())

    if fraction(position.step, position.tokens) >= 1.0:
        return
    draws: Any = job.feed(fraction, position.feed)
    if job.device.type != "cpu":
        # Not on a CPU: a second thread that builds tensors starts a second pool of threads, which halves the speed, and
        # drawing a batch takes only about a hundredth of a step.
        draws = prefetch(draws)
    try:
        yield from train(
            job.model,
            job.task,
            draws,
            optimizer=optimizer,
            rate=lambda number: learning_rate(fraction(number, position.tokens), job.peak, job.schedule),
            clip_norm=job.optimizer.clip_norm,
            precision=job.precision,
            device=job.device,
            seed=job.seed,
            start=position.step,
        )
    finally:
        draws.close()


def _due(step: int, every: int | None) -> bool:
    return every is not None and every > 0 and step % every == 0


def _evaluation_due(job: RunSpec, step: int) -> bool:
    return _due(step, job.training.evaluate_every) or (job.training.evaluate_each_epoch and _due(step, job.epoch_steps))


def _restore(job: RunSpec, optimizer: Optimizer, average: Average, selection: Selection, folder: RunFolder) -> RunState:
    """Load the newest valid checkpoint and cut the journal back to it."""
    newest = checkpoint.load_newest(folder.checkpoints)
    if newest is not None:
        _check_journal(folder, newest.state.get("journal", ""))
    journals.cut(folder.metrics, step=-1 if newest is None else newest.step)
    if newest is None:
        return RunState()
    state = newest.state
    if state["frozen"] != job.frozen:
        raise DataError(
            f"{folder.path} can't be resumed: the frozen weights aren't those it began with; restore the old model, or "
            "choose another --out"
        )
    try:
        restore_tensors(job.model, optimizer, newest.tensors)
    except (KeyError, RuntimeError) as error:
        raise DataError(
            f"{newest.path} doesn't fit the model that these settings make ({error!s:.150}); choose another --out"
        ) from error
    average.restore(newest.tensors)
    selection.restore(state["selection"], newest.tensors)
    torch.set_rng_state(newest.tensors["random.torch"])
    progress.note(f"resuming after step {newest.step}, {state['seconds']:.0f} s into the run")
    return RunState(newest.step, state["tokens"], state["seconds"], state["feed"], state["window"])


def _check_journal(folder: RunFolder, sums: str) -> None:
    """Refuse to resume if a line was changed, unless the user accepts changes."""
    try:
        journals.check(folder.metrics, sums)
    except DataError as error:
        if not folder.accepts_changes:
            raise DataError(f"{error}; restore the file, or accept it as it is with --accept-changes") from error
        progress.warn(str(error))


def _save(
    job: RunSpec,
    optimizer: Optimizer,
    average: Average,
    selection: Selection,
    folder: RunFolder,
    journal: Journal,
    position: RunState,
    clock: _Clock,
) -> bool:
    """Write a checkpoint and return whether that worked. On a full disk, warn and continue the run."""
    journal.sync()
    tensors = {
        **state_tensors(job.model, optimizer),
        **average.tensors(),
        **selection.tensors(),
        "random.torch": torch.get_rng_state(),
    }
    state = {
        "tokens": position.tokens,
        "seconds": clock(),
        "feed": position.feed,
        "window": position.window,
        "selection": selection.state(),
        "frozen": job.frozen,
        "journal": journal.sums(),
    }
    try:
        checkpoint.save(
            folder.checkpoints, step=position.step, tensors=tensors, state=state, keep=job.training.keep or 2
        )
    except ResourceError as error:
        progress.warn(f"no checkpoint at step {position.step}: {error}")
        return False
    return True


def _log(job: RunSpec, journal: Journal, position: RunState, step: Step, clock: _Clock) -> dict[str, Any]:
    """Write one line with the mean of each figure over the steps since the last line that have it."""
    seconds = clock()
    collected: dict[str, list[float]] = {}
    for figures in position.window:
        for name, value in figures.items():
            collected.setdefault(name, []).append(value)
    means = {name: sum(values) / len(values) for name, values in collected.items()}
    record = {
        "kind": "train",
        "step": step.number,
        "seconds": round(seconds, 3),
        "tokens": position.tokens,
        "tokens_per_second": round(
            (position.tokens - position.timed_tokens) / max(1e-6, seconds - position.timed_seconds), 1
        ),
        "learning_rate": step.learning_rate,
        "gradient_norm": step.gradient_norm,
        **({"length": step.state["length"]} if "length" in step.state else {}),
        **means,
    }
    journal.write(record)
    position.window, position.timed_tokens, position.timed_seconds = [], position.tokens, seconds
    done = job.horizon.fraction(step=position.step, tokens=position.tokens, seconds=seconds)
    if warning := job.watch(record, done):
        progress.warn(warning)
    return record


def _evaluate(
    job: RunSpec, average: Average, selection: Selection, journal: Journal, position: RunState, clock: _Clock
) -> None:
    """Measure the dev set, log the figures and compare them with earlier ones."""
    assert job.evaluate is not None
    with average.applied(job.model), compute(job.precision, job.device):
        figures = job.evaluate(position.feed)
        selection.consider(position.step, figures, job.model)
    journal.write(
        {"kind": "dev", "step": position.step, "seconds": round(clock(), 3), "tokens": position.tokens, **figures}
    )


def _stop(stop: Stop, folder: RunFolder, saved: int, *, done: bool) -> None:
    """Stop the run if a signal came."""
    if stop.requested and not done:
        raise Interrupted(f"{stop.requested}: saved at step {saved}; resume it with --resume --out {folder.path}")
