"""Text from outside on a page: never markup, never a character a page may not hold; pieces read like sentences."""

from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.reports.text import fit, safe, shorten, spaced

anything = st.text(st.characters(codec=None, exclude_categories=()))  # lone surrogates and control characters too


@given(anything)
def test_safe_text_is_no_markup(text: str) -> None:
    written = safe(text)
    written.encode("utf-8")
    root = ET.fromstring(f'<p title="{written}">{written}</p>')
    # XML makes newlines of carriage returns, and spaces of newlines in attributes.
    assert (root.text or "") == fit(text).replace("\r\n", "\n").replace("\r", "\n")
    assert len(root.attrib["title"]) == len(root.text or "")


@given(anything)
def test_safe_text_is_read_back(read_page: Callable[[str], Any], text: str) -> None:
    assert read_page(f"<p>{safe(text)}</p>").all("p")[0].text == fit(text)


def test_what_is_fit_stays() -> None:
    for text in ("", "a\tb\n", "北京 🎬 é", "مرحبا", "\u200b\u202e x"):
        assert fit(text) == text
    assert fit("a\x00b\ud800c\x1b\ufffe") == "a\ufffdb\ufffdc\ufffd\ufffd"


def join(pieces: str) -> str:
    return "".join(f"{' ' if space else ''}{word}" for word, space in spaced(pieces.split()))


@pytest.mark.parametrize(
    ("pieces", "sentence"),
    [
        ("the play ##ing field , at last !", "the playing field, at last!"),
        ("she isn ' t the minister ' s first", "she isn't the minister's first"),
        ("23 , 000 people , 2 . 5 % of them", "23,000 people, 2.5% of them"),
        ('he said : " i was there , " and left', 'he said: "i was there," and left'),
        ('" quoted " first', '"quoted" first'),
        ("a well - known figure ( see below ) .", "a well-known figure (see below)."),
        ("rock ' n ' roll - yes", "rock ' n ' roll-yes"),
        ("北 京 是 中 国 的 首 都 。", "北京是中国的首都。"),
        ("in 2008 北 京 won", "in 2008北京won"),
        ("[UNK] of [MASK] .", "[UNK] of [MASK]."),
        ("## ##", "## ##"),
        (", begins oddly", ", begins oddly"),
        ("", ""),
    ],
)
def test_pieces_become_sentences(pieces: str, sentence: str) -> None:
    assert join(pieces) == sentence


@given(st.lists(st.text(min_size=1, max_size=4) | st.sampled_from(["##ing", "'", '"', "-", "(", "京", ".", "2"])))
def test_no_piece_is_lost(pieces: list[str]) -> None:
    found = spaced(pieces)
    assert [word for word, _ in found] == [
        piece[2:] if piece.startswith("##") and len(piece) > 2 else piece for piece in pieces
    ]
    assert not found or not found[0][1]


@given(st.text(), st.integers(1, 40))
def test_short_text_fits(text: str, width: int) -> None:
    cut = shorten(text, width)
    assert cut == text or (cut.endswith("…") and len(cut) <= width and text.startswith(cut[:-1]))


def test_wide_characters_count_twice() -> None:
    assert shorten("北京北京", 8) == "北京北京"
    assert shorten("北京北京", 7) == "北京…"
    assert shorten("a long name", 6) == "a lon…"
