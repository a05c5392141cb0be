"""The texts of a command's help, read from its docstring and its groups, and what follows the list of flags."""

import ast
import inspect
import itertools
import re
import textwrap
from collections.abc import Callable
from typing import Any

from bertie import basic, config

SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Examples?):\s*$", re.MULTILINE)


def argument_help(function: Callable[..., Any]) -> dict[str, str]:
    """Read the description of each parameter in the ``Args`` section of a docstring.

    Args:
        function: a command function with a Google docstring.

    Returns:
        One paragraph for each parameter of the section.
    """
    helps: dict[str, str] = {}
    name = ""
    for line in _sections(function).get("Args", "").splitlines():
        if start := re.match(r" {4}\*{0,2}(\w+)(?: \(.*?\))?: *(.*)", line):
            name, helps[start[1]] = start[1], start[2]
        elif name and line.strip():
            helps[name] = f"{helps[name]} {line.strip()}"
    return helps


def introduction(function: Callable[..., Any]) -> str:
    """Return the part of a docstring before its first section."""
    return SECTION.split(inspect.getdoc(function) or "")[0]


def example(function: Callable[..., Any]) -> str:
    """Return the ``Example`` section of a docstring, without indent; empty if there is none."""
    return textwrap.dedent(_sections(function).get("Example", "").strip("\n")).rstrip()


def is_layered(function: Callable[..., Any]) -> bool:
    """Check whether a command marks flags as basic, so that its help has two layers."""
    return bool(basic.marked(function))


def ending(function: Callable[..., Any], *, every: bool) -> str:
    """Return what follows the list of flags: the example, and how to see all flags.

    Args:
        function: a command function.
        every: whether the help shows all flags.
    """
    command, parts = function.__name__.replace("_", "-"), []
    if text := example(function):
        parts.append(f"example:\n{textwrap.indent(text, '  ')}")
    if is_layered(function) and not every:
        count = sum(not config.group_type(kind) for kind in config.known_keys(function).values())
        parts.append(f"These are the usual flags; bertie {command} --help-all shows all {count}.")
    return "\n\n".join(parts)


def field_help(group: type) -> dict[str, str]:
    """Read the text under each field of a group, on one line."""
    body = getattr(ast.parse(textwrap.dedent(inspect.getsource(group))).body[0], "body", [])
    texts: dict[str, str] = {}
    for statement, following in itertools.pairwise(body):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            text = getattr(following.value, "value", "")
            texts[getattr(statement.target, "id", "")] = " ".join(str(text).split())
    return texts


def _sections(function: Callable[..., Any]) -> dict[str, str]:
    parts = SECTION.split(inspect.getdoc(function) or "")  # the text before, then headings and their texts in turn
    return dict(zip(parts[1::2], parts[2::2], strict=True))
