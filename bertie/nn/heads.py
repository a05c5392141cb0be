"""Parts of heads: poolers, the masked-LM head and ELECTRA's discriminator.

Shapes: T tokens, B sequences, M chosen tokens, H hidden, E embedding, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.nn.feedforward import Activation, activation_function
from bertie.nn.logits import Logits
from bertie.ops.dropout.op import Dropout, Noise
from bertie.ops.linear.op import Linear
from bertie.ops.rounding import pad_rows


class Pooler(nn.Module):
    """activation(W h + b) of each sequence's first token; BERT's activation is tanh.

    Args:
        hidden_size: H.
        activation: follows the dense layer.
    """

    def __init__(self, hidden_size: int, activation: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        self.dense = Linear(hidden_size, hidden_size)
        self.activation = activation

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None = None) -> Tensor:
        """Map (T, H) to (B, H)."""
        return self.activation(self.dense(hidden[batch.starts]))


class ClassifierPooler(nn.Module):
    """The pooler of a classifier: dropout, then activation(W h + b) of each sequence's first token.

    It belongs to the classifier and not to the encoder, so pre-training doesn't train it.

    Args:
        hidden_size: H.
        activation: follows the dense layer.
        dropout: before the dense layer; None for no dropout.
    """

    def __init__(
        self, hidden_size: int, activation: Callable[[Tensor], Tensor], dropout: Dropout | None = None
    ) -> None:
        super().__init__()
        self.dropout = dropout
        self.transform = Linear(hidden_size, hidden_size)
        self.activation = activation

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None = None) -> Tensor:
        """Map (T, H) to (B, H)."""
        first = hidden[batch.starts]
        return self.activation(
            self.transform(first if self.dropout is None else self.dropout(first, noise, "sequence"))
        )


class TokenLogits(nn.Module):
    """The masked-LM head: dense, activation, LayerNorm, then the word embeddings as output matrix, with a bias.

    Args:
        hidden_size: H.
        embedding: (V, E), the output matrix. If tied, it is the encoder's parameter and belongs to both modules.
        activation: between dense layer and LayerNorm.
        layer_norm_eps: epsilon of the LayerNorm.
    """

    def __init__(
        self, hidden_size: int, embedding: nn.Parameter, *, activation: Activation, layer_norm_eps: float
    ) -> None:
        super().__init__()
        vocab_size, size = embedding.shape
        self.dense = Linear(hidden_size, size)
        self.norm = nn.LayerNorm(size, eps=layer_norm_eps)
        self.activation = activation_function(activation)
        self.embedding = embedding
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, hidden: Tensor) -> Logits:
        """Map (M, H) to logits over V."""
        count = hidden.shape[0]
        transformed = self.norm(self.activation(self.dense(pad_rows(hidden, step=64))))[:count]
        return Logits(transformed, self.embedding, self.bias)


class Discriminator(nn.Module):
    """ELECTRA's discriminator: dense, activation, and one logit a token for whether it was replaced.

    Args:
        hidden_size: H.
        activation: between the two layers.
    """

    def __init__(self, hidden_size: int, activation: Activation) -> None:
        super().__init__()
        self.dense = Linear(hidden_size, hidden_size)
        self.activation = activation_function(activation)
        self.output = Linear(hidden_size, 1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (T, H) to (T,)."""
        scores: Tensor = self.output(self.activation(self.dense(pad_rows(hidden, step=64))))
        return scores[: hidden.shape[0], 0]
