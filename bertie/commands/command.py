"""The contract of ``commands/``: the form of a command function and of its report.

A command is a function named as its file, with typed parameters and a Google docstring::

    def show(path: Positional[Path]) -> Report: ...

It raises only errors from ``bertie.errors`` for problems that the user can solve, writes progress to stderr through
``bertie.progress``, prints nothing on stdout, and returns a ``Report``, which ``bertie.cli`` prints.

A parameter is a str, int, float, bool, Path, a Literal, a tuple of these, any of them ``| None`` with the default None,
or a frozen dataclass of such fields with a default. A positional parameter may be a str or such a dataclass, ``MODEL``
or ``--model.size 4/256``. The names config, json and quiet are reserved for the command line.
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
    """The result of a command. Commands may subclass it to add properties, such as ``scores``."""

    title: str
    """One line above the table."""

    values: dict[str, Any] = field(default_factory=dict)
    """Figures that JSON can hold; a list of dictionaries becomes a table. ``--json`` prints exactly these."""

    next_command: str | None = None
    """The command to type next, printed on stderr; None if there is no obvious one."""

    text: str | None = None
    """Printed instead of the tables if set; ``--json`` ignores it."""

    exit_code: int = 0
    """The program's exit code after printing; 3 if the report says that the data can't be used."""

    def as_dict(self) -> dict[str, Any]:
        """Return the figures for JSON."""
        return self.values

    def as_table(self) -> dict[str, Any]:
        """Return the values that the tables show, by row name.

        Remarks are left out, because they were printed as warnings, and means if the table of their spread is shown.
        """
        hidden = {"remarks", *(["scores"] if "over_seeds" in self.values else [])}
        return {name: value for name, value in self.values.items() if name not in hidden}

    def as_json(self) -> str:
        """Return the figures as one line of JSON; infinities and NaN become null."""
        return json.dumps(_jsonable(self.as_dict()), ensure_ascii=False, allow_nan=False)

    def as_text(self, width: int = UNBOUNDED_WIDTH) -> str:
        """Return the report as text: the title, a table of figures, and a table for each list of records.

        Args:
            width: the largest number of columns.
        """
        from rich.console import Console

        if self.text is not None:
            return self.text
        console = Console(width=width, no_color=True)
        singles, records = _split(self.as_table())
        tables = [_two_columns(singles)] if singles else []
        tables += [_table_of(name, rows) for name, rows in records.items()]
        with console.capture() as capture:
            for index, table in enumerate(tables):
                console.print(*([""] if index else []), table, sep="\n")
        lines = [self.title, *capture.get().splitlines()]
        return "\n".join(line.rstrip() for line in lines).rstrip()

    def _repr_html_(self) -> str:
        """Return the report as a notebook shows it: the figures, the loss over a run, a link to the run's page."""
        from bertie.tasks import _html

        parts = [f"<b>{_html.safe(self.title)}</b>"]
        if self.text is not None:
            return f'{parts[0]}<pre style="background:none">{_html.safe(self.text)}</pre>'
        singles, records = _split(self.as_table())
        page = singles.pop("report", "")
        named = {name.replace("_", " "): value for name, value in singles.items()}
        parts += [_loss_curve(self.values), _html.figures(named)]
        for name, rows in records.items():
            parts += [f"<div>{_html.safe(name.replace('_', ' '))}</div>", _html.table_of(rows)]
        if page.endswith(".html"):
            parts.append(f'<a href="{_html.safe(page)}" target="_blank">{_html.safe(page)}</a>')
        return "".join(parts)


def _loss_curve(values: dict[str, Any]) -> str:
    """Return the training loss of a run that has just ended, as a small picture; empty for other reports."""
    folder = values.get("folder")
    if not isinstance(folder, str) or not (Path(folder) / "metrics.jsonl").is_file():
        return ""
    from bertie.tasks import _html
    from bertie.training.journal import read

    steps = [row for row in read(Path(folder) / "metrics.jsonl") if row.get("kind") == "train"]
    return _html.curve("training loss", [(row["step"], row["loss"]) for row in steps])


def _split(values: dict[str, Any], prefix: str = "") -> tuple[dict[str, str], dict[str, list[dict[str, Any]]]]:
    """Split figures into single ones, as text, and lists of records; groups are flattened to dotted names."""
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
        # Text, not str: rich would parse "[MASK]" as markup.
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
    if hasattr(value, "tolist"):  # a numpy array or number
        return _jsonable(value.tolist())
    return value
