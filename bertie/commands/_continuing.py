"""Runs that continue from a trained encoder: learning rate, new head, and the effect of the run."""

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
    from bertie.starts.start import StartReport
    from bertie.tasks.task import TaskModel
    from bertie.training.runfolder import RunFolder
    from bertie.training.schedule import Stage
    from bertie.training.settings import OptimizerSettings
    from bertie.training.spec import RunSpec

_HEAD_KEY, _LOSS_KEY = "begun", "loss_before"  # keys in the run's record
_DEFAULT_KEEP = 0.5  # share of the given weights that an encoder with a new head keeps
_HEAD_SHARE = 0.1  # of the budget: the longest time for training the head alone
_SAMPLE = 50_000  # tokens of the training corpus to measure on, without a held-out corpus

_PROBE_LENGTH = 128  # largest number of tokens of a row
_MANY_TOKENS, _LONG = 50_000_000, 4 * 3600.0  # tokens and seconds of a long run


def further_batch(parameters: Mapping[str, Any], longest: int, *, compares_items: bool) -> int:
    """Choose the tokens of an update: on a CPU a quarter of the usual number, because many small steps learn more.

    The usual number remains for long runs, which have enough updates, for a GPU, which needs large batches, and for
    objectives that compare the sequences of a batch, which need many of them.

    Args:
        parameters: the parameters of pretrain.
        longest: tokens of the longest sequence.
        compares_items: whether the objective compares the sequences of a batch.
    """
    from bertie.training.duration import parse_duration
    from bertie.training.scaling import USUAL_BATCH

    seconds = 0.0 if parameters["budget"] is None else parse_duration(parameters["budget"])
    is_long = (parameters["tokens"] or 0) >= _MANY_TOKENS or seconds >= _LONG
    is_large = is_long or compares_items or parameters["device"] != "cpu"
    return max(longest, USUAL_BATCH if is_large else USUAL_BATCH // 4)


def peak_for(bundle: Bundle, optimizer: OptimizerSettings, given: float | None, out: Path, *, resume: bool) -> float:
    """Return the peak of the learning rate: the given one, that of the resumed run, or one that suits the weights.

    Args:
        bundle: the model to continue from.
        optimizer: the run's optimizer.
        given: the user's value.
        out: the run folder.
        resume: whether the run is resumed.
    """
    from bertie.training.fitting import further_rate, inspect, rate_in_words
    from bertie.training.runfolder import settings_of

    if given is not None:
        return given
    earlier = (settings_of(out) if resume else None) or {}
    if isinstance(earlier_rate := earlier.get("learning_rate"), float):
        return earlier_rate
    encoder = inspect(bundle.model)
    guesses = bundle.task.fills_masks or not bundle.task.compares_items
    rate = further_rate(encoder, optimizer.name, guesses=guesses)
    progress.note(f"learning rate {rate_in_words(rate)}, to continue from {encoder}; set another with --learning-rate")
    return rate


def kept_share(
    bundle: Bundle, network: TaskModel, source: str | None, given: float | None, out: Path, *, resume: bool
) -> float:
    """Return the share of the source model's weights in the written model.

    It is the given share, that of the resumed run, or a default. An encoder that gets a new head was trained for
    another task than predicting tokens, and loses some of that in the run. A mean of both weights is better than either
    (docs/measured/results.md), so its default is one half. The default is 0 for an encoder that already predicts
    tokens, and for two models that train together, because the other one is entirely new.

    Args:
        bundle: the model to continue from.
        network: the network to train.
        source: the source of the model; None for random weights.
        given: the user's value.
        out: the run folder.
        resume: whether the run is resumed.

    Raises:
        SettingsError: an invalid share, or a share of random weights.
    """
    from bertie.training.runfolder import settings_of

    if given is not None and not 0.0 <= given < 1.0:
        raise SettingsError(f"--keep must be at least 0 and below 1; got {given}")
    if source is None:
        if given:
            raise SettingsError("--keep is a share of the weights of --from; leave it out for random weights")
        return 0.0
    if given is None and resume and (earlier := settings_of(out)) is not None:
        return float(earlier.get("keep") or 0.0)  # runs older than this setting have none
    default = _DEFAULT_KEEP if bundle.drawn and network is bundle.model else 0.0
    return default if given is None else given


def train_new_head(
    bundle: Bundle, network: TaskModel, corpus: Corpus, job: RunSpec, length: int, folder: RunFolder
) -> StartReport | None:
    """Train a new head alone, unless the run continues from a checkpoint, and return the record of it.

    A run that is interrupted before its first checkpoint repeats the same number of steps, even if a budget set it.

    Args:
        bundle: the source model with the head for the run's task.
        network: the network to train.
        corpus: the training corpus.
        job: the run's job.
        length: largest number of tokens in a sequence of the first stage.
        folder: the run folder.
    """
    from bertie.starts.start import StartReport
    from bertie.training import checkpoint
    from bertie.training.new_head import STEPS, warm

    record = folder.kept(_HEAD_KEY)
    if checkpoint.exists(folder.checkpoints):
        return None if record is None else StartReport(**record)
    if not bundle.drawn or network is not bundle.model:  # models that train together can't train alone
        return None
    earlier_steps, budget = record is not None and record["steps"], job.horizon.seconds
    result = warm(
        bundle,
        corpus,
        length=length,
        precision=job.precision,
        device=job.device,
        seed=job.seed,
        steps=earlier_steps or STEPS,
        most_seconds=None if earlier_steps or budget is None else _HEAD_SHARE * budget,
    )
    sentence = (
        f"The head is new: its bias started at the logarithm of the token frequencies in the corpus, and it was "
        f"trained alone for {result.steps} steps of {result.tokens:,} tokens before the first step of the run."
    )
    progress.note(f"new head trained alone: {result.steps} steps in {result.seconds:.0f} s, loss {result.loss:.2f}")
    begun = StartReport("", sentence, steps=result.steps, seconds=round(result.seconds, 1))
    folder.keep(_HEAD_KEY, vars(begun))
    return begun


def shortened(job: RunSpec, begun: StartReport | None) -> RunSpec:
    """Return the job with its budget reduced by the time of training the head alone, at most by half."""
    budget = job.horizon.seconds
    if begun is None or budget is None or not begun.seconds:
        return job
    return replace(job, horizon=replace(job.horizon, seconds=max(0.5 * budget, budget - begun.seconds)))


@dataclass(frozen=True, kw_only=True)
class Effect:
    """The effect of a run on its source model, in figures and words."""

    values: dict[str, Any] = field(default_factory=dict)
    """Figures by their names in run.json."""
    said: tuple[str, ...] = ()
    """Sentences for the report."""
    remarks: tuple[str, ...] = ()
    """Warnings."""
    comparisons: tuple[Comparison, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ContinuedRun:
    """Measurements of an encoder before and after a run that continues from it."""

    source: str
    """The model to continue from."""
    measure: Callable[[], float | None] | None
    """Returns the current loss at [MASK]; None if the run measures a held-out corpus anyway."""
    before: float | None
    """That loss before the first step."""
    keep: float
    """Share of the source model's weights in the written model."""
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
        job: RunSpec,
        folder: RunFolder,
        probe: Probe | None,
    ) -> ContinuedRun | None:
        """Measure the network before its first step, or read the recorded measurement; None for random weights."""
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

        if (before := folder.kept(_LOSS_KEY)) is None and (before := measure()) is not None:
            folder.keep(_LOSS_KEY, before)
        return cls(source=source, measure=measure, before=before, keep=job.keep, probe=probe)

    def conclude(
        self, records: Sequence[Mapping[str, Any]], folder: RunFolder, shape: Any, limits: Mapping[str, Any]
    ) -> Effect:
        """Measure the network after the run, and compare it with the source model.

        Args:
            records: lines of metrics.jsonl.
            folder: the run folder, with the written model.
            shape: the encoder's config.
            limits: settings for the probe's fine-tunings, such as threads.
        """
        loss = self._loss(records)
        finetune_limits = {**limits, "length": min(_PROBE_LENGTH, shape.max_positions)}
        probed = Effect() if self.probe is None else self.probe.conclude(folder, self.source, finetune_limits)
        mean_note = f"The written model is a mean of weights: {self.keep:.0%} from the source, the rest from the run."
        advice = {"fine_tune_from": self.source} if loss.remarks or probed.remarks else {}
        return Effect(
            values={**loss.values, **probed.values, **advice},
            said=(*((mean_note,) if self.keep else ()), *loss.said, *probed.said),
            remarks=(*loss.remarks, *probed.remarks),
            comparisons=probed.comparisons,
        )

    def _loss(self, records: Sequence[Mapping[str, Any]]) -> Effect:
        """Compare the losses before and after the run."""
        name, text_name, before, after = "mask_loss", "a sample of the training corpus", self.before, None
        if self.measure is not None:
            after = self.measure()
        else:
            text_name = "the dev corpus"
            dev = [row for row in records if row.get("kind") == "dev"]
            name = "mask_loss" if any("mask_loss" in row for row in dev) else "loss"
            losses = [row[name] for row in dev if isinstance(row.get(name), float)]
            if len(losses) > 1 and dev[0]["step"] == 0:
                before, after = losses[0], losses[-1]
        if before is None or after is None:
            return Effect()
        values = {f"{name}_before": round(before, 4), f"{name}_after": round(after, 4)}
        loss_name = "loss with every chosen token as [MASK]" if name == "mask_loss" else "loss"
        sentence = f"On {text_name} the {loss_name} was {before:.3f} before the first step and {after:.3f} at the end."
        if after < before:
            return Effect(values=values, said=(sentence,))
        remark = (
            f"the {loss_name} did not fall: on {text_name} it was {before:.3f} before the first step and {after:.3f} "
            f"at the end. Give the run more time or tokens or a lower --learning-rate, or use {self.source} unchanged"
        )
        return Effect(values=values, said=(sentence,), remarks=(remark,))
