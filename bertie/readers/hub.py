"""Read data sets as tables, by id: `hub:NAME:SPLIT` or `hub:NAME:CONFIG:SPLIT`, from the hub or a folder on disk.

NAME is an id such as `nyu-mll/glue`, or a folder. This module reads folders whose files are named after their splits
(`train.jsonl`, `data/test-00000-of-00002.parquet`, `train/part.csv`; with a CONFIG, one level deeper). The package
`datasets` (extra `hub`) reads everything else. Classes get their names instead of numbers if the data set has them.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie.errors import DataError, SettingsError, missing_extra
from bertie.files.compression import format_suffix
from bertie.registry import did_you_mean
from bertie.tables.table import Rows, open_rows, suffixes
from bertie.untrusted import parse_json

_PREFIX = "hub:"
_FORM = "hub:NAME:SPLIT or hub:NAME:CONFIG:SPLIT, such as hub:nyu-mll/glue:sst2:train or hub:folder:train"
# File names that distinguish a folder of splits from a folder of shards.
_SPLIT_WORDS = {"train", "training", "validation", "valid", "val", "dev", "development", "test", "testing", "eval"}
_SAVED = ("dataset_dict.json", "state.json")
_SAVED_SPLIT = ("state.json", "dataset_info.json")
_SHARD = re.compile(r"[-_.]\d+([-_.]of[-_.]\d+)?$")


@dataclass(frozen=True)
class DatasetId:
    """The parts of a data set's id."""

    name: str
    config: str | None
    split: str

    @classmethod
    def parse(cls, text: str) -> "DatasetId":
        """Split an id into its parts.

        Raises:
            SettingsError: the id has another form.
        """
        parts = text.removeprefix(_PREFIX).split(":")
        if not text.startswith(_PREFIX) or len(parts) not in (2, 3) or not all(parts):
            raise SettingsError(f"{text} is not the id of a data set; write {_FORM}")
        return cls(parts[0], parts[1] if len(parts) == 3 else None, parts[-1])


def is_dataset(path: str | Path) -> bool:
    """Check whether a path is the id of a data set."""
    return str(path).startswith(_PREFIX)


def open_dataset(path: str | Path) -> Rows:
    """Open one split of a data set.

    Args:
        path: id of the data set.

    Returns:
        A context manager with ``columns`` and ``rows``; rows are numbered from 1.

    Raises:
        SettingsError: the id is malformed, the data set, config or split doesn't exist, or `datasets` isn't installed.
        DataError: a file is broken.
    """
    wanted = DatasetId.parse(str(path))
    folder = Path(wanted.name)
    if folder.is_dir():
        root = folder / wanted.config if wanted.config else folder
        if wanted.config and not root.is_dir():
            raise SettingsError(
                f"{folder} has no config {wanted.config!r}; {did_you_mean(wanted.config, _configs(folder))}"
            )
        if splits := _splits(root):
            return _Files(_chosen(splits, wanted.split, f"{root}"))
        if not wanted.config and (configs := _configs(folder)):
            raise SettingsError(
                f"{folder} holds several data sets; choose one, as in hub:{folder}:{configs[0]}:{wanted.split} "
                f"({', '.join(configs)})"
            )
    return _Loaded(wanted)


def _tables(folder: Path) -> list[Path]:
    """Return the tables in a folder; none if `datasets` saved it, because its caches of other tables may be there."""
    if all((folder / name).is_file() for name in _SAVED_SPLIT):
        return []
    files = [file for file in folder.iterdir() if file.is_file()] if folder.is_dir() else []
    return sorted(file for file in files if format_suffix(file) in suffixes() and file.name[0] != ".")


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")


def _split_name(file: Path) -> str:
    """Return the split in a file name: "train" for train-00000-of-00002.parquet and for train.jsonl.gz."""
    stem = file.name[: file.name.lower().rindex(format_suffix(file))]
    return _SHARD.sub("", stem)


def _holds_splits(folder: Path) -> bool:
    return any(_split_name(file) in _SPLIT_WORDS for file in _tables(folder))


def _splits(root: Path) -> dict[str, list[Path]]:
    """Find the files of each split: files named after it, here or in data/, or in a folder named after it."""
    splits: dict[str, list[Path]] = defaultdict(list)
    for file in (*_tables(root), *_tables(root / "data")):
        splits[_split_name(file)].append(file)
    for folder in _folders(root):
        if folder.name != "data" and not _holds_splits(folder) and (files := _tables(folder)):
            splits[folder.name] += files
    return dict(splits)


def _configs(folder: Path) -> list[str]:
    return [inner.name for inner in _folders(folder) if inner.name != "data" and _splits(inner)]


def _chosen(splits: Mapping[str, Any], split: str, where: str) -> Any:
    if split not in splits:
        raise SettingsError(f"{where} has no split {split!r}; {did_you_mean(split, splits)}")
    return splits[split]


def _named(value: Any, names: Sequence[str] | None) -> Any:
    """Return the name of a class; None for -1, which marks rows without a label."""
    if names is None or value is None or isinstance(value, str):
        return value
    if isinstance(value, list):
        return [_named(part, names) for part in value]
    return names[value] if 0 <= value < len(names) else None


class _Files(Rows):
    """The files of a split, one after another."""

    def __init__(self, files: list[Path]) -> None:
        super().__init__()
        self._files, self._done = files, 0
        self._open = open_rows(files[0])
        self.columns = self._open.columns

    @property
    def position(self) -> int:
        return self._done + self._open.position

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        number = 0
        for index, file in enumerate(self._files):
            if index:
                self._open.close()
                self._done += self._files[index - 1].stat().st_size
                self._open = open_rows(file)
                if missing := sorted(set(columns) - set(self._open.columns)):
                    raise DataError(f"{file} has no column {missing[0]!r}, but {self._files[0]} has")
            classes = _class_names(self._open, file)
            names = [classes.get(column) for column in columns]
            for _, values in self._open.rows(columns):
                number += 1
                yield number, [_named(value, known) for value, known in zip(values, names, strict=True)]

    def close(self) -> None:
        self._open.close()


def _saved_files(folder: Path) -> str:
    """List the files that `save_to_disk` of `datasets` wrote to a folder; return "" for any other folder."""
    if not any((folder / name).is_file() for name in _SAVED):
        return ""
    files = sorted(str(file.relative_to(folder)) for file in folder.glob("**/*.arrow"))
    return ", ".join(files[:3]) + (", ..." if len(files) > 3 else "") or "without files"


def _class_names(table: Rows, file: Path) -> dict[str, list[str]]:
    """Return the class names in the description that `datasets` wrote into a file, by column."""
    if not table.described:
        return {}
    try:
        described = parse_json(table.described, f"{file}: the description by datasets")
        return _classes(described["info"]["features"].items())
    except (KeyError, ValueError, TypeError):
        return {}


def _classes(features: Iterable[tuple[str, Any]]) -> dict[str, list[str]]:
    """Return the class names of the columns that hold a class or a list of classes."""
    classes = {}
    for column, feature in features:
        described = feature.get("feature", feature) if isinstance(feature, dict) else feature
        if isinstance(described, dict) and described.get("_type") == "ClassLabel":
            classes[column] = list(described["names"])
    return classes


class _Loaded(Rows):
    """A split that `datasets` reads: from the hub, its cache, or a folder that only it can read."""

    def __init__(self, wanted: DatasetId) -> None:
        try:
            import datasets
        except ImportError as error:
            if saved_files := _saved_files(Path(wanted.name)):
                raise SettingsError(
                    f"{wanted.name} is a folder that datasets saved ({saved_files}). To read it, install datasets "
                    "(pip install 'bertie[hub]'), or save it as tables: "
                    'dataset.to_parquet("train.parquet") or dataset.to_json("train.jsonl")'
                ) from error
            raise missing_extra("datasets", "hub", f"to read the data set {wanted.name}") from error
        folder = Path(wanted.name)
        saved = any((folder / name).is_file() for name in _SAVED)
        try:
            whole = datasets.load_from_disk(str(folder)) if saved else datasets.load_dataset(wanted.name, wanted.config)
        except Exception as error:  # errors of datasets, of the network and of pyarrow all end here
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise SettingsError(f"can't open the data set {wanted.name}: {first}") from error
        splits = whole if isinstance(whole, dict) else {str(whole.split or "train"): whole}
        self._split = _chosen(splits, wanted.split, wanted.name)
        self.columns = list(self._split.column_names)
        self._row = 0

    @property
    def position(self) -> int:
        return self._row

    def rows(self, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        classes = _classes(self._split.features.to_dict().items())
        names = [classes.get(column) for column in columns]
        for row in self._split.select_columns(list(columns)):
            self._row += 1
            yield self._row, [_named(row[column], known) for column, known in zip(columns, names, strict=True)]

    def close(self) -> None:
        """Do nothing: the package keeps its files mapped."""
