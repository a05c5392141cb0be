"""Resolve contradictions in a config.json that bertie wrote and another program, or a person, changed later.

bertie stores the task and its settings under `bertie`, next to the keys that transformers reads. When transformers
saves the model with another head or other labels, it copies `bertie` unchanged.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.formats._objective import is_regression
from bertie.tasks._lookup import task_class

_BY_TRANSFORMERS = "transformers_version"  # transformers always writes this key, bertie never


def current(
    values: Mapping[str, Any], folder: Path, classes: Mapping[str, str], settings: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Remove the entries of `bertie` that are out of date.

    Args:
        values: config.json.
        folder: for messages.
        classes: the class names of this architecture that replace the usual ones.
        settings: the user's settings; they override both accounts.

    Returns:
        The values, and notes for the user.

    Raises:
        SettingsError: the task is unknown.
        DataError: someone edited the labels, or the problem type, in one of the two places.
    """
    ours = values.get("bertie", {})
    name, written = ours.get("task"), values.get("architectures")
    if not name or ":" in name or not written:
        return dict(values), []
    usual = task_class(name).architecture.format("")
    is_same = written[0].endswith((usual, *(new for old, new in classes.items() if old.endswith(usual))))
    if is_same and name in ("classification", "regression"):
        is_same = is_regression(values) == (name == "regression")
    if not is_same:
        rest = {key: value for key, value in ours.items() if key not in ("task", "settings")}
        note = f"bertie wrote it for {name}, but another program saved it as {written[0]}; it is read as the latter"
        return {**values, "bertie": rest}, [f"{folder}: {note}"]
    return relabelled(values, folder, settings)


def relabelled(
    values: Mapping[str, Any], folder: Path, settings: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Compare the labels and the problem type with those stored under `bertie`.

    Raises:
        DataError: they differ, and it is unknown which are newer.
    """
    ours = values["bertie"]
    stored = ours.get("settings", {})
    theirs: dict[str, Any] = {}
    names = values.get("id2label")
    if isinstance(names, dict) and all(str(number) in names for number in range(len(names))):
        theirs["labels"] = [names[str(number)] for number in range(len(names))]
    if values.get("problem_type") in ("single_label_classification", "multi_label_classification"):
        theirs["multi_label"] = values["problem_type"] == "multi_label_classification"
    changed = [key for key in theirs if key in stored and key not in settings and stored[key] != theirs[key]]
    if not changed:
        return dict(values), []
    key = changed[0]
    if _BY_TRANSFORMERS not in values:
        source = "id2label" if key == "labels" else "problem_type"
        raise DataError(
            f"{folder}/config.json has two values for {key}: {_shown(theirs[key])} in {source}, "
            f"{_shown(stored[key])} in bertie.settings; correct the wrong one, or give "
            f"--settings '{key}={_typed(theirs[key])}'"
        )
    rest = {name: value for name, value in stored.items() if name not in changed}
    note = f"its {key} are {_shown(theirs[key])}" if key == "labels" else f"{key} is {_shown(theirs[key])}"
    note = f"{folder}: transformers saved it after bertie; {note}, no longer {_shown(stored[key])}"
    return {**values, "bertie": {**ours, "settings": rest}}, [note]


def _shown(value: Any) -> str:
    return ", ".join(map(str, value))[:100] if isinstance(value, list) else str(value).lower()[:100]


def _typed(value: Any) -> str:
    return "|".join(map(str, value)) if isinstance(value, list) else str(value).lower()
