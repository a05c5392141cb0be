"""A small fine-tuning of two encoders on one labelled table: as it was given, and as a run has left it; no command.

OUT/probe holds what each seed learns from, what all are measured on, and what kind of table it is::

    probe.json   dev.jsonl   train-1.jsonl   train-2.jsonl   train-3.jsonl

It is written when the run begins. A run that breaks off in the probe goes on with it, fine-tuning by fine-tuning.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.commands._demo_files import task_of, write_items
from bertie.errors import BertieError, DataError, Interrupted, SettingsError

if TYPE_CHECKING:
    from bertie.commands._going_on import Bought
    from bertie.training.runfolder import RunFolder

SEEDS = (1, 2, 3)
LABELS = 500
"""Rows that each seed learns from at most."""
_DEV = 1000  # rows to measure on at most
_HELD_OUT = 1 / 3  # of a table that is too small for both
_EPOCHS, _BATCH = 6, 32  # a third of the work of fine-tuning in earnest, and about its scores
_FEWEST = 30  # rows to measure on that show any difference
_CLEAR, _CHANCE = 0.005, 0.25  # a clear difference is half a point, or this divided by the root of those rows
LIMITS = ("threads", "precision", "device")
"""Settings of pretrain that hold for the fine-tunings too."""
_FOLDER, _FILE, _SCORES = "probe", "probe.json", "probe"
_WAYS = ("before", "after")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A labelled table, shared out."""

    table: str
    """Its name."""
    path: str
    """Where it is from now on: Python's own tables move into the run's folder."""
    task: str
    criterion: str
    """The score that both encoders are compared by."""
    settings: dict[str, Any]
    """Of the task: what the whole table decides, such as the labels."""
    num_labelled: int
    """Rows that each seed learns from."""
    num_dev: int
    draws: tuple[Sequence[Any], ...] = ()
    """What each seed learns from; empty when it lies in the run's folder already."""
    dev: Sequence[Any] = ()
    copied: Path | None = None
    """File of a table that Python holds."""

    @classmethod
    def read(cls, table: Path | None, source: str | None, out: Path, *, resume: bool) -> Probe | None:
        """Read a table and hold a part of it out, or recall what a run in `out` has shared out; None without a table.

        Raises:
            SettingsError: a table without a model to go on from, or one with nothing to tell apart.
            DataError: a table that can't be used, or too few rows to hold any out.
        """
        if table is None:
            return None
        if source is None:
            raise SettingsError(
                "--probe compares the model of --from with what becomes of it; for random weights there is bertie "
                "finetune, or bertie demo with a table of yours"
            )
        if resume and (file := out / _FOLDER / _FILE).is_file():
            return _recalled(file)
        try:
            return cls._shared_out(table, out)
        except (DataError, SettingsError) as error:
            said = str(error) if str(table) in str(error) else f"{table}: {error}"
            if "--columns" in said:
                said += ". --columns is finetune's: for --probe name the columns text, pair and label in the first line"
            raise type(error)(f"--probe: {said}") from error

    @classmethod
    def _shared_out(cls, table: Path, out: Path) -> Probe:
        from bertie.commands._tables import hold_out
        from bertie.data.frames import is_written
        from bertie.data.items import part
        from bertie.tasks.task import task_class

        task, items = _read(table)
        kind: Any = task_class(task)
        learned = kind.learn(items, {})
        share = max(_HELD_OUT, min(1 - LABELS / len(items), _DEV / len(items)))
        train, dev = hold_out(items, share, seed=0)
        dev = part(dev, min(_DEV, len(dev)))
        draws = tuple(part(train, min(LABELS, len(train)), seed=seed) for seed in SEEDS)
        settings = {name: learned[name] for name in ("labels", "multi_label") if name in learned}
        settings = settings if task == "classification" else {}
        if len(dev) < _FEWEST:
            progress.warn(
                f"--probe: {table.name} leaves {len(dev)} rows to measure on, too few to show a difference; it takes "
                f"{_FEWEST}, and {LABELS + _DEV:,} rows in all are best"
            )
        for draw in draws:  # what fails now would fail after the run
            with progress.without_notes():
                objective = kind(**kind.learn(draw, settings))
                objective.admit(dev, table)
        return cls(
            table=table.name,
            path=str(out / _FOLDER / "table.jsonl") if is_written(table) else str(table),
            copied=table if is_written(table) else None,
            task=task,
            criterion=objective.criterion,
            settings=settings,
            num_labelled=len(draws[0]),
            num_dev=len(dev),
            draws=draws,
            dev=dev,
        )

    def keep(self, folder: RunFolder, source: str) -> None:
        """Write the tables into the run's folder, once the model is known to take the task."""
        from bertie.files.atomic import write_text
        from bertie.formats.huggingface import read, resolve

        place = folder.path / _FOLDER
        if not self.draws or (place / _FILE).is_file():
            return
        kind_settings = {**self.settings, "max_length": 16}
        try:
            with progress.without_notes():
                read(resolve(source), task=self.task, settings=kind_settings, new_head=True)
        except BertieError as error:
            raise type(error)(f"--probe: {self.task} on {source}: {error}") from error
        write_items(self.dev, place / "dev.jsonl")
        for seed, draw in zip(SEEDS, self.draws, strict=True):
            write_items(draw, place / f"train-{seed}.jsonl")
        if self.copied is not None:
            shutil.copyfile(self.copied, self.path)
        facts = {name: value for name, value in vars(self).items() if name not in ("draws", "dev", "copied")}
        write_text(place / _FILE, json.dumps(facts) + "\n")

    def conclude(self, folder: RunFolder, source: str, limits: Mapping[str, Any]) -> Bought:
        """Fine-tune both encoders with each seed, those that aren't done yet, and compare them.

        Args:
            folder: of the run, with its finished model.
            source: the model as it was given.
            limits: settings of finetune that it has to keep to.

        Raises:
            Interrupted: a signal came; what is done stays.
        """
        scores: dict[str, dict[str, float]] = folder.kept(_SCORES) or {way: {} for way in _WAYS}
        models = dict(zip(_WAYS, (source, str(folder.model)), strict=True))
        progress.note(
            f"probe: both encoders learn {self.task} from {self.num_labelled:,} rows of {self.table}, {len(SEEDS)} "
            f"times each; {self.criterion} is measured on {self.num_dev:,} others"
        )
        for seed in SEEDS:
            for way, model in models.items():
                if str(seed) not in scores[way]:
                    scores[way][str(seed)] = self._score(folder, model, way, seed, limits)
                    folder.keep(_SCORES, scores)
                progress.note(f"probe, {way}, seed {seed}: {self.criterion} {scores[way][str(seed)]:.3f}")
        return self._compared(source, *([scores[way][str(seed)] for seed in SEEDS] for way in _WAYS))

    def _score(self, folder: RunFolder, model: str, way: str, seed: int, limits: Mapping[str, Any]) -> float:
        """Fine-tune one encoder and measure it; its folder is removed afterwards."""
        from bertie.commands.finetune import finetune
        from bertie.training.settings import TrainingSettings

        place = folder.path / _FOLDER
        out = place / f"{way}-{seed}"
        wishes = {
            "train": place / f"train-{seed}.jsonl",
            "dev": place / "dev.jsonl",
            "out": out,
            "task": self.task,
            "epochs": _EPOCHS,
            "batch_size": _BATCH,
            "settings": self.settings or None,
            "training": TrainingSettings(save_every=0),
            "seed": seed,
            **limits,
        }
        try:
            with progress.without_notes():
                try:
                    tuned = finetune(model, **wishes, resume=out.exists())
                except (DataError, SettingsError):
                    if not out.exists():
                        raise
                    shutil.rmtree(out)  # what is left of it can't be gone on with
                    tuned = finetune(model, **wishes)
        except (Interrupted, KeyboardInterrupt) as error:
            raise Interrupted(
                f"interrupted in the probe; the encoder is finished: go on with --resume --out {folder.path}"
            ) from error
        shutil.rmtree(out, ignore_errors=True)
        return tuned.scores[self.criterion]

    def _compared(self, source: str, before: Sequence[float], after: Sequence[float]) -> Bought:
        """Say which encoder is better, where every seed says the same."""
        from bertie.commands._going_on import Bought
        from bertie.metrics.spread import spread_of
        from bertie.reports.figures import is_share
        from bertie.reports.run import Comparison

        first, last = spread_of(before), spread_of(after)
        differences = [new - old for old, new in zip(before, after, strict=True)]
        least = max(_CLEAR, _CHANCE / math.sqrt(self.num_dev))
        clear = self.num_dev >= _FEWEST and abs(last.mean - first.mean) >= least
        worse = clear and all(value < 0 for value in differences)
        better = clear and all(value > 0 for value in differences)
        name = f"probe_{self.criterion}"
        values = {
            "probe_task": self.task,
            "probe_rows": self.num_labelled,
            "probe_dev_rows": self.num_dev,
            f"{name}_before": round(first.mean, 4),
            f"{name}_before_deviation": round(first.deviation or 0.0, 4),
            f"{name}_after": round(last.mean, 4),
            f"{name}_after_deviation": round(last.deviation or 0.0, 4),
            "probe": "better" if better else "worse" if worse else "no clear difference",
        }
        figures = (
            f"{self.criterion} {last.mean:.3f} +- {last.deviation or 0.0:.3f} after the run, {first.mean:.3f} +- "
            f"{first.deviation or 0.0:.3f} before it"
        )
        verdict = (
            "the encoder got better for this task with each seed"
            if better
            else "the encoder got worse for this task with each seed"
            if worse
            else "no difference that these rows and seeds could show"
        )
        said = (
            f"Both encoders were fine-tuned on {self.num_labelled:,} rows of {self.table} with {len(SEEDS)} seeds, and "
            f"measured on {self.num_dev:,} others: {figures} (mean and deviation); {verdict}."
        )
        remark = (
            f"the encoder got worse for {self.table}: {figures}, lower with each of {len(SEEDS)} seeds. Fine-tune "
            f"{source} as it was given; or go on longer, with text that is closer to the task, or at a lower "
            "--learning-rate"
        )
        shown = Comparison(
            f"Fine-tuned on {self.table}",
            (("before the run", before), ("after the run", after)),
            remark=said,
            unit="%" if is_share(self.criterion) else "",
        )
        return Bought(values=values, said=(said,), remarks=(remark,) if worse else (), comparisons=(shown,))


def _read(table: Path) -> tuple[str, Sequence[Any]]:
    """Find out which task a table is for, and read it: tagged words, texts with numbers, or texts with labels.

    Raises:
        DataError: it is none of them.
    """
    from bertie.tasks.task import read_items, task_class

    def items(task: str) -> Sequence[Any]:
        return read_items(task_class(task), table, labelled=True).items

    if (task := task_of(table)) != "classification":
        return task, items(task)
    try:
        found = items(task)
    except DataError:
        try:
            return "tagging", items("tagging")
        except DataError:
            pass
        raise
    if _are_numbers([item.label for item in found]):
        return "regression", items("regression")
    return task, found


def _recalled(file: Path) -> Probe:
    """Read what a run has written of its probe.

    Raises:
        DataError: it is damaged.
    """
    from bertie.untrusted import read_object

    wrong = DataError(f"{file} is damaged; remove {file.parent}, and the table is read again")
    try:
        found = read_object(file)
    except DataError as error:
        raise wrong from error
    kinds: dict[str, type] = {**dict.fromkeys(("table", "path", "task", "criterion"), str), "settings": dict}
    kinds |= dict.fromkeys(("num_labelled", "num_dev"), int)
    if found.keys() != kinds.keys() or not all(isinstance(found[name], kind) for name, kind in kinds.items()):
        raise wrong
    return Probe(**found)


def _are_numbers(labels: Sequence[Any]) -> bool:
    """Tell whether labels are numbers, not all of them whole: those name no classes."""
    try:
        values = [float(label) for label in labels]
    except (TypeError, ValueError):
        return False
    return all(map(math.isfinite, values)) and not all(value.is_integer() for value in values)
