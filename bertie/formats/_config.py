"""Read a Hugging Face folder's config.json as an untrusted file: every value is checked before it is used.

A helper of the formats. It knows no tensors and no tasks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import registry
from bertie.errors import DataError, SettingsError
from bertie.formats._folder import no_config
from bertie.untrusted import read_object

if TYPE_CHECKING:
    from bertie.models.model import Architecture, Config

_MAX_SIZE = 1 << 31
# Features that bertie's encoders lack: a config that turns one on describes another network.
_OFF = ("is_decoder", "add_cross_attention")


def read_config(folder: Path) -> dict[str, Any]:
    """Read config.json.

    Raises:
        SettingsError: the folder has none.
        DataError: it is not a JSON object, it is too large, or its `bertie` object is broken.
    """
    file = folder / "config.json"
    if not file.exists():
        raise no_config(folder) if folder.is_dir() else SettingsError(f"{folder}: no such model folder")
    values = read_object(file)
    ours, names = values.get("bertie", {}), values.get("architectures") or []
    if not isinstance(ours, dict) or not isinstance(ours.get("settings", {}), dict):
        raise DataError(f"{file}: bertie and bertie.settings must be JSON objects")
    labels = ours.get("settings", {}).get("labels", [])
    if not isinstance(labels, list) or not all(isinstance(name, str) for name in labels):
        raise DataError(f"{file}: bertie.settings.labels must be a list of names; got {labels!r:.60}")
    if not isinstance(ours.get("task", ""), str):
        raise DataError(f"{file}: bertie.task must be a task's name; got {ours['task']!r}")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(f"{file}: architectures must be a list of names; got {names!r}")
    return values


def architecture_name(values: Mapping[str, Any], folder: Path) -> str:
    """Return the architecture for a config's `model_type`: the name of a file of models/.

    Raises:
        DataError: bertie has no such architecture.
    """
    from bertie.models.model import architecture

    known = registry.choices("models")
    kind = values["model_type"] if values.get("model_type") is not None else _from_classes(values, known, folder)
    if kind == "encoder-decoder":
        return "seq2seq"
    if kind == "bert" and values.get("is_decoder") and not values.get("add_cross_attention"):
        return "causal"
    name = str(kind).replace("-", "_")
    if name not in known or kind not in architecture(name).model_types:
        written = (each.replace("_", "-") for each in known)
        raise DataError(f"{folder}/config.json: model_type {kind!r:.60} is not among {', '.join(written)}")
    return name


def _from_classes(values: Mapping[str, Any], known: Sequence[str], folder: Path) -> str:
    """Infer the architecture of a config without model_type from its class name.

    Old BERT configs name no class either, so the default is BERT.

    Raises:
        DataError: the class belongs to an architecture that bertie lacks.
    """
    names = [str(name) for name in values.get("architectures") or ()]
    fitting = [
        kind for kind in sorted(known, key=len) for name in names if name.lower().startswith(kind.replace("_", ""))
    ]
    if names and not fitting and "For" in names[0]:
        raise DataError(
            f"{folder}/config.json has no model_type, and its class {names[0]!r:.60} is not among {', '.join(known)}; "
            'if the model is one of them, add the type, such as "model_type": "bert"'
        )
    return fitting[0] if fitting else "bert"


def encoder_config(values: Mapping[str, Any], module: Architecture, folder: Path) -> Config:
    """Build the encoder's config from config.json.

    Args:
        values: config.json.
        module: its architecture, a file of models/.
        folder: for messages.

    Raises:
        DataError: a value of the wrong type or out of range.
        SettingsError: a feature that the encoder lacks.
    """
    from bertie.formats._keys import refuse_others

    refuse_others(values, folder)
    where = f"{folder}/config.json"
    for field in dataclasses.fields(module.config):
        name = module.config.FOREIGN.get(field.name)
        if name in values:
            _check(values[name], field, f"{where}: {name}")
    for name in _OFF:
        if values.get(name) and name not in module.allowed:
            raise DataError(f"{where}: {name} is {values[name]!r}; bertie's encoders have no cross-attention")
    try:
        config: Config = module.config.from_foreign(values)
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from error
    return config


def _check(value: Any, field: dataclasses.Field[Any], name: str) -> None:
    """Check a value against the type of its field: a size, a rate, a small number, a flag or a name."""
    kind = field.type.__name__ if isinstance(field.type, type) else str(field.type)
    if value is None and (field.name == "pad_id" or "None" in kind):
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "int":
        lowest = 0 if field.name == "pad_id" or field.default == 0 else 1
        if not isinstance(value, int) or not number or not lowest <= value < _MAX_SIZE:
            raise DataError(f"{name} must be a whole number from {lowest} to {_MAX_SIZE - 1}; got {value!r}")
    elif kind.startswith("float"):
        highest = 1.0 if "dropout" in field.name else 1e6
        if not number or not 0 <= value < highest:
            raise DataError(f"{name} must be a number from 0 to below {highest:g}; got {value!r}")
    elif kind == "bool":
        if not isinstance(value, bool):
            raise DataError(f"{name} must be true or false; got {value!r}")
    elif not isinstance(value, str):
        raise DataError(f"{name} must be a name; got {value!r}")
