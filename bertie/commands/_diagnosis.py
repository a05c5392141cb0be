"""A line of `bertie doctor`: a fact about this installation, its state, and what to do about it."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

State = Literal["ok", "note", "problem"]
"""A problem is something broken; a note is something that is missing, limited or slower than it could be."""


@dataclass(frozen=True)
class Line:
    """A fact about the installation."""

    subject: str
    """The group of lines that it belongs to."""
    state: State
    what: str
    remedy: str = ""
    """What to do; empty if there is nothing to do."""


def listing(lines: Sequence[Line], width: int) -> str:
    """Format lines by subject; the remedy of a line is below it.

    Args:
        lines: lines of one subject follow each other.
        width: the largest number of columns.
    """
    blocks = []
    for subject, members in groupby(lines, key=lambda line: line.subject):
        rows = [subject]
        for line in members:
            rows.append(_wrapped(f"  {line.state:<9}{line.what}", width))
            if line.remedy:
                rows.append(_wrapped(f"           -> {line.remedy}", width))
        blocks.append("\n".join(rows))
    return "\n\n".join(blocks)


def _wrapped(text: str, width: int) -> str:
    indent = " " * 14 if text.lstrip().startswith("->") else " " * 11
    return textwrap.fill(
        text, width, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False, drop_whitespace=True
    )


def verdict(lines: Sequence[Line]) -> str:
    """Return a phrase that says whether something is broken."""
    counts = {state: sum(line.state == state for line in lines) for state in ("problem", "note")}
    words = [f"{count} {state}{'' if count == 1 else 's'}" for state, count in counts.items() if count]
    return f"{', '.join(words) or 'nothing to do'}{'' if counts['problem'] else '; nothing is broken'}"
