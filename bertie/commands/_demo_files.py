"""What the demo reads and measures on: text, of which a share is held out, and labelled items for each seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie.errors import DataError, SettingsError
from bertie.files.text import shorten

if TYPE_CHECKING:
    from bertie.data.items import Table
    from bertie.tasks.task import Task

TASKS = ("classification", "tagging")
LABELS = 100
"""Sentences that each seed draws from the demo's own table."""
SAMPLES = (
    "Angela Merkel met President Obama in Berlin on Friday .",
    "Shares of Deutsche Bank fell in New York after the company said profits would be lower .",
    "Ireland beat England 13-9 in the Six Nations in Dublin .",
)
"""Texts for the demo's own model."""
_SAMPLE_CHARACTERS = 160
_HELD_OUT = 20  # every twentieth document is kept from pre-training
_MOST_HELD_OUT = 1000
_ROWS = (".jsonl", ".json", ".parquet", ".csv")  # a row is a text, or says that it is something else
_LOOKED_AT = 500  # lines that show whether each is a word with its tag


@dataclass(frozen=True, kw_only=True)
class DemoFiles:
    """What the demo reads."""

    corpus: Path
    """.jsonl of the documents to pre-train on."""
    held_out: Path | None
    """The same of others, to measure on; None where there are too few documents."""
    task: str
    criterion: str
    """Name of the score that the ways are compared by."""
    num_train: int
    """Labelled items there are to draw from."""
    dev: list[Any]
    """Items to measure on."""
    dev_table: Path
    """The same as a table."""
    draws: tuple[tuple[int, Path], ...]
    """For each seed the table of what it learns from."""
    num_labelled: int
    """Items in each of these tables."""
    samples: tuple[str, ...]
    """A few texts that nobody labelled; none where a text goes with a second one."""


def gather(
    folder: Path,
    corpus: tuple[Path, ...],
    tables: tuple[Path, Path] | None,
    *,
    task: str | None,
    labels: int | None,
    seeds: Sequence[int],
) -> DemoFiles:
    """Read the user's files, and the embedded ones for what is not given.

    Args:
        folder: the demo's own; copies go there.
        corpus: the user's text; empty for the embedded one.
        tables: the user's labelled tables, to learn from and to measure on; None for the embedded ones.
        task: of the tables; found by their form when None.
        labels: items that each seed draws; when None all of the user's, and `LABELS` of the embedded ones.
        seeds: of the draws.

    Raises:
        SettingsError: files or packages that aren't there, or more labels than there are.
        DataError: files that can't be used.
    """
    if task is not None and task not in TASKS:
        raise SettingsError(f"--task {task}: the demo knows {' and '.join(TASKS)}")
    given = _tables(tables, task) if tables is not None else None  # a wrong file is told before the text is copied
    if not corpus or given is None:
        from bertie.data.embedded import write_demo_text

        text = write_demo_text(folder / "text")
        if given is None:
            given = _tables((text.train, text.dev), "tagging")
            labels = LABELS if labels is None else labels
        corpus = corpus or (text.corpus,)
    kind, train, dev = given
    count = len(train.items) if labels is None else labels
    if not 1 <= count <= len(train.items):
        raise SettingsError(f"--labels {count}: {train.path} has {len(train.items):,} labelled items")
    from bertie.data.items import part

    drawn = folder / "drawn"
    reading, held_out, samples = _hold_out(corpus, folder)
    return DemoFiles(
        corpus=reading,
        held_out=held_out,
        task=kind.name,
        criterion=str(kind.criterion),
        num_train=len(train.items),
        dev=dev.items,
        dev_table=_write(dev.items, drawn / "dev.jsonl"),
        draws=tuple((seed, _write(part(train.items, count, seed=seed), drawn / f"{seed}.jsonl")) for seed in seeds),
        num_labelled=count,
        samples=SAMPLES if tables is None else () if _has_pairs(train.items) else samples,
    )


def _tables(paths: tuple[Path, Path], task: str | None) -> tuple[type[Task], Table[Any], Table[Any]]:
    """Read both tables, and find the task out where it isn't said: words with tags, or texts with labels."""
    from bertie.tasks.task import read_items, task_class

    name = task or _task_of(paths[0])
    kind: type[Task] = task_class(name)
    train = read_items(kind, paths[0], labelled=True)
    dev = read_items(kind, paths[1], labelled=True, like=train.reading)
    for table in (train, dev):
        if name == "classification" and any(isinstance(item.label, tuple) for item in table.items):
            raise DataError(
                f"{table.path} has texts with several labels, and the demo compares single ones; learn from it with: "
                f"bertie finetune MODEL --train {table.path} --out OUT"
            )
    return kind, train, dev


def _task_of(path: Path) -> str:
    """Tell a table with a tagged word a line from one of labelled texts; other forms of tagged words need --task."""
    from bertie.data.conll import is_tagged
    from bertie.files.compression import format_suffix
    from bertie.files.text import open_text

    if format_suffix(path) in _ROWS:
        return "classification"
    with open_text(path) as stream:
        lines = [line.rstrip("\n") for line in islice(stream, _LOOKED_AT)]
    return "tagging" if is_tagged(lines) else "classification"


def _write(items: Sequence[Any], path: Path) -> Path:
    """Write items as a table of their own, in one form whatever they were read from."""
    from bertie.data.items import row
    from bertie.files.atomic import write_text

    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(row(item)) + "\n" for item in items))
    return path


def _has_pairs(items: Sequence[Any]) -> bool:
    return any(getattr(item, "pair", None) is not None for item in items)


def _hold_out(corpus: tuple[Path, ...], folder: Path) -> tuple[Path, Path | None, tuple[str, ...]]:
    """Copy the documents into two files, one of which pre-training never reads.

    Returns:
        Both files, the second None where there are too few documents; and the beginnings of some documents.
    """
    from bertie.corpus.documents import read_documents

    reading, held_out = folder / "text" / "reading.jsonl", folder / "text" / "held-out.jsonl"
    reading.parent.mkdir(parents=True, exist_ok=True)
    count, kept, apart = 0, 0, False
    samples: list[str] = []
    with reading.open("w", encoding="utf-8") as some, held_out.open("w", encoding="utf-8") as others:
        for document in read_documents(corpus):
            if not document.continues:  # a further part goes where the first one went
                count += 1
                apart = count % _HELD_OUT == 0 and kept < _MOST_HELD_OUT
                kept += apart
                if len(samples) < len(SAMPLES):
                    samples.append(shorten(document.paragraphs[0], _SAMPLE_CHARACTERS))
            line = json.dumps({"text": "\n\n".join(document.paragraphs)})
            (others if apart else some).write(line + "\n")
    if kept:
        return reading, held_out, tuple(samples)
    held_out.unlink()
    return reading, None, tuple(samples)
