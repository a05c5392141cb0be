"""Sentences are where a reader sees them, nothing is lost, and hostile text takes no longer."""

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.corpus.documents import read_documents
from bertie.corpus.sentences import LANGUAGES, check_language, detect_language, split
from bertie.errors import SettingsError


def without_spaces(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(
    "sentences",
    [
        ["Mr. Smith went to Washington.", "He didn't like it!", "Did he?"],
        ["It costs $3.50 at St. John's.", "The U.S. team won.", "See e.g. the map."],
        ['"Come here!" he said.', "She came."],
    ],
)
def test_english(sentences: list[str]) -> None:
    assert split("  ".join(sentences)) == sentences


@pytest.mark.parametrize(
    "sentences",
    [
        ["今天天气很好。", "我们去公园吧！", "好吗？"],
        ["“你好！”", "他说。"],
        ["真的？！", "太好了！！！", "走吧"],
        ["他想了想……", "然后走了…又回来了。"],
        ["《你好，李焕英！》是一部电影。", "是的（真的！）。", "完"],
        ["（他走了。）我没走。", "他也没走。"],
        ["房间很好!", "服务也不错!!", "Yahoo! 是公司。", "版本3.14不是句子。"],
        ['他说"你好。"', "我说“好。”", '"走吧。"', "他走了。"],
        ["「是吗？」", "『对。』", "好。】", "未完"],
        ["《没有结束的书名。", "第二句。"],
        ["これは本です。", "あれも本です。"],
    ],
)
def test_chinese(sentences: list[str]) -> None:
    assert split("".join(sentences), language="zh") == sentences


def test_line_mode_keeps_lines() -> None:
    assert split(" One. Two. ", mode="line") == ["One. Two."]
    assert split(" \u3000 ", mode="line") == []


@pytest.mark.parametrize("language", ["en", "zh", "de"])
@pytest.mark.parametrize("text", ["", " ", "\u3000"])
def test_nothing_gives_nothing(language: str, text: str) -> None:
    assert split(text, language=language) == []


MARKS = st.text(st.sampled_from("a B.!?…。！？ “”\"'《》（）()」中文\u3000\t\x00\u0301"), max_size=80)


@pytest.mark.parametrize("language", ["en", "zh", "ja"])
@settings(max_examples=150, deadline=None)
@given(text=st.one_of(st.text(max_size=80), MARKS))
def test_nothing_is_lost(language: str, text: str) -> None:
    text = text.replace("\n", " ").replace("\r", " ")
    sentences = split(text, language=language)
    assert without_spaces("".join(sentences)) == without_spaces(text)
    assert all(sentence and sentence == sentence.strip() for sentence in sentences)


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("piece", ["《", "（《", "(" * 50, "。”" * 3, "…", "! ", "\"'", "a", "中", "《" + "字" * 79])
def test_hostile_text_takes_linear_time(language: str, piece: str) -> None:
    def seconds(num_characters: int) -> float:
        text = piece * (num_characters // len(piece))
        begun = time.process_time()
        assert without_spaces("".join(split(text, language=language))) == without_spaces(text)
        return time.process_time() - begun

    # Quadratic work takes 64 times as long in every attempt, not 8. A busy neighbour can spoil one attempt, so the best
    # of several counts. Less than a tenth of a second says nothing.
    assert any(seconds(160_000) < max(0.1, 24 * seconds(20_000)) for _ in range(5))


def test_sentence_of_a_million_characters() -> None:
    for language, text in (("en", "word " * 200_000), ("zh", "字" * 1_000_000)):
        assert split(text, language=language) == [text.strip()]


def test_a_long_paragraph_has_its_sentences() -> None:
    sentences = [f"Sentence number {number} stands here." for number in range(3000)]
    found = split(" ".join(sentences))
    joined = len(sentences) - len(found)
    assert " ".join(found) == " ".join(sentences)
    # A window's edge may join two sentences, and never parts one.
    assert 0 <= joined <= len(" ".join(sentences)) // 10_000


def test_languages() -> None:
    for language in ("auto", *LANGUAGES):
        check_language(language)
    with pytest.raises(SettingsError, match=r"--language 'eng' is unknown; did you mean 'en'"):
        check_language("eng")
    assert detect_language(["An English text about 北京 and 上海, two cities."]) == "en"
    assert detect_language(["东富山站（）是隶属于JR货物的铁路车站，编号为10。"]) == "zh"
    assert detect_language(["《Avatar: The Way of Water》 (2022)", "是一部美国电影，由 James Cameron 执导。"]) == "zh"
    assert detect_language(["2015", "...", "Ελληνικά русский"]) == "en"
    assert detect_language(["English. " * 2000, "中文" * 5000]) == "en"


@pytest.mark.realdata
def test_real_chinese(chinese: Path) -> None:
    """Hardly any piece holds a second sentence, and the pieces have the length of sentences."""
    sentences = []
    for document in read_documents(chinese):
        language = detect_language(document.paragraphs)
        assert language == "zh" or sum(map(len, document.paragraphs)) < 2000
        for paragraph in document.paragraphs:
            sentences += split(paragraph, language=language)
            assert without_spaces("".join(split(paragraph, language=language))) == without_spaces(paragraph)
    inner = sum("。" in sentence.rstrip("。”’」』）〕】》〉］｝)]\"'") for sentence in sentences)
    assert inner < 0.01 * len(sentences)
    assert 15 < sum(map(len, sentences)) / len(sentences) < 60


@pytest.mark.realdata
def test_real_english(english: Path) -> None:
    sentences = [
        sentence
        for document in read_documents(english)
        for paragraph in document.paragraphs
        for sentence in split(paragraph)
    ]
    ended = sum(sentence.endswith((".", "!", "?", '"', ")", ":", "'", ";")) for sentence in sentences)
    assert ended > 0.9 * len(sentences)
    assert 80 < sum(map(len, sentences)) / len(sentences) < 200
