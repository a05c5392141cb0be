"""BERT's post-norm layers by the kernel that takes a block of rows through all of a layer (`kernels/layer.py`).

Shapes: T tokens, H hidden.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn

from bertie.kernels import layer as kernel
from bertie.kernels.layer import Element, Parts
from bertie.nn.attention import Layout
from bertie.nn.block import Block


def with_fused_layers(encoder: nn.Module, element: Element) -> nn.Module | None:
    """Copy an encoder, its layers in one kernel and all else shared; None where a layer has no kernel."""
    every = [_parts(block) for block in getattr(encoder, "blocks", ())]
    known = [parts for parts in every if parts is not None and kernel.takes(parts, element)]
    if not every or len(known) < len(every):
        return None
    copied = shared_copy(encoder)
    copied.blocks = nn.ModuleList([FusedLayers(kernel.Layers(known, element))])
    if hasattr(encoder, "continuation"):  # texts are gone on with token by token, by the layers in torch
        copied.continuation = encoder.continuation
    return copied.eval()


def shared_copy(encoder: nn.Module) -> nn.Module:
    """Copy an encoder, but not its weights."""
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
    """All layers of an encoder in use; it stands where they stood.

    Args:
        layers: the kernel.
    """

    def __init__(self, layers: kernel.Layers) -> None:
        super().__init__()
        self._layers = layers

    def forward(self, hidden: Tensor, layout: Layout, noise: None) -> Tensor:
        """Map (T, H) in fp32 to (T, H)."""
        return self._layers.encode(hidden, layout.query_offsets, causal=layout.causal)
