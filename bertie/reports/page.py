"""Build the HTML page around every report, and the elements that several reports share."""

import re
from collections.abc import Mapping, Sequence

from bertie.reports.figures import percent
from bertie.reports.style import STYLE
from bertie.reports.text import safe

# The browser may load no file and run no script, whatever text a page shows.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_LONGEST = 1500  # characters shown of a text in a table; a text may have a million


def page(title: str, kind: str, parts: Sequence[str], *, footer: str) -> str:
    """Build a self-contained page from HTML parts.

    Args:
        title: heading and window title.
        kind: small line above the heading.
        parts: HTML, in order; empty ones are left out. Those with a heading get a link at the top.
        footer: plain text at the end.
    """
    anchors: dict[str, str] = {}

    def add_anchor(match: re.Match[str]) -> str:
        anchor = base = re.sub(r"\W+", "-", match[1].lower()).strip("-") or "part"
        while anchor in anchors:
            anchor = f"{base}-{len(anchors)}"
        anchors[anchor] = match[1]
        return f'<section id="{anchor}"><h2>{match[1]}</h2>'

    # User text is escaped, so this pattern matches only sections built here.
    body = re.sub("<section><h2>([^<]*)</h2>", add_anchor, "\n".join(part for part in parts if part))
    links = "".join(f'<a href="#{anchor}">{heading}</a>' for anchor, heading in anchors.items())
    menu = f'<nav aria-label="On this page">{links}</nav>' if len(anchors) > 1 else ""
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
    """Return a section with a heading; empty if there is no content.

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
    """Return large figures: for each its name, value and a small remark, all plain text."""
    inner = "".join(
        f'<div class="card"><h3>{safe(name)}</h3><b>{safe(value)}</b><small>{safe(remark)}</small></div>'
        for name, value, remark in values
    )
    return f'<div class="cards">{inner}</div>' if inner else ""


def facts(values: Mapping[str, str]) -> str:
    """Return small figures in a line, all plain text."""
    inner = "".join(f"<div><dt>{safe(name)}</dt><dd>{safe(value)}</dd></div>" for name, value in values.items())
    return f'<dl class="facts">{inner}</dl>' if inner else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[int] = ()) -> str:
    """Return a table; empty if it has no rows.

    Args:
        head: names of the columns, plain text.
        rows: cells, HTML.
        numbers: columns to align right.
    """
    if not rows:
        return ""
    styles = [' class="number"' if column in numbers else "" for column in range(len(head))]
    top = "".join(f'<th scope="col"{style}>{safe(name)}</th>' for style, name in zip(styles, head, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{style}>{cell}</td>" for style, cell in zip(styles, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="panel scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def meter(share: float) -> str:
    """Return a share of one as a bar and in percent."""
    width = 100 * min(1.0, max(0.0, share)) if share == share else 0.0  # NaN counts as 0
    return f'<span class="meter"><i><i style="width:{width:.1f}%"></i></i>{safe(percent(share))}</span>'


def folded(title: str, content: str) -> str:
    """Return collapsed HTML that a click on its title opens."""
    return f'<details class="panel"><summary>{safe(title)}</summary>{content}</details>'


def chip(label: str, *, wrong: bool = False) -> str:
    """Return a label in a frame; an empty label, as of an item without any label, is shown as "none"."""
    shown = safe(label) if label.strip() else "<i>none</i>"
    return f'<bdi class="chip{" wrong" if wrong else ""}">{shown}</bdi>'


def text(of: str) -> str:
    """Return a user's text in its own writing direction; a very long one is cut."""
    shown = of if len(of) <= _LONGEST else f"{of[:_LONGEST]}…"
    return f'<span dir="auto" class="said">{safe(shown)}</span>'
