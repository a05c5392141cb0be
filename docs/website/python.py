"""Reference of the Python API: the names of the package's stub, with the docstrings of what they name.

Signatures come from `bertie/__init__.pyi`, which `docs/stub.py` writes from the commands. The source is read and not
imported, so no optional package is needed.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

from bertie import help_texts, registry
from docs.stub import STUB
from docs.website import commands, markup

_ROOT = Path(__file__).parents[2]
_ITEM = re.compile(r"^( {4})?\*{0,2}(\w+)(?: \(.*?\))?: *(.*)$")
_MODELS = {"load", "encoder"}
_ESTIMATORS = {"BertClassifier", "BertEmbedder", "BertRegressor"}


def pages() -> dict[str, str]:
    """Return the page of the Python API."""
    return {"reference/python.md": "\n\n".join(_page())}


def _page() -> Iterator[str]:
    stub = ast.parse(STUB.read_text(encoding="utf-8"))
    package = ast.parse((STUB.parent / "__init__.py").read_text(encoding="utf-8"))
    docs = {node.name: _doc(node) for node in package.body if isinstance(node, ast.FunctionDef)}
    defined = {
        node.name: node for node in stub.body if isinstance(node, ast.FunctionDef)
    }  # of `load`, the most general
    modules = {
        alias.asname or alias.name: node.module or ""
        for node in stub.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    exported = [
        alias.asname for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names if alias.asname
    ]
    yield "# Python"
    yield (
        "`import bertie` loads no large package; names resolve on first use. `bertie/__init__.pyi` has these "
        "signatures for type checkers and editors."
    )
    yield "## Models"
    for name in sorted(_MODELS, reverse=True):
        yield _function(name, defined[name], docs[name])
    yield _class("Predictor", modules["Predictor"])
    yield "## Commands"
    yield (
        "Every command is a function. It returns a report: `report.values` has the figures that `--json` prints, and "
        "`print(report)` shows them. A path may be a string, a group of settings a dictionary, and a file of rows a "
        "table in memory: a list of dictionaries, a dictionary of columns, or a data frame."
    )
    for name, function in commands.functions().items():
        intro = f"{help_texts.introduction(function).strip()}\n\n"
        about = f"{intro}The arguments are the flags of [bertie {name}](commands/{name}.md)."
        yield _function(function.__name__, defined[function.__name__], about)
    yield "## Items"
    yield "What a model reads. Tasks take them from files of rows, and `predict` takes them directly."
    yield from (_class(name, modules[name]) for name in ("Text", "Words", "Question", "Answer", "Choice"))
    yield "## Predictions"
    yield "Each is also a dictionary of its fields, so `json.dumps` writes it."
    yield _class("Prediction", modules["Prediction"])
    yield from _predictions(stub, modules)
    yield "## Estimators of scikit-learn"
    yield from (_class(name, modules[name]) for name in exported if name in _ESTIMATORS)
    yield "## To extend bertie"
    yield "[A head of your own](../custom_head.md) and [extending bertie](../extending.md) show how to use them."
    yield from (_class(name, modules[name]) for name in ("Task", "Tracker"))


def _predictions(stub: ast.Module, modules: dict[str, str]) -> Iterator[str]:
    """Yield the classes of predictions, each with the tasks that return it."""
    for node in stub.body:
        if not (isinstance(node, ast.FunctionDef) and node.name == "load" and node.returns):
            continue
        task = node.args.args[1].annotation
        tasks = re.findall(r"'(\w+)'", ast.unparse(task)) if task else []
        names = [each.id for each in ast.walk(node.returns) if isinstance(each, ast.Name)]
        returned = ast.unparse(node.returns).removeprefix("Predictor[").removesuffix("]")
        for name in dict.fromkeys(names):
            if tasks and name not in ("Predictor", "list"):
                of = ", ".join(f"`{each}`" for each in tasks)
                yield _class(name, modules[name], f"Of the tasks {of}: one item gives {markup.code(returned)}.")


def _doc(node: ast.FunctionDef | ast.ClassDef) -> str:
    return ast.get_docstring(node) or ""


def _function(name: str, node: ast.FunctionDef, doc: str, *, prefix: str = "bertie.", kind: str = "function") -> str:
    signature = ast.unparse(node.args).replace("...", "…")
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


def _class(name: str, module: str, note: str = "") -> str:
    """Describe a class: how it is made, its fields, and its methods."""
    node, bases = _find(name, module)
    private = module.rpartition(".")[2].startswith("_") or name not in _exported()
    qualified = f"{module}.{name}" if private else f"bertie.{name}"
    parts = [note, _described(_doc(node))]
    made = [each for each in _functions(node) if each.name == "__init__"]
    signature = re.sub(r"^self(, )?", "", ast.unparse(made[0].args)) if made else ""
    for each in [*bases, node]:
        parts += [_field(field, text) for field, text in _fields(each)]
    for method in _functions(node):
        if not method.name.startswith("_") and not _is_overload(method):
            is_property = any(
                ast.unparse(mark) in ("property", "functools.cached_property") for mark in method.decorator_list
            )
            if is_property:
                parts.append(_block("py:attribute", f"{method.name}", _described(_doc(method))))
            else:
                parts.append(_function(method.name, method, _doc(method), prefix="", kind="method"))
    title = f"{qualified}({signature})" if signature else qualified
    return _block("py:class", title, "\n\n".join(filter(None, parts)), ticks=5)


def _exported() -> set[str]:
    return {
        alias.asname
        for node in ast.parse(STUB.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }


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


def _is_overload(method: ast.FunctionDef) -> bool:
    return any(ast.unparse(mark) == "overload" for mark in method.decorator_list)


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    """Yield the annotated fields of a class that are public, with the texts under them."""
    following = [*node.body[1:], None]
    for statement, after in zip(node.body, following, strict=True):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if statement.target.id.startswith("_"):
            continue
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        yield ast.unparse(statement), inspect.cleandoc(str(text))


def _field(statement: str, text: str) -> str:
    name, _, rest = statement.partition(": ")
    kind, _, given = rest.partition(" = ")
    options = [f":type: {kind}", *([f":value: {given}"] if given and len(given) < 60 else [])]
    fence = "`" * 4
    return f"{fence}{{py:attribute}} {name}\n" + "\n".join(options) + f"\n\n{_text(text)}\n{fence}"
