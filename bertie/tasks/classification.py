"""Classification of a text or of a pair of texts: one label each (BERT, 4.1).

Labels are strings and travel with the model. Dropout and one linear layer stand on the pooled first token.

Shapes: T tokens, B sequences, C classes, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bertie.batch import Batch
from bertie.errors import DataError
from bertie.metrics.classification import accuracy, macro_f1
from bertie.nn.dropout import Noise
from bertie.tasks.task import Keys, Loss, Term, Truncation, check_length, texts
from bertie.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Verdict:
    """What was said of one item."""

    label: str
    """The likeliest label."""
    score: float
    """Its probability."""
    scores: dict[str, float]
    """Probability of every label."""


@dataclass(frozen=True)
class Classification:
    """Give each text, or pair of texts, one of several labels."""

    labels: tuple[str, ...] = ()
    """Names of the classes in the order of the logits."""
    max_length: int = 128
    """Tokens of the longest sequence."""
    truncation: Truncation = "truncate"
    """What to do with a longer one; cut texts are counted and reported."""

    name: ClassVar[str] = "classification"
    architecture: ClassVar[str] = "{}ForSequenceClassification"

    def __post_init__(self) -> None:
        check_length(self.max_length)

    def encode(self, items: Sequence[Any], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Pack texts or pairs, with `sequence.label` (B,) when every item has a label.

        `sequence.cut` (B,) counts the tokens that truncation took.

        Raises:
            DataError: a label that the model doesn't know.
        """
        first, second = texts(items)
        pieces = tokenizer.pack(first, second, max_length=self.max_length, truncation=self.truncation)
        targets: dict[str, Any] = {"sequence.cut": pieces.truncated}
        labels = [getattr(item, "label", None) for item in items]
        if None not in labels:
            targets["sequence.label"] = [self._number(str(label), number) for number, label in enumerate(labels, 1)]
        return Batch.pack(pieces.tokens, pieces.segments, pieces.offsets, targets=targets)

    def _number(self, label: str, number: int) -> int:
        """Return the place of text `number`'s label among the classes."""
        if label not in self.labels:
            raise DataError(f"text {number} has label {label!r}; the model knows {', '.join(self.labels)}")
        return self.labels.index(label)

    def head(self, encoder: Any) -> ClassificationHead:
        """Make the head on the encoder's own pooler."""
        return ClassificationHead(
            encoder.pool(), encoder.classifier_dropout(), encoder.config.hidden_size, len(self.labels)
        )

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the items."""
        return {"classification": float(len(batch))}

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        """Cross-entropy over the labels."""
        labels, scores = batch.targets["sequence.label"], outputs.float()
        total = cross_entropy(scores, labels, reduction="sum")
        correct = (scores.argmax(1) == labels).sum()
        return Loss({"classification": Term(1.0, total, len(batch))}, {"accuracy": (correct, len(batch))})

    def decode(self, outputs: Tensor, batch: Batch, items: Sequence[Any], tokenizer: Tokenizer) -> list[Verdict]:
        """Name the likeliest label of each item."""
        verdicts = []
        for row in outputs.float().softmax(1).tolist():
            best = max(range(len(row)), key=row.__getitem__)
            verdicts.append(Verdict(self.labels[best], row[best], dict(zip(self.labels, row, strict=True))))
        return verdicts

    def score(self, predictions: Sequence[Verdict], items: Sequence[Any]) -> dict[str, float]:
        """Work out accuracy and macro F1."""
        guesses, gold = [guess.label for guess in predictions], [str(item.label) for item in items]
        return {"accuracy": accuracy(gold, guesses), "macro_f1": macro_f1(gold, guesses)}


class ClassificationHead(nn.Module):
    """Pool, drop, project.

    Args:
        pooler: the encoder's stem.
        dropout: the encoder's dropout before a head.
        hidden_size: H.
        num_labels: C.
    """

    def __init__(self, pooler: nn.Module, dropout: nn.Module, hidden_size: int, num_labels: int) -> None:
        super().__init__()
        self.pooler, self.dropout = pooler, dropout
        self.classifier = nn.Linear(hidden_size, num_labels)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (B, C)."""
        logits: Tensor = self.classifier(self.dropout(self.pooler(hidden, batch), noise))
        return logits


TASK = Classification
