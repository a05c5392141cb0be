"""What inference runs: a network in torch, or the graph of an exported model, which needs no torch."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from bertie.backends._frozen import Facts, open_frozen
from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.tasks.task import Task

_HIDDEN, _VECTORS = "last_hidden_state", "token_embeddings"


class ExportedNetwork:
    """The graph of an exported folder: a function from packed batches to outputs in numpy. Threads may share it.

    Args:
        folder: the folder.
        facts: about its graph.
        task: turns the graph's outputs into those of its head.
        threads: number of threads; None for one a core.

    Raises:
        SettingsError: the runtime isn't installed, or the graph was exported for another task.
        DataError: a file has changed, or the runtime can't open it.
    """

    def __init__(self, folder: Path, facts: Facts, task: Task, *, threads: int | None = None) -> None:
        names = {*facts.outputs, *((_HIDDEN,) if _VECTORS in facts.outputs else ())}
        if missing := set(task.graph_outputs) - names:
            raise SettingsError(
                f"{folder} was exported for another task than {task.name}: its graph has no output {min(missing)}; "
                f"export the model with --task {task.name}"
            )
        self.facts, self._task = facts, task
        self._frozen = open_frozen(folder, facts, threads=threads)
        self.digest = self._frozen.digest
        """SHA-256 that differs between graphs."""

    def __call__(self, batch: Batch) -> Any:
        """Return what the task's head returns, in numpy.

        Raises:
            SettingsError: the batch is causal.
        """
        arrays = batch.arrays
        if arrays.causal:
            raise SettingsError("an exported model can't run causal attention; use the original model folder")
        slots = arrays.targets.get("slot.position")
        named = self._frozen.packed(arrays.tokens, arrays.segments, arrays.offsets, slots=slots)
        if _VECTORS in named:
            named.setdefault(_HIDDEN, named[_VECTORS])
        return self._task.restored(named, arrays)


def parameters_of(network: Any) -> list[Any]:
    """Return the parameters of a network in torch; none for a graph."""
    return list(network.parameters()) if hasattr(network, "parameters") else []


def described(network: Any) -> str:
    """Return a phrase for a network, such as "Bert with 22.7 million parameters"."""
    if not hasattr(network, "encoder"):
        return "an exported graph"
    millions = sum(value.numel() for value in network.parameters()) / 1e6
    return f"{type(network.encoder).__name__} with {millions:.1f} million parameters"


def device_of(network: Any) -> Any:
    """Return the device of a network in torch; None for a graph."""
    return next(network.parameters()).device if hasattr(network, "parameters") else None


def placed(batch: Batch, network: Any) -> Batch:
    """Return a batch on the device of a network."""
    device = device_of(network)
    return batch if device is None else batch.to(device)


def without_gradients(network: Any) -> AbstractContextManager[Any]:
    """Return a context in which torch records no gradients; for a graph, one that does nothing."""
    if not hasattr(network, "parameters"):
        return nullcontext()
    import torch

    return torch.inference_mode()


@contextmanager
def resting(network: Any) -> Iterator[None]:
    """Put a network in torch into evaluation mode within the context, and back afterwards."""
    if not hasattr(network, "parameters"):
        yield
        return
    before = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(before)


def has_torch() -> bool:
    """Tell whether torch is installed."""
    return find_spec("torch") is not None


def require_torch(folder: Path) -> None:
    """Check that torch is installed, to use a folder that is no export.

    Raises:
        SettingsError: it is not.
    """
    if not has_torch():
        raise SettingsError(
            f"to use {folder}, install torch with: pip install 'bertie[torch]'; or run bertie export "
            f"{shlex.quote(str(folder))} OUT where torch is installed, and use OUT here"
        )


def in_torch(outputs: Any, task: Task) -> Any:
    """Return outputs for a loss: those of a graph as tensors, with a vocabulary's logits as a table; others as is."""
    parts: Any = outputs if isinstance(outputs, tuple) else (outputs,)
    if not any(isinstance(part, np.ndarray) for part in parts):
        return outputs
    from torch import from_numpy

    from bertie.backends._heads import table

    if not isinstance(outputs, tuple):
        return table(from_numpy(outputs)) if task.fills_masks else from_numpy(outputs)
    named: dict[str, Any] = outputs._asdict()  # type: ignore[attr-defined]
    tensors: dict[str, Any] = {name: None if part is None else from_numpy(part) for name, part in named.items()}
    if "tokens" in tensors:
        tensors["tokens"] = table(tensors["tokens"])
    return type(outputs)(**tensors)
