"""Sequence to sequence: any encoder here with a BERT decoder on top (bert2bert; Rothe et al. 2020).

The decoder starts with the weights of a BERT encoder, and only its attention to the source is new. Encoder and decoder
may also share their weights. The config holds the ids of start, end and padding. On disk this is an EncoderDecoderModel
of transformers. `nn/decoder.py` has the decoder and `nn/search.py` the search.

Shapes: T tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor, nn

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.models._seq2seq_names import PairNames
from bertie.models.bert import BertConfig, output_matrix
from bertie.models.model import Config, TokenUse, Use, architecture
from bertie.nn.decoder import Decoder, DecoderBlock
from bertie.nn.embeddings import Embeddings
from bertie.nn.heads import TokenLogits
from bertie.ops.dropout.op import Noise

# First dropout site of the decoder: the encoder's start at 0, a head's at 1,000,000. A decoder block has five.
_DECODER_SITE = 2_000_000


@dataclass(frozen=True)
class EncoderDecoderConfig:
    """Describe an encoder and its decoder."""

    encoder: Config
    """Shape of the encoder."""
    decoder: BertConfig
    """Shape of the decoder."""
    start_id: int
    """Id of the token that starts every generated text."""
    end_id: int
    """Id of the token that ends it."""
    pad_id: int = 0
    """Id of padding, kept for other programs; bertie does not pad."""
    encoder_kind: str = "bert"
    """Architecture of the encoder, the name of its file in models/."""
    shared: bool = False
    """Whether the decoder shares embeddings and blocks with the encoder, except attention to the source."""

    def __post_init__(self) -> None:
        for name in ("start_id", "end_id", "pad_id"):
            value = getattr(self, name)
            if not 0 <= value < self.decoder.vocab_size:
                raise SettingsError(f"{name} must be an id below {self.decoder.vocab_size}; got {value!r}")
        if self.shared and self.encoder != self.decoder:
            raise SettingsError("shared needs an encoder and a decoder of one shape")

    @classmethod
    def over(cls, encoder: BertConfig, *, start_id: int, end_id: int, pad_id: int = 0, shared: bool = False) -> Self:
        """Return the config of an encoder with a decoder of its shape, or of the BERT nearest to its shape.

        Raises:
            SettingsError: `shared`, and the encoder is not a BERT.
        """
        kind = encoder.KIND
        return cls(encoder, _nearest_bert(encoder), start_id, end_id, pad_id, encoder_kind=kind, shared=shared)

    @property
    def vocab_size(self) -> int:
        """V, the same for encoder and decoder, which share one tokenizer."""
        return self.encoder.vocab_size

    @property
    def max_positions(self) -> int:
        """Tokens of the longest source, and of the longest target."""
        return min(self.encoder.max_positions, self.decoder.max_positions)

    @property
    def num_layers(self) -> int:
        """Blocks of the encoder."""
        layers: int = self._source.num_layers
        return layers

    @property
    def num_decoder_layers(self) -> int:
        """Blocks of the decoder."""
        return self.decoder.num_layers

    @property
    def hidden_size(self) -> int:
        """H of the encoder."""
        size: int = self._source.hidden_size
        return size

    @property
    def num_segments(self) -> int:
        """Segment ids of the encoder."""
        segments: int = self._source.num_segments
        return segments

    @property
    def initializer_range(self) -> float:
        """Standard deviation of the first weights."""
        return self.decoder.initializer_range

    @property
    def _source(self) -> Any:
        return self.encoder

    @classmethod
    def sized(cls, size: str, *, vocab_size: int) -> Self:
        """Refuse: there are no named sizes, as the encoder decides the shape.

        Raises:
            SettingsError: always.
        """
        raise SettingsError(
            f"seq2seq has no sizes; got {size!r}. --task generation adds a decoder to a bert, pre-trained or not"
        )

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read the config.json of an EncoderDecoderModel. Its keys `encoder` and `decoder` must have been checked.

        Raises:
            SettingsError: the decoder is not a BERT, or an id of start, end or padding is missing.
        """
        source, target = values["encoder"], values["decoder"]
        kind = source.get("model_type", "bert")
        if target.get("model_type", "bert") != "bert":
            raise SettingsError(
                f"the decoder has model_type {target['model_type']}; bertie's seq2seq supports only bert decoders"
            )
        ids = {}
        for ours, theirs in _IDS.items():
            present = [part[theirs] for part in (values, target) if part.get(theirs) is not None]
            if not present:
                raise SettingsError(f"config.json lacks {theirs}, which generation needs")
            ids[ours] = present[0]
        encoder = architecture(kind).config.from_foreign(source)
        shared = bool(values.get("tie_encoder_decoder"))
        return cls(encoder, BertConfig.from_foreign(target), encoder_kind=kind, shared=shared, **ids)

    def to_foreign(self) -> dict[str, Any]:
        """Return the values under Hugging Face's names."""
        ids = {theirs: getattr(self, ours) for ours, theirs in _IDS.items()}
        target = {**self.decoder.to_foreign(), "is_decoder": True, "add_cross_attention": True}
        return {
            "model_type": MODEL_TYPE,
            "is_encoder_decoder": True,
            "encoder": self.encoder.to_foreign(),
            "decoder": target,
            "tie_encoder_decoder": self.shared,
            **ids,
        }

    def build(self) -> EncoderDecoder:
        """Return the encoder, which can make its decoder; its parameters are not initialised."""
        return EncoderDecoder(self)


def _nearest_bert(encoder: BertConfig) -> BertConfig:
    """Return the config of a BERT unchanged; for others, that of a BERT of the same width and depth.

    The latter's feed-forward width is 4 H, as in BERT.
    """
    if type(encoder) is BertConfig:
        return encoder
    shared = ("vocab_size", "hidden_size", "num_layers", "num_heads", "activation", "initializer_range", "pad_id")
    return BertConfig(
        **{name: getattr(encoder, name) for name in shared},
        intermediate_size=4 * encoder.hidden_size,
        max_positions=min(encoder.max_positions, BertConfig.max_positions),
        dropout=encoder.dropout,
        attention_dropout=0.0,
    )


MODEL_TYPE = "encoder-decoder"
_IDS = {"start_id": "decoder_start_token_id", "end_id": "eos_token_id", "pad_id": "pad_token_id"}


class EncoderDecoder(nn.Module):
    """An encoder that can make its decoder.

    Its parts have the same names as in the encoder alone, so freezing and layer decay find them.

    Args:
        config: of encoder and decoder.
    """

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__()
        self.config = config
        source: Any = config.encoder.build()
        for name, part in source.named_children():
            self.add_module(name, part)
        self._source = [source]  # a list hides the module, so its parts don't get second names

    def train(self, mode: bool = True) -> Self:
        """Set training mode, also of the hidden encoder."""
        self._source[0].train(mode)
        return super().train(mode)

    def forward(
        self, batch: Batch, noise: Noise | None = None, hidden: Tensor | None = None, blocks: slice = slice(None)
    ) -> Tensor:
        """Encode the source to (T, H) with the encoder."""
        encoded: Tensor = self._source[0](batch, noise, hidden, blocks)
        return encoded

    def initialize(self, seed: int) -> None:
        """Draw the first weights from `seed`."""
        self._source[0].initialize(seed)

    def pool(self, use: Use = "classification") -> nn.Module | None:
        """Return a new pooler of the encoder."""
        pooler: nn.Module | None = self._source[0].pool(use)
        return pooler

    def token_layers(self, use: TokenUse) -> nn.Module:
        """Return the encoder's layers that run on every token before a task's last layer."""
        stem: nn.Module = self._source[0].token_layers(use)
        return stem

    def token_logits(self) -> nn.Module:
        """Return a new masked-LM head of the encoder."""
        logits: nn.Module = self._source[0].token_logits()
        return logits

    def classifier_dropout(self) -> nn.Module:
        """Return the encoder's dropout before a task's last layer."""
        dropout: nn.Module = self._source[0].classifier_dropout()
        return dropout

    def decoder(self) -> Decoder:
        """Return a new decoder for this encoder."""
        config = self.config.decoder
        embeddings = Embeddings(
            config.vocab_size,
            config.hidden_size,
            max_positions=config.max_positions,
            num_segments=config.num_segments,
            layer_norm_eps=config.layer_norm_eps,
            dropout=config.dropout,
            site=_DECODER_SITE,
        )
        blocks = [
            DecoderBlock(
                config.hidden_size,
                config.num_heads,
                config.intermediate_size,
                memory_size=self.config.hidden_size,
                activation=config.activation,
                dropout=config.dropout,
                attention_dropout=config.attention_dropout,
                layer_norm_eps=config.layer_norm_eps,
                site=_DECODER_SITE + 1 + 5 * number,
            )
            for number in range(config.num_layers)
        ]
        if self.config.shared:
            _share(self._source[0].embeddings, embeddings)
            for source, block in zip(self._source[0].blocks, blocks, strict=True):
                _share(source, block)
        logits = TokenLogits(
            config.hidden_size,
            output_matrix(embeddings.word.weight, config),
            activation=config.activation,
            layer_norm_eps=config.layer_norm_eps,
        )
        return Decoder(embeddings, blocks, logits, max_positions=config.max_positions)


def _share(source: nn.Module, target: nn.Module) -> None:
    """Replace parameters of `target` by those of `source` with the same name."""
    for name, parameter in source.named_parameters():
        owner, _, attribute = name.rpartition(".")
        setattr(target.get_submodule(owner), attribute, parameter)


def start_decoder(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy an encoder's weights and its masked-LM head into a decoder.

    Args:
        state: weights of an encoder with any head, under the names used here.

    Returns:
        The state with weights of the decoder, except its attention to the source, which must be drawn.
    """
    started = {name: value for name, value in state.items() if not name.startswith("head.token_logits.")}
    for name, value in state.items():
        side, _, rest = name.partition(".")
        if side == "encoder" or rest.startswith("token_logits."):
            started[f"head.decoder.{rest}"] = value.clone()
    return started


ARCHITECTURE = PairNames(config=EncoderDecoderConfig, model_types=(MODEL_TYPE,), prefix="")
