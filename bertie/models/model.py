"""The contract of `models/`: what an encoder architecture must offer.

Each other file here is one architecture: an arrangement of parts from `nn/` in its own small file, never a switch in
a big one. A task asks the encoder it is given for a stem and never names an architecture; formats ask the module of an
architecture for its two name tables.

Shapes: T tokens, B sequences, M slots, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, runtime_checkable

from torch import Tensor, nn

from bertie.batch import Batch
from bertie.nn.dropout import Noise
from bertie.nn.projection import Logits


class Config(Protocol):
    """A frozen dataclass that describes one encoder."""

    @property
    def vocab_size(self) -> int:
        """Entries V of the word embedding table."""

    @property
    def max_positions(self) -> int:
        """Tokens of the longest sequence."""

    @classmethod
    def sized(cls, size: str, *, vocab_size: int) -> Self:
        """Return the settings of a named size ("mini") or of "L/H" ("4/256")."""

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read the architecture's part of a Hugging Face `config.json`."""

    def to_foreign(self) -> dict[str, Any]:
        """Write it."""

    def build(self) -> Encoder:
        """Make the encoder, its parameters not yet initialised."""


class Pooler(Protocol):
    """Turns hidden vectors into one vector a sequence."""

    def __call__(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Map (T, H) to (B, H)."""


class TokenLogits(Protocol):
    """The masked-LM stem."""

    def __call__(self, hidden: Tensor) -> Logits:
        """Map the hidden vectors of M slots, (M, H), to logits over the vocabulary."""


@runtime_checkable
class Encoder(Protocol):
    """An `nn.Module` from a packed batch to hidden vectors, with the stems of its architecture's heads.

    Its layers are the attributes `embeddings` and, from the lowest up, `blocks`.
    """

    config: Any

    def __call__(
        self, batch: Batch, noise: Noise | None = None, hidden: Tensor | None = None, blocks: slice = slice(None)
    ) -> Tensor:
        """Encode: (T, H); by all layers, or by some blocks only, from the `hidden` (T, H) that stand before them."""

    def pool(self) -> nn.Module:
        """Make the `Pooler` of this architecture."""

    def token_logits(self) -> nn.Module:
        """Make the `TokenLogits` of this architecture, tied to this encoder's word embeddings."""

    def classifier_dropout(self) -> nn.Module:
        """Make the dropout that stands before a new head."""
