"""Files stay within 350 lines and functions within 60, here and in the package: what is longer has two subjects."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("bertie", "tests", "benchmarks", "docs", "examples")
MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 60


def python_files() -> list[Path]:
    return sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def long_functions(source: str) -> dict[str, int]:
    """Return the lines of every body that is too long, by function name.

    Signature and docstring aren't counted: a command's signature is its schema, one parameter a line, and its
    docstring is its help.
    """
    functions = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    lengths = {}
    for node in functions:
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        if body:
            lengths[node.name] = (node.end_lineno or node.lineno) - body[0].lineno + 1
    return {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES}


def test_the_measure_itself() -> None:
    body = "\n".join("    pass" for _ in range(MAX_FUNCTION_LINES + 1))
    assert long_functions(f'def long(\n    a,\n):\n    """Help."""\n{body}\n') == {"long": MAX_FUNCTION_LINES + 1}
    assert long_functions("def short():\n    pass\n") == {}


def test_files() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert len(lengths) > 10
    too_long = {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > MAX_FILE_LINES}
    assert too_long == {}


def test_functions() -> None:
    found = {str(path.relative_to(ROOT)): long_functions(path.read_text(encoding="utf-8")) for path in python_files()}
    assert {path: functions for path, functions in found.items() if functions} == {}
