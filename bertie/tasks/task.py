"""The contract of `tasks/`: encode, head, loss, decode, score.

Pre-training, fine-tuning, evaluation, prediction and serving differ only in which of the five verbs they use. A task is
a frozen dataclass derived from `Task`; its fields are its settings, and the file named as the task holds `TASK`, the
class. The road is the same for learning and for use up to the head's outputs: then `loss` to the left, `decode` to the
right. Around the verbs stand a few questions that most tasks answer as `Task` itself does.

Shapes: T tokens, B sequences, H hidden.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from bertie import registry
from bertie.batch import Batch
from bertie.data.items import Table
from bertie.data.items import Text as Text
from bertie.data.items import texts as texts
from bertie.data.reading import Reading
from bertie.data.table import read_table
from bertie.errors import SettingsError
from bertie.nn.dropout import Noise
from bertie.tasks._settings import parse_settings as parse_settings
from bertie.tokenizer.tokenizer import Cut as Cut
from bertie.tokenizer.tokenizer import Tokenizer

Keys = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Term:
    """One part of a loss, not yet divided."""

    weight: float
    """What the mean is multiplied with in the total."""
    sum: Tensor
    """Scalar, summed over `count` things, carrying gradients."""
    count: float
    """How many things were summed."""


@dataclass(frozen=True, eq=False)
class Loss:
    """Named terms, and figures to report beside them.

    Every term is divided once, by its own count over all micro-batches (and processes) of a step; averaging averages
    would weigh a short micro-batch as much as a long one.
    """

    terms: dict[str, Term]
    figures: dict[str, tuple[Tensor, float | Tensor]] = field(default_factory=dict)
    """name: (sum, count), such as the number of right guesses; a count that is worked out on the device is a tensor."""

    def total(self, counts: Mapping[str, float]) -> Tensor:
        """Add the terms, each divided by its global count (0 counts as 1: its sum is 0 too)."""
        parts = [term.weight * term.sum / max(counts[name], 1.0) for name, term in self.terms.items()]
        total = parts[0]
        for part in parts[1:]:
            total = total + part
        return total


@dataclass(frozen=True)
class Judgement:
    """What a prediction is worth beside the right answer, for whoever wants to look at mistakes."""

    gold: str
    """The right answer in words."""
    guess: str
    """The prediction in words."""
    credit: float
    """1 for right, 0 for wrong, or in between."""
    score: float
    """How sure the model was, 0 to 1."""


class Task(ABC):
    """What every task defines. Settings are the fields of the frozen dataclass that derives from it."""

    name: ClassVar[str]
    """The file's name, the word a user types; a third party's own word in classes that have no file here."""
    architecture: ClassVar[str]
    """Name of the class that loads it in transformers, with {} for the encoder's ("{}ForMaskedLM")."""
    needs_labels: ClassVar[bool] = True
    """Whether it is measured on labelled items; others make their own targets."""
    writes: ClassVar[bool] = False
    """Whether labels are texts that it learns to write, and any text may be one."""
    whole_batch: ClassVar[bool] = False
    """Whether the loss compares items of a batch with one another, so that a step must not be split."""
    criterion: ClassVar[str] = "accuracy"
    """The score, the higher the better, by which one model is preferred to another."""
    takes_choices: ClassVar[bool] = False
    """Whether an item is a text and any number of further ones to choose from."""
    plan: ClassVar[str] = ""
    """How a corpus is cut for it in pre-training, one of `bertie.data.sampler.PLANS`; empty: it learns from no corpus.

    Such a task has a field `max_length`, and its `encode` takes `bertie.data.instances.Instances`.
    """
    of_model: ClassVar[tuple[str, ...]] = ()
    """Settings that belong to a trained model: pre-training that goes on from one takes them over."""
    fills_masks: ClassVar[bool] = False
    """Whether it guesses the pieces at `slot.position`: the outputs of its head, or their `tokens`, are `Logits`."""
    left_to_right: ClassVar[bool] = False
    """Whether it guesses those pieces from what stands before them in causal batches, and so can score whole texts."""

    @abstractmethod
    def encode(self, items: Any, tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Turn items into a batch; `keys` (B,) are the streams corruption is drawn from, None for none.

        Targets that need an item's label are there only when every item has one. `sequence.cut` (B,) counts the pieces
        that were cut off an item, on its first sequence.
        """

    @abstractmethod
    def head(self, encoder: Any) -> nn.Module:
        """Make the module from (hidden (T, H), batch, noise) to outputs, from the encoder's own stems.

        A head whose outputs are one row a token, each from that token's vector alone, may say so by an attribute
        `token_by_token = True`: an item too long for one pass then goes through encoder and head in parts.
        """

    @abstractmethod
    def counts(self, batch: Batch) -> dict[str, float]:
        """Count what each term of the loss sums over; known before any forward pass."""

    @abstractmethod
    def loss(self, outputs: Any, batch: Batch) -> Loss:
        """Compare outputs with the batch's targets."""

    @abstractmethod
    def decode(self, outputs: Any, batch: Batch, items: Sequence[Any], tokenizer: Tokenizer) -> list[Any]:
        """Turn outputs into one prediction an item; `batch.rows` says whose sequence is whose."""

    @abstractmethod
    def score(self, predictions: Sequence[Any], items: Sequence[Any]) -> dict[str, float]:
        """Compare predictions with the items' gold answers."""

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        labelled: bool = False,
        like: Reading | None = None,
    ) -> Table[Any]:
        """Read a file of this task's kind of items; a table of texts, or pairs of texts, unless a task says otherwise.

        A task of your own may leave out `like`.

        Args:
            path: the file.
            columns: part of an item to column name; found out when None.
            labelled: whether every item needs a label.
            like: how the model's training file was read; this one is read alike, or the difference is said.
        """
        return read_table(path, columns=columns, labelled=labelled, like=like)

    @classmethod
    def learn(cls, items: Sequence[Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that a training table decides, such as the names of the labels.

        Args:
            items: the training table, labelled.
            settings: what the user has set; these win.

        Raises:
            SettingsError: this task can't be learned from a table.
            DataError: a table with nothing to learn.
        """
        raise SettingsError(f"--task {cls.name} is not fine-tuned on a table; pretrain learns it from a corpus")

    def foreign(self) -> dict[str, Any]:
        """Return what config.json has to say of this task to other programs, such as `problem_type`."""
        return {}

    def has_gold(self, item: Any) -> bool:
        """Tell whether a prediction for this item can be scored: by its label, unless the task knows better."""
        return getattr(item, "label", None) is not None

    def admit(self, items: Sequence[Any], path: Path) -> None:
        """Refuse a labelled table that can't be measured on, such as one with labels the model doesn't know.

        Raises:
            DataError: what is wrong and where.
        """
        del items, path

    def tune(self, predictions: Sequence[Any], items: Sequence[Any]) -> dict[str, Any]:
        """Return settings of `decode` that are better for these predictions (a threshold); they travel with the model.

        Args:
            predictions: for a dev table, decoded with the settings as they are.
            items: of that table.
        """
        del predictions, items
        return {}

    def revise(self, predictions: Sequence[Any]) -> list[Any] | None:
        """Return what this task says where it said `predictions` with other settings of `tune`'s kind.

        None: that can't be told from them, and the items must go through the model again.
        """
        del predictions
        return None

    def corpus_plan(self) -> str:
        """Name how a corpus is cut for this task as it is set: `plan`, unless one of its settings says otherwise."""
        return self.plan

    def at(self, done: float) -> Self:
        """Return the task as it is at a point of a pre-training run, such as with the mask rate of that point.

        Measuring on a dev corpus goes by the task as it is at the end.

        Args:
            done: fraction of the run that is done, 0 to 1.
        """
        del done
        return self

    def aspects(self) -> Sequence[Task]:
        """Return the tasks that are measured, each on all there is: this one, unless it draws between objectives."""
        return (self,)

    def derived(self, means: Mapping[str, float]) -> dict[str, float]:
        """Return figures of a measurement that follow from its means and are none themselves, such as a perplexity."""
        del means
        return {}

    def network(self, model: TaskModel, *, seed: int) -> TaskModel:
        """Return the network that learns: `model` itself, or one of its parts and those of a helper that learns too.

        Args:
            model: the encoder under this task's head, which is what is written and used.
            seed: of the helper's first weights.
        """
        del seed
        return model

    def adjusted(self, settings: Mapping[str, Any]) -> Self:
        """Return this task with some of its settings changed."""
        changed: Self = replace(self, **settings)  # type: ignore[type-var]
        return changed

    def judge(self, prediction: Any, item: Any) -> Judgement | None:
        """Compare one prediction with its item's label; None for a task without right and wrong."""
        del prediction, item
        return None

    def per_class(self, predictions: Sequence[Any], items: Sequence[Any]) -> dict[str, dict[str, float]]:
        """Return precision, recall, f1 and support of every class; empty for a task without classes."""
        del predictions, items
        return {}


def read_items(
    kind: type[Task] | Task,
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    labelled: bool = False,
    like: Reading | None = None,
) -> Table[Any]:
    """Let a task read a file, as the model's training file was read where the task can do that."""
    known = inspect.signature(kind.read).parameters.values()
    follows = any(one.name == "like" or one.kind is one.VAR_KEYWORD for one in known)
    return kind.read(path, columns=columns, labelled=labelled, **({"like": like} if follows else {}))


def task_class(name: str) -> type[Task]:
    """Find a task by the word a user types: a file here, or a third party's class as `package.module:Class`.

    Raises:
        SettingsError: there is none of that name.
    """
    if ":" not in name:
        found: type[Task] = registry.load("tasks", name).TASK
        return found
    kind = registry.load_foreign(name)
    if not (isinstance(kind, type) and issubclass(kind, Task)):
        raise SettingsError(f"{name} is no task: a task is a class that derives from bertie.Task")
    return kind


def task_name(task: Task) -> str:
    """Return the word by which `task_class` finds a task's class again."""
    kind = type(task)
    own = kind.__module__ == f"bertie.tasks.{kind.name}"
    return kind.name if own else f"{kind.__module__}:{kind.__qualname__}"


class TaskModel(nn.Module):
    """An encoder under a task's head: the whole network.

    Args:
        encoder: a module of `models/`.
        head: what the task's `head(encoder)` made.
    """

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = head

    def forward(self, batch: Batch, noise: Noise | None = None) -> Any:
        """Run encoder and head; `noise` as in the encoder."""
        if self.training and noise is None:
            noise = Noise.draw()
        return self.head(self.encoder(batch, noise), batch, noise)

    def companions(self) -> dict[str, tuple[TaskModel, Task]]:
        """Return the helpers of learning that are models of use too, by the name of the folder each is written to."""
        return {}


def check_length(max_length: int) -> None:
    """Refuse a length that leaves no room for a pair of texts.

    Raises:
        SettingsError: it is too short.
    """
    if max_length < 5:
        raise SettingsError(f"max_length must be at least 5, for [CLS] a [SEP] b [SEP]; got {max_length}")


def encoded_texts(items: Sequence[Any], tokenizer: Tokenizer) -> tuple[list[list[int]], list[list[int] | None]]:
    """Encode what `texts` splits: the pieces of the first and of the second texts, None where there is no second.

    Raises:
        DataError: an item that is no text, or a text with a lone surrogate.
    """
    first, second = texts(items)
    if second is None:
        return tokenizer.encode_batch(first), [None] * len(first)
    encoded = tokenizer.encode_batch(["" if pair is None else pair for pair in second])
    return tokenizer.encode_batch(first), [
        None if pair is None else ids for pair, ids in zip(second, encoded, strict=True)
    ]
