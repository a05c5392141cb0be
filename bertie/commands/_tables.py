"""The tables of a fine-tuning run: read, limited, and where `--dev 20%` asks for it, a share held out to measure on.

The share is drawn by groups of equal texts, so that no text is on both sides, and label by label, so that both sides
have the labels in like parts. The same table, share and seed give the same split.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.errors import DataError, SettingsError

if TYPE_CHECKING:
    from bertie.data.items import Table
    from bertie.tasks.task import Task

_SPLIT_EPOCH = 0x5917  # of the draws: no other order of the table is drawn so
_SPLIT = "split.json"


@dataclass(frozen=True, kw_only=True)
class Tables:
    """What a run learns from and measures on."""

    train: Table[Any]
    dev: list[Any]
    """Empty without a dev table."""
    names: dict[str, str]
    """Settings that say where the tables are from now on, if they moved."""
    copies: dict[str, Path] = field(default_factory=dict)
    """Tables that Python holds, by the file's name in the run folder."""
    split: dict[str, Any] = field(default_factory=dict)
    """The share held out, the seed, and the lines of its rows; empty where nothing is held out."""

    def keep(self, folder: Path) -> None:
        """Write into the run folder what repeats the run and exists nowhere else."""
        for name, path in self.copies.items():
            shutil.copyfile(path, folder / name)
            progress.note(f"{folder / name}: the table is kept here, so that bertie run {folder} repeats the run")
        if self.split:
            (folder / _SPLIT).write_text(json.dumps(self.split) + "\n", encoding="utf-8")


def read_tables(
    kind: type[Task],
    train: Path,
    dev: Path | None,
    *,
    out: Path,
    columns: dict[str, str] | None,
    limits: tuple[int | None, int | None],
    seed: int,
) -> Tables:
    """Read both tables, or one and hold a share of it out.

    Args:
        kind: the task.
        train: the table to learn from.
        dev: the one to measure on, or a share of the first such as 20%.
        out: the run folder, where tables of Python will be kept.
        columns: part of an item to column name.
        limits: items to learn from and to measure on at most.
        seed: of the held-out share.

    Raises:
        SettingsError: a share that is none.
        DataError: a table that can't be used, or too few texts to hold any out.
    """
    from bertie.data.frames import is_written
    from bertie.tasks.task import read_items

    names = {name: str(out / f"{name}.jsonl") for name, path in (("train", train), ("dev", dev)) if is_written(path)}
    copies = {f"{name}.jsonl": path for name, path in (("train", train), ("dev", dev)) if path and name in names}
    table = read_items(kind, train, columns=columns, labelled=True)
    split: dict[str, Any] = {}
    if dev is None:
        held: list[Any] = []
    elif (share := _share(dev)) is None:
        held = read_items(kind, dev, columns=columns, labelled=True, like=table.reading).items
    else:
        kept, held = hold_out(table.items, share, seed=seed)
        lines = [getattr(item, "line", 0) for item in held]
        progress.note(
            f"{train}: {len(held):,} of {len(table.items):,} items are held out to measure on ({dev}, seed {seed}; "
            "stratified by label, equal texts on one side)"
        )
        split = {"table": names.get("train", str(train)), "share": str(dev), "seed": seed, "dev_lines": lines}
        table = replace(table, items=kept)
    if "train" in names:
        reading = None if table.reading is None else replace(table.reading, file=names["train"])
        table = replace(table, path=Path(names["train"]), reading=reading)
    table = replace(table, items=_limited(train, table.items, limits[0]))
    return Tables(train=table, dev=_limited(dev or train, held, limits[1]), names=names, copies=copies, split=split)


def fingerprint(items: Sequence[Any]) -> str:
    """Hash the training items, for a resumed run."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(repr(item).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def _share(dev: Path) -> float | None:
    """Read a share such as 20%; None for the name of a file."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", str(dev))
    if found is None or dev.exists():
        return None
    share = float(found[1]) / 100.0
    if not 0.0 < share < 1.0:
        raise SettingsError(f"--dev {dev} is not a share of a table; give one between 0% and 100%, such as 20%")
    return share


def _limited(path: Path, items: list[Any], limit: int | None) -> list[Any]:
    from bertie.data.items import part

    if limit is None or limit >= len(items) or not items:
        return items
    progress.note(f"{path}: {limit:,} of {len(items):,} items are used")
    return part(items, limit)


def hold_out(items: Sequence[Any], share: float, *, seed: int) -> tuple[list[Any], list[Any]]:
    """Split a table: nearly `share` of each label's items are held out.

    Args:
        items: the whole table.
        share: between 0 and 1.
        seed: of the draw.

    Returns:
        What is left to learn from and what is held out, both in the table's order.

    Raises:
        DataError: nothing could be held out, or nothing would be left.
    """
    from bertie.data.random import permutation

    groups: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        groups[_key(item)].append(number)
    several = list(groups.values())
    strata: dict[str, list[list[int]]] = defaultdict(list)
    for place in permutation(seed, _SPLIT_EPOCH, len(several)).tolist():
        strata[_stratum(items[several[place][0]])].append(several[place])
    if 2 * sum(len(members) == 1 for members in strata.values()) > len(several):  # numbers, not classes
        strata = {"": [group for members in strata.values() for group in members]}
    chosen: set[int] = set()
    owed = 0.0  # what small labels could not give, the next ones do
    for _, members in sorted(strata.items()):
        owed += share * sum(map(len, members))
        for group in members[:-1]:  # one of each label is learned from
            if owed >= len(group) / 2:
                chosen.update(group)
                owed -= len(group)
    if not chosen or len(chosen) == len(items):
        raise DataError(
            f"{len(items):,} items of {len(several):,} different texts are too few to hold {share:.0%} out; give "
            "another share, or a table with --dev"
        )
    return (
        [item for number, item in enumerate(items) if number not in chosen],
        [item for number, item in enumerate(items) if number in chosen],
    )


def _key(item: Any) -> str:
    """Say which texts are equal: of a question those about the same context, of other pairs those with one first text.

    Case and spaces don't count.
    """
    from bertie.data.items import Question, sides

    text = item.context if isinstance(item, Question) else sides(item)[0]
    return " ".join(text.casefold().split())


def _stratum(item: Any) -> str:
    """Return the label, where items have one of a few: numbers and tags of words are drawn from alike."""
    label = getattr(item, "label", None)
    if isinstance(label, tuple):
        return ",".join(label) if all(isinstance(part, str) for part in label) and hasattr(item, "pair") else ""
    return label if isinstance(label, str) else ""
