"""Encoding by remembered words gives the very ids of encoding whole sentences, on any text and with little memory."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bertie.corpus import encoding
from bertie.corpus.documents import read_documents
from bertie.corpus.encoding import Encoder
from bertie.corpus.sentences import split
from bertie.tokenizer.tokenizer import Tokenizer


def by_sentence(encoder: Encoder, sentences: list[str]) -> list[list[int]]:
    tokens, lengths = encoder.encode(sentences)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    assert ends[-1] == len(tokens)
    assert tokens.dtype == np.uint16
    return [tokens[start:end].tolist() for start, end in pairwise(ends)]


@pytest.fixture(scope="module")
def encoder(vocabulary: Path) -> Encoder:
    return Encoder(Tokenizer.load(vocabulary))


def test_a_bert_tokenizer_goes_by_words(encoder: Encoder) -> None:
    assert encoder._by_words
    sentences = ["the cats sat,  on the mat.", "", "的一是cat在。", " ", "\x00", "cat"]
    assert by_sentence(encoder, sentences) == encoder.tokenizer.encode_batch(sentences)
    assert by_sentence(encoder, []) == []


HOSTILE = st.text(
    st.sampled_from("aB9 ,.#的一在\u0301\u00e9İΣ\t\x00\x1c\u3000\u200b\u2028豈𠀀ﬁ가か\ufffd"), max_size=40
)


@settings(max_examples=300, deadline=None)
@given(sentences=st.lists(st.one_of(st.text(st.characters(exclude_categories=("Cs",)), max_size=40), HOSTILE)))
def test_equals_whole_sentences(encoder: Encoder, sentences: list[str]) -> None:
    assume(not any("[" in sentence for sentence in sentences))  # special tokens have a test of their own
    assert by_sentence(encoder, sentences) == encoder.tokenizer.encode_batch(sentences)


def test_special_tokens_in_text_are_text(encoder: Encoder) -> None:
    tokenizer = encoder.tokenizer
    sentences = ["a [SEP] b", "[CLS][MASK]cat[PAD]", "[UNK] [SEP", "[[SEP]]"]
    assert tokenizer.separator in tokenizer.encode_batch(sentences)[0]
    ids = by_sentence(encoder, sentences)
    assert not set(tokenizer.special_ids).intersection(*[[number for one in ids for number in one]])
    assert [tokenizer.tokens[number] for number in ids[0]] == ["a", "[", "s", "##e", "##p", "]", "b"]


def test_memory_is_bounded(vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "_MAX_WORDS", 50)
    monkeypatch.setattr(encoding, "_MAX_CHARACTERS", 400)
    encoder = Encoder(Tokenizer.load(vocabulary))
    for number in range(40):
        sentences = [f"the cat{number} ran {number * word} on the mat" for word in range(20)] + ["x" * (30 * number)]
        assert by_sentence(encoder, sentences) == encoder.tokenizer.encode_batch(sentences)
        assert len(encoder._numbers) <= 50
        assert len(encoder._ids) <= 50 * 30


def test_other_tokenizers_encode_whole_sentences(vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer whose words depend on their neighbours is found out."""
    tokenizer = Tokenizer.load(vocabulary)
    plain = tokenizer.encode_batch

    def looks_around(texts: Any) -> list[list[int]]:
        return [
            [number + 1 for number in ids] if " " in text else ids
            for text, ids in zip(texts, plain(texts), strict=True)
        ]

    monkeypatch.setattr(tokenizer, "encode_batch", looks_around)
    encoder = Encoder(tokenizer)
    assert not encoder._by_words
    assert by_sentence(encoder, ["the cat", "cat"] * 600) == looks_around(["the cat", "cat"] * 600)
    monkeypatch.setattr(tokenizer, "encode_batch", lambda texts: [[7] * len(text) for text in texts])
    assert not Encoder(tokenizer)._by_words


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["uncased", "cased", "chinese"])
def test_real_text(test_data: Path, english: Path, chinese: Path, name: str) -> None:
    encoder = Encoder(Tokenizer.load(test_data / "vocab" / f"bert-base-{name}-vocab.txt"))
    assert encoder._by_words
    for path, language in ((english, "en"), (chinese, "zh")):
        paragraphs = [text for document in read_documents(path) for text in document.paragraphs][:1500]
        sentences = [sentence for text in paragraphs for sentence in split(text, language=language)]
        plain = [sentence for sentence in sentences if not encoder._special.search(sentence)]
        assert by_sentence(encoder, plain) == encoder.tokenizer.encode_batch(plain)
