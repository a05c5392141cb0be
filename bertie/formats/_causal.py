"""Models that guess what comes next: which folder may be opened for what, and when a BERT becomes decoder-only.

It reads no files, and it is no choice among the formats.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertie import registry
from bertie.errors import SettingsError
from bertie.models.bert import BertConfig
from bertie.models.causal import CausalConfig
from bertie.models.model import Config
from bertie.tasks.causal_lm import CausalLM
from bertie.tasks.task import Task, task_class

KIND = "causal"


def decoder_only(kind: str, config: Config, task: Task) -> tuple[str, Config]:
    """Return architecture and config for a task: a BERT that learns or does causal_lm is decoder-only, here as on disk.

    Args:
        kind: the file of models/ that `config` is of.
        config: shape of the encoder.
        task: what is done with it.
    """
    if isinstance(task, CausalLM) and kind == "bert" and isinstance(config, BertConfig):
        return KIND, CausalConfig.over(config)
    return kind, config


def check_learned(name: str, values: Mapping[str, Any], kind: str, folder: Path) -> None:
    """Refuse a head that has learned to guess a token elsewhere than the task asks for it: its answers would be noise.

    Args:
        name: the task.
        values: config.json.
        kind: the file of models/ that the folder is of.
        folder: for messages.

    Raises:
        SettingsError: a masked LM for causal_lm or hybrid, or a model that guesses the next token for a masked LM.
    """
    wanted, stored = task_class(name), values.get("bertie", {}).get("task", "")
    learned = stored or ("causal_lm" if kind == KIND else "masked_lm")
    if learned not in registry.choices("tasks"):
        return  # a third party's task, of which nothing is known
    had = task_class(learned)
    if wanted.left_to_right and not (had.left_to_right and had.fills_masks >= wanted.fills_masks):
        raise SettingsError(
            f"{folder} has not learned {name}, and as one it would write and score noise; go on with it by pretrain "
            f"--from {folder} --task {name} first"
        )
    if wanted.fills_masks and had.left_to_right and not wanted.left_to_right:
        raise SettingsError(
            f"{folder} has learned {learned}, which guesses a token at the place before it; it can't be opened "
            f"as {name}"
        )
