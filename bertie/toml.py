"""Write TOML, which Python's standard library can only read: plain values, then a table for each group."""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from bertie.errors import SettingsError


def dumps(values: Mapping[str, Any]) -> str:
    """Return plain values as TOML; keys with the value None are left out.

    Args:
        values: text, numbers, lists and dictionaries.

    Raises:
        SettingsError: TOML can't hold a value.

    >>> print(dumps({"seed": 1, "model": {"size": "2/128"}}), end="")
    seed = 1
    <BLANKLINE>
    [model]
    size = "2/128"
    """
    lines: list[str] = []

    def table(values: Mapping[str, Any], heading: str) -> None:
        for name, value in values.items():
            if value is not None and not isinstance(value, dict):
                lines.append(f"{_key(name)} = {_value(value, f'{heading}.{name}'.lstrip('.'))}")
        for name, value in values.items():
            if isinstance(value, dict):
                inner = f"{heading}.{_key(name)}" if heading else _key(name)
                lines.extend(["", f"[{inner}]"])
                table(value, inner)

    table(values, "")
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _value(name, name)


def _value(value: Any, key: str) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise SettingsError(f"{key}: a settings file can't hold {value!r}")
    if isinstance(value, list):
        return f"[{', '.join(_value(item, key) for item in value)}]"
    if isinstance(value, dict):
        items = (f"{_key(name)} = {_value(item, key)}" for name, item in value.items() if item is not None)
        return f"{{ {', '.join(items)} }}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # the same form in both
