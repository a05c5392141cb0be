"""ModernBERT's stem, the layers below the last layer of every head: dense, GELU, LayerNorm, without biases.

It runs on the chosen tokens, on every token, or on one vector a sequence.

Shapes: T tokens, B sequences, M chosen tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from bertie.batch import Batch
from bertie.nn.logits import Logits
from bertie.ops.dropout.op import Dropout, Noise
from bertie.ops.linear.op import Linear
from bertie.ops.rounding import pad_rows


class PredictionHead(nn.Module):
    """Dense, GELU, LayerNorm.

    Args:
        hidden_size: H.
        layer_norm_eps: epsilon of the LayerNorm.
    """

    def __init__(self, hidden_size: int, layer_norm_eps: float) -> None:
        super().__init__()
        self.dense = Linear(hidden_size, hidden_size, bias=False)
        self.norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps, bias=False)

    def transformed(self, hidden: Tensor) -> Tensor:
        """Map (M, H) to (M, H)."""
        values: Tensor = self.norm(gelu(self.dense(pad_rows(hidden, step=64))))
        return values[: hidden.shape[0]]


class TokenPredictionHead(PredictionHead):
    """The stem on every token, followed by dropout.

    Args:
        hidden_size: H.
        layer_norm_eps: epsilon of the LayerNorm.
        dropout: follows the stem.
    """

    def __init__(self, hidden_size: int, layer_norm_eps: float, dropout: Dropout) -> None:
        super().__init__(hidden_size, layer_norm_eps)
        self.dropout = dropout

    def forward(self, hidden: Tensor, noise: Noise | None) -> Tensor:
        """Map (T, H) to (T, H)."""
        dropped: Tensor = self.dropout(self.transformed(hidden), noise)
        return dropped


class PredictionHeadLogits(PredictionHead):
    """The masked-LM head: the stem, then the word embeddings as output matrix, with a bias.

    Args:
        hidden_size: H.
        layer_norm_eps: epsilon of the LayerNorm.
        embedding: (V, H), the output matrix. If tied, it is the encoder's parameter and belongs to both modules.
    """

    def __init__(self, hidden_size: int, layer_norm_eps: float, embedding: nn.Parameter) -> None:
        super().__init__(hidden_size, layer_norm_eps)
        self.embedding = embedding
        self.bias = nn.Parameter(torch.zeros(len(embedding)))

    def forward(self, hidden: Tensor) -> Logits:
        """Map (M, H) to logits over V."""
        return Logits(self.transformed(hidden), self.embedding, self.bias)


class PredictionHeadPooler(nn.Module):
    """The stem on one vector a sequence: the first token's or the mean.

    Args:
        hidden_size: H.
        layer_norm_eps: epsilon of the LayerNorm.
        pooling: `cls` for the first token, `mean` for the mean.
    """

    def __init__(self, hidden_size: int, layer_norm_eps: float, pooling: Literal["cls", "mean"]) -> None:
        super().__init__()
        self.pooling = pooling
        self.transform = PredictionHead(hidden_size, layer_norm_eps)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None = None) -> Tensor:
        """Map (T, H) to (B, H)."""
        if self.pooling == "cls":
            return self.transform.transformed(hidden[batch.starts])
        return self.transform.transformed(torch.segment_reduce(hidden, "mean", lengths=batch.lengths))
