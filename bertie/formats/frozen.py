"""Read an exported folder whose graph holds the head too: everything but the graph, without torch.

`exported.py` writes these folders. `backends/` runs the graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie.errors import DataError, SettingsError
from bertie.files.checksums import verified
from bertie.formats._config import read_config
from bertie.formats._objective import make_task, stored_task
from bertie.formats._pieces import read_tokenizer
from bertie.formats._places import HEAD, is_exported
from bertie.formats._rewritten import relabelled
from bertie.formats.format import Bundle
from bertie.tasks._lookup import task_class
from bertie.untrusted import read_object


@dataclass(frozen=True)
class FrozenConfig:
    """What is known of the encoder in a graph."""

    vocab_size: int
    """V."""
    hidden_size: int
    """H."""
    max_positions: int
    """Tokens of the longest sequence."""


def is_whole(folder: Path) -> bool:
    """Tell whether a folder is an exported model whose graph holds the head, so that nothing needs torch."""
    return is_exported(folder) and not (folder / HEAD).is_file()


def read(folder: Path, *, task: str | None = None, settings: Mapping[str, Any] | None = None) -> Bundle:
    """Read everything but the graph. The bundle's `model` is None.

    Args:
        folder: the folder.
        task: the task to use; None for the stored one.
        settings: fields of the task that override the stored ones.

    Raises:
        SettingsError: the folder was exported for another task.
        DataError: a file is broken, or has changed since it was written.
    """
    with verified(folder, _graph_files(folder)):  # opening the graph compares its files
        return _read(folder, task, settings or {})


def _graph_files(folder: Path) -> dict[str, str]:
    """Return the SHA-256 that config.json has of the graph's files; empty if it is broken."""
    ours = read_object(folder / "config.json").get("bertie")
    export = ours.get("export") if isinstance(ours, dict) else None
    sums = export.get("sha256") if isinstance(export, dict) else None
    return {name: str(digest) for name, digest in sums.items()} if isinstance(sums, dict) else {}


def _read(folder: Path, task: str | None, settings: Mapping[str, Any]) -> Bundle:
    values = read_config(folder)
    stored = stored_task(values, folder)
    name = task or stored
    if name is None or stored is None:
        raise DataError(f"{folder}/config.json: bertie.task is missing; export the model again")
    if name != stored and not task_class(name).takes_vectors:
        raise SettingsError(f"{folder} was exported for another task than {name}; export the model with --task {name}")
    values, notes = relabelled(values, folder, settings)
    export = values["bertie"].get("export")
    length = export.get("max_length") if isinstance(export, dict) else None
    sizes: list[Any] = [values.get("vocab_size"), values.get("hidden_size", values.get("dim")), length]
    if not all(type(size) is int and size > 0 for size in sizes):
        raise DataError(
            f"{folder}/config.json: vocab_size, hidden_size and bertie.export must describe the graph; export the "
            "model again"
        )
    config = FrozenConfig(*sizes)
    tokenizer = read_tokenizer(folder, values, config.vocab_size)
    objective = make_task(name, values, {}, config.max_positions, settings)
    extra = {key: value for key, value in values["bertie"].items() if key not in ("task", "settings", "golden_ids")}
    nothing: Any = None
    return Bundle(nothing, objective, tokenizer, config, str(values.get("model_type")), extra=extra, notes=tuple(notes))  # type: ignore[arg-type]
