"""Decoder-only models: when a BERT becomes one, and which tasks may open which folder.

A helper of the formats. It reads no files.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertie import registry
from bertie.errors import SettingsError
from bertie.models.bert import BertConfig
from bertie.models.causal import CausalConfig
from bertie.models.model import Config
from bertie.tasks._lookup import task_class
from bertie.tasks.task import Task

KIND = "causal"


def decoder_only(kind: str, config: Config, task: Task) -> tuple[str, Config]:
    """Return the architecture and config for a task: for causal_lm, a BERT becomes decoder-only.

    Args:
        kind: the architecture of `config`, a file of models/.
        config: shape of the encoder.
        task: the task to train or run.
    """
    only_writes = task.left_to_right and not task.fills_masks
    if only_writes and kind == "bert" and isinstance(config, BertConfig):
        return KIND, CausalConfig.over(config)
    return kind, config


def check_learned(name: str, values: Mapping[str, Any], kind: str, folder: Path) -> None:
    """Check that a head learned to predict tokens at the positions that the task asks for.

    A masked LM predicts a token at its own position, a causal LM at the position before it. A head of one kind
    predicts noise for a task of the other.

    Args:
        name: the task.
        values: config.json.
        kind: the folder's architecture, a file of models/.
        folder: for messages.

    Raises:
        SettingsError: a masked LM is opened as causal_lm or hybrid, or a next-token model as a masked LM.
    """
    wanted, stored = task_class(name), values.get("bertie", {}).get("task", "")
    learned = stored or ("causal_lm" if kind == KIND else "masked_lm")
    if learned not in registry.choices("tasks"):
        return  # a third party's task: where it predicts tokens is unknown
    had = task_class(learned)
    if wanted.left_to_right and not (had.left_to_right and had.fills_masks >= wanted.fills_masks):
        raise SettingsError(
            f"{folder} was not trained for {name}: its texts and scores would be noise; train it first: pretrain "
            f"--from {folder} --task {name}"
        )
    if wanted.fills_masks and had.left_to_right and not wanted.left_to_right:
        raise SettingsError(
            f"{folder} was trained for {learned}, which predicts each token at the position before it; it can't be "
            f"opened as {name}"
        )
