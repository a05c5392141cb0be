"""Which weights of a network learn: all, all but the lowest layers (freezing), or low-rank updates only (LoRA).

Frozen layers run without dropout, because they can't adapt to its noise. So their outputs for an item are the same in
every epoch, and may come with the batch from a cache (`activations.py`).

Shapes: T tokens, H hidden.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import nn

from bertie import progress
from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.nn.lora import adapt
from bertie.ops.dropout.op import Noise
from bertie.tasks.task import TaskModel
from bertie.training import layers
from bertie.training.settings import LoraSettings

PREFIX = "token.prefix"
"""Name of the target (T, H) with the outputs of the frozen layers for a batch."""


class FrozenModel(TaskModel):
    """A model whose lowest layers don't learn. It shares its modules with the model that it is made from.

    Args:
        model: the model. Its embeddings and lowest blocks are frozen here.
        num_blocks: number of blocks to freeze.
    """

    def __init__(self, model: TaskModel, num_blocks: int) -> None:
        super().__init__(model.encoder, model.head)
        self.num_blocks = num_blocks
        encoder: Any = model.encoder
        self._frozen: list[nn.Module] = [encoder.embeddings, *encoder.blocks[:num_blocks]]
        for part in self._frozen:
            part.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        """Switch dropout on or off in the layers that learn; it stays off in frozen layers."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def prefix(self, batch: Batch, noise: Noise | None = None) -> torch.Tensor:
        """Return the outputs of the frozen layers, (T, H)."""
        with torch.no_grad():
            hidden: torch.Tensor = self.encoder(batch, noise, blocks=slice(self.num_blocks))
        return hidden

    def forward(self, batch: Batch, noise: Noise | None = None) -> Any:
        """Run encoder and head. The frozen layers run only if the batch doesn't have their outputs."""
        if self.training and noise is None:
            noise = Noise.draw()
        hidden = batch.targets.get(PREFIX)
        if hidden is None:
            hidden = self.prefix(batch, noise)
        hidden = self.encoder(batch, noise, hidden, slice(self.num_blocks, None))
        return self.head(hidden, batch, noise)


def choose(model: TaskModel, *, freeze: int, lora: LoraSettings, seed: int) -> TaskModel:
    """Decide which weights learn, in place, and return the network to train.

    Args:
        model: encoder and head.
        freeze: number of lowest blocks that don't learn, with the embeddings. 0: all weights learn; -1: only the head.
        lora: if its rank is above 0, blocks that aren't frozen learn by low-rank updates. The head learns fully.
        seed: the run's. The updates' first weights are drawn from it.

    Returns:
        `model` itself, or a model that shares its modules. Merge the updates (`nn.lora.merge`) before saving it.

    Raises:
        SettingsError: `freeze` is out of range, or leaves no block for LoRA.
    """
    total = layers.num_blocks(model)
    if freeze < -1 or freeze > total:
        raise SettingsError(f"--freeze must be from 0 to {total}, the blocks of this encoder, or -1; got {freeze}")
    num_frozen = total if freeze == -1 else freeze
    if lora.rank > 0:
        if num_frozen == total:
            raise SettingsError(f"--freeze {freeze} leaves no block for --lora.rank {lora.rank}; freeze fewer")
        encoder: Any = model.encoder
        encoder.requires_grad_(False)
        adapt(
            encoder.blocks[num_frozen:],
            rank=lora.rank,
            alpha=lora.alpha,
            generator=torch.Generator().manual_seed(seed + 2),  # seed and seed + 1 draw the encoder and the head
            chosen=lambda name: lora.targets == "all" or f".{lora.targets}." in name,
        )
    network = FrozenModel(model, num_frozen) if freeze != 0 else model
    if freeze != 0 or lora.rank > 0:
        counts = [value.numel() for value in network.parameters()]
        learning = sum(value.numel() for value in network.parameters() if value.requires_grad)
        frozen = f"embeddings and {num_frozen} of {total} blocks are frozen and run without dropout; " if freeze else ""
        progress.note(f"{frozen}{learning:,} of {sum(counts):,} weights learn")
    return network
