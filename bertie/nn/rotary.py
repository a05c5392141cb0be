"""Rotary positions (Su et al. 2021): queries and keys are rotated by angles that grow with their position.

Two coordinates of an attention head form a pair: i and i + D/2, or, interleaved as in RoFormer, 2i and 2i + 1. Pair i
is rotated by position / base^(2i/D). The product of a rotated query and a rotated key then depends on the distance of
their positions alone.

Shapes: P positions, T tokens, H hidden, N heads, D head size.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from bertie.nn.block import Block, SelfAttention
from bertie.nn.positions import sinusoids
from bertie.ops.attention.attend import Layout, attend, attention_weights
from bertie.ops.dropout.op import Noise

Turn = tuple[Tensor, Tensor]
"""Cosines and sines of every token's angles, (T, 1, D/2) each, in fp32."""


def angles(positions: Tensor, size: int, base: float) -> Turn:
    """Return the cosines and sines of the tokens' angles.

    Args:
        positions: (T,), within their sequences.
        size: D, even.
        base: theta; a larger base rotates the last pairs more slowly.
    """
    powers = torch.arange(0, size, 2, dtype=torch.float32, device=positions.device) / size  # (D/2,)
    turned = positions.float()[:, None, None] * (1.0 / base**powers)  # (T, 1, D/2)
    return turned.cos(), turned.sin()


def rotate(values: Tensor, turn: Turn, *, interleaved: bool = False) -> Tensor:
    """Rotate queries or keys (T, N, D), in fp32 whatever their dtype."""
    cosine, sine = turn
    if interleaved:  # adjacent pairs have the memory layout of complex numbers
        pairs = torch.view_as_complex(values.float().contiguous().view(*values.shape[:-1], -1, 2))  # (T, N, D/2)
        return torch.view_as_real(pairs * torch.complex(cosine, sine)).flatten(-2).to(values.dtype)
    first, second = values.float().chunk(2, dim=-1)  # (T, N, D/2)
    turned = torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
    return turned.to(values.dtype)


class Turns(nn.Module):
    """A table of the sines and cosines of all positions, which model files hold as in transformers.

    Args:
        num_positions: P.
        size: D, even.
    """

    weight: Tensor
    """(P, D): the sines, then the cosines."""

    def __init__(self, num_positions: int, size: int) -> None:
        super().__init__()
        table = sinusoids(num_positions, size)
        self.register_buffer("weight", torch.cat([table[:, ::2], table[:, 1::2]], dim=1))

    def forward(self, positions: Tensor) -> Turn:
        """Return the cosines and sines at positions (T,)."""
        sine, cosine = self.weight[positions].float()[:, None].chunk(2, dim=-1)
        return cosine, sine


class RotaryAttention(SelfAttention):
    """Multi-head self-attention with rotary positions, over the whole sequence or a window.

    Args:
        hidden_size: H, a multiple of `num_heads`.
        num_heads: N.
        dropout: rate on the attention weights.
        site: dropout number of this layer in the network.
        bias: whether the projections have a bias.
        window: positions that a token attends to on either side; the whole sequence when None.
        interleaved: whether coordinates 2i and 2i + 1 form a pair, instead of i and i + D/2.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        *,
        dropout: float,
        site: int,
        bias: bool = False,
        window: int | None = None,
        interleaved: bool = False,
    ) -> None:
        super().__init__(hidden_size, num_heads, dropout=dropout, site=site, bias=bias)
        self.window, self.interleaved = window, interleaved

    def forward(self, hidden: Tensor, layout: Layout, noise: Noise | None, turn: Turn | None = None) -> Tensor:
        """Map (T, H) to (T, H); without `turn`, positions have no effect."""
        query, key, value = self.project(hidden)  # (T, N, D)
        query, key = self._turned(query, key, turn)
        rate = self.rate if self.training else 0.0
        seen = attend(
            query,
            key,
            value,
            layout,
            causal=layout.causal,
            window=self.window,
            dropout=rate,
            noise=noise,
            site=self.site,
        )
        projected: Tensor = self.output(seen.flatten(1))  # (T, H)
        return projected

    def weights(self, hidden: Tensor, layout: Layout, relation: Any = None) -> list[Tensor]:
        """Return the attention weights of `forward`; see `SelfAttention.weights`. `relation` is its `turn`."""
        query, key, _ = self.project(hidden)
        query, key = self._turned(query, key, relation)
        return attention_weights(query, key, layout, causal=layout.causal, window=self.window)

    def _turned(self, query: Tensor, key: Tensor, turn: Turn | None) -> tuple[Tensor, Tensor]:
        if turn is None:
            return query, key
        return rotate(query, turn, interleaved=self.interleaved), rotate(key, turn, interleaved=self.interleaved)


class RotaryBlock(Block):
    """A post-norm block with interleaved rotary positions. Arguments as in `Block`."""

    def attend_with(self, hidden_size: int, num_heads: int, dropout: float, site: int) -> RotaryAttention:
        """Make the self-attention of this block."""
        return RotaryAttention(hidden_size, num_heads, dropout=dropout, site=site, bias=True, interleaved=True)

    def forward(self, hidden: Tensor, layout: Layout, noise: Noise | None, turn: Turn | None = None) -> Tensor:
        """Map (T, H) to (T, H)."""
        seen = self.attention(hidden, layout, noise, turn)
        return self.feed(hidden, seen, noise)
