"""Predict with a model: labels, fillings of [MASK], vectors, for texts from arguments, stdin or a file."""

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bertie import progress
from bertie.commands.command import UNBOUNDED_WIDTH, Report
from bertie.config import Positional
from bertie.errors import DataError, SettingsError

_MANY = 200  # texts that are worth a progress bar


@dataclass(frozen=True, kw_only=True)
class Predictions(Report):
    """What a model said; `--json` prints one object a text and a line."""

    items: Sequence[Any] = field(default_factory=tuple)
    """What it was asked."""
    predictions: Sequence[Any] = field(default_factory=tuple)
    """Its answers, in the same order."""

    def as_dict(self) -> dict[str, Any]:
        """Return every text with its prediction."""
        from bertie.inference.plain_text import record

        return {"predictions": [record(*both) for both in zip(self.items, self.predictions, strict=True)]}

    def as_json(self) -> str:
        """Write one line of JSON for each text."""
        return "\n".join(Report(title="", values=values).as_json() for values in self.as_dict()["predictions"])

    def as_text(self, width: int = UNBOUNDED_WIDTH) -> str:
        """Lay the predictions out as their form asks for."""
        from bertie.inference.plain_text import show

        return show(self.items, self.predictions, width)


def predict(
    model: Positional[str],
    texts: Positional[tuple[str, ...]] = (),
    *,
    pair: tuple[str, ...] = (),
    file: Path | None = None,
    columns: dict[str, str] | None = None,
    task: str | None = None,
    top_k: int | None = None,
    length: int | None = None,
    truncation: Literal["truncate", "error"] | None = None,
    batch_tokens: int = 8192,
    device: str = "auto",
    threads: int | None = None,
) -> Predictions:
    """Predict with a model: labels, fillings of [MASK], vectors, for texts from arguments, stdin or a file.

    Without texts and file, standard input is read, one text a line; a tab parts the two texts of a pair.

    Args:
        model: model folder or hub id.
        texts: texts to predict for; a tab parts the two texts of a pair.
        pair: second texts, one for each text.
        file: .txt (one text a line), .tsv, .csv, .jsonl or .parquet to read the texts from.
        columns: what the columns of the file hold, such as text=body,pair=title; found out when not given.
        task: what to do with the model; what it was made for when not given.
        top_k: guesses for each [MASK].
        length: tokens of the longest text; what the model brings when not given.
        truncation: cut longer texts, or stop at them (error); what the model brings when not given.
        batch_tokens: tokens of a batch at most; fewer need less memory.
        device: auto, cpu, cuda.
        threads: CPU threads; all cores when not given.

    Returns:
        One prediction a text, in their order.
    """
    from bertie.inference.predictor import load

    items = _items(texts, pair, file, columns)
    wishes = {"top_k": top_k, "max_length": length, "truncation": truncation}
    settings = {name: value for name, value in wishes.items() if value is not None}
    predictor = load(model, task=task, device=device, threads=threads, max_tokens=batch_tokens, **settings)
    many = len(items) >= _MANY
    with progress.bar("Predicting", total=len(items), unit="texts") if many else nullcontext() as bar:
        predictions = predictor.predict(items, bar=bar)
    return Predictions(title=f"{predictor.task.name} by {model}", items=items, predictions=predictions)


def _items(texts: Sequence[str], pair: Sequence[str], file: Path | None, columns: dict[str, str] | None) -> list[Any]:
    """Gather the texts from where they are."""
    from bertie.data.table import read_table

    if file is not None:
        if texts or pair:
            raise SettingsError("give texts or --file, not both")
        return list(read_table(file, columns=columns).items)
    if columns is not None:
        raise SettingsError("--columns goes with --file")
    if pair:
        if len(pair) != len(texts):
            raise SettingsError(f"{len(texts)} texts and {len(pair)} second texts by --pair; give as many of both")
        return list(zip(texts, pair, strict=True))
    if not texts:
        texts = _lines_of_stdin()
    return [_parted(text, number) for number, text in enumerate(texts, 1)]


def _lines_of_stdin() -> list[str]:
    if sys.stdin is None or sys.stdin.isatty():
        raise SettingsError('no texts: give them as arguments ("a text" "another"), by --file, or on standard input')
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"standard input is not UTF-8 at byte {error.start}") from error
    if not text:
        raise DataError("standard input is empty")
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _parted(text: str, number: int) -> str | tuple[str, str]:
    """Part a pair at its tab."""
    parts = text.split("\t")
    if len(parts) > 2:
        raise DataError(f"text {number} holds {len(parts) - 1} tabs; one parts a pair, and a table is read by --file")
    return (parts[0], parts[1]) if len(parts) == 2 else text
