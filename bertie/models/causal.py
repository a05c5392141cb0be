"""A decoder-only BERT: BERT's layers, in which no token attends to later ones, trained to predict the next token.

Embeddings, blocks, masked-LM head and parameter names are BERT's. On disk it is transformers' BertLMHeadModel, with
`is_decoder` in its config. Its first token attends to itself alone, so there is no pooled vector of a text.

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
from bertie.ops.dropout.op import Noise


@dataclass(frozen=True)
class CausalConfig(BertConfig):
    """Describe a decoder-only BERT."""

    OBJECTIVE: ClassVar[str] = "causal_lm"

    @classmethod
    def over(cls, config: BertConfig) -> Self:
        """Return the config of a decoder-only model with the shape of a BERT."""
        return cls(**vars(config))

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read a Hugging Face `config.json`.

        Raises:
            SettingsError: it lacks `is_decoder`.
        """
        if not values.get("is_decoder"):
            raise SettingsError("config.json lacks is_decoder: true, which marks a causal model")
        return super().from_foreign(values)

    def to_foreign(self) -> dict[str, Any]:
        """Return the values under Hugging Face's names."""
        return {**super().to_foreign(), "is_decoder": True}

    def build(self) -> Causal:
        """Return the model; its parameters are not initialised."""
        return Causal(self)


class Causal(Bert):
    """The model, which treats every batch as causal."""

    left_to_right: ClassVar[bool] = True
    """Tokens never attend to later ones, whatever the task."""

    def forward(
        self, batch: Batch, noise: Noise | None = None, hidden: Tensor | None = None, blocks: slice = slice(None)
    ) -> Tensor:
        """Encode a packed batch to (T, H); arguments as in `Bert.forward`."""
        return super().forward(replace(batch, causal=True), noise, hidden, blocks)

    def pool(self, use: Use = "classification") -> NoReturn:
        """Refuse.

        Raises:
            SettingsError: always.
        """
        raise SettingsError(
            "a causal model has no vector of a whole text, because its first token attends to itself alone; use "
            "architecture bert, which --task hybrid also pre-trains, or --task embedding, which averages all tokens"
        )


ARCHITECTURE = replace(
    bert.ARCHITECTURE, config=CausalConfig, class_name="Bert", classes={}, allowed=frozenset({"is_decoder"})
)
