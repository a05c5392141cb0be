"""Find the file for a name that a user types: folders with plural names are registries.

In ``commands/ tasks/ models/ formats/ backends/ runners/ starts/ optimizers/ schedules/ tables/`` each file is one
choice, except the contract, whose name is the folder's in the singular. The contract defines what the other files must
contain. Only ``load`` imports them; ``choices`` and ``summary`` read file names and docstrings.
"""

import ast
import difflib
import inspect
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from bertie.errors import SettingsError

PACKAGE = Path(__file__).parent
_MANY_CHOICES = 30  # more than these are not listed in addition to a suggestion


def choices(folder: str) -> list[str]:
    """List the choices of a registry folder, without importing them.

    Args:
        folder: a registry folder of the package: "commands", "tasks", "serving/protocols", ...

    Returns:
        File names without suffix, sorted; without the contract and names with a leading underscore.
    """
    contract = folder.removesuffix("s")
    names = (path.stem for path in (PACKAGE / folder).glob("*.py"))
    return sorted(name for name in names if not name.startswith("_") and name != contract)


def summary(folder: str, name: str) -> str:
    """Read the first line of a choice's module docstring, without importing it.

    Args:
        folder: a registry folder of the package.
        name: one of its ``choices``.

    Returns:
        The line without its final full stop; empty when the file has no docstring.
    """
    source = (PACKAGE / folder / f"{name}.py").read_text(encoding="utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    return docstring.partition("\n")[0].strip().removesuffix(".")


def load(folder: str, name: str) -> ModuleType:
    """Import the file of a choice.

    Args:
        folder: a registry folder of the package.
        name: one of its ``choices``; dashes count as underscores.

    Returns:
        The imported module.

    Raises:
        SettingsError: there is no such choice; the message suggests the nearest one.
    """
    known = choices(folder)
    wanted = name.replace("-", "_")
    if wanted not in known:
        kind = folder.removesuffix("s")
        raise SettingsError(f"unknown {kind} {name!r}; {did_you_mean(name, known)}")
    return import_module(f"bertie.{folder.replace('/', '.')}.{wanted}")


def settings_used(choice: Callable[..., Any]) -> list[str]:
    """List the settings that a choice is built from: the keyword-only parameters of its class or function.

    >>> def lamp(place, *, brightness, colour="white"): ...
    >>> settings_used(lamp)
    ['brightness', 'colour']
    """
    parameters = inspect.signature(choice).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]


def load_foreign(name: str) -> Any:
    """Import an attribute of any module by its dotted name, such as ``package.module:Class``.

    The module may be installed or in the current directory.

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
        sys.path.insert(0, str(Path.cwd()))  # as with `python -m`: the user means a module in the current directory
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        # If the module exists but one of its own imports is missing, the message names the missing import.
        raise SettingsError(f"can't import {module_name!r} for {name!r}: no module named {error.name!r}") from error
    if not hasattr(module, attribute):
        public = [public for public in vars(module) if not public.startswith("_")]
        raise SettingsError(f"module {module_name!r} has no {attribute!r}; {did_you_mean(attribute, public)}")
    return getattr(module, attribute)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the known name nearest to a wrong one, and list the choices.

    Args:
        name: the name that was typed.
        known: the valid names.

    Returns:
        The last clause of an error message.

    >>> did_you_mean("bret", ["albert", "bert"])
    "did you mean 'bert'? (choices: albert, bert)"
    """
    names = sorted(set(known))
    if not names:
        return "there are no choices"
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    listed = f"choices: {', '.join(names)}"
    if near and len(names) > _MANY_CHOICES:
        return f"did you mean {near[0]!r}?"
    return f"did you mean {near[0]!r}? ({listed})" if near else listed
