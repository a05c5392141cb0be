"""Searching: beams find what trying everything finds, rules are kept, samples follow their distribution and company."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.models.transformer import TransformerConfig
from bertie.nn.decoder import Decoder
from bertie.nn.initialize import initialize
from bertie.nn.search import Search, Written, write

START, END, VOCABULARY, HIDDEN = 0, 1, 5, 8


def make_decoder(vocabulary: int = VOCABULARY) -> Decoder:
    config = TransformerConfig(
        vocabulary, START, END, hidden_size=HIDDEN, num_decoder_layers=1, num_heads=2, intermediate_size=16,
        max_positions=40,
    )  # fmt: skip
    decoder = config.build().decoder()
    initialize(decoder, deviation=0.8, generator=torch.Generator().manual_seed(3))
    return decoder.eval()


DECODER = make_decoder()
LENGTHS = (4, 1, 7, 3, 2, 6)


def make_source(lengths: tuple[int, ...] = LENGTHS) -> tuple[Tensor, Batch]:
    generator = torch.Generator().manual_seed(11)
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    tokens = torch.randint(0, VOCABULARY, (sum(lengths),), generator=generator)
    return torch.randn(sum(lengths), HIDDEN, generator=generator), Batch.pack(tokens, tokens * 0, offsets)


def run(search: Search, decoder: Decoder = DECODER, places: list[int] | None = None) -> list[list[Written]]:
    memory, source = make_source()
    if places is not None:
        edges = source.offsets.tolist()
        memory = torch.cat([memory[edges[place] : edges[place + 1]] for place in places])
        source = source.select(places)
    with torch.inference_mode():
        return write(decoder, memory, source, search, start=START, end=END)


def log_probability(place: int, tokens: tuple[int, ...]) -> float:
    """Sum over a whole text, by reading it at once."""
    memory, source = make_source()
    edges = source.offsets.tolist()
    read = torch.tensor([START, *tokens[:-1]])
    with torch.no_grad():
        logits = DECODER(
            memory[edges[place] : edges[place + 1]], source.select([place]), Batch.pack(read, read * 0, [0, len(read)])
        ).materialise()
    return float(logits.log_softmax(1)[torch.arange(len(tokens)), torch.tensor(tokens)].sum())


@pytest.mark.parametrize("penalty", [0.0, 1.0, 2.0, -0.5])
def test_wide_beams_find_the_best_of_all_texts(penalty: float) -> None:
    """A beam of 64 forgets nothing among the 85 texts of at most 3 tokens over 5."""
    longest, inner = 3, [token for token in range(VOCABULARY) if token != END]
    ended = [(*body, END) for size in range(longest) for body in itertools.product(inner, repeat=size)]
    texts = ended + list(itertools.product(inner, repeat=longest))
    search = Search(num_beams=64, max_new_tokens=longest, length_penalty=penalty, num_texts=1)
    for place, (found,) in enumerate(run(search)):
        scores = {text: log_probability(place, text) / len(text) ** penalty for text in texts}
        best = max(scores, key=scores.__getitem__)
        assert found.score <= scores[best] + 1e-5
        if penalty == 0.0:  # no text gets better by growing, so that stopping early loses nothing
            assert found.tokens == tuple(token for token in best if token != END)
        tokens = (*found.tokens, END) if found.ended else found.tokens
        assert found.score == pytest.approx(scores[tokens], abs=1e-5)
        assert found.log_probability == pytest.approx(log_probability(place, tokens) / len(tokens), abs=1e-5)


def test_greedy_takes_the_likeliest_at_each_step() -> None:
    for place, (found,) in enumerate(run(Search(max_new_tokens=6))):
        said: tuple[int, ...] = ()
        while len(said) < 6 and END not in said:
            said += (max(range(VOCABULARY), key=lambda token: log_probability(place, (*said, token))),)
        assert found.tokens == tuple(token for token in said if token != END)
        assert found.ended == (END in said)


@pytest.mark.parametrize(
    "search",
    [
        Search(max_new_tokens=12),
        Search(max_new_tokens=12, num_beams=3, num_texts=2),
        Search(max_new_tokens=12, sample=True, num_texts=3, temperature=1.5, seed=4),
    ],
    ids=["greedy", "beams", "samples"],
)
def test_company_and_order_change_nothing(search: Search) -> None:
    whole = run(search)
    order = [3, 0, 5]
    together, alone = run(search, places=order), run(search, places=[3])
    for place, found in zip([*order, 3], [*together, *alone], strict=True):
        assert [text.tokens for text in found] == [text.tokens for text in whole[place]]
        assert [text.score for text in found] == pytest.approx([text.score for text in whole[place]], abs=1e-5)


def test_beams_come_best_first_and_differ() -> None:
    for texts in run(Search(num_beams=4, num_texts=4, max_new_tokens=8)):
        assert [text.score for text in texts] == sorted((text.score for text in texts), reverse=True)
        assert len({(text.tokens, text.ended) for text in texts}) == 4


@pytest.mark.parametrize("beams", [1, 3])
def test_rules_are_kept(beams: int) -> None:
    free = [texts[0].tokens for texts in run(Search(num_beams=beams, max_new_tokens=20))]
    assert any(repeats(tokens, 2) for tokens in free) and any(len(tokens) < 6 for tokens in free)
    for texts in run(Search(num_beams=beams, max_new_tokens=20, no_repeat_ngram=2)):
        assert not repeats((START, *texts[0].tokens), 2)
    for texts in run(Search(num_beams=beams, max_new_tokens=20, min_new_tokens=6)):
        assert len(texts[0].tokens) >= 6
    assert max(len(texts[0].tokens) for texts in run(Search(num_beams=beams, max_new_tokens=2))) == 2


def repeats(tokens: tuple[int, ...], size: int) -> bool:
    runs = [tokens[place : place + size] for place in range(len(tokens) - size + 1)]
    return len(set(runs)) < len(runs)


def first_tokens(**settings: Any) -> list[float]:
    """Draw 4,000 first tokens of item 0: their shares."""
    found = run(Search(sample=True, num_texts=4000, max_new_tokens=1, **settings), places=[0])[0]
    drawn = [text.tokens[0] if text.tokens else END for text in found]
    return [drawn.count(token) / len(drawn) for token in range(VOCABULARY)]


def test_samples_follow_their_distribution() -> None:
    exact = torch.tensor([log_probability(0, (token,)) for token in range(VOCABULARY)])
    ranked = exact.sort(descending=True).indices.tolist()

    def near(shares: list[float], expected: Tensor) -> bool:
        pairs = zip(shares, expected.tolist(), strict=True)
        return all(abs(share - wanted) < 4 * math.sqrt(0.25 / 4000) for share, wanted in pairs)

    assert near(first_tokens(), exact.exp())
    assert near(first_tokens(temperature=2.0, seed=1), (exact / 2.0).softmax(0))
    two = torch.full_like(exact, -math.inf).index_copy(0, torch.tensor(ranked[:2]), exact[ranked[:2]])
    assert near(first_tokens(top_k=2), two.softmax(0))
    # The nucleus of a little more than the likeliest token's share is the two likeliest.
    assert near(first_tokens(top_p=float(exact.exp().max()) + 1e-4), two.softmax(0))
    assert first_tokens(top_p=1e-6)[ranked[0]] == 1.0


def test_seeds_differ_and_repeat() -> None:
    def texts(seed: int) -> list[tuple[int, ...]]:
        found = run(Search(sample=True, num_texts=2, max_new_tokens=10, temperature=2.0, seed=seed))
        return [text.tokens for both in found for text in both]

    assert texts(1) == texts(1) != texts(2)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_beams": 0}, "num_beams must be at least 1"),
        ({"num_texts": 3}, "needs as many beams"),
        ({"sample": True, "num_beams": 2}, "sampling needs num_beams 1"),
        ({"top_k": 4}, "sample=true"),
        ({"sample": True, "temperature": 0.0}, "temperature must be above 0"),
        ({"sample": True, "top_p": 1.5}, "top_p"),
        ({"min_new_tokens": 9, "max_new_tokens": 8}, "more than max_new_tokens"),
        ({"no_repeat_ngram": -1}, "at least 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Search(**settings)


def test_texts_beyond_the_positions_are_refused() -> None:
    with pytest.raises(SettingsError, match="40 positions"):
        run(Search(max_new_tokens=41))
