"""BERT (Devlin et al. 2018): learned positions and segments, post-norm blocks, GELU, tied masked-LM output.

The file also maps parameter names here to those of Hugging Face folders. It depends neither on tasks nor on files.

Shapes: T tokens, B sequences, M chosen tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.models._naming import encoder_rows
from bertie.models._padded import TakesPadded
from bertie.models.model import Architecture, TokenUse, Use
from bertie.nn.block import Block
from bertie.nn.continuation import Continuation
from bertie.nn.embeddings import Embeddings
from bertie.nn.feedforward import Activation, activation_function
from bertie.nn.heads import Pooler, TokenLogits
from bertie.nn.initialize import initialize
from bertie.nn.neighbours import attend_to_neighbours, mark_positions
from bertie.ops.attention.attend import Layout
from bertie.ops.dropout.op import Dropout, Noise
from bertie.ops.rounding import pad_rows

# name: (layers L, hidden H); there are H/64 heads and the intermediate size is 4H, as in all released sizes
SIZES = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
    "large": (24, 1024),
}
# Dropout sites: 0 for the embeddings, from 1 on three for each block, from HEAD_SITE on for the heads.
HEAD_SITE = 1_000_000

_FOREIGN_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
}


@dataclass(frozen=True)
class BertConfig:
    """Describe a BERT encoder."""

    vocab_size: int
    """Entries of the vocabulary."""
    hidden_size: int = 768
    """Width of the hidden vectors."""
    num_layers: int = 12
    """Encoder blocks."""
    num_heads: int = 12
    """Attention heads; the hidden size is a multiple of their number."""
    intermediate_size: int = 3072
    """Width inside the feed-forward parts."""
    max_positions: int = 512
    """Tokens of the longest sequence."""
    num_segments: int = 2
    """Segment ids."""
    activation: Activation = "gelu"
    """gelu (with erf, as in Hugging Face) or gelu_tanh (as in the original code)."""
    dropout: float = 0.1
    """Rate on embeddings and residual branches."""
    attention_dropout: float = 0.1
    """Rate on attention weights; above 0, GPUs run a slower exact path."""
    classifier_dropout: float | None = None
    """Rate before a task's last layer; the same as `dropout` when None."""
    layer_norm_eps: float = 1e-12
    """Epsilon of every LayerNorm."""
    initializer_range: float = 0.02
    """Standard deviation of the first weights."""
    pad_id: int = 0
    """Id of [PAD], kept for other programs; bertie does not pad."""
    tied: bool = True
    """Whether the masked-LM head multiplies by the word embeddings instead of a separate matrix."""

    FOREIGN: ClassVar[dict[str, str]] = {
        "vocab_size": "vocab_size",
        "hidden_size": "hidden_size",
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "intermediate_size": "intermediate_size",
        "max_positions": "max_position_embeddings",
        "num_segments": "type_vocab_size",
        "activation": "hidden_act",
        "dropout": "hidden_dropout_prob",
        "attention_dropout": "attention_probs_dropout_prob",
        "classifier_dropout": "classifier_dropout",
        "layer_norm_eps": "layer_norm_eps",
        "initializer_range": "initializer_range",
        "pad_id": "pad_token_id",
        "tied": "tie_word_embeddings",
    }

    KIND: ClassVar[str] = "bert"
    """model_type of its Hugging Face configs."""
    OBJECTIVE: ClassVar[str] = "masked_lm"
    """Default pre-training task."""
    SIZES: ClassVar[dict[str, tuple[int, int]]] = SIZES
    ABSENT: ClassVar[dict[str, Any]] = {"vocab_size": 30522}
    """Values of absent keys of a Hugging Face config, where they differ from the defaults here."""

    def __post_init__(self) -> None:
        activation_function(self.activation)
        if self.num_heads < 1 or self.hidden_size % self.num_heads:
            raise SettingsError(
                f"hidden_size must be a multiple of num_heads; got {self.hidden_size} and {self.num_heads}"
            )

    @classmethod
    def sized(cls, size: str, *, vocab_size: int) -> Self:
        """Return the config of a named size or of "layers/hidden", such as 4/256.

        Attention dropout is off in these sizes, unlike in the paper: fast GPU kernels don't support it.

        Raises:
            SettingsError: the size is neither.
        """
        shape = re.fullmatch(r"(\d+)/(\d+)", size)
        if size not in cls.SIZES and shape is None:
            names = ", ".join(cls.SIZES)
            raise SettingsError(f"size must be one of {names} or layers/hidden such as 4/256; got {size!r}")
        layers, hidden = cls.SIZES[size] if shape is None else (int(shape[1]), int(shape[2]))
        if layers < 1 or hidden < 1 or (hidden > 64 and hidden % 64):
            raise SettingsError(f"size {size}: layers must be at least 1, hidden below 64 or a multiple of 64")
        return cls(
            vocab_size,
            hidden_size=hidden,
            num_layers=layers,
            num_heads=max(1, hidden // 64),
            intermediate_size=4 * hidden,
            attention_dropout=0.0,
        )

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read a Hugging Face `config.json` of this model_type; absent keys get Hugging Face's defaults.

        Raises:
            SettingsError: the activation or the position scheme is not supported here.
        """
        values = {**cls.ABSENT, **values}
        known = {ours: values[theirs] for ours, theirs in cls.FOREIGN.items() if theirs in values}
        if known.get("pad_id", 0) is None:
            del known["pad_id"]
        scheme = values.get("position_embedding_type", "absolute")
        activation = known.pop("activation", "gelu")
        if activation not in _FOREIGN_ACTIVATIONS or scheme != "absolute":
            raise SettingsError(
                f"config.json asks for {cls.FOREIGN['activation']} {activation!r} and position_embedding_type "
                f"{scheme!r}; bertie's {cls.KIND} supports {', '.join(_FOREIGN_ACTIVATIONS)} and absolute positions"
            )
        return cls(activation=_FOREIGN_ACTIVATIONS[activation], **known)

    def to_foreign(self) -> dict[str, Any]:
        """Return the values under Hugging Face's names."""
        values = {theirs: getattr(self, ours) for ours, theirs in self.FOREIGN.items()}
        names = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}
        return {**values, self.FOREIGN["activation"]: names[self.activation], "model_type": self.KIND}

    def build(self) -> Bert:
        """Return the encoder; its parameters are not initialised."""
        return Bert(self)


def output_matrix(words: nn.Parameter, config: BertConfig) -> nn.Parameter:
    """Return the output matrix of a masked-LM head, (V, H): the word embeddings, or a new matrix if not tied."""
    return words if config.tied else nn.Parameter(torch.empty_like(words))


def embeddings_of(config: BertConfig, **differences: Any) -> Embeddings:
    """Return the embeddings of a config; `differences` are arguments in which an architecture differs from BERT."""
    return Embeddings(
        config.vocab_size,
        config.hidden_size,
        max_positions=config.max_positions,
        num_segments=config.num_segments,
        layer_norm_eps=config.layer_norm_eps,
        dropout=config.dropout,
        site=0,
        **differences,
    )


class Bert(TakesPadded):
    """The BERT encoder.

    Args:
        config: its shape.
        embeddings: those of an architecture with other embeddings; BERT's own when None.
    """

    TOKEN_ACTIVATION: ClassVar[Activation | None] = None
    """Activation of the masked-LM head; that of the blocks when None."""
    owns_tables: bool = True
    """Whether the embedding tables belong to this encoder; False if it shares another encoder's."""
    BLOCK: ClassVar[type[Block]] = Block
    """Class of the blocks."""

    def __init__(self, config: BertConfig, embeddings: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.embeddings = embeddings or embeddings_of(config)
        self.blocks = nn.ModuleList(
            self.BLOCK(
                config.hidden_size,
                config.num_heads,
                config.intermediate_size,
                activation=config.activation,
                dropout=config.dropout,
                attention_dropout=config.attention_dropout,
                layer_norm_eps=config.layer_norm_eps,
                site=1 + 3 * number,
            )
            for number in range(config.num_layers)
        )

    def forward(
        self, batch: Batch, noise: Noise | None = None, hidden: Tensor | None = None, blocks: slice = slice(None)
    ) -> Tensor:
        """Encode a packed batch.

        Args:
            batch: T tokens.
            noise: key of the dropout draws; drawn from torch's generator when None in training mode.
            hidden: (T, H), input of the first of `blocks`; the embeddings when None.
            blocks: the blocks to run.

        Returns:
            (T, H).
        """
        if self.training and noise is None:
            noise = Noise.draw()
        hidden = pad_rows(self.embeddings(batch, noise) if hidden is None else hidden, step=128)
        layout, relation = Layout.of(batch), self.relation(batch)
        for block in list(self.blocks)[blocks]:
            hidden = self.through(block, hidden, layout, noise, relation)
        return hidden[: batch.num_tokens]

    def relation(self, batch: Batch) -> Any:
        """Return what the blocks of a pass share about relative positions; None for learned positions alone."""
        return None

    def through(self, block: nn.Module, hidden: Tensor, layout: Layout, noise: Noise | None, relation: Any) -> Tensor:
        """Run one of `blocks` on (T, H)."""
        output: Tensor = block(hidden, layout, noise, *(() if relation is None else (relation,)))
        return output

    def initialize(self, seed: int) -> None:
        """Draw the first weights from `seed`."""
        initialize(self, deviation=self.config.initializer_range, generator=torch.Generator().manual_seed(seed))

    def start_at_neighbours(self, offsets: Sequence[int], generator: torch.Generator) -> None:
        """Make heads of the lowest blocks attend to neighbours. The word vectors must already be set.

        Args:
            offsets: for each head of a block, how many positions to the right it attends; 0 for a random head.
            generator: source of the draws.
        """
        embeddings: Any = self.embeddings
        attentions: Any = [block.attention for block in self.blocks]
        if self.owns_tables:
            mark_positions(embeddings, deviation=self.config.initializer_range)
        attend_to_neighbours(embeddings, attentions, offsets, generator)

    def pool(self, use: Use = "classification") -> nn.Module | None:
        """Return a new pooler, a dense + tanh layer on the first token, the same for every use."""
        return Pooler(self.config.hidden_size)

    def token_layers(self, use: TokenUse) -> Dropout:
        """Return the dropout before a task's layer on every token; answers have no dropout."""
        return self.classifier_dropout() if use == "tags" else Dropout(0.0, site=HEAD_SITE)

    def token_logits(self) -> nn.Module:
        """Return a new masked-LM head, tied to this encoder's word embeddings if the config says so."""
        config = self.config
        return TokenLogits(
            config.hidden_size,
            output_matrix(self.word_embeddings(), config),
            activation=self.TOKEN_ACTIVATION or config.activation,
            layer_norm_eps=config.layer_norm_eps,
        )

    def word_embeddings(self) -> nn.Parameter:
        """Return the table of word vectors, (V, H)."""
        table: nn.Parameter = self.embeddings.word.weight  # type: ignore[assignment, union-attr]
        return table

    def continuation(self, token_logits: nn.Module) -> Continuation:
        """Return a `Continuation` that generates text with this encoder's blocks.

        Args:
            token_logits: a head that has learned to predict the next token.

        Raises:
            SettingsError: the architecture is not BERT's, so its forward pass may differ.
        """
        if self.config.KIND != "bert":
            raise SettingsError(f"{type(self).__name__} can't continue texts; use architecture bert or causal")
        return Continuation(self.embeddings, self.blocks, token_logits, self.config.max_positions)

    def classifier_dropout(self) -> Dropout:
        """Return the dropout before a task's last layer."""
        rate = self.config.dropout if self.config.classifier_dropout is None else self.config.classifier_dropout
        return Dropout(rate, site=HEAD_SITE)


ARCHITECTURE = Architecture(
    config=BertConfig,
    model_types=("bert",),
    prefix="bert",
    names=(
        *encoder_rows("bert"),
        ("head.pooler.dense", "bert.pooler.dense"),
        ("head.token_logits.dense", "cls.predictions.transform.dense"),
        ("head.token_logits.norm", "cls.predictions.transform.LayerNorm"),
        ("head.token_logits.bias", "cls.predictions.bias"),
        ("head.token_logits.embedding", "cls.predictions.decoder.weight"),
        ("head.next_sentence", "cls.seq_relationship"),
        ("head.classifier", "classifier"),
        ("head.qa_outputs", "qa_outputs"),
    ),
    tied={
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    },
    redundant=("bert.embeddings.position_ids",),
)
