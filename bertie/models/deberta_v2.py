"""DeBERTa v2 and v3 (He et al. 2021, 2023): attention compares contents and relative positions, each by own vectors.

bertie supports the form of the released v3 models: logarithmic buckets, normalised vectors of distances, projections
shared by contents and distances, and no absolute positions. Configs that ask for another form are refused. transformers
doesn't read the detector of replaced tokens from v3's pre-training, and neither does bertie.

Shapes: T tokens, H hidden, R distances.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.models._naming import renamed_rows
from bertie.models.bert import HEAD_SITE, Bert, BertConfig, embeddings_of
from bertie.models.model import Architecture, Use
from bertie.nn.block import Block
from bertie.nn.heads import ClassifierPooler
from bertie.nn.neighbours import attend_to_neighbours_by_distances
from bertie.nn.relative import DisentangledBlock, RelativeVectors
from bertie.ops.attention.attend import Layout
from bertie.ops.dropout.op import Dropout, Noise

_PARTS = ("c2p", "p2c")
# The keys of config.json that describe this form.
_FORM = {
    "relative_attention": True,
    "position_biased_input": False,
    "pos_att_type": "p2c|c2p",
    "share_att_key": True,
    "norm_rel_ebd": "layer_norm",
    "max_relative_positions": -1,
    "pooler_hidden_act": "gelu",
}
_ABSENT = {"relative_attention": False, "position_biased_input": True, "share_att_key": False, "norm_rel_ebd": "none"}


@dataclass(frozen=True)
class DebertaV2Config(BertConfig):
    """Describe a DeBERTa v2 or v3 encoder."""

    num_segments: int = 0
    """Rows of the segment table; without any (0) both texts of a pair look alike."""
    position_buckets: int = 256
    """Buckets of distances on each side; half of them hold one distance each."""
    pooler_dropout: float = 0.0
    """Rate before the pooler."""
    layer_norm_eps: float = 1e-7
    """Epsilon of every LayerNorm."""

    FOREIGN: ClassVar[dict[str, str]] = {
        **BertConfig.FOREIGN,
        "position_buckets": "position_buckets",
        "pooler_dropout": "pooler_dropout",
        "classifier_dropout": "cls_dropout",
    }
    KIND: ClassVar[str] = "deberta-v2"
    ABSENT: ClassVar[dict[str, Any]] = {
        "vocab_size": 128100,
        "hidden_size": 1536,
        "num_hidden_layers": 24,
        "num_attention_heads": 24,
        "intermediate_size": 6144,
        "type_vocab_size": 0,
        "layer_norm_eps": 1e-7,
        "position_buckets": -1,
    }

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read a Hugging Face `config.json`.

        Raises:
            SettingsError: it asks for another form.
        """
        whole = {**cls.ABSENT, **_ABSENT, **values}
        parts = whole.get("pos_att_type") or ()
        parts = [part.strip() for part in parts.lower().split("|")] if isinstance(parts, str) else list(parts)
        hidden, heads = whole["hidden_size"], whole["num_attention_heads"]
        form = {
            **{name: whole.get(name, value) for name, value in _FORM.items()},
            "pos_att_type": "p2c|c2p" if sorted(parts) == list(_PARTS) else whole.get("pos_att_type"),
            "conv_kernel_size": whole.get("conv_kernel_size") or 0,
            "embedding_size": whole.get("embedding_size") or hidden,
            "pooler_hidden_size": whole.get("pooler_hidden_size") or hidden,
            "attention_head_size": whole.get("attention_head_size") or hidden // max(1, heads),
        }
        if form["max_relative_positions"] == whole.get("max_position_embeddings", 512):
            form["max_relative_positions"] = -1
        same = {"embedding_size": hidden, "pooler_hidden_size": hidden, "attention_head_size": hidden // max(1, heads)}
        for name, value in {**_FORM, "conv_kernel_size": 0, **same}.items():
            if form[name] != value:
                raise SettingsError(f"{name} is {form[name]!r}; deberta-v2 here has {value!r}, as the v3 models")
        if whole["position_buckets"] < 1:
            raise SettingsError("position_buckets is missing; deberta-v2 here has buckets, as the v3 models")
        return super().from_foreign(whole)

    def to_foreign(self) -> dict[str, Any]:
        """Return the values under Hugging Face's names."""
        return {**super().to_foreign(), **_FORM, "pooler_hidden_size": self.hidden_size, "legacy": True}

    def build(self) -> DebertaV2:
        """Return the encoder; its parameters are not initialised."""
        return DebertaV2(self)


class DebertaV2(Bert):
    """The DeBERTa encoder.

    Args:
        config: its shape.
    """

    BLOCK: ClassVar[type[Block]] = DisentangledBlock

    def __init__(self, config: DebertaV2Config) -> None:
        super().__init__(config, embeddings_of(config, learns_positions=False))
        self.config: DebertaV2Config = config
        self.relative = RelativeVectors(
            config.position_buckets,
            config.hidden_size,
            farthest=config.max_positions,
            layer_norm_eps=config.layer_norm_eps,
        )

    def relation(self, batch: Batch) -> Tensor:
        """Return the (R, H) vectors of the distances."""
        vectors: Tensor = self.relative()
        return vectors

    def through(self, block: Any, hidden: Tensor, layout: Layout, noise: Noise | None, relation: Any) -> Tensor:
        """Run one of `blocks` on (T, H)."""
        output: Tensor = block(hidden, layout, noise, block.bias(relation, self.relative, noise))
        return output

    @torch.no_grad()
    def start_at_neighbours(self, offsets: Sequence[int], generator: torch.Generator) -> None:
        """Make heads of the lowest blocks attend to neighbours, by the vectors of distances.

        Args:
            offsets: for each head of a block, how many positions to the right it attends; 0 for a random head.
            generator: source of the draws.
        """
        attentions: list[Any] = [block.attention for block in self.blocks]
        attend_to_neighbours_by_distances(self.relative, attentions, offsets, generator)

    def pool(self, use: Use = "classification") -> nn.Module | None:
        """Return a new dense + GELU layer on the first token, after dropout; None for pre-training and features."""
        if use in ("features", "next_sentence", "sentence_order"):
            return None
        return ClassifierPooler(self.config.hidden_size, gelu, Dropout(self.config.pooler_dropout, site=HEAD_SITE + 1))


ARCHITECTURE = Architecture(
    config=DebertaV2Config,
    model_types=("deberta-v2",),
    prefix="deberta",
    names=(
        *renamed_rows(
            "deberta", {f"attention.self.{part}": f"attention.self.{part}_proj" for part in ("query", "key", "value")}
        ),
        ("encoder.relative.table.weight", "deberta.encoder.rel_embeddings.weight"),
        ("encoder.relative.norm", "deberta.encoder.LayerNorm"),
        ("head.pooler.transform", "pooler.dense"),
        ("head.token_logits.dense", "cls.predictions.transform.dense"),
        ("head.token_logits.norm", "cls.predictions.transform.LayerNorm"),
        ("head.token_logits.bias", "cls.predictions.bias"),
        ("head.token_logits.embedding", "cls.predictions.decoder.weight"),
        ("head.classifier", "classifier"),
        ("head.qa_outputs", "qa_outputs"),
    ),
    tied={
        "cls.predictions.decoder.weight": "deberta.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    redundant=("deberta.embeddings.position_ids", "deberta.embeddings.position_embeddings.weight"),
    classes={"DebertaV2LMHeadModel": "DebertaV2ForMaskedLM"},
    checked=frozenset({*_FORM, "legacy", "conv_kernel_size", "pooler_hidden_size", "attention_head_size"}),
)
