"""MPNet (Song et al. 2020): BERT with a bias of relative positions on the attention scores, without segments.

Positions are learned as well and count from 2, as RoBERTa's do. The bias is one table for all layers.

Shapes: T tokens, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.models._naming import DEEP_CLASSIFIER, renamed_rows
from bertie.models.bert import HEAD_SITE, Bert, BertConfig, embeddings_of
from bertie.models.model import Architecture, Use
from bertie.nn.attention import Layout
from bertie.nn.block import Block
from bertie.nn.dropout import Dropout, Noise
from bertie.nn.feedforward import Activation
from bertie.nn.heads import ClassifierPooler
from bertie.nn.relative import BiasedBlock, RelativeBias
from bertie.nn.rounding import pad_rows

_BUCKETS = 32
_IDLE = 2  # rows of the table of positions that no token uses


@dataclass(frozen=True)
class MPNetConfig(BertConfig):
    """Describe an MPNet encoder."""

    num_segments: int = 0
    """Always 0: both texts of a pair look alike."""
    max_positions: int = 510
    """Tokens of the longest sequence."""
    pad_id: int = 1
    """Id of <pad>, kept for other programs; nothing here pads."""

    FOREIGN: ClassVar[dict[str, str]] = {
        ours: theirs for ours, theirs in BertConfig.FOREIGN.items() if ours != "num_segments"
    }
    KIND: ClassVar[str] = "mpnet"
    ABSENT: ClassVar[dict[str, Any]] = {"vocab_size": 30527, "max_position_embeddings": 512, "pad_token_id": 1}

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read a Hugging Face `config.json`, whose positions count the rows that no token uses.

        Raises:
            SettingsError: something that this file doesn't have.
        """
        whole = {**cls.ABSENT, **values}
        rows, buckets = whole["max_position_embeddings"], whole.get("relative_attention_num_buckets", _BUCKETS)
        if buckets != _BUCKETS:
            raise SettingsError(f"relative_attention_num_buckets is {buckets!r}; mpnet here has {_BUCKETS}")
        if rows <= _IDLE:
            raise SettingsError(f"max_position_embeddings {rows} leaves no position besides the {_IDLE} unused ones")
        return super().from_foreign({**whole, "max_position_embeddings": rows - _IDLE})

    def to_foreign(self) -> dict[str, Any]:
        """Write the values as Hugging Face names them."""
        positions = self.max_positions + _IDLE
        return {
            **super().to_foreign(),
            "max_position_embeddings": positions,
            "relative_attention_num_buckets": _BUCKETS,
        }

    def build(self) -> MPNet:
        """Make the encoder; its parameters are not yet initialised."""
        return MPNet(self)


class MPNet(Bert):
    """The encoder.

    Args:
        config: its shape.
    """

    TOKEN_ACTIVATION: ClassVar[Activation | None] = "gelu"
    BLOCK: ClassVar[type[Block]] = BiasedBlock

    def __init__(self, config: MPNetConfig) -> None:
        super().__init__(config, embeddings_of(config, first_position=_IDLE))
        self.relative = RelativeBias(_BUCKETS, config.num_heads)

    def forward(
        self, batch: Batch, noise: Noise | None = None, hidden: Tensor | None = None, blocks: slice = slice(None)
    ) -> Tensor:
        """Encode a packed batch; arguments as in `Bert.forward`."""
        if self.training and noise is None:
            noise = Noise.draw()
        hidden = pad_rows(self.embeddings(batch, noise) if hidden is None else hidden, step=128)
        layout, bias = Layout.of(batch), self.relative()
        for block in list(self.blocks)[blocks]:
            hidden = block(hidden, layout, noise, bias)
        return hidden[: batch.num_tokens]

    @torch.no_grad()
    def start_at_neighbours(self, offsets: Sequence[int], generator: torch.Generator) -> None:
        """Let heads of the lowest layers look at neighbours, as in `Bert`; the bias starts without a preference."""
        super().start_at_neighbours(offsets, generator)
        self.relative.weight.zero_()

    def pool(self, use: Use = "classification") -> nn.Module | None:
        """Make the pooler; of a classifier its own dense + tanh layer, between two dropouts."""
        if use != "classification":
            return None if use in ("next_sentence", "sentence_order") else super().pool(use)
        dropout = Dropout(self.classifier_dropout().rate, site=HEAD_SITE + 1)
        return ClassifierPooler(self.config.hidden_size, torch.tanh, dropout)


ARCHITECTURE = Architecture(
    config=MPNetConfig,
    model_types=("mpnet",),
    prefix="mpnet",
    names=(
        DEEP_CLASSIFIER,
        *renamed_rows(
            "mpnet",
            {
                "attention.self.query": "attention.attn.q",
                "attention.self.key": "attention.attn.k",
                "attention.self.value": "attention.attn.v",
                "attention.output.dense": "attention.attn.o",
                "attention.output.LayerNorm": "attention.LayerNorm",
            },
        ),
        ("encoder.relative.weight", "mpnet.encoder.relative_attention_bias.weight"),
        ("head.pooler.transform", "classifier.dense"),
        ("head.pooler.dense", "mpnet.pooler.dense"),
        ("head.token_logits.dense", "lm_head.dense"),
        ("head.token_logits.norm", "lm_head.layer_norm"),
        ("head.token_logits.bias", "lm_head.bias"),
        ("head.token_logits.embedding", "lm_head.decoder.weight"),
        ("head.classifier", "classifier"),
        ("head.qa_outputs", "qa_outputs"),
    ),
    tied={
        "lm_head.decoder.weight": "mpnet.embeddings.word_embeddings.weight",
        "lm_head.decoder.bias": "lm_head.bias",
    },
    redundant=("mpnet.embeddings.position_ids",),
    classes={"MPNetLMHeadModel": "MPNetForMaskedLM"},
    special_ids={"bos_token_id": "start", "eos_token_id": "separator"},
    checked=frozenset({"relative_attention_num_buckets"}),
)
