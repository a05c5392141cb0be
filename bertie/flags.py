"""Parse the words after a command's name into its parameters, with tyro and the command's signature.

``bertie.config`` checks the parsed values like those of a settings file. What tyro prints about wrong words becomes an
error message of one line. Flags win over the file that ``--config`` names, and the file over the defaults.
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
    """How to print: flags that every command has."""

    json: bool
    quiet: bool


def parse(function: Callable[..., Any], words: list[str]) -> tuple[dict[str, Any], Output]:
    """Parse a command's arguments and flags.

    Flags win over the settings file of ``--config``, and the file over the defaults.

    Args:
        function: the command function.
        words: the words after the command's name.

    Returns:
        Keyword arguments for the function, and how to print its report.

    Raises:
        SettingsError: an unknown flag, a missing argument, a wrong value, or a bad settings file.
        SystemExit: ``--help`` printed the help.
    """
    command = function.__name__.replace("_", "-")
    parameters = config.signature(function)
    settings, typed_flags = _read_settings(function, words), _typed_flags(words)
    words, named = _split_named_arguments(function, words)
    positional_names = {config.public_name(name) for name, parameter in parameters.items() if _is_positional(parameter)}
    refuse_unknown_flags(function, words, positional_names)
    words = _merge_repeated_flags(function, words)
    shape = _argument_class(function, settings | named)
    with readable_errors(command, words):
        marks = (tyro.conf.AvoidSubcommands,)
        parsed: Any = tyro.cli(shape, args=words, prog=f"bertie {command}", config=marks, registry=_constructors())
    values = {name: getattr(parsed, name) for name in parameters}
    for name, parameter in parameters.items():
        if group := _group_alternative(parameter):
            values[name] = _word_or_group(parsed, name, group, before=(settings | named).get(name), typed=name in named)
    empty = [
        name.upper() for name in values if values[name] == () and parameters[name].default is inspect.Parameter.empty
    ]
    if empty:  # tyro accepts no words as an empty tuple; a required parameter needs at least one
        raise SettingsError(f"missing: {', '.join(empty)}; see bertie {command} --help")
    if values.get("seeds") is not None and "seed" not in typed_flags | settings.keys():
        values.pop("seed", None)  # the default; validate refuses a seed together with seeds
    return config.validate(function, values), Output(json=parsed.json, quiet=parsed.quiet)


def _argument_class(function: Callable[..., Any], settings: dict[str, Any]) -> type:
    """Build the dataclass that tyro fills: a command's parameters and the flags that every command has.

    The settings of a file become defaults.
    """
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
        if group := _group_alternative(parameter):
            inner: Any = Annotated[group, tyro.conf.arg(name=config.public_name(name))]
            fields.append((f"{name}_group", inner, default if isinstance(default, group) else group()))
            annotation, default = Annotated[str | None, details], default if isinstance(default, str) else None
        if positional:
            annotation = Annotated[annotation, tyro.conf.Positional]
        fields.append((name, annotation, default))
    for name, kind, default, text in (
        ("config", Path | None, None, "Settings file; flags win over it."),
        ("json", bool, False, "Print the result as JSON."),
        ("quiet", bool, False, "Print no progress and no remarks on stderr."),
    ):
        fields.append((name, Annotated[kind, tyro.conf.arg(help=text)], default))
    shape = dataclasses.make_dataclass(
        function.__name__,
        # A factory, because a dataclass refuses mutable defaults such as dictionaries.
        [
            (name, kind, dataclasses.field(default_factory=functools.partial(lambda value: value, default)))
            for name, kind, default in fields
        ],
        kw_only=True,
        frozen=True,
    )
    shape.__doc__ = SECTION.split(inspect.getdoc(function) or "")[0]
    return shape


def _group_alternative(parameter: inspect.Parameter) -> type | None:
    """Return the group of a parameter that may be a word or a group: MODEL, or --model.size 4/256; None for others."""
    return config.group_type(parameter.annotation) if _is_positional(parameter) else None


def _word_or_group(parsed: Any, name: str, kind: type, *, before: Any, typed: bool) -> Any:
    """Return the word or the group that was typed, or the earlier value if neither was.

    Args:
        parsed: what tyro returned.
        name: the parameter.
        kind: the class of the group.
        before: the value from a settings file, or from a flag of this name in addition to the file.
        typed: whether the parameter was typed as a flag.

    Raises:
        SettingsError: both a word and flags of the group were typed.
    """
    word, group = getattr(parsed, name), getattr(parsed, f"{name}_group")
    new_word = typed or word != (before if isinstance(before, str) else None)
    new_group = group != (before if isinstance(before, kind) else kind())
    if new_word and new_group:
        raise SettingsError(f"give {name.upper()} ({word!r}) or flags --{config.public_name(name)}.*, not both")
    return group if new_group else word if new_word else before


def _constructors() -> ConstructorRegistry:
    """Make tyro parse ``X | None`` like X, ``key=value,...`` as a dictionary, and ``1,2,3`` or ``1-5`` as integers."""
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
        return None  # a tuple: tyro parses it by itself
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=inner.metavar,
        instance_from_str=lambda words: None if words == ["None"] else inner.instance_from_str(words),
        is_instance=lambda value: value is None or inner.is_instance(value),
        str_from_instance=lambda value: ["None"] if value is None else inner.str_from_instance(value),
        choices=None if inner.choices is None else (*inner.choices, "None"),
    )


_PAIR_SEPARATOR = re.compile(r",(?![^\[]*\])")
"""A comma between pairs; not one inside a list in brackets."""


def _pairs(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[dict[str, Any]] | None:
    if typing.get_origin(info.type) is not dict:
        return None
    value_type = typing.get_args(info.type)[1]
    value_type = str if value_type is Any else value_type  # Any: the command converts the text

    def read(words: list[str]) -> dict[str, Any]:
        pairs = [pair.partition("=") for pair in _PAIR_SEPARATOR.split(words[0])]
        if wrong := [key + equals for key, equals, _ in pairs if not equals or not key]:
            raise ValueError(f"{wrong[0]!r} is not of the form KEY=VALUE")
        return {key: value_type(value) for key, _, value in pairs}

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="KEY=VALUE,...",
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [",".join(f"{key}={item}" for key, item in value.items())],
    )


def _numbers(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[tuple[int, ...]] | None:
    """Parse whole numbers from one word, ``1,2,3`` or ``1-5``: several words would take in the argument after them."""
    if info.type != tuple[int, ...]:
        return None

    def read(words: list[str]) -> tuple[int, ...]:
        numbers: list[int] = []
        for part in words[0].split(","):
            range_match = re.fullmatch(r"\s*(-?\d+)(?:\s*-\s*(\d+))?\s*", part, re.ASCII)
            if range_match is None:
                raise ValueError(f"{part!r} is neither a whole number nor a range; write them as 1,2,3 or 1-5")
            first = int(range_match[1])
            last = first if range_match[2] is None else int(range_match[2])
            if not 0 <= last - first <= _LONGEST_RANGE:
                raise ValueError(f"{part!r} is not a range from a lower number to a higher one, such as 1-5")
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
    """Read the description of each parameter in the ``Args`` section of a docstring.

    Args:
        function: a command function with a Google docstring.

    Returns:
        One paragraph for each parameter of the section.
    """
    parts = SECTION.split(inspect.getdoc(function) or "")  # the text before, then headings and their texts in turn
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


def _read_settings(function: Callable[..., Any], words: list[str]) -> dict[str, Any]:
    """Read the file that ``--config`` names, if any, and check it against the command."""
    path: str | None = None
    for index, word in enumerate(words):
        if word == "--":
            break
        if word == "--config":
            path = next(iter(words[index + 1 :]), None)
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
    return config.validate(function, config.left_of_file(settings, _typed_flags(words)), source=path, partial=True)


def _typed_flags(words: list[str]) -> set[str]:
    """Return the names of the parameters whose flags were typed."""
    flags = words[: words.index("--")] if "--" in words else words
    return {word.partition("=")[0][2:].replace("-", "_") for word in flags if word.startswith("--")}


def _split_named_arguments(function: Callable[..., Any], words: list[str]) -> tuple[list[str], dict[str, Any]]:
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
        if parameter is None or not _is_positional(parameter):
            rest.append(word)
            continue
        named[parameter.name] = value if equals else next(remaining, None)
        if not named[parameter.name]:
            raise SettingsError(f"{flag} needs a value")
    return rest, config.validate(function, named, partial=True)


def _merge_repeated_flags(function: Callable[..., Any], words: list[str]) -> list[str]:
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
