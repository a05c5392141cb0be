"""ALBERT (Lan et al. 2019): BERT with narrow embeddings and one block that is used at every depth.

`blocks` holds the blocks with weights of their own, called groups. All released models have one group. Each group runs
several times before the next one.

Shapes: T tokens, B sequences, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from bertie.errors import SettingsError
from bertie.models.bert import Bert, BertConfig, embeddings_of
from bertie.models.model import Architecture, Use
from bertie.nn.feedforward import Activation
from bertie.ops.attention.attend import Layout
from bertie.ops.dropout.op import Noise


@dataclass(frozen=True)
class AlbertConfig(BertConfig):
    """Describe an ALBERT encoder."""

    num_layers: int = 12
    """Depth: the number of times a block runs, all groups together."""
    activation: Activation = "gelu_tanh"
    """gelu (with erf) or gelu_tanh (as in the original code)."""
    dropout: float = 0.0
    """Rate on embeddings and residual branches."""
    attention_dropout: float = 0.0
    """Rate on attention weights; above 0, GPUs run a slower exact path."""
    classifier_dropout: float | None = 0.1
    """Rate before a task's last layer; the same as `dropout` when None."""
    embedding_size: int = 128
    """Width of the embedding tables, projected to the hidden size."""
    num_groups: int = 1
    """Blocks with weights of their own; `num_layers` is a multiple of their number."""

    FOREIGN: ClassVar[dict[str, str]] = {
        **BertConfig.FOREIGN,
        "classifier_dropout": "classifier_dropout_prob",
        "embedding_size": "embedding_size",
        "num_groups": "num_hidden_groups",
    }
    KIND: ClassVar[str] = "albert"
    SIZES: ClassVar[dict[str, tuple[int, int]]] = {
        "tiny": (2, 128),
        "mini": (4, 256),
        "small": (6, 512),
        "base": (12, 768),
        "large": (24, 1024),
        "xlarge": (24, 2048),
        "xxlarge": (12, 4096),
    }
    ABSENT: ClassVar[dict[str, Any]] = {
        "vocab_size": 30000,
        "hidden_size": 4096,
        "num_attention_heads": 64,
        "intermediate_size": 16384,
        "hidden_act": "gelu_new",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_groups < 1 or self.num_layers % self.num_groups:
            raise SettingsError(
                f"num_layers must be a multiple of num_groups; got {self.num_layers} and {self.num_groups}"
            )

    @classmethod
    def sized(cls, size: str, *, vocab_size: int) -> Self:
        """Return the config of a named size or of "layers/hidden".

        Raises:
            SettingsError: the size is neither.
        """
        shape = super().sized(size, vocab_size=vocab_size)
        return replace(shape, num_heads=16) if size == "xlarge" else shape

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read a Hugging Face `config.json`.

        Raises:
            SettingsError: it asks for something that is not supported here.
        """
        if values.get("inner_group_num", 1) != 1:
            raise SettingsError(f"inner_group_num is {values['inner_group_num']!r}; bertie's albert supports only 1")
        return super().from_foreign(values)

    def to_foreign(self) -> dict[str, Any]:
        """Return the values under Hugging Face's names."""
        return {**super().to_foreign(), "inner_group_num": 1}

    def build(self) -> Albert:
        """Return the encoder; its parameters are not initialised."""
        return Albert(self)


class Albert(Bert):
    """The ALBERT encoder.

    Args:
        config: its shape.
    """

    def __init__(self, config: AlbertConfig) -> None:
        embeddings = embeddings_of(config, embedding_size=config.embedding_size)
        super().__init__(replace(config, num_layers=config.num_groups), embeddings)
        self.config = config
        self.num_rounds = config.num_layers // config.num_groups

    def pool(self, use: Use = "classification") -> nn.Module | None:
        """Return a new pooler, a dense + tanh layer on the first token; ALBERT has no next sentence prediction."""
        return None if use == "next_sentence" else super().pool(use)

    def through(self, block: nn.Module, hidden: Tensor, layout: Layout, noise: Noise | None, relation: Any) -> Tensor:
        """Run a group on (T, H) several times; every round draws its own dropout."""
        for number in range(self.num_rounds):
            hidden = block(hidden, layout, None if noise is None else noise.apart(number))
        return hidden


_LAYER = "albert.encoder.albert_layer_groups.{}.albert_layers.0"
ARCHITECTURE = Architecture(
    config=AlbertConfig,
    model_types=("albert",),
    prefix="albert",
    names=(
        ("encoder.embeddings.word.weight", "albert.embeddings.word_embeddings.weight"),
        ("encoder.embeddings.position.weight", "albert.embeddings.position_embeddings.weight"),
        ("encoder.embeddings.segment.weight", "albert.embeddings.token_type_embeddings.weight"),
        ("encoder.embeddings.norm", "albert.embeddings.LayerNorm"),
        ("encoder.embeddings.project", "albert.encoder.embedding_hidden_mapping_in"),
        ("encoder.blocks.{}.attention.q", f"{_LAYER}.attention.query"),
        ("encoder.blocks.{}.attention.k", f"{_LAYER}.attention.key"),
        ("encoder.blocks.{}.attention.v", f"{_LAYER}.attention.value"),
        ("encoder.blocks.{}.attention.output", f"{_LAYER}.attention.dense"),
        ("encoder.blocks.{}.attention_norm", f"{_LAYER}.attention.LayerNorm"),
        ("encoder.blocks.{}.feedforward.up", f"{_LAYER}.ffn"),
        ("encoder.blocks.{}.feedforward.down", f"{_LAYER}.ffn_output"),
        ("encoder.blocks.{}.feedforward_norm", f"{_LAYER}.full_layer_layer_norm"),
        ("head.pooler.dense", "albert.pooler"),
        ("head.token_logits.dense", "predictions.dense"),
        ("head.token_logits.norm", "predictions.LayerNorm"),
        ("head.token_logits.bias", "predictions.bias"),
        ("head.token_logits.embedding", "predictions.decoder.weight"),
        ("head.next_sentence", "sop_classifier.classifier"),
        ("head.classifier", "classifier"),
        ("head.qa_outputs", "qa_outputs"),
    ),
    tied={
        "predictions.decoder.weight": "albert.embeddings.word_embeddings.weight",
        "predictions.decoder.bias": "predictions.bias",
    },
    redundant=("albert.embeddings.position_ids",),
    classes={"AlbertLMHeadModel": "AlbertForMaskedLM"},
    special_ids={"bos_token_id": "start", "eos_token_id": "separator"},
    # ALBERT's pre-training predicts the order of two sentences, not whether one follows the other.
    tasks={"ForPreTraining": "sentence_order"},
)
