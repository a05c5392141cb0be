"""A run from its first step, or from its newest checkpoint, to its end: the plain `if`s around the loop.

It logs, evaluates, saves and stops. The commands decide what is trained on which data. `loop.py` computes a step, and
`checkpoint.py`, `journal.py` and `runfolder.py` write the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from bertie import progress
from bertie.errors import DataError, Interrupted, ResourceError, SettingsError
from bertie.nn.device import memory_kept
from bertie.optimizers.optimizer import Optimizer
from bertie.sampling.loader import prefetch
from bertie.training import checkpoint, parallel
from bertie.training import journal as journals
from bertie.training.average import Average
from bertie.training.interrupt import Stop, interrupts
from bertie.training.journal import Journal, Silent
from bertie.training.loop import Step, train
from bertie.training.optimizer import build, restore_tensors, state_tensors
from bertie.training.precision import compute
from bertie.training.runfolder import RunFolder
from bertie.training.schedule import RunLength, learning_rate
from bertie.training.selection import Selection
from bertie.training.spec import Clock, RunSpec, RunState
from bertie.training.tracking import tracked
from bertie.training.watch import Watch


def run(job: RunSpec, folder: RunFolder) -> RunState:
    """Train to the end of the run, resuming from the newest valid checkpoint if there is one.

    Args:
        job: the run's model, task, data and settings.
        folder: the run's folder, held by this process.

    Returns:
        The state at the end. The model has its final weights: the last, the averaged, or the best ones.

    Raises:
        Followed: this process isn't the leader of its group, and the training is done.
        Interrupted: a signal came. Everything up to here is saved.
        DataError: a loss or gradient isn't finite, or a file of the run doesn't fit.
        SettingsError: several processes can't share the task.
    """
    group = parallel.group()
    group.announce()
    job = replace(job, horizon=_same_length(job, group))
    job.model.to(job.device)
    this = _Run(job, folder)
    with ExitStack() as stack:
        if isinstance(group, parallel.Connected):
            stack.enter_context(Watch(group, job.training.stall_seconds))
        this.restore()
        group.copy_weights(job.model)
        stack.enter_context(memory_kept())
        if group.leads:
            followers = stack.enter_context(tracked(folder, this.state.step))
            this.journal = stack.enter_context(Journal(folder.metrics, followers.log))
        stop = stack.enter_context(interrupts())
        bar = stack.enter_context(progress.bar("Training", total=job.horizon.amount, unit=job.horizon.unit))
        bar.begin(this.reached())
        # On a table the head is new: a measurement before the first step is of use only in a dev curve.
        if job.evaluate is not None and this.state.step == 0 and (job.epoch_steps is None or job.training.watches):
            this.evaluate()
            this.clock = Clock(this.state.seconds)  # so that this doesn't use up the warm-up of a short budget
        saved = this.state.step
        this.time_from_here()
        for step in () if this.selection.exhausted else this.steps(stop):
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
            # Several processes stop after the step in which they told each other of the signal.
            asked = stop.requested if group.size == 1 else next((said[1] for said in step.notes if said[1]), None)
            if done or asked or this.save_due():
                saved = this.state.step if this.save() else saved
                this.time_from_here()
            _stop(asked, folder, saved, done=done)
            if done:
                break
    if not group.leads:
        raise parallel.Followed
    return this.finish()


def _same_length(job: RunSpec, group: parallel.Group) -> RunLength:
    """Return the leader's length of the run, whose budget may be shorter by the time of its preparations."""
    if group.size > 1 and job.task.compares_items:
        raise SettingsError(
            "this task's loss compares all items of a batch, which several processes can't share yet; run it in one "
            "process, without torchrun"
        )
    length = job.horizon
    return RunLength(*group.from_leader([length.steps, length.tokens, length.seconds]))


def _due(step: int, every: int | None) -> bool:
    return every is not None and every > 0 and step % every == 0


def _evaluation_due(job: RunSpec, step: int) -> bool:
    return _due(step, job.training.evaluate_every) or (job.training.evaluate_each_epoch and _due(step, job.epoch_steps))


def _stop(asked: str | None, folder: RunFolder, saved: int, *, done: bool) -> None:
    """Stop the run if a signal of this name came."""
    if asked and not done:
        raise Interrupted(f"{asked}: saved at step {saved}; resume it with --resume --out {folder.path}")


class _Run:
    """A run in progress: its parts, and what each of its steps does with them."""

    journal: Journal | Silent = Silent()
    """Open during the run."""

    def __init__(self, job: RunSpec, folder: RunFolder) -> None:
        self.job, self.folder = job, folder
        self.optimizer: Optimizer = build(job.model, job.optimizer)
        self.average = Average(job.model, job.optimizer.ema, keep=job.keep)
        self.selection = Selection(job.training, job.task.criterion)
        self.state = RunState()
        self.clock = Clock(0.0)
        self.group = parallel.group()
        self.agreed_seconds = 0.0
        """The leader's clock at the last step."""
        self.waiting = parallel.Waiting(self.group)

    def restore(self) -> None:
        """Load the newest valid checkpoint, cut the journal back to it, and start the clock."""
        newest = None
        if self.group.leads:
            newest = checkpoint.load_newest(self.folder.checkpoints)
            if newest is not None:
                _check_journal(self.folder, newest.state.get("journal", ""))
            journals.cut(self.folder.metrics, step=-1 if newest is None else newest.step)
        name = self.group.from_leader(None if newest is None else newest.path.name)
        if newest is None and name is not None:
            newest = checkpoint.load(self.folder.checkpoints / str(name))
        if newest is not None:
            self._restore_from(newest)
        self.clock = Clock(self.state.seconds)
        self.agreed_seconds = self.group.from_leader(self.state.seconds)
        self.saved_seconds = self.agreed_seconds

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
        return self.job.horizon.fraction(step=step, tokens=tokens, seconds=self.seconds())

    def seconds(self) -> float:
        """Return the time by which all processes decide."""
        return self.clock() if self.group.size == 1 else self.agreed_seconds

    def save_due(self) -> bool:
        """Return whether a checkpoint is due after this step."""
        every = self.job.training.save_seconds
        if every is None:
            return _due(self.state.step, int(self.job.training.save_every))
        return self.seconds() - self.saved_seconds >= every

    def reached(self) -> float:
        """Return how far the run is, in the unit of its length."""
        return self.job.horizon.reached(step=self.state.step, tokens=self.state.tokens, seconds=self.clock())

    def time_from_here(self) -> None:
        """Count the next line's tokens per second from here."""
        self.state.timed_tokens, self.state.timed_seconds = self.state.tokens, self.clock()

    def steps(self, stop: Stop) -> Iterator[Step]:
        """Draw batches and train; yield no step if the run is done already."""
        job, state = self.job, self.state
        if self.fraction(state.step, state.tokens) >= 1.0:
            return
        draws: Any = job.feed(self.fraction, state.feed)
        # A stage decided by the clock must be decided at the same moment in all processes.
        if job.device.type != "cpu" and (self.group.size == 1 or job.horizon.unit != "seconds"):
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
                group=self.group,
                note=lambda: [self.clock(), stop.requested, self.group.waited],
            )
        finally:
            draws.close()

    def take(self, step: Step) -> bool:
        """Take a finished step into the state; return whether the run is done."""
        state = self.state
        self.agreed_seconds = step.notes[0][0]
        self.waiting.add(step.notes)
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
        self.group.enter("evaluation")
        with self.average.applied(job.model), compute(job.precision, job.device):
            figures = job.evaluate(state.feed) if self.group.leads else {}
            shared = self.group.from_leader({name: repr(float(value)) for name, value in figures.items()})
            self.selection.consider(state.step, {name: float(value) for name, value in shared.items()}, job.model)
        place = {"step": state.step, "seconds": round(self.clock(), 3), "tokens": state.tokens}
        self.journal.write({"kind": "dev", **place, **figures})

    def save(self) -> bool:
        """Write a checkpoint and return whether that worked. On a full disk, warn and continue the run."""
        self.group.enter("saving")
        self.saved_seconds = self.seconds()
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
        common = {name: value for name, value in tensors.items() if not name.startswith("random.")}
        if not self.group.leads:
            return self.group.agree(common)
        agree = partial(self.group.agree, common)
        try:
            checkpoint.save(self.folder.checkpoints, step=step, tensors=tensors, state=state, keep=keep, agree=agree)
        except parallel.LostError:
            raise
        except ResourceError as error:
            self.group.agree({}, written=False)
            progress.warn(f"no checkpoint at step {step}: {error}")
            return False
        return True

    def finish(self) -> RunState:
        """Give the model its final weights, and return the state at the end."""
        state = self.state
        state.seconds = self.clock()
        unfinished = self.job.horizon.fraction(step=state.step, tokens=state.tokens, seconds=state.seconds) < 1.0
        state.chosen = self.selection.facts(ended_early=self.selection.exhausted and unfinished)
        state.chosen |= self.waiting.facts()
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
