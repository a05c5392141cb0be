"""Chinese words are found in the text and meet the ids, whatever kind of tokenizer cut them."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import ByteLevelBPETokenizer

from bertie.corpus import segmentation
from bertie.corpus.encoding import TextEncoder
from bertie.corpus.segmentation import Segmenter, UserDictionary, has_words, is_chinese
from bertie.errors import DataError, SettingsError
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.tokenizer import Tokenizer

LETTERS = "abcdeo"


class Cutter:
    """Cuts where it is told to: behind every character of `ends`."""

    def __init__(self) -> None:
        self.ends = "的a"
        self.mode = ""

    def cut(self, text: str) -> list[str]:
        if self.mode == "panic":
            raise BaseException("a panic is no Exception")
        if self.mode == "loses":
            return [text[1:]]
        words, start = [], 0
        for place, character in enumerate(text, 1):
            alone = {character, text[place : place + 1]} & {" ", "\x00", "\u0301", ""}  # no segmenter has them in words
            if character in self.ends or alone:
                words.append(text[start:place])
                start = place
        return words

    def add_word(self, word: str, frequency: int | None, tag: str | None) -> None:
        pass


@pytest.fixture
def cutting(monkeypatch: pytest.MonkeyPatch) -> Segmenter:
    module = ModuleType("rjieba")
    module.Jieba = Cutter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rjieba", module)
    return Segmenter()


@pytest.fixture(scope="module")
def wordpiece() -> Tokenizer:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{each}" for each in LETTERS)]
    return Tokenizer.build([*pieces, *".,#!。", *"的一是在北京"], lowercase=True)


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("bytes")
    trained = ByteLevelBPETokenizer()
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    texts = ["北京是的北京 a cab，是的一在", "的一的一 bad"] * 3
    trained.train_from_iterator(texts, vocab_size=290, special_tokens=names, show_progress=False)
    trained.save_model(str(folder))
    return load_tokenizer(folder)


def goes_on(
    encoder: TextEncoder, segmenter: Segmenter, texts: list[str], chosen: list[bool] | None = None
) -> list[str]:
    """Write each text's pieces, with a bar before those that begin a word."""
    ids, lengths, flags = encoder.encode_with_words(texts, segmenter, chosen or [True] * len(texts))
    assert ids.tolist() == [piece for one in encoder.tokenizer.encode_batch(texts) for piece in one]
    ends = np.cumsum(lengths)
    shown = [f"{'' if flag else '|'}{encoder.tokenizer.tokens[each]}" for each, flag in zip(ids, flags, strict=True)]
    return ["".join(shown[end - length : end]) for end, length in zip(ends, lengths, strict=True)]


def test_words_meet_pieces(wordpiece: Tokenizer, cutting: Segmenter) -> None:
    encoder = TextEncoder(wordpiece)
    texts = ["北京的一是", "abc bad ab. 北京", "", "龘京的cab在的", "在a京", "北\x00京 [SEP]的"]
    assert goes_on(encoder, cutting, texts[:3]) == ["|北京的|一是", "|a|##b|##c|b|##a|##d|a|##b|.|北京", ""]
    assert goes_on(encoder, cutting, texts[3:5]) == ["|[UNK]京的|c|##a|##b在的", "|在a|京"]
    assert goes_on(encoder, cutting, ["北京的", "北京的"], [False, True]) == ["|北|京|的", "|北京的"]
    ids, _, flags = encoder.encode_with_words(texts[5:], cutting, [True])  # a character that leaves no piece
    assert ids[:2].tolist() == wordpiece.encode_batch(["北京"])[0] and not flags[:2].any()
    assert not set(ids.tolist()) & {wordpiece.separator}


def test_pieces_that_are_no_characters(byte_level: Tokenizer, cutting: Segmenter) -> None:
    encoder = TextEncoder(byte_level)
    assert not encoder._by_words
    for text in ("北京的一是", "cab 北京 bad的龘龘", "是的一在"):
        ((ids, offsets),) = byte_level.encode_batch_aligned([text])
        found, lengths, flags = encoder.encode_with_words([text], cutting, [True])
        assert found.tolist() == ids and lengths.tolist() == [len(ids)]
        assert flags.tolist() == plainly(text, offsets, cutting)


def plainly(text: str, offsets: list[tuple[int, int]], segmenter: Segmenter) -> list[bool]:
    """Give every character its word, and compare those at both sides of every place between two pieces."""
    owners: list[object] = []
    for word in segmenter._jieba.cut(text):
        owner = object()
        owners += [owner if is_chinese(word).any() else object() for _ in word]
    pairs = pairwise(offsets)
    return [False, *(owners[this[0]] is owners[before[1] - 1] for before, this in pairs)][: len(offsets)]


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(st.sampled_from("abe.! 的一北京龘É\u0301\x00"), max_size=12), max_size=4))
def test_by_words_equals_by_offsets(texts: list[str]) -> None:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *(f"##{each}" for each in LETTERS)]
    tokenizer = Tokenizer.build([*pieces, *".,#!。", *"的一是在北京"], lowercase=True)
    segmenter = Segmenter.__new__(Segmenter)
    segmenter._jieba, segmenter._listed, segmenter._lines = Cutter(), frozenset(), {}
    encoder = TextEncoder(tokenizer)
    assert encoder._by_words
    ids, lengths, flags = encoder.encode_with_words(texts, segmenter, [True] * len(texts))
    start = 0
    for text, length in zip(texts, lengths.tolist(), strict=True):
        ((own, offsets),) = tokenizer.encode_batch_aligned([text])
        assert own == ids[start : start + length].tolist()
        for place, expected in enumerate(plainly(text, offsets, segmenter)):
            first = offsets[place][0]
            if is_chinese(text[first]).any() or (first and is_chinese(text[first - 1]).any()):
                assert flags[start + place] == expected, (text, place)
        start += length


@pytest.mark.parametrize("mode", ["panic", "loses"])
def test_a_segmenter_that_fails(mode: str, wordpiece: Tokenizer, cutting: Segmenter) -> None:
    cutting._jieba.mode = mode
    uncut: list[str] = []
    _, _, flags = TextEncoder(wordpiece).encode_with_words(["北京"], cutting, [True], uncut)
    assert not flags.any() and uncut == ["北京"]


def test_which_texts_have_words() -> None:
    assert [has_words(text) for text in ("北京", "a北京", "北 京", "北", "ab", "かな", "")] == [
        True,
        True,
        *[False] * 5,
    ]
    assert is_chinese("a一𠀀か").tolist() == [False, True, True, False]


def write(folder: Path, content: str) -> UserDictionary:
    (folder / "words.txt").write_text(content, encoding="utf-8")
    return UserDictionary.of(folder / "words.txt")


def test_a_user_dictionary(tmp_path: Path) -> None:
    found = write(tmp_path, "\ufeff云计算\n\n卡拉OK 50 n\n李小福 nr\n石墨烯\t7\r\n")
    assert found.entries() == {"云计算": (1, None), "卡拉OK": (3, 50), "李小福": (4, None), "石墨烯": (5, 7)}
    (tmp_path / "words.txt").write_text("别的\n", encoding="utf-8")
    with pytest.raises(DataError, match="changed while"):
        found.entries()


@pytest.mark.parametrize(
    "line", ["云 计算", "云计算 n 3", "云计算 3 n x", "云计算 -1", "云计算 1.5", "云 " + "9" * 5000]
)
def test_lines_that_are_no_entries(line: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"words.txt:2: not a valid entry"):
        write(tmp_path, f"好的\n{line}\n")


def test_an_empty_dictionary(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="contains no words"):
        write(tmp_path, " \n")
    with pytest.raises(SettingsError, match="no such file"):
        UserDictionary.of(tmp_path / "nowhere.txt")


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(segmentation, "is_installed", lambda: False)
    assert segmentation.segmentation("auto", None) is None
    assert segmentation.segmentation("none", None) is None
    dictionary = Path(write(tmp_path, "云计算\n").path)
    given_: list[tuple[Any, Path | None]] = [("jieba", None), ("auto", dictionary)]
    for words, file in given_:
        with pytest.raises(SettingsError, match=r"pip install 'bertie\[zh\]'"):
            segmentation.segmentation(words, file)


def test_the_real_segmenter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rjieba")
    dictionary = write(tmp_path, "石墨烯电池\nC++\n哈利·波特\n")
    text = "他在北京大学用C++写石墨烯电池 abc, don't。"
    numbers = Segmenter(dictionary).word_numbers([text]).tolist()
    words = [
        "".join(each for each, number in zip(text, numbers, strict=True) if number == one) for one in sorted({*numbers})
    ]
    assert {"北京大学", "C++", "石墨烯电池"} <= set(words)
    assert {"a", "b", "d", "'"} <= set(words)  # of what holds no Chinese the vocabulary knows the words
    segmentation.warn_of_unfound(segmentation.Segmentation(True, dictionary))
    assert "哈利·波特 (line 3) will not be found" in capsys.readouterr().err
