"""The contract of ``commands/``: what a command function looks like and what it returns.

A command is a function named as its file, with typed parameters and a Google docstring::

    def show(path: Positional[Path]) -> Report: ...

It raises only errors from ``bertie.errors`` for what the user can change, writes progress to stderr through
``bertie.progress``, prints nothing on stdout, and returns a ``Report``. Printing is the work of ``bertie.cli``.
"""

from dataclasses import dataclass, field
from typing import Any


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

    def as_dict(self) -> dict[str, Any]:
        """Return the figures, ready for JSON."""
        return self.values

    def as_table(self) -> dict[str, Any]:
        """Return what the tables show, by row name: the figures, unless a command shows fewer of them."""
        return self.values
