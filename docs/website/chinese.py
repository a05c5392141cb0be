"""Chinese pages: their language, and lines that join without a space."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

HAN = "\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff"
"""Chinese characters, as a range in a regular expression of Python and of JavaScript."""
_FULL_WIDTH = f"[{HAN}\\u3000-\\u303f\\uff00-\\uffef“”‘’…—]"
_BREAK = re.compile(f"(?<={_FULL_WIDTH})\\s*\\n\\s*(?={_FULL_WIDTH})")


def _is_chinese(name: str) -> bool:
    return name.endswith(".zh")


def _join(app: Sphinx, doctree: nodes.document) -> None:
    """Join lines between full-width characters, where a browser would show a line break as a space.

    The search also finds a word that the source breaks.
    """
    if not _is_chinese(app.env.docname):
        return
    for parent in list(doctree.findall(nodes.TextElement)):
        if isinstance(parent, nodes.literal_block):
            continue
        children: list[nodes.Node] = []
        for child in parent.children:
            if isinstance(child, nodes.Text) and children and isinstance(children[-1], nodes.Text):
                child = nodes.Text(children.pop() + child)
            children.append(child)
        joined = [nodes.Text(_BREAK.sub("", each)) if isinstance(each, nodes.Text) else each for each in children]
        parent.children = []
        parent.extend(joined)


def _state_language(app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: object) -> None:
    if _is_chinese(name):
        context["language"] = "zh-CN"


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register what is done to Chinese pages."""
    app.connect("doctree-read", _join)
    app.connect("html-page-context", _state_language)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
