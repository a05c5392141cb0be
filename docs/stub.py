"""Write bertie/__init__.pyi, in which type checkers and editors find the signature of every command.

    python docs/stub.py

A Python call takes more than the command's own annotations say: a string for a path, a dictionary for a group of
settings, a table in memory for a file of rows. The stub states those wider types. `bertie.load` with the name of a task
returns a predictor whose predictions have that task's type.
"""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from bertie import registry
from bertie.config import public_name
from bertie.readers.frames import TABLES
from bertie.tasks._lookup import task_class
from bertie.tasks._prediction import Prediction

STUB = Path(__file__).parents[1] / "bertie" / "__init__.pyi"
_HEAD = '''"""Signatures of the package, written by ``python docs/stub.py``."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Literal, Protocol, overload

from bertie.estimators import BertClassifier as BertClassifier
from bertie.estimators import BertEmbedder as BertEmbedder
from bertie.estimators import BertRegressor as BertRegressor
from bertie.inference.predictor import Predictor as Predictor
from bertie.items.choice import Choice as Choice
from bertie.items.question import Answer as Answer
from bertie.items.question import Question as Question
from bertie.items.text import Text as Text
from bertie.items.words import Words as Words
from bertie.models._padded import TakesPadded
from bertie.tasks._prediction import Prediction as Prediction
from bertie.tasks.task import Task as Task
{imports}

__version__: str
StrPath = str | PathLike[str]

class DataFrame(Protocol):
    """A table of pandas, polars, Arrow or datasets."""

    @property
    def shape(self) -> tuple[int, ...]: ...

Rows = Sequence[Mapping[str, object]] | Mapping[str, Sequence[object]] | Sequence[tuple[object, ...]] | DataFrame
{loads}
def encoder(path: StrPath) -> TakesPadded: ...
'''
_LOAD = """
@overload
def load({ignored}
    path: StrPath,
    task: {task},
    *,
    device: str = ...,
    threads: int | None = ...,
    max_tokens: int = ...,
    precision: Literal["exact", "bf16", "int8"] | None = ...,
    backend: str = ...,
    **settings: object,
) -> Predictor[{prediction}]: ..."""


class Types:
    """Write annotations as source text, and remember what has to be imported for them."""

    def __init__(self) -> None:
        self.needed: set[tuple[str, str]] = set()

    def imports(self) -> str:
        """Return the import statements."""
        return "\n".join(f"from {module} import {name}" for module, name in sorted(self.needed))

    def named(self, kind: type) -> str:
        """Return the name of a class."""
        if kind.__module__ != "builtins":
            self.needed.add((kind.__module__, kind.__name__))
        return kind.__name__

    def of(self, annotation: Any) -> str:
        """Return the type of what a call may pass for a parameter."""
        return self.either(self.members(annotation))

    def either(self, members: Iterable[str]) -> str:
        """Join types, None last."""
        return " | ".join(sorted(dict.fromkeys(members), key="None".__eq__))

    def members(self, annotation: Any) -> Iterator[str]:
        """Yield the types that an annotation is made of."""
        origin, parts = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            yield from self.members(parts[0])
        elif origin in (Union, types.UnionType):
            for part in parts:
                yield from self.members(part)
        elif origin is Literal:
            yield f"Literal[{', '.join(map(repr, parts))}]"
        elif origin is tuple:
            yield f"Sequence[{self.of(parts[0])}]"
        elif origin is dict:
            yield f"Mapping[str, {'str' if parts[1] is str else 'object'}]"
        elif origin is list:
            yield f"list[{self.of(parts[0])}]"
        elif annotation is Path:
            yield "StrPath"
        elif annotation is type(None):
            yield "None"
        elif dataclasses.is_dataclass(annotation) and not issubclass(annotation, Prediction):
            yield from (self.named(annotation), "Mapping[str, object]")
        else:
            yield "object" if annotation is Any else self.named(annotation)


def parameters(function: Callable[..., Any], written: Types) -> list[str]:
    """Return the parameters of a command as the stub writes them."""
    hints, lines, named_only = get_type_hints(function, include_extras=True), [], False
    for name, parameter in inspect.signature(function).parameters.items():
        taken = [*written.members(hints[name]), *(["Rows"] if name in TABLES else [])]
        kind = written.either([*taken, "str"] if name == "texts" else taken)
        if parameter.kind is parameter.VAR_KEYWORD:
            lines.append(f"**{name}: {kind}")
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not named_only:
            named_only = True
            lines.append("*")
        default = "" if parameter.default is parameter.empty else " = ..."
        lines.append(f"{public_name(name) if public_name(name) != 'from' else name}: {kind}{default}")
    return lines


def commands(written: Types) -> Iterator[str]:
    """Yield the definition of every command."""
    for name in registry.choices("commands"):
        function = getattr(registry.load("commands", name), name)
        result = written.named(get_type_hints(function)["return"])
        yield f"def {name}({', '.join(parameters(function, written))}) -> {result}: ..."


def loads(written: Types) -> Iterator[str]:
    """Yield one `load` for each type of prediction, and one for a model whose task is its own."""
    names: dict[str, list[str]] = {}
    for name in registry.choices("tasks"):
        (each,) = get_args(_returned(task_class(name).decode))
        names.setdefault("Prediction" if each is Any else written.of(each), []).append(name)
    for prediction, tasks in names.items():
        if prediction != "Prediction":
            ignored = "  # type: ignore[overload-overlap]" if prediction.startswith("list") else ""
            yield _LOAD.format(task=f"Literal[{', '.join(map(repr, tasks))}]", prediction=prediction, ignored=ignored)
    yield _LOAD.format(task="str | None = ...", prediction="Prediction", ignored="")


def _returned(function: Any) -> Any:
    """Return the type that a function returns; its other types may be known to type checkers only."""
    alone = types.SimpleNamespace(__annotations__={"return": function.__annotations__["return"]})
    return get_type_hints(alone, function.__globals__)["return"]


def stub() -> str:
    """Return the text of the stub, laid out by ruff."""
    written = Types()
    body = "\n".join(commands(written))
    head = "\n".join(loads(written))
    text = _HEAD.format(imports=written.imports(), loads=head) + body + "\n"
    laid_out = _ruff(["check", "--fix", "--select", "I", "-"], text)
    return _ruff(["format", "-"], laid_out)


def _ruff(words: Sequence[str], text: str) -> str:
    command = [sys.executable, "-m", "ruff", *words, "--quiet", "--stdin-filename", str(STUB)]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
