"""Heads that begin at neighbours: of every architecture, in large and small sizes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bertie import registry
from bertie.batch import Batch
from bertie.models.model import architecture
from bertie.nn.neighbours import frequencies, rotary_vectors
from bertie.nn.rotary import angles, rotate
from bertie.starts.neighbours import offsets_of
from bertie.tasks.causal_lm import CausalLM
from bertie.tasks.hybrid import Hybrid
from bertie.tasks.masked_lm import MaskedLM

# Pairs of an encoder and a decoder learn from tables, not from a corpus.
ARCHITECTURES = [name for name in registry.choices("models") if name not in ("seq2seq", "transformer")]
NARROW = {"albert": {"embedding_size": 64}, "electra": {"embedding_size": 64}}
LENGTH, VOCABULARY = 48, 300


def begun(name: str, size: str, offsets: tuple[int, ...], **changes: Any) -> Any:
    config = architecture(name).config.sized(size, vocab_size=VOCABULARY)
    encoder = replace(config, **{"dropout": 0.0, "max_positions": 64, **changes}).build()
    encoder.initialize(3)
    encoder.start_at_neighbours(offsets, torch.Generator().manual_seed(4))
    return encoder.eval()


def random_texts(count: int = 6) -> Batch:
    tokens = torch.randint(5, VOCABULARY, (count * LENGTH,), generator=torch.Generator().manual_seed(5)).numpy()
    return Batch.pack(tokens, 0 * tokens, [LENGTH * number for number in range(count + 1)])


def attention_of(encoder: Any, batch: Batch | None = None) -> list[Tensor]:
    """Return the weights of each layer, (texts, heads, LENGTH, LENGTH)."""
    seen: list[tuple[Any, ...]] = []
    for block in encoder.blocks:
        block.attention.register_forward_pre_hook(lambda part, given: seen.append((part, *given)))
    batch = random_texts() if batch is None else batch
    found = []
    with torch.no_grad():
        encoder(batch)
        for part, hidden, layout, _, *relative in seen:
            found.append(torch.stack(part.weights(hidden, layout, *relative)))
    return found


def on(weights: Tensor, head: int, offset: int) -> float:
    """Return the mean weight of a head on the token so many places to the right, away from both ends."""
    return float(weights[:, head].diagonal(offset, 1, 2)[:, 4:-4].mean())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_heads_of_both_first_layers_look_beside(name: str) -> None:
    offsets = (-1, -2) if name == "causal" else (-1, 1)
    weights = attention_of(begun(name, "3/128", offsets, **NARROW.get(name, {})))
    for layer in weights[: 1 if name == "albert" else 2]:  # an albert's weights serve at every depth
        assert [on(layer, head, offset) > 0.5 for head, offset in enumerate(offsets)] == [True, True]
    drawn = weights[-1] if name != "albert" else None
    assert drawn is None or on(drawn, 0, -1) < 0.1


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_further_heads_look_further(name: str) -> None:
    offsets = (-1, -2, -3, 0) if name == "causal" else (-1, 1, -2, 2)
    weights = attention_of(begun(name, "2/256", offsets, **NARROW.get(name, {})))[0]
    looked = [head for head, offset in enumerate(offsets) if offset and on(weights, head, offset) > 0.5]
    assert looked == [head for head, offset in enumerate(offsets) if offset]
    free = [head for head, offset in enumerate(offsets) if not offset]
    assert all(on(weights, head, offset) < 0.2 for head in free for offset in (-1, -2, -3))


@pytest.mark.parametrize("name", ["bert", "roberta", "distilbert", "electra"])
def test_heads_of_higher_layers_look_at_the_same_token_elsewhere(name: str) -> None:
    words = torch.randperm(VOCABULARY - 5, generator=torch.Generator().manual_seed(6))[: LENGTH // 2] + 5
    order = torch.randperm(LENGTH // 2, generator=torch.Generator().manual_seed(7))
    tokens = torch.cat([words, words[order]]).numpy()
    batch = Batch.pack(tokens, 0 * tokens, [0, LENGTH])
    weights = attention_of(begun(name, "4/256", (-1, 1, -2, 2), **NARROW.get(name, {})), batch)
    rows, again = torch.arange(LENGTH // 2), LENGTH // 2 + order.argsort()
    for layer in weights[2:]:
        found, itself = layer[0][:, rows, again].mean(1), layer[0].diagonal(0, 1, 2).mean(1)
        assert (found[:2] > 2 / LENGTH).all() and (found[:2] > 2 * itself[:2]).all(), (found, itself)
        assert (found[2:] < 1.5 / LENGTH).all(), "the other heads are as they were drawn"
    left = attention_of(begun("causal", "4/256", (-1, -2, -3, 0)), batch)
    assert (left[2][0][:, again, rows].mean(1) < 2 / LENGTH).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_layers_of_one_head_take_turns(name: str) -> None:
    weights = attention_of(begun(name, "2/64", (-1, -2), **NARROW.get(name, {})))
    assert on(weights[0], 0, -1) > 0.5
    assert name == "albert" or on(weights[1], 0, -2) > 0.5


@pytest.mark.parametrize("size", ["1/1", "1/2", "2/6", "1/8", "2/24", "3/320"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_any_size_can_begin(name: str, size: str) -> None:
    if name in ("modernbert", "roformer") and int(size.split("/")[1]) % 2:
        pytest.skip("its heads have an even size")
    encoder = begun(name, size, (-1, 1, 0))
    assert torch.isfinite(encoder(random_texts(2))).all()


@pytest.mark.parametrize(("heads", "narrow"), [(8, None), (2, 6), (4, 200)])
def test_small_heads_and_other_widths_of_tables(heads: int, narrow: int | None) -> None:
    changes = {} if narrow is None else {"embedding_size": narrow}
    encoder = begun("electra" if narrow else "bert", "2/64", (-1, 1), num_heads=heads, **changes)
    weights = attention_of(encoder)[0]
    least = 0.08 if narrow == 6 else 0.5  # one pair of columns shows places a few steps apart alike
    assert on(weights, 0, -1) > least and on(weights, 1, 1) > least


def test_a_generator_begins_on_tables_that_are_marked_already() -> None:
    encoder = begun("electra", "2/256", (-1, 1, -2, 2), embedding_size=128)
    small = encoder.generator(0.25)
    small.embeddings.project.reset_parameters()
    before = [value.clone() for value in (encoder.embeddings.word.weight, encoder.embeddings.position.weight)]
    for block in small.blocks:
        for value in block.parameters():
            torch.nn.init.normal_(value, 0.0, 0.02) if value.dim() > 1 else torch.nn.init.zeros_(value)
        block.attention_norm.weight.data.fill_(1.0)
        block.feedforward_norm.weight.data.fill_(1.0)
    small.start_at_neighbours((-1,), torch.Generator().manual_seed(6))
    after = (encoder.embeddings.word.weight, encoder.embeddings.position.weight)
    assert all(map(torch.equal, before, after))
    weights = attention_of(small.eval())
    assert small.config.num_heads == 1 and on(weights[0], 0, -1) > 0.5


def test_positions_far_on_do_not_look_like_near_ones() -> None:
    turns = frequencies(16)
    echoes = (turns * torch.arange(1, 512)[:, None]).cos().mean(1)
    assert float(echoes.max()) < 0.65
    query, key = rotary_vectors(64, 10_000.0, -1)
    turn = angles(torch.arange(512), 64, 10_000.0)
    turned = rotate(query.expand(512, 1, 64), turn)[:, 0] @ rotate(key.expand(512, 1, 64), turn)[:, 0].T / 8
    shares = turned.softmax(1).diagonal(-1)
    assert float(shares.min()) > 0.5


def test_what_heads_look_at_depends_on_where_a_token_is_guessed() -> None:
    bert, causal = (architecture(name).config.sized("1/8", vocab_size=9).build() for name in ("bert", "causal"))
    assert offsets_of(MaskedLM(), bert)[:4] == (-1, 1, -2, 2)
    assert all(offset <= 0 for offset in offsets_of(CausalLM(), bert))
    assert offsets_of(CausalLM(), causal) == offsets_of(CausalLM(), bert)
    assert offsets_of(Hybrid(), bert)[:2] == (-1, 2)  # a place before the token, which the right neighbour is two from
