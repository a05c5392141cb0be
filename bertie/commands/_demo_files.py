"""What the demo reads and measures on: text, and labelled items for each seed."""

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
    from bertie.data.embedded import Language
    from bertie.data.items import Table
    from bertie.tasks.task import Task

TASKS = ("classification", "tagging")
LABELS = 100
"""Sentences that each seed draws from the demo's own table."""
SAMPLES: dict[Language, tuple[str, ...]] = {
    "en": (
        "Angela Merkel met President Obama in Berlin on Friday .",
        "Shares of Deutsche Bank fell in New York after the company said profits would be lower .",
        "Ireland beat England 13-9 in the Six Nations in Dublin .",
    ),
    "zh": (
        "新华社记者李明从上海报道，今年的外贸出口增长了百分之八。",
        "德国总理默克尔星期五抵达北京，开始对中国进行访问。",
        "农业部部长张志强在武汉会见了湖北省的农民代表。",
    ),
}
"""Texts for the demo's own model."""
_NUM_SAMPLES = 3  # of a user's own text
_SAMPLE_COLUMNS = 160
_ROWS = (".jsonl", ".json", ".parquet", ".csv")  # a row is a text, or says that it is something else
_LOOKED_AT = 500  # lines that show whether each is a word with its tag


@dataclass(frozen=True, kw_only=True)
class DemoFiles:
    """What the demo reads."""

    corpus: tuple[Path, ...]
    """Text to pre-train on; of its documents a share is held out."""
    language: Language
    """Of the demo's own text."""
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
    language: Language = "en",
) -> DemoFiles:
    """Read the user's files, and the embedded ones for what is not given.

    Args:
        folder: the demo's own; copies go there.
        corpus: the user's text; empty for the embedded one.
        tables: the user's labelled tables, to learn from and to measure on; None for the embedded ones.
        task: of the tables; found by their form when None.
        labels: items that each seed draws; when None all of the user's, and `LABELS` of the embedded ones.
        seeds: of the draws.
        language: of the embedded files.

    Raises:
        SettingsError: files or packages that aren't there, or more labels than there are.
        DataError: files that can't be used.
    """
    if task is not None and task not in TASKS:
        raise SettingsError(f"--task {task}: the demo knows {' and '.join(TASKS)}")
    given = _tables(tables, task) if tables is not None else None  # a wrong file is told before the text is copied
    if not corpus or given is None:
        from bertie.data.embedded import write_demo_text

        text = write_demo_text(folder / "text", language)
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
    return DemoFiles(
        corpus=corpus,
        language=language,
        task=kind.name,
        criterion=str(kind.criterion),
        num_train=len(train.items),
        dev=dev.items,
        dev_table=write_items(dev.items, drawn / "dev.jsonl"),
        draws=tuple(
            (seed, write_items(part(train.items, count, seed=seed), drawn / f"{seed}.jsonl")) for seed in seeds
        ),
        num_labelled=count,
        samples=SAMPLES[language] if tables is None else () if _has_pairs(train.items) else _beginnings(corpus),
    )


def _tables(paths: tuple[Path, Path], task: str | None) -> tuple[type[Task], Table[Any], Table[Any]]:
    """Read both tables, and find the task out where it isn't said: words with tags, or texts with labels."""
    from bertie.tasks.task import read_items, task_class

    name = task or task_of(paths[0])
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


def task_of(path: Path) -> str:
    """Tell a table with a tagged word a line from one of labelled texts; other forms of tagged words need --task."""
    from bertie.data.conll import is_tagged
    from bertie.files.compression import format_suffix
    from bertie.files.text import open_text

    if format_suffix(path) in _ROWS:
        return "classification"
    with open_text(path) as stream:
        lines = [line.rstrip("\n") for line in islice(stream, _LOOKED_AT)]
    return "tagging" if is_tagged(lines) else "classification"


def write_items(items: Sequence[Any], path: Path) -> Path:
    """Write items as a table of their own, in one form whatever they were read from."""
    from bertie.data.items import row
    from bertie.files.atomic import write_text

    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(row(item)) + "\n" for item in items))
    return path


def _has_pairs(items: Sequence[Any]) -> bool:
    return any(getattr(item, "pair", None) is not None for item in items)


def _beginnings(corpus: tuple[Path, ...]) -> tuple[str, ...]:
    """Return the beginnings of the first documents."""
    from bertie.corpus.documents import read_documents

    documents = (document for document in read_documents(corpus) if not document.continues)
    return tuple(shorten(each.paragraphs[0], _SAMPLE_COLUMNS) for each in islice(documents, _NUM_SAMPLES))
