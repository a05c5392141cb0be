"""Next sentence prediction (BERT, 3.1, task 2): does B follow A, or does it come from elsewhere?

Labels are those of the original code: 0 = B follows A, 1 = B is random. Predictions have their names.

Shapes: T tokens, B sequences, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.items.text import Text, TextLike
from bertie.metrics.classification import accuracy, per_class
from bertie.ops.dropout.op import Noise
from bertie.ops.linear.op import Linear
from bertie.sampling.instances import Instances
from bertie.tasks._card import CardText
from bertie.tasks._encoding import check_length
from bertie.tasks._prediction import Prediction
from bertie.tasks.task import Cut, Judgement, Keys, Loss, Task, Term, texts
from bertie.tokenizer.tokenizer import Tokenizer

LABELS = ("is_next", "random")


@dataclass(frozen=True)
class Follows(Prediction):
    """The prediction for one pair."""

    label: str
    """is_next or random."""
    score: float
    """Probability of that label."""
    scores: dict[str, float]
    """Probabilities of both labels."""


@dataclass(frozen=True)
class NextSentence(Task[Text, Tensor, Follows]):
    """Predict whether the second text follows the first."""

    max_length: int = 512
    """Tokens of the longest pair."""
    truncation: Cut = "error"
    """What to do with a longer pair: refuse it (error), or cut and count it (truncate)."""

    name: ClassVar[str] = "next_sentence"
    architecture: ClassVar[str] = "{}ForNextSentencePrediction"
    card: ClassVar[CardText] = CardText(
        title="A next sentence model",
        loader="AutoModelForNextSentencePrediction",
        output="logits",
        limits=(
            "It predicts whether the second text follows the first: 0 means that it does, 1 that it is a random text.",
        ),
        item="pair",
    )

    def __post_init__(self) -> None:
        check_length(self.max_length)

    def encode(self, items: Instances | Sequence[TextLike], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Pack instances, which have labels, or pairs of texts.

        Raises:
            DataError: an item has no second text, or its label is neither of the two.
        """
        if isinstance(items, Instances):
            labels = {"sequence.label": items.labels}
            return Batch.pack(items.tokens, items.segments, items.offsets, targets=labels)
        first, second = texts(items)
        if second is None or None in second:
            alone = 0 if second is None else second.index(None)
            raise DataError(f"text {alone + 1} has no second text; next_sentence takes pairs")
        names = [getattr(item, "label", None) for item in items]
        pieces = tokenizer.pack(first, second, max_length=self.max_length, truncation=self.truncation)
        targets: dict[str, Any] = {"sequence.cut": pieces.truncated}
        if None not in names:
            targets["sequence.label"] = [_number(str(label), f"text {number}") for number, label in enumerate(names, 1)]
        return Batch.pack(pieces.tokens, pieces.segments, pieces.offsets, targets=targets)

    def head(self, encoder: Any) -> NextSentenceHead:
        """Make the head, with the encoder's pooler."""
        pooler = encoder.pool("next_sentence")
        if pooler is None:
            raise SettingsError(f"{type(encoder).__name__} has no next sentence head; use the task masked_lm")
        return NextSentenceHead(pooler, encoder.config.hidden_size)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the pairs."""
        return {"nsp": float(len(batch))}

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        """Return the cross-entropy over the two labels."""
        labels, scores = batch.targets["sequence.label"], outputs.float()
        total = cross_entropy(scores, labels, reduction="sum")
        correct = (scores.argmax(1) == labels).sum()
        return Loss({"nsp": Term(1.0, total, len(batch))}, {"nsp_accuracy": (correct, len(batch))})

    def logit_rows(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return (B, 2) logits."""
        return outputs

    def num_logit_rows(self, batch: Batch) -> float:
        """Count the pairs."""
        return float(len(batch))

    def decode(self, outputs: Tensor, batch: Batch, items: Sequence[TextLike], tokenizer: Tokenizer) -> list[Follows]:
        """Return the more probable label of each pair, with the probabilities of both."""
        rows = [dict(zip(LABELS, row, strict=True)) for row in outputs.float().softmax(1).tolist()]
        best = [max(LABELS, key=row.__getitem__) for row in rows]
        return [Follows(label, row[label], row) for label, row in zip(best, rows, strict=True)]

    def score(self, predictions: Sequence[Follows], items: Sequence[Text]) -> dict[str, float]:
        """Compute the accuracy."""
        return {"accuracy": accuracy(_gold(items), [guess.label for guess in predictions])}

    def check_items(self, items: Sequence[Text], path: Path) -> None:
        """Check that every label is one of the two."""
        for item in items:
            _number(str(item.label), f"{path}:{item.line}:")

    def judge(self, prediction: Follows, item: Text) -> Judgement:
        """Compare labels."""
        (gold,) = _gold([item])
        return Judgement(gold, prediction.label, float(gold == prediction.label), prediction.score)

    def per_class(self, predictions: Sequence[Follows], items: Sequence[Text]) -> dict[str, dict[str, float]]:
        """Measure both labels."""
        return per_class(_gold(items), [guess.label for guess in predictions], LABELS)


def _gold(items: Sequence[Text]) -> list[str]:
    return [LABELS[_number(str(item.label), f"text {number}")] for number, item in enumerate(items, 1)]


def _number(label: str, where: str) -> int:
    """Return the number of a label, which is given by name or number."""
    if label in LABELS:
        return LABELS.index(label)
    if label in ("0", "1"):
        return int(label)
    raise DataError(f"{where} has label {label!r}; a next_sentence label is is_next (0) or random (1)")


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


TASK = NextSentence
