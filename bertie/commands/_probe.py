"""The probe: fine-tune an encoder before and after a pre-training run on the same labelled table, and compare scores.

OUT/probe holds the training items of each seed, the dev items, and the task with its settings::

    probe.json   dev.jsonl   train-1.jsonl   train-2.jsonl   train-3.jsonl

They are written when the run starts. A resumed run continues the probe after the last finished fine-tuning.
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
    from bertie.commands._continuing import Effect
    from bertie.training.runfolder import RunFolder

SEEDS = (1, 2, 3)
LABELS = 500
"""Largest number of rows that each seed learns from."""
_MAX_DEV = 1000  # largest number of rows to measure on
_MIN_SHARE = 1 / 3  # share held out from a table with fewer rows than both numbers together
_EPOCHS, _BATCH = 6, 32  # a third of the work of a full fine-tuning, with about the same scores
_MIN_DEV = 30  # with fewer dev rows, no difference is clear
_CLEAR, _CHANCE = 0.005, 0.25  # a clear difference is at least the first, and the second / sqrt(dev rows)
LIMITS = ("threads", "precision", "device")
"""Settings of pretrain that also hold for the fine-tunings."""
_FOLDER, _FILE, _SCORES_KEY = "probe", "probe.json", "probe"
_TIMES = ("before", "after")


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A labelled table, split into training and dev items."""

    table: str
    """The table's file name."""
    path: str
    """The table's path; in the run folder for a table passed from Python."""
    task: str
    criterion: str
    """The score that compares both encoders."""
    settings: dict[str, Any]
    """Settings of the task that the whole table determines, such as the labels."""
    num_labelled: int
    """Rows that each seed learns from."""
    num_dev: int
    draws: tuple[Sequence[Any], ...] = ()
    """The training items of each seed; empty if they are already in the run folder."""
    dev: Sequence[Any] = ()
    copied: Path | None = None
    """Temporary file of a table passed from Python."""

    @classmethod
    def read(cls, table: Path | None, source: str | None, out: Path, *, resume: bool) -> Probe | None:
        """Read and split a table, or read the stored split of a resumed run; None without a table.

        Raises:
            SettingsError: a table without a model to continue from, or with a single label.
            DataError: a table that can't be used, or that has too few rows to hold any out.
        """
        if table is None:
            return None
        if source is None:
            raise SettingsError(
                "--probe compares the model of --from with the trained one; for random weights use bertie finetune, or "
                "bertie demo with your own table"
            )
        if resume and (file := out / _FOLDER / _FILE).is_file():
            return _read_stored(file)
        try:
            return cls._split(table, out)
        except (DataError, SettingsError) as error:
            message = str(error) if str(table) in str(error) else f"{table}: {error}"
            if "--columns" in message:
                message += (
                    ". pretrain has no --columns: name the columns text, pair and label in the first line of the table"
                )
            raise type(error)(f"--probe: {message}") from error

    @classmethod
    def _split(cls, table: Path, out: Path) -> Probe:
        from bertie.commands._tables import hold_out
        from bertie.readers.frames import is_written
        from bertie.sampling.part import part
        from bertie.tasks._lookup import task_class

        task, items = _read(table)
        task_type: Any = task_class(task)
        table_settings = task_type.learn(items, {})
        share = max(_MIN_SHARE, min(1 - LABELS / len(items), _MAX_DEV / len(items)))
        train, dev = hold_out(items, share, seed=0)
        dev = part(dev, min(_MAX_DEV, len(dev)))
        draws = tuple(part(train, min(LABELS, len(train)), seed=seed) for seed in SEEDS)
        settings = {name: table_settings[name] for name in ("labels", "multi_label") if name in table_settings}
        settings = settings if task == "classification" else {}
        if len(dev) < _MIN_DEV:
            progress.warn(
                f"--probe: {table.name} leaves {len(dev)} rows to measure on, too few to show a difference; give "
                f"at least {_MIN_DEV}, at best {LABELS + _MAX_DEV:,} rows in all"
            )
        for draw in draws:  # report errors before the run rather than after it
            with progress.without_notes():
                objective = task_type(**task_type.learn(draw, settings))
                objective.check_items(dev, table)
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
        """Write the tables to the run folder, after a check that the model supports the task."""
        from bertie.files.atomic import write_text
        from bertie.formats.huggingface import read, resolve

        folder_path = folder.path / _FOLDER
        if not self.draws or (folder_path / _FILE).is_file():
            return
        kind_settings = {**self.settings, "max_length": 16}
        try:
            with progress.without_notes():
                read(resolve(source), task=self.task, settings=kind_settings, new_head=True)
        except BertieError as error:
            raise type(error)(f"--probe: {self.task} on {source}: {error}") from error
        write_items(self.dev, folder_path / "dev.jsonl")
        for seed, draw in zip(SEEDS, self.draws, strict=True):
            write_items(draw, folder_path / f"train-{seed}.jsonl")
        if self.copied is not None:
            shutil.copyfile(self.copied, self.path)
        facts = {name: value for name, value in vars(self).items() if name not in ("draws", "dev", "copied")}
        write_text(folder_path / _FILE, json.dumps(facts) + "\n")

    def conclude(self, folder: RunFolder, source: str, limits: Mapping[str, Any]) -> Effect:
        """Fine-tune both encoders with each seed, except those already done, and compare their scores.

        Args:
            folder: the run folder, with the finished model.
            source: the model that the run continued from.
            limits: settings of finetune, such as threads.

        Raises:
            Interrupted: a signal came; finished fine-tunings are kept.
        """
        scores: dict[str, dict[str, float]] = folder.kept(_SCORES_KEY) or {time: {} for time in _TIMES}
        models = dict(zip(_TIMES, (source, str(folder.model)), strict=True))
        progress.note(
            f"probe: fine-tuning both encoders for {self.task} on {self.num_labelled:,} rows of {self.table} with "
            f"{len(SEEDS)} seeds; {self.criterion} is measured on {self.num_dev:,} other rows"
        )
        for seed in SEEDS:
            for time, model in models.items():
                if str(seed) not in scores[time]:
                    scores[time][str(seed)] = self._score(folder, model, time, seed, limits)
                    folder.keep(_SCORES_KEY, scores)
                progress.note(f"probe, {time}, seed {seed}: {self.criterion} {scores[time][str(seed)]:.3f}")
        return self._compared(source, *([scores[time][str(seed)] for seed in SEEDS] for time in _TIMES))

    def _score(self, folder: RunFolder, model: str, time: str, seed: int, limits: Mapping[str, Any]) -> float:
        """Fine-tune one encoder and return its score; the folder of the fine-tuning is removed."""
        from bertie.commands.finetune import finetune
        from bertie.training.settings import TrainingSettings

        folder_path = folder.path / _FOLDER
        out = folder_path / f"{time}-{seed}"
        parameters = {
            "train": folder_path / f"train-{seed}.jsonl",
            "dev": folder_path / "dev.jsonl",
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
                    finetuned = finetune(model, **parameters, resume=out.exists())
                except (DataError, SettingsError):
                    if not out.exists():
                        raise
                    shutil.rmtree(out)  # it can't be resumed
                    finetuned = finetune(model, **parameters)
        except (Interrupted, KeyboardInterrupt) as error:
            raise Interrupted(
                f"interrupted during the probe; the encoder is finished: continue with --resume --out {folder.path}"
            ) from error
        shutil.rmtree(out, ignore_errors=True)
        return finetuned.scores[self.criterion]

    def _compared(self, source: str, before: Sequence[float], after: Sequence[float]) -> Effect:
        """Compare the scores: an encoder is better if the difference is clear and has the same sign for all seeds."""
        from bertie.commands._continuing import Effect
        from bertie.metrics.spread import spread_of
        from bertie.reports.figures import is_share
        from bertie.reports.run import Comparison

        first, last = spread_of(before), spread_of(after)
        differences = [new - old for old, new in zip(before, after, strict=True)]
        threshold = max(_CLEAR, _CHANCE / math.sqrt(self.num_dev))
        clear = self.num_dev >= _MIN_DEV and abs(last.mean - first.mean) >= threshold
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
            "the encoder improved for this task with each seed"
            if better
            else "the encoder got worse for this task with each seed"
            if worse
            else "these rows and seeds show no clear difference"
        )
        summary = (
            f"Both encoders were fine-tuned on {self.num_labelled:,} rows of {self.table} with {len(SEEDS)} seeds and "
            f"evaluated on {self.num_dev:,} other rows: {figures} (mean and standard deviation); {verdict}."
        )
        remark = (
            f"the encoder got worse for {self.table}: {figures}, lower with each of {len(SEEDS)} seeds. Fine-tune "
            f"{source} unchanged, or pre-train longer, on text closer to the task, or with a lower --learning-rate"
        )
        chart = Comparison(
            f"Fine-tuned on {self.table}",
            (("before the run", before), ("after the run", after)),
            remark=summary,
            unit="%" if is_share(self.criterion) else "",
        )
        return Effect(values=values, said=(summary,), remarks=(remark,) if worse else (), comparisons=(chart,))


def _read(table: Path) -> tuple[str, Sequence[Any]]:
    """Detect the task of a table and read its items: words with tags, texts with numbers, or texts with labels.

    Raises:
        DataError: the table fits none of these tasks.
    """
    from bertie.tasks._lookup import read_items, task_class

    def items(task: str) -> Sequence[Any]:
        return read_items(task_class(task), table, labelled=True).items

    if (task := task_of(table)) != "classification":
        return task, items(task)
    try:
        texts = items(task)
    except DataError:
        try:
            return "tagging", items("tagging")
        except DataError:
            pass
        raise
    if _are_numbers([item.label for item in texts]):
        return "regression", items("regression")
    return task, texts


def _read_stored(file: Path) -> Probe:
    """Read the probe that a run has stored.

    Raises:
        DataError: the file is damaged.
    """
    from bertie.untrusted import read_object

    damaged = DataError(f"{file} is damaged; remove {file.parent} to read the table again")
    try:
        facts = read_object(file)
    except DataError as error:
        raise damaged from error
    types: dict[str, type] = {**dict.fromkeys(("table", "path", "task", "criterion"), str), "settings": dict}
    types |= dict.fromkeys(("num_labelled", "num_dev"), int)
    if facts.keys() != types.keys() or not all(isinstance(facts[name], expected) for name, expected in types.items()):
        raise damaged
    return Probe(**facts)


def _are_numbers(labels: Sequence[Any]) -> bool:
    """Check whether all labels are numbers, and not all whole numbers, which would be classes."""
    try:
        values = [float(label) for label in labels]
    except (TypeError, ValueError):
        return False
    return all(map(math.isfinite, values)) and not all(value.is_integer() for value in values)
