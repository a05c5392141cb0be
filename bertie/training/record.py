"""run.json: the settings and results of a run, with a checksum; and which settings may change when it is resumed.

`runfolder.py` uses this file and decides what follows from a change.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie import addresses
from bertie.errors import DataError
from bertie.files.atomic import write_text
from bertie.files.checksums import has_own_sum, with_own_sum
from bertie.untrusted import parse_json, read_bytes

FREE = frozenset(
    {"resume", "accept_changes", "out", "quiet", "track", "training.keep", "training.save_every"}
    | {"training.stall_after"}
    | {"card.license", "card.language"}
)
"""Settings that may differ when a run is resumed: none of them changes the weights."""
MACHINE = frozenset({"threads", "device"})
"""Settings of the machine. They may differ when a run is resumed, but change the last bits of the weights."""
DATA = ("corpus", "train")
"""Settings with the path of the data. The path may differ when a run is resumed, the data's fingerprint may not."""
_LATER = (
    *("steps", "tokens", "epochs", "budget", "learning_rate", "precision", "dev", "dev_tokens", "dev_limit"),
    "freeze_cache",
    *("schedule.", "training.log_every", "training.evaluate_every", "training.micro_tokens"),
    *("optimizer.weight_decay", "optimizer.beta1", "optimizer.beta2", "optimizer.epsilon", "optimizer.clip_norm"),
    *("optimizer.momentum", "optimizer.largest_norm"),
)
"""Settings, or prefixes of settings, that a user may change when a run is resumed: checkpoints fit any value."""
_OLD_RUNS = {"schedule.random_positions": False}
"""The values of settings in runs that began before the setting existed."""


@dataclass(frozen=True)
class Changes:
    """Settings that differ, each described in words."""

    changed: tuple[str, ...] = ()
    """Settings that may differ if the user accepts it."""
    fixed: tuple[str, ...] = ()
    """Settings that may not differ, because no checkpoint would fit."""
    machine: tuple[str, ...] = ()
    """Settings of the machine."""


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Describe, by key, each setting that differs between two flat mappings."""
    return {
        key: f"{key} was {shown(before.get(key))} and is now {shown(now.get(key))}"
        for key in dict.fromkeys([*before, *now])
        if before.get(key) != now.get(key)
    }


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> Changes:
    """Return the settings that differ between two flat mappings, without those that may differ freely."""
    groups: dict[str, list[str]] = {"changed": [], "fixed": [], "machine": []}
    began = {**{key: value for key, value in _OLD_RUNS.items() if key in now}, **before}
    for key, difference in differences(began, now).items():
        if key in FREE or key in DATA:
            continue
        later = any(key.startswith(each) if each.endswith(".") else key == each for each in _LATER)
        group = "machine" if key in MACHINE else "changed" if later else "fixed"
        groups[group].append(difference)
    return Changes(*(tuple(groups[group]) for group in ("changed", "fixed", "machine")))


def read(file: Path) -> dict[str, Any]:
    """Read run.json.

    Raises:
        DataError: the file is damaged.
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
    """Write run.json with a checksum, and return the record that `read` would return."""
    kept: dict[str, Any] = parse_json(addresses.shown(json.dumps(record)), str(file), data=True)
    sealed = with_own_sum(kept)
    write_text(file, json.dumps(sealed, indent=1) + "\n")
    return sealed


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings by dotted key, as users write them (`from` for `from_`), with values that JSON can hold.

    >>> flat({"from_": "base", "optimizer": {"beta1": 0.9}, "tokens": None})
    {'from': 'base', 'optimizer.beta1': 0.9}
    """
    settings: dict[str, Any] = {}
    for name, value in values.items():
        key = prefix + name.removesuffix("_")
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if isinstance(value, Mapping):
            settings.update(flat(value, f"{key}."))
        elif isinstance(value, os.PathLike):
            settings[key] = addresses.shown(str(Path(value).resolve()))  # "out/corpus" equals its absolute path
        elif value is not None:
            settings[key] = parse_json(addresses.shown(json.dumps(value)), key, data=True)
    return settings


def shown(value: Any) -> str:
    """Format a setting for a message."""
    return "not set" if value is None else repr(value)
