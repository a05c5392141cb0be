"""RoFormer (Su et al. 2021): BERT with rotary positions instead of a learned position table.

Its embeddings may be narrower than the hidden vectors, and it has no pooler. Queries and keys have biases and are
rotated in interleaved pairs.

Shapes: T tokens, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import nn

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.models._naming import DEEP_CLASSIFIER, encoder_rows
from bertie.models.bert import HEAD_SITE, Bert, BertConfig, embeddings_of
from bertie.models.model import Architecture, Use
from bertie.nn.block import Block
from bertie.nn.feedforward import activation_function
from bertie.nn.heads import ClassifierPooler, Pooler
from bertie.nn.initialize import truncated_normal
from bertie.nn.neighbours import attend_to_neighbours_by_biases
from bertie.nn.positions import BASE
from bertie.nn.rotary import RotaryBlock, Turn, Turns
from bertie.ops.dropout.op import Dropout
from bertie.ops.rounding import pad_rows

_SUMMARY = {"summary_type": "first", "summary_use_proj": True}
"""Settings by which transformers pools for a choice among texts: a dense layer on the first token."""


@dataclass(frozen=True)
class RoFormerConfig(BertConfig):
    """Describe a RoFormer encoder."""

    max_positions: int = 1536
    """Tokens of the longest sequence."""
    embedding_size: int = 768
    """Width of the embedding tables; if it differs from the hidden size, a projection follows."""

    FOREIGN: ClassVar[dict[str, str]] = {**BertConfig.FOREIGN, "embedding_size": "embedding_size"}
    KIND: ClassVar[str] = "roformer"
    ABSENT: ClassVar[dict[str, Any]] = {"vocab_size": 50000, "max_position_embeddings": 1536}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_size // self.num_heads % 2:
            raise SettingsError(f"hidden_size / num_heads must be even; got {self.hidden_size} / {self.num_heads}")

    @classmethod
    def sized(cls, size: str, *, vocab_size: int) -> Self:
        """Return the config of a named size or of "layers/hidden"; embeddings have width H.

        Raises:
            SettingsError: the size is neither.
        """
        shape = super().sized(size, vocab_size=vocab_size)
        return replace(shape, embedding_size=shape.hidden_size)

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read a Hugging Face `config.json`.

        Raises:
            SettingsError: it asks for something that is not supported here.
        """
        wanted: dict[str, Any] = {"rotary_value": values.get("rotary_value") or False}
        if values.get("summary_use_proj"):
            wanted |= {name: values.get(name) for name in ("summary_type", "summary_activation")}
        fixed = {"rotary_value": False, **_SUMMARY, "summary_activation": values.get("hidden_act", "gelu")}
        for name, value in wanted.items():
            if value != fixed[name]:
                raise SettingsError(f"{name} is {value!r}; bertie's roformer supports only {fixed[name]!r}")
        width = values.get("embedding_size")  # null means the hidden size
        return super().from_foreign({**values, "embedding_size": width or values.get("hidden_size", 768)})

    def to_foreign(self) -> dict[str, Any]:
        """Return the values under Hugging Face's names."""
        values = super().to_foreign()
        return {**values, "rotary_value": False, **_SUMMARY, "summary_activation": values["hidden_act"]}

    def build(self) -> RoFormer:
        """Return the encoder; its parameters are not initialised."""
        return RoFormer(self)


class RoFormer(Bert):
    """The RoFormer encoder.

    Args:
        config: its shape.
    """

    BLOCK: ClassVar[type[Block]] = RotaryBlock

    def __init__(self, config: RoFormerConfig) -> None:
        narrow = config.embedding_size != config.hidden_size
        differences = {"embedding_size": config.embedding_size if narrow else None, "learns_positions": False}
        super().__init__(config, embeddings_of(config, **differences))
        self.turns = Turns(config.max_positions, config.hidden_size // config.num_heads)

    def relation(self, batch: Batch) -> Turn:
        """Return the rotations of all tokens."""
        turn: Turn = self.turns(pad_rows(batch.positions, step=128))
        return turn

    @torch.no_grad()
    def start_at_neighbours(self, offsets: Sequence[int], generator: torch.Generator) -> None:
        """Make heads of the lowest blocks attend to neighbours. The word vectors must already be set.

        Args:
            offsets: for each head of a block, how many positions to the right it attends; 0 for a random head.
            generator: source of the draws.
        """
        embeddings: Any = self.embeddings
        attentions: list[Any] = [block.attention for block in self.blocks]
        if embeddings.segment is not None:
            embeddings.segment.weight.zero_()  # learned soon; random values would blur the words until then
        if embeddings.project is not None:
            weight = embeddings.project.weight
            weight.copy_(truncated_normal(weight.shape, weight.shape[1] ** -0.5, generator))
        attend_to_neighbours_by_biases(attentions, BASE, offsets, generator)

    def pool(self, use: Use = "classification") -> nn.Module | None:
        """Return a new dense layer on the first token; None for features and pre-training.

        A classifier's is between two dropouts.
        """
        if use in ("features", "next_sentence", "sentence_order"):
            return None
        activation = activation_function(self.config.activation)
        if use == "choice":
            return Pooler(self.config.hidden_size, activation)
        dropout = Dropout(self.classifier_dropout().rate, site=HEAD_SITE + 1)
        return ClassifierPooler(self.config.hidden_size, activation, dropout)


ARCHITECTURE = Architecture(
    config=RoFormerConfig,
    model_types=("roformer",),
    prefix="roformer",
    names=(
        DEEP_CLASSIFIER,
        *encoder_rows("roformer"),
        ("encoder.embeddings.project", "roformer.embeddings_project"),
        ("encoder.turns.weight", "roformer.encoder.embed_positions.weight"),
        ("head.pooler.transform", "classifier.dense"),
        ("head.pooler.dense", "sequence_summary.summary"),
        ("head.token_logits.dense", "cls.predictions.transform.dense"),
        ("head.token_logits.norm", "cls.predictions.transform.LayerNorm"),
        ("head.token_logits.bias", "cls.predictions.bias"),
        ("head.token_logits.embedding", "cls.predictions.decoder.weight"),
        ("head.classifier", "classifier"),
        ("head.qa_outputs", "qa_outputs"),
    ),
    tied={
        "cls.predictions.decoder.weight": "roformer.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    classes={"RoFormerLMHeadModel": "RoFormerForCausalLM"},
)
