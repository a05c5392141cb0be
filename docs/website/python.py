"""Reference of the Python API: the names of the package's stub, with the docstrings of what they name.

Signatures come from `bertie/__init__.pyi`, which `docs/stub.py` writes from the commands. The source is read and not
imported, so no optional package is needed.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from bertie import config, help_texts, registry
from docs.stub import STUB
from docs.website import commands, markup

_ITEM = re.compile(r"^( {4})?\*{0,2}(\w+)(?: \(.*?\))?: *(.*)$")


class Stub:
    """The names of the stub: functions with their signatures, and classes with the modules that define them."""

    def __init__(self) -> None:
        body = ast.parse(STUB.read_text(encoding="utf-8")).body
        imported = [
            (alias, node.module or "") for node in body if isinstance(node, ast.ImportFrom) for alias in node.names
        ]
        self.loads = [node for node in body if isinstance(node, ast.FunctionDef) and node.name == "load"]
        """One for each type of prediction; the last one is the most general."""
        self.functions = {node.name: node for node in body if isinstance(node, ast.FunctionDef)}
        self.modules = {alias.name: module for alias, module in imported}
        self.exported = [alias.name for alias, _ in imported if alias.asname]
        """Classes that `bertie` has; the others are types of arguments and results."""

    def described(self, name: str, note: str = "", *, methods: bool = True) -> str:
        """Return the description of a class."""
        module = self.modules[name]
        return _class(f"{'bertie' if name in self.exported else module}.{name}", module, note, methods=methods)


def pages() -> dict[str, str]:
    """Return the page of the Python API."""
    return {"reference/python.md": "\n\n".join(_page())}


def _page() -> Iterator[str]:
    stub = Stub()
    package = ast.parse((STUB.parent / "__init__.py").read_text(encoding="utf-8"))
    docs = {node.name: _doc(node) for node in package.body if isinstance(node, ast.FunctionDef)}
    yield "# Python"
    yield (
        "`import bertie` loads no large package; names resolve on first use. `bertie/__init__.pyi` has these "
        "signatures for type checkers and editors."
    )
    yield "## Models"
    yield from (_function(name, stub.functions[name], docs[name]) for name in ("load", "encoder"))
    yield stub.described("Predictor")
    yield "## Commands"
    yield (
        "Every command is a function, and returns a [report](#reports). A path may be a string, a group of settings a "
        "dictionary, and a file of rows a table in memory: a list of dictionaries, a dictionary of columns, or a data "
        "frame."
    )
    for name, function in commands.functions().items():
        intro = f"{help_texts.introduction(function).strip()}\n\n"
        about = f"{intro}The arguments are the flags of [bertie {name}](commands/{name}.md)."
        yield _function(function.__name__, _with_defaults(stub.functions[function.__name__], function), about)
    yield "## Reports"
    yield "What a command returns. `print(report)` shows it."
    results = {ast.unparse(node.returns) for node in stub.functions.values() if node.returns} & set(stub.modules)
    results -= {"TakesPadded", "Report"}
    yield from (stub.described(name, methods=False) for name in ("Report", *sorted(results)))
    yield "## Items"
    yield "What a model reads. Tasks take them from files of rows, and `predict` takes them directly."
    items = ("Text", "Words", "Question", "Answer", "Choice")
    yield from (stub.described(name, methods=False) for name in items)
    yield "## Predictions"
    yield "Each is also a dictionary of its fields, so `json.dumps` writes it."
    yield stub.described("Prediction")
    yield from _predictions(stub)
    yield "## Estimators of scikit-learn"
    yield from (stub.described(name) for name in ("BertClassifier", "BertRegressor", "BertEmbedder"))
    yield "## To extend bertie"
    yield "[A head of your own](../custom_head.md) and [extending bertie](../extending.md) show how to use them."
    yield from (stub.described(name) for name in ("Task", "Tracker"))


def _predictions(stub: Stub) -> Iterator[str]:
    """Yield the classes of predictions, each with the tasks that return it."""
    for node in stub.loads[:-1]:
        task, result = node.args.args[1].annotation, node.returns
        if task is None or result is None:
            continue
        of = ", ".join(f"`{name}`" for name in re.findall(r"'(\w+)'", ast.unparse(task)))
        returned = ast.unparse(result).removeprefix("Predictor[").removesuffix("]")
        for name in dict.fromkeys(re.findall(r"[A-Z]\w+", returned)):
            note = f"Of the tasks {of}: one item gives {markup.code(returned)}."
            yield stub.described(name, note, methods=False)


def _with_defaults(node: ast.FunctionDef, function: Callable[..., Any]) -> ast.FunctionDef:
    """Put the defaults of a command, which the stub leaves out, into its signature."""
    known = {
        config.public_name(name): repr(each.default)
        for name, each in config.signature(function).items()
        if isinstance(each.default, str | int | float | tuple | None)
    }

    def given(argument: ast.arg, default: ast.expr | None) -> ast.expr | None:
        text = known.get(config.public_name(argument.arg)) if default else None
        return default if text is None else ast.parse(text, mode="eval").body

    arguments = node.args
    arguments.kw_defaults = list(map(given, arguments.kwonlyargs, arguments.kw_defaults))
    with_default = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    arguments.defaults = [each for each in map(given, with_default, arguments.defaults) if each]
    return node


def _doc(node: ast.FunctionDef | ast.ClassDef) -> str:
    return ast.get_docstring(node) or ""


def _function(name: str, node: ast.FunctionDef, doc: str, *, prefix: str = "bertie.", kind: str = "function") -> str:
    signature = ast.unparse(node.args)
    signature = re.sub(r"^self(, )?", "", signature)
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return _block(f"py:{kind}", f"{prefix}{name}({signature}){returns}", _described(doc))


def _block(directive: str, title: str, body: str, *, ticks: int = 4) -> str:
    fence = "`" * ticks
    return f"{fence}{{{directive}}} {' '.join(title.split())}\n\n{body}\n{fence}"


def _described(doc: str) -> str:
    """Return a docstring as Markdown: its text, then its sections as lists."""
    parts = help_texts.SECTION.split(doc)
    written = [_text(parts[0])] if parts[0].strip() else []
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        if heading == "Args" or heading == "Raises":
            written.append(f"*{heading}*\n\n{_list(body)}")
        elif heading.startswith("Example"):
            written.append(f"```python\n{textwrap.dedent(body).strip()}\n```")
        else:
            written.append(f"*{heading}*: {markup.prose(' '.join(body.split()))}")
    return "\n\n".join(written)


def _list(body: str) -> str:
    lines: list[str] = []
    for line in body.strip("\n").splitlines():
        if item := _ITEM.match(line):
            lines.append(f"- `{item[2]}`: {markup.prose(item[3])}")
        elif line.strip():
            lines.append(f"  {markup.prose(line.strip())}")
    return "\n".join(lines)


def _text(doc: str) -> str:
    """Return the paragraphs of a docstring; those after `::`, and indented ones, are code."""
    written = []
    for paragraph in re.split(r"\n\s*\n", doc.strip()):
        if paragraph.startswith(("    ", ">>> ")):
            written.append(f"```python\n{textwrap.dedent(paragraph)}\n```")
        else:
            written.append(re.sub(r"::$", ":", markup.prose(paragraph)))
    return "\n\n".join(written)


def _class(title: str, module: str, note: str, *, methods: bool) -> str:
    """Describe a class: how it is made, its fields, and its methods."""
    node, bases = _find(title.rpartition(".")[2], module)
    parts = [note, _described(_doc(node))]
    for each in [*bases, node]:
        parts += [_field(field, text) for field, text in _fields(each)]
    for method in _functions(node):
        if not method.name.startswith("_") and not _is("overload", method):
            if _is("property", method) or _is("functools.cached_property", method):
                parts.append(_block("py:attribute", method.name, _described(_doc(method))))
            elif methods:
                parts.append(_function(method.name, method, _doc(method), prefix="", kind="method"))
    made = [each for each in _functions(node) if each.name == "__init__"]
    signature = f"({re.sub(r'^self(, )?', '', ast.unparse(made[0].args))})" if made and methods else ""
    return _block("py:class", title + signature, "\n\n".join(filter(None, parts)), ticks=5)


def _find(name: str, module: str) -> tuple[ast.ClassDef, list[ast.ClassDef]]:
    """Return a class, and its bases in the same file whose names are private."""
    source = (registry.PACKAGE.parent / module.replace(".", "/")).with_suffix(".py")
    classes = {
        node.name: node for node in ast.parse(source.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)
    }
    bases = [classes[base.id] for base in classes[name].bases if isinstance(base, ast.Name) and base.id in classes]
    return classes[name], bases


def _functions(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [each for each in node.body if isinstance(each, ast.FunctionDef)]


def _is(mark: str, method: ast.FunctionDef) -> bool:
    return any(ast.unparse(each) == mark for each in method.decorator_list)


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Yield the annotated fields of a class that are public, with the texts under them."""
    following = [*node.body[1:], None]
    for statement, after in zip(node.body, following, strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if statement.target.id.startswith("_") or "ClassVar" in ast.unparse(statement.annotation):
            continue
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        yield ast.unparse(statement), inspect.cleandoc(str(text))


def _field(statement: str, text: str) -> str:
    name, _, rest = statement.partition(": ")
    kind, _, given = rest.partition(" = ")
    options = [f":type: {kind}", *([f":value: {given}"] if given and not given.startswith("field(") else [])]
    fence = "`" * 4
    return f"{fence}{{py:attribute}} {name}\n" + "\n".join(options) + f"\n\n{_text(text)}\n{fence}"
