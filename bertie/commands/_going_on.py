"""A run that goes on from a trained encoder: its learning rate, its new head, and what it bought; no command."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.errors import SettingsError

if TYPE_CHECKING:
    from bertie.commands._held_out import DevCorpus
    from bertie.commands._probe import Probe
    from bertie.corpus.shards import Corpus
    from bertie.formats.format import Bundle
    from bertie.reports.run import Comparison
    from bertie.starts.start import Begun
    from bertie.tasks.task import TaskModel
    from bertie.training.run import Job
    from bertie.training.runfolder import RunFolder
    from bertie.training.schedule import Stage
    from bertie.training.settings import OptimizerSettings

_BEGUN, _BEFORE = "begun", "loss_before"  # what a run's record calls them
_KEPT = 0.5  # of the weights of an encoder that gets a new head
_SHARE = 0.1  # of a budget: the head alone learns no longer than that
_SAMPLE = 50_000  # tokens of the training corpus to measure on, where nothing is held out

_PROBE_LENGTH = 128  # tokens of a row at most
_MANY_TOKENS, _LONG = 50_000_000, 4 * 3600.0  # tokens and seconds of a long run


def further_batch(parameters: Mapping[str, Any], longest: int, *, whole_batch: bool) -> int:
    """Choose the tokens of an update: on a processor a quarter of the usual ones, because many small steps go further.

    Long runs have updates enough, a GPU needs large batches to be busy, and an objective that compares the sequences
    of a batch needs many of them.

    Args:
        parameters: of pretrain.
        longest: tokens of the longest sequence.
        whole_batch: whether the objective compares the sequences of a batch with one another.
    """
    from bertie.training.scaling import USUAL_BATCH
    from bertie.training.schedule import parse_duration

    seconds = 0.0 if parameters["budget"] is None else parse_duration(parameters["budget"])
    is_long = (parameters["tokens"] or 0) >= _MANY_TOKENS or seconds >= _LONG
    is_large = is_long or whole_batch or parameters["device"] != "cpu"
    return max(longest, USUAL_BATCH if is_large else USUAL_BATCH // 4)


def peak_for(bundle: Bundle, optimizer: OptimizerSettings, given: float | None, out: Path, *, resume: bool) -> float:
    """Return the peak of the learning rate: as given, as the run in `out` began, or what suits the weights.

    Args:
        bundle: the model to go on from.
        optimizer: of the run.
        given: by the user.
        out: of the run.
        resume: whether it goes on.
    """
    from bertie.training.fitting import further_rate, inspect, rate_in_words
    from bertie.training.runfolder import settings_of

    if given is not None:
        return given
    earlier = (settings_of(out) if resume else None) or {}
    if isinstance(began := earlier.get("learning_rate"), float):
        return began
    encoder = inspect(bundle.model)
    guesses = bundle.task.fills_masks or not bundle.task.whole_batch
    rate = further_rate(encoder, optimizer.name, guesses=guesses)
    progress.note(f"learning rate {rate_in_words(rate)}, to go on from {encoder}; --learning-rate takes another one")
    return rate


def kept_share(
    bundle: Bundle, network: TaskModel, source: str | None, given: float | None, out: Path, *, resume: bool
) -> float:
    """Return the share of the given weights that the written model keeps: as given, as `out` began, or the usual one.

    An encoder that gets a new head was made for something else than guessing tokens, and a run takes some of that from
    it; a mean of both does better than either (docs/measured/results.md). One that guesses tokens already just learns
    more. Of a pair that learns together the other one is new as a whole, and none of that is worth keeping.

    Args:
        bundle: the model to go on from.
        network: what learns.
        source: what it was read from; None for random weights.
        given: by the user.
        out: of the run.
        resume: whether it goes on.

    Raises:
        SettingsError: no such share, or of random weights.
    """
    from bertie.training.runfolder import settings_of

    if given is not None and not 0.0 <= given < 1.0:
        raise SettingsError(f"--keep must be at least 0 and below 1; got {given}")
    if source is None:
        if given:
            raise SettingsError("--keep is a share of the weights of --from; of random weights none is kept")
        return 0.0
    if given is None and resume and (earlier := settings_of(out)) is not None:
        return float(earlier.get("keep") or 0.0)  # a run from before there was such a share keeps nothing
    usual = _KEPT if bundle.drawn and network is bundle.model else 0.0
    return usual if given is None else given


def warmed(
    bundle: Bundle, network: TaskModel, corpus: Corpus, job: Job, length: int, folder: RunFolder
) -> Begun | None:
    """Let a new head learn alone, unless the run goes on from a checkpoint; return what was done then or earlier.

    A run that breaks off before its first checkpoint does the same steps again, also those of a budget.

    Args:
        bundle: the model that was given, under the head for the run's task.
        network: what learns.
        corpus: what it learns from.
        job: of the run.
        length: tokens of its first sequences at most.
        folder: of the run.
    """
    from bertie.starts.start import Begun
    from bertie.training import checkpoint
    from bertie.training.new_head import STEPS, warm

    kept = folder.kept(_BEGUN)
    if checkpoint.exists(folder.checkpoints):
        return None if kept is None else Begun(**kept)
    if not bundle.drawn or network is not bundle.model:  # of a pair that learns together neither could wait
        return None
    again, budget = kept is not None and kept["steps"], job.horizon.seconds
    found = warm(
        bundle,
        corpus,
        length=length,
        precision=job.precision,
        device=job.device,
        seed=job.seed,
        steps=again or STEPS,
        most_seconds=None if again or budget is None else _SHARE * budget,
    )
    said = (
        f"The head was new: its bias began at the logarithm of the corpus' frequencies, and it learned alone for "
        f"{found.steps} steps of {found.tokens:,} tokens before the run's first step."
    )
    progress.note(f"new head: {found.steps} steps alone in {found.seconds:.0f} s, loss {found.loss:.2f}")
    begun = Begun("", said, steps=found.steps, seconds=round(found.seconds, 1))
    folder.keep(_BEGUN, vars(begun))
    return begun


def shortened(job: Job, begun: Begun | None) -> Job:
    """Return a job that ends as much earlier as the head learned alone: both share one budget."""
    budget = job.horizon.seconds
    if begun is None or budget is None or not begun.seconds:
        return job
    return replace(job, horizon=replace(job.horizon, seconds=max(0.5 * budget, budget - begun.seconds)))


@dataclass(frozen=True, kw_only=True)
class Bought:
    """What a run bought: figures, and how they are told."""

    values: dict[str, Any] = field(default_factory=dict)
    """By their names in run.json."""
    said: tuple[str, ...] = ()
    """Sentences for the report."""
    remarks: tuple[str, ...] = ()
    """Warnings."""
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True, kw_only=True)
class GoingOn:
    """What is measured of an encoder before a run goes on from it, and again after the run."""

    source: str
    """The model that was given."""
    measure: Callable[[], float | None] | None
    """Loss at [MASK] of the network as it is; None where the held-out corpus is measured anyway."""
    before: float | None
    """The same before the first step."""
    keep: float
    """Share of the given weights in the model that is written."""
    probe: Probe | None

    @classmethod
    def of(
        cls,
        source: str | None,
        bundle: Bundle,
        network: TaskModel,
        corpus: Corpus,
        held_out: DevCorpus | None,
        stages: Sequence[Stage],
        job: Job,
        folder: RunFolder,
        probe: Probe | None,
    ) -> GoingOn | None:
        """Measure the network before its first step, or recall what was measured then; None for random weights."""
        from bertie.commands._held_out import DevCorpus

        if source is None:
            return None
        if probe is not None:
            probe.keep(folder, source)
        if held_out is not None or not bundle.task.fills_masks:
            return cls(source=source, measure=None, before=None, keep=job.keep, probe=probe)
        sample = DevCorpus(corpus.path, bundle, network, stages, _SAMPLE, job.device)

        def measure() -> float | None:
            from bertie.inference.mask_alone import measure_masks
            from bertie.training.precision import compute

            network.to(job.device)
            with compute(job.precision, job.device):
                return measure_masks(network, sample.alone, device=job.device).get("mask_loss")

        if (before := folder.kept(_BEFORE)) is None and (before := measure()) is not None:
            folder.keep(_BEFORE, before)
        return cls(source=source, measure=measure, before=before, keep=job.keep, probe=probe)

    def conclude(
        self, records: Sequence[Mapping[str, Any]], folder: RunFolder, shape: Any, limits: Mapping[str, Any]
    ) -> Bought:
        """Measure the network that the run has left, and put both side by side.

        Args:
            records: lines of metrics.jsonl.
            folder: of the run, with its model.
            shape: config of the encoder.
            limits: what the probe has to keep to, such as threads.
        """
        loss = self._loss(records)
        own = {**limits, "length": min(_PROBE_LENGTH, shape.max_positions)}
        probed = Bought() if self.probe is None else self.probe.conclude(folder, self.source, own)
        mean = f"The written model is a mean of weights: {self.keep:.0%} of those given, the rest of those learned."
        worse = {"fine_tune_from": self.source} if loss.remarks or probed.remarks else {}
        return Bought(
            values={**loss.values, **probed.values, **worse},
            said=(*((mean,) if self.keep else ()), *loss.said, *probed.said),
            remarks=(*loss.remarks, *probed.remarks),
            comparisons=probed.comparisons,
        )

    def _loss(self, records: Sequence[Mapping[str, Any]]) -> Bought:
        """Compare the losses."""
        name, where, before, after = "mask_loss", "a sample of the training corpus", self.before, None
        if self.measure is not None:
            after = self.measure()
        else:
            where = "the dev corpus"
            dev = [row for row in records if row.get("kind") == "dev"]
            name = "mask_loss" if any("mask_loss" in row for row in dev) else "loss"
            found = [row[name] for row in dev if isinstance(row.get(name), float)]
            if len(found) > 1 and dev[0]["step"] == 0:
                before, after = found[0], found[-1]
        if before is None or after is None:
            return Bought()
        values = {f"{name}_before": round(before, 4), f"{name}_after": round(after, 4)}
        kind = "loss with every chosen token as [MASK]" if name == "mask_loss" else "loss"
        said = f"On {where} the {kind} was {before:.3f} before the first step and {after:.3f} at the end."
        if after < before:
            return Bought(values=values, said=(said,))
        remark = (
            f"the {kind} did not fall: on {where} it was {before:.3f} before the first step and {after:.3f} at the "
            f"end. Give the run more time or tokens or a lower --learning-rate, or use {self.source} as it is"
        )
        return Bought(values=values, said=(said,), remarks=(remark,))
