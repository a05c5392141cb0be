"""RoBERTa (Liu et al. 2019): BERT without next sentences and segments, byte-level pieces, positions from 2 on.

Its classifier pools by a dense layer of its own, not by the encoder's pooler, which only other uses see.

Shapes: T tokens, B sequences, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from bertie.errors import SettingsError
from bertie.models._naming import encoder_rows, rename_from_foreign, rename_to_foreign
from bertie.models.bert import HEAD_SITE, Bert, BertConfig
from bertie.models.model import Use
from bertie.nn.dropout import Dropout
from bertie.nn.embeddings import Embeddings
from bertie.nn.heads import ClassifierPooler, TokenLogits


@dataclass(frozen=True)
class RobertaConfig(BertConfig):
    """Describe a RoBERTa encoder."""

    num_segments: int = 1
    """Rows of the segment table; only the first is read."""
    layer_norm_eps: float = 1e-5
    """Epsilon of every LayerNorm."""
    pad_id: int = 1
    """Id of <pad>; positions are counted from the next row on, in all programs that read these weights."""

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
        """Row of the first token in the table of positions."""
        return self.pad_id + 1

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read a Hugging Face `config.json`, whose positions count the rows that lie idle.

        Raises:
            SettingsError: something that this file doesn't have.
        """
        whole = {**cls.ABSENT, **values}
        pad_id = 1 if whole["pad_token_id"] is None else whole["pad_token_id"]
        rows = whole["max_position_embeddings"]
        if rows <= pad_id + 1:
            raise SettingsError(f"max_position_embeddings {rows} leaves no position beside the {pad_id + 1} idle ones")
        return super().from_foreign({**whole, "max_position_embeddings": rows - pad_id - 1, "pad_token_id": pad_id})

    def to_foreign(self) -> dict[str, Any]:
        """Write the values as Hugging Face names them."""
        return {**super().to_foreign(), "max_position_embeddings": self.max_positions + self.first_position}

    def build(self) -> Roberta:
        """Make the encoder; its parameters are not yet initialised."""
        return Roberta(self)


class Roberta(Bert):
    """The encoder.

    Args:
        config: its shape.
    """

    def __init__(self, config: RobertaConfig) -> None:
        embeddings = Embeddings(
            config.vocab_size,
            config.hidden_size,
            max_positions=config.max_positions,
            num_segments=config.num_segments,
            layer_norm_eps=config.layer_norm_eps,
            dropout=config.dropout,
            site=0,
            first_position=config.first_position,
            tells_segments=False,
        )
        super().__init__(config, embeddings)

    def pool(self, use: Use = "classification") -> nn.Module | None:
        """Make the pooler; of a classifier its own dense + tanh layer, between two dropouts."""
        if use != "classification":
            return None if use == "next_sentence" else super().pool(use)
        dropout = Dropout(self.classifier_dropout().rate, site=HEAD_SITE + 1)
        return ClassifierPooler(self.config.hidden_size, torch.tanh, dropout)

    def token_logits(self) -> nn.Module:
        """Make the masked-LM head, tied to this encoder's word embeddings; its activation is GELU in every model."""
        eps = self.config.layer_norm_eps
        return TokenLogits(self.config.hidden_size, self.word_embeddings(), activation="gelu", layer_norm_eps=eps)


# A classifier's last layer has two names over there; the first row is left out where it has no dense layer below.
NAMES = (
    ("head.classifier", "classifier.out_proj"),
    *encoder_rows("roberta"),
    ("head.pooler.transform", "classifier.dense"),
    ("head.pooler.dense", "roberta.pooler.dense"),
    ("head.token_logits.dense", "lm_head.dense"),
    ("head.token_logits.norm", "lm_head.layer_norm"),
    ("head.token_logits.bias", "lm_head.bias"),
    ("head.classifier", "classifier"),
    ("head.qa_outputs", "qa_outputs"),
)
REDUNDANT = ("roberta.embeddings.position_ids",)
TIED = {
    "lm_head.decoder.weight": "roberta.embeddings.word_embeddings.weight",
    "lm_head.decoder.bias": "lm_head.bias",
}


def to_foreign(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a network's parameters as Hugging Face has them.

    Raises:
        KeyError: a parameter that the table doesn't know.
    """
    deep = any(name.startswith("head.pooler.transform.") for name in state)
    return rename_to_foreign(state, NAMES if deep else NAMES[1:])


def from_foreign(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `to_foreign`.

    Raises:
        KeyError: a name that the table doesn't know, or a part of a fused product without the others.
    """
    return rename_from_foreign(state, NAMES)


CONFIG = RobertaConfig
MODEL_TYPE = "roberta"
PREFIX = "roberta"
