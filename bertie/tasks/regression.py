"""Regression: a number for a text or a pair of texts, such as the similarity of two sentences (STS-B).

The head pools the first token and applies dropout and a linear layer with one output. The loss is the squared error.
The head learns standardised numbers, whatever the scale of the table. The saved weights give numbers on the table's
scale, here and in other programs.

Shapes: T tokens, B sequences, I items, H hidden.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from bertie.batch import Batch
from bertie.errors import DataError
from bertie.items.text import Text, TextLike
from bertie.metrics.regression import mean_squared_error, pearson, spearman
from bertie.ops.dropout.op import Noise
from bertie.ops.linear.op import Linear
from bertie.ops.sigmoid import sigmoid
from bertie.readers.reading import Reading, Table
from bertie.tasks._card import CardText
from bertie.tasks._encoding import check_length, encoded_texts
from bertie.tasks._prediction import Prediction
from bertie.tasks.task import Judgement, Keys, Loss, Task, Term
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.windows import Truncation, lay_out

_LARGEST = 1e30  # limit of labels: fp32 weights can give it, and squares of standardised errors don't overflow


@dataclass(frozen=True)
class Estimate(Prediction):
    """The prediction for one item."""

    value: float


@dataclass(frozen=True)
class Regression(Task[Text, Tensor, Estimate]):
    """Predict a number for each text, or pair of texts."""

    center: float = 0.0
    """Mean of the training labels."""
    spread: float = 1.0
    """Standard deviation of the training labels, rounded to a power of two, so that scaling loses no precision."""
    activation: Literal["none", "sigmoid"] = "none"
    """Function applied to the head's output. sigmoid maps it to 0 to 1, as cross-encoders do."""
    max_length: int = 128
    """Tokens of the longest sequence."""
    truncation: Truncation = "truncate"
    """What to do with a longer item: refuse it (error), cut and count it (truncate), or read it in windows (window)."""
    stride: int | None = None
    """Pieces from the start of one window to the next. None: half a window."""
    max_windows: int = 32
    """Maximum number of windows for one text. Pieces beyond them are cut and counted."""

    name: ClassVar[str] = "regression"
    architecture: ClassVar[str] = "{}ForSequenceClassification"
    criterion: ClassVar[str] = "spearman"
    card: ClassVar[CardText] = CardText(
        title="A BERT model that predicts a number for a text",
        pipeline="text-classification",
        loader="AutoModelForSequenceClassification",
        output="logits",
        limits=("Its predictions are on the scale of its training table and may lie slightly outside of it.",),
    )

    def __post_init__(self) -> None:
        check_length(self.max_length)

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        labelled: bool = False,
        like: Reading | None = None,
    ) -> Table[Text]:
        """Read a table whose labels are numbers, with decimal points or commas."""
        from bertie.readers.table import with_points

        return with_points(super().read(path, columns=columns, labelled=labelled, like=like))

    @classmethod
    def learn(cls, items: Sequence[Text], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Compute mean and standard deviation of the labels. With a sigmoid, labels are not standardised.

        Raises:
            DataError: a label is not a number, or all labels are equal.
        """
        values = [_value(item.label, f"line {item.line}") for item in items]
        if settings.get("activation") == "sigmoid":
            return {"center": 0.0, "spread": 1.0}
        center = math.fsum(values) / len(values)
        spread = math.hypot(*(value - center for value in values)) / math.sqrt(len(values))
        if spread == 0.0:
            raise DataError(f"every row has the label {values[0]:g}; there is nothing to learn")
        return {"center": center, "spread": 2.0 ** round(math.log2(spread)), "activation": "none"}

    def foreign(self) -> dict[str, Any]:
        """Return the problem type for transformers, and the sigmoid, if any, for sentence-transformers."""
        names = {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
        if self.activation == "none":
            return {"problem_type": "regression", **names}
        return {**names, "sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Sigmoid"}}

    def check_items(self, items: Sequence[Text], path: Path) -> None:
        """Check that every label is a number."""
        for item in items:
            _value(item.label, f"{path}:{item.line}")

    def encode(self, items: Sequence[TextLike], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Pack texts or pairs, with `item.value` (I,) if every item has a label."""
        laid = lay_out(
            *encoded_texts(items, tokenizer),
            tokenizer,
            max_length=self.max_length,
            truncation=self.truncation,
            stride=self.stride,
            max_windows=self.max_windows,
        )
        targets: dict[str, Any] = {"sequence.cut": laid.pieces.truncated}
        labels = [getattr(item, "label", None) for item in items]
        if None not in labels:
            targets["item.value"] = [_value(label, f"text {number}") for number, label in enumerate(labels, 1)]
        pieces = laid.pieces
        return Batch.pack(pieces.tokens, pieces.segments, pieces.offsets, rows=laid.rows, targets=targets)

    def head(self, encoder: Any) -> RegressionHead:
        """Make the head, with the encoder's pooler."""
        return RegressionHead(
            encoder.pool(), encoder.classifier_dropout(), encoder.config.hidden_size, self.center, self.spread
        )

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the items."""
        return {"regression": float(batch.num_items)}

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        """Return the squared error on the standardised scale. Predicting the mean gives a loss of about 1."""
        guesses = self._active(batch.item_means(outputs.float()))
        errors = ((guesses - batch.targets["item.value"]) / self.spread).square()
        return Loss({"regression": Term(1.0, errors.sum(), float(batch.num_items))})

    def logit_rows(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return (I, 1) numbers before the activation, divided by the spread of the labels."""
        return batch.item_means(outputs.float())[:, None] / self.spread

    def num_logit_rows(self, batch: Batch) -> float:
        """Count the items."""
        return float(batch.num_items)

    def logits_loss(self, student: Tensor, teacher: Tensor, batch: Batch, temperature: float) -> Tensor:
        """Sum the squared differences of both models' numbers; `temperature` is for classes only."""
        return (self.logit_rows(student, batch) - self.logit_rows(teacher, batch)).square().sum()

    def decode(self, outputs: Tensor, batch: Batch, items: Sequence[TextLike], tokenizer: Tokenizer) -> list[Estimate]:
        """Return the number of each item, the mean over its windows."""
        return [Estimate(value) for value in self._active(batch.item_means(outputs.float())).tolist()]

    def _active(self, values: Tensor) -> Tensor:
        return sigmoid(values) if self.activation == "sigmoid" else values

    def score(self, predictions: Sequence[Estimate], items: Sequence[Text]) -> dict[str, float]:
        """Compute both correlations and the mean squared error, on the scale of the table."""
        gold = [_value(item.label, f"text {number}") for number, item in enumerate(items, 1)]
        guesses = [guess.value for guess in predictions]
        return {
            "pearson": pearson(gold, guesses),
            "spearman": spearman(gold, guesses),
            "mean_squared_error": mean_squared_error(gold, guesses),
        }

    def judge(self, prediction: Estimate, item: Text) -> Judgement:
        """Compare numbers. The credit falls with their distance, measured in standard deviations."""
        gold = _value(item.label, "the label")
        distance = abs(prediction.value - gold) / self.spread
        return Judgement(f"{gold:g}", f"{prediction.value:.3g}", math.exp(-distance), None)


def _value(label: Any, where: str) -> float:
    try:
        value = float(label)
    except (TypeError, ValueError):
        value = math.nan
    if not abs(value) < _LARGEST or "_" in str(label):  # float() reads 1_0 as ten
        raise DataError(f"{where} has label {label!r}; regression needs numbers below {_LARGEST:g}")
    return value


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
        values: Tensor = self.classifier(self.dropout(self.pooler(hidden, batch, noise), noise))
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


TASK = Regression
