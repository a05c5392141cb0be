"""The exported folder: config, tokenizer and card as in any model folder, and a graph in place of the weights.

A backend writes the graph. config.json describes it under `bertie.export`. A head that the graph doesn't hold has its
weights beside it. An exported model can predict and be evaluated, but not be trained.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

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


def write_head(bundle: Bundle, folder: Path) -> None:
    """Write the weights of a head that the graph doesn't hold."""
    state = bundle.model.head.state_dict()
    save_file({name: value.detach().cpu().contiguous().clone() for name, value in state.items()}, folder / HEAD)


def write(bundle: Bundle, folder: Path, *, export: Mapping[str, Any], card: str) -> None:
    """Write everything but weights into an existing folder.

    Args:
        bundle: the model to export.
        folder: the folder to write into.
        export: what config.json says about the graph.
        card: text of the model card.
    """
    extra = {**bundle.extra, "export": dict(export)}
    write_beside(replace(bundle, extra=extra, card=card), folder)


def read(path: str | Path, *, task: str | None = None, settings: Mapping[str, Any] | None = None) -> Bundle:
    """Read a folder whose graph lacks the head: the head with its weights, and an encoder of the same shape without.

    `frozen.read` reads the others.

    Args:
        path: the folder.
        task: the task to use; None for the stored one.
        settings: fields of the task that override the stored ones.

    Raises:
        SettingsError: the folder was exported for another task.
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
    stored_name = stored_task(values, folder)
    name = task or stored_name
    if name is None or stored_name is None:
        raise DataError(f"{folder}/config.json: bertie.task is missing; export the model again")
    state = _head_weights(folder)
    if name != stored_name:
        raise SettingsError(f"{folder} was exported for another task than {name}; export the model with --task {name}")
    tokenizer = read_tokenizer(folder, values, config.vocab_size)
    named = {f"head.{key}": value for key, value in state.items()}
    objective = make_task(name, values, named, config.max_positions, settings or {})
    with torch.device("meta"):
        encoder: Any = config.build()
        head = objective.head(encoder)
    try:
        head.load_state_dict(state, assign=True)
    except RuntimeError as error:
        raise DataError(f"{folder / HEAD} doesn't fit config.json: {error}") from error
    head.requires_grad_(False)
    extra = {key: value for key, value in values["bertie"].items() if key not in ("task", "settings", "golden_ids")}
    return Bundle(TaskModel(encoder, head).eval(), objective, tokenizer, config, kind, extra=extra)


def _head_weights(folder: Path) -> dict[str, Tensor]:
    """Read the head's weights.

    Raises:
        DataError: the file is damaged, or a weight is not finite.
    """
    check_regular(folder / HEAD)
    with native(f"{folder / HEAD} is damaged"):
        state: dict[str, Tensor] = load_file(folder / HEAD)
    for key, value in state.items():
        if not torch.isfinite(value).all():
            raise DataError(f"{folder / HEAD}: tensor {key} holds values that are not finite; export the model again")
    return state
