"""Every gradient of examples/microbert.py equals bertie's, and the script does what it prints."""

from __future__ import annotations

import re
import sys
from pathlib import Path

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


def slope(bert: micro.Bert, name: str, place: tuple[int, ...], loss: object, step: float = 1e-5) -> float:
    """Measure the change of a loss when one weight moves a little."""
    losses = []
    for move in (step, -step):
        bert.w[name][place] += move
        losses.append(sum(loss()))  # type: ignore[operator]
        bert.w[name][place] -= move
    return float(losses[0] - losses[1]) / (2 * step)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("start", ["paper", "neighbours"])
def test_the_gradients_of_first_weights_by_differences(start: str) -> None:
    rng = np.random.default_rng(5)
    frequency = np.full(micro.V, 1 / micro.V) if start == "neighbours" else None
    bert = micro.Bert({name: value.astype(float) for name, value in micro.first_weights(rng, frequency).items()})
    pairs = micro.draw_pairs(rng.integers(0, micro.V, 500), rng)
    for name in ("embeddings.position.weight", "blocks.0.attention.qkv.weight", "blocks.1.feedforward.up.weight"):
        bert.learn("next_sentence", *pairs)
        place = np.unravel_index(np.abs(bert.g[name]).argmax(), bert.g[name].shape)
        expected = bert.g[name][place]
        assert slope(bert, name, place, lambda: bert.learn("next_sentence", *pairs)) == pytest.approx(
            expected, rel=1e-4
        )


def test_heads_start_at_their_neighbours() -> None:
    """The first layer's heads give most of their attention to the tokens before, after, and two away."""
    weights = micro.first_weights(np.random.default_rng(0), np.full(micro.V, 1 / micro.V))
    bert, tokens = micro.Bert(weights), np.random.default_rng(1).integers(0, micro.V, micro.S)
    table, places = weights["embeddings.word.weight"], weights["embeddings.position.weight"]
    hidden, _ = bert.layer_norm("embeddings.norm", table[tokens] + places)
    qkv = bert.linear("blocks.0.attention.qkv", hidden)[0].reshape(micro.S, 3, micro.N, micro.D)
    for head, offset in enumerate((-1, 1, -2, 2)):
        shares = micro.softmax(qkv[:, 0, head] @ qkv[:, 1, head].T / micro.D**0.5)
        assert np.diagonal(shares, offset).mean() > 0.9
        assert np.diagonal(shares, -offset).mean() < 0.05


@pytest.mark.usefixtures("small")
def test_pairs_follow_or_not_and_hide_words() -> None:
    text = np.arange(4, 44)
    tokens, segments, is_random, places, targets = micro.draw_pairs(text, np.random.default_rng(3), all_masked=True)
    assert (tokens.ravel()[places] == micro.MASK).all() and len({*places}) == micro.BATCH * micro.MASKS
    assert (tokens[:, 0] == micro.CLS).all() and (tokens[:, [6, -1]] == micro.SEP).all()
    tokens.ravel()[places] = targets
    for row in range(micro.BATCH):
        steps = np.diff(tokens[row, [1, 2, 3, 4, 5, 7, 8, 9, 10]])
        assert (np.delete(steps, 4) == 1).all()
        assert (steps[4] == 2) != is_random[row]
    assert {*is_random} == {0, 1} and segments[0].tolist() == [0] * 7 + [1] * 5


@pytest.mark.usefixtures("small")
def test_the_script_learns_a_small_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(micro, "BATCH", 32)
    (tmp_path / "text.txt").write_text(TEXT * 60, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["microbert.py", "--text", "text.txt", "--steps", "150"])
    micro.main()
    out = capsys.readouterr().out
    losses = [float(found) for found in re.findall(r"loss (\d\.\d+) ", out)]
    assert losses[-1] < losses[0] - 0.5 and "| the (the)" in out
    assert out.count("off the plateau") >= 1 and re.search(r"^pre-trained( +\d+\.\d %){3}$", out, re.MULTILINE)
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_it_is_short_and_needs_numpy_alone() -> None:
    lines = Path(micro.__file__).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 250 and max(map(len, lines)) <= 120
    imported = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported - {"numpy"} <= sys.stdlib_module_names
