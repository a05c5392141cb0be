"""Going on with texts: reading by the cache is reading the whole, for texts of any lengths side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.batch import Batch
from bertie.models.bert import BertConfig
from bertie.nn.continuation import Continuation
from bertie.nn.initialize import initialize
from bertie.nn.search import Search, write

VOCABULARY = 23


def make() -> tuple[Continuation, torch.nn.Module]:
    config = BertConfig(
        VOCABULARY, hidden_size=16, num_layers=2, num_heads=2, intermediate_size=32, max_positions=70, dropout=0.0
    )
    encoder = config.build()
    logits = encoder.token_logits()
    draw = torch.Generator().manual_seed(1)
    for part in (encoder, logits):
        initialize(part, deviation=0.3, generator=draw)
    return encoder.eval().continuation(logits.eval()), encoder


WRITER, ENCODER = make()


def pack(rows: list[list[int]]) -> Batch:
    offsets = torch.tensor([0, *(len(row) for row in rows)]).cumsum(0)
    tokens = torch.tensor([token for row in rows for token in row])
    return replace(Batch.pack(tokens, torch.zeros_like(tokens), offsets), causal=True)


def whole(rows: list[list[int]]) -> torch.Tensor:
    """What comes after each row, read from its beginning."""
    batch = pack(rows)
    logits: torch.Tensor = WRITER.token_logits(ENCODER(batch)[batch.offsets[1:].long() - 1]).materialise()
    return logits


@settings(max_examples=12)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(1, 3), st.integers(1, 34))
def test_the_cache_gives_what_the_whole_gives(lengths: list[int], beams: int, steps: int) -> None:
    draw = torch.Generator().manual_seed(sum(lengths))
    texts = [torch.randint(0, VOCABULARY, (length,), generator=draw).tolist() for length in lengths]
    rows = [list(text) for text in texts for _ in range(beams)]
    with torch.no_grad():
        source = pack(texts)
        cache = WRITER.begin(torch.empty(0), source, beams)
        tokens = torch.tensor([row[-1] for row in rows])
        for number in range(steps):
            logits, cache = WRITER.step(tokens, cache)
            if number in (0, steps - 1):
                torch.testing.assert_close(logits, whole(rows), rtol=0, atol=1e-5)
            if number == steps // 2:  # beams change places within their items, and an item may leave
                parents = torch.cat(
                    [item * beams + torch.randperm(beams, generator=draw) for item in range(len(texts))]
                )
                cache, rows = cache.follow(parents), [list(rows[parent]) for parent in parents.tolist()]
            tokens = torch.randint(0, VOCABULARY, (len(rows),), generator=draw)
            rows = [[*row, token] for row, token in zip(rows, tokens.tolist(), strict=True)]


def test_items_that_leave_change_nothing_for_the_others() -> None:
    texts = [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    with torch.no_grad():
        cache = WRITER.begin(torch.empty(0), pack(texts), 1)
        _, cache = WRITER.step(torch.tensor([3, 4, 9]), cache)
        logits, _ = WRITER.step(torch.tensor([11, 12]), cache.keep(torch.tensor([0, 2])))
        torch.testing.assert_close(logits, whole([[1, 2, 3, 11], [5, 6, 7, 8, 9, 12]]), rtol=0, atol=1e-5)


def test_greedy_is_the_likeliest_token_again_and_again() -> None:
    texts, search = [[1, 2, 3], [4], [5, 6]], Search(max_new_tokens=9)
    with torch.inference_mode():
        found = write(WRITER, torch.empty(0), pack(texts), search, start=torch.tensor([3, 4, 6]), end=0)
        for text, (written,) in zip(texts, found, strict=True):
            row = list(text)
            while len(row) - len(text) < 9 and (following := int(whole([row]).argmax())) != 0:
                row.append(following)
            assert list(written.tokens) == row[len(text) :]


def test_a_text_longer_than_the_positions_is_refused() -> None:
    with torch.no_grad():
        cache = WRITER.begin(torch.empty(0), pack([[1] * 69]), 1)
        for _ in range(2):
            _, cache = WRITER.step(torch.tensor([1]), cache)
        with pytest.raises(ValueError, match="more than the 70 tokens"):
            WRITER.step(torch.tensor([1]), cache)
