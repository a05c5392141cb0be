"""One pre-norm layer: a LayerNorm before attention and feed-forward, nothing on the residual stream, no biases.

Positions are rotary, the feed-forward layer is gated, and attention may be local.

Shapes: T tokens, H hidden, N heads, D head size, I intermediate.
"""

from __future__ import annotations

from torch import Tensor, nn

from bertie.nn.attention import Layout, attend
from bertie.nn.block import SelfAttention
from bertie.nn.dropout import Dropout, Noise
from bertie.nn.feedforward import Activation, GatedFeedForward
from bertie.nn.rotary import Turn, rotate


class RotaryAttention(SelfAttention):
    """Multi-head attention of a sequence with itself by rotary positions, perhaps within a window; no biases.

    Args:
        hidden_size: H, a multiple of `num_heads`.
        num_heads: N.
        dropout: rate on the attention weights.
        site: dropout's number in the network.
        window: places a token sees to either side; the whole sequence when None.
    """

    def __init__(self, hidden_size: int, num_heads: int, *, dropout: float, site: int, window: int | None) -> None:
        super().__init__(hidden_size, num_heads, dropout=dropout, site=site, bias=False)
        self.window = window

    def forward(self, hidden: Tensor, layout: Layout, noise: Noise | None, turn: Turn | None = None) -> Tensor:
        """Map (T, H) to (T, H); without a turn, tokens have no place."""
        size = hidden.shape[1] // self.num_heads
        query, key, value = self.qkv(hidden).view(hidden.shape[0], 3, self.num_heads, size).unbind(1)  # (T, N, D)
        if turn is not None:
            query, key = rotate(query, turn), rotate(key, turn)
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


class PreNormBlock(nn.Module):
    """One layer.

    Args:
        hidden_size: H.
        num_heads: N.
        intermediate_size: I.
        activation: of the gate.
        dropout: rate inside the feed-forward layer.
        attention_dropout: rate on the attention weights and on what attention adds.
        layer_norm_eps: epsilon of both LayerNorms.
        site: first of the three dropout numbers this layer uses.
        window: places a token sees to either side; the whole sequence when None.
        normed: whether there is a LayerNorm before attention; the first layer has that of the embeddings.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        intermediate_size: int,
        *,
        activation: Activation,
        dropout: float,
        attention_dropout: float,
        layer_norm_eps: float,
        site: int,
        window: int | None,
        normed: bool,
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps, bias=False) if normed else nn.Identity()
        self.attention = RotaryAttention(hidden_size, num_heads, dropout=attention_dropout, site=site, window=window)
        self.attention_dropout = Dropout(attention_dropout, site=site + 1)
        self.feedforward_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps, bias=False)
        self.feedforward = GatedFeedForward(hidden_size, intermediate_size, activation, dropout=dropout, site=site + 2)

    def forward(self, hidden: Tensor, layout: Layout, noise: Noise | None, turn: Turn) -> Tensor:
        """Map (T, H) to (T, H)."""
        seen = self.attention(self.attention_norm(hidden), layout, noise, turn)
        hidden = hidden + self.attention_dropout(seen, noise)
        widened: Tensor = self.feedforward(self.feedforward_norm(hidden), noise)
        return hidden + widened
