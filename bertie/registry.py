"""From a name a user types to the file that answers to it: the plural folders are registries.

In ``commands/ tasks/ models/ formats/ backends/ runners/ starts/`` every file but the contract (the folder's name in
the singular) is one choice. Listing and describing read file names and docstrings and import nothing; only ``load``
imports. What a choice must hold is its folder's contract, not known here.
"""

import ast
import difflib
import sys
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from bertie.errors import SettingsError

PACKAGE = Path(__file__).parent
_MANY_CHOICES = 30  # are not listed beside one that was probably meant


def choices(folder: str) -> list[str]:
    """List the names a registry folder offers, sorted, without importing them.

    Args:
        folder: a plural folder of the package: "commands", "tasks", "models", "formats", ...

    Returns:
        File names without suffix; the contract file and names with a leading underscore are left out.
    """
    contract = folder.removesuffix("s")
    names = (path.stem for path in (PACKAGE / folder).glob("*.py"))
    return sorted(name for name in names if not name.startswith("_") and name != contract)


def summary(folder: str, name: str) -> str:
    """Read the first line of a choice's module docstring, without importing it.

    Args:
        folder: a plural folder of the package.
        name: one of its ``choices``.

    Returns:
        The line without its final full stop; empty when the file has no docstring.
    """
    source = (PACKAGE / folder / f"{name}.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    return docstring.partition("\n")[0].strip().removesuffix(".")


def load(folder: str, name: str) -> ModuleType:
    """Import the file that answers to a name.

    Args:
        folder: a plural folder of the package.
        name: one of its ``choices``; dashes count as underscores.

    Returns:
        The imported module.

    Raises:
        SettingsError: no file answers to the name; the message offers the nearest names.
    """
    known = choices(folder)
    wanted = name.replace("-", "_")
    if wanted not in known:
        kind = folder.removesuffix("s")
        raise SettingsError(f"unknown {kind} {name!r}; {did_you_mean(name, known)}")
    return import_module(f"bertie.{folder}.{wanted}")


def load_foreign(name: str) -> Any:
    """Import a third party's choice by its dotted name, such as ``package.module:Class``, from here or installed.

    Args:
        name: the module's dotted name, a colon, and the attribute's name.

    Returns:
        The attribute.

    Raises:
        SettingsError: the name has no colon, the module can't be found, or it has no such attribute.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise SettingsError(f"{name!r} is not a name of the form package.module:Class")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it; whoever types the name means the file beside him
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that is there but lacks a dependency of its own is reported by the dependency's name.
        raise SettingsError(f"can't import {module_name!r} for {name!r}: no module named {error.name!r}") from error
    if not hasattr(module, attribute):
        public = [public for public in vars(module) if not public.startswith("_")]
        raise SettingsError(f"module {module_name!r} has no {attribute!r}; {did_you_mean(attribute, public)}")
    return getattr(module, attribute)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Say which known names are near a wrong one, or list them all.

    Args:
        name: what was typed.
        known: the names that would have been right.

    Returns:
        A clause to end an error message with: "did you mean 'bert'? (choices: albert, bert)".
    """
    names = sorted(set(known))
    if not names:
        return "there are no choices"
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    listed = f"choices: {', '.join(names)}"
    if near and len(names) > _MANY_CHOICES:
        return f"did you mean {near[0]!r}?"
    return f"did you mean {near[0]!r}? ({listed})" if near else listed
