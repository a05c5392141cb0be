"""Encoding by remembered words gives the very ids of encoding whole sentences, on any text and with little memory."""

import string
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as RustTokenizer

from bertie.corpus import encoding, encoding_cache
from bertie.corpus.documents import read_documents
from bertie.corpus.encoding import TextEncoder
from bertie.corpus.sentences import split
from bertie.errors import DataError
from bertie.tokenizer import nano
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.tokenizer import Tokenizer


def by_sentence(encoder: TextEncoder, sentences: list[str]) -> list[list[int]]:
    tokens, lengths = encoder.encode(sentences)
    ends = np.concatenate([[0], np.cumsum(lengths)])
    assert ends[-1] == len(tokens)
    assert tokens.dtype == np.uint16
    return [tokens[start:end].tolist() for start, end in pairwise(ends)]


def by_words(tokenizer: Tokenizer) -> TextEncoder:
    """Make an encoder that remembers words, whatever else is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nano, "load", lambda tokenizer: None)
        return TextEncoder(tokenizer)


@pytest.fixture(scope="module", params=["words", "nanotoken"])
def encoder(vocabulary: Path, request: pytest.FixtureRequest) -> TextEncoder:
    tokenizer = load_tokenizer(vocabulary)
    if request.param == "words":
        return by_words(tokenizer)
    pytest.importorskip("nanotoken")
    encoder = TextEncoder(tokenizer)
    assert encoder._fast is not None
    return encoder


def test_a_bert_tokenizer_goes_by_words(encoder: TextEncoder) -> None:
    assert encoder._by_words
    sentences = ["the cats sat,  on the mat.", "", "的一是cat在。", " ", "\x00", "cat"]
    assert by_sentence(encoder, sentences) == encoder.tokenizer.encode_batch(sentences)
    assert by_sentence(encoder, []) == []


HOSTILE = st.text(
    st.sampled_from("aB9 ,.#的一在\u0301\u00e9İΣ\t\x00\x1c\u3000\u200b\u2028豈𠀀ﬁ가か\ufffd"), max_size=40
)


@settings(max_examples=300, deadline=None)
@given(sentences=st.lists(st.one_of(st.text(st.characters(exclude_categories=("Cs",)), max_size=40), HOSTILE)))
def test_equals_whole_sentences(encoder: TextEncoder, sentences: list[str]) -> None:
    assume(not any("[" in sentence for sentence in sentences))  # special tokens have a test of their own
    assert by_sentence(encoder, sentences) == encoder.tokenizer.encode_batch(sentences)


def test_special_tokens_in_text_are_text(encoder: TextEncoder) -> None:
    tokenizer = encoder.tokenizer
    sentences = ["a [SEP] b", "[CLS][MASK]cat[PAD]", "[UNK] [SEP", "[[SEP]]"]
    assert tokenizer.separator in tokenizer.encode_batch(sentences)[0]
    ids = by_sentence(encoder, sentences)
    assert not set(tokenizer.special_ids).intersection(*[[number for one in ids for number in one]])
    assert [tokenizer.tokens[number] for number in ids[0]] == ["a", "[", "s", "##e", "##p", "]", "b"]


def test_memory_is_bounded(vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding_cache, "MAX_STRINGS", 50)
    monkeypatch.setattr(encoding_cache, "MAX_CHARACTERS", 400)
    encoder = by_words(load_tokenizer(vocabulary))
    for number in range(40):
        sentences = [f"the cat{number} ran {number * word} on the mat" for word in range(20)] + ["x" * (30 * number)]
        assert by_sentence(encoder, sentences) == encoder.tokenizer.encode_batch(sentences)
        for kept in (encoder._units, encoder._words):
            assert len(kept._numbers) <= 50
            assert len(kept._ids) <= 50 * 30


def test_other_tokenizers_encode_whole_sentences(vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tokenizer whose words depend on their neighbours is found out."""
    tokenizer = load_tokenizer(vocabulary)
    plain = tokenizer.encode_batch

    def looks_around(texts: Any) -> list[list[int]]:
        return [
            [number + 1 for number in ids] if " " in text else ids
            for text, ids in zip(texts, plain(texts), strict=True)
        ]

    monkeypatch.setattr(tokenizer, "encode_batch", looks_around)
    encoder = by_words(tokenizer)
    assert not encoder._by_words
    assert by_sentence(encoder, ["the cat", "cat"] * 600) == looks_around(["the cat", "cat"] * 600)
    monkeypatch.setattr(tokenizer, "encode_batch", lambda texts: [[7] * len(text) for text in texts])
    assert not by_words(tokenizer)._by_words


def test_added_tokens_with_marks_encode_whole_sentences(vocabulary: Path, tmp_path: Path) -> None:
    rust = RustTokenizer.from_str(load_tokenizer(vocabulary).as_json)
    for added, expected in ((["dogs"], True), (["dogs", "c++"], False)):
        rust.add_tokens(added)
        rust.save(str(tmp_path / "tokenizer.json"))
        encoder = by_words(load_tokenizer(tmp_path))
        assert encoder._by_words == expected
        sentences = ["a dogs, c++cat", "xdogs c++"]
        assert by_sentence(encoder, sentences) == encoder.tokenizer.encode_batch(sentences)


def test_all_marks_that_can_end_words(vocabulary: Path) -> None:
    """The mark that parts words in a batch may stand in the text, and so may what is normalized to it."""
    encoder = by_words(load_tokenizer(vocabulary))
    for mark in string.punctuation:
        (one,) = encoder.tokenizer.encode_batch([mark])
        if one == [encoder.tokenizer.unknown]:
            continue
        encoder._end = mark, one[0]
        sentences = [
            f"cat{other} {other}{mark}dog {other}" for other in (*string.punctuation, "\u037e", "\u1fef", "\u226e")
        ]
        assert by_sentence(encoder, sentences) == encoder.tokenizer.encode_batch(sentences)
        encoder._units._forget()
        encoder._words._forget()


class Wrong:
    """A fast tokenizer that is right about some texts only."""

    version = "0.0"

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def encode(self, texts: list[str]) -> tuple[Any, Any]:
        ids = [
            [1, *ids] if "mat" in text else ids
            for text, ids in zip(texts, self.tokenizer.encode_batch(texts), strict=True)
        ]
        return np.array([one for row in ids for one in row], np.uint32), np.array([*map(len, ids)], np.int64)


def test_a_fast_tokenizer_that_errs_is_found_out(
    vocabulary: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(nano, "load", Wrong)
    tokenizer = load_tokenizer(vocabulary)
    encoder = TextEncoder(tokenizer)
    assert by_sentence(encoder, ["a cat", "the dog sat"]) == tokenizer.encode_batch(["a cat", "the dog sat"])
    with pytest.raises(DataError, match="pip uninstall nanotoken"):
        encoder.encode(["a cat", "on the mat"])
    monkeypatch.setattr(encoding, "_PROBE", ("on a mat",))
    encoder = TextEncoder(tokenizer)
    assert "it is not used" in capsys.readouterr().err
    assert by_sentence(encoder, ["on the mat"]) == tokenizer.encode_batch(["on the mat"])


def test_a_lone_surrogate_is_named_and_leaves_nothing_behind(encoder: TextEncoder) -> None:
    with pytest.raises(DataError, match="surrogate"):
        encoder.encode(["brand new words", "\ud800"])
    sentences = ["brand new words"]
    assert by_sentence(encoder, sentences) == encoder.tokenizer.encode_batch(sentences)


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["uncased", "cased", "chinese"])
def test_real_text(test_data: Path, english: Path, chinese: Path, name: str) -> None:
    encoder = by_words(load_tokenizer(test_data / "vocab" / f"bert-base-{name}-vocab.txt"))
    assert encoder._by_words
    for path, language in ((english, "en"), (chinese, "zh")):
        paragraphs = [text for document in read_documents(path) for text in document.paragraphs][:1500]
        sentences = [sentence for text in paragraphs for sentence in split(text, language=language)]
        plain = [sentence for sentence in sentences if not encoder._special.search(sentence)]
        assert by_sentence(encoder, plain) == encoder.tokenizer.encode_batch(plain)


def test_a_fast_tokenizer_that_panics_is_left(
    vocabulary: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Panic(BaseException):
        pass

    class Failing:
        version = "0"

        def encode(self, texts: list[str]) -> None:
            raise Panic("byte 3")

    encoder = TextEncoder(load_tokenizer(vocabulary))
    expected = encoder._encode_whole(["a cat", "a dog"])
    monkeypatch.setattr(encoder, "_fast", Failing())
    for _ in range(2):
        found = encoder.encode(["a cat", "a dog"])
        assert all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))
    assert capsys.readouterr().err.count("nanotoken 0 failed (byte 3); the tokenizer itself is used instead") == 1
