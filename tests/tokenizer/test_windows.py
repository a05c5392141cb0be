"""Windows over long texts: cut as the SQuAD code cuts, each piece owned by the window that shows most around it."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.errors import DataError, SettingsError
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.windows import Windows, lay_out, spans


def plain_spans(length: int, room: int, stride: int) -> list[tuple[int, int]]:
    """Cut as the recipe is written down: next start = start + min(length of this one, stride)."""
    found, start = [], 0
    while True:
        size = min(room, length - start)
        found.append((start, start + size))
        if start + size == length:
            return found
        start += min(size, stride)


def plain_owner(parts: list[tuple[int, int]], piece: int) -> int:
    """Find the window with the most context for a piece, the first one on ties."""
    scores = [
        min(piece - start, end - 1 - piece) + 0.01 * (end - start) if start <= piece < end else -1.0
        for start, end in parts
    ]
    return scores.index(max(scores))


@given(length=st.integers(0, 60), room=st.integers(1, 12), data=st.data())
def test_spans_are_those_of_the_recipe(length: int, room: int, data: Any) -> None:
    stride = data.draw(st.integers(1, room))
    assert spans(length, room=room, stride=stride) == plain_spans(length, room, stride)


def test_a_stride_that_skips_is_refused() -> None:
    for stride in (0, 5):
        with pytest.raises(SettingsError, match="stride must be from 1 to 4"):
            spans(10, room=4, stride=stride)


def laid(tokenizer: Any, first: list[int], second: list[int | None], **settings: Any) -> Windows:
    """Lay out texts of so many pieces, each piece telling its place by its id."""
    ids = [[10 + place % 40 for place in range(count)] for count in first]
    pairs = [None if count is None else [10 + place % 40 for place in range(count)] for count in second]
    return lay_out(ids, pairs, tokenizer, **{"max_length": 12, "truncation": "window", **settings})


@given(
    first=st.lists(st.integers(0, 40), min_size=1, max_size=4),
    paired=st.booleans(),
    stride=st.integers(1, 4),
    data=st.data(),
)
def test_every_piece_is_shown_and_owned_once(
    tiny_tokenizer: Any, first: list[int], paired: bool, stride: int, data: Any
) -> None:
    second = [data.draw(st.integers(0, 40)) if paired else None for _ in first]
    slide = data.draw(st.sampled_from(["longer", "second"]))
    found = laid(tiny_tokenizer, first, second, stride=stride, slide=slide)
    lengths = np.diff(found.pieces.offsets)
    assert lengths.max() <= 12 and len(lengths) == len(found.rows)
    shown, owned = found.shown, found.owned()
    edges = np.concatenate([[0], np.cumsum(found.counts)])
    for row, (a, b) in enumerate(zip(first, second, strict=True)):
        windows = np.flatnonzero(found.rows == row)
        sliding = b if b is not None and (slide == "second" or b >= a) else a
        parts = [(int(found.starts[w]), int(found.starts[w] + found.counts[w])) for w in windows]
        assert parts[-1][1] == sliding and parts[0][0] == 0
        assert all(start <= end for (_, end), (start, _) in pairwise(parts) if end > 0) or sliding == 0
        seen = []
        for window, (start, end) in zip(windows, parts, strict=True):
            tokens = found.pieces.tokens[shown[edges[window] : edges[window + 1]]]
            assert tokens.tolist() == [10 + place % 40 for place in range(start, end)]
            seen += [start + place for place in np.flatnonzero(owned[edges[window] : edges[window + 1]])]
            for place in range(start, end):
                mine = owned[edges[window] + place - start]
                assert mine == (windows[plain_owner(parts, place)] == window)
        assert sorted(seen) == list(range(sliding))


def test_the_text_that_stands_still_is_shown_in_every_window(tiny_tokenizer: Any) -> None:
    found = laid(tiny_tokenizer, [3], [20], slide="second", stride=2)
    for start, end in pairwise(found.pieces.offsets.tolist()):
        tokens = found.pieces.tokens[start:end].tolist()
        assert tokens[:5] == [tiny_tokenizer.start, 10, 11, 12, tiny_tokenizer.separator]
        assert tokens[-1] == tiny_tokenizer.separator
    assert found.places.tolist() == [5] * len(found.rows)


def test_what_is_not_shown_is_counted(tiny_tokenizer: Any) -> None:
    found = laid(tiny_tokenizer, [100, 5], [None, None], stride=5, max_windows=3)
    assert found.pieces.truncated.tolist() == [100 - 20, 0, 0, 0]
    # the other text of a pair fills half the room at most
    found = laid(tiny_tokenizer, [8], [30], slide="second")
    assert found.pieces.truncated[0] == 4 and found.pieces.truncated[1:].sum() == 0


def test_no_windows_when_they_are_not_asked_for(tiny_tokenizer: Any) -> None:
    found = laid(tiny_tokenizer, [3, 2, 4], [30, None, 1], truncation="truncate", slide="second")
    assert found.rows.tolist() == [0, 1, 2] and found.owned().all()
    assert found.counts.tolist() == [6, 2, 1] and found.places.tolist() == [5, 1, 6]
    assert found.pieces.tokens[found.shown].tolist() == [10, 11, 12, 13, 14, 15, 10, 11, 10]
    with pytest.raises(DataError, match="text 1 has 36 tokens, more than 12"):
        laid(tiny_tokenizer, [3], [30], truncation="error")


def test_a_long_text_takes_its_time(tiny_tokenizer: Any) -> None:
    """A quarter of a million pieces: two thousand windows, each piece owned once."""
    found = lay_out([[10] * 250_000], [None], tiny_tokenizer, max_length=256, truncation="window")
    assert found.owned().sum() == 250_000


def test_shares_of_a_mean(tiny_tokenizer: Any) -> None:
    """Whatever the windows, a piece counts once in all, and [CLS] and [SEP] once each."""
    found = laid(tiny_tokenizer, [30, 4, 0], [None, None, None], stride=3)
    sums = np.add.reduceat(found.shares(), found.pieces.offsets[np.searchsorted(found.rows, [0, 1, 2])])
    np.testing.assert_allclose(sums, [32, 6, 2], rtol=1e-6)
    assert set(found.shares()[found.shown].tolist()) == {0.0, 1.0}


def test_two_separators_between_the_texts_of_a_pair(tiny_tokenizer: Tokenizer) -> None:
    """Whatever a tokenizer puts between them, windows say where their text begins, and never grow too long."""
    tokenizer = Tokenizer(tiny_tokenizer._rust)
    tokenizer.num_between = 2
    first, second = [[7, 8, 9]], [list(range(10, 30))]
    for truncation in ("truncate", "window"):
        laid = lay_out(first, second, tokenizer, max_length=14, truncation=truncation, stride=4, slide="second")
        for place, (begin, end) in enumerate(pairwise(laid.pieces.offsets.tolist())):
            tokens = laid.pieces.tokens[begin:end].tolist()
            shown = second[0][laid.starts[place] : laid.starts[place] + laid.counts[place]]
            assert tokens == [2, 7, 8, 9, 3, 3, *shown, 3] and len(tokens) <= 14
            assert tokens[laid.places[place] :][: laid.counts[place]] == shown
    slid = lay_out(first, [[10]], tokenizer, max_length=7, truncation="window", stride=1)
    assert [len(slid.pieces), slid.counts.tolist()] == [2, [2, 2]]
