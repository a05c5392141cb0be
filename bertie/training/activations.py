"""A cache of the outputs of frozen layers: each item of a training table passes them once, not once per epoch.

The values are in a memory-mapped temporary file without a name, so it disappears however the process ends. A resumed
run computes them again. Items are encoded and run in the order of the table, in batches that depend only on the table,
so the values are bit for bit those of an uninterrupted run. They are fp32 in every precision, as between any two
layers.

Shapes: T tokens of a batch, N tokens of the table, H hidden.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from bertie import progress
from bertie.batch import Batch
from bertie.files.atomic import disk_errors
from bertie.tasks.task import Task
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.training.precision import compute
from bertie.training.trainable import PREFIX, FrozenModel

_ITEMS = 256  # encoded at a time
_TOKENS = 8192  # the most in a forward pass


class Activations:
    """The outputs of frozen layers for every item of a table. Made by `remember`.

    Args:
        file: (N, H) fp32 values, item after item. The caller may close it afterwards, because the values are mapped.
        tokens: (N,) ids of the tokens that the values belong to.
        edges: (items + 1,) index of each item's first token, and N.
    """

    def __init__(self, file: IO[bytes], tokens: NDArray[np.int32], edges: NDArray[np.int64]) -> None:
        self._values = np.memmap(file, np.float32, "r").reshape(len(tokens), -1)
        self._tokens, self._edges = tokens, edges

    def attach(self, batch: Batch, chosen: Sequence[int] | NDArray[np.int64]) -> Batch:
        """Return a batch with the cached outputs of its items as target `PREFIX`.

        Args:
            batch: the encoded items.
            chosen: their indices in the table.

        Raises:
            ValueError: the batch doesn't hold the tokens of those items in their order.
        """
        parts = [slice(self._edges[item], self._edges[item + 1]) for item in chosen]
        tokens = torch.from_numpy(np.concatenate([self._tokens[part] for part in parts]))
        if not torch.equal(tokens.long(), batch.tokens):
            raise ValueError("a batch for cached activations must hold the chosen items, whole and in their order")
        values = torch.from_numpy(np.concatenate([self._values[part] for part in parts]))
        return replace(batch, targets={**batch.targets, PREFIX: values})


def remember(
    model: FrozenModel,
    task: Task,
    items: Sequence[Any],
    tokenizer: Tokenizer,
    *,
    folder: Path,
    gigabytes: float,
    precision: Literal["fp32", "bf16"],
    device: torch.device,
) -> Activations | None:
    """Run the frozen layers over a table and cache their outputs.

    Args:
        model: moved to `device`.
        task: encodes the items.
        items: the table.
        tokenizer: the model's.
        folder: a folder on the disk to use.
        gigabytes: the most disk space that the cache may take.
        precision: number format of the matrix products.
        device: where the model runs.

    Returns:
        The cache. None, after a note, if the outputs need more than `gigabytes`.

    Raises:
        ResourceError: the disk is full.
    """
    model.to(device).eval()
    width: int = model.encoder.config.hidden_size  # type: ignore[union-attr, assignment]
    batches: list[Batch] = []
    tokens = 0
    for start in range(0, len(items), _ITEMS):
        batches.append(replace(task.encode(items[start : start + _ITEMS], tokenizer), targets={}))
        tokens += batches[-1].num_tokens
        if tokens * width * 4 > gigabytes * 1e9:
            needed = tokens * width * 4e-9 * len(items) / min(len(items), start + _ITEMS)
            progress.note(
                f"the outputs of the frozen layers need about {needed:.1f} GB, and --freeze-cache allows "
                f"{gigabytes:g}: they are computed again in every epoch"
            )
            return None
    token_ids = np.concatenate([batch.tokens.numpy().astype(np.int32) for batch in batches])
    edges = np.cumsum(np.concatenate([[0], *map(_sizes, batches)]))
    with disk_errors(folder), tempfile.TemporaryFile(dir=folder) as file:
        _run(model, batches, file, precision=precision, device=device, num_tokens=tokens)
        return Activations(file, token_ids, edges)


def _run(
    model: FrozenModel,
    batches: Sequence[Batch],
    file: IO[bytes],
    *,
    precision: Literal["fp32", "bf16"],
    device: torch.device,
    num_tokens: int,
) -> None:
    """Write the outputs of the frozen layers for each batch."""
    with progress.bar("Running the frozen layers", total=num_tokens, unit="tokens") as bar:
        for batch in batches:
            for part in batch.split(_TOKENS, whole_items=False):
                with compute(precision, device):
                    hidden = model.prefix(part.to(device))
                file.write(hidden.float().cpu().contiguous().numpy().data)
                bar.advance(part.num_tokens)
        file.flush()


def _sizes(batch: Batch) -> NDArray[np.int64]:
    """Count the tokens of each item."""
    return np.bincount(batch.rows.numpy(), weights=batch.lengths.numpy(), minlength=batch.num_items).astype(np.int64)
