"""Private helper: rename parameters of an encoder with a decoder to and from transformers' EncoderDecoderModel.

Encoder and decoder are renamed by the tables of their architectures. Only attention to the source needs further names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from bertie.models import bert
from bertie.models.model import Architecture, architecture

# Poolers that transformers adds to these encoders, although EncoderDecoderModel never uses them.
_DENSE = "encoder.pooler.dense"
_POOLERS = {"bert": _DENSE, "roberta": _DENSE, "mpnet": _DENSE, "albert": "encoder.pooler"}


@dataclass(frozen=True, kw_only=True)
class PairNames(Architecture):
    """Parameter names here and in EncoderDecoderModel's folders, for one architecture of the encoder."""

    encoder: Architecture = bert.ARCHITECTURE
    """Architecture of the encoder."""
    tied: Mapping[str, str] = field(
        default_factory=lambda: {f"decoder.{name}": f"decoder.{twin}" for name, twin in bert.ARCHITECTURE.tied.items()}
    )
    """Second names of the decoder's tied tensors."""
    redundant: tuple[str, ...] = (
        "encoder.embeddings.position_ids",
        "decoder.bert.embeddings.position_ids",
        *(f"{pooler}.{kind}" for pooler in ("encoder.pooler.dense", "encoder.pooler") for kind in ("weight", "bias")),
    )
    """Tensors that other programs write and nothing reads."""

    def of(self, values: Mapping[str, Any]) -> PairNames:
        """Return the names for a config.json, by the kind of its encoder."""
        return replace(self, encoder=architecture(values["encoder"].get("model_type", "bert")))

    def to_foreign(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return a network's parameters under the names of transformers' EncoderDecoderModel.

        That class has a pooler on every encoder, which it never uses; it is written as zeros.
        """
        source = {name: value for name, value in state.items() if not name.startswith("head.decoder.")}
        prefix = f"{self.encoder.prefix}."
        renamed = {
            f"encoder.{name.removeprefix(prefix)}": value for name, value in self.encoder.to_foreign(source).items()
        }
        memory = state["head.decoder.blocks.0.cross_attention.kv.weight"]
        if pooler := _POOLERS.get(self.encoder.prefix):
            size = memory.shape[1]
            renamed |= {f"{pooler}.weight": memory.new_zeros(size, size), f"{pooler}.bias": memory.new_zeros(size)}
        plain: dict[str, Tensor] = {}
        for name, value in state.items():
            rest = name.removeprefix("head.decoder.")
            if rest == name:
                continue
            if ".cross_attention" in rest or ".cross_norm" in rest:
                renamed |= _cross_to_foreign(rest, value)
            else:
                plain[f"head.{rest}" if rest.startswith("token_logits.") else f"encoder.{rest}"] = value
        return renamed | {f"decoder.{name}": value for name, value in bert.ARCHITECTURE.to_foreign(plain).items()}

    def from_foreign(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Undo `to_foreign`.

        Raises:
            KeyError: a name is not in the tables.
        """
        source: dict[str, Tensor] = {}
        plain: dict[str, Tensor] = {}
        cross: dict[str, Tensor] = {}
        for name, value in state.items():
            side, _, rest = name.partition(".")
            if side == "decoder":
                (cross if ".crossattention." in rest else plain)[rest] = value
            else:
                source[f"{self.encoder.prefix}.{name.removeprefix('encoder.')}"] = value
        renamed: dict[str, Tensor] = dict(self.encoder.from_foreign(source))
        for name, value in bert.ARCHITECTURE.from_foreign(plain).items():
            renamed[f"head.decoder.{name.partition('.')[2]}"] = value
        return renamed | _cross_from_foreign(cross)


_CROSS = {
    "query": "self.query",
    "k": "self.key",
    "v": "self.value",
    "output": "output.dense",
    "cross_norm": "output.LayerNorm",
}


def _cross_to_foreign(name: str, value: Tensor) -> dict[str, Tensor]:
    """Rename a parameter such as "blocks.3.cross_attention.kv.weight"; cut the fused keys and values in two."""
    _, number, *middle, kind = name.split(".")
    front = f"decoder.bert.encoder.layer.{number}.crossattention"
    part = middle[-1]
    if part == "kv":
        keys, values = value.chunk(2)
        return {f"{front}.{_CROSS['k']}.{kind}": keys, f"{front}.{_CROSS['v']}.{kind}": values}
    return {f"{front}.{_CROSS[part]}.{kind}": value}


def _cross_from_foreign(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Undo `_cross_to_foreign`."""
    backwards = {theirs: ours for ours, theirs in _CROSS.items()}
    parts: dict[str, Tensor] = {}
    for name, value in state.items():
        front, _, rest = name.partition(".crossattention.")
        theirs, _, kind = rest.rpartition(".")
        if theirs not in backwards:
            raise KeyError(name)
        layer = f"head.decoder.blocks.{front.rpartition('.')[2]}"
        part = backwards[theirs]
        parts[f"{layer}.cross_norm.{kind}" if part == "cross_norm" else f"{layer}.cross_attention.{part}.{kind}"] = (
            value
        )
    for name in [name for name in parts if ".cross_attention.k." in name]:
        fused = torch.cat([parts.pop(name), parts.pop(name.replace(".k.", ".v."))])
        parts[name.replace(".k.", ".kv.")] = fused
    return parts
