"""RoBERTa (Liu et al. 2019): BERT without next sentence prediction and segments, with byte-level BPE, positions from 2.

Its classifier pools with its own dense layer. Only other uses have the encoder's pooler.

Shapes: T tokens, B sequences, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import nn

from bertie.errors import SettingsError
from bertie.models._naming import DEEP_CLASSIFIER, encoder_rows
from bertie.models.bert import HEAD_SITE, Bert, BertConfig, embeddings_of
from bertie.models.model import Architecture, Use
from bertie.nn.feedforward import Activation
from bertie.nn.heads import ClassifierPooler
from bertie.ops.dropout.op import Dropout


@dataclass(frozen=True)
class RobertaConfig(BertConfig):
    """Describe a RoBERTa encoder."""

    num_segments: int = 1
    """Rows of the segment table; only the first is used."""
    layer_norm_eps: float = 1e-5
    """Epsilon of every LayerNorm."""
    pad_id: int = 1
    """Id of <pad>. Positions start at the next row, in all programs that read these weights."""

    KIND: ClassVar[str] = "roberta"
    ABSENT: ClassVar[dict[str, Any]] = {
        "vocab_size": 50265,
        "max_position_embeddings": 512,
        "type_vocab_size": 2,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 1,
    }

    @property
    def first_position(self) -> int:
        """Row of the first token in the position table."""
        return self.unused_rows(self.pad_id)

    @staticmethod
    def unused_rows(pad_id: int) -> int:
        """Return how many rows of the position table come before the first token's."""
        return pad_id + 1

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read a Hugging Face `config.json`, whose number of positions includes the unused rows.

        Raises:
            SettingsError: it asks for something that is not supported here.
        """
        whole = {**cls.ABSENT, **values}
        pad_id = 1 if whole["pad_token_id"] is None else whole["pad_token_id"]
        rows, unused = whole["max_position_embeddings"], cls.unused_rows(pad_id)
        if rows <= unused:
            raise SettingsError(f"max_position_embeddings {rows} must be more than the {unused} unused rows")
        return super().from_foreign({**whole, "max_position_embeddings": rows - unused, "pad_token_id": pad_id})

    def to_foreign(self) -> dict[str, Any]:
        """Return the values under Hugging Face's names."""
        return {**super().to_foreign(), "max_position_embeddings": self.max_positions + self.first_position}

    def build(self) -> Roberta:
        """Return the encoder; its parameters are not initialised."""
        return Roberta(self)


class Roberta(Bert):
    """The RoBERTa encoder.

    Args:
        config: its shape.
    """

    TOKEN_ACTIVATION: ClassVar[Activation | None] = "gelu"

    def __init__(self, config: RobertaConfig) -> None:
        embeddings = embeddings_of(config, first_position=config.first_position, tells_segments=False)
        super().__init__(config, embeddings)

    def pool(self, use: Use = "classification") -> nn.Module | None:
        """Return a new pooler; None for next sentence prediction and sentence order.

        A classifier's is its own dense + tanh layer between two dropouts.
        """
        if use != "classification":
            return None if use in ("next_sentence", "sentence_order") else super().pool(use)
        dropout = Dropout(self.classifier_dropout().rate, site=HEAD_SITE + 1)
        return ClassifierPooler(self.config.hidden_size, torch.tanh, dropout)


ARCHITECTURE = Architecture(
    config=RobertaConfig,
    model_types=("roberta",),
    prefix="roberta",
    names=(
        DEEP_CLASSIFIER,
        *encoder_rows("roberta"),
        ("head.pooler.transform", "classifier.dense"),
        ("head.pooler.dense", "roberta.pooler.dense"),
        ("head.token_logits.dense", "lm_head.dense"),
        ("head.token_logits.norm", "lm_head.layer_norm"),
        ("head.token_logits.bias", "lm_head.bias"),
        ("head.token_logits.embedding", "lm_head.decoder.weight"),
        ("head.classifier", "classifier"),
        ("head.qa_outputs", "qa_outputs"),
    ),
    tied={
        "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    },
    redundant=("roberta.embeddings.position_ids",),
    classes={"RobertaLMHeadModel": "RobertaForCausalLM"},
    special_ids={"bos_token_id": "start", "eos_token_id": "separator"},
)
