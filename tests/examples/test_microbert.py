"""Every gradient of examples/microbert.py equals bertie's, and the script does what it prints."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from bertie.batch import Batch
from bertie.models.bert import BertConfig
from bertie.tasks.classification import Classification
from bertie.tasks.pretraining import Pretraining
from examples import microbert as micro

CLOSE = {"rtol": 0.0, "atol": 1e-5}
TEXT = " ".join(f"{who} {what} the {thing} ." for who in "abcdefgh" for what in ("sees", "eats") for thing in "xyz")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the network small, with a size of its own for every axis."""
    sizes = {"V": 50, "S": 12, "H": 24, "N": 3, "D": 8, "LAYERS": 2, "BATCH": 5, "MASKS": 2}
    for name, size in sizes.items():
        monkeypatch.setattr(micro, name, size)


def bertie_encoder() -> nn.Module:
    config = BertConfig(
        micro.V,
        hidden_size=micro.H,
        num_layers=micro.LAYERS,
        num_heads=micro.N,
        intermediate_size=4 * micro.H,
        max_positions=micro.S,
        activation="gelu_tanh",
    )
    return config.build()


def scattered(*modules: nn.Module) -> dict[str, nn.Parameter]:
    """Draw every parameter, biases and norms among them, and return them by name."""
    draw = torch.Generator().manual_seed(3)
    named = {name: value for module in modules for name, value in module.named_parameters()}
    with torch.no_grad():
        for name, value in named.items():
            value.copy_(("norm.weight" in name) + 0.2 * torch.randn(value.shape, generator=draw))
    for module in modules:
        module.eval()  # no dropout
    named.pop("token_logits.embedding", None)  # the word table under a second name
    return named


def weights_of(named: dict[str, nn.Parameter]) -> dict[str, micro.Array]:
    return {name: value.detach().double().numpy().copy() for name, value in named.items()}


def packed(tokens: micro.Array, segments: micro.Array, **targets: micro.Array) -> Batch:
    offsets = np.arange(0, tokens.size + 1, micro.S)
    named = {name.replace("_", ".", 1): value for name, value in targets.items()}
    return Batch.pack(tokens.ravel(), segments.ravel(), offsets, targets=named)


def same_gradients(bert: micro.Bert, named: dict[str, nn.Parameter]) -> None:
    assert {*bert.g} == {*named}
    for name, value in named.items():
        expected = np.zeros(value.shape) if value.grad is None else value.grad.double().numpy()
        np.testing.assert_allclose(bert.g[name], expected, **CLOSE, err_msg=name)


@pytest.mark.usefixtures("small")
def test_the_gradients_of_pretraining() -> None:
    text = np.random.default_rng(1).integers(0, micro.V, 500)
    tokens, segments, labels, places, targets = micro.draw_pairs(text, np.random.default_rng(2))
    encoder = bertie_encoder()
    head = Pretraining(max_length=micro.S).head(encoder)
    named = scattered(encoder, head)
    order = np.argsort(places)  # bertie's slots ascend
    batch = packed(tokens, segments, sequence_label=labels, slot_position=places[order], slot_token=targets[order])
    loss = Pretraining(max_length=micro.S).loss(head(encoder(batch), batch, None), batch)
    total = loss.total({name: term.count for name, term in loss.terms.items()})
    total.backward()
    bert = micro.Bert(weights_of(named))
    losses = bert.learn("next_sentence", tokens, segments, labels, places, targets)
    assert sum(losses) == pytest.approx(total.item(), abs=1e-5)
    same_gradients(bert, named)
    assert all(np.abs(bert.g[name]).max() > 1e-3 for name in bert.g if "qkv.bias" not in name)


@pytest.mark.usefixtures("small")
def test_the_gradients_of_the_classifier() -> None:
    rng = np.random.default_rng(4)
    tokens, labels = rng.integers(0, micro.V, (micro.BATCH, micro.S)), rng.integers(0, 2, micro.BATCH)
    segments = np.zeros_like(tokens)
    encoder, task = bertie_encoder(), Classification(labels=("in order", "shuffled"), max_length=micro.S)
    head = task.head(encoder)
    named = scattered(encoder, head)
    batch = packed(tokens, segments, item_label=labels)
    loss = task.loss(head(encoder(batch), batch, None), batch)
    total = loss.total({name: term.count for name, term in loss.terms.items()})
    total.backward()
    bert = micro.Bert(weights_of(named))
    assert bert.learn("classifier", tokens, segments, labels)[0] == pytest.approx(total.item(), abs=1e-5)
    same_gradients(bert, named)
