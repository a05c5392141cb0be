"""Search in English and Chinese, also in pages that a browser opens from disk.

Chinese has no spaces between words, so the index has all pairs of neighbouring characters, and a query is cut in the
same way. A browser doesn't let a page from disk read another one, so the texts that the results quote are in a script.
"""

import html
import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish
from sphinx.util.typing import ExtensionMetadata

from docs.website.chinese import HAN

_PART = re.compile(f"[{HAN}]+|[^\\W{HAN}]+")
_IS_HAN = re.compile(f"[{HAN}]")
_TEXTS = "_static/texts.js"


class SearchEnglishAndChinese(SearchEnglish):
    """English words by their stems, and Chinese by pairs of characters."""

    lang = "en+zh"
    language_name = "English"  # names the stemmer in the scripts
    js_splitter_code = f"""
function splitQuery(query) {{
  const parts = query.match(/[{HAN}]+|[^\\s\\p{{P}}\\p{{S}}{HAN}]+(?:_+[^\\s\\p{{P}}\\p{{S}}{HAN}]+)*/gu) || [];
  return parts.flatMap((part) => {{
    if (!/[{HAN}]/.test(part) || part.length < 3) return [part];
    return Array.from({{ length: part.length - 1 }}, (_, at) => part.slice(at, at + 2));
  }});
}}
"""

    def split(self, input: str) -> list[str]:  # noqa: A002  # the name in Sphinx
        """Return the words of a text; of Chinese, each character and each pair of neighbours."""
        words: list[str] = []
        for part in _PART.findall(input):
            words += [*part, *(part[at : at + 2] for at in range(len(part) - 1))] if _IS_HAN.match(part) else [part]
        return words


def _collect(app: Sphinx, doctree: nodes.document, name: str) -> None:
    """Keep the text of a page for the results."""
    if "nosearch" not in app.env.metadata[name]:
        app.site_texts[app.builder.get_target_uri(name)] = _text(doctree)  # type: ignore[attr-defined]


def _text(node: nodes.Node) -> str:
    """Return the text below a node as HTML, with the identifiers that results lead to, as the search expects a page."""
    if isinstance(node, nodes.raw | nodes.comment | nodes.math_block):
        return ""
    names: list[str] = []
    title = ""
    if isinstance(node, addnodes.desc):  # a flag or a name of Python: its signature has the identifier
        signature = next(iter(node.findall(addnodes.desc_signature)))
        names, title = signature["ids"], signature.astext().partition("(")[0]
    elif isinstance(node, nodes.section):
        names = node["ids"]
        if not isinstance(node.parent, nodes.document):  # the title of the page leads to the page
            title = node[node.first_child_matching_class(nodes.title) or 0].astext()
    if names:
        attributes = f'id="{html.escape(names[0])}" data-title="{html.escape(title)}"'
        return f"<section {attributes}>{''.join(map(_text, node.children))}</section>"
    apart = nodes.section | addnodes.desc | nodes.raw | nodes.comment | nodes.math_block
    if any(True for _ in node.findall(lambda each: isinstance(each, apart))):
        return "".join(map(_text, node.children))
    return f"{html.escape(node.astext())}\n"


def _write(app: Sphinx, error: Exception | None) -> None:
    if error is None:
        texts = {place: f'<div role="main">{text}</div>' for place, text in sorted(app.site_texts.items())}  # type: ignore[attr-defined]
        script = f"const SITE_TEXTS = {json.dumps(texts, ensure_ascii=False)};\n"
        (Path(app.outdir) / _TEXTS).write_text(script, encoding="utf-8")


def _page(app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Give the search page the texts."""
    if name == "search":
        app.add_js_file("texts.js")
        app.add_js_file("search_sections.js")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the language of the search, and what keeps the texts of the pages."""
    app.site_texts = {}  # type: ignore[attr-defined]
    app.add_search_language(SearchEnglishAndChinese)
    app.connect("doctree-resolved", _collect)
    app.connect("html-page-context", _page)
    app.connect("build-finished", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
