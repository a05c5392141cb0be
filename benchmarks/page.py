"""A page that people write and scripts fill: what stands between two markers is drawn anew."""

import sys


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
