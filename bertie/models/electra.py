"""ELECTRA's encoder (Clark et al. 2020): BERT without a pooler, and with embeddings that may be narrower than H.

Its pre-training has a discriminator and a generator, both with this encoder; the generator is a masked language model.

Shapes: T tokens, B sequences, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from torch import nn
from torch.nn.functional import gelu

from bertie.errors import SettingsError
from bertie.models._naming import DEEP_CLASSIFIER, encoder_rows
from bertie.models.bert import HEAD_SITE, SIZES, Bert, BertConfig, embeddings_of
from bertie.models.model import Architecture, Use
from bertie.nn.feedforward import Activation
from bertie.nn.heads import ClassifierPooler, Discriminator, Pooler
from bertie.ops.dropout.op import Dropout


@dataclass(frozen=True)
class ElectraConfig(BertConfig):
    """Describe an ELECTRA encoder."""

    embedding_size: int = 768
    """Width of the embedding tables; if it differs from the hidden size, a projection follows."""

    FOREIGN: ClassVar[dict[str, str]] = {**BertConfig.FOREIGN, "embedding_size": "embedding_size"}
    KIND: ClassVar[str] = "electra"
    OBJECTIVE: ClassVar[str] = "replaced_token"
    SIZES: ClassVar[dict[str, tuple[int, int]]] = {**SIZES, "small": (12, 256)}
    ABSENT: ClassVar[dict[str, Any]] = {
        "vocab_size": 30522,
        "embedding_size": 128,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "intermediate_size": 1024,
    }

    @classmethod
    def sized(cls, size: str, *, vocab_size: int) -> Self:
        """Return the config of a named size or of "layers/hidden"; embeddings have width H, but 128 in the small size.

        Raises:
            SettingsError: the size is neither.
        """
        shape = super().sized(size, vocab_size=vocab_size)
        return replace(shape, embedding_size=128 if size == "small" else shape.hidden_size)

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read a Hugging Face `config.json`.

        Raises:
            SettingsError: it asks for something that is not supported here.
        """
        wanted = {"summary_type": "first", "summary_use_proj": True, "summary_activation": "gelu"}
        for name, value in wanted.items():
            if values.get(name, value) != value:
                raise SettingsError(f"{name} is {values[name]!r}; bertie's electra supports only {value!r}")
        return super().from_foreign(values)

    def build(self) -> Electra:
        """Return the encoder; its parameters are not initialised."""
        return Electra(self)


class Electra(Bert):
    """The ELECTRA encoder.

    Args:
        config: its shape.
    """

    TOKEN_ACTIVATION: ClassVar[Activation | None] = "gelu"

    def __init__(self, config: ElectraConfig) -> None:
        narrow = config.embedding_size != config.hidden_size
        embeddings = embeddings_of(config, embedding_size=config.embedding_size if narrow else None)
        super().__init__(config, embeddings)
        self.config: ElectraConfig = config

    def pool(self, use: Use = "classification") -> nn.Module | None:
        """Return a new dense + GELU layer on the first token; None for features and pre-training.

        A classifier's has dropout before it.
        """
        if use in ("features", "next_sentence", "sentence_order"):
            return None
        if use == "choice":
            return Pooler(self.config.hidden_size, gelu)
        dropout = Dropout(self.classifier_dropout().rate, site=HEAD_SITE + 1)
        return ClassifierPooler(self.config.hidden_size, gelu, dropout)

    def discriminator(self) -> Discriminator:
        """Return new layers that detect replaced tokens."""
        return Discriminator(self.config.hidden_size, self.config.activation)

    def generator(self, share: float) -> Electra:
        """Return a narrower encoder with the same number of blocks, which shares this encoder's embeddings.

        It shares the tables and their LayerNorm, as in the original code. Its other parameters are not initialised.

        Args:
            share: of this encoder's hidden size, heads and feed-forward width.
        """
        config = self.config
        heads = max(1, round(share * config.num_heads))
        shape = replace(
            config,
            tied=True,
            hidden_size=heads * max(1, round(share * config.hidden_size / heads)),
            num_heads=heads,
            intermediate_size=max(1, round(share * config.intermediate_size)),
        )
        narrow = Electra(shape)
        narrow.owns_tables = False
        for part in ("word", "position", "segment", "norm"):
            setattr(narrow.embeddings, part, getattr(self.embeddings, part))
        return narrow


ARCHITECTURE = Architecture(
    config=ElectraConfig,
    model_types=("electra",),
    prefix="electra",
    names=(
        DEEP_CLASSIFIER,
        *encoder_rows("electra"),
        ("encoder.embeddings.project", "electra.embeddings_project"),
        ("head.pooler.transform", "classifier.dense"),
        ("head.pooler.dense", "sequence_summary.summary"),
        ("head.token_logits.dense", "generator_predictions.dense"),
        ("head.token_logits.norm", "generator_predictions.LayerNorm"),
        ("head.token_logits.bias", "generator_lm_head.bias"),
        ("head.token_logits.embedding", "generator_lm_head.weight"),
        ("head.classifier", "classifier"),
        ("head.qa_outputs", "qa_outputs"),
        ("head.discriminator.dense", "discriminator_predictions.dense"),
        ("head.discriminator.output", "discriminator_predictions.dense_prediction"),
    ),
    tied={"generator_lm_head.weight": "electra.embeddings.word_embeddings.weight"},
    redundant=("electra.embeddings.position_ids",),
    classes={"ElectraLMHeadModel": "ElectraForCausalLM"},
    # Released folders hold the discriminator; the generator is a masked LM in a separate folder.
    tasks={"ForPreTraining": "replaced_token"},
)
