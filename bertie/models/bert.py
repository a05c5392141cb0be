"""BERT (Devlin et al. 2018): learned positions and segments, post-norm blocks, GELU, tied masked-LM output.

Also the table between its parameter names here and in Hugging Face folders. It knows nothing of tasks or files.

Shapes: T tokens, B sequences, M slots, H hidden, V vocabulary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.nn.attention import Layout
from bertie.nn.block import Block
from bertie.nn.dropout import Dropout, Noise
from bertie.nn.embeddings import Embeddings
from bertie.nn.feedforward import Activation, activation_function
from bertie.nn.initialize import initialize
from bertie.nn.projection import Logits
from bertie.nn.rounding import pad_rows

# name: (layers L, hidden H); heads are H/64 and the intermediate size 4H, as in all released sizes
SIZES = {
    "tiny": (2, 128),
    "mini": (4, 256),
    "small": (4, 512),
    "medium": (8, 512),
    "base": (12, 768),
    "large": (24, 1024),
}
# Dropout sites: 0 embeddings, 1.. three a block, and these for the heads.
_HEAD_SITE = 1_000_000

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
    """Attention heads; the hidden size is a multiple of it."""
    intermediate_size: int = 3072
    """Width inside the feed-forward layers."""
    max_positions: int = 512
    """Tokens of the longest sequence."""
    num_segments: int = 2
    """Segment ids."""
    activation: Activation = "gelu"
    """gelu (erf, as Hugging Face) or gelu_tanh (as the original code)."""
    dropout: float = 0.1
    """Rate on embeddings and residual branches."""
    attention_dropout: float = 0.1
    """Rate on attention weights; above 0 a slower exact path runs on GPUs."""
    classifier_dropout: float | None = None
    """Rate before a task's head; the same as `dropout` when None."""
    layer_norm_eps: float = 1e-12
    """Epsilon of every LayerNorm."""
    initializer_range: float = 0.02
    """Standard deviation of the first weights."""
    pad_id: int = 0
    """Id of [PAD], kept for other programs; nothing here pads."""

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
    }

    def __post_init__(self) -> None:
        activation_function(self.activation)
        if self.num_heads < 1 or self.hidden_size % self.num_heads:
            raise SettingsError(
                f"hidden_size must be a multiple of num_heads; got {self.hidden_size} and {self.num_heads}"
            )

    @classmethod
    def sized(cls, size: str, *, vocab_size: int) -> Self:
        """Return a named size or "L/H" (layers/hidden, such as 4/256).

        Attention dropout is off in our own sizes, a deviation from the paper: fast kernels on GPUs have none.

        Raises:
            SettingsError: a size that is neither.
        """
        shape = re.fullmatch(r"(\d+)/(\d+)", size)
        if size not in SIZES and shape is None:
            raise SettingsError(f"size must be one of {', '.join(SIZES)} or layers/hidden such as 4/256; got {size!r}")
        layers, hidden = SIZES[size] if shape is None else (int(shape[1]), int(shape[2]))
        if layers < 1 or hidden < 1 or (hidden > 64 and hidden % 64):
            raise SettingsError(f"size {size}: layers must be at least 1 and hidden a multiple of 64")
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
        """Read a Hugging Face `config.json` of model_type bert; absent keys take Hugging Face's defaults.

        Raises:
            SettingsError: an activation or position scheme that this file doesn't have.
        """
        given = {ours: values[theirs] for ours, theirs in cls.FOREIGN.items() if theirs in values}
        if given.get("pad_id", 0) is None:
            del given["pad_id"]
        given.setdefault("vocab_size", 30522)
        scheme = values.get("position_embedding_type", "absolute")
        activation = given.pop("activation", "gelu")
        if activation not in _FOREIGN_ACTIVATIONS or scheme != "absolute":
            raise SettingsError(
                f"config.json asks for hidden_act {activation!r} and position_embedding_type {scheme!r}; "
                f"bert here has {', '.join(_FOREIGN_ACTIVATIONS)} and absolute positions"
            )
        return cls(activation=_FOREIGN_ACTIVATIONS[activation], **given)

    def to_foreign(self) -> dict[str, Any]:
        """Write the values as Hugging Face names them."""
        values = {self.FOREIGN[part.name]: getattr(self, part.name) for part in fields(self)}
        names = {"gelu": "gelu", "gelu_tanh": "gelu_new", "relu": "relu"}
        return {**values, "hidden_act": names[self.activation], "model_type": "bert"}

    def build(self) -> Bert:
        """Make the encoder; its parameters are not yet initialised."""
        return Bert(self)


class Bert(nn.Module):
    """The encoder.

    Args:
        config: its shape.
    """

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(
            config.vocab_size,
            config.hidden_size,
            max_positions=config.max_positions,
            num_segments=config.num_segments,
            layer_norm_eps=config.layer_norm_eps,
            dropout=config.dropout,
            site=0,
        )
        self.blocks = nn.ModuleList(
            Block(
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
            hidden: (T, H), what stands before the first of `blocks`; the embeddings when None.
            blocks: the ones to go through.

        Returns:
            (T, H).
        """
        if self.training and noise is None:
            noise = Noise.draw()
        hidden = pad_rows(self.embeddings(batch, noise) if hidden is None else hidden, step=128)
        layout = Layout.of(batch)
        for block in list(self.blocks)[blocks]:
            hidden = block(hidden, layout, noise)
        return hidden[: batch.num_tokens]

    def initialize(self, seed: int) -> None:
        """Draw first weights from `seed`."""
        initialize(self, deviation=self.config.initializer_range, generator=torch.Generator().manual_seed(seed))

    def pool(self) -> Pooler:
        """Make a dense + tanh layer on the first token (BERT's pooler)."""
        return Pooler(self.config.hidden_size)

    def token_logits(self) -> TokenLogits:
        """Make the masked-LM head, tied to this encoder's word embeddings."""
        return TokenLogits(self.config, self.embeddings.word.weight)

    def classifier_dropout(self) -> Dropout:
        """Make the dropout in front of a task's head."""
        rate = self.config.dropout if self.config.classifier_dropout is None else self.config.classifier_dropout
        return Dropout(rate, site=_HEAD_SITE)


class Pooler(nn.Module):
    """tanh(W h + b) of each sequence's first token.

    Args:
        hidden_size: H.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.dense = nn.Linear(hidden_size, hidden_size)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """Map (T, H) to (B, H)."""
        return torch.tanh(self.dense(hidden[batch.starts]))


class TokenLogits(nn.Module):
    """Dense, activation, LayerNorm, then the word embeddings as output matrix with a bias of their own.

    Args:
        config: of the encoder.
        embedding: (V, H), the encoder's own parameter; tied, so it appears in both.
    """

    def __init__(self, config: BertConfig, embedding: nn.Parameter) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.activation = activation_function(config.activation)
        self.embedding = embedding
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden: Tensor) -> Logits:
        """Map (M, H) to logits over V."""
        count = hidden.shape[0]
        transformed = self.norm(self.activation(self.dense(pad_rows(hidden, step=64))))[:count]
        return Logits(transformed, self.embedding, self.bias)


# (pattern of a parameter's name here, its name in Hugging Face folders); {} stands for a layer's number.
# The three parts of a fused product are spelled q, k, v.
NAMES = (
    ("encoder.embeddings.word.weight", "bert.embeddings.word_embeddings.weight"),
    ("encoder.embeddings.position.weight", "bert.embeddings.position_embeddings.weight"),
    ("encoder.embeddings.segment.weight", "bert.embeddings.token_type_embeddings.weight"),
    ("encoder.embeddings.norm", "bert.embeddings.LayerNorm"),
    ("encoder.blocks.{}.attention.q", "bert.encoder.layer.{}.attention.self.query"),
    ("encoder.blocks.{}.attention.k", "bert.encoder.layer.{}.attention.self.key"),
    ("encoder.blocks.{}.attention.v", "bert.encoder.layer.{}.attention.self.value"),
    ("encoder.blocks.{}.attention.output", "bert.encoder.layer.{}.attention.output.dense"),
    ("encoder.blocks.{}.attention_norm", "bert.encoder.layer.{}.attention.output.LayerNorm"),
    ("encoder.blocks.{}.feedforward.up", "bert.encoder.layer.{}.intermediate.dense"),
    ("encoder.blocks.{}.feedforward.down", "bert.encoder.layer.{}.output.dense"),
    ("encoder.blocks.{}.feedforward_norm", "bert.encoder.layer.{}.output.LayerNorm"),
    ("head.pooler.dense", "bert.pooler.dense"),
    ("head.token_logits.dense", "cls.predictions.transform.dense"),
    ("head.token_logits.norm", "cls.predictions.transform.LayerNorm"),
    ("head.token_logits.bias", "cls.predictions.bias"),
    ("head.next_sentence", "cls.seq_relationship"),
    ("head.classifier", "classifier"),
    ("head.qa_outputs", "qa_outputs"),
)
# Names that old files hold beside these and that say nothing new, and second names of tied tensors.
REDUNDANT = ("bert.embeddings.position_ids",)
TIED = {
    "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
    "cls.predictions.decoder.bias": "cls.predictions.bias",
}
_PARTS = ("q", "k", "v")


def to_foreign(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a network's parameters as Hugging Face has them: the fused product is cut in three, tied ones go.

    Raises:
        KeyError: a parameter that the table doesn't know.
    """
    renamed: dict[str, Tensor] = {}
    for name, value in state.items():
        if name.endswith("token_logits.embedding"):
            continue
        if ".attention.qkv." in name:
            for part, piece in zip(_PARTS, value.chunk(3), strict=True):
                renamed[_rename(name.replace(".qkv.", f".{part}."), NAMES)] = piece
        else:
            renamed[_rename(name, NAMES)] = value
    return renamed


def from_foreign(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `to_foreign`.

    Raises:
        KeyError: a name that the table doesn't know, or a part of a fused product without the others.
    """
    backwards = tuple((theirs, ours) for ours, theirs in NAMES)
    renamed = {_rename(name, backwards): value for name, value in state.items()}
    for name in [name for name in renamed if ".attention.q." in name]:
        pieces = [renamed.pop(name.replace(".attention.q.", f".attention.{part}.")) for part in _PARTS]
        renamed[name.replace(".attention.q.", ".attention.qkv.")] = torch.cat(pieces)
    return renamed


def _rename(name: str, table: tuple[tuple[str, str], ...]) -> str:
    for before, after in table:
        pattern = re.escape(before).replace(r"\{\}", r"(?P<layer>\d+)")
        if match := re.fullmatch(rf"{pattern}(?P<suffix>\.weight|\.bias|)", name):
            found = match.groupdict()
            return after.format(found.get("layer")) + found["suffix"]
    if name.startswith("head."):
        return name  # of a third party's head, which no other program knows
    raise KeyError(name)


CONFIG = BertConfig
MODEL_TYPE = "bert"
PREFIX = "bert"
