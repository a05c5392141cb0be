"""run.json: what a run began with and what it reached, with a checksum of its own; and what may change on the way.

Knows no folder; `runfolder.py` decides what follows from a change.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.files.atomic import write_text
from bertie.files.checksums import has_own_sum, with_own_sum
from bertie.untrusted import parse_json, read_bytes

FREE = frozenset({"resume", "accept_changes", "out", "quiet", "training.keep", "training.save_every"})
"""Settings that may differ between a run and its resumption: none of them changes the weights."""
MACHINE = frozenset({"threads", "device"})
"""Settings that belong to the machine: they may differ, and change the last bits of the weights."""
DATA = ("corpus", "train")
"""Settings that say where the data is, which may change too: the data's fingerprint may not."""
_LATER = (
    *("steps", "tokens", "epochs", "budget", "learning_rate", "precision", "dev", "dev_tokens", "dev_limit"),
    "freeze_cache",
    *("schedule.", "training.log_every", "training.evaluate_every", "training.micro_tokens"),
    *("optimizer.weight_decay", "optimizer.beta1", "optimizer.beta2", "optimizer.epsilon", "optimizer.clip_norm"),
    *("optimizer.momentum", "optimizer.largest_norm"),
)
"""Settings, or their beginnings, that a user may change on the way: a checkpoint fits whatever they are."""
_UNTIL_THEN = {"schedule.random_positions": False}
"""What a setting amounts to in a run that began before the setting existed."""


@dataclass(frozen=True)
class Changes:
    """Settings that differ, each in words."""

    changed: tuple[str, ...] = ()
    """What may differ when the user says so."""
    fixed: tuple[str, ...] = ()
    """What no checkpoint can be resumed with."""
    machine: tuple[str, ...] = ()
    """What belongs to the machine."""


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Say in words how the settings of two flat mappings differ, by key."""
    return {
        key: f"{key} was {shown(before.get(key))} and is now {shown(now.get(key))}"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    }


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> Changes:
    """Name the settings that differ and that may not do so freely, of two flat mappings."""
    found: dict[str, list[str]] = {"changed": [], "fixed": [], "machine": []}
    began = {**{key: value for key, value in _UNTIL_THEN.items() if key in now}, **before}
    for key, said in differences(began, now).items():
        if key in FREE or key in DATA:
            continue
        later = any(key.startswith(each) if each.endswith(".") else key == each for each in _LATER)
        kind = "machine" if key in MACHINE else "changed" if later else "fixed"
        found[kind].append(said)
    return Changes(*(tuple(found[kind]) for kind in ("changed", "fixed", "machine")))


def read(file: Path) -> dict[str, Any]:
    """Read run.json.

    Raises:
        DataError: it is damaged.
    """
    try:
        record: dict[str, Any] = parse_json(read_bytes(file), str(file), data=True)
        if not all(isinstance(record[key], str) for key in ("command", "data", "torch")):
            raise ValueError("a fingerprint or name isn't text")
        groups = [record["settings"], *(record.get(key, {}) for key in ("values", "config", "files", "kept"))]
        if not all(isinstance(group, dict) for group in groups):
            raise ValueError("the settings or figures aren't objects")
        if not has_own_sum(record):
            raise ValueError("it was changed: its checksum doesn't match")
    except (DataError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} is damaged ({type(error).__name__}: {error!s:.80}); "
            "without it the run can't be resumed: choose another --out"
        ) from error
    return record


def write(file: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Write run.json with a checksum, and return what it will be read as."""
    kept: dict[str, Any] = parse_json(json.dumps(record), str(file), data=True)
    sealed = with_own_sum(kept)
    write_text(file, json.dumps(sealed, indent=1) + "\n")
    return sealed


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings by dotted key as users write them (`from` for `from_`), in forms that JSON keeps."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        key = prefix + name.removesuffix("_")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            found.update(flat(value, f"{key}."))
        elif isinstance(value, os.PathLike):
            found[key] = str(Path(value).resolve())  # "out/corpus" and its full name are one place
        elif value is not None:
            found[key] = parse_json(json.dumps(value), key, data=True)
    return found


def shown(value: Any) -> str:
    """Write a setting for a message."""
    return "not set" if value is None else repr(value)
