"""Which task a Hugging Face folder is for, and with which settings: what it stores, or what its config implies.

It reads no files, and it is no choice among the formats.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bertie import registry
from bertie.errors import DataError, SettingsError
from bertie.tasks.task import Task, parse_settings, task_class

_INFERRED = {
    "EncoderDecoderModel": "generation",
    "ForPreTraining": "pretraining",
    "ForMaskedLM": "masked_lm",
    "ForNextSentencePrediction": "next_sentence",
    "ForSequenceClassification": "classification",
    "ForTokenClassification": "tagging",
    "ForQuestionAnswering": "question_answering",
    "ForMultipleChoice": "multiple_choice",
    "LMHeadModel": "causal_lm",
    "Model": "features",
}


_PROBLEMS = ("regression", "single_label_classification", "multi_label_classification")
_OLDER = "sbert_ce_default_activation_function"


def stored_task(values: Mapping[str, Any], folder: Path) -> str | None:
    """Return the task that bertie stored in a config; None where it stored none.

    Raises:
        SettingsError: a third party's, which is code that a folder must not choose to run.
    """
    name = values.get("bertie", {}).get("task")
    if name and ":" in name:
        raise SettingsError(
            f"{folder} was made for the task {name}, which is code outside bertie; say --task {name} if you trust it"
        )
    return name or None


def infer_task(values: Mapping[str, Any], names: set[str], folder: Path, also: Mapping[str, str] | None = None) -> str:
    """Tell the task from `architectures`, or from the heads that are there.

    Args:
        values: config.json.
        names: of the file's tensors.
        folder: for messages.
        also: endings of class names that mean something else in this kind of model, and their tasks.

    Raises:
        SettingsError: an architecture that no task answers to.
    """
    for kind in values.get("architectures") or ():
        for ending, task in {**_INFERRED, **(also or {})}.items():
            if kind.endswith(ending):
                return "regression" if task == "classification" and is_regression(values) else task
        raise SettingsError(
            f"{folder} is a {kind}; bertie has no task for that. Say what to do with it by --task, one of "
            f"{', '.join(registry.choices('tasks'))}"
        )
    if any(name.startswith("cls.seq_relationship") for name in names):
        return "pretraining"
    return "masked_lm" if any(name.startswith("cls.predictions") for name in names) else "features"


def is_regression(values: Mapping[str, Any]) -> bool:
    """Tell whether a head for sequences gives one number, as transformers would take it.

    Raises:
        DataError: an unknown problem type, or a regression of several numbers.
    """
    kind = values.get("problem_type")
    if kind not in (None, *_PROBLEMS):
        raise DataError(f"config.json: problem_type {kind!r} is none of {', '.join(_PROBLEMS)}")
    names = values.get("id2label")
    if kind == "regression" and isinstance(names, Mapping) and len(names) > 1:
        raise DataError(f"config.json: regression with {len(names)} outputs; bertie has regression with one")
    return kind == "regression" or (kind is None and _one_label(values))


def _one_label(values: Mapping[str, Any]) -> bool:
    names = values.get("id2label")
    return list(names) == ["0"] if names and isinstance(names, Mapping) else values.get("num_labels") == 1


def doubts(name: str, task: Task, values: Mapping[str, Any], settings: Mapping[str, Any], folder: Path) -> list[str]:
    """Return what a config.json leaves open about a head and was decided here, one sentence each.

    Args:
        name: the task's.
        task: as it is.
        values: config.json.
        settings: that the user has given.
        folder: for messages.
    """
    if values.get("bertie", {}).get("task") == name or not _one_label(values):
        return []
    if name == "regression" and not {"problem_type", "sentence_transformers", _OLDER} & {*values, *_also(settings)}:
        return [
            f"{folder} has one label and doesn't say what it means; the number is given as it is. If it is the "
            "logit of a yes, give --settings activation=sigmoid"
        ]
    if name == "classification" and getattr(task, "multi_label", False):
        return [f"{folder} has one label, whose probability is given as in transformers: by a sigmoid"]
    return []


def check_labels(task: Task, state: Mapping[str, Tensor], folder: Path) -> None:
    """Refuse another number of names than the stored head has classes.

    Raises:
        SettingsError: with both numbers.
        DataError: names that are no texts.
    """
    names, bias = getattr(task, "labels", None), state.get("head.classifier.bias")
    if names is not None and not (isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)):
        raise DataError(f"{folder}/config.json: bertie.settings.labels must be a list of names; got {names!r:.60}")
    if names is not None and bias is not None and bias.dim() == 1 and len(names) != len(bias):
        raise SettingsError(
            f"{folder} has {len(bias)} classes, and {len(names)} names for them: {', '.join(names)[:200]}; name each, "
            "in their order: --settings 'labels=a|b|c'"
        )


def _also(settings: Mapping[str, Any]) -> tuple[str, ...]:
    return ("problem_type",) if "activation" in settings else ()


def _activation(values: Mapping[str, Any]) -> str:
    """Read what a cross-encoder of sentence-transformers does to its one logit, in both spellings.

    Raises:
        DataError: something that bertie doesn't do.
    """
    own = values.get("sentence_transformers")
    said = own.get("activation_fn") if isinstance(own, dict) else None
    said = said if said is not None else values.get(_OLDER)
    if said is None:  # its own default, in folders that it wrote
        return "sigmoid" if isinstance(own, dict) else "none"
    known = {"Sigmoid": "sigmoid", "Identity": "none"}
    if not isinstance(said, str) or said.rpartition(".")[2] not in known:
        raise DataError(f"config.json: activation_fn {said!r:.100} is not supported; bertie has Sigmoid and Identity")
    return known[said.rpartition(".")[2]]


def make_task(
    name: str,
    values: Mapping[str, Any],
    state: Mapping[str, Tensor],
    max_positions: int,
    settings: Mapping[str, Any],
) -> Task:
    """Make the task from what the folder stores, what its config implies, and the caller's own settings.

    Args:
        name: the word a user types.
        values: config.json.
        state: the tensors, under our names.
        max_positions: tokens of the longest sequence that the encoder takes.
        settings: win over everything else.

    Raises:
        SettingsError: an unknown task or setting.
        DataError: settings of the wrong type.
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
    """Return the labels in the order of their numbers.

    A config without names has LABEL_0, LABEL_1, ...; old programs wrote two of them whatever the number of classes,
    so that the file's own bias (C,) counts.

    Raises:
        DataError: `id2label` is no table from 0, 1, 2 ... to names.
    """
    by_number = values.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    try:
        labels = [str(by_number[str(number)]) for number in range(len(by_number))]
    except (KeyError, TypeError) as error:
        raise DataError("config.json: id2label must give a name to each of 0, 1, 2 ... without a gap") from error
    if bias is not None and all(label == f"LABEL_{number}" for number, label in enumerate(labels)):
        return [f"LABEL_{number}" for number in range(len(bias))]
    return labels
