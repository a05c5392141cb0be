"""Prepare the words after a command's name for the parser, and read from them which parameters are typed."""

import inspect
import re
import typing
from collections.abc import Callable
from typing import Any

from bertie import config
from bertie.errors import SettingsError


def is_positional(parameter: inspect.Parameter) -> bool:
    """Check whether a parameter is typed without its name."""
    return any(isinstance(mark, config.PositionalMarker) for mark in getattr(parameter.annotation, "__metadata__", ()))


def before_separator(words: list[str]) -> list[str]:
    """Return the words before ``--``, among which flags are."""
    return words[: words.index("--")] if "--" in words else words


def typed_flags(words: list[str]) -> set[str]:
    """Return the names of the parameters whose flags were typed."""
    flags = before_separator(words)
    return {word.partition("=")[0][2:].replace("-", "_") for word in flags if word.startswith("--")}


def split_named_arguments(function: Callable[..., Any], words: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Split off positional arguments that are typed as flags, which is allowed together with ``--config``.

    A settings file has a name for every parameter, so ``--config FILE --model MODEL`` overrides its ``model``.
    """
    if not any(word.partition("=")[0] == "--config" for word in words):
        return words, {}
    parameters = config.signature(function)
    rest: list[str] = []
    named: dict[str, Any] = {}
    remaining = iter(words)
    for word in remaining:
        if word == "--":
            rest += [word, *remaining]
            break
        flag, equals, value = word.partition("=")
        parameter = parameters.get(flag[2:].replace("-", "_")) if flag.startswith("--") else None
        if parameter is None or not is_positional(parameter):
            rest.append(word)
            continue
        named[parameter.name] = value if equals else next(remaining, None)
        if not named[parameter.name]:
            raise SettingsError(f"{flag} needs a value")
    return rest, config.validate(function, named, partial=True)


def merge_repeated_flags(function: Callable[..., Any], words: list[str]) -> list[str]:
    """Merge repeated flags that take several words: `--pair a --pair b` becomes `--pair a b`.

    Numbers of one flag become one word: `--seeds 1 2 3` becomes `--seeds 1,2,3`.
    """
    keys = {f"--{key.replace('_', '-')}": annotation for key, annotation in config.known_keys(function).items()}
    takes_many = {flag for flag, annotation in keys.items() if typing.get_origin(annotation) is tuple}
    takes_numbers = {flag for flag, annotation in keys.items() if tuple[int, ...] in typing.get_args(annotation)}
    groups: list[list[str]] = [[]]
    by_flag: dict[str, list[str]] = {}
    current = groups[0]
    for index, word in enumerate(words):
        if word == "--":
            groups.append(words[index:])
            break
        flag, equals, value = word.partition("=")
        flag = flag.replace("_", "-")
        if flag in takes_many:
            if flag not in by_flag:
                by_flag[flag] = [flag]
                groups.append(by_flag[flag])
            current = by_flag[flag]
            current += [value] if equals else []
        elif word.startswith("--"):
            current = [word]
            groups.append(current)
        elif len(current) == 2 and current[0] in takes_numbers and re.fullmatch(r"\d+(-\d+)?,?", word):
            current[1] = f"{current[1].rstrip(',')},{word.rstrip(',')}"
        else:
            current.append(word)
    return [word for group in groups for word in group]
