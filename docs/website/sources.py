"""Pages that show source files, for links to them. Sphinx doesn't make them, and the search leaves them out."""

import html
import json
import os
import shutil
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer, get_lexer_for_filename
from pygments.util import ClassNotFound

_ROOT = Path(__file__).parents[2]
_STYLES = {"light": "friendly", "dark": "github-dark"}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{path}</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 0.85rem/1.5 ui-monospace, monospace; margin: 1.5rem; }}
pre {{ overflow-x: auto; }}
.linenos {{ opacity: 0.5; padding-right: 1rem; user-select: none; }}
.linenos a {{ color: inherit; text-decoration: none; }}
{light}
@media (prefers-color-scheme: dark) {{
{dark}
}}
</style>
</head>
<body>
<p><a href="{home}">bertie</a> · {path}</p>
{code}
</body>
</html>
"""


def place(path: str) -> str:
    """Return the place in the site of a source file, or of the page that shows it."""
    return f"source/{path}" if _is_opened_as_it_is(path) else f"source/{path}.html"


def _is_opened_as_it_is(path: str) -> bool:
    """Return whether a browser shows the file itself, or can only store it."""
    return path.endswith((".html", ".pdf", ".zip", ".gz", ".safetensors"))


def write(site: Path, path: str) -> None:
    """Write the page for a source file.

    Args:
        site: folder of the site.
        path: the file, as a path in the repository.
    """
    target = site / place(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if _is_opened_as_it_is(path):
        shutil.copyfile(_ROOT / path, target)
        return
    text = (_ROOT / path).read_text(encoding="utf-8")
    styles = {name: HtmlFormatter(style=style).get_style_defs("body, .highlight") for name, style in _STYLES.items()}
    home = os.path.relpath(site / "index.html", target.parent)
    page = _PAGE.format(path=html.escape(path), home=home, code=_code(path, text), **styles)
    target.write_text(page, encoding="utf-8")


def _code(path: str, text: str) -> str:
    """Return a file as HTML with a number and an anchor, L1 and so on, at each line; a notebook as its cells."""
    if path.endswith(".ipynb"):
        cells = ((cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"])
        python = PythonLexer()
        return "\n".join(
            highlight(source, python, HtmlFormatter()) if kind == "code" else f"<pre>{html.escape(source)}</pre>"
            for kind, source in cells
        )
    try:
        lexer = get_lexer_for_filename(path)
    except ClassNotFound:
        return f"<pre>{html.escape(text)}</pre>"
    return str(highlight(text, lexer, HtmlFormatter(linenos="inline", lineanchors="L", anchorlinenos=True)))
