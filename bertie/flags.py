"""Parse the words after a command's name into its parameters, with tyro and the command's signature.

``bertie.config`` checks the parsed values like those of a settings file. What tyro prints about wrong words becomes an
error message of one line. Flags win over the file that ``--config`` names, and the file over the defaults.
"""

import contextlib
import dataclasses
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.constructors import (
    ConstructorRegistry,
    PrimitiveConstructorSpec,
    PrimitiveTypeInfo,
    UnsupportedTypeAnnotationError,
)

from bertie import addresses, basic, config
from bertie.arguments import before_separator, is_positional, merge_repeated_flags, split_named_arguments, typed_flags
from bertie.errors import SettingsError
from bertie.help_texts import argument_help, ending, field_help, introduction, is_layered
from bertie.wrong_words import readable_errors, refuse_unknown_flags

_LONGEST_RANGE = 10_000
ALL = "--help-all"
COMMON: tuple[tuple[str, Any, Any, str], ...] = (
    ("config", Path | None, None, "Settings file; flags win over it."),
    ("json", bool, False, "Print the result as JSON."),
    ("quiet", bool, False, "Print no progress and no remarks on stderr."),
)
"""Name, type, default and help of the flags that every command has."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Output:
    """How to print: flags that every command has."""

    json: bool
    quiet: bool


class HelpPrinted(SystemExit):
    """The help was printed; `ending` is to be printed after it."""

    ending = ""


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
        HelpPrinted: ``--help`` printed the help; ``--help-all`` prints the flags that it leaves out too.
    """
    command = function.__name__.replace("_", "-")
    for word in words:
        addresses.check(word.partition("=")[2] if word.startswith("--") else word)
    parameters = config.signature(function)
    settings, typed = _read_settings(function, words), typed_flags(words)
    words, named = split_named_arguments(function, words)
    positional_names = {config.public_name(name) for name, parameter in parameters.items() if is_positional(parameter)}
    refuse_unknown_flags(function, words, positional_names)
    words = merge_repeated_flags(function, words)
    every = ALL in before_separator(words)
    words = ["--help"] if every else words
    short = not every and is_layered(function) and not {"-h", "--help"}.isdisjoint(before_separator(words))
    shape = _argument_class(function, settings | named, short=short)
    with readable_errors(command, words), _with_ending(ending(function, every=not short)):
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
    if values.get("seeds") is not None and "seed" not in typed | settings.keys():
        values.pop("seed", None)  # the default; validate refuses a seed together with seeds
    return config.validate(function, values), Output(json=parsed.json, quiet=parsed.quiet)


@contextlib.contextmanager
def _with_ending(text: str) -> Iterator[None]:
    """Give the exit after a printed help the text that follows it."""
    try:
        yield
    except SystemExit as stop:
        if stop.code:
            raise
        printed = HelpPrinted(0)
        printed.ending = text
        raise printed from None


def _argument_class(function: Callable[..., Any], settings: dict[str, Any], *, short: bool = False) -> type:
    """Build the dataclass that tyro fills: a command's parameters and the flags that every command has.

    The settings of a file become defaults. A short class, for the short help, has required parameters and basic flags.
    """
    helps, marks = argument_help(function), basic.marked(function)
    fields: list[tuple[str, Any, Any]] = []
    for name, parameter in config.signature(function).items():
        required = name not in settings and parameter.default is parameter.empty
        if short and not (
            required or config.group_type(parameter.annotation) or name in marks or is_positional(parameter)
        ):
            continue
        default = tyro.MISSING if required else settings.get(name, parameter.default)
        positional = is_positional(parameter)
        at_least_one = required and positional and typing.get_origin(typing.get_args(parameter.annotation)[0]) is tuple
        details = tyro.conf.arg(
            name=config.public_name(name),
            help=helps.get(name, ""),
            metavar=name.upper() if positional else None,
            help_behavior_hint="(at least one)" if at_least_one else "" if default is None else None,
        )
        annotation: Any = Annotated[parameter.annotation, details]
        kind = config.group_type(parameter.annotation)
        if short and kind:
            kind = _short_group(kind)
            if not is_positional(parameter):
                if dataclasses.fields(kind):
                    fields.append((name, Annotated[kind, details], kind()))
                continue
        if kind and _group_alternative(parameter):
            inner: Any = Annotated[kind, tyro.conf.arg(name=config.public_name(name))]
            fields.append((f"{name}_group", inner, default if isinstance(default, kind) else kind()))
            annotation, default = Annotated[str | None, details], default if isinstance(default, str) else None
        if positional:
            annotation = Annotated[annotation, tyro.conf.Positional]
        fields.append((name, annotation, default))
    for name, own, default, text in COMMON:
        fields.append(
            (
                name,
                Annotated[own, tyro.conf.arg(help=text, help_behavior_hint="" if default is None else None)],
                default,
            )
        )
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
    shape.__doc__ = introduction(function)
    return shape


def _short_group(group: type) -> Any:
    """Return a class with the basic fields of a group, for the short help."""
    texts, marks, kinds = field_help(group), basic.marked(group), basic.hints(group)
    fields = [
        (field.name, Annotated[kinds[field.name], tyro.conf.arg(help=texts.get(field.name, ""))], field)
        for field in dataclasses.fields(group)
        if field.name in marks
    ]
    short = dataclasses.make_dataclass(group.__name__, [(name, kind, field.default) for name, kind, field in fields])
    short.__doc__ = group.__doc__
    return short


def _group_alternative(parameter: inspect.Parameter) -> type | None:
    """Return the group of a parameter that may be a word or a group: MODEL, or --model.size 4/256; None for others."""
    return config.group_type(parameter.annotation) if is_positional(parameter) else None


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
    return config.validate(function, config.left_of_file(settings, typed_flags(words)), source=path, partial=True)
