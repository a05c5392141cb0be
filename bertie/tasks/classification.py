"""Classification of a text or of a pair of texts: one label each, or any number of them (BERT, 4.1).

Labels are strings and are stored with the model. The head pools the first token and applies dropout and one linear
layer. The logits of a long text are the mean over its windows.

Shapes: T tokens, B sequences, I items, C classes, H hidden.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.items.labels import tell_alike, tell_unseen
from bertie.items.text import Text, TextLike, label_names
from bertie.metrics.classification import accuracy, best_threshold, macro_f1, matthews, multi_label, per_class
from bertie.ops.dropout.op import Noise
from bertie.ops.linear.op import Linear
from bertie.ops.sigmoid import sigmoid
from bertie.tasks._card import CardText
from bertie.tasks._encoding import check_length, encoded_texts
from bertie.tasks._prediction import Prediction
from bertie.tasks.task import Judgement, Keys, Loss, Task, Term
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.windows import Truncation, lay_out

_UNKNOWN = -1  # target of an item whose label the model doesn't have


@dataclass(frozen=True)
class Verdict(Prediction):
    """The prediction for one item."""

    label: str
    """The most probable label. With `multi_label`, all labels that reach the threshold, joined by commas."""
    score: float
    """Probability of the label. With `multi_label`, the product of the probabilities of all yes or no decisions."""
    scores: dict[str, float]
    """Probability of each label."""


@dataclass(frozen=True)
class Classification(Task[Text, Tensor, Verdict]):
    """Give each text, or pair of texts, one of several labels, or any number of them."""

    labels: tuple[str, ...] = ()
    """Names of the classes in the order of the logits."""
    max_length: int = 128
    """Tokens of the longest sequence."""
    truncation: Truncation = "truncate"
    """What to do with a longer item: refuse it (error), cut and count it (truncate), or read it in windows (window)."""
    stride: int | None = None
    """Pieces from the start of one window to the next. None: half a window."""
    max_windows: int = 32
    """Maximum number of windows for one text. Pieces beyond them are cut and counted."""
    multi_label: bool = False
    """Whether an item may have any number of labels."""
    threshold: float = 0.5
    """With `multi_label`, the probability from which on a label is predicted. Chosen on the dev set after training."""
    class_weights: tuple[float, ...] = ()
    """Factor of each class in the loss. Empty: all classes weigh the same."""
    label_smoothing: float = 0.0
    """Share of the target probability that is spread over all labels."""

    name: ClassVar[str] = "classification"
    architecture: ClassVar[str] = "{}ForSequenceClassification"
    card: ClassVar[CardText] = CardText(
        title="A BERT text classifier",
        pipeline="text-classification",
        loader="AutoModelForSequenceClassification",
        output="logits",
        limits=(
            "It knows no labels but its own: every text gets one of them, whatever it is about.",
            "Its probabilities were not calibrated.",
        ),
    )

    def __post_init__(self) -> None:
        check_length(self.max_length)
        if len(set(self.labels)) < len(self.labels):
            name = next(label for label in self.labels if self.labels.count(label) > 1)
            raise SettingsError(
                f"labels has {name!r} twice, so two classes would have the same name; give each a distinct name, in "
                f"this order: --settings {shlex.quote('labels=' + '|'.join(_distinct(self.labels)))}"
            )
        if not 0.0 <= self.label_smoothing < 1.0:
            raise SettingsError(f"label_smoothing must be from 0 to below 1; got {self.label_smoothing}")
        if self.class_weights and len(self.class_weights) != len(self.labels):
            raise SettingsError(
                f"class_weights needs one number for each of {len(self.labels)} labels; got {len(self.class_weights)}"
            )

    @classmethod
    def learn(cls, items: Sequence[Text], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the labels, and class weights total / (C x occurrences) if `class_weights` is "balanced"."""
        many = settings.get("multi_label", any(isinstance(item.label, tuple) for item in items))
        names = label_names(items, many=many)
        tell_alike(names)
        labels = tuple(settings.get("labels") or names)  # the user's labels keep the user's order
        if unknown := [name for name in names if name not in labels]:
            raise DataError(f"the label {unknown[0]!r} is not among those of --settings, which are {', '.join(labels)}")
        if len(labels) < 2 and not many:
            raise SettingsError(f"every row has the label {labels[0]!r}; {cls.name} needs two or more")
        if not labels:
            raise SettingsError("no row has a label; there is nothing to learn")
        learned: dict[str, Any] = {"labels": labels, "multi_label": many}
        if settings.get("class_weights") == "balanced":
            occurrences = [sum(label in item.labels(many=many) for item in items) for label in labels]
            learned["class_weights"] = tuple(len(items) / (len(labels) * count) for count in occurrences)
        return learned

    def foreign(self) -> dict[str, Any]:
        """Return the problem type, from which transformers chooses loss and activation."""
        return {"problem_type": f"{'multi' if self.multi_label else 'single'}_label_classification"}

    def check_items(self, items: Sequence[Text], path: Path) -> None:
        """Warn of labels that the model doesn't have: each of them counts as a mistake.

        Raises:
            DataError: the model has none of the table's labels.
        """
        occurrences = ((label, item.line) for item in items for label in item.labels(many=self.multi_label))
        tell_unseen(occurrences, self.labels, path)

    def encode(self, items: Sequence[TextLike], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Pack texts or pairs.

        If every item has a label, `item.label` holds class numbers (I,) or, with `multi_label`, 0 and 1 (I, C). A label
        that the model doesn't have becomes -1, or is left out with `multi_label`, so that no loss comes from it.
        """
        laid = lay_out(
            *encoded_texts(items, tokenizer),
            tokenizer,
            max_length=self.max_length,
            truncation=self.truncation,
            stride=self.stride,
            max_windows=self.max_windows,
        )
        targets: dict[str, Any] = {"sequence.cut": laid.pieces.truncated}
        labelled = [item for item in items if isinstance(item, Text) and item.label is not None]
        if len(labelled) == len(items):
            targets["item.label"] = self._target([self._numbers(item) for item in labelled])
        pieces = laid.pieces
        return Batch.pack(pieces.tokens, pieces.segments, pieces.offsets, rows=laid.rows, targets=targets)

    def _numbers(self, item: Text) -> list[int]:
        """Return the class numbers of an item's labels, without labels that the model doesn't have."""
        labels = item.labels(many=self.multi_label)
        return [self.labels.index(label) for label in labels if label in self.labels]

    def _target(self, numbers: list[list[int]]) -> Any:
        if not self.multi_label:
            return [classes[0] if classes else _UNKNOWN for classes in numbers]
        table = np.zeros((len(numbers), len(self.labels)), np.float32)
        for row, classes in enumerate(numbers):
            table[row, classes] = 1.0
        return table

    def head(self, encoder: Any) -> ClassificationHead:
        """Make the head, with the encoder's pooler."""
        return ClassificationHead(
            encoder.pool(), encoder.classifier_dropout(), encoder.config.hidden_size, len(self.labels)
        )

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the items. With class weights, return the sum of the items' weights, for a weighted mean."""
        if self.multi_label:
            return {"classification": float(batch.num_items)}
        gold = batch.targets["item.label"]
        known = gold[gold != _UNKNOWN]
        weights = torch.tensor(self.class_weights)[known.cpu()].sum() if self.class_weights else len(known)
        return {"classification": float(weights)}

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        """Return the cross-entropy. With `multi_label`, it is the binary cross-entropy averaged over the classes."""
        gold, scores = batch.targets["item.label"], batch.item_means(outputs.float())
        weights = scores.new_tensor(self.class_weights) if self.class_weights else None
        if self.multi_label:
            smooth = gold * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
            losses = binary_cross_entropy_with_logits(scores, smooth, reduction="none", pos_weight=weights)
            right = ((scores.sigmoid() >= self.threshold) == gold.bool()).all(1)
            total = losses.mean(1).sum()
        else:
            total = cross_entropy(
                scores,
                gold,
                weights,
                reduction="sum",
                ignore_index=_UNKNOWN,
                label_smoothing=self.label_smoothing,
            )
            right = scores.argmax(1) == gold
        terms = {"classification": Term(1.0, total, self.counts(batch)["classification"])}
        return Loss(terms, {"accuracy": (right.sum(), float(batch.num_items))})

    def logit_rows(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return (I, C) logits; with `multi_label` (I C, 2), one row for each decision about a label."""
        scores = batch.item_means(outputs.float())
        return torch.stack([scores, torch.zeros_like(scores)], -1).flatten(0, 1) if self.multi_label else scores

    def num_logit_rows(self, batch: Batch) -> float:
        """Count the items, or the decisions about labels."""
        return float(batch.num_items * (len(self.labels) if self.multi_label else 1))

    def decode(self, outputs: Tensor, batch: Batch, items: Sequence[TextLike], tokenizer: Tokenizer) -> list[Verdict]:
        """Return the most probable label of each item; with `multi_label`, all labels that reach the threshold."""
        scores = batch.item_means(outputs.float())
        if not self.multi_label:
            rows = scores.softmax(1).tolist()
            best = [max(range(len(row)), key=row.__getitem__) for row in rows]
            return [
                Verdict(self.labels[index], row[index], dict(zip(self.labels, row, strict=True)))
                for index, row in zip(best, rows, strict=True)
            ]
        return [self._multi_label(dict(zip(self.labels, row, strict=True))) for row in sigmoid(scores).tolist()]

    def _multi_label(self, scores: dict[str, float]) -> Verdict:
        """Return the prediction with all labels that reach the threshold."""
        predicted = [label for label, score in scores.items() if score >= self.threshold]
        confidence = float(np.prod([score if score >= self.threshold else 1.0 - score for score in scores.values()]))
        return Verdict(", ".join(predicted), confidence, scores)

    def score(self, predictions: Sequence[Verdict], items: Sequence[Text]) -> dict[str, float]:
        """Compute accuracy and macro F1. Add Matthews' correlation for two classes, or micro F1 for `multi_label`."""
        if self.multi_label:
            return multi_label(self._gold_table(items), self._guess_table(predictions, items))
        guesses, gold = [guess.label for guess in predictions], [item.labels()[0] for item in items]
        scores = {"accuracy": accuracy(gold, guesses), "macro_f1": macro_f1(gold, guesses)}
        return {**scores, "matthews": matthews(gold, guesses)} if len(self.labels) == 2 else scores

    def tune(self, predictions: Sequence[Verdict], items: Sequence[Text]) -> dict[str, Any]:
        """With `multi_label`, choose the threshold of the best micro F1 on the dev set."""
        if not self.multi_label:
            return {}
        scores = np.array([[guess.scores[label] for label in self.labels] for guess in predictions])
        return {"threshold": best_threshold(self._gold_table(items)[:, : len(self.labels)], scores)}

    def redecode(self, predictions: Sequence[Verdict]) -> list[Verdict]:
        """Compare the labels' probabilities with the new threshold."""
        return [self._multi_label(guess.scores) for guess in predictions] if self.multi_label else list(predictions)

    def judge(self, prediction: Verdict, item: Text) -> Judgement:
        """Compare labels."""
        labels = item.labels(many=self.multi_label)
        known = [label for label in self.labels if label in labels]
        gold = ", ".join([*known, *(label for label in labels if label not in known)])
        return Judgement(gold, prediction.label, float(gold == prediction.label), prediction.score)

    def per_class(self, predictions: Sequence[Verdict], items: Sequence[Text]) -> dict[str, dict[str, float]]:
        """Measure each label, including those that the model doesn't have."""
        names = (*self.labels, *self._unseen(items))
        if not self.multi_label:
            gold = [item.labels()[0] for item in items]
            return per_class(gold, [guess.label for guess in predictions], names)
        tables = self._gold_table(items), self._guess_table(predictions, items)
        gold_rows, guess_rows = (np.where(table, "yes", "no").T.tolist() for table in tables)
        return {
            label: per_class(gold, guess, ("no", "yes"))["yes"]
            for label, gold, guess in zip(names, gold_rows, guess_rows, strict=True)
        }

    def _unseen(self, items: Sequence[Text]) -> tuple[str, ...]:
        """Return the items' labels that the model doesn't have."""
        return tuple(name for name in label_names(items, many=self.multi_label) if name not in self.labels)

    def _gold_table(self, items: Sequence[Text]) -> Any:
        """Return which item has which label: (I, C + unseen) booleans."""
        names = self._unseen(items)
        unseen = [[name in item.labels(many=True) for name in names] for item in items]
        known = self._target([self._numbers(item) for item in items]).astype(bool)
        return np.concatenate([known, np.array(unseen, bool).reshape(len(items), -1)], axis=1)

    def _guess_table(self, predictions: Sequence[Verdict], items: Sequence[Text]) -> Any:
        """Return which item is predicted which label: (I, C + unseen) booleans, False for unseen labels."""
        scores = np.array([[guess.scores[label] for label in self.labels] for guess in predictions])
        predicted = scores.reshape(len(predictions), len(self.labels)) >= self.threshold
        return np.pad(predicted, ((0, 0), (0, len(self._unseen(items)))))


def _distinct(labels: Sequence[str]) -> list[str]:
    """Return distinct names: a repeated one gets its index.

    >>> _distinct(["good", "bad", "good"])
    ['good', 'bad', 'good_2']
    """
    return [name if name not in labels[:index] else f"{name}_{index}" for index, name in enumerate(labels)]


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
        logits: Tensor = self.classifier(self.dropout(self.pooler(hidden, batch, noise), noise))
        return logits


TASK = Classification
