"""The page around every report, and the parts that several reports are made of. Knows no run and no model."""

import re
from collections.abc import Mapping, Sequence

from bertie.reports.figures import percent
from bertie.reports.style import STYLE
from bertie.reports.text import safe

# Nothing may be loaded and nothing may run, whatever text a page shows.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_LONGEST = 1500  # characters of a text in a table; a review may have a million


def page(title: str, kind: str, parts: Sequence[str], *, footer: str) -> str:
    """Put parts, HTML already, on a page that needs nothing but itself.

    Args:
        title: heading and window title.
        kind: small line above the heading.
        parts: HTML, in order; empty ones are left out. Those with a heading get a link at the top.
        footer: plain text at the end.
    """
    places: dict[str, str] = {}

    def name_place(found: re.Match[str]) -> str:
        place = base = re.sub(r"\W+", "-", found[1].lower()).strip("-") or "part"
        while place in places:
            place = f"{base}-{len(places)}"
        places[place] = found[1]
        return f'<section id="{place}"><h2>{found[1]}</h2>'

    # Text from outside is escaped, so that only sections of our own look like one.
    body = re.sub("<section><h2>([^<]*)</h2>", name_place, "\n".join(part for part in parts if part))
    links = "".join(f'<a href="#{place}">{heading}</a>' for place, heading in places.items())
    menu = f'<nav aria-label="On this page">{links}</nav>' if len(places) > 1 else ""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{safe(title)}</title><style>{STYLE}</style></head><body><main>"
        f'<header><div><p class="kind">{safe(kind)}</p><h1 dir="auto">{safe(title)}</h1></div>{menu}</header>\n{body}\n'
        f"<footer>{safe(footer)}</footer></main></body></html>\n"
    )


def section(title: str, content: str, *, remark: str = "") -> str:
    """Return a section with a heading; nothing when there is no content.

    Args:
        title: plain text.
        content: HTML.
        remark: plain text below the heading.
    """
    if not content:
        return ""
    below = f'<p class="remark">{safe(remark)}</p>' if remark else ""
    return f"<section><h2>{safe(title)}</h2>{below}{content}</section>"


def cards(values: Sequence[tuple[str, str, str]]) -> str:
    """Return big figures: name, value and a small remark each, plain text."""
    inner = "".join(
        f'<div class="card"><h3>{safe(name)}</h3><b>{safe(value)}</b><small>{safe(remark)}</small></div>'
        for name, value, remark in values
    )
    return f'<div class="cards">{inner}</div>' if inner else ""


def facts(values: Mapping[str, str]) -> str:
    """Return small figures in a line, plain text."""
    inner = "".join(f"<div><dt>{safe(name)}</dt><dd>{safe(value)}</dd></div>" for name, value in values.items())
    return f'<dl class="facts">{inner}</dl>' if inner else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """Return a table; nothing when it has no row.

    Args:
        head: names of the columns, plain text.
        rows: cells, HTML.
        numbers: columns that stand at the right.
    """
    if not rows:
        return ""
    kinds = [' class="number"' if column in numbers else "" for column in range(len(head))]
    top = "".join(f'<th scope="col"{kind}>{safe(name)}</th>' for kind, name in zip(kinds, head, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="panel scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def meter(share: float) -> str:
    """Return a share of one as a bar and in percent."""
    width = 100 * min(1.0, max(0.0, share)) if share == share else 0.0  # NaN has no length
    return f'<span class="meter"><i><i style="width:{width:.1f}%"></i></i>{safe(percent(share))}</span>'


def folded(title: str, content: str) -> str:
    """Return HTML behind a line that opens it."""
    return f'<details class="panel"><summary>{safe(title)}</summary>{content}</details>'


def chip(label: str, *, wrong: bool = False) -> str:
    """Return a label in a frame of its own; an empty one, such as of an item without any label, is said."""
    said = safe(label) if label.strip() else "<i>none</i>"
    return f'<bdi class="chip{" wrong" if wrong else ""}">{said}</bdi>'


def text(of: str) -> str:
    """Return a text of the user's, in its own direction; a very long one is cut."""
    shown = of if len(of) <= _LONGEST else f"{of[:_LONGEST]}…"
    return f'<span dir="auto" class="said">{safe(shown)}</span>'
