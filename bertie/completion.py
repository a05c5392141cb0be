"""Scripts by which a shell completes bertie's commands, flags, choices and file names; shtab writes them.

The parser that is made here describes the commands for shtab. It parses nothing: `bertie.flags` does.
"""

import argparse
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import shtab

from bertie import config, registry
from bertie.arguments import is_positional
from bertie.errors import SettingsError
from bertie.registry import did_you_mean
from bertie.wrong_words import COMMON

SHELLS = ("bash", "zsh", "fish")
FLAG = "--print-completion"
_FOLDERS = {
    "task": "tasks",
    "backend": "backends",
    "track": "trackers",
    "optimizer.name": "optimizers",
    "schedule.shape": "schedules",
    "model.start": "starts",
    "model.architecture": "models",
}
"""Flags whose values are the names of files, and the folder of these files."""


def script(words: list[str]) -> str:
    """Return the script for a shell.

    Args:
        words: the words after the flag: bash, zsh or fish.

    Raises:
        SettingsError: there is no such shell.
    """
    shell = words[0] if len(words) == 1 else ""
    if shell not in SHELLS:
        hint = did_you_mean(shell, SHELLS) if shell else ""
        raise SettingsError(f"{FLAG} takes one of {', '.join(SHELLS)}{f'; {hint}' if hint else ''}")
    return str(shtab.complete(_parser(), shell))


def _parser() -> argparse.ArgumentParser:
    """Return a parser with all commands, their flags and arguments."""
    parser = argparse.ArgumentParser(prog="bertie")
    parser.add_argument("--version", action="store_true", help="print bertie's version")
    parser.add_argument(FLAG, choices=SHELLS, help="print a script that completes words in a shell")
    commands = parser.add_subparsers()
    for name in registry.choices("commands"):
        function = getattr(registry.load("commands", name), name)
        about = (function.__doc__ or "").strip().partition("\n")[0]
        command = commands.add_parser(name.replace("_", "-"), help=about, description=about)
        positional = {
            config.public_name(key) for key, parameter in config.signature(function).items() if is_positional(parameter)
        }
        for key, annotation in config.known_keys(function).items():
            if config.group_type(annotation) is None:
                _add(command, key, annotation, positional=key in positional)
        for key, kind in COMMON.items():
            if key != "help":  # argparse adds it
                _add(command, key, kind, positional=False)
    return parser


def _add(command: argparse.ArgumentParser, key: str, annotation: Any, *, positional: bool) -> None:
    """Describe a flag or a positional argument."""
    kinds = set(_parts(annotation))
    flag = f"--{key.replace('_', '-')}"
    if bool in kinds and not positional:
        command.add_argument(flag, action="store_true")
        return
    values = [value for kind in kinds if typing.get_origin(kind) is Literal for value in typing.get_args(kind)]
    if folder := _FOLDERS.get(key):
        values = list(registry.choices(folder))
    names = [key] if positional else [flag]
    # Without choices, one argument may be a file: models, tables and texts are given by their places.
    argument: Any = command.add_argument(*names, nargs="*" if tuple in kinds else None, choices=values or None)
    if Path in kinds or (positional and not values):
        argument.complete = shtab.FILE


def _parts(annotation: Any) -> Iterable[Any]:
    """Yield the types that an annotation is made of."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        for part in typing.get_args(annotation):
            yield from _parts(part)
    elif origin is typing.Annotated:
        yield from _parts(typing.get_args(annotation)[0])
    elif origin is Literal or origin is None:
        yield annotation
    else:
        yield origin
        for part in typing.get_args(annotation):
            yield from _parts(part)
