"""Private helper: the heads of tasks, in torch. A task imports its head when it makes one.

So a task encodes and decodes without torch, as a model does that was exported for another program.

Shapes: T tokens, B sequences, M slots, N texts, K candidates, H hidden, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from bertie.batch import Batch
from bertie.nn.logits import Logits
from bertie.ops.dropout.op import Noise
from bertie.ops.linear.op import Linear
from bertie.tasks._outputs import FeatureOutputs, PassageOutputs, PretrainingOutputs

if TYPE_CHECKING:
    from bertie.nn.pooling import TextPooling


class ClassificationHead(nn.Module):
    """Pooler, dropout and a linear layer.

    Args:
        pooler: the encoder's pooler.
        dropout: the encoder's dropout before a head.
        hidden_size: H.
        num_labels: C.
    """

    def __init__(self, pooler: nn.Module, dropout: nn.Module, hidden_size: int, num_labels: int) -> None:
        super().__init__()
        self.pooler, self.dropout = pooler, dropout
        self.classifier = Linear(hidden_size, num_labels)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (B, C)."""
        logits: Tensor = self.classifier(self.dropout(self.pooler(hidden, batch, noise), noise, "sequence"))
        return logits


class RegressionHead(nn.Module):
    """Pooler, dropout and a linear layer with one output.

    Args:
        pooler: the encoder's pooler.
        dropout: the encoder's dropout before a head.
        hidden_size: H.
        center: number that an output of 0 stands for.
        spread: difference of numbers that a difference of 1 stands for.
    """

    def __init__(self, pooler: nn.Module, dropout: nn.Module, hidden_size: int, center: float, spread: float) -> None:
        super().__init__()
        self.pooler, self.dropout = pooler, dropout
        self.classifier = Standardised(hidden_size, center, spread)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (B,)."""
        values: Tensor = self.classifier(self.dropout(self.pooler(hidden, batch, noise), noise, "sequence"))
        return values.squeeze(1)


class Standardised(Linear):
    """A linear layer with one output that learns on a standardised scale and is saved on the true scale.

    Args:
        hidden_size: H.
        center: added to the scaled output.
        spread: factor of the output.
    """

    def __init__(self, hidden_size: int, center: float, spread: float) -> None:
        super().__init__(hidden_size, 1)
        self.center, self.spread = center, spread

    def forward(self, values: Tensor) -> Tensor:
        """Map (B, H) to (B, 1)."""
        return super().forward(values).float() * self.spread + self.center

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[f"{prefix}weight"] = self.weight.detach() * self.spread
        destination[f"{prefix}bias"] = self.bias.detach() * self.spread + self.center

    def _load_from_state_dict(self, state: Any, prefix: str, *rest: Any) -> None:
        scaled = dict(state)
        if f"{prefix}weight" in scaled:
            scaled[f"{prefix}weight"] = scaled[f"{prefix}weight"] / self.spread
        if f"{prefix}bias" in scaled:
            scaled[f"{prefix}bias"] = (scaled[f"{prefix}bias"] - self.center) / self.spread
        super()._load_from_state_dict(scaled, prefix, *rest)


class MultipleChoiceHead(nn.Module):
    """Pooler, dropout and a linear layer with one output.

    Args:
        pooler: the encoder's pooler.
        dropout: the encoder's dropout before a head.
        hidden_size: H.
    """

    def __init__(self, pooler: nn.Module, dropout: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.pooler, self.dropout = pooler, dropout
        self.classifier = Linear(hidden_size, 1)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (B,)."""
        scores: Tensor = self.classifier(self.dropout(self.pooler(hidden, batch, noise), noise, "sequence"))
        return scores.squeeze(1)


class NextSentenceHead(nn.Module):
    """Pooler and a linear layer with two outputs.

    Args:
        pooler: the encoder's pooler.
        hidden_size: H.
    """

    def __init__(self, pooler: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.pooler = pooler
        self.next_sentence = Linear(hidden_size, 2)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (B, 2)."""
        logits: Tensor = self.next_sentence(self.pooler(hidden, batch))
        return logits


class TaggingHead(nn.Module):
    """The encoder's dropout and a linear layer.

    Args:
        stem: the encoder's layer below it, with its dropout.
        hidden_size: H.
        num_labels: C.
    """

    token_by_token = True

    def __init__(self, stem: nn.Module, hidden_size: int, num_labels: int) -> None:
        super().__init__()
        self.stem = stem
        self.classifier = Linear(hidden_size, num_labels)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (T, C)."""
        logits: Tensor = self.classifier(self.stem(hidden, noise))
        return logits


class CandidateHead(nn.Module):
    """A hidden layer on first piece, last piece, mean of the pieces and length of each candidate, then its logits.

    A layer on these vectors side by side is a sum of layers on each. These run once a word, not once a candidate.

    Args:
        stem: the encoder's layer below it, with its dropout.
        hidden_size: H.
        max_span: L.
        num_labels: C.
    """

    def __init__(self, stem: nn.Module, hidden_size: int, max_span: int, num_labels: int) -> None:
        super().__init__()
        self.stem = stem
        self.first = Linear(hidden_size, hidden_size)
        self.last = Linear(hidden_size, hidden_size, bias=False)
        self.mean = Linear(hidden_size, hidden_size, bias=False)
        self.length = nn.Embedding(max_span, hidden_size)
        self.classifier = Linear(hidden_size, num_labels)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (K, C)."""
        hidden = self.stem(hidden, noise)
        position, pieces = batch.targets["slot.position"], batch.targets["slot.pieces"]
        first, last = self.first(hidden[position]), self.last(hidden[position + pieces - 1])  # (M, H)
        words = torch.repeat_interleave(torch.arange(len(pieces), device=pieces.device), pieces)
        before = torch.cumsum(pieces, 0) - pieces
        tokens = torch.arange(len(words), device=pieces.device) + (position - before)[words]
        sums = hidden.new_zeros(len(pieces), hidden.shape[1]).index_add(0, words, hidden[tokens])
        added, counts = self.mean(sums), pieces[:, None]
        inner, sizes, rows = added, counts, []  # of the run of words from each word on
        for more, is_candidate in enumerate(batch.targets["slot.span"].T):
            if more:
                inner = inner + pad(added[more:], (0, 0, 0, min(more, len(added))))
                sizes = sizes + pad(counts[more:], (0, 0, 0, min(more, len(added))))
            start = is_candidate.nonzero().flatten()
            rows.append(first[start] + last[start + more] + inner[start] / sizes[start] + self.length.weight[more])
        logits: Tensor = self.classifier(gelu(torch.cat(rows)))
        return logits


class SpanHead(nn.Module):
    """A linear layer with two scores for each token: start and end of the answer.

    Args:
        stem: the encoder's layer below it.
        hidden_size: H.
    """

    token_by_token = True
    """Each output depends on its own token's hidden vector only."""

    def __init__(self, stem: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.stem = stem
        self.qa_outputs = Linear(hidden_size, 2)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (T, 2)."""
        logits: Tensor = self.qa_outputs(self.stem(hidden, noise))
        return logits


class MaskedLMHead(nn.Module):
    """Token logits at the batch's slots.

    Args:
        token_logits: the encoder's token logits.
    """

    def __init__(self, token_logits: nn.Module) -> None:
        super().__init__()
        self.token_logits = token_logits

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Logits:
        """Map (T, H) to the logits of M slots."""
        logits: Logits = self.token_logits(hidden[batch.targets["slot.position"]])  # (M, H) -> Logits
        return logits


class PretrainingHead(nn.Module):
    """The heads of both tasks in one module, as in BertForPreTraining.

    Args:
        token_logits: from the head of masked_lm.
        pooler: from the head of next_sentence.
        next_sentence: linear layer from H to 2.
    """

    def __init__(self, token_logits: nn.Module, pooler: nn.Module, next_sentence: nn.Module) -> None:
        super().__init__()
        self.token_logits, self.pooler, self.next_sentence = token_logits, pooler, next_sentence

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> PretrainingOutputs:
        """Map (T, H) to the outputs of both heads."""
        tokens = self.token_logits(hidden[batch.targets["slot.position"]])
        return PretrainingOutputs(tokens, self.next_sentence(self.pooler(hidden, batch)))


class PassagesHead(nn.Module):
    """Token logits at the slots, and the mean of each sequence.

    Args:
        token_logits: from the head of masked_lm.
        pooling: maps hidden vectors to one vector for each sequence.
    """

    def __init__(self, token_logits: nn.Module, pooling: TextPooling) -> None:
        super().__init__()
        self.token_logits, self.pooling = token_logits, pooling

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> PassageOutputs:
        """Map (T, H) to logits and means."""
        return PassageOutputs(self.token_logits(hidden[batch.targets["slot.position"]]), self.pooling(hidden, batch))


class EmbeddingHead(nn.Module):
    """Pool the hidden vectors of each text.

    Args:
        pooling: maps hidden vectors to one vector for each text.
        pooler: BERT's pooler, frozen and unused, or None.
    """

    def __init__(self, pooling: TextPooling, pooler: nn.Module | None) -> None:
        super().__init__()
        self.pooling = pooling
        self.pooler = None if pooler is None else pooler.requires_grad_(False)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (N, H)."""
        vectors: Tensor = self.pooling(hidden, batch)
        return vectors


class FeaturesHead(nn.Module):
    """Pass the hidden vectors on, and pool them if the model has a pooler.

    Args:
        pooler: the encoder's pooler, or None.
    """

    def __init__(self, pooler: nn.Module | None) -> None:
        super().__init__()
        self.pooler = pooler

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> FeatureOutputs:
        """Return the hidden vectors (T, H) and the pooled vectors (B, H)."""
        return FeatureOutputs(hidden, None if self.pooler is None else self.pooler(hidden, batch))


class NextTokenHead(nn.Module):
    """Token logits for the slots, computed from the hidden vectors one position before them.

    Args:
        token_logits: the encoder's token logits.
    """

    def __init__(self, token_logits: nn.Module) -> None:
        super().__init__()
        self.token_logits = token_logits

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Any:
        """Map (T, H) to the logits of M slots. No slot may be the first position of its sequence."""
        logits: Logits = self.token_logits(hidden[batch.targets["slot.position"] - 1])  # (M, H) -> Logits
        return logits


class ReplacedTokenHead(nn.Module):
    """The discriminator's head.

    Args:
        discriminator: layers made by the encoder.
    """

    token_by_token = True

    def __init__(self, discriminator: nn.Module) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (T,)."""
        scores: Tensor = self.discriminator(hidden)
        return scores
