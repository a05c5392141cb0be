"""The decoder: nothing sees the future, company changes nothing, and writing by the cache is reading by the whole."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bertie.batch import Batch
from bertie.models.transformer import TransformerConfig
from bertie.nn.decoder import Decoder
from bertie.nn.initialize import initialize
from bertie.nn.positions import sinusoids
from bertie.ops.attention.attend import Layout, attend_cached, reference_attend

VOCABULARY, HIDDEN = 23, 16
PAIRS = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=5)


def make_decoder() -> Decoder:
    config = TransformerConfig(
        VOCABULARY, 1, 2, hidden_size=HIDDEN, num_decoder_layers=2, num_heads=2, intermediate_size=32, max_positions=80
    )
    decoder = config.build().decoder()
    initialize(decoder, deviation=0.2, generator=torch.Generator().manual_seed(1))
    return decoder.eval()


DECODER = make_decoder()


def draw(lengths: list[int], seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    tokens = torch.randint(0, VOCABULARY, (sum(lengths),), generator=generator)
    return Batch.pack(tokens, torch.zeros_like(tokens), offsets)


def memory_of(source: Batch, seed: int = 5) -> Tensor:
    return torch.randn(source.num_tokens, HIDDEN, generator=torch.Generator().manual_seed(seed))


def logits(memory: Tensor, source: Batch, target: Batch) -> Tensor:
    with torch.no_grad():
        return DECODER(memory, source, target).materialise()


@settings(max_examples=30)
@given(PAIRS, st.data())
def test_a_future_token_changes_no_earlier_output(pairs: list[tuple[int, int]], data: st.DataObject) -> None:
    source, target = draw([one for one, _ in pairs], 2), draw([other for _, other in pairs], 3)
    place = data.draw(st.integers(0, target.num_tokens - 1))
    sequence = int((target.offsets <= place).sum()) - 1
    start, end = (int(edge) for edge in target.offsets[sequence : sequence + 2])
    memory = memory_of(source)
    before = logits(memory, source, target)
    target.tokens[place] = (target.tokens[place] + 1) % VOCABULARY
    after = logits(memory, source, target)
    kept = torch.ones(target.num_tokens, dtype=torch.bool)
    kept[place:end] = False
    assert torch.equal(before[kept], after[kept])
    assert bool(((before[place:end] - after[place:end]).abs().amax(1) > 0).all()) and start <= place


@settings(max_examples=30)
@given(PAIRS)
def test_company_changes_nothing(pairs: list[tuple[int, int]]) -> None:
    source, target = draw([one for one, _ in pairs], 2), draw([other for _, other in pairs], 3)
    memory = memory_of(source)
    whole = logits(memory, source, target)
    for number in range(len(pairs)):
        own = memory[int(source.offsets[number]) : int(source.offsets[number + 1])]
        alone = logits(own, source.select([number]), target.select([number]))
        expected = whole[int(target.offsets[number]) : int(target.offsets[number + 1])]
        torch.testing.assert_close(alone, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("length", [1, 31, 32, 33, 70])
def test_the_cache_gives_what_the_whole_gives(length: int) -> None:
    source, target = draw([3, 17, 9], 2), draw([length] * 3, 3)
    memory = memory_of(source)
    whole = target.unpack(logits(memory, source, target))  # (B, S, V)
    with torch.no_grad():
        cache = DECODER.begin(memory, source)
        for place in range(length):
            found, cache = DECODER.step(target.unpack(target.tokens)[:, place], cache)
            torch.testing.assert_close(found, whole[:, place], rtol=0, atol=1e-5)
    assert cache.length == length


def test_rows_follow_their_parents_and_items_leave() -> None:
    """Two rows an item: they swap, then the first item leaves; what is left goes on as if it had been alone."""
    source = draw([4, 11], 2)
    memory = memory_of(source)
    texts = torch.tensor([[3, 5, 7, 9], [3, 6, 8, 9], [3, 5, 7, 9], [3, 6, 8, 9]])
    with torch.no_grad():
        cache = DECODER.begin(memory, source, 2)
        for place in range(2):
            _, cache = DECODER.step(texts[:, place], cache)
        swapped = torch.tensor([1, 0, 3, 2])
        cache = cache.follow(swapped).keep(torch.tensor([1]))
        found, cache = DECODER.step(texts[swapped][2:, 2], cache)
        alone = draw([4], 0).select([0]), texts[swapped][2:, :3]
        for row, text in enumerate(alone[1]):
            target = Batch.pack(text, torch.zeros_like(text), [0, 3])
            expected = logits(memory[4:], source.select([1]), target)[-1]
            torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-5)


def test_attention_over_kept_keys_is_the_reference() -> None:
    """Three rows look at the same five keys, of which the last two are not there."""
    generator = torch.Generator().manual_seed(4)
    query, keys, values = (torch.randn(*shape, generator=generator) for shape in ((3, 2, 4), (5, 2, 4), (5, 2, 4)))
    hidden = torch.tensor([False, False, False, True, True])[None, None, None]
    found = attend_cached(query[None], keys.transpose(0, 1)[None], values.transpose(0, 1)[None], hidden)[0]
    layout = Layout(torch.tensor([0, 3]), torch.tensor([0, 3]), 3, 3)
    torch.testing.assert_close(found, reference_attend(query, keys[:3], values[:3], layout), rtol=0, atol=1e-6)


def test_every_weight_and_the_memory_learn() -> None:
    decoder = make_decoder().train()
    source, target = draw([3, 6], 2), draw([5, 4], 3)
    memory = memory_of(source).requires_grad_()
    total, _ = decoder(memory, source, target).cross_entropy(torch.arange(9))
    total.backward()
    assert memory.grad is not None and bool((memory.grad.abs().amax(1) > 0).all())
    assert [name for name, value in decoder.named_parameters() if value.grad is None] == []


def test_sinusoids_are_those_of_the_paper() -> None:
    table = sinusoids(60, 8)
    assert table.shape == (60, 8)
    for position, pair in ((0, 0), (7, 1), (59, 3)):
        angle = torch.tensor(position / 10000 ** (2 * pair / 8), dtype=torch.float64)
        expected = torch.stack([angle.sin(), angle.cos()]).float()
        torch.testing.assert_close(table[position, 2 * pair : 2 * pair + 2], expected, rtol=0, atol=1e-6)
    assert sinusoids(5, 7).shape == (5, 7)
