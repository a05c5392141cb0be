"""MPNet (Song et al. 2020): RoBERTa with a bias of relative positions on the attention scores, without segments.

Learned positions count from row 2, as RoBERTa's do. The bias is one table for all layers.

Shapes: T tokens, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.models._naming import DEEP_CLASSIFIER, renamed_rows
from bertie.models.model import Architecture
from bertie.models.roberta import Roberta, RobertaConfig
from bertie.nn.block import Block
from bertie.nn.relative import BiasedBlock, RelativeBias
from bertie.ops.attention.grouped import Bias

_BUCKETS = 32


@dataclass(frozen=True)
class MPNetConfig(RobertaConfig):
    """Describe an MPNet encoder."""

    num_segments: int = 0
    """Always 0: both texts of a pair look alike."""
    max_positions: int = 510
    """Tokens of the longest sequence."""
    layer_norm_eps: float = 1e-12
    """Epsilon of every LayerNorm."""

    FOREIGN: ClassVar[dict[str, str]] = {
        ours: theirs for ours, theirs in RobertaConfig.FOREIGN.items() if ours != "num_segments"
    }
    KIND: ClassVar[str] = "mpnet"
    ABSENT: ClassVar[dict[str, Any]] = {"vocab_size": 30527, "max_position_embeddings": 512, "pad_token_id": 1}

    @staticmethod
    def unused_rows(pad_id: int) -> int:
        """Return 2, whatever the id of <pad> is."""
        return 2

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read a Hugging Face `config.json`, whose number of positions includes the unused rows.

        Raises:
            SettingsError: it asks for something that is not supported here.
        """
        buckets = values.get("relative_attention_num_buckets", _BUCKETS)
        if buckets != _BUCKETS:
            raise SettingsError(f"relative_attention_num_buckets is {buckets!r}; mpnet here has {_BUCKETS}")
        return super().from_foreign(values)

    def to_foreign(self) -> dict[str, Any]:
        """Return the values under Hugging Face's names."""
        return {**super().to_foreign(), "relative_attention_num_buckets": _BUCKETS}

    def build(self) -> MPNet:
        """Return the encoder; its parameters are not initialised."""
        return MPNet(self)


class MPNet(Roberta):
    """The MPNet encoder.

    Args:
        config: its shape.
    """

    BLOCK: ClassVar[type[Block]] = BiasedBlock

    def __init__(self, config: MPNetConfig) -> None:
        super().__init__(config)
        self.relative = RelativeBias(_BUCKETS, config.num_heads)

    def relation(self, batch: Batch) -> Bias:
        """Return the bias of all blocks."""
        bias: Bias = self.relative()
        return bias

    @torch.no_grad()
    def start_at_neighbours(self, offsets: Sequence[int], generator: torch.Generator) -> None:
        """Make heads of the lowest blocks attend to neighbours, as in `Bert`; the bias starts at 0."""
        super().start_at_neighbours(offsets, generator)
        self.relative.weight.zero_()


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
