"""Private helper: convert a task's settings from text to the types of its fields."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from bertie import registry
from bertie.errors import DataError, SettingsError
from bertie.untrusted import parse_json

if TYPE_CHECKING:
    from bertie.tasks.task import Task


def parse_settings(task: "type[Task]", settings: Mapping[str, Any]) -> dict[str, Any]:
    """Convert settings from text to the types of a task's fields.

    Raises:
        SettingsError: the task has no such setting, or a value doesn't fit its field.
    """
    hints = get_type_hints(task)
    names = {field.name for field in fields(task)}  # type: ignore[arg-type]
    parsed: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in names:
            raise SettingsError(f"{task.name} has no setting {name!r}; {registry.did_you_mean(name, names)}")
        parsed[name] = value
        if get_origin(hints[name]) is Literal and value not in get_args(hints[name]):
            raise SettingsError(f"{task.name}.{name} must be one of {', '.join(get_args(hints[name]))}; got {value!r}")
        if isinstance(value, str) and str(hints[name]).startswith("tuple[str"):
            parsed[name] = _names(value, f"{task.name}.{name}")
            continue
        takes_text = "str" in str(hints[name]) or "Literal" in str(hints[name])
        if isinstance(value, str) and not takes_text:
            try:
                parsed[name] = parse_json(value, f"{task.name}.{name}")
            except DataError:
                if "tuple" not in str(hints[name]):  # `learn` turns a word such as "balanced" into numbers
                    raise SettingsError(f"{task.name}.{name} can't be {value!r}") from None
    return parsed


def _names(value: str, where: str) -> list[str]:
    """Read a list from text: "a|b|c", or JSON, which names that contain "|" need.

    >>> _names("a | b", "labels"), _names('["a|b", "c"]', "labels")
    (['a', 'b'], ['a|b', 'c'])

    Raises:
        SettingsError: the JSON is invalid, or a name is not a text.
    """
    if not value.startswith("["):
        return [name.strip() for name in value.split("|")]
    try:
        names = parse_json(value, where)
    except DataError as error:
        raise SettingsError(f'{where} can\'t be {value[:200]!r}; write a|b|c, or ["a", "b", "c"]') from error
    if not all(isinstance(name, str) for name in names):
        raise SettingsError(f"{where} must be a list of texts; got {value[:200]!r}")
    return list(names)
