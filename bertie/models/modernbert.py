"""ModernBERT (Warner et al. 2024): pre-norm, rotary positions, GeGLU, local and global attention, no biases, long text.

Every third block attends to the whole sequence, the others to a window. Global and local blocks have different rotary
bases. Every head starts with the same layers: dense, GELU, LayerNorm (`nn/modernbert_heads.py`).

Shapes: T tokens, B sequences, M chosen tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.models._padded import TakesPadded
from bertie.models.bert import HEAD_SITE, SIZES, BertConfig, output_matrix
from bertie.models.model import Architecture, TokenUse, Use
from bertie.nn.embeddings import WordEmbeddings
from bertie.nn.initialize import initialize
from bertie.nn.modernbert_heads import PredictionHeadLogits, PredictionHeadPooler, TokenPredictionHead
from bertie.nn.neighbours import attend_to_neighbours_by_rotation, mark_constant
from bertie.nn.prenorm import PreNormBlock
from bertie.nn.rotary import angles
from bertie.ops.attention.attend import Layout
from bertie.ops.dropout.op import Dropout, Noise
from bertie.ops.rounding import pad_rows

# Settings of Hugging Face configs that have one supported value.
_FIXED = {
    "norm_bias": False,
    "attention_bias": False,
    "mlp_bias": False,
    "classifier_bias": False,
    "decoder_bias": True,
    "classifier_activation": "gelu",
}


@dataclass(frozen=True)
class ModernBertConfig(BertConfig):
    """Describe a ModernBERT encoder."""

    num_layers: int = 22
    """Encoder blocks."""
    intermediate_size: int = 1152
    """Width inside the feed-forward parts, of each of the two halves."""
    max_positions: int = 8192
    """Tokens of the longest sequence."""
    num_segments: int = 0
    """Always 0: there are no segment vectors, so the texts of a pair are not marked."""
    dropout: float = 0.0
    """Rate inside the feed-forward parts."""
    attention_dropout: float = 0.0
    """Rate on attention weights and on the output of attention; above 0, GPUs run a slower exact path."""
    classifier_dropout: float | None = 0.0
    """Rate before a task's last layer; the same as `dropout` when None."""
    layer_norm_eps: float = 1e-5
    """Epsilon of every LayerNorm."""
    embedding_dropout: float = 0.0
    """Rate on embeddings."""
    global_every: int = 3
    """Every `global_every`-th block, starting with the first, attends to the whole sequence."""
    local_attention: int = 128
    """Width of the other blocks' windows, half of it on either side."""
    global_theta: float = 160_000.0
    """Rotary base of blocks that attend to the whole sequence."""
    local_theta: float = 10_000.0
    """Rotary base of blocks with a window."""
    pooling: Literal["cls", "mean"] = "cls"
    """Pooling of a classifier: the first token or the mean."""

    FOREIGN: ClassVar[dict[str, str]] = {
        "vocab_size": "vocab_size",
        "hidden_size": "hidden_size",
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "intermediate_size": "intermediate_size",
        "max_positions": "max_position_embeddings",
        "activation": "hidden_activation",
        "dropout": "mlp_dropout",
        "attention_dropout": "attention_dropout",
        "classifier_dropout": "classifier_dropout",
        "layer_norm_eps": "norm_eps",
        "initializer_range": "initializer_range",
        "pad_id": "pad_token_id",
        "tied": "tie_word_embeddings",
        "embedding_dropout": "embedding_dropout",
        "global_every": "global_attn_every_n_layers",
        "local_attention": "local_attention",
        "global_theta": "global_rope_theta",
        "local_theta": "local_rope_theta",
        "pooling": "classifier_pooling",
    }
    KIND: ClassVar[str] = "modernbert"
    SIZES: ClassVar[dict[str, tuple[int, int]]] = {**SIZES, "base": (22, 768), "large": (28, 1024)}
    ABSENT: ClassVar[dict[str, Any]] = {"vocab_size": 50368, "pad_token_id": 50283}

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_size // self.num_heads % 2:
            raise SettingsError(f"hidden_size / num_heads must be even; got {self.hidden_size} / {self.num_heads}")
        if self.global_every < 1 or self.local_attention < 2 or self.num_segments:
            raise SettingsError(
                "global_every must be at least 1, local_attention at least 2 and num_segments 0; got "
                f"{self.global_every}, {self.local_attention} and {self.num_segments}"
            )
        if self.pooling not in ("cls", "mean"):
            raise SettingsError(f"pooling must be cls or mean; got {self.pooling!r}")

    @classmethod
    def sized(cls, size: str, *, vocab_size: int) -> Self:
        """Return the config of a named size or of "layers/hidden"; the feed-forward width is 1.5 H, 2624 in `large`.

        Raises:
            SettingsError: the size is neither.
        """
        shape = super().sized(size, vocab_size=vocab_size)
        return replace(shape, intermediate_size=2624 if size == "large" else shape.hidden_size * 3 // 2)

    @classmethod
    def from_foreign(cls, values: Mapping[str, Any]) -> Self:
        """Read a Hugging Face `config.json`, with today's keys or the older ones.

        Raises:
            SettingsError: it asks for something that is not supported here.
        """
        for name, value in _FIXED.items():
            if values.get(name, value) != value:
                raise SettingsError(f"{name} is {values[name]!r}; bertie's modernbert supports only {value!r}")
        return super().from_foreign({**values, **_thetas(values), **_global_every(values)})

    def to_foreign(self) -> dict[str, Any]:
        """Return the values under Hugging Face's names, with today's keys and the older ones."""
        kinds = {"full_attention": self.global_theta, "sliding_attention": self.local_theta}
        return {
            **super().to_foreign(),
            **_FIXED,
            "rope_parameters": {kind: {"rope_type": "default", "rope_theta": theta} for kind, theta in kinds.items()},
            "layer_types": _layer_types(self.num_layers, self.global_every),
        }

    def build(self) -> ModernBert:  # type: ignore[override]
        """Return the encoder; its parameters are not initialised."""
        return ModernBert(self)


def _thetas(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the rotary bases of today's key `rope_parameters`, under the older keys.

    Raises:
        SettingsError: a rotary type that is not supported, or no base.
    """
    thetas, parameters = {}, values.get("rope_parameters") or {}
    for kind, name in (("full_attention", "global_rope_theta"), ("sliding_attention", "local_rope_theta")):
        part = parameters.get(kind) if isinstance(parameters, dict) else parameters
        if part is None:
            continue
        theta = part.get("rope_theta") if isinstance(part, dict) else None
        plain = isinstance(part, dict) and part.get("rope_type", "default") == "default"
        if not plain or isinstance(theta, bool) or not isinstance(theta, int | float) or theta <= 0:
            raise SettingsError(f"rope_parameters: {kind} needs rope_type default and a rope_theta; got {part!r}")
        thetas[name] = float(theta)
    return thetas


def _layer_types(num_layers: int, every: int) -> list[str]:
    return ["sliding_attention" if number % every else "full_attention" for number in range(num_layers)]


def _global_every(values: Mapping[str, Any]) -> dict[str, int]:
    """Return the distance between global layers in today's key `layer_types`, under the older key.

    Raises:
        SettingsError: global layers have no regular distance, or the number of layers is wrong.
    """
    types, default = values.get("layer_types"), values.get("global_attn_every_n_layers", 3)
    if types is None:
        return {}
    listed = types if isinstance(types, list) else []
    full = [number for number, kind in enumerate(listed) if kind == "full_attention"]
    every = full[1] if len(full) > 1 else default
    if len(listed) != values.get("num_hidden_layers", 22) or listed != _layer_types(len(listed), every):
        raise SettingsError(
            "layer_types must have one entry for each layer and full_attention at regular distances from the first on; "
            f"got {types!r:.200}"
        )
    return {"global_attn_every_n_layers": every}


class ModernBert(TakesPadded):
    """The ModernBERT encoder.

    Args:
        config: its shape.
    """

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = WordEmbeddings(
            config.vocab_size,
            config.hidden_size,
            max_positions=config.max_positions,
            layer_norm_eps=config.layer_norm_eps,
            dropout=config.embedding_dropout,
            site=0,
        )
        self.blocks = nn.ModuleList(
            PreNormBlock(
                config.hidden_size,
                config.num_heads,
                config.intermediate_size,
                activation=config.activation,
                dropout=config.dropout,
                attention_dropout=config.attention_dropout,
                layer_norm_eps=config.layer_norm_eps,
                site=1 + 3 * number,
                window=config.local_attention // 2 if number % config.global_every else None,
                normed=number > 0,
            )
            for number in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, bias=False)

    def forward(
        self, batch: Batch, noise: Noise | None = None, hidden: Tensor | None = None, blocks: slice = slice(None)
    ) -> Tensor:
        """Encode a packed batch; the final LayerNorm runs together with the last block.

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
        config = self.config
        hidden = pad_rows(self.embeddings(batch, noise) if hidden is None else hidden, step=128)
        layout, positions = Layout.of(batch), pad_rows(batch.positions, step=128)
        size = config.hidden_size // config.num_heads
        turns = [angles(positions, size, theta) for theta in (config.global_theta, config.local_theta)]
        chosen = list(enumerate(self.blocks))[blocks]
        for number, block in chosen:
            hidden = block(hidden, layout, noise, turns[1 if number % config.global_every else 0])
        if chosen and chosen[-1][0] == config.num_layers - 1:
            hidden = self.norm(hidden)
        return hidden[: batch.num_tokens]

    @torch.no_grad()
    def initialize(self, seed: int) -> None:
        """Draw the first weights from `seed`; divide those that add to the residual stream by sqrt(2 L)."""
        initialize(self, deviation=self.config.initializer_range, generator=torch.Generator().manual_seed(seed))
        for name, weight in self.blocks.named_parameters():
            if name.endswith(("attention.output.weight", "feedforward.down.weight")):
                weight.mul_((2 * self.config.num_layers) ** -0.5)

    def start_at_neighbours(self, offsets: Sequence[int], generator: torch.Generator) -> None:
        """Make heads of the lowest blocks attend to neighbours. The word vectors must already be set.

        Args:
            offsets: for each head of a block, how many positions to the right it attends; 0 for a random head.
            generator: source of the draws.
        """
        config = self.config
        numbers = range(config.num_layers)
        thetas = [config.local_theta if number % config.global_every else config.global_theta for number in numbers]
        attend_to_neighbours_by_rotation(self.blocks, thetas, offsets, mark_constant(self.embeddings), generator)

    def pool(self, use: Use = "classification") -> nn.Module | None:
        """Return a new pooler on the first token or the mean; None for features and pre-training."""
        if use in ("features", "next_sentence", "sentence_order"):
            return None
        return PredictionHeadPooler(self.config.hidden_size, self.config.layer_norm_eps, self.config.pooling)

    def token_layers(self, use: TokenUse) -> nn.Module:
        """Return the stem on every token and the dropout after it."""
        return TokenPredictionHead(self.config.hidden_size, self.config.layer_norm_eps, self.classifier_dropout())

    def token_logits(self) -> nn.Module:
        """Return a new masked-LM head, tied to this encoder's word embeddings if the config says so."""
        table = output_matrix(self.embeddings.word.weight, self.config)
        return PredictionHeadLogits(self.config.hidden_size, self.config.layer_norm_eps, table)

    def classifier_dropout(self) -> Dropout:
        """Return the dropout before a task's last layer."""
        rate = self.config.dropout if self.config.classifier_dropout is None else self.config.classifier_dropout
        return Dropout(rate, site=HEAD_SITE)


ARCHITECTURE = Architecture(
    config=ModernBertConfig,
    model_types=("modernbert",),
    prefix="model",
    names=(
        ("encoder.embeddings.word.weight", "model.embeddings.tok_embeddings.weight"),
        ("encoder.embeddings.norm", "model.embeddings.norm"),
        ("encoder.blocks.{}.attention_norm", "model.layers.{}.attn_norm"),
        ("encoder.blocks.{}.attention.qkv", "model.layers.{}.attn.Wqkv"),
        ("encoder.blocks.{}.attention.output", "model.layers.{}.attn.Wo"),
        ("encoder.blocks.{}.feedforward_norm", "model.layers.{}.mlp_norm"),
        ("encoder.blocks.{}.feedforward.up", "model.layers.{}.mlp.Wi"),
        ("encoder.blocks.{}.feedforward.down", "model.layers.{}.mlp.Wo"),
        ("encoder.norm", "model.final_norm"),
        ("head.token_logits.dense", "head.dense"),
        ("head.token_logits.norm", "head.norm"),
        ("head.token_logits.bias", "decoder.bias"),
        ("head.token_logits.embedding", "decoder.weight"),
        ("head.pooler.transform.dense", "head.dense"),
        ("head.pooler.transform.norm", "head.norm"),
        ("head.stem.dense", "head.dense"),
        ("head.stem.norm", "head.norm"),
        ("head.classifier", "classifier"),
        ("head.qa_outputs", "classifier"),
    ),
    tied={"decoder.weight": "model.embeddings.tok_embeddings.weight"},
    classes={"ModernBertLMHeadModel": "ModernBertForMaskedLM"},
    special_ids={
        "bos_token_id": "start",
        "eos_token_id": "separator",
        "cls_token_id": "start",
        "sep_token_id": "separator",
    },
)
