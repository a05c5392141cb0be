"""A page that people write and scripts fill: what stands between two markers is drawn anew."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path


def filled(page: str, body: str, script: str, name: str) -> str:
    """Return the page called `name`, with `body` between the markers of the script (docs/studies.py) that draws it.

    Raises:
        SystemExit: the page has lost its markers.
    """
    opening, closing = f"<!-- begin: drawn by {script} -->", f"<!-- end: drawn by {script} -->"
    before, begin, rest = page.partition(opening)
    _, end, after = rest.partition(closing)
    if not begin or not end:
        sys.exit(f"{name} has no place for what {script} draws: write {opening} and {closing} into it")
    return f"{before}{opening}\n\n{body}\n\n{closing}{after}"


def draw(pages: Mapping[str, Path], body: Callable[[str], str], script: str) -> None:
    """Draw a script's part of the same page in every language.

    Args:
        pages: language -> its page.
        body: what stands between the markers, by language.
        script: that draws it.
    """
    for language, path in pages.items():
        path.write_text(filled(path.read_text(encoding="utf-8"), body(language), script, path.name), encoding="utf-8")
