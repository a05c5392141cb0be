"""From the words after a command's name to its parameters: tyro over the command's signature.

What tyro parses comes back as values, is checked once more as a file's values are (``bertie.config``), and what tyro
prints about wrong words comes back as one line. Files are read where ``--config`` names one: defaults < file < flags.
"""

import dataclasses
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    UnsupportedTypeAnnotationError,
)

from bertie import config
from bertie.errors import SettingsError
from bertie.wrong_words import readable_errors, refuse_unknown_flags

_LONGEST_RANGE = 10_000
SECTION = re.compile(r"^(Args|Returns|Raises|Yields|Examples?):\s*$", re.MULTILINE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """How to print: the flags every command has."""

    json: bool
    quiet: bool


def parse(function: Callable[..., Any], words: list[str]) -> tuple[dict[str, Any], Output]:
    """Turn the words after a command's name into its parameters: defaults, then ``--config``, then flags.

    Args:
        function: the command function.
        words: arguments and flags.

    Returns:
        Keyword arguments for the function, and how to print its report.

    Raises:
        SettingsError: an unknown flag, a missing argument, a wrong value, or a bad settings file.
        SystemExit: help was asked for and printed.
    """
    command = function.__name__.replace("_", "-")
    parameters = config.signature(function)
    settings, typed = _settings_from_file(function, words), _typed(words)
    words, named = _named_arguments(function, words)
    places = {config.public_name(name) for name, parameter in parameters.items() if _is_positional(parameter)}
    refuse_unknown_flags(function, words, places)
    words = _gathered(function, words)
    shape = _shape(function, settings | named)
    with readable_errors(command, words):
        marks = (tyro.conf.AvoidSubcommands,)
        parsed: Any = tyro.cli(shape, args=words, prog=f"bertie {command}", config=marks, registry=_rules())
    values = {name: getattr(parsed, name) for name in parameters}
    for name, parameter in parameters.items():
        if kind := _group_beside_word(parameter):
            values[name] = _word_or_group(parsed, name, kind, before=(settings | named).get(name), typed=name in named)
    empty = [
        name.upper() for name in values if values[name] == () and parameters[name].default is inspect.Parameter.empty
    ]
    if empty:  # tyro takes no words for a tuple of none; a parameter without default wants at least one
        raise SettingsError(f"missing: {', '.join(empty)}; see bertie {command} --help")
    if values.get("seeds") is not None and "seed" not in typed | settings.keys():
        values.pop("seed", None)  # a default, which nobody gave
    return config.validate(function, values), Output(json=parsed.json, quiet=parsed.quiet)


def _shape(function: Callable[..., Any], settings: dict[str, Any]) -> type:
    """Build the dataclass that tyro fills: a command's parameters, a file's settings as defaults, our own flags."""
    helps = argument_help(function)
    fields: list[tuple[str, Any, Any]] = []
    for name, parameter in config.signature(function).items():
        required = name not in settings and parameter.default is parameter.empty
        default = tyro.MISSING if required else settings.get(name, parameter.default)
        positional = _is_positional(parameter)
        at_least_one = required and positional and typing.get_origin(typing.get_args(parameter.annotation)[0]) is tuple
        details = tyro.conf.arg(
            name=config.public_name(name),
            help=helps.get(name, ""),
            metavar=name.upper() if positional else None,
            help_behavior_hint="(at least one)" if at_least_one else None,
        )
        annotation: Any = Annotated[parameter.annotation, details]
        if group := _group_beside_word(parameter):
            inner: Any = Annotated[group, tyro.conf.arg(name=config.public_name(name))]
            fields.append((f"{name}_group", inner, default if isinstance(default, group) else group()))
            annotation, default = Annotated[str | None, details], default if isinstance(default, str) else None
        if positional:
            annotation = Annotated[annotation, tyro.conf.Positional]
        fields.append((name, annotation, default))
    for name, kind, default, text in (
        ("config", Path | None, None, "Settings file; flags win over it."),
        ("json", bool, False, "Print the result as JSON."),
        ("quiet", bool, False, "No progress and no remarks on stderr."),
    ):
        fields.append((name, Annotated[kind, tyro.conf.arg(help=text)], default))
    shape = dataclasses.make_dataclass(
        function.__name__,
        # A dictionary may be a parameter's default, but a dataclass takes one from a function only.
        [
            (name, kind, dataclasses.field(default_factory=functools.partial(lambda value: value, default)))
            for name, kind, default in fields
        ],
        kw_only=True,
        frozen=True,
    )
    shape.__doc__ = SECTION.split(inspect.getdoc(function) or "")[0]
    return shape


def _group_beside_word(parameter: inspect.Parameter) -> type | None:
    """Return the group of a parameter that is typed as a word or as a group's flags: MODEL, or --model.size 4/256."""
    return config.group_type(parameter.annotation) if _is_positional(parameter) else None


def _word_or_group(parsed: Any, name: str, kind: type, *, before: Any, typed: bool) -> Any:
    """Return which of the two was typed, or what stood there `before` (in a file, or `typed` by its name beside one).

    Raises:
        SettingsError: both were.
    """
    word, group = getattr(parsed, name), getattr(parsed, f"{name}_group")
    new_word = typed or word != (before if isinstance(before, str) else None)
    new_group = group != (before if isinstance(before, kind) else kind())
    if new_word and new_group:
        raise SettingsError(f"give {name.upper()} ({word!r}) or flags --{config.public_name(name)}.*, not both")
    return group if new_group else word if new_word else before


def _rules() -> ConstructorRegistry:
    """Teach tyro to write ``X | None`` as X, and to take a dictionary as ``key=value,key=value``."""
    rules = ConstructorRegistry()
    rules.primitive_rule(_optional)
    rules.primitive_rule(_pairs)
    rules.primitive_rule(_numbers)
    return rules


def _optional(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    members = set(typing.get_args(info.type))
    if (
        typing.get_origin(info.type) not in (typing.Union, types.UnionType)
        or type(None) not in members
        or len(members) != 2
    ):
        return None
    (member,) = members - {type(None)}
    inner = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(member, info.markers))
    if isinstance(inner, UnsupportedTypeAnnotationError) or inner.nargs != 1:
        return None  # a tuple: tyro has a form of its own for "none or several"
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=inner.metavar,
        instance_from_str=lambda words: None if words == ["None"] else inner.instance_from_str(words),
        is_instance=lambda value: value is None or inner.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else inner.str_from_instance(value),
        choices=None if inner.choices is None else (*inner.choices, "None"),
    )


_OUTSIDE_LISTS = re.compile(r",(?![^\[]*\])")
"""The commas between pairs; those inside a list in brackets are the list's own."""


def _pairs(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[dict[str, Any]] | None:
    if typing.get_origin(info.type) is not dict:
        return None
    kind = typing.get_args(info.type)[1]
    kind = str if kind is Any else kind  # whoever takes anything gives it a type by its name

    def read(words: list[str]) -> dict[str, Any]:
        pairs = [pair.partition("=") for pair in _OUTSIDE_LISTS.split(words[0])]
        if wrong := [key + equals for key, equals, _ in pairs if not equals or not key]:
            raise ValueError(f"{wrong[0]!r} is not of the form KEY=VALUE")
        return {key: kind(value) for key, _, value in pairs}

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="KEY=VALUE,...",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [",".join(f"{key}={item}" for key, item in value.items())],
    )


def _numbers(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[tuple[int, ...]] | None:
    """Take whole numbers as one word, ``1,2,3`` or ``1-5``: several words would swallow the argument after them."""
    if info.type != tuple[int, ...]:
        return None

    def read(words: list[str]) -> tuple[int, ...]:
        numbers: list[int] = []
        for part in words[0].split(","):
            found = re.fullmatch(r"\s*(-?\d+)(?:\s*-\s*(\d+))?\s*", part, re.ASCII)
            if found is None:
                raise ValueError(f"{part!r} is no whole number and no range; write them as 1,2,3 or 1-5")
            first = int(found[1])
            last = first if found[2] is None else int(found[2])
            if not 0 <= last - first <= _LONGEST_RANGE:
                raise ValueError(f"{part!r} is no range of numbers from a lower one to a higher one, such as 1-5")
            numbers += range(first, last + 1)
        return tuple(numbers)

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="INT,INT,...",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, tuple) and all(isinstance(item, int) for item in value),
        str_from_instance=lambda value: [",".join(map(str, value))],
    )


def argument_help(function: Callable[..., Any]) -> dict[str, str]:
    """Read what a docstring's ``Args`` section says of each parameter.

    Args:
        function: a command function with a Google docstring.

    Returns:
        One paragraph per parameter named there.
    """
    parts = SECTION.split(inspect.getdoc(function) or "")  # text, then a heading and its text in turn
    section = dict(zip(parts[1::2], parts[2::2], strict=True)).get("Args", "")
    helps: dict[str, str] = {}
    name = ""
    for line in section.splitlines():
        if start := re.match(r" {4}\*{0,2}(\w+)(?: \(.*?\))?: *(.*)", line):
            name, helps[start[1]] = start[1], start[2]
        elif name and line.strip():
            helps[name] = f"{helps[name]} {line.strip()}"
    return helps


def _is_positional(parameter: inspect.Parameter) -> bool:
    return any(isinstance(mark, config.PositionalMarker) for mark in getattr(parameter.annotation, "__metadata__", ()))


def _settings_from_file(function: Callable[..., Any], words: list[str]) -> dict[str, Any]:
    """Read the file that ``--config`` names, if any, checked against the command."""
    path: str | None = None
    for place, word in enumerate(words):
        if word == "--":
            break
        if word == "--config":
            path = next(iter(words[place + 1 :]), None)
        elif word.startswith("--config="):
            path = word.partition("=")[2]
    if not path:
        return {}
    settings = config.read(path)
    command = settings.pop("command", function.__name__)
    if str(command).replace("-", "_") != function.__name__:
        wanted = function.__name__.replace("_", "-")
        raise SettingsError(
            f"{path} holds settings of {command!r}, not of {wanted!r}; repeat it with: bertie run {path}"
        )
    return config.validate(function, config.left_of_file(settings, _typed(words)), source=path, partial=True)


def _typed(words: list[str]) -> set[str]:
    """Name the parameters whose flags are typed."""
    flags = words[: words.index("--")] if "--" in words else words
    return {word.partition("=")[0][2:].replace("-", "_") for word in flags if word.startswith("--")}


def _named_arguments(function: Callable[..., Any], words: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Take out arguments that are typed by their names, as they may be beside a file, where all settings have one."""
    if not any(word.partition("=")[0] == "--config" for word in words):
        return words, {}
    parameters = config.signature(function)
    rest: list[str] = []
    named: dict[str, Any] = {}
    waiting = iter(words)
    for word in waiting:
        if word == "--":
            rest += [word, *waiting]
            break
        flag, equals, value = word.partition("=")
        parameter = parameters.get(flag[2:].replace("-", "_")) if flag.startswith("--") else None
        if parameter is None or not _is_positional(parameter):
            rest.append(word)
            continue
        named[parameter.name] = value if equals else next(waiting, None)
        if not named[parameter.name]:
            raise SettingsError(f"{flag} wants a value")
    return rest, config.validate(function, named, partial=True)


def _gathered(function: Callable[..., Any], words: list[str]) -> list[str]:
    """Write a flag that takes several words and is typed several times once: `--pair a --pair b` is `--pair a b`.

    Numbers that belong to one word become one: `--seeds 1 2 3` is `--seeds 1,2,3`.
    """
    keys = {f"--{key.replace('_', '-')}": annotation for key, annotation in config.known_keys(function).items()}
    takes_many = {flag for flag, annotation in keys.items() if typing.get_origin(annotation) is tuple}
    takes_numbers = {flag for flag, annotation in keys.items() if tuple[int, ...] in typing.get_args(annotation)}
    groups: list[list[str]] = [[]]
    by_flag: dict[str, list[str]] = {}
    current = groups[0]
    for place, word in enumerate(words):
        if word == "--":
            groups.append(words[place:])
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
