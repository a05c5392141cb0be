"""Multiple choice: which of several endings, answers or sentences fits a text (SWAG; BERT, 4.4).

Each choice makes one sequence, [CLS] text [SEP] lead choice [SEP]. Pooling, dropout and a linear layer give it one
score. A softmax runs over the scores of an item's choices, of which there may be any number. A long text is split into
windows, each with the whole choice; the choice's score is the mean over its windows.

Shapes: T tokens, B sequences, I items, W most choices of an item, H hidden.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bertie.batch import Batch
from bertie.errors import DataError
from bertie.items.choice import Choice
from bertie.metrics.classification import accuracy
from bertie.ops.dropout.op import Noise
from bertie.ops.linear.op import Linear
from bertie.readers.reading import Reading, Table
from bertie.tasks._card import CardText
from bertie.tasks._encoding import check_length
from bertie.tasks._lines import barred, columns, printable
from bertie.tasks._prediction import Prediction
from bertie.tasks.task import Judgement, Keys, Loss, Task, Term
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.windows import Truncation, lay_out


@dataclass(frozen=True)
class Chosen(Prediction):
    """The prediction for one item."""

    label: str
    """Number of the predicted choice, from 0."""
    choice: str
    """Text of the predicted choice."""
    score: float
    """Its probability among the item's choices."""
    scores: tuple[float, ...]
    """Probability of each choice, in their order."""

    def lines(self, item: Choice, width: int) -> list[str]:
        """Return the text and one line for each choice, most probable first."""
        choices = [printable(choice) for choice in item.choices]
        column = max(map(columns, choices))
        ranked = sorted(zip(choices, self.scores, strict=True), key=lambda both: -both[1])
        return [printable(item.sides()[0]), *(barred(*both, column) for both in ranked)]

    @classmethod
    def table(cls, items: Sequence[Any], predictions: Sequence[Self], width: int) -> None:
        """Return no table: each text has lines of its own."""


@dataclass(frozen=True)
class MultipleChoice(Task[Choice, Tensor, Chosen]):
    """Predict which of several choices fits a text."""

    max_length: int = 128
    """Tokens of the longest sequence, which holds the text and one choice."""
    truncation: Truncation = "truncate"
    """What to do with a longer item: refuse it (error), cut and count it (truncate), or read it in windows (window)."""
    stride: int | None = None
    """Pieces from the start of one window to the next. None: half a window."""
    max_windows: int = 32
    """Maximum number of windows for one choice. Pieces beyond them are cut and counted."""

    name: ClassVar[str] = "multiple_choice"
    architecture: ClassVar[str] = "{}ForMultipleChoice"
    takes_choices: ClassVar[bool] = True
    card: ClassVar[CardText] = CardText(
        title="A BERT model that chooses how a text continues",
        pipeline="multiple-choice",
        loader="AutoModelForMultipleChoice",
        output="logits",
        limits=("It always chooses one of the choices, even if none is right.",),
        item="choices",
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
    ) -> Table[Choice]:
        """Read a table of texts with choices, in a format of `readers/choices.py`."""
        from bertie.readers.choices import read_choices
        from bertie.readers.following import read_alike, warn_of_differences

        table = read_alike(lambda names: read_choices(path, columns=names, labelled=labelled), columns, like)
        warn_of_differences(like, table.reading, labelled=labelled)
        return table

    @classmethod
    def learn(cls, items: Sequence[Choice], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return no settings: none depends on the table."""
        return {}

    def check_items(self, items: Sequence[Choice], path: Path) -> None:
        """Check that every label is the number of a choice."""
        for item in items:
            _right(item, f"{path}:{item.line}:")

    def encode(self, items: Sequence[Choice], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Pack each choice after its text.

        Args:
            items: texts with choices.
            tokenizer: of the model.
            keys: unused.

        Returns:
            A batch with `sequence.choice` (B,), the number of the choice within its item, and `item.label` (I,), the
            number of the right choice, if every item has a label.

        Raises:
            DataError: an item has fewer than two choices, or a label is not the number of a choice.
        """
        _check(items)
        numbers = np.array([len(item.choices) for item in items])
        owners = np.repeat(np.arange(len(items)), numbers)  # the item of each choice
        texts = tokenizer.encode_batch([item.text for item in items])
        endings = tokenizer.encode_batch(  # without a lead no space: a byte-level tokenizer would encode it
            [f"{item.lead} {ending}" if item.lead else ending for item in items for ending in item.choices]
        )
        laid = lay_out(
            [texts[owner] for owner in owners],
            endings,
            tokenizer,
            max_length=self.max_length,
            truncation=self.truncation,
            stride=self.stride,
            max_windows=self.max_windows,
        )
        rows = owners[laid.rows]
        cut = np.bincount(rows, weights=laid.pieces.truncated).astype(np.int64)[rows]
        cut[1:][rows[1:] == rows[:-1]] = 0  # only an item's first sequence has its count
        first_choice = np.cumsum(numbers) - numbers
        targets: dict[str, Any] = {"sequence.cut": cut, "sequence.choice": laid.rows - first_choice[rows]}
        if all(item.label is not None for item in items):
            targets["item.label"] = [_right(item, f"text {number}") for number, item in enumerate(items, 1)]
        return Batch.pack(laid.pieces.tokens, laid.pieces.segments, laid.pieces.offsets, rows=rows, targets=targets)

    def head(self, encoder: Any) -> MultipleChoiceHead:
        """Make the head, with the encoder's pooler."""
        return MultipleChoiceHead(encoder.pool("choice"), encoder.classifier_dropout(), encoder.config.hidden_size)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the items."""
        return {"multiple_choice": float(batch.num_items)}

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        """Return the cross-entropy over each item's choices."""
        scores, gold = choice_table(outputs, batch), batch.targets["item.label"]
        total, count = cross_entropy(scores, gold, reduction="sum"), float(batch.num_items)
        right = (scores.argmax(1) == gold).sum()
        return Loss({"multiple_choice": Term(1.0, total, count)}, {"accuracy": (right, count)})

    def logit_rows(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return (I, W) logits, one row for each item over its choices."""
        return choice_table(outputs, batch)

    def num_logit_rows(self, batch: Batch) -> float:
        """Count the items."""
        return float(batch.num_items)

    def decode(self, outputs: Tensor, batch: Batch, items: Sequence[Choice], tokenizer: Tokenizer) -> list[Chosen]:
        """Return the most probable choice of each item."""
        chosen = []
        for row, item in zip(choice_table(outputs, batch).softmax(1).tolist(), items, strict=True):
            scores = tuple(row[: len(item.choices)])
            best = scores.index(max(scores))
            chosen.append(Chosen(str(best), item.choices[best], scores[best], scores))
        return chosen

    def score(self, predictions: Sequence[Chosen], items: Sequence[Choice]) -> dict[str, float]:
        """Compute the accuracy."""
        return {"accuracy": accuracy([str(item.label) for item in items], [guess.label for guess in predictions])}

    def judge(self, prediction: Chosen, item: Choice) -> Judgement:
        """Compare choices."""
        gold = item.choices[_right(item, "the item")]
        return Judgement(gold, prediction.choice, float(prediction.label == str(item.label)), prediction.score)


def _check(items: Sequence[Choice]) -> None:
    """Check that every item is a text with two or more choices."""
    for number, item in enumerate(items, 1):
        if not isinstance(item, Choice):
            raise DataError(f"text {number} is {reprlib.repr(item)}; multiple_choice takes texts with choices (Choice)")
        if len(item.choices) < 2:
            raise DataError(f"text {number} has {len(item.choices)} choices; an item needs two or more")


def _right(item: Choice, where: str) -> int:
    """Return the number of the right choice."""
    label = str(item.label)
    if not label.isdecimal() or int(label) >= len(item.choices):
        last = len(item.choices) - 1
        raise DataError(f"{where} has label {item.label!r}; its choices are numbered 0 to {last}")
    return int(label)


def choice_table(outputs: Tensor, batch: Batch) -> Tensor:
    """Arrange scores of sequences (B,) by item and choice (I, W): means over windows, -inf after the last choice."""
    indices = (batch.rows, batch.targets["sequence.choice"])
    shape = (batch.num_items, int(indices[1].max()) + 1)
    scores = outputs.float()
    sums = scores.new_zeros(shape).index_put(indices, scores, accumulate=True)
    counts = scores.new_zeros(shape).index_put(indices, torch.ones_like(scores), accumulate=True)
    return (sums / counts.clamp(min=1.0)).masked_fill(counts == 0, -torch.inf)


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
        scores: Tensor = self.classifier(self.dropout(self.pooler(hidden, batch, noise), noise))
        return scores.squeeze(1)


TASK = MultipleChoice
