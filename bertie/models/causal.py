"""A decoder-only BERT: the same layers, in which no token sees what comes after it; it guesses what comes next.

Embeddings, blocks, masked-LM head and parameter names are BERT's. On disk it is transformers' BertLMHeadModel, whose
config says `is_decoder`. Its first token has seen nothing, so there is no pooled vector of a text.

Shapes: T tokens, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NoReturn, Self

from torch import Tensor

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.models import bert
from bertie.models.bert import Bert, BertConfig
from bertie.models.model import Use
from bertie.nn.dropout import Noise


@dataclass(frozen=True)
class CausalConfig(BertConfig):
    """Describe it: a BERT's shape."""

    OBJECTIVE: ClassVar[str] = "causal_lm"

    @classmethod
    def over(cls, config: BertConfig) -> Self:
        """Return the decoder-only model of a BERT's shape."""
        return cls(**vars(config))

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read a Hugging Face `config.json`.

        Raises:
            SettingsError: one that doesn't say `is_decoder`.
        """
        if not values.get("is_decoder"):
            raise SettingsError("a causal model's config.json says is_decoder: true; this one doesn't")
        return super().from_foreign(values)

    def to_foreign(self) -> dict[str, Any]:
        """Write the values as Hugging Face names them."""
        return {**super().to_foreign(), "is_decoder": True}

    def build(self) -> Causal:
        """Make the model; its parameters are not yet initialised."""
        return Causal(self)


class Causal(Bert):
    """The stack, which reads every batch from the left."""

    left_to_right: ClassVar[bool] = True
    """That it can't see both sides, whatever the task."""

    def forward(
        self, batch: Batch, noise: Noise | None = None, hidden: Tensor | None = None, blocks: slice = slice(None)
    ) -> Tensor:
        """Read a packed batch, (T, H); parameters as those of every encoder."""
        return super().forward(replace(batch, causal=True), noise, hidden, blocks)

    def pool(self, use: Use = "classification") -> NoReturn:
        """Refuse.

        Raises:
            SettingsError: always.
        """
        raise SettingsError(
            "a causal model has no vector of a whole text: its first token sees nothing of it. Take bert or hybrid; "
            "--task embedding averages"
        )


ARCHITECTURE = replace(
    bert.ARCHITECTURE, config=CausalConfig, class_name="Bert", classes={}, allowed=frozenset({"is_decoder"})
)
