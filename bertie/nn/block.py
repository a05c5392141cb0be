"""One encoder layer: self-attention and feed-forward, each with a residual and a LayerNorm after it (post-norm).

"Attention is all you need", 3.1; BERT, section 3. Queries, keys and values come from one fused product.

Shapes: T tokens, H hidden, N heads, D head size, I intermediate.
"""

from __future__ import annotations

from torch import Tensor, nn

from bertie.nn.attention import Layout, attend
from bertie.nn.dropout import Dropout, Noise
from bertie.nn.feedforward import Activation, FeedForward


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence with itself, projections included.

    Args:
        hidden_size: H, a multiple of `num_heads`.
        num_heads: N.
        dropout: rate on the attention weights.
        site: dropout's number in the network.
        bias: whether the projections have one.
    """

    def __init__(self, hidden_size: int, num_heads: int, *, dropout: float, site: int, bias: bool = True) -> None:
        super().__init__()
        self.num_heads, self.rate, self.site = num_heads, dropout, site
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size, bias=bias)
        self.output = nn.Linear(hidden_size, hidden_size, bias=bias)

    def forward(self, hidden: Tensor, layout: Layout, noise: Noise | None) -> Tensor:
        """Map (T, H) to (T, H)."""
        size = hidden.shape[1] // self.num_heads
        query, key, value = self.qkv(hidden).view(hidden.shape[0], 3, self.num_heads, size).unbind(1)  # (T, N, D)
        rate = self.rate if self.training else 0.0
        seen = attend(query, key, value, layout, dropout=rate, noise=noise, site=self.site)
        projected: Tensor = self.output(seen.flatten(1))  # (T, H)
        return projected


class Block(nn.Module):
    """One post-norm layer of the encoder.

    Args:
        hidden_size: H.
        num_heads: N.
        intermediate_size: I.
        activation: of the feed-forward layer.
        dropout: rate on both residual branches.
        attention_dropout: rate on the attention weights.
        layer_norm_eps: epsilon of both LayerNorms.
        site: first of the three dropout numbers this layer uses.
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
    ) -> None:
        super().__init__()
        self.attention = SelfAttention(hidden_size, num_heads, dropout=attention_dropout, site=site)
        self.attention_dropout = Dropout(dropout, site=site + 1)
        self.attention_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.feedforward = FeedForward(hidden_size, intermediate_size, activation)
        self.feedforward_dropout = Dropout(dropout, site=site + 2)
        self.feedforward_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)

    def forward(self, hidden: Tensor, layout: Layout, noise: Noise | None) -> Tensor:
        """Map (T, H) to (T, H)."""
        seen = self.attention_dropout(self.attention(hidden, layout, noise), noise)
        hidden = self.attention_norm(hidden + seen)
        widened = self.feedforward_dropout(self.feedforward(hidden), noise)
        output: Tensor = self.feedforward_norm(hidden + widened)
        return output
