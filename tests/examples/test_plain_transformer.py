"""The encoder, both decoders and BERT's heads equal the plain arrays of examples/plain_transformer.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.models.bert import BertConfig
from bertie.models.seq2seq import EncoderDecoderConfig
from bertie.models.transformer import TransformerConfig
from bertie.nn.feedforward import Activation
from bertie.nn.positions import sinusoids
from bertie.nn.search import Search
from bertie.nn.search import write as search
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.pretraining import Pretraining
from examples import plain_transformer as plain

VOCABULARY, HEADS = 50, 4
SOURCES, TARGETS = (7, 1, 12), (5, 9, 3)  # tokens of three sequences
CLOSE = {"rtol": 0.0, "atol": 1e-5}
START, END = 2, 3


def scattered(module: nn.Module) -> nn.Module:
    """Draw every parameter, biases and norms among them."""
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in module.named_parameters():
            centre = 1.0 if "norm.weight" in name else 0.0
            value.copy_(centre + 0.2 * torch.randn(value.shape, generator=draw))
    return module.eval()


def arrays(module: nn.Module) -> plain.Weights:
    """Return the parameters in double precision, second names of shared ones included."""
    named = module.named_parameters(remove_duplicate=False)
    return {name: value.detach().double().numpy() for name, value in named}


def ids(lengths: tuple[int, ...], seed: int) -> list[plain.Ids]:
    random = np.random.default_rng(seed)
    return [random.integers(5, VOCABULARY, length) for length in lengths]


def packed(sequences: list[plain.Ids], segments: list[plain.Ids] | None = None) -> Batch:
    halves = segments or [np.zeros_like(part) for part in sequences]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in sequences])])
    return Batch.pack(np.concatenate(sequences), np.concatenate(halves), offsets)


def same(found: Tensor, expected: list[plain.Array]) -> None:
    np.testing.assert_allclose(found.detach().double().numpy(), np.concatenate(expected), **CLOSE)


def bert(activation: Activation = "gelu") -> BertConfig:
    return BertConfig(
        VOCABULARY,
        hidden_size=32,
        num_layers=3,
        num_heads=HEADS,
        intermediate_size=48,
        max_positions=16,
        activation=activation,
    )


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh"])
def test_the_encoder_and_both_pretraining_heads(activation: Activation) -> None:
    encoder = scattered(bert(activation).build())
    head = scattered(Pretraining(max_length=16).head(encoder))
    tokens = ids(SOURCES, 1)
    segments = [(np.arange(len(part)) > len(part) // 2).astype(np.int64) for part in tokens]
    batch = packed(tokens, segments)
    batch.targets["slot.position"] = torch.tensor([0, 3, 7, 15])  # of the first, the second and the third sequence
    shape = plain.Shape(HEADS, activation)
    expected = [plain.bert_encoder(arrays(encoder), shape, *pair) for pair in zip(tokens, segments, strict=True)]
    with torch.no_grad():
        hidden = encoder(batch)
        outputs = head(hidden, batch, None)
    same(hidden, expected)
    weights = arrays(head)
    chosen = np.concatenate(expected)[[0, 3, 7, 15]]
    logits = plain.token_logits(plain.below(weights, "token_logits."), shape, chosen)
    same(outputs.tokens.materialise(), [logits])
    same(outputs.next_sentence, [plain.next_sentence(weights, part)[None] for part in expected])
    hidden_pieces = np.array([9, 8, 7, 6])
    batch.targets["slot.token"] = torch.from_numpy(hidden_pieces)
    term = MaskedLM().loss(outputs.tokens, batch).terms["mlm"]
    assert term.sum.item() / term.count == pytest.approx(plain.cross_entropy(logits, hidden_pieces), rel=1e-5)


def test_the_decoder_of_an_encoder_decoder() -> None:
    config = EncoderDecoderConfig.over(bert(), start_id=START, end_id=END)
    encoder = scattered(config.build())
    decoder = scattered(encoder.decoder())
    sources, targets = ids(SOURCES, 1), ids(TARGETS, 2)
    shape, batch = plain.Shape(HEADS), packed(sources)
    memories = [plain.bert_encoder(arrays(encoder), shape, part, np.zeros_like(part)) for part in sources]
    weights = arrays(decoder)
    expected = [plain.bert_decoder(weights, shape, *pair) for pair in zip(targets, memories, strict=True)]
    with torch.no_grad():
        found = decoder(encoder(batch), batch, packed(targets)).materialise()
    same(found, expected)


def test_the_original_transformer_reads_and_writes() -> None:
    config = TransformerConfig(
        VOCABULARY,
        START,
        END,
        hidden_size=32,
        num_layers=2,
        num_decoder_layers=3,
        num_heads=HEADS,
        intermediate_size=48,
        max_positions=16,
    )
    encoder = scattered(config.build())
    decoder = scattered(encoder.decoder())  # which draws the shared word table again
    sources, targets = ids(SOURCES, 1), ids(TARGETS, 2)
    shape, batch = plain.Shape(HEADS, "relu", config.layer_norm_eps), packed(sources)
    memories = [plain.transformer_encoder(arrays(encoder), shape, part) for part in sources]
    weights = arrays(decoder)
    expected = [plain.transformer_decoder(weights, shape, *pair) for pair in zip(targets, memories, strict=True)]
    with torch.no_grad():
        memory = encoder(batch)
        same(memory, memories)
        same(decoder(memory, batch, packed(targets)).materialise(), expected)
        written = search(decoder, memory, batch, Search(max_new_tokens=8), start=START, end=END)
    by_hand = [
        plain.write(lambda tokens, seen=part: plain.transformer_decoder(weights, shape, tokens, seen), START, END, 8)  # type: ignore[misc]
        for part in memories
    ]
    assert [list(text.tokens) for (text,) in written] == by_hand


def test_no_future_is_seen() -> None:
    """The oracle itself: a later token changes no earlier output, and an odd width has its sinusoids too."""
    config = EncoderDecoderConfig.over(bert(), start_id=START, end_id=END)
    weights = arrays(scattered(config.build().decoder()))
    shape, memory = plain.Shape(HEADS), np.random.default_rng(0).normal(size=(4, 32))
    tokens = np.array([5, 6, 7, 8, 9])
    other = np.array([5, 6, 7, 30, 31])
    first, second = (plain.bert_decoder(weights, shape, part, memory) for part in (tokens, other))
    np.testing.assert_array_equal(first[:3], second[:3])
    assert (np.abs(first[3:] - second[3:]).max(1) > 0.01).all()
    for size in (8, 9):
        np.testing.assert_allclose(sinusoids(20, size).numpy(), plain.sinusoids(20, size), **CLOSE)


def test_it_is_short_and_needs_numpy_alone() -> None:
    lines = Path(plain.__file__).read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 300
    imported = {line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert imported == {"__future__", "math", "collections", "dataclasses", "numpy"}
