"""The original Transformer (Vaswani et al. 2017): sinusoidal positions, post-norm, ReLU, one tied embedding.

Source, target and output share one matrix; the inputs multiply it by sqrt(H) (3.4). The output has no bias. There is no
attention dropout, as in the text of the paper (5.4).

Shapes: T tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NoReturn, Self

import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.models._padded import TakesPadded
from bertie.models.model import Architecture
from bertie.nn.block import Block
from bertie.nn.decoder import Decoder, DecoderBlock
from bertie.nn.embeddings import EmbeddingTable
from bertie.nn.initialize import initialize
from bertie.nn.logits import Logits
from bertie.nn.positions import sinusoids
from bertie.ops.attention.attend import Layout
from bertie.ops.dropout.op import Dropout, Noise
from bertie.ops.lookup import lookup
from bertie.ops.rounding import pad_rows

# name: (layers on each side, hidden H, heads, intermediate size, dropout)
SIZES = {
    "tiny": (2, 64, 4, 256, 0.1),
    "small": (4, 256, 4, 1024, 0.1),
    "base": (6, 512, 8, 2048, 0.1),
    "big": (6, 1024, 16, 4096, 0.3),
}
# Dropout sites: 0 for the source's embeddings, from 1 on three for each block, from here on the decoder's.
_DECODER_SITE = 2_000_000
_MAX_POSITIONS = 1 << 17  # the sinusoids of more positions would fill gigabytes


@dataclass(frozen=True)
class TransformerConfig:
    """Describe an encoder and its decoder."""

    vocab_size: int
    """Entries of the vocabulary, of source and target together."""
    start_id: int
    """Id of the token that starts every generated text."""
    end_id: int
    """Id of the token that ends it."""
    pad_id: int = 0
    """Id of padding, kept for other programs; bertie does not pad."""
    hidden_size: int = 512
    """Width of the hidden vectors."""
    num_layers: int = 6
    """Blocks of the encoder."""
    num_decoder_layers: int = 6
    """Blocks of the decoder."""
    num_heads: int = 8
    """Attention heads; the hidden size is a multiple of their number."""
    intermediate_size: int = 2048
    """Width inside the feed-forward parts."""
    max_positions: int = 1024
    """Tokens of the longest sequence; no weight depends on this number."""
    dropout: float = 0.1
    """Rate on the sums of embeddings and positions and on residual branches."""
    layer_norm_eps: float = 1e-5
    """Epsilon of every LayerNorm."""

    FOREIGN: ClassVar[dict[str, str]] = {
        "vocab_size": "vocab_size",
        "start_id": "decoder_start_token_id",
        "end_id": "eos_token_id",
        "pad_id": "pad_token_id",
        "hidden_size": "hidden_size",
        "num_layers": "num_hidden_layers",
        "num_decoder_layers": "num_decoder_layers",
        "num_heads": "num_attention_heads",
        "intermediate_size": "intermediate_size",
        "max_positions": "max_position_embeddings",
        "dropout": "hidden_dropout_prob",
        "layer_norm_eps": "layer_norm_eps",
    }

    def __post_init__(self) -> None:
        if self.num_heads < 1 or self.hidden_size % self.num_heads:
            raise SettingsError(
                f"hidden_size must be a multiple of num_heads; got {self.hidden_size} and {self.num_heads}"
            )
        if not 1 <= self.max_positions <= _MAX_POSITIONS:
            raise SettingsError(f"max_positions must be from 1 to {_MAX_POSITIONS}; got {self.max_positions}")
        for name in ("start_id", "end_id", "pad_id"):
            if not 0 <= getattr(self, name) < self.vocab_size:
                raise SettingsError(f"{name} must be an id below {self.vocab_size}; got {getattr(self, name)!r}")

    @property
    def initializer_range(self) -> float:
        """Standard deviation of the first weights, 1/sqrt(H): embeddings times sqrt(H) are then as large as sines."""
        return float(self.hidden_size**-0.5)

    @classmethod
    def sized(cls, size: str, *, vocab_size: int, start_id: int = 2, end_id: int = 3, pad_id: int = 0) -> Self:
        """Return the config of a named size or of "layers on each side/hidden", such as 4/256.

        The default ids are those of [CLS], [SEP] and [PAD] in vocabularies from `train-tokenizer`.

        Raises:
            SettingsError: the size is neither.
        """
        shape = re.fullmatch(r"(\d+)/(\d+)", size)
        if size not in SIZES and shape is None:
            raise SettingsError(f"size must be one of {', '.join(SIZES)} or layers/hidden such as 4/256; got {size!r}")
        hidden = int(shape[2]) if shape else 0
        known = SIZES[size] if shape is None else (int(shape[1]), hidden, max(1, hidden // 64), 4 * hidden, 0.1)
        layers, hidden, heads, intermediate, dropout = known
        return cls(
            vocab_size,
            start_id,
            end_id,
            pad_id,
            hidden_size=hidden,
            num_layers=layers,
            num_decoder_layers=layers,
            num_heads=heads,
            intermediate_size=intermediate,
            dropout=dropout,
        )

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read the config.json of a bertie model folder.

        Raises:
            SettingsError: it lacks the vocabulary size or the id of start or end.
        """
        known = {ours: values[theirs] for ours, theirs in cls.FOREIGN.items() if theirs in values}
        if missing := {"vocab_size", "start_id", "end_id"} - set(known):
            raise SettingsError(f"it lacks {', '.join(cls.FOREIGN[name] for name in sorted(missing))}")
        return cls(**known)

    def to_foreign(self) -> dict[str, Any]:
        """Return the architecture's part of config.json; no other program has a class for it."""
        values = {self.FOREIGN[part.name]: getattr(self, part.name) for part in fields(self)}
        return {**values, "model_type": "transformer", "is_encoder_decoder": True}

    def build(self) -> Transformer:
        """Return the encoder, which can make its decoder; its parameters are not initialised."""
        return Transformer(self)


class ScaledEmbeddings(nn.Module):
    """Word vectors times sqrt(H) plus sinusoids, then dropout (3.4, 3.5).

    Args:
        config: of the model.
        word: the table that source, target and output share.
        site: number of this dropout in the network.
    """

    sinusoids: Tensor

    def __init__(self, config: TransformerConfig, word: nn.Parameter, *, site: int) -> None:
        super().__init__()
        self.word = EmbeddingTable(1, 1)
        self.word.weight = word
        self.dropout = Dropout(config.dropout, site=site)
        self.register_buffer("sinusoids", sinusoids(config.max_positions, config.hidden_size), persistent=False)

    def forward(self, batch: Batch, noise: Noise | None) -> Tensor:
        """Embed a batch: (T, H).

        Raises:
            ValueError: a sequence is longer than the model allows.
        """
        limit, size = self.sinusoids.shape
        if batch.max_length > limit:
            raise ValueError(
                f"a sequence has {batch.max_length} tokens, the model takes at most {limit}; cut the texts or set a "
                "smaller length"
            )
        summed = self.word(batch.tokens) * math.sqrt(size) + lookup(self.sinusoids, batch.positions)
        embedded: Tensor = self.dropout(summed, noise)
        return embedded


class Transformer(TakesPadded):
    """The encoder, which can make its decoder.

    Args:
        config: of encoder and decoder.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        word = nn.Parameter(torch.empty(config.vocab_size, config.hidden_size))
        self.embeddings = ScaledEmbeddings(config, word, site=0)
        self.blocks = nn.ModuleList(
            Block(
                config.hidden_size,
                config.num_heads,
                config.intermediate_size,
                activation="relu",
                dropout=config.dropout,
                attention_dropout=0.0,
                layer_norm_eps=config.layer_norm_eps,
                site=1 + 3 * number,
            )
            for number in range(config.num_layers)
        )

    def forward(
        self, batch: Batch, noise: Noise | None = None, hidden: Tensor | None = None, blocks: slice = slice(None)
    ) -> Tensor:
        """Encode a packed batch to (T, H); arguments as in `Bert.forward`."""
        if self.training and noise is None:
            noise = Noise.draw()
        hidden = pad_rows(self.embeddings(batch, noise) if hidden is None else hidden, step=128)
        layout = Layout.of(batch)
        for block in list(self.blocks)[blocks]:
            hidden = block(hidden, layout, noise)
        return hidden[: batch.num_tokens]

    def initialize(self, seed: int) -> None:
        """Draw the first weights from `seed`."""
        initialize(self, deviation=self.config.initializer_range, generator=torch.Generator().manual_seed(seed))

    def decoder(self) -> Decoder:
        """Return a new decoder, which shares this encoder's word vectors."""
        config = self.config
        blocks = [
            DecoderBlock(
                config.hidden_size,
                config.num_heads,
                config.intermediate_size,
                memory_size=config.hidden_size,
                activation="relu",
                dropout=config.dropout,
                attention_dropout=0.0,
                layer_norm_eps=config.layer_norm_eps,
                site=_DECODER_SITE + 1 + 5 * number,
            )
            for number in range(config.num_decoder_layers)
        ]
        embeddings = ScaledEmbeddings(config, self.embeddings.word.weight, site=_DECODER_SITE)
        logits = TiedLogits(self.embeddings.word.weight)
        return Decoder(embeddings, blocks, logits, max_positions=config.max_positions)

    def pool(self, *_: object) -> NoReturn:
        """Refuse.

        Raises:
            SettingsError: always; this architecture has no head for other tasks than generation.
        """
        raise SettingsError("architecture transformer is for --task generation; it has no head for other tasks")

    token_layers = token_logits = classifier_dropout = pool


class TiedLogits(nn.Module):
    """The word vectors as output matrix.

    Args:
        embedding: (V, H), the model's only table.
    """

    bias: Tensor

    def __init__(self, embedding: nn.Parameter) -> None:
        super().__init__()
        self.embedding = embedding
        self.register_buffer("bias", torch.zeros(embedding.shape[0]), persistent=False)

    def forward(self, hidden: Tensor) -> Logits:
        """Map (T, H) to logits over V."""
        return Logits(hidden, self.embedding, self.bias)


# Second names of the source's word vectors.
_TIED = ("head.decoder.embeddings.word.weight", "head.decoder.token_logits.embedding")
_SIDES = {"encoder.": "transformer.encoder.", "head.decoder.": "transformer.decoder."}


@dataclass(frozen=True, kw_only=True)
class _Naming(Architecture):
    """Parameter names in bertie's folders; transformers has no class for this pair."""

    def to_foreign(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the parameters under the names of bertie's model folders."""
        renamed = {}
        for name, value in state.items():
            side = next((side for side in _SIDES if name.startswith(side)), "")
            if name not in _TIED:
                renamed[_SIDES.get(side, "") + name.removeprefix(side)] = value
        return renamed

    def from_foreign(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Undo `to_foreign`.

        Raises:
            KeyError: a name belongs neither to the encoder nor to the decoder nor to a head.
        """
        renamed = {}
        for name, value in state.items():
            ours = next((ours for ours, theirs in _SIDES.items() if name.startswith(theirs)), None)
            if ours is None and not name.startswith("head."):
                raise KeyError(name)
            renamed[name if ours is None else ours + name.removeprefix(_SIDES[ours])] = value
        return renamed


ARCHITECTURE = _Naming(config=TransformerConfig, model_types=("transformer",), prefix="transformer")
