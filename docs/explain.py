"""Copy code from the tested source files into the pages of docs/explanation.

    python docs/explain.py

A page names the source of its code in a comment. The script writes the current code between that comment and the next:

    <!-- code: bertie/nn/block.py:Block.forward -->
    <!-- end of code -->

An object is a function, a class or a method. Its docstring is left out, because the page explains it. Words of the
first and the last line select a part: `bertie/nn/heads.py:Pooler.forward from "return" to "return"`. Lines are found by
names and words, not by numbers, so that a page needs an update only if its code has changed.
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
_BLOCK = re.compile(r"<!-- code: (?P<reference>.*?) -->\n.*?" + re.escape(END), re.DOTALL)
_REFERENCE = re.compile(r'(?P<file>\S+\.py):(?P<name>[\w.]+)(?: from "(?P<first>.+)" to "(?P<last>.+)")?')

Definition = ast.FunctionDef | ast.ClassDef


def excerpt(reference: str) -> str:
    """Return the lines that a comment refers to, without their common indentation.

    Raises:
        SystemExit: there is no such file, object or line.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None or not (ROOT / match["file"]).is_file():
        sys.exit(f'can\'t read "{reference}": write FILE.py:OBJECT, or FILE.py:OBJECT from "words" to "words"')
    source = (ROOT / match["file"]).read_text(encoding="utf-8")
    definition = _find(_parse(source), match["name"].split("."))
    if definition is None:
        sys.exit(f"{match['file']} has no {match['name']}")
    lines = source.splitlines()
    hidden = _docstring_lines(definition)
    kept = [lines[number - 1] for number in range(definition.lineno, _end(definition) + 1) if number not in hidden]
    if match["first"] is not None:
        kept = _between(kept, match["first"], match["last"], reference)
    return textwrap.dedent("\n".join(kept)).strip("\n")


_parse = lru_cache(ast.parse)  # many pages show the same few files


def _find(tree: ast.Module, names: list[str]) -> Definition | None:
    """Return the definition of an object, such as ["Block", "forward"]; None if there is none."""
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


def _docstring_lines(definition: Definition) -> set[int]:
    """Return the line numbers of the docstring, and of empty lines after it."""
    if ast.get_docstring(definition) is None:
        return set()
    docstring = definition.body[0]
    after = definition.body[1].lineno if len(definition.body) > 1 else _end(docstring) + 1
    return set(range(docstring.lineno, max(_end(docstring) + 1, after)))


def _between(lines: list[str], first: str, last: str, reference: str) -> list[str]:
    """Return the lines from the first that contains `first` to the next that contains `last`."""
    start = next((number for number, line in enumerate(lines) if first in line), None)
    if start is None:
        sys.exit(f"no line contains {first!r}: {reference}")
    stop = next((number for number in range(start, len(lines)) if last in lines[number]), None)
    if stop is None:
        sys.exit(f"no line after the first one contains {last!r}: {reference}")
    return lines[start : stop + 1]


def drawn(page: str) -> str:
    """Return a page with the current code in all its blocks.

    Raises:
        SystemExit: a block has no closing comment, or its code doesn't exist.
    """
    if page.count("<!-- code: ") != page.count(END) or len(_BLOCK.findall(page)) != page.count(END):
        sys.exit(f"every <!-- code: ... --> needs an {END}")
    return _BLOCK.sub(_block, page)


def _block(match: re.Match[str]) -> str:
    reference = match["reference"]
    code = excerpt(reference)
    file, name = reference.split(" ")[0].split(":")
    return f"<!-- code: {reference} -->\n[{file}](../../{file}) · `{name}`\n\n```python\n{code}\n```\n{END}"


def main() -> None:
    """Update all pages."""
    for path in sorted(PAGES.glob("*.md")):
        page = path.read_text(encoding="utf-8")
        new = drawn(page)
        if new != page:
            path.write_text(new, encoding="utf-8")
            print(f"{path.relative_to(ROOT)}: updated")


if __name__ == "__main__":
    main()
