"""Lay out the pages for Sphinx: docs/ and the pages of the root, with their links, and the generated pages.

A page is written for GitHub, so its links are paths in the repository. Here they become paths in the site. A link to a
source file leads to a page that shows the file.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from docs.website import commands, menu, python, settings

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
_LANGUAGES = {".py": "python", ".pyi": "python", ".toml": "toml", ".cff": "yaml", ".json": "json"}
_LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?(?=[)\s])")
_FENCE = re.compile(r"^\s*(`{3,}|~{3,})")


def stage(target: Path) -> None:
    """Write all pages of the site and their pictures.

    Args:
        target: the folder; what was in it is removed.

    Raises:
        SystemExit: a page has a link to a file that doesn't exist.
    """
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(_DOCS / "images", target / "images")
    written: dict[str, str] = {}
    sources: set[str] = set()
    for file in _pages():
        name = _place(file.relative_to(ROOT).as_posix())
        text = "".join(_linked(file, name, sources))
        written[name] = re.sub(r"\A# bertie$", f"# {_OVERVIEWS[name]}", text, flags=re.M) if name in _OVERVIEWS else text
    for generator in (commands, settings, python):
        written |= generator.pages()
    for file in sorted(_OWN.glob("*.md")):
        written[file.name] = file.read_text(encoding="utf-8").replace("<!-- menu -->", menu.tables(file.name, written))
    for path in sorted(sources):
        written[f"source/{path}.md"] = _source_page(path)
    for name, text in written.items():
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")


def _pages() -> Iterator[Path]:
    """Yield the Markdown files that become pages."""
    own = _OWN.parent
    yield from (file for file in sorted(_DOCS.rglob("*.md")) if own not in file.parents)
    yield from (ROOT / name for name in _FROM_ROOT)


def _place(path: str) -> str:
    """Return the place of a file of the repository in the site."""
    if path in _FROM_ROOT:
        return _FROM_ROOT[path]
    if path.startswith("docs/") and not path.endswith(".py"):
        return path.removeprefix("docs/")
    return f"source/{path}.md"


def _linked(file: Path, name: str, sources: set[str]) -> Iterator[str]:
    """Yield the lines of a page with links for the site, and collect the source files that it links to."""

    def replace(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(file.parent / match[1]))
        if not target.exists():
            raise SystemExit(f"{file.relative_to(ROOT)}: the link to {match[1]} leads nowhere")
        target = target / "__init__.py" if target.is_dir() else target
        path = target.relative_to(ROOT).as_posix()
        place = _place(path)
        if place.startswith("source/"):
            sources.add(path)
        return os.path.relpath(place, Path(name).parent) + (match[2] or "")

    fence = ""
    for line in file.read_text(encoding="utf-8").splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence:
            fence = "" if mark and mark[1].startswith(fence) else fence
            yield line
        else:
            fence = mark[1] if mark else ""
            yield line if mark else _LINK.sub(replace, line)


def _source_page(path: str) -> str:
    """Return a page that shows a source file, or the cells of a notebook. The search leaves these pages out."""
    file = ROOT / path
    text = file.read_text(encoding="utf-8")
    head = f"---\norphan: true\nnosearch: true\n---\n\n# {path}\n\n"
    if file.suffix == ".ipynb":
        cells = ((cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"])
        return head + "\n\n".join(_fenced(source, "python") if kind == "code" else source for kind, source in cells)
    return head + _fenced(text, _LANGUAGES.get(file.suffix, "text"))


def _fenced(text: str, language: str) -> str:
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}\n"
