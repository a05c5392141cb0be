"""The contract of ``commands/``: what a command function looks like and what it returns.

A command is a function named as its file, with typed parameters and a Google docstring::

    def show(path: Positional[Path]) -> Report: ...

It raises only errors from ``bertie.errors`` for what the user can change, writes progress to stderr through
``bertie.progress``, prints nothing on stdout, and returns a ``Report``. Printing is the work of ``bertie.cli``.
A parameter is a str, int, float, bool, Path, a Literal, a tuple of these, any of them ``| None`` with None as default,
or a frozen dataclass of such fields with a default; one that is typed without its name may be a str or such a
dataclass, ``MODEL`` or ``--model.size 4/256``. The names config, json and quiet belong to the command line.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

# Wide enough that a file or a pipe gets one row per line.
UNBOUNDED_WIDTH = 100_000


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a command found or made. Commands may subclass it to add properties, such as ``scores``."""

    title: str
    """One line above the table."""

    values: dict[str, Any] = field(default_factory=dict)
    """Figures that JSON can hold; lists of dictionaries become tables of their own. ``--json`` prints exactly these."""

    next_command: str | None = None
    """The command to type next, printed on stderr; None when there is no natural one."""

    text: str | None = None
    """Printed in place of the tables when set; ``--json`` doesn't look at it."""

    exit_code: int = 0
    """What the program ends with after printing; 3 where the report itself says that the data can't be used."""

    def as_dict(self) -> dict[str, Any]:
        """Return the figures, ready for JSON."""
        return self.values

    def as_table(self) -> dict[str, Any]:
        """Return what the tables show, by row name.

        Left out are remarks, which were said as warnings, and means that stand beside their spread.
        """
        hidden = {"remarks", *(["scores"] if "over_seeds" in self.values else [])}
        return {name: value for name, value in self.values.items() if name not in hidden}

    def as_json(self) -> str:
        """Write the figures as one line of JSON; what is no finite number becomes null."""
        return json.dumps(_jsonable(self.as_dict()), ensure_ascii=False, allow_nan=False)

    def as_text(self, width: int = UNBOUNDED_WIDTH) -> str:
        """Lay out what a person reads: the title, a table of figures, and a table for each list of records.

        Args:
            width: columns to stay within.
        """
        from rich.console import Console

        if self.text is not None:
            return self.text
        console = Console(width=width, no_color=True)
        singles, records = _split(self.as_table())
        tables = [_two_columns(singles)] if singles else []
        tables += [_table_of(name, rows) for name, rows in records.items()]
        with console.capture() as capture:
            for place, table in enumerate(tables):
                console.print(*([""] if place else []), table, sep="\n")
        lines = [self.title, *capture.get().splitlines()]
        return "\n".join(line.rstrip() for line in lines).rstrip()


def _split(values: dict[str, Any], prefix: str = "") -> tuple[dict[str, str], dict[str, list[dict[str, Any]]]]:
    """Part figures into single ones, as text, and lists of records; groups are flattened to dotted names."""
    singles: dict[str, str] = {}
    records: dict[str, list[dict[str, Any]]] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            inner_singles, inner_records = _split(value, f"{prefix}{name}.")
            singles.update(inner_singles)
            records.update(inner_records)
        elif isinstance(value, list | tuple) and value and all(isinstance(item, dict) for item in value):
            records[prefix + name] = list(value)
        else:
            singles[prefix + name] = _figure(value)
    return singles, records


def _two_columns(singles: dict[str, str]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 2))
    for name, value in singles.items():
        # Text, not str: rich would read "[MASK]" as one of its own tags.
        table.add_row(Text(name.replace("_", " ")), Text(value))
    return table


def _table_of(name: str, rows: list[dict[str, Any]]) -> "Table":
    from rich.box import SIMPLE
    from rich.table import Table
    from rich.text import Text

    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = Table(box=SIMPLE, show_edge=False, title=Text(name.replace("_", " ")), title_justify="left")
    for column in columns:
        numeric = all(isinstance(row.get(column), int | float | None) for row in rows)
        table.add_column(Text(column.replace("_", " ")), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(Text(_figure(row[column]) if column in row else "") for column in columns))
    return table


def _figure(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        small = value != 0 and abs(value) < 1e-3
        return f"{value:.3g}" if small else f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4f}"
    if isinstance(value, list | tuple):
        return ", ".join(_figure(item) for item in value)
    return str(value)


def _jsonable(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(name): _jsonable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # an array or a number of numpy's
        return _jsonable(value.tolist())
    return value
