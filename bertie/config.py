"""A command's signature as a schema: TOML files, Python calls and flags are checked against it here, in one place.

A parameter whose type is a dataclass is a *group*: ``[training]`` in a file, ``--training.save-every`` as a flag,
``training={"save_every": 100}`` or an instance in Python. TOML has no null: a key that is absent keeps its default, so
what may be None must default to None. A parameter that would be a Python keyword ends in an underscore, and only Python
sees it: ``from_`` is ``from`` in a file and ``--from`` as a flag. Flags are parsed in ``bertie.cli``; nothing here
knows argv.
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

from bertie import toml
from bertie.errors import SettingsError
from bertie.files.atomic import write_text
from bertie.hints import hint
from bertie.untrusted import read_toml
from bertie.version import VERSION

T = TypeVar("T")


class PositionalMarker:
    """Marks a parameter that is typed without its name; see ``Positional``."""


Positional = Annotated[T, PositionalMarker()]
"""``model: Positional[Path]`` makes ``bertie predict MODEL`` of what would be ``bertie predict --model MODEL``."""


def signature(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Read a command function's parameters, their annotations resolved to types.

    Args:
        function: a command function; every parameter must be annotated.

    Returns:
        Parameters by name, in order; ``annotation`` keeps ``Annotated`` markers. ``**overrides`` is left out.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    return {
        name: parameter.replace(annotation=hints[name])
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }


def public_name(name: str) -> str:
    """Return a parameter's name as users write it: ``from`` for ``from_``."""
    return name.removesuffix("_")


def group_type(annotation: Any) -> type | None:
    """Return the dataclass behind an annotation, alone or among other types, or None when it isn't a group."""
    bare = typing.get_args(annotation)[0] if typing.get_origin(annotation) is Annotated else annotation
    members = (bare, *typing.get_args(bare))
    return next((each for each in members if isinstance(each, type) and dataclasses.is_dataclass(each)), None)


@functools.cache
def known_keys(function: Callable[..., Any]) -> Mapping[str, Any]:
    """List every dotted key a command takes, groups included, with its annotation.

    Args:
        function: a command function.

    Returns:
        Annotations by dotted key; "training" and "training.save_every" are both keys.
    """
    keys: dict[str, Any] = {}

    def visit(prefix: str, annotations: Mapping[str, Any]) -> None:
        for name, annotation in annotations.items():
            keys[prefix + name] = annotation
            if group := group_type(annotation):
                hints = typing.get_type_hints(group, include_extras=True)
                fields = {field.name: hints[field.name] for field in dataclasses.fields(group) if field.init}
                visit(f"{prefix}{name}.", fields)

    visit("", {public_name(name): parameter.annotation for name, parameter in signature(function).items()})
    return keys


def plain(value: Any, key: str = "value") -> Any:
    """Turn settings into what TOML and JSON can hold: dataclasses to dictionaries, paths to text, tuples to lists.

    Args:
        value: a setting.
        key: its dotted name, for the error.

    Raises:
        SettingsError: the value, or something in it, has no form in a file.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return float(value)  # numpy's float64 is a float that writes itself differently
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):  # undecodable bytes of a file's name
            raise SettingsError(f"{key}: {value!r:.80} is not valid UTF-8")
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field.name for field in dataclasses.fields(value) if field.init]
        return {name: plain(getattr(value, name), f"{key}.{name}") for name in fields}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(name): plain(item, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset | range):
        return [plain(item, f"{key}[{place}]") for place, item in enumerate(value)]
    if hasattr(value, "item"):  # a numpy number
        return plain(value.item(), key)
    shown = "" if "\n" in (said := f"{value!r:.80}") else f": {said}"  # a table is drawn in lines
    raise SettingsError(f"{key}: can't use a value of type {type(value).__name__}{shown}")


def validate(
    function: Callable[..., Any], values: Mapping[str, Any], *, source: str = "", partial: bool = False
) -> dict[str, Any]:
    """Check settings against a command's signature and give them their types.

    Types are strict, as TOML's are: no number in quotes, no true for 1, no nan; an integer may stand for a float.
    A group given in part keeps the rest of the parameter's default.

    Args:
        function: a command function.
        values: settings by parameter name; groups as dictionaries or dataclass instances.
        source: where they came from, to open an error message with: a file's name.
        partial: whether parameters without default may be missing, because flags will bring them.

    Returns:
        Keyword arguments for the function: the given parameters only.

    Raises:
        SettingsError: an unknown key, a missing parameter, or a value of the wrong type, by its dotted key.
    """
    place = f"{source}: " if source else ""
    parameters = signature(function)
    given = {public_name(name): plain(value, place + public_name(name)) for name, value in values.items()}
    if len(given) < len(values):
        raise SettingsError(f"{place}{next(name for name in values if name != public_name(name))[:-1]} is given twice")
    known = known_keys(function)
    _refuse_unknown(given, known, place)
    if given.get("seed") is not None and given.get("seeds") is not None:
        raise SettingsError(f"{place}give seed or seeds, not both")
    for name, parameter in ((public_name(name), parameter) for name, parameter in parameters.items()):
        has_default = parameter.default is not parameter.empty
        if name not in given and not has_default and not partial:
            raise SettingsError(f"{place}{name} is required")
        if has_default and group_type(parameter.annotation) and isinstance(given.get(name), dict):
            given[name] = merged(plain(parameter.default, name) or {}, given[name])
    checked_values = _parse(function, given, known, place)
    return {name: getattr(checked_values, name) for name in parameters if public_name(name) in given}


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a command so that a Python call is checked as a file is: text becomes a path, a dictionary a group.

    Args:
        function: a command function.

    Returns:
        The same function; wrong arguments raise ``SettingsError`` with "did you mean".
    """
    shape = inspect.signature(function)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in shape.parameters.values()):
        return function  # it checks its own, against the command that it runs

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
        path: a TOML file, or a run folder that holds a ``config.toml``.

    Returns:
        What the file says, as plain values; ``command`` is among them when the file names one.

    Raises:
        SettingsError: the file isn't there, can't be read, or is no TOML.
    """
    file = Path(path)
    if file.is_dir():
        file = file / "config.toml"
    return read_toml(file)


def write(path: str | Path, *, command: str, parameters: Mapping[str, Any]) -> None:
    """Write the settings file that repeats a run; it appears whole or not at all.

    Args:
        path: the file to write, by convention ``config.toml`` in the run folder.
        command: the command's name.
        parameters: its parameters, defaults included; ``locals()`` on a command's first line gives them.

    Raises:
        SettingsError: a value has no form in TOML, or the file can't be written there.
        ResourceError: the disk is full.
    """
    write_text(path, render(command=command, parameters=parameters))


def render(*, command: str, parameters: Mapping[str, Any]) -> str:
    """Return the text ``write`` writes: ``command = "..."`` on top, then the keys, then a table per group."""
    values = {public_name(name): plain(value, name) for name, value in parameters.items()}
    return f"# bertie {VERSION}; repeat with: bertie run FILE\n" + toml.dumps({"command": command, **values})


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain settings with others laid over them; groups are merged key by key."""
    result = dict(base)
    for name, value in over.items():
        both_groups = isinstance(value, dict) and isinstance(result.get(name), dict)
        result[name] = merged(result[name], value) if both_groups else value
    return result


_WAYS = (frozenset({"steps", "tokens", "epochs", "budget"}), frozenset({"seed", "seeds"}))
"""Ways to say how long a run is, and from which seeds: a run has one of each."""


def left_of_file(settings: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Return a file's settings without its way to say how long, or which seeds, where one is given beside the file.

    Args:
        settings: what the file says.
        given: names of what stands beside it and wins over it.
    """
    replaced = {name for ways in _WAYS if not ways.isdisjoint(given) for name in ways}
    return {name: value for name, value in settings.items() if name not in replaced}


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Compare two sets of settings, for a resumed run that must not have changed.

    Args:
        old: settings as a file or a call has them.
        new: the same, later.

    Returns:
        Old and new value by dotted key, where they differ; None stands for a key that is absent.
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
            said = hint(key, known, lambda other, value: f"{other!r} (such as {value!r})" if value else repr(other))
            if name in known:
                said = f"write {name.partition('.')[0]} as a group of settings"
            top = ", ".join(other for other in known if "." not in other)
            raise SettingsError(f"{place}unknown key {key!r}; {said or f'there are {top}'}")
        if isinstance(value, dict) and group_type(known[key]):
            _refuse_unknown(value, known, place, f"{key}.")


def _parse(function: Callable[..., Any], given: Mapping[str, Any], known: Mapping[str, Any], place: str) -> Any:
    from pydantic import ValidationError

    try:
        names = {public_name(name): name for name in signature(function)}
        return _adapter(function).validate_json(json.dumps({names[key]: value for key, value in given.items()}))
    except ValidationError as error:
        first = max(error.errors(include_url=False), key=lambda found: len(found["loc"]))  # the most precise
        key = _error_key(first["loc"], known)
        if first["type"] == "missing":
            raise SettingsError(f"{place}{key} is required") from None
        reason = first["msg"].replace("Input should", "should").replace("an object", "a table of settings")
        raise SettingsError(f"{place}{key} {reason}, not {first['input']!r:.80}") from None


@functools.cache
def _adapter(function: Callable[..., Any]) -> Any:
    """Build the strict parser of a command's parameters, as of a dataclass that has them as fields."""
    from pydantic import ConfigDict, TypeAdapter

    # A key may be left out here: the function itself fills in its defaults, and ``validate`` knows what is required.
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
        # Other parts name the members of a union, which the user never sees.
    return key
