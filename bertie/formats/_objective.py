"""Choose the task of a Hugging Face folder and its settings: those it stores, or those its config implies.

A helper of the formats. It reads no files.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import registry
from bertie.errors import DataError, SettingsError
from bertie.formats._classes import INFERRED
from bertie.tasks._lookup import task_class
from bertie.tasks.task import Task, parse_settings

if TYPE_CHECKING:
    from torch import Tensor

_PROBLEMS = ("regression", "single_label_classification", "multi_label_classification")
_OLDER = "sbert_ce_default_activation_function"


def stored_task(values: Mapping[str, Any], folder: Path) -> str | None:
    """Return the task that bertie stored in a config, or None.

    Raises:
        SettingsError: a third party's task; only the user may choose to run its code.
    """
    name = values.get("bertie", {}).get("task")
    if name and ":" in name:
        raise SettingsError(
            f"{folder} was made for the task {name}, which is code outside bertie; if you trust it, give --task {name}"
        )
    return name or None


def infer_task(values: Mapping[str, Any], names: set[str], folder: Path, also: Mapping[str, str] | None = None) -> str:
    """Infer the task from `architectures`, or from the heads in the file.

    Args:
        values: config.json.
        names: the names of the file's tensors.
        folder: for messages.
        also: class name endings that have another meaning in this architecture, with their tasks.

    Raises:
        SettingsError: bertie has no task for the class that the config names.
    """
    for kind in values.get("architectures") or ():
        for ending, task in {**INFERRED, **(also or {})}.items():
            if kind.endswith(ending):
                return "regression" if task == "classification" and is_regression(values) else task
        raise SettingsError(
            f"{folder} is a {kind}, for which bertie has no task; choose a task with --task, one of "
            f"{', '.join(registry.choices('tasks'))}"
        )
    if any(name.startswith("cls.seq_relationship") for name in names):
        return "pretraining"
    return "masked_lm" if any(name.startswith("cls.predictions") for name in names) else "features"


def is_regression(values: Mapping[str, Any]) -> bool:
    """Tell whether a sequence head is a regression, by the rules of transformers.

    Raises:
        DataError: the problem type is unknown, or the regression has several outputs.
    """
    kind = values.get("problem_type")
    if kind not in (None, *_PROBLEMS):
        raise DataError(f"config.json: problem_type {kind!r} is not among {', '.join(_PROBLEMS)}")
    names = values.get("id2label")
    if kind == "regression" and isinstance(names, Mapping) and len(names) > 1:
        raise DataError(f"config.json: regression with {len(names)} outputs; bertie's regression has one")
    return kind == "regression" or (kind is None and _one_label(values))


def _one_label(values: Mapping[str, Any]) -> bool:
    names = values.get("id2label")
    return list(names) == ["0"] if names and isinstance(names, Mapping) else values.get("num_labels") == 1


def doubts(name: str, task: Task, values: Mapping[str, Any], settings: Mapping[str, Any], folder: Path) -> list[str]:
    """Return a note on each ambiguity of a config.json that bertie resolved by a default.

    Args:
        name: the task's name.
        task: the task.
        values: config.json.
        settings: the user's settings.
        folder: for messages.
    """
    if values.get("bertie", {}).get("task") == name or not _one_label(values):
        return []
    if name == "regression" and not {"problem_type", "sentence_transformers", _OLDER} & {*values, *_also(settings)}:
        return [
            f"{folder} has one label and doesn't say what it means; the prediction is the raw output. If that is the "
            "logit of yes, give --settings activation=sigmoid"
        ]
    if name == "classification" and getattr(task, "multi_label", False):
        return [f"{folder} has one label; its probability is the sigmoid of the logit, as in transformers"]
    return []


def check_labels(task: Task, state: Mapping[str, Tensor], folder: Path) -> None:
    """Check that a stored head has as many classes as the task has label names.

    Raises:
        SettingsError: the numbers differ.
        DataError: the names are not a list of strings.
    """
    names, bias = getattr(task, "labels", None), state.get("head.classifier.bias")
    if names is not None and not (isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)):
        raise DataError(f"{folder}/config.json: bertie.settings.labels must be a list of names; got {names!r:.60}")
    if names is not None and bias is not None and bias.dim() == 1 and len(names) != len(bias):
        raise SettingsError(
            f"{folder} has {len(bias)} classes but {len(names)} label names: {', '.join(names)[:200]}; name each "
            "class, in order: --settings 'labels=a|b|c'"
        )


def check_shape(task: Task, values: Mapping[str, Any], folder: Path) -> None:
    """Check that the settings that decide the shape of the head are those that it was trained with.

    Raises:
        SettingsError: the user gives another value.
    """
    stored = values.get("bertie", {}).get("settings", {})
    for name in task.head_settings:
        if name in stored and stored[name] != getattr(task, name):
            raise SettingsError(
                f"{folder} was trained with {name} {stored[name]}, which a trained model can't change; leave it out of "
                f"--settings, or fine-tune a model with {name}={getattr(task, name)}"
            )


def _also(settings: Mapping[str, Any]) -> tuple[str, ...]:
    return ("problem_type",) if "activation" in settings else ()


def _activation(values: Mapping[str, Any]) -> str:
    """Read the activation that a sentence-transformers cross-encoder applies to its logit, in either spelling.

    Raises:
        DataError: an activation that bertie lacks.
    """
    theirs = values.get("sentence_transformers")
    activation = theirs.get("activation_fn") if isinstance(theirs, dict) else None
    activation = activation if activation is not None else values.get(_OLDER)
    if activation is None:  # sentence-transformers' default, in folders that it wrote
        return "sigmoid" if isinstance(theirs, dict) else "none"
    known = {"Sigmoid": "sigmoid", "Identity": "none"}
    if not isinstance(activation, str) or activation.rpartition(".")[2] not in known:
        raise DataError(
            f"config.json: activation_fn {activation!r:.100} is not supported; bertie has Sigmoid and Identity"
        )
    return known[activation.rpartition(".")[2]]


def make_task(
    name: str,
    values: Mapping[str, Any],
    state: Mapping[str, Tensor],
    max_positions: int,
    settings: Mapping[str, Any],
) -> Task:
    """Build the task from the folder's stored settings, its config, and the caller's settings.

    Args:
        name: the task's name.
        values: config.json.
        state: the tensors, by bertie's names.
        max_positions: the length of the longest sequence that the encoder reads, in tokens.
        settings: the caller's settings; they override all others.

    Raises:
        SettingsError: the task or a setting is unknown.
        DataError: a setting has the wrong type.
    """
    kind = task_class(name)
    ours = values.get("bertie", {})
    fields = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    stored = dict(ours.get("settings", {})) if ours.get("task") == name else {}
    if "labels" in fields and "labels" not in stored and "labels" not in settings:
        stored["labels"] = _labels(values, state.get("head.classifier.bias"))
    if "multi_label" in fields and "multi_label" not in stored:
        stored["multi_label"] = values.get("problem_type") == "multi_label_classification" or (
            "labels" not in settings and _one_label(values)
        )
    if "activation" in fields and "activation" not in {**stored, **settings}:
        stored["activation"] = _activation(values)
    if "pooler" in fields:
        stored["pooler"] = "head.pooler.dense.weight" in state
    if "max_length" in fields and "max_length" not in stored:
        stored["max_length"] = min(512, max_positions)
    for length in {"max_target", "max_new_tokens"} & fields - stored.keys():
        stored[length] = min(getattr(kind, length), max_positions)
    given = parse_settings(kind, {**stored, **settings})
    try:
        return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in given.items()})
    except TypeError as error:
        raise DataError(f"settings of {name} are of the wrong type: {given!r:.300}") from error


def _labels(values: Mapping[str, Any], bias: Tensor | None) -> list[str]:
    """Return the labels in the order of their ids.

    A config without names has LABEL_0, LABEL_1, ... Old programs wrote two of them for any number of classes, so the
    length of the head's bias (C,) decides.

    Raises:
        DataError: `id2label` doesn't map 0, 1, 2 ... to names.
    """
    by_number = values.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    try:
        labels = [str(by_number[str(number)]) for number in range(len(by_number))]
    except (KeyError, TypeError) as error:
        raise DataError("config.json: id2label must give a name to each of 0, 1, 2 ... without a gap") from error
    if bias is not None and all(label == f"LABEL_{number}" for number, label in enumerate(labels)):
        return [f"LABEL_{number}" for number in range(len(bias))]
    return labels
