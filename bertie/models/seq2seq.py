"""Sequence to sequence: any encoder here under a decoder of BERT's kind (bert2bert; Rothe et al. 2020).

A decoder begins with the weights of a BERT encoder; only its attention to the source is new. It may also share them, so
that both halves learn as one. Start, end and padding are ids of the config, set once. On disk this is an
EncoderDecoderModel of transformers. The decoder itself is `nn/decoder.py`; searching is `nn/search.py`.

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
from bertie.nn.dropout import Noise
from bertie.nn.embeddings import Embeddings
from bertie.nn.heads import TokenLogits

# Dropout sites: the encoder's begin at 0, a head's at 1,000,000; five a decoder block.
_DECODER_SITE = 2_000_000


@dataclass(frozen=True)
class EncoderDecoderConfig:
    """Describe an encoder and the decoder over it."""

    encoder: Config
    """Shape of the encoder."""
    decoder: BertConfig
    """Shape of the decoder."""
    start_id: int
    """What the decoder reads first."""
    end_id: int
    """What it writes last."""
    pad_id: int = 0
    """Kept for other programs; nothing here pads."""
    encoder_kind: str = "bert"
    """The file of models/ that `encoder` is of."""
    shared: bool = False
    """Whether the decoder's embeddings and blocks are the encoder's own, attention to the source excepted."""

    def __post_init__(self) -> None:
        for name in ("start_id", "end_id", "pad_id"):
            value = getattr(self, name)
            if not 0 <= value < self.decoder.vocab_size:
                raise SettingsError(f"{name} must be an id below {self.decoder.vocab_size}; got {value!r}")
        if self.shared and self.encoder != self.decoder:
            raise SettingsError("shared needs an encoder and a decoder of one shape")

    @classmethod
    def over(cls, encoder: BertConfig, *, start_id: int, end_id: int, pad_id: int = 0, shared: bool = False) -> Self:
        """Put a decoder of the encoder's own shape over it, or of BERT's nearest to it.

        Raises:
            SettingsError: `shared` with an encoder of another architecture than BERT.
        """
        kind = encoder.KIND
        return cls(encoder, _nearest_bert(encoder), start_id, end_id, pad_id, encoder_kind=kind, shared=shared)

    @property
    def vocab_size(self) -> int:
        """V, the same on both sides, as they share one tokenizer."""
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
        """Refuse: a pair is made from an encoder.

        Raises:
            SettingsError: always.
        """
        raise SettingsError(
            f"seq2seq has no size {size!r} of its own: --task generation puts a decoder over a bert, pre-trained or not"
        )

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read the config.json of an EncoderDecoderModel; both halves are trusted to be checked already.

        Raises:
            SettingsError: a decoder that is no BERT, or halves that don't say where a text begins and ends.
        """
        source, target = values["encoder"], values["decoder"]
        kind = source.get("model_type", "bert")
        if target.get("model_type", "bert") != "bert":
            raise SettingsError(
                f"the decoder is a {target['model_type']}; seq2seq here has decoders of BERT's kind only"
            )
        ids = {}
        for ours, theirs in _IDS.items():
            given = [part[theirs] for part in (values, target) if part.get(theirs) is not None]
            if not given:
                raise SettingsError(f"config.json doesn't say {theirs}, without which nothing can be generated")
            ids[ours] = given[0]
        encoder = architecture(kind).config.from_foreign(source)
        shared = bool(values.get("tie_encoder_decoder"))
        return cls(encoder, BertConfig.from_foreign(target), encoder_kind=kind, shared=shared, **ids)

    def to_foreign(self) -> dict[str, Any]:
        """Write the values as Hugging Face names them."""
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
        """Make the encoder, able to make its decoder; parameters are not yet initialised."""
        return EncoderDecoder(self)


def _nearest_bert(encoder: BertConfig) -> BertConfig:
    """Return a BERT's own config, and for its kin that of a BERT as wide and deep, with BERT's feed-forward width."""
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
    """An encoder that has a stem for a decoder.

    The encoder's parts keep the names they have without one, so that freezing and layer decay find them.

    Args:
        config: both shapes.
    """

    def __init__(self, config: EncoderDecoderConfig) -> None:
        super().__init__()
        self.config = config
        source: Any = config.encoder.build()
        for name, part in source.named_children():
            self.add_module(name, part)
        self._source = [source]  # in a list, so that its parts aren't named twice

    def train(self, mode: bool = True) -> Self:
        """Switch dropout on or off."""
        self._source[0].train(mode)
        return super().train(mode)

    def forward(
        self, batch: Batch, noise: Noise | None = None, hidden: Tensor | None = None, blocks: slice = slice(None)
    ) -> Tensor:
        """Encode the source, (T, H), as the encoder alone does."""
        encoded: Tensor = self._source[0](batch, noise, hidden, blocks)
        return encoded

    def initialize(self, seed: int) -> None:
        """Draw first weights from `seed`."""
        self._source[0].initialize(seed)

    def pool(self, use: Use = "classification") -> nn.Module | None:
        """Make the encoder's pooler."""
        pooler: nn.Module | None = self._source[0].pool(use)
        return pooler

    def token_stem(self, use: TokenUse) -> nn.Module:
        """Make what the encoder has on every token before a last layer."""
        stem: nn.Module = self._source[0].token_stem(use)
        return stem

    def token_logits(self) -> nn.Module:
        """Make the encoder's masked-LM head."""
        logits: nn.Module = self._source[0].token_logits()
        return logits

    def classifier_dropout(self) -> nn.Module:
        """Make the encoder's dropout in front of a head."""
        dropout: nn.Module = self._source[0].classifier_dropout()
        return dropout

    def decoder(self) -> Decoder:
        """Make the decoder over this encoder."""
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
            for own, block in zip(self._source[0].blocks, blocks, strict=True):
                _share(own, block)
        logits = TokenLogits(
            config.hidden_size,
            output_matrix(embeddings.word.weight, config),
            activation=config.activation,
            layer_norm_eps=config.layer_norm_eps,
        )
        return Decoder(embeddings, blocks, logits, max_positions=config.max_positions)


def _share(source: nn.Module, target: nn.Module) -> None:
    """Let `target` have the parameters of `source` wherever the names are the same."""
    for name, parameter in source.named_parameters():
        owner, _, own = name.rpartition(".")
        setattr(target.get_submodule(owner), own, parameter)


def start_decoder(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Let a decoder begin as a copy of the encoder: every weight that has its like there, and the masked-LM head.

    Args:
        state: of an encoder under any head, by our names.

    Returns:
        The state with the decoder's weights; attention to the source is for others to draw.
    """
    begun = {name: value for name, value in state.items() if not name.startswith("head.token_logits.")}
    for name, value in state.items():
        side, _, own = name.partition(".")
        if side == "encoder" or own.startswith("token_logits."):
            begun[f"head.decoder.{own}"] = value.clone()
    return begun


ARCHITECTURE = PairNames(config=EncoderDecoderConfig, model_types=(MODEL_TYPE,), prefix="")
