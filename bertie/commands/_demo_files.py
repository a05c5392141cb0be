"""The demo's input: text, labelled items for each seed, and items to measure on."""

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
    from bertie.commands._demo_text import Language
    from bertie.readers.reading import Table
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
"""Texts on which the demo shows predictions of the model trained on its own tables."""
_NUM_SAMPLES = 3  # texts shown from a user's own corpus
_SAMPLE_COLUMNS = 160
_LINES_CHECKED = 500  # lines checked for the form "word tag"


@dataclass(frozen=True, kw_only=True)
class DemoFiles:
    """The demo's input."""

    corpus: tuple[Path, ...]
    """Text to pre-train on; some of its documents are held out."""
    language: Language
    """Language of the demo's own text."""
    task: str
    criterion: str
    """Name of the score that compares the methods."""
    num_train: int
    """Number of labelled items in the whole training table."""
    dev: list[Any]
    """Items to measure on."""
    dev_table: Path
    """The same items as a table."""
    draws: tuple[tuple[int, Path], ...]
    """Each seed with the table of its drawn items."""
    num_labelled: int
    """Number of items in each of these tables."""
    samples: tuple[str, ...]
    """A few unlabelled texts; empty for pairs of texts."""


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
    """Read the user's files, and the demo's own for those not given.

    Args:
        folder: the demo's folder; copies go there.
        corpus: the user's text; empty for the demo's own.
        tables: the user's training and dev tables; None for the demo's own.
        task: the task of the tables; detected from their format when None.
        labels: number of items that each seed draws; when None, all of the user's, or `LABELS` of the demo's own.
        seeds: the seeds of the draws.
        language: the language of the demo's own files.

    Raises:
        SettingsError: files or packages are missing, or there are fewer items than `labels`.
        DataError: a file can't be used.
    """
    if task is not None and task not in TASKS:
        raise SettingsError(f"--task {task}: the demo supports only {' and '.join(TASKS)}")
    tables_read = _tables(tables, task) if tables is not None else None  # report wrong files before copying any text
    if not corpus or tables_read is None:
        from bertie.commands._demo_text import write_demo_text

        text = write_demo_text(folder / "text", language)
        if tables_read is None:
            tables_read = _tables((text.train, text.dev), "tagging")
            labels = LABELS if labels is None else labels
        corpus = corpus or (text.corpus,)
    task_type, train, dev = tables_read
    count = len(train.items) if labels is None else labels
    if not 1 <= count <= len(train.items):
        raise SettingsError(f"--labels {count}: {train.path} has {len(train.items):,} labelled items")
    from bertie.sampling.part import part

    draw_folder = folder / "drawn"
    return DemoFiles(
        corpus=corpus,
        language=language,
        task=task_type.name,
        criterion=str(task_type.criterion),
        num_train=len(train.items),
        dev=dev.items,
        dev_table=write_items(dev.items, draw_folder / "dev.jsonl"),
        draws=tuple(
            (seed, write_items(part(train.items, count, seed=seed), draw_folder / f"{seed}.jsonl")) for seed in seeds
        ),
        num_labelled=count,
        samples=SAMPLES[language] if tables is None else () if _has_pairs(train.items) else _beginnings(corpus),
    )


def _tables(paths: tuple[Path, Path], task: str | None) -> tuple[type[Task], Table[Any], Table[Any]]:
    """Read both tables; without a task, detect whether they hold words with tags or texts with labels."""
    from bertie.tasks._lookup import read_items, task_class

    name = task or task_of(paths[0])
    task_type: type[Task] = task_class(name)
    train = read_items(task_type, paths[0], labelled=True)
    dev = read_items(task_type, paths[1], labelled=True, like=train.reading)
    for table in (train, dev):
        if name == "classification" and any(isinstance(item.label, tuple) for item in table.items):
            raise DataError(
                f"{table.path} has texts with several labels, which the demo doesn't support; use: "
                f"bertie finetune MODEL --train {table.path} --out OUT"
            )
    return task_type, train, dev


def task_of(path: Path) -> str:
    """Return "tagging" for a table with a word and its tag on each line, otherwise "classification".

    Other forms of tagged words need --task.
    """
    from bertie.files.compression import format_suffix
    from bertie.files.text import open_text
    from bertie.readers.conll import is_tagged
    from bertie.tables.table import suffixes

    if format_suffix(path) in set(suffixes(vague=True)) - {".tsv"}:  # other tables have texts unless --task is given
        return "classification"
    with open_text(path) as stream:
        lines = [line.rstrip("\n") for line in islice(stream, _LINES_CHECKED)]
    return "tagging" if is_tagged(lines) else "classification"


def write_items(items: Sequence[Any], path: Path) -> Path:
    """Write items as a table in JSON Lines, whatever format they were read from."""
    from bertie.files.atomic import write_text

    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(item.row()) + "\n" for item in items))
    return path


def _has_pairs(items: Sequence[Any]) -> bool:
    return any(getattr(item, "pair", None) is not None for item in items)


def _beginnings(corpus: tuple[Path, ...]) -> tuple[str, ...]:
    """Return the beginnings of the first documents of a corpus."""
    from bertie.corpus.documents import read_documents

    documents = (document for document in read_documents(corpus) if not document.continues)
    return tuple(shorten(each.paragraphs[0], _SAMPLE_COLUMNS) for each in islice(documents, _NUM_SAMPLES))
