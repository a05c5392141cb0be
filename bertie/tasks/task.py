"""The contract of `tasks/`: encode, head, loss, decode, score.

Pre-training, fine-tuning, evaluation, prediction and serving differ only in which of these five methods they call. A
task is a frozen dataclass that derives from `Task`. Its fields are its settings. The file named after the task assigns
the class to `TASK`. Training and prediction share `encode` and the network. Training then calls `loss`, prediction
calls `decode`. `Task` implements the other methods in the way that suits most tasks.

Shapes: T tokens, B sequences, H hidden.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.items.text import Text as Text
from bertie.items.text import texts as texts
from bertie.readers.reading import Reading, Table
from bertie.tasks._card import CardText as CardText
from bertie.tasks._loss import Loss as Loss
from bertie.tasks._loss import Term as Term
from bertie.tasks._settings import parse_settings as parse_settings
from bertie.tokenizer.tokenizer import Cut as Cut
from bertie.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from bertie.nn.logits import Logits
    from bertie.packed import Packed
    from bertie.tasks._network import TaskModel as TaskModel

Keys = NDArray[np.uint64]
ItemT = TypeVar("ItemT", default=Any)
"""Kind of a task's labelled items, such as `Text` or `Words`: what it learns from and is scored on."""
OutputsT = TypeVar("OutputsT", default=Any)
"""What the head returns: a tensor, `Logits`, or a named tuple of several."""
PredictionT = TypeVar("PredictionT", default=Any)
"""A task's prediction for one item, which usually derives from `Prediction`."""


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


class Task(ABC, Generic[ItemT, OutputsT, PredictionT]):
    """Base class of all tasks. A task's settings are the fields of its frozen dataclass.

    A task states its types: `class Tagging(Task[Words, Tensor, Tagged])` has labelled items of the kind `Words`, a head
    that returns a tensor, and predictions of the class `Tagged`. Without them, a type checker takes any. `encode` and
    `decode` take more than labelled items, such as plain strings; each task says what.
    """

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
    head_settings: ClassVar[tuple[str, ...]] = ()
    """Settings that decide the shape of the head's weights, so that a trained model can't have others."""
    fills_masks: ClassVar[bool] = False
    """Whether it predicts the pieces at `slot.position`: the outputs of its head, or their `tokens`, are `Logits`."""
    left_to_right: ClassVar[bool] = False
    """Whether it predicts the pieces of causal batches from those before them, and so can score whole texts."""
    searches: ClassVar[bool] = False
    """Whether it writes texts and derives from `bertie.nn.search.Search`. Other programs get the fields of that."""
    needs_decoder: ClassVar[bool] = False
    """Whether it writes by a decoder; its fields `decoder` and `shared` say how an encoder gets one."""
    takes_vectors: ClassVar[bool] = False
    """Whether it takes the encoder's vectors as they are, so that the heads of a folder may be left out."""
    pools_texts: ClassVar[bool] = False
    """Whether it makes a vector of a text, by fields `pooling`, `normalize` and `max_length`."""
    graph_outputs: ClassVar[tuple[str, ...]] = ("logits",)
    """Outputs of an exported graph that `restored` reads. `last_hidden_state` is that of each token."""
    card: ClassVar[CardText] = CardText()
    """What a model card says about the task. A class doesn't inherit it: another head may need another loader."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Give a class without a card of its own the general one."""
        super().__init_subclass__(**options)
        if "card" not in vars(cls):
            cls.card = CardText()

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
    def loss(self, outputs: OutputsT, batch: Batch) -> Loss:
        """Compare outputs with the batch's targets."""

    @abstractmethod
    def decode(self, outputs: OutputsT, batch: Batch, items: Sequence[Any], tokenizer: Tokenizer) -> list[PredictionT]:
        """Turn outputs into one prediction for each item. `batch.rows` maps sequences to items.

        An exported model's outputs are arrays. `bertie.packed.as_array` makes arrays of tensors too, as `batch.arrays`
        does of a batch.
        """

    def restored(self, named: Mapping[str, NDArray[np.float32]], batch: Packed) -> Any:
        """Return the head's outputs as arrays, from those of an exported graph, `graph_outputs`, without padding."""
        del batch
        return named["logits"]

    @abstractmethod
    def score(self, predictions: Sequence[PredictionT], items: Sequence[ItemT]) -> dict[str, float]:
        """Compare predictions with the items' labels."""

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        labelled: bool = False,
        like: Reading | None = None,
    ) -> Table[ItemT]:
        """Read a file of this task's items. The default reads a table of texts or pairs of texts.

        A third-party task may leave out `like`.

        Args:
            path: the file.
            columns: column name of each role. None: detect the roles.
            labelled: whether every item needs a label.
            like: how the model's training file was read. This file is read the same way; differences are reported.
        """
        from bertie.readers.table import read_table  # late, as in other tasks: to predict typed texts needs no reader

        table: Table[Any] = read_table(path, columns=columns, labelled=labelled, like=like)
        return table

    @classmethod
    def learn(cls, items: Sequence[ItemT], settings: Mapping[str, Any]) -> dict[str, Any]:
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

    def check_items(self, items: Sequence[ItemT], path: Path) -> None:
        """Check that the model can be evaluated on a labelled table; for example, that it knows the labels.

        Raises:
            DataError: it can't; the message names the problem and the line.
        """
        del items, path

    def tune(self, predictions: Sequence[PredictionT], items: Sequence[ItemT]) -> dict[str, Any]:
        """Return better settings for `decode`, such as a threshold. They are stored with the model.

        Args:
            predictions: of the dev set, decoded with the present settings.
            items: of the dev set.
        """
        del predictions, items
        return {}

    def redecode(self, predictions: Sequence[PredictionT]) -> list[PredictionT] | None:
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

    def of_step(self, first_key: Keys) -> Self:
        """Return the task of one step of pre-training, by the key (1,) of the first instance of its whole batch."""
        del first_key
        return self

    def objectives(self) -> Sequence[Task[ItemT, OutputsT, PredictionT]]:
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

    def judge(self, prediction: PredictionT, item: ItemT) -> Judgement | None:
        """Compare one prediction with its item's label. None for a task whose predictions can't be wrong."""
        del prediction, item
        return None

    def per_class(self, predictions: Sequence[PredictionT], items: Sequence[ItemT]) -> dict[str, dict[str, float]]:
        """Return precision, recall, f1 and support of each class. Empty for a task without classes."""
        del predictions, items
        return {}

    def logit_rows(self, outputs: OutputsT, batch: Batch) -> Logits | Tensor:
        """Return a teacher's or a student's logits: rows, each over the classes of one prediction.

        The loss of the task compares the softmax of a row with its target. Excluded classes have -inf. A task that
        defines this method and `num_logit_rows` can be distilled; tasks that fill masks need not.

        Raises:
            SettingsError: the task has no logits to learn.
        """
        from bertie.nn.logits import Logits

        self.check_logits()
        found: Any = outputs
        logits: Logits = found if isinstance(found, Logits) else found.tokens
        return logits

    def num_logit_rows(self, batch: Batch) -> float:
        """Count the rows that `logit_rows` returns for a batch, before any forward pass."""
        self.check_logits()
        return float(len(batch.targets["slot.token"]))

    def check_logits(self) -> None:
        """Check that a student can learn this task from a teacher's logits.

        Raises:
            SettingsError: the task has no logits to learn.
        """
        kind = type(self)
        lacks_rows = kind.logit_rows is Task.logit_rows or kind.num_logit_rows is Task.num_logit_rows
        if lacks_rows and not self.fills_masks:
            raise SettingsError(
                f"distill.logits needs the logits of a prediction, and {self.name} has none; set it to 0, and "
                "distill.hidden or distill.attention above 0"
            )

    def logits_loss(self, student: OutputsT, teacher: OutputsT, batch: Batch, temperature: float) -> Tensor:
        """Sum temperature^2 x KL(teacher || student) over the rows of a batch.

        Args:
            student: outputs of the student's head.
            teacher: outputs of the teacher's head. They get no gradients.
            batch: the batch of both.
            temperature: above 0.

        Returns:
            A scalar in fp32.
        """
        from bertie.nn.divergence import divergence

        return divergence(self.logit_rows(student, batch), self.logit_rows(teacher, batch), temperature)


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import `TaskModel` when it is asked for: a network needs torch, and a task doesn't."""
        if name != "TaskModel":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from bertie.tasks._network import TaskModel

        return TaskModel
