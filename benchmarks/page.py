"""Fill the part of a hand-written page that lies between two markers."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path


def filled(page: str, body: str, script: str, name: str) -> str:
    """Return the page with `body` between the markers of a script.

    Args:
        page: the text of the page.
        body: the text to insert.
        script: path of the script that draws it, such as docs/studies.py; the markers name it.
        name: the page's name, for messages.

    Raises:
        SystemExit: the page has no markers.
    """
    opening, closing = f"<!-- begin: drawn by {script} -->", f"<!-- end: drawn by {script} -->"
    before, begin, rest = page.partition(opening)
    _, end, after = rest.partition(closing)
    if not begin or not end:
        sys.exit(f"{name} has no markers for {script}: write {opening} and {closing} into it")
    return f"{before}{opening}\n\n{body}\n\n{closing}{after}"


def draw(pages: Mapping[str, Path], body: Callable[[str], str], script: str) -> None:
    """Fill a script's part of a page in every language.

    Args:
        pages: language -> path of its page.
        body: returns the text between the markers for a language.
        script: path of the script.
    """
    for language, path in pages.items():
        path.write_text(filled(path.read_text(encoding="utf-8"), body(language), script, path.name), encoding="utf-8")
