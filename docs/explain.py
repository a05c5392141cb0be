"""Put the lines of the tested source files into the pages of docs/explanation.

    python docs/explain.py

A page says where its code comes from, and this script writes what stands there now between the two comments:

    <!-- code: bertie/nn/block.py:Block.forward -->
    <!-- end of code -->

An object is a function, a class or a method; its docstring is left out, as the page explains it. A part of it is cut
out by words of its first and its last line: `bertie/nn/heads.py:Pooler.forward from "return" to "return"`. Lines are
found by names and words, never by numbers, so that a page goes stale only when what it shows has changed.
"""

import ast
import re
import sys
import textwrap
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "explanation"
END = "<!-- end of code -->"
_BLOCK = re.compile(r"<!-- code: (?P<said>.*?) -->\n.*?" + re.escape(END), re.DOTALL)
_SAID = re.compile(r'(?P<file>\S+\.py):(?P<name>[\w.]+)(?: from "(?P<first>.+)" to "(?P<last>.+)")?')

Definition = ast.FunctionDef | ast.ClassDef


def excerpt(said: str) -> str:
    """Return the lines that a comment names, as they stand at the margin.

    Raises:
        SystemExit: there is no such file, object or line.
    """
    match = _SAID.fullmatch(said)
    if match is None or not (ROOT / match["file"]).is_file():
        sys.exit(f'can\'t read "{said}": write FILE.py:OBJECT, or FILE.py:OBJECT from "words" to "words"')
    source = (ROOT / match["file"]).read_text(encoding="utf-8")
    found = _find(_parse(source), match["name"].split("."))
    if found is None:
        sys.exit(f"{match['file']} has no {match['name']}")
    lines = source.splitlines()
    hidden = _docstring_lines(found)
    kept = [lines[number - 1] for number in range(found.lineno, _end(found) + 1) if number not in hidden]
    if match["first"] is not None:
        kept = _between(kept, match["first"], match["last"], said)
    return textwrap.dedent("\n".join(kept)).strip("\n")


_parse = lru_cache(ast.parse)  # pages show the same few files again and again


def _find(tree: ast.Module, names: list[str]) -> Definition | None:
    """Walk down to an object."""
    body: list[ast.stmt] = tree.body
    found = None
    for name in names:
        found = next((node for node in body if isinstance(node, Definition) and node.name == name), None)
        if found is None:
            return None
        body = found.body
    return found


def _end(node: ast.stmt) -> int:
    assert node.end_lineno is not None
    return node.end_lineno


def _docstring_lines(found: Definition) -> set[int]:
    """Return the numbers of the lines that the docstring takes, and of empty ones after it."""
    if ast.get_docstring(found) is None:
        return set()
    after = found.body[1].lineno if len(found.body) > 1 else _end(found.body[0]) + 1
    return set(range(found.body[0].lineno, max(_end(found.body[0]) + 1, after)))


def _between(lines: list[str], first: str, last: str, said: str) -> list[str]:
    """Cut out the lines from one that holds `first` to the next that holds `last`."""
    start = next((place for place, line in enumerate(lines) if first in line), None)
    if start is None:
        sys.exit(f"no line holds {first!r}: {said}")
    stop = next((place for place in range(start, len(lines)) if last in lines[place]), None)
    if stop is None:
        sys.exit(f"no line from there on holds {last!r}: {said}")
    return lines[start : stop + 1]


def drawn(page: str) -> str:
    """Return a page with all its code drawn anew.

    Raises:
        SystemExit: a comment that opens code and no other that closes it, or code that isn't there.
    """
    if page.count("<!-- code: ") != page.count(END) or len(_BLOCK.findall(page)) != page.count(END):
        sys.exit(f"every <!-- code: ... --> needs an {END}")
    return _BLOCK.sub(_block, page)


def _block(match: re.Match[str]) -> str:
    said = match["said"]
    code = excerpt(said)
    file, name = said.split(" ")[0].split(":")
    return f"<!-- code: {said} -->\n[{file}](../../{file}) · `{name}`\n\n```python\n{code}\n```\n{END}"


def main() -> None:
    """Draw every page."""
    for path in sorted(PAGES.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        new = drawn(page)
        if new != page:
            path.write_text(new, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: drawn anew")


if __name__ == "__main__":
    main()
