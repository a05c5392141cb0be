"""A config.json that bertie wrote and another program, or a hand, has changed since: which of its two accounts counts.

bertie notes task and settings under `bertie`, beside what transformers reads. transformers takes that note along
unread when it saves a model of another head or with other labels.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.formats._objective import is_regression
from bertie.tasks.task import task_class

_BY_TRANSFORMERS = "transformers_version"  # it writes this always, bertie never


def current(
    values: Mapping[str, Any], folder: Path, classes: Mapping[str, str], settings: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Leave out of bertie's note what is no longer true.

    Args:
        values: config.json.
        folder: for messages.
        classes: names of classes that this kind of model has in place of the usual ones.
        settings: that the user has given, which win.

    Returns:
        The values, and what is to be said about them.

    Raises:
        SettingsError: a task that isn't known.
        DataError: labels or their kind were changed by hand in one of the two places.
    """
    own = values.get("bertie", {})
    name, known = own.get("task"), values.get("architectures")
    if not name or ":" in name or not known:
        return dict(values), []
    usual = task_class(name).architecture.format("")
    is_same = known[0].endswith((usual, *(new for old, new in classes.items() if old.endswith(usual))))
    if is_same and name in ("classification", "regression"):
        is_same = is_regression(values) == (name == "regression")
    if not is_same:
        rest = {key: value for key, value in own.items() if key not in ("task", "settings")}
        said = f"bertie wrote it for {name}, another program has made a {known[0]} of it since, and so it is read"
        return {**values, "bertie": rest}, [f"{folder}: {said}"]
    return _relabelled(values, folder, settings)


def _relabelled(
    values: Mapping[str, Any], folder: Path, settings: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Compare labels and problem type with bertie's note of them.

    Raises:
        DataError: they differ, and nothing says which is newer.
    """
    own = values["bertie"]
    stored = own.get("settings", {})
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
        place = "id2label" if key == "labels" else "problem_type"
        raise DataError(
            f"{folder}/config.json says {key} twice, and differently: {_shown(theirs[key])} by {place}, "
            f"{_shown(stored[key])} in bertie.settings; change the one that is wrong, or say "
            f"--settings '{key}={_typed(theirs[key])}'"
        )
    rest = {name: value for name, value in stored.items() if name not in changed}
    said = f"its {key} are {_shown(theirs[key])}" if key == "labels" else f"{key} is {_shown(theirs[key])}"
    said = f"{folder}: transformers has written it since bertie did; {said}, no longer {_shown(stored[key])}"
    return {**values, "bertie": {**own, "settings": rest}}, [said]


def _shown(value: Any) -> str:
    return ", ".join(map(str, value))[:100] if isinstance(value, list) else str(value).lower()[:100]


def _typed(value: Any) -> str:
    return "|".join(map(str, value)) if isinstance(value, list) else str(value).lower()
