"""Read the folders of runs, finished or not, and group those that differ by their seeds alone, for `compare`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie import config, progress
from bertie.commands._seeds import folder_of, scores_of
from bertie.errors import DataError, SettingsError
from bertie.files.atomic import sha256_file

_FILES = ("config.toml", "run.json", "metrics.jsonl", "report.html")
"""Files that name the run in whose folder they are."""
_SEEDS = frozenset({"seed", "seeds"})


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """A run as its folder describes it."""

    folder: Path
    group: Path
    """The folder of --seeds that the run is in; its own folder if there is none."""
    command: str
    settings: Mapping[str, Any]
    """By dotted key, as in config.toml."""
    data: str
    """Fingerprint of the training data."""
    dev_data: str
    """Fingerprint of the dev items; "" if the run has none or began before it was stored."""
    records: Sequence[Mapping[str, Any]]
    """Lines of metrics.jsonl."""
    finished: bool
    values: Mapping[str, Any]
    """The last figures: those of the finished run, or those logged last."""
    scores: Mapping[str, float]
    """Scores on dev, or else figures of training."""

    @property
    def step(self) -> int:
        """The last logged step; 0 before the first."""
        steps = [self.values.get("steps"), *(row.get("step") for row in self.records)]
        return max((step for step in steps if isinstance(step, int)), default=0)

    @property
    def seconds(self) -> float | None:
        """The time that the run has taken; None before the first line."""
        times = [self.values.get("seconds"), *(row.get("seconds") for row in reversed(self.records))]
        return next((float(time) for time in times if isinstance(time, int | float)), None)

    @property
    def compared_settings(self) -> dict[str, Any]:
        """The settings that decide the weights, without seeds and paths of data: runs that agree in these are alike."""
        from bertie.training.record import DATA, FREE, MACHINE

        ignored = _SEEDS | FREE | MACHINE | {*DATA, "dev"}
        return {name: value for name, value in self.settings.items() if name not in ignored}


@dataclass(frozen=True)
class Group:
    """Runs with the same settings, but for the seed."""

    name: str
    runs: Sequence[StoredRun]

    @property
    def finished(self) -> list[StoredRun]:
        """The finished runs."""
        return [run for run in self.runs if run.finished]


def read_runs(paths: Sequence[Path]) -> list[StoredRun]:
    """Read runs, and all begun runs of the folders that --seeds made.

    Raises:
        SettingsError: a path is no run, is given twice, or there are fewer than two runs.
        DataError: a run's files are damaged.
    """
    runs: dict[Path, StoredRun] = {}
    for path in paths:
        folder = path.parent if path.name in _FILES and path.is_file() else path
        for run in _runs_of(folder):
            if run.folder.resolve() in runs:
                raise SettingsError(f"{run.folder} is given twice; name different runs")
            runs[run.folder.resolve()] = run
    if len(runs) < 2:
        raise SettingsError(f"one run can't be compared; name another one in addition to {paths[0]}")
    return list(runs.values())


def grouped(runs: Sequence[StoredRun]) -> list[Group]:
    """Group runs that differ by their seeds alone, in the order given."""
    groups: list[list[StoredRun]] = []
    for run in runs:
        same = (group for group in groups if _belongs(run, group))
        if (group := next(same, None)) is None:
            groups.append([run])
        else:
            group.append(run)
    folders = [_common_folder(group) for group in groups]
    return [Group(name, group) for name, group in zip(distinct_names(folders), groups, strict=True)]


def _belongs(run: StoredRun, group: Sequence[StoredRun]) -> bool:
    """Check whether a run differs from those of a group by its seed alone; two runs of one seed are two groups."""
    alike = run.compared_settings == group[0].compared_settings and run.data == group[0].data
    return alike and run.settings.get("seed") not in [other.settings.get("seed") for other in group]


def _common_folder(runs: Sequence[StoredRun]) -> Path:
    return runs[0].group if len({run.group for run in runs}) == 1 else runs[0].folder


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """Shorten each path to as many of its last parts as tell it apart from the others.

    >>> distinct_names([Path("out/a/run"), Path("out/b/run"), Path("c")])
    ['a/run', 'b/run', 'c']
    """
    parts = [folder.resolve().parts for folder in folders]

    def shortest(number: int) -> str:
        own = parts[number]
        others = [each for index, each in enumerate(parts) if index != number]
        counts = range(1, len(own) + 1)
        count = next((count for count in counts if all(own[-count:] != each[-count:] for each in others)), len(own))
        return str(Path(*own[-count:]))

    return [shortest(number) for number in range(len(parts))]


def _runs_of(folder: Path) -> list[StoredRun]:
    """Read a run, or the begun runs of a folder of several seeds."""
    if not folder.exists():
        raise SettingsError(f"no such folder: {folder}")
    if not folder.is_dir():
        raise SettingsError(f"{folder} is a file; name the folder of a run, the --out of pretrain or finetune")
    if (folder / "run.json").is_file():
        return [_read(folder, folder)]
    settings = config.read(folder) if (folder / "config.toml").is_file() else {}
    seeds = settings.get("seeds")
    if not isinstance(seeds, list):
        raise SettingsError(f"{folder} is {_kind(folder)}; name runs, the --out of pretrain or finetune")
    begun = [each for seed in seeds if ((each := folder_of(folder, seed)) / "run.json").is_file()]
    if not begun:
        raise SettingsError(f"{folder}: none of its runs has begun; begin them with: bertie run {folder} --resume")
    return [_read(each, folder) for each in begun]


def _kind(folder: Path) -> str:
    """Return what a folder without a run is, and what to do with it."""
    if (folder.parent / "run.json").is_file():
        return f"inside the run {folder.parent}, and not the run itself"
    if (folder / "config.json").is_file():
        return "a model and not a run (bertie evaluate MODEL FILE --against MODEL compares two models)"
    if (folder / "manifest.json").is_file():
        return "a corpus and not a run"
    return "not a run: it has no run.json"


def _read(folder: Path, group: Path) -> StoredRun:
    from bertie.training import journal
    from bertie.training import record as records

    try:
        record = records.read(folder / "run.json")
    except DataError as error:
        reason = str(error).partition("; ")[0]
        raise DataError(f"{reason}; leave {folder} out of the comparison") from error
    metrics, values = folder / "metrics.jsonl", record.get("values", {})
    digest = record.get("files", {}).get(metrics.name)
    if digest is not None and (not metrics.is_file() or sha256_file(metrics) != digest):
        progress.warn(f"{metrics} has changed since the run was finished; its curves may be wrong")
    lines = journal.read(metrics) if metrics.is_file() else []
    shown = values or _last_figures(lines)
    return StoredRun(
        folder=folder,
        group=group,
        command=record["command"],
        settings=record["settings"],
        data=record["data"],
        dev_data=str(record.get("kept", {}).get("dev_data", "")),
        records=lines,
        finished="values" in record,
        values=shown,
        scores={name: value for name, value in scores_of(shown, folder).items() if _is_number(value)},
    )


def _last_figures(lines: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the last dev figures of an unfinished run as its scores; without any, none."""
    places = {"kind", "step", "seconds", "tokens", "length"}
    dev = [row for row in lines if row.get("kind") == "dev"]
    return {"scores": {name: value for name, value in dev[-1].items() if name not in places}} if dev else {}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
