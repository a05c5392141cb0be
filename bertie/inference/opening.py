"""Read a model folder, a hub model or an exported folder for prediction. Only the last can do without torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.backends._frozen import Facts
from bertie.errors import SettingsError
from bertie.formats import frozen
from bertie.formats._places import is_exported, resolve
from bertie.formats.format import Bundle
from bertie.inference.network import ExportedNetwork, has_torch, require_torch
from bertie.nn.device import resolve_device


def read_any(
    path: str | Path, *, task: str | None, device: str, backend: str, settings: Mapping[str, Any]
) -> tuple[Path, Bundle]:
    """Read a model, whatever the kind of its folder, and tell what is to be told of it.

    Args:
        path: a local folder or a hub id.
        task: name of the task. None: that of the model.
        device: checked before a large model is read.
        backend: likewise.
        settings: of the task, in place of the model's.

    Returns:
        The local folder, and the model. That of a whole exported folder has no network yet.

    Raises:
        SettingsError: there is no such folder, model, task or setting, or torch isn't installed and the model needs it.
        DataError: bertie can't read the folder's model.
    """
    if not is_exported(Path(path)) and has_torch():
        resolve_device(device)
        if backend != "auto":
            from bertie.inference.choose_backend import load_backend

            load_backend(backend).require()
    folder = resolve(path)
    bundle = reader_of(folder)(folder, task=task, settings=settings)
    length = getattr(bundle.task, "max_length", 0)
    if length > bundle.config.max_positions:
        raise SettingsError(f"max_length {length} is more than the {bundle.config.max_positions} positions of {path}")
    for line in bundle.notes:
        progress.note(line)
    return folder, bundle


def reader_of(folder: Path) -> Callable[..., Bundle]:
    """Return the function that reads a folder, by its kind.

    Raises:
        SettingsError: it needs torch, which isn't installed.
    """
    if frozen.is_whole(folder):
        return frozen.read
    require_torch(folder)
    if is_exported(folder):
        from bertie.formats import exported

        return exported.read
    from bertie.formats.huggingface import read

    return read


def open_graph(
    bundle: Bundle, folder: Path, device: str, precision: str, backend: str, *, threads: int | None = None
) -> Any:
    """Open the graph of an exported folder.

    Args:
        bundle: what `read_any` returned for the folder.
        folder: the folder.
        device: auto or cpu.
        precision: that of the export.
        backend: that of the export, or auto.
        threads: number of threads; None for one a core.

    Returns:
        An `ExportedNetwork`, or a network in torch if the graph doesn't hold the head.

    Raises:
        SettingsError: backend, precision or device differ from those of the export, or the runtime isn't installed.
        DataError: a file has changed, or the runtime can't open it.
    """
    facts = Facts.read(bundle.extra.get("export"), f"{folder}/config.json")
    for name, asked, stored in (("backend", backend, facts.backend), ("precision", precision, facts.precision)):
        if asked not in ("auto", stored):
            raise SettingsError(f"{folder} was exported with --{name} {stored}, not {asked}; export it again")
    if device not in ("auto", "cpu"):
        raise SettingsError(f"{folder} was exported for the CPU; for --device {device} use the original model folder")
    if frozen.is_whole(folder):
        return ExportedNetwork(folder, facts, bundle.task, threads=threads)
    from bertie.inference.choose_backend import load_backend

    return load_backend(facts.backend).open(bundle, folder, facts)
