"""Private helper: run BERT's post-norm blocks with the kernel that runs whole blocks (`ops/layer/kernel.py`).

Shapes: T tokens, H hidden.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn

from bertie.nn.abilities import CanContinue
from bertie.nn.block import Block
from bertie.ops.attention.attend import Layout
from bertie.ops.layer import kernel
from bertie.ops.layer.kernel import Element, Parts


def with_fused_layers(encoder: nn.Module, element: Element) -> nn.Module | None:
    """Return a copy of an encoder with all blocks in one kernel and the other weights shared.

    Return None if the kernel doesn't support a block.
    """
    blocks = [_parts(block) for block in getattr(encoder, "blocks", ())]
    supported = [parts for parts in blocks if parts is not None and kernel.takes(parts, element)]
    if not blocks or len(supported) < len(blocks):
        return None
    copied = shared_copy(encoder)
    copied.blocks = nn.ModuleList([FusedLayers(kernel.Layers(supported, element))])
    if isinstance(encoder, CanContinue):  # generation runs token by token, on the blocks in torch
        setattr(copied, "continuation", encoder.continuation)  # noqa: B010 - torch types attributes as modules
    return copied.eval()


def shared_copy(encoder: nn.Module) -> nn.Module:
    """Return a copy of an encoder that shares its weights."""
    return copy.deepcopy(encoder, {id(value): value for value in encoder.parameters()})


def _parts(block: nn.Module) -> Parts | None:
    if type(block) is not Block:
        return None
    attention, feedforward = block.attention, block.feedforward
    return Parts(
        (attention.qkv, attention.output, feedforward.up, feedforward.down),
        (block.attention_norm, block.feedforward_norm),
        feedforward.activation_name,
        attention.num_heads,
    )


class FusedLayers(nn.Module):
    """All blocks of an encoder for inference, as a single block.

    Args:
        layers: the kernel with the blocks.
    """

    def __init__(self, layers: kernel.Layers) -> None:
        super().__init__()
        self._layers = layers

    def forward(self, hidden: Tensor, layout: Layout, noise: None) -> Tensor:
        """Map (T, H) in fp32 to (T, H)."""
        return self._layers.encode(hidden, layout.query_offsets, causal=layout.causal)
