"""Lay out the pages for Sphinx: docs/ and the pages of the root, with their links, and the generated pages.

A page is written for GitHub, so its links are paths in the repository. Here they become paths in the site. A link to a
source file leads to a page that shows the file.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from docs.website import commands, menu, python, settings, sources

ROOT = Path(__file__).parents[2]
_DOCS = ROOT / "docs"
_OWN = Path(__file__).parent / "pages"
_FROM_ROOT = {
    "README.md": "overview.md",
    "README.zh.md": "overview.zh.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
}
"""Pages outside docs/, and their places in the site."""
_OVERVIEWS = {"overview.md": "Overview", "overview.zh.md": "概览"}
"""Titles of the READMEs, which have the name of the whole site."""
_PICTURES = (".png", ".svg", ".jpg", ".gif", ".webp")
_ON_FRONT_PAGES = ("report.png", "playground-light.png", "playground-dark.png")
SCHEME = "built:"
"""In front of links to pages that Sphinx doesn't make; conf.py takes it away again."""
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?(?=[)\s])")
_FENCE = re.compile(r"^\s*(`{3,}|~{3,})")


def stage(target: Path) -> set[str]:
    """Write all pages of the site and their pictures.

    Args:
        target: the folder; what was in it is removed.

    Returns:
        The source files that pages link to, as paths in the repository.

    Raises:
        SystemExit: a page has a link to a file that doesn't exist.
    """
    shutil.rmtree(target, ignore_errors=True)
    written: dict[str, str] = {}
    shown: set[str] = set()
    pictures: set[str] = set()
    for file in _pages():
        name = _place(file.relative_to(ROOT).as_posix())
        text = "".join(_linked(file, name, shown, pictures))
        written[name] = (
            re.sub(r"\A# bertie$", f"# {_OVERVIEWS[name]}", text, flags=re.M) if name in _OVERVIEWS else text
        )
    for generator in (commands, settings, python):
        written |= generator.pages()
    for file in sorted(_OWN.glob("*.md")):
        written[file.name] = file.read_text(encoding="utf-8").replace("<!-- menu -->", menu.tables(file.name, written))
    pictures |= {f"docs/images/{name}" for name in _ON_FRONT_PAGES}
    for path in pictures:
        place = target / _place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, place)
    for name, text in written.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    return shown


def _pages() -> Iterator[Path]:
    """Yield the Markdown files that become pages."""
    own = _OWN.parent
    yield from (file for file in sorted(_DOCS.rglob("*.md")) if own not in file.parents)
    yield from (ROOT / name for name in _FROM_ROOT)


def _place(path: str) -> str:
    """Return the place of a file of the repository in the site."""
    if path in _FROM_ROOT:
        return _FROM_ROOT[path]
    if path.endswith((".md", *_PICTURES)):
        return path.removeprefix("docs/")
    return sources.place(path)


def _linked(file: Path, name: str, shown: set[str], pictures: set[str]) -> Iterator[str]:
    """Yield the lines of a page with links for the site; collect the source files and pictures that it links to."""

    def replace(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(file.parent / match[1]))
        if not target.exists():
            raise SystemExit(f"{file.relative_to(ROOT)}: the link to {match[1]} leads nowhere")
        target = target / "__init__.py" if target.is_dir() else target
        path = target.relative_to(ROOT).as_posix()
        place = _place(path)
        built = place == sources.place(path)
        if built:
            shown.add(path)
        elif path.endswith(_PICTURES):
            pictures.add(path)
        relative = os.path.relpath(place, Path(name).parent)
        return f"{SCHEME}{relative}" if built else f"{relative}{match[2] or ''}"

    fence = ""
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence:
            fence = "" if mark and mark[1].startswith(fence) else fence
            yield line
        else:
            fence = mark[1] if mark else ""
            yield line if mark else _LINK.sub(replace, line)
