"""The exported folder: config and tokenizer as in any model folder, the head's weights, and a frozen encoder.

A backend freezes the encoder. config.json stores its name and the precision under `bertie.export`. An exported model
can predict and be evaluated, but not be trained.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from bertie.errors import DataError, SettingsError
from bertie.files.checksums import verified
from bertie.formats._config import architecture_name, encoder_config, read_config
from bertie.formats._objective import make_task, stored_task
from bertie.formats._places import HEAD
from bertie.formats._rewritten import current
from bertie.formats.format import Bundle
from bertie.formats.huggingface import read_tokenizer, write_beside
from bertie.models.model import architecture
from bertie.native import native
from bertie.tasks.task import TaskModel
from bertie.untrusted import check_regular


def is_exported(folder: Path) -> bool:
    """Tell whether `write` wrote a folder."""
    return (folder / HEAD).is_file()


def facts(bundle: Bundle) -> dict[str, str]:
    """Return `backend` and `precision` of an exported bundle; empty for any other."""
    return dict(bundle.extra.get("export", {}))


def precision(bundle: Bundle) -> Any:
    """Return the precision of an exported bundle; None for any other."""
    return facts(bundle).get("precision")


def write(bundle: Bundle, folder: Path, *, backend: str, precision: str) -> None:
    """Write everything but the frozen encoder into an existing folder.

    Args:
        bundle: the model to export.
        folder: the folder to write into.
        backend: the backend that freezes the encoder.
        precision: the precision of the frozen encoder.
    """
    state = bundle.model.head.state_dict()
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in state.items()}, folder / HEAD)
    extra = {**bundle.extra, "export": {"backend": backend, "precision": precision}}
    write_beside(replace(bundle, extra=extra), folder)


def read(path: str | Path, *, task: str | None = None, settings: Mapping[str, Any] | None = None) -> Bundle:
    """Read everything but the frozen encoder; the bundle holds an encoder of the same shape without weights.

    Args:
        path: the folder.
        task: the task to use; None for the stored one.
        settings: fields of the task that override the stored ones.

    Raises:
        SettingsError: the stored head is not one of this task.
        DataError: a file is broken, or has changed since it was written.
    """
    folder = Path(path)
    with verified(folder):
        return _read(folder, task, settings)


def _read(folder: Path, task: str | None, settings: Mapping[str, Any] | None) -> Bundle:
    values = read_config(folder)
    kind = architecture_name(values, folder)
    module = architecture(kind).of(values)
    config = encoder_config(values, module, folder)
    values, _ = current(values, folder, module.classes, settings or {})
    export = values.get("bertie", {}).get("export")
    if not isinstance(export, dict) or not all(isinstance(export.get(name), str) for name in ("backend", "precision")):
        raise DataError(
            f"{folder}/config.json: bertie.export must name the backend and the precision; export the model again"
        )
    check_regular(folder / HEAD)
    with native(f"{folder / HEAD} is damaged"):
        state = load_file(folder / HEAD)
    for key, value in state.items():
        if not torch.isfinite(value).all():
            raise DataError(f"{folder / HEAD}: tensor {key} holds values that are not finite; export the model again")
    name = task or stored_task(values, folder)
    if name is None:
        raise DataError(f"{folder}/config.json: bertie.task is missing; export the model again")
    tokenizer = read_tokenizer(folder, values, config.vocab_size)
    stored = {f"head.{key}": value for key, value in state.items()}
    objective = make_task(name, values, stored, config.max_positions, settings or {})
    with torch.device("meta"):
        encoder: Any = config.build()
        head = objective.head(encoder)
    if set(head.state_dict()) != set(state):  # the head of another task, or one not trained for it
        raise SettingsError(f"{folder} was exported for another task than {name}; export the model with --task {name}")
    try:
        head.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise DataError(f"{folder / HEAD} doesn't fit config.json: {error}") from error
    for value in head.parameters():
        value.requires_grad_(False)
    extra = {key: value for key, value in values["bertie"].items() if key not in ("task", "settings", "golden_ids")}
    return Bundle(TaskModel(encoder, head).eval(), objective, tokenizer, config, kind, extra=extra)
