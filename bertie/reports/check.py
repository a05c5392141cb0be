"""Format the results of a data check for the terminal: findings, label counts, and items as the model will see them.

`corpus.advice` and the surveys in `data/` decide what to report.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

from bertie.findings import Finding

_BAR = 24  # columns of the most frequent label's bar
_SHOWN_LABELS = 20
_SHOWN_CHARACTERS = 400  # of an example


def finding(found: Finding, width: int) -> str:
    """Format a finding: severity, problem, where it occurs, and remedy."""
    lines = [
        f"{found.severity}: {found.what}",
        *([found.where] if found.where and found.where not in found.what else []),
    ]
    if found.remedy:
        lines.append(f"-> {found.remedy}")
    wrapped = [textwrap.fill(line, width, subsequent_indent="    ", break_on_hyphens=False) for line in lines]
    return "\n  ".join(wrapped)


def bars(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the most frequent labels as rows, each with a bar."""
    largest = max((row["share"] for row in rows), default=1.0)
    shown = [
        {
            "label": row["label"],
            "items": row["items"],
            "share": f"{row['share']:.1%}",
            "": "█" * round(_BAR * row["share"] / largest),
        }
        for row in rows[:_SHOWN_LABELS]
    ]
    return [*shown, {"label": f"and {len(rows) - _SHOWN_LABELS} more"}] if len(rows) > _SHOWN_LABELS else shown


def example(row: dict[str, Any], width: int) -> str:
    """Format an item as the model will see it."""
    texts = row["pieces"] if "pieces" in row else [row["text"]]
    name = f"line {row['line']}" if isinstance(row["line"], int) else row["line"]
    head = f"{name}: {row['label']}"
    if row.get("cut"):
        head += f" ({row['cut']:,} pieces cut{': ' + row['lost'] + '...' if row.get('lost') else ''})"
    if row.get("sequences", 1) > len(texts):
        head += f" (the first {len(texts)} of {row['sequences']} sequences)"
    indent = "    "
    bodies = [
        textwrap.fill(shortened, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)
        for text in texts
        if (shortened := text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}...")
    ]
    return "\n".join([textwrap.shorten(head, width, placeholder="..."), *bodies])
