"""The contract of `tasks/`: encode, head, loss, decode, score.

Pre-training, fine-tuning, evaluation, prediction and serving differ only in which of these five methods they call. A
task is a frozen dataclass that derives from `Task`. Its fields are its settings. The file named after the task assigns
the class to `TASK`. Training and prediction share `encode` and the network. Training then calls `loss`, prediction
calls `decode`. `Task` implements the other methods in the way that suits most tasks.

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
from bertie.errors import SettingsError
from bertie.items.text import Text as Text
from bertie.items.text import texts as texts
from bertie.ops.dropout.op import Noise
from bertie.readers.reading import Reading, Table
from bertie.readers.table import read_table
from bertie.tasks._settings import parse_settings as parse_settings
from bertie.tokenizer.tokenizer import Cut as Cut
from bertie.tokenizer.tokenizer import Tokenizer

Keys = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Term:
    """One part of a loss, before division by its count."""

    weight: float
    """Factor of the mean in the total loss."""
    sum: Tensor
    """Scalar sum over `count` items or tokens, with gradients."""
    count: float
    """Number of items or tokens in the sum."""


@dataclass(frozen=True, eq=False)
class Loss:
    """Named terms of a loss, and further figures to report.

    Each term is divided once, by its count over all micro-batches (and processes) of a step. A mean of the
    micro-batches' means would give a short micro-batch as much weight as a long one.
    """

    terms: dict[str, Term]
    figures: dict[str, tuple[Tensor, float | Tensor]] = field(default_factory=dict)
    """name: (sum, count), such as the number of correct predictions. A count computed on the device is a tensor."""

    def total(self, counts: Mapping[str, float]) -> Tensor:
        """Add the terms, each divided by its global count. A count of 0 is replaced by 1, as its sum is 0 too."""
        parts = [term.weight * term.sum / max(counts[name], 1.0) for name, term in self.terms.items()]
        return sum(parts[1:], start=parts[0])


@dataclass(frozen=True)
class Judgement:
    """A prediction compared with its label, for listing a model's mistakes."""

    gold: str
    """The label as text."""
    guess: str
    """The prediction as text."""
    credit: float
    """1 for a correct prediction, 0 for a wrong one, or a value between for a partly correct one."""
    confidence: float | None
    """The probability that the model gives its prediction; None for a task that predicts numbers."""


class Task(ABC):
    """Base class of all tasks. A task's settings are the fields of its frozen dataclass."""

    name: ClassVar[str]
    """Name of the task's file, which users type. A third party's class may have any name."""
    architecture: ClassVar[str]
    """Class that loads the model in transformers, with {} for the encoder's name ("{}ForMaskedLM")."""
    needs_labels: ClassVar[bool] = True
    """Whether evaluation needs labelled items. Tasks without labels make their own targets."""
    generates_text: ClassVar[bool] = False
    """Whether the model learns to write its labels, which may be any text."""
    compares_items: ClassVar[bool] = False
    """Whether the loss compares the items of a batch with one another, so that a step must not be split."""
    criterion: ClassVar[str] = "accuracy"
    """Score by which models are compared. Higher is better."""
    labels_words: ClassVar[bool] = False
    """Whether each word of a text is a target, so that gradients are less noisy than those of one label a text."""
    takes_choices: ClassVar[bool] = False
    """Whether an item is a text with any number of choices."""
    plan: ClassVar[str] = ""
    """How pre-training cuts a corpus for this task, one of `bertie.sampling.sampler.PLANS`. Empty: no pre-training.

    A task with a plan has a field `max_length`, and its `encode` takes `bertie.sampling.instances.Instances`.
    """
    model_settings: ClassVar[tuple[str, ...]] = ()
    """Settings that belong to a trained model. Continued pre-training takes them from the model."""
    fills_masks: ClassVar[bool] = False
    """Whether it predicts the pieces at `slot.position`: the outputs of its head, or their `tokens`, are `Logits`."""
    left_to_right: ClassVar[bool] = False
    """Whether it predicts the pieces of causal batches from those before them, and so can score whole texts."""

    @abstractmethod
    def encode(self, items: Any, tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Turn items into a batch.

        `keys` (B,) seed the random streams of the corruption; None leaves the items as they are. Targets that need an
        item's label are present only if every item has one. `sequence.cut` (B,) is the number of pieces cut off an
        item, given at its first sequence.
        """

    @abstractmethod
    def head(self, encoder: Any) -> nn.Module:
        """Make the module that maps (hidden (T, H), batch, noise) to outputs, from layers that the encoder provides.

        A head that computes one output row for each token, from this token's hidden vector alone, may set the
        attribute `token_by_token = True`. An item too long for one pass then goes through encoder and head in parts.
        """

    @abstractmethod
    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the items or tokens that each term of the loss sums over, before any forward pass."""

    @abstractmethod
    def loss(self, outputs: Any, batch: Batch) -> Loss:
        """Compare outputs with the batch's targets."""

    @abstractmethod
    def decode(self, outputs: Any, batch: Batch, items: Sequence[Any], tokenizer: Tokenizer) -> list[Any]:
        """Turn outputs into one prediction for each item. `batch.rows` maps sequences to items."""

    @abstractmethod
    def score(self, predictions: Sequence[Any], items: Sequence[Any]) -> dict[str, float]:
        """Compare predictions with the items' labels."""

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        labelled: bool = False,
        like: Reading | None = None,
    ) -> Table[Any]:
        """Read a file of this task's items. The default reads a table of texts or pairs of texts.

        A third-party task may leave out `like`.

        Args:
            path: the file.
            columns: column name of each role. None: detect the roles.
            labelled: whether every item needs a label.
            like: how the model's training file was read. This file is read the same way; differences are reported.
        """
        return read_table(path, columns=columns, labelled=labelled, like=like)

    @classmethod
    def learn(cls, items: Sequence[Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that follow from a training table, such as the names of the labels.

        Args:
            items: the labelled items of the training table.
            settings: the user's settings, which take precedence.

        Raises:
            SettingsError: this task can't be fine-tuned on a table.
            DataError: the table gives the model no target to learn.
        """
        raise SettingsError(f"--task {cls.name} is not fine-tuned on a table; pretrain learns it from a corpus")

    def foreign(self) -> dict[str, Any]:
        """Return entries of config.json that other programs need for this task, such as `problem_type`."""
        return {}

    def has_gold(self, item: Any) -> bool:
        """Tell whether a prediction for this item can be scored. By default it can if the item has a label."""
        return getattr(item, "label", None) is not None

    def check_items(self, items: Sequence[Any], path: Path) -> None:
        """Check that the model can be evaluated on a labelled table; for example, that it knows the labels.

        Raises:
            DataError: it can't; the message names the problem and the line.
        """
        del items, path

    def tune(self, predictions: Sequence[Any], items: Sequence[Any]) -> dict[str, Any]:
        """Return better settings for `decode`, such as a threshold. They are stored with the model.

        Args:
            predictions: of the dev set, decoded with the present settings.
            items: of the dev set.
        """
        del predictions, items
        return {}

    def redecode(self, predictions: Sequence[Any]) -> list[Any] | None:
        """Return predictions updated to the settings that `tune` chose after they were decoded.

        None: they hold too little for that, and the items must go through the model again.
        """
        del predictions
        return None

    def corpus_plan(self) -> str:
        """Return the name of the corpus plan under this task's settings: `plan`, unless a setting changes it."""
        return self.plan

    def at(self, done: float) -> Self:
        """Return the task with the settings of one point of a pre-training run, such as the mask rate there.

        Evaluation on a dev corpus uses the settings of the end of the run.

        Args:
            done: fraction of the run that is done, 0 to 1.
        """
        del done
        return self

    def objectives(self) -> Sequence[Task]:
        """Return the tasks to evaluate, each on the whole dev corpus: one for each objective that a run draws from."""
        return (self,)

    def derived(self, means: Mapping[str, float]) -> dict[str, float]:
        """Compute figures that follow from means and are not means themselves, such as the perplexity."""
        del means
        return {}

    def network(self, model: TaskModel, *, seed: int) -> TaskModel:
        """Return the network to train: `model`, or a network that shares its layers and adds a helper model.

        Args:
            model: the encoder with this task's head, which is saved and used after training.
            seed: of the helper's random weights.
        """
        del seed
        return model

    def adjusted(self, settings: Mapping[str, Any]) -> Self:
        """Return this task with the given settings changed."""
        changed: Self = replace(self, **settings)  # type: ignore[type-var]
        return changed

    def judge(self, prediction: Any, item: Any) -> Judgement | None:
        """Compare one prediction with its item's label. None for a task whose predictions can't be wrong."""
        del prediction, item
        return None

    def per_class(self, predictions: Sequence[Any], items: Sequence[Any]) -> dict[str, dict[str, float]]:
        """Return precision, recall, f1 and support of each class. Empty for a task without classes."""
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
    """Read a file by `kind.read`, and pass `like` on if that method takes it."""
    parameters = inspect.signature(kind.read).parameters.values()
    takes_like = any(one.name == "like" or one.kind is one.VAR_KEYWORD for one in parameters)
    return kind.read(path, columns=columns, labelled=labelled, **({"like": like} if takes_like else {}))


def task_class(name: str) -> type[Task]:
    """Return a task's class by name: a file of `bertie/tasks`, or a third party's class as `package.module:Class`.

    Raises:
        SettingsError: no task has this name.
    """
    if ":" not in name:
        builtin: type[Task] = registry.load("tasks", name).TASK
        return builtin
    foreign = registry.load_foreign(name)
    if not (isinstance(foreign, type) and issubclass(foreign, Task)):
        raise SettingsError(f"{name} is not a task: a task is a class that derives from bertie.Task")
    return foreign


def task_name(task: Task) -> str:
    """Return the name under which `task_class` finds the task's class."""
    kind = type(task)
    is_builtin = kind.__module__ == f"bertie.tasks.{kind.name}"
    return kind.name if is_builtin else f"{kind.__module__}:{kind.__qualname__}"


class TaskModel(nn.Module):
    """The whole network: an encoder with a task's head.

    Args:
        encoder: a module of `models/`.
        head: the module that the task's `head(encoder)` returned.
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
        """Return helper models that are saved as well, as folder name: (model, task)."""
        return {}


def check_length(max_length: int) -> None:
    """Check that a sequence of this length has room for a pair of texts.

    Raises:
        SettingsError: it has not.
    """
    if max_length < 5:
        raise SettingsError(f"max_length must be at least 5, for [CLS] a [SEP] b [SEP]; got {max_length}")


def encoded_texts(items: Sequence[Any], tokenizer: Tokenizer) -> tuple[list[list[int]], list[list[int] | None]]:
    """Return the pieces of the items' first and second texts, with None for an item without a second text.

    Raises:
        DataError: an item is not a text, or a text has a lone surrogate.
    """
    first, second = texts(items)
    if second is None:
        return tokenizer.encode_batch(first), [None] * len(first)
    encoded = tokenizer.encode_batch(["" if pair is None else pair for pair in second])
    return tokenizer.encode_batch(first), [
        None if pair is None else ids for pair, ids in zip(second, encoded, strict=True)
    ]
