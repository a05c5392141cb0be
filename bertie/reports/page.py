"""The page around every report: one HTML file with its style inside, light and dark, for screen and paper."""

from collections.abc import Mapping, Sequence
from html import escape

STYLE = """
:root{--paper:#fbfaf8;--card:#fff;--ink:#1d2433;--soft:#667085;--line:#e6e4df;--accent:#0b6e8f;
--c0:#0b6e8f;--c1:#d9622b;--c2:#5b8c3a;--c3:#7a4ea3;--c4:#c4962c;--c5:#c2406b;--heat:11,110,143}
@media (prefers-color-scheme:dark){:root{--paper:#12151c;--card:#1a1f29;--ink:#e8eaf0;--soft:#98a2b3;--line:#2c3340;
--accent:#58b7d6;--c0:#58b7d6;--c1:#f0935f;--c2:#9ac873;--c3:#b794e0;--c4:#e0bb62;--c5:#ef87a9;--heat:88,183,214}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);line-height:1.5;
font-family:system-ui,-apple-system,"Segoe UI","Noto Sans","Noto Sans CJK SC","PingFang SC",sans-serif}
main{max-width:1120px;margin:0 auto;padding:40px 28px 64px}header p{margin:0;color:var(--soft)}
h1{font-size:30px;letter-spacing:-.02em;margin:2px 0 24px;overflow-wrap:anywhere}
h2{font-size:18px;margin:40px 0 12px;letter-spacing:-.01em}h2+p{margin:0 0 14px;color:var(--soft);max-width:74ch}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(155px,1fr));gap:12px}
.card,.chart,.panel{background:var(--card);border:1px solid var(--line);border-radius:12px}
.card{padding:14px 16px}.card b{display:block;font-size:23px;letter-spacing:-.02em;font-weight:650;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}.card span{color:var(--soft);font-size:13px}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(340px,1fr));gap:16px}
.chart{margin:0;padding:14px 16px 8px}.chart.wide{max-width:820px}.chart svg{display:block;width:100%;height:auto}
figcaption{font-weight:600;font-size:14px;display:flex;flex-wrap:wrap;gap:4px 16px;justify-content:space-between}
.legend{display:flex;gap:14px;color:var(--soft);font-weight:400;font-size:13px}.legend span{white-space:nowrap}
.swatch{display:inline-block;width:12px;height:3px;border-radius:2px;margin-right:6px;vertical-align:middle}
.grid{stroke:var(--line)}.tick{fill:var(--soft);font-size:11px}.name{fill:var(--ink);font-size:14px}
.line{fill:none;stroke-width:1.8;stroke-linejoin:round}.span{stroke-width:4;opacity:.3;stroke-linecap:round}
.mean{stroke:var(--ink);stroke-width:2}
.c0{stroke:var(--c0)}.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}.c3{stroke:var(--c3)}.c4{stroke:var(--c4)}.c5{stroke:var(--c5)}
circle.c0{fill:var(--c0)}circle.c1{fill:var(--c1)}circle.c2{fill:var(--c2)}circle.c3{fill:var(--c3)}
circle.c4{fill:var(--c4)}circle.c5{fill:var(--c5)}
.swatch.c0{background:var(--c0)}.swatch.c1{background:var(--c1)}.swatch.c2{background:var(--c2)}
.swatch.c3{background:var(--c3)}.swatch.c4{background:var(--c4)}.swatch.c5{background:var(--c5)}
table{border-collapse:collapse;width:100%;font-size:14px}th,td{padding:8px 12px;text-align:left;vertical-align:top;
border-bottom:1px solid var(--line)}th{color:var(--soft);font-weight:500}td.number{text-align:right;
font-variant-numeric:tabular-nums}.panel{padding:6px 8px}.scroll{overflow-x:auto}
.heat{width:auto}.heat td{text-align:center;min-width:84px;background:rgba(var(--heat),calc(var(--share)*.55));
font-variant-numeric:tabular-nums}.heat td.right{font-weight:650}.heat small{display:block;color:var(--soft)}
.cloze{padding:14px 16px;border-bottom:1px solid var(--line)}.cloze:last-child{border:0}.cloze p{margin:0 0 8px}
.hole{border-bottom:2px solid var(--accent);font-weight:650;padding:0 4px}.guesses{display:grid;
grid-template-columns:64px 1fr;gap:4px 10px;font-size:13px;align-items:baseline}.guesses>span{color:var(--soft)}
.guess{display:inline-block;margin:0 8px 2px 0;padding:1px 8px;border-radius:20px;border:1px solid var(--line);
background:rgba(var(--heat),calc(var(--share)*.5))}.guess.hit{border-color:var(--accent);font-weight:650}
.guess small{color:var(--soft);margin-left:5px}
pre{overflow-x:auto;margin:0;padding:14px 16px;font-size:13px;font-family:ui-monospace,Menlo,Consolas,monospace}
details summary{cursor:pointer;padding:10px 8px;color:var(--soft)}.empty{color:var(--soft)}
ul.notes{margin:0;padding-left:20px;color:var(--soft)}footer{margin-top:48px;color:var(--soft);font-size:13px}
@media print{main{padding:0}.chart,.card,.panel{break-inside:avoid}}
"""


def page(title: str, kind: str, sections: Sequence[str], *, footer: str) -> str:
    """Put sections, already HTML, on a page.

    Args:
        title: heading and window title.
        kind: small line above the heading.
        sections: HTML, in order; empty ones are left out.
        footer: plain text at the end.
    """
    body = "\n".join(part for part in sections if part)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f"<header><p>{escape(kind)}</p><h1>{escape(title)}</h1></header>\n{body}\n"
        f"<footer>{escape(footer)}</footer></main></body></html>\n"
    )


def section(title: str, content: str, *, remark: str = "") -> str:
    """Return a section with a heading; nothing when there is no content."""
    if not content:
        return ""
    return f"<section><h2>{escape(title)}</h2>{f'<p>{escape(remark)}</p>' if remark else ''}{content}</section>"


def cards(values: Mapping[str, str]) -> str:
    """Return big figures with their names below."""
    inner = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span></div>' for name, value in values.items()
    )
    return f'<div class="cards">{inner}</div>' if inner else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str | float]]) -> str:
    """Return a table; numbers stand at the right, three digits behind the point."""
    if not rows:
        return ""
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
    return f'<div class="panel scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: str | float) -> str:
    if isinstance(value, str):
        return f'<td dir="auto">{escape(value)}</td>'
    return f'<td class="number">{value:,}</td>' if isinstance(value, int) else f'<td class="number">{value:.3f}</td>'
