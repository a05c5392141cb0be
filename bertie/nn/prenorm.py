"""The pre-norm block: a LayerNorm before attention and feed-forward, none on the residual stream, no biases.

Positions are rotary, the feed-forward part is gated, and attention may be local.

Shapes: T tokens, H hidden, I intermediate.
"""

from __future__ import annotations

from torch import Tensor, nn

from bertie.nn.feedforward import Activation, GatedFeedForward
from bertie.nn.rotary import RotaryAttention, Turn
from bertie.ops.attention.attend import Layout
from bertie.ops.dropout.op import Dropout, Noise


class PreNormBlock(nn.Module):
    """A pre-norm block.

    Args:
        hidden_size: H.
        num_heads: N.
        intermediate_size: I.
        activation: of the gate.
        dropout: rate inside the feed-forward part.
        attention_dropout: rate on the attention weights and on the output of attention.
        layer_norm_eps: epsilon of both LayerNorms.
        site: first of the three dropout numbers that the block uses.
        window: positions that a token attends to on either side; the whole sequence when None.
        normed: whether there is a LayerNorm before attention. The first block has none: the embeddings end with one.
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
