"""DistilBERT (Sanh et al. 2019): BERT with half the layers, without segments and without a pooler.

Shapes: T tokens, B sequences, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from torch import nn
from torch.nn.functional import relu

from bertie.errors import SettingsError
from bertie.models.bert import HEAD_SITE, SIZES, Bert, BertConfig
from bertie.models.model import Architecture, TokenUse, Use
from bertie.nn.heads import ClassifierPooler
from bertie.ops.dropout.op import Dropout


@dataclass(frozen=True)
class DistilBertConfig(BertConfig):
    """Describe a DistilBERT encoder."""

    num_layers: int = 6
    """Encoder blocks."""
    num_segments: int = 0
    """Always 0: there are no segment vectors, so the texts of a pair are not marked."""
    classifier_dropout: float | None = 0.2
    """Rate before the last layer of a classifier or of a choice; the same as `dropout` when None."""
    answer_dropout: float = 0.1
    """Rate before the last layer of question answering."""

    FOREIGN: ClassVar[dict[str, str]] = {
        "vocab_size": "vocab_size",
        "hidden_size": "dim",
        "num_layers": "n_layers",
        "num_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "max_positions": "max_position_embeddings",
        "activation": "activation",
        "dropout": "dropout",
        "attention_dropout": "attention_dropout",
        "classifier_dropout": "seq_classif_dropout",
        "answer_dropout": "qa_dropout",
        "initializer_range": "initializer_range",
        "pad_id": "pad_token_id",
        "tied": "tie_word_embeddings",
    }
    KIND: ClassVar[str] = "distilbert"
    SIZES: ClassVar[dict[str, tuple[int, int]]] = {**SIZES, "base": (6, 768), "large": (12, 1024)}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_segments != 0 or self.layer_norm_eps != 1e-12:
            raise SettingsError(
                "distilbert needs num_segments 0 and layer_norm_eps 1e-12; got num_segments "
                f"{self.num_segments} and layer_norm_eps {self.layer_norm_eps}"
            )

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read a Hugging Face `config.json`.

        Raises:
            SettingsError: sizes have BERT's names, or it asks for something that is not supported here.
        """
        if "hidden_size" in values and "dim" not in values:
            raise SettingsError("the sizes have BERT's names (hidden_size); distilbert's are dim, n_layers and so on")
        return super().from_foreign(values)

    def build(self) -> DistilBert:
        """Return the encoder; its parameters are not initialised."""
        return DistilBert(self)


class DistilBert(Bert):
    """The DistilBERT encoder.

    Args:
        config: its shape.
    """

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__(config)
        self._answer_rate = config.answer_dropout

    def pool(self, use: Use = "classification") -> nn.Module | None:
        """Return a new dense + ReLU layer on the first token; None for features and pre-training."""
        if use in ("features", "next_sentence", "sentence_order"):
            return None
        return ClassifierPooler(self.config.hidden_size, relu)

    def token_layers(self, use: TokenUse) -> Dropout:
        """Return the dropout before a task's layer on every token."""
        return Dropout(self.config.dropout if use == "tags" else self._answer_rate, site=HEAD_SITE)


_LAYER = "distilbert.transformer.layer.{}"


ARCHITECTURE = Architecture(
    config=DistilBertConfig,
    model_types=("distilbert",),
    prefix="distilbert",
    names=(
        ("encoder.embeddings.word.weight", "distilbert.embeddings.word_embeddings.weight"),
        ("encoder.embeddings.position.weight", "distilbert.embeddings.position_embeddings.weight"),
        ("encoder.embeddings.norm", "distilbert.embeddings.LayerNorm"),
        ("encoder.blocks.{}.attention.q", f"{_LAYER}.attention.q_lin"),
        ("encoder.blocks.{}.attention.k", f"{_LAYER}.attention.k_lin"),
        ("encoder.blocks.{}.attention.v", f"{_LAYER}.attention.v_lin"),
        ("encoder.blocks.{}.attention.output", f"{_LAYER}.attention.out_lin"),
        ("encoder.blocks.{}.attention_norm", f"{_LAYER}.sa_layer_norm"),
        ("encoder.blocks.{}.feedforward.up", f"{_LAYER}.ffn.lin1"),
        ("encoder.blocks.{}.feedforward.down", f"{_LAYER}.ffn.lin2"),
        ("encoder.blocks.{}.feedforward_norm", f"{_LAYER}.output_layer_norm"),
        ("head.pooler.transform", "pre_classifier"),
        ("head.token_logits.dense", "vocab_transform"),
        ("head.token_logits.norm", "vocab_layer_norm"),
        ("head.token_logits.bias", "vocab_projector.bias"),
        ("head.token_logits.embedding", "vocab_projector.weight"),
        ("head.classifier", "classifier"),
        ("head.qa_outputs", "qa_outputs"),
    ),
    tied={"vocab_projector.weight": "distilbert.embeddings.word_embeddings.weight"},
    redundant=("distilbert.embeddings.position_ids",),
    classes={"DistilBertLMHeadModel": "DistilBertForMaskedLM"},
)
