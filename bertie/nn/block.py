"""The encoder block: self-attention and feed-forward, each with a residual and a LayerNorm after it (post-norm).

"Attention is all you need", 3.1; BERT, section 3. Queries, keys and values come from one fused product. In a
causal batch no token attends to later ones. A block can then also read one token at a time over a cache (`step`).

Shapes: T tokens, R rows of the cache, L tokens so far, H hidden, N heads, D head size, I intermediate, S tokens of one
sequence.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from bertie.nn.cache import LayerCache
from bertie.nn.feedforward import Activation, FeedForward
from bertie.ops.attention.attend import Layout, attend, attend_cached, attention_weights
from bertie.ops.dropout.op import Dropout, Noise
from bertie.ops.linear.op import Linear
from bertie.ops.normalise.op import add_and_normalise


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence with itself, projections included.

    Args:
        hidden_size: H, a multiple of `num_heads`.
        num_heads: N.
        dropout: rate on the attention weights.
        site: dropout number of this layer in the network.
        bias: whether the projections have a bias.
    """

    def __init__(self, hidden_size: int, num_heads: int, *, dropout: float, site: int, bias: bool = True) -> None:
        super().__init__()
        self.num_heads, self.rate, self.site = num_heads, dropout, site
        self.qkv = Linear(hidden_size, 3 * hidden_size, bias=bias)
        self.output = Linear(hidden_size, hidden_size, bias=bias)

    def forward(self, hidden: Tensor, layout: Layout, noise: Noise | None) -> Tensor:
        """Map (T, H) to (T, H)."""
        rate = self.rate if self.training else 0.0
        seen = attend(*self.project(hidden), layout, causal=layout.causal, dropout=rate, noise=noise, site=self.site)
        projected: Tensor = self.output(seen.flatten(1))  # (T, H)
        return projected

    def weights(self, hidden: Tensor, layout: Layout, relation: Any = None) -> list[Tensor]:
        """Return the attention weights of `forward`, one (N, S, S) tensor a sequence, for people to look at.

        Args:
            hidden: (T, H).
            layout: boundaries of the sequences.
            relation: what `forward` takes about relative positions; plain attention takes nothing.
        """
        query, key, _ = self.project(hidden)
        return attention_weights(query, key, layout, causal=layout.causal)

    def step(
        self, hidden: Tensor, layer: LayerCache, length: int, mask: Tensor | None = None
    ) -> tuple[Tensor, LayerCache]:
        """Attend from the newest token of every row.

        Args:
            hidden: (R, H).
            layer: keys and values of the L earlier tokens.
            length: L.
            mask: (R, 1, 1, L + 1) True at tokens that are hidden from a row; None when no token is.

        Returns:
            (R, H), and the cache with the newest tokens in it.
        """
        query, key, value = self.project(hidden)
        layer = layer.append(key, value, length)
        past = slice(length + 1)
        seen = attend_cached(query[:, None], layer.keys[:, :, past], layer.values[:, :, past], mask)
        return self.output(seen.flatten(1)), layer

    def project(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return query, key and value of (T, H) vectors, (T, N, D) each."""
        query, key, value = self.qkv(hidden).view(hidden.shape[0], 3, self.num_heads, -1).unbind(1)
        return query, key, value


class Block(nn.Module):
    """A post-norm block of the encoder.

    Args:
        hidden_size: H.
        num_heads: N.
        intermediate_size: I.
        activation: of the feed-forward part.
        dropout: rate on both residual branches.
        attention_dropout: rate on the attention weights.
        layer_norm_eps: epsilon of both LayerNorms.
        site: first of the three dropout numbers that the block uses.
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
        self.attention = self.attend_with(hidden_size, num_heads, attention_dropout, site)
        self.attention_dropout = Dropout(dropout, site=site + 1)
        self.attention_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)
        self.feedforward = FeedForward(hidden_size, intermediate_size, activation)
        self.feedforward_dropout = Dropout(dropout, site=site + 2)
        self.feedforward_norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)

    def attend_with(self, hidden_size: int, num_heads: int, dropout: float, site: int) -> SelfAttention:
        """Make the self-attention of this block."""
        return SelfAttention(hidden_size, num_heads, dropout=dropout, site=site)

    def forward(self, hidden: Tensor, layout: Layout, noise: Noise | None) -> Tensor:
        """Map (T, H) to (T, H)."""
        return self.feed(hidden, self.attention(hidden, layout, noise), noise)

    def feed(self, hidden: Tensor, seen: Tensor, noise: Noise | None) -> Tensor:
        """Add the output of attention to (T, H) and run the rest of the block."""
        return self._feed(add_and_normalise(hidden, seen, self.attention_norm, self.attention_dropout, noise), noise)

    def step(
        self, hidden: Tensor, layer: LayerCache, length: int, mask: Tensor | None = None
    ) -> tuple[Tensor, LayerCache]:
        """Map the newest tokens' (R, H) to (R, H) without dropout; see `SelfAttention.step`."""
        seen, layer = self.attention.step(hidden, layer, length, mask)
        return self._feed(self.attention_norm(hidden + seen), None), layer

    def _feed(self, hidden: Tensor, noise: Noise | None) -> Tensor:
        narrowed = self.feedforward(hidden)
        return add_and_normalise(hidden, narrowed, self.feedforward_norm, self.feedforward_dropout, noise)
