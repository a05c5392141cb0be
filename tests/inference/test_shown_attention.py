"""The attention weights that are shown are those that the encoder computes with, in every architecture."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bertie import registry
from bertie.errors import SettingsError
from bertie.formats.format import Bundle, new
from bertie.inference.attention import attention_of, has_attention, tokens_of
from bertie.inference.predictor import Predictor
from bertie.models.model import architecture
from bertie.nn.block import SelfAttention
from bertie.tasks.features import FeaturesTask
from bertie.tokenizer.tokenizer import Tokenizer

ARCHITECTURES = [name for name in registry.choices("models") if name not in ("seq2seq", "transformer")]


def predictor_of(name: str, tokenizer: Tokenizer) -> Predictor[Any]:
    config: Any = architecture(name).config.sized("2/64", vocab_size=tokenizer.vocab_size)
    config = replace(config, num_heads=4, max_positions=64)
    return Predictor(new(config, FeaturesTask(max_length=32, pooler=False), tokenizer, 3, architecture=name))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_are_those_of_the_encoder(name: str, tiny_tokenizer: Tokenizer) -> None:
    predictor = predictor_of(name, tiny_tokenizer)
    encoder: Any = predictor.bundle.model.encoder
    batch = tokens_of(tiny_tokenizer, "the cat sat on a house", "it was red", max_length=32).batch
    weights = attention_of(predictor, batch)
    size = batch.num_tokens
    assert weights.shape == (2, 4, size, size)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, size))
    pairs: list[tuple[SelfAttention, Tensor, Tensor]] = []
    for part in encoder.modules():
        if isinstance(part, SelfAttention):
            part.register_forward_hook(lambda part, given, output: pairs.append((part, given[0], output)))
    with torch.no_grad():
        encoder(batch)
        for layer, (part, hidden, output) in zip(weights, pairs, strict=True):
            value = part.project(hidden)[2][:size]
            rebuilt = part.output((layer @ value.transpose(0, 1)).transpose(0, 1).flatten(1))
            torch.testing.assert_close(rebuilt, output[:size], rtol=0, atol=1e-4)


def test_the_model_itself_is_left_alone(tiny_tokenizer: Tokenizer) -> None:
    predictor = predictor_of("bert", tiny_tokenizer)
    before = {name: value.clone() for name, value in predictor.bundle.model.state_dict().items()}
    attention_of(predictor, tokens_of(tiny_tokenizer, "the cat", max_length=8).batch)
    assert all(torch.equal(value, before[name]) for name, value in predictor.bundle.model.state_dict().items())
    assert not any(part._forward_pre_hooks for part in predictor.bundle.model.modules())


def test_an_encoder_without_parts_has_no_attention_to_show(tiny_tokenizer: Tokenizer) -> None:
    predictor = predictor_of("bert", tiny_tokenizer)
    bundle: Bundle = predictor.bundle
    bundle.model.encoder = torch.nn.Identity()
    assert not has_attention(predictor)
    with pytest.raises(SettingsError, match="exported"):
        attention_of(predictor, tokens_of(tiny_tokenizer, "the cat", max_length=8).batch)


@pytest.mark.parametrize("max_length", [5, 6, 7, 9, 40])
def test_cut_tokens_keep_their_characters(tiny_tokenizer: Tokenizer, max_length: int) -> None:
    text, pair = "the cat slept in it", "red bird"
    shown = tokens_of(tiny_tokenizer, text, pair, max_length=max_length)
    assert len(shown.tokens) == min(max_length, 10) and shown.cut == 10 - len(shown.tokens)
    assert [token.side for token in shown.tokens if token.token == "[SEP]"] == [None, None]
    for token in shown.tokens:
        if token.side is not None:
            assert (text, pair)[token.side][token.start : token.end] == token.token
