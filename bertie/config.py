"""Check settings from TOML files, Python calls and flags against a command's signature.

A parameter whose type is a dataclass is a *group*: ``[training]`` in a file, ``--training.save-every`` as a flag,
``training={"save_every": 100}`` or an instance in Python. TOML has no null, and an absent key keeps its default, so a
parameter that may be None must default to None. A parameter named like a Python keyword ends in an underscore in Python
only: ``from_`` is ``from`` in a file and ``--from`` as a flag. ``bertie.flags`` parses the flags themselves.
"""

import dataclasses
import functools
import inspect
import json
import os
import typing
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from bertie import addresses, basic, toml
from bertie.errors import SettingsError
from bertie.files.atomic import write_text
from bertie.hints import hint
from bertie.storage.inputs import local
from bertie.untrusted import read_toml
from bertie.version import VERSION

T = TypeVar("T")


class PositionalMarker:
    """Mark a parameter that is typed without its name; see ``Positional``."""


Positional = Annotated[T, PositionalMarker()]
"""``model: Positional[Path]`` is typed as ``bertie predict MODEL`` instead of ``bertie predict --model MODEL``."""


def signature(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return a command's parameters, with their annotations resolved to types.

    Args:
        function: a command function; every parameter must be annotated.

    Returns:
        Parameters by name, in order; ``annotation`` keeps ``Annotated`` markers. ``**overrides`` is left out.
    """
    hints = basic.hints(function)
    return {
        name: parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }


def public_name(name: str) -> str:
    """Return a parameter's name as users write it: ``from`` for ``from_``."""
    return name.removesuffix("_")


def group_type(annotation: Any) -> type | None:
    """Return the dataclass in an annotation, alone or in a union; None if the parameter isn't a group."""
    bare = typing.get_args(annotation)[0] if typing.get_origin(annotation) is Annotated else annotation
    members = (bare, *typing.get_args(bare))
    return next((each for each in members if isinstance(each, type) and dataclasses.is_dataclass(each)), None)


@functools.cache
def known_keys(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Return every dotted key that a command takes, with its annotation.

    Args:
        function: a command function.

    Returns:
        Annotations by dotted key; both the group "training" and its field "training.save_every" are keys.
    """
    keys: dict[str, Any] = {}

    def visit(prefix: str, annotations: Mapping[str, Any]) -> None:
        for name, annotation in annotations.items():
            keys[prefix + name] = annotation
            if group := group_type(annotation):
                hints = basic.hints(group)
                fields = {field.name: hints[field.name] for field in dataclasses.fields(group) if field.init}
                visit(f"{prefix}{name}.", fields)

    visit("", {public_name(name): parameter.annotation for name, parameter in signature(function).items()})
    return keys


def plain(value: Any, key: str = "value") -> Any:
    """Convert a setting to plain values for TOML and JSON: dataclasses to dictionaries, paths to text, tuples to lists.

    Args:
        value: a setting.
        key: its dotted key, for the error message.

    Raises:
        SettingsError: the value, or a value inside it, has a type that a file can't hold.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value)  # numpy's float64 is a float too, but its repr differs
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):  # undecodable bytes of a file's name
            raise SettingsError(f"{key}: {value!r:.80} is not valid UTF-8")
        addresses.check(value)
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return {name: plain(getattr(value, name), f"{key}.{name}") for name in fields}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | range):
        return [plain(item, f"{key}[{index}]") for index, item in enumerate(value)]
    if hasattr(value, "item"):  # a numpy number
        return plain(value.item(), key)
    detail = "" if "\n" in (text := f"{value!r:.80}") else f": {text}"  # a data frame's repr has several lines
    raise SettingsError(f"{key}: can't use a value of type {type(value).__name__}{detail}")


def validate(
    function: Callable[..., Any], values: Mapping[str, Any], *, source: str = "", partial: bool = False
) -> dict[str, Any]:
    """Check settings against a command's signature and convert them to its types.

    Types are strict, as in TOML: no number in quotes, no true for 1, no nan. Only an integer for a float is accepted.
    Fields that a group leaves out come from the parameter's default.

    Args:
        function: a command function.
        values: settings by parameter name; groups as dictionaries or dataclass instances.
        source: the name of the settings file, with which error messages start.
        partial: whether required parameters may be missing, because flags will supply them.

    Returns:
        Keyword arguments for the function: only the parameters in ``values``.

    Raises:
        SettingsError: an unknown key, a missing parameter, or a value of the wrong type, by its dotted key.
    """
    prefix = f"{source}: " if source else ""
    parameters = signature(function)
    named = {public_name(name): plain(value, prefix + public_name(name)) for name, value in values.items()}
    if len(named) < len(values):
        raise SettingsError(f"{prefix}{next(name for name in values if name != public_name(name))[:-1]} is given twice")
    known = known_keys(function)
    _refuse_unknown(named, known, prefix)
    if named.get("seed") is not None and named.get("seeds") is not None:
        raise SettingsError(f"{prefix}give seed or seeds, not both")
    for name, parameter in ((public_name(name), parameter) for name, parameter in parameters.items()):
        has_default = parameter.default is not parameter.empty
        if name not in named and not has_default and not partial:
            raise SettingsError(f"{prefix}{name} is required")
        if has_default and group_type(parameter.annotation) and isinstance(named.get(name), dict):
            named[name] = merged(plain(parameter.default, name) or {}, named[name])
    checked_values = _parse(function, named, known, prefix)
    return {name: getattr(checked_values, name) for name in parameters if public_name(name) in named}


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a command so that a Python call is checked like a settings file.

    Text is converted to a path and a dictionary to a group.

    Args:
        function: a command function.

    Returns:
        A function that raises ``SettingsError`` for wrong arguments and suggests the right name.
    """
    shape = inspect.signature(function)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in shape.parameters.values()):
        return function  # `run` checks its overrides against the command in its file

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        positional = shape.bind_partial(*args).arguments
        if twice := positional.keys() & kwargs.keys():
            raise TypeError(f"{function.__name__}() got multiple values for argument {min(twice)!r}")
        return function(**validate(function, {**positional, **kwargs}))

    return call


def read(path: str | Path) -> dict[str, Any]:
    """Read a settings file.

    Args:
        path: a TOML file, or a run folder that holds a ``config.toml``; also by address.

    Returns:
        The file's settings as plain values, with ``command`` if the file names one.

    Raises:
        SettingsError: the file doesn't exist, can't be read, or isn't TOML.
    """
    file = local(Path(path))
    if file.is_dir():
        file = file / "config.toml"
    return read_toml(file)


def write(path: str | Path, *, command: str, parameters: Mapping[str, Any]) -> None:
    """Write the settings file that repeats a run, atomically.

    Args:
        path: the file to write, by convention ``config.toml`` in the run folder.
        command: the command's name.
        parameters: its parameters, defaults included; ``locals()`` on a command's first line returns them.

    Raises:
        SettingsError: a value has a type that TOML can't hold, or the file can't be written there.
        ResourceError: the disk is full.
    """
    write_text(path, render(command=command, parameters=parameters))


def render(*, command: str, parameters: Mapping[str, Any]) -> str:
    """Return the text of a settings file: ``command = "..."``, then the keys, then a table for each group."""
    values = {public_name(name): plain(value, name) for name, value in parameters.items()}
    text = f"# bertie {VERSION}; repeat with: bertie run FILE\n" + toml.dumps({"command": command, **values})
    return addresses.shown(text)


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain settings updated by others, groups key by key.

    >>> merged({"seed": 1, "model": {"size": "2/128", "dropout": 0.1}}, {"model": {"dropout": 0.0}})
    {'seed': 1, 'model': {'size': '2/128', 'dropout': 0.0}}
    """
    result = dict(base)
    for name, value in over.items():
        both_groups = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = merged(result[name], value) if both_groups else value
    return result


_ALTERNATIVES = (frozenset({"steps", "tokens", "epochs", "budget"}), frozenset({"seed", "seeds"}))
"""Alternative settings: a run has one of each set, which decides its length or its seeds."""


def left_of_file(settings: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Return a file's settings without those that a flag or argument replaces by an alternative.

    If ``--steps`` is given, for example, the file's ``epochs`` is dropped.

    Args:
        settings: the file's settings.
        given: names of the parameters given in addition to the file; they win over it.
    """
    replaced = {name for alternatives in _ALTERNATIVES if not alternatives.isdisjoint(given) for name in alternatives}
    return {name: value for name, value in settings.items() if name not in replaced}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Compare the settings of a stopped run with those of its continuation.

    Args:
        old: settings of the stopped run, from a file or a call.
        new: settings of the resumed run.

    Returns:
        The old and new value by dotted key, where they differ; None for an absent key.
    """
    before, after = _flat(plain(dict(old))), _flat(plain(dict(new)))
    keys = [*before, *(key for key in after if key not in before)]
    return {key: (before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        key = prefix + public_name(name)
        if isinstance(value, dict):
            flat.update(_flat(value, f"{key}."))
        elif value is not None:
            flat[key] = value
    return flat


def _refuse_unknown(values: Mapping[str, Any], known: Mapping[str, Any], place: str, prefix: str = "") -> None:
    for name, value in values.items():
        key = prefix + name
        if key not in known or "." in name:
            advice = hint(key, known, lambda other, value: f"{other!r} (such as {value!r})" if value else repr(other))
            if name in known:
                advice = f"write {name.partition('.')[0]} as a group of settings"
            top = ", ".join(other for other in known if "." not in other)
            raise SettingsError(f"{place}unknown key {key!r}; {advice or f'there are {top}'}")
        if isinstance(value, dict) and group_type(known[key]):
            _refuse_unknown(value, known, place, f"{key}.")


def _parse(function: Callable[..., Any], given: Mapping[str, Any], known: Mapping[str, Any], place: str) -> Any:
    from pydantic import ValidationError

    try:
        names = {public_name(name): name for name in signature(function)}
        return _adapter(function).validate_json(json.dumps({names[key]: value for key, value in given.items()}))
    except ValidationError as error:
        first = max(error.errors(include_url=False), key=lambda detail: len(detail["loc"]))  # the most precise
        key = _error_key(first["loc"], known)
        if first["type"] == "missing":
            raise SettingsError(f"{place}{key} is required") from None
        reason = first["msg"].replace("Input should", "should").replace("an object", "a table of settings")
        raise SettingsError(f"{place}{key} {reason}, not {first['input']!r:.80}") from None


@functools.cache
def _adapter(function: Callable[..., Any]) -> Any:
    """Build the strict parser of a command's parameters: of a dataclass that has them as fields."""
    from pydantic import ConfigDict, TypeAdapter

    # No field is required: the function fills in its own defaults, and ``validate`` reports missing parameters.
    fields = [
        (name, parameter.annotation, dataclasses.field(default=None)) for name, parameter in signature(function).items()
    ]
    shape = dataclasses.make_dataclass(function.__name__, fields, kw_only=True)
    shape.__pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False)  # type: ignore[attr-defined]
    return TypeAdapter(shape)


def _error_key(location: tuple[int | str, ...], known: Mapping[str, Any]) -> str:
    key = ""
    for part in location:
        if isinstance(part, int):
            key += f"[{part}]"
        elif (longer := public_name(f"{key}.{part}".lstrip("."))) in known:
            key = longer
        # Other parts are names of union members, which users don't know.
    return key
