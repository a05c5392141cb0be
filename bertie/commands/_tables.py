"""Read the tables of a fine-tuning run, limit them and, for `--dev 20%`, hold out a share of the training table.

Items with the same text stay on one side, so that no text is in both parts. The draw is stratified by label. The same
table, share and seed result in the same split.
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
    from bertie.readers.reading import Table
    from bertie.tasks.task import Task
    from bertie.training.runfolder import RunFolder

_SPLIT_EPOCH = 0x5917  # keeps this draw independent of the epochs' orders
_SPLIT = "split.json"


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The training table and the dev items of a run."""

    train: Table[Any]
    dev: list[Any]
    """Empty without a dev table."""
    names: dict[str, str]
    """New paths of tables that are copied to the run folder, by setting."""
    copies: dict[str, Path] = field(default_factory=dict)
    """Temporary files of tables passed from Python, by their names in the run folder."""
    split: dict[str, Any] = field(default_factory=dict)
    """The table, the share, the seed, and the line numbers of the held-out rows; empty if no share is held out."""

    def keep(self, folder: RunFolder) -> None:
        """Write the tables passed from Python, the split and the dev items' fingerprint to the folder of a run."""
        if not folder.writes:
            return
        path = folder.path
        for name, table in self.copies.items():
            shutil.copyfile(table, path / name)
            progress.note(f"{path / name}: a copy of the table, so that bertie run {path} can repeat the run")
        if self.split:
            (path / _SPLIT).write_text(json.dumps(self.split) + "\n", encoding="utf-8")
        if self.dev:
            folder.keep("dev_data", fingerprint(self.dev))


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
    """Read the training and dev tables, or hold out a share of the training table.

    Args:
        kind: the task.
        train: the training table.
        dev: the dev table, or a share of the training table such as 20%.
        out: the run folder, to which tables passed from Python will be copied.
        columns: column names by role.
        limits: the largest numbers of training and dev items.
        seed: seed of the held-out share.

    Raises:
        SettingsError: `dev` is an invalid share.
        DataError: a table can't be used, or has too few texts to hold any out.
    """
    from bertie.readers.frames import is_written
    from bertie.tasks._lookup import read_items

    names = {name: str(out / f"{name}.jsonl") for name, path in (("train", train), ("dev", dev)) if is_written(path)}
    copies = {f"{name}.jsonl": path for name, path in (("train", train), ("dev", dev)) if path and name in names}
    table = read_items(kind, train, columns=columns, labelled=True)
    split: dict[str, Any] = {}
    if dev is None:
        held_out: list[Any] = []
    elif (share := _share(dev)) is None:
        held_out = read_items(kind, dev, columns=columns, labelled=True, like=table.reading).items
    else:
        remaining, held_out = hold_out(table.items, share, seed=seed)
        lines = [getattr(item, "line", 0) for item in held_out]
        progress.note(
            f"{train}: {len(held_out):,} of {len(table.items):,} items are held out for evaluation "
            f"({dev}, seed {seed}; stratified by label, equal texts on one side)"
        )
        split = {"table": names.get("train", str(train)), "share": str(dev), "seed": seed, "dev_lines": lines}
        table = replace(table, items=remaining)
    if "train" in names:
        reading = None if table.reading is None else replace(table.reading, file=names["train"])
        table = replace(table, path=Path(names["train"]), reading=reading)
    table = replace(table, items=_limited(train, table.items, limits[0]))
    return Tables(train=table, dev=_limited(dev or train, held_out, limits[1]), names=names, copies=copies, split=split)


def fingerprint(items: Sequence[Any]) -> str:
    """Return a hash of the training items, by which a resumed run detects changes."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(repr(item).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()


def _share(dev: Path) -> float | None:
    """Parse a share such as 20%; return None for a file name."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?%", str(dev))
    if match is None or dev.exists():
        return None
    share = float(match[1]) / 100.0
    if not 0.0 < share < 1.0:
        raise SettingsError(f"--dev {dev} is not a share of a table; give one between 0% and 100%, such as 20%")
    return share


def _limited(path: Path, items: list[Any], limit: int | None) -> list[Any]:
    from bertie.sampling.part import part

    if limit is None or limit >= len(items) or not items:
        return items
    progress.note(f"{path}: {limit:,} of {len(items):,} items are used")
    return part(items, limit)


def hold_out(items: Sequence[Any], share: float, *, seed: int) -> tuple[list[Any], list[Any]]:
    """Split a table and hold out about `share` of each label's items.

    Args:
        items: the whole table.
        share: between 0 and 1.
        seed: seed of the draw.

    Returns:
        The remaining items and the held-out items, both in the table's order.

    Raises:
        DataError: no items could be held out, or none would remain.
    """
    from bertie.sampling.random import permutation

    groups: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        groups[_group_key(item)].append(number)
    text_groups = list(groups.values())
    strata: dict[str, list[list[int]]] = defaultdict(list)
    for index in permutation(seed, _SPLIT_EPOCH, len(text_groups)).tolist():
        strata[_stratum(items[text_groups[index][0]])].append(text_groups[index])
    if 2 * sum(len(members) == 1 for members in strata.values()) > len(
        text_groups
    ):  # the labels are numbers, not classes
        strata = {"": [group for members in strata.values() for group in members]}
    chosen: set[int] = set()
    quota = 0.0  # items still to hold out; a label with too few passes its quota to the next one
    for _, members in sorted(strata.items()):
        quota += share * sum(map(len, members))
        for group in members[:-1]:  # at least one group of each label remains for training
            if quota >= len(group) / 2:
                chosen.update(group)
                quota -= len(group)
    if not chosen or len(chosen) == len(items):
        raise DataError(
            f"{len(items):,} items of {len(text_groups):,} different texts are too few to hold out {share:.0%}; give "
            "another share, or a table with --dev"
        )
    return (
        [item for number, item in enumerate(items) if number not in chosen],
        [item for number, item in enumerate(items) if number in chosen],
    )


def _group_key(item: Any) -> str:
    """Return the text by which items are grouped: the context of a question, otherwise the first text.

    Case and spaces are ignored.
    """
    from bertie.items.item import Item
    from bertie.items.text import sides

    text = item.group() if isinstance(item, Item) else sides(item)[0]
    return " ".join(text.casefold().split())


def _stratum(item: Any) -> str:
    """Return an item's stratum: its class or classes; "" for numbers and tagged words, which form one stratum."""
    from bertie.items.item import Item

    return item.stratum() if isinstance(item, Item) else str(getattr(item, "label", ""))
