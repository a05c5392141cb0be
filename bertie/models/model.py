"""The contract of `models/`: what every encoder architecture defines.

Each architecture is an arrangement of parts from `nn/` in a file of its own. A task asks its encoder for the layers
below the task's last layer and never names an architecture. `formats/` asks the module of an architecture for its
`ARCHITECTURE`.

Shapes: T tokens, B sequences, M chosen tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, runtime_checkable

from torch import Tensor, nn

from bertie import registry
from bertie.batch import Batch
from bertie.models._naming import Row, rename_from_foreign, rename_to_foreign
from bertie.nn.logits import Logits
from bertie.ops.dropout.op import Noise

Use = Literal["classification", "choice", "features", "next_sentence", "sentence_order"]
"""The use of a pooled vector: labels and numbers, a choice among texts, features, or an objective of pre-training."""
TokenUse = Literal["tags", "answers"]
"""The prediction for every token: a tag, or scores of an answer's start and end."""


class Config(Protocol):
    """A frozen dataclass that describes one encoder."""

    @property
    def vocab_size(self) -> int:
        """Entries V of the word embedding table."""

    @property
    def hidden_size(self) -> int:
        """Width H of the hidden vectors."""

    @property
    def max_positions(self) -> int:
        """Tokens of the longest sequence."""

    @classmethod
    def sized(cls, size: str, *, vocab_size: int) -> Self:
        """Return the config of a named size ("mini") or of "layers/hidden" ("4/256")."""

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read the architecture's part of a Hugging Face `config.json`."""

    def to_foreign(self) -> dict[str, Any]:
        """Return the architecture's part of a Hugging Face `config.json`."""

    def build(self) -> Encoder:
        """Return the encoder; its parameters are not initialised."""


class Pooler(Protocol):
    """A module from hidden vectors to one vector a sequence."""

    def __call__(self, hidden: Tensor, batch: Batch, noise: Noise | None = None) -> Tensor:
        """Map (T, H) to (B, H)."""


class TokenLogits(Protocol):
    """The masked-LM head."""

    def __call__(self, hidden: Tensor) -> Logits:
        """Map the hidden vectors of M tokens, (M, H), to logits over the vocabulary."""


@runtime_checkable
class Encoder(Protocol):
    """An `nn.Module` from a packed batch to hidden vectors, which also makes the parts of its architecture's heads.

    It has the attributes `embeddings` and `blocks`, from the lowest up. Learned positions are the table
    `embeddings.position`.
    """

    config: Any

    def __call__(
        self, batch: Batch, noise: Noise | None = None, hidden: Tensor | None = None, blocks: slice = slice(None)
    ) -> Tensor:
        """Encode to (T, H): from the batch, or by some blocks only, from their input `hidden` (T, H)."""

    def pool(self, use: Use = "classification") -> nn.Module | None:
        """Return a new `Pooler` for a use; None if the architecture has none for one of the last three uses."""

    def token_layers(self, use: TokenUse) -> nn.Module:
        """Return new layers that run on every token before a task's last layer, from (T, H) and noise to (T, H)."""

    def token_logits(self) -> nn.Module:
        """Return new `TokenLogits`, tied to this encoder's word embeddings."""

    def classifier_dropout(self) -> nn.Module:
        """Return the dropout between a pooler and a new last layer."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """An encoder's place in Hugging Face folders: its configs, the names of its tensors and of its classes."""

    config: Any
    """Class of its `Config`."""
    model_types: tuple[str, ...]
    """`model_type` of the configs that it reads; it writes the first."""
    prefix: str
    """What the names of an encoder's tensors start with."""
    names: tuple[Row, ...] = ()
    """Parameter names: ours, theirs."""
    tied: Mapping[str, str] = field(default_factory=dict)
    """Second names of tied tensors, with the name of the tensor they share."""
    redundant: tuple[str, ...] = ()
    """Tensors that old files hold and that carry no information."""
    class_name: str | None = None
    """Start of the names of transformers' classes; the name of the config's class without "Config" when None."""
    classes: Mapping[str, str] = field(default_factory=dict)
    """Classes of transformers that don't follow BERT's pattern: the name by the pattern, the name they have."""
    special_ids: Mapping[str, str] = field(default_factory=dict)
    """Keys of config.json for ids of the tokenizer, with the attribute of the tokenizer."""
    tasks: Mapping[str, str] = field(default_factory=dict)
    """Ends of class names with the task they mean here."""
    checked: frozenset[str] = frozenset()
    """Keys of config.json, besides those of its sizes, that its config checks."""
    allowed: frozenset[str] = frozenset()
    """Keys of config.json that may be true here and that other encoders refuse."""

    @property
    def model_type(self) -> str:
        """The `model_type` that it writes."""
        return self.model_types[0]

    def of(self, values: Mapping[str, Any]) -> Architecture:
        """Return what reads and writes the tensors of one config.json; itself, unless a config names other kinds."""
        return self

    def class_of(self, pattern: str) -> str:
        """Return the class of transformers for a task's pattern, such as "{}ForMaskedLM"."""
        name = pattern.format(self.class_name or self.config.__name__.removesuffix("Config"))
        return self.classes.get(name, name)

    def to_foreign(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename a network's parameters as Hugging Face has them.

        Raises:
            KeyError: a parameter that `names` doesn't have.
        """
        return rename_to_foreign(state, self.names)

    def from_foreign(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Undo `to_foreign`.

        Raises:
            KeyError: a name that `names` doesn't have.
        """
        return rename_from_foreign(state, self.names)


def architecture(name: str) -> Architecture:
    """Return the `ARCHITECTURE` of a file of models/.

    Args:
        name: of the file; dashes count as underscores.
    """
    known: Architecture = registry.load("models", name).ARCHITECTURE
    return known
