"""Wrapped lines are joined into the paragraphs they were, and text that isn't wrapped is left alone."""

import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.corpus.plain_text import END, is_wiki, join_wrapped, plain_parts, wiki_parts, wrapped_width

SENTENCES = [
    "The committee met again on Thursday to consider what had been decided at the last of its meetings.",
    "Nothing came of it.",
    "Several of the members, who had travelled a long way, were visibly annoyed by the delay; one of them left early.",
    "It was agreed that the matter should be taken up once more in the spring, when the roads would be better.",
]
PARAGRAPHS = [" ".join(SENTENCES[: 1 + number % 4] * 2) for number in range(20)]


def ignore(width: int) -> None:
    """Take the width for known."""


@pytest.mark.parametrize("width", [50, 72, 100])
@pytest.mark.parametrize("between", ["\n", "\n\n"])
@pytest.mark.parametrize("indent", ["", "    "])
def test_wrapped_prose_is_restored(width: int, between: str, indent: str) -> None:
    wrapped = between.join(textwrap.fill(text, width, initial_indent=indent) for text in PARAGRAPHS)
    widths: list[int] = []
    lines = list(join_wrapped(wrapped.split("\n"), found=widths.append))
    joined = [line for line in lines if line]
    if between == "\n\n":
        assert joined == PARAGRAPHS
        assert lines.count("") == len(PARAGRAPHS) - 1
    else:
        # Without blank lines a last line that happens to be full can't be told from the others.
        assert " ".join(joined) == " ".join(PARAGRAPHS)
        assert all(any(text in line for line in joined) for text in PARAGRAPHS)
        assert len(joined) >= len(PARAGRAPHS) // 2
    assert len(widths) == 1
    assert 0.85 * width <= widths[0] <= width


def test_wrapped_chinese_is_joined_without_spaces() -> None:
    text = "今天天气很好我们一起去公园散步看花听鸟唱歌大家都很高兴。" * 20
    lines = [text[start : start + 40] for start in range(0, len(text), 40)]
    assert list(join_wrapped(lines, found=ignore)) == [text]


@pytest.mark.parametrize(
    "lines",
    [
        SENTENCES * 10,
        PARAGRAPHS,
        [f"Sentence number {number:04d} has the very same length as all the others." for number in range(100)],
        [f"title of story {number:04d} about things" for number in range(100)],
        ["short", "lines", "of", "verse"] * 30,
        ["今天天气很好，我们一起去公园散步，看花听鸟唱歌。" * (1 + number % 3) for number in range(60)],
        [
            "房间很大，早餐一般，服务员态度不错，下次还会再来住，推荐给大家" + "好" * (number % 17)
            for number in range(60)
        ],
        [],
    ],
)
def test_other_text_is_left_alone(lines: list[str]) -> None:
    assert wrapped_width(lines) is None
    assert list(join_wrapped(lines, found=pytest.fail)) == lines


def test_joining_is_bounded() -> None:
    lines = textwrap.wrap(" ".join(PARAGRAPHS), 60) * 200
    joined = list(join_wrapped(lines, found=ignore))
    assert max(map(len, joined)) <= 2000 * 61
    assert " ".join(joined) == " ".join(lines)


def test_a_long_line_among_wrapped_ones_stands_alone() -> None:
    wrapped = textwrap.fill(" ".join(PARAGRAPHS), 60).split("\n")
    joined = list(join_wrapped([*wrapped, "x" * 500, "y" * 500], found=ignore))
    assert joined[-1] == "y" * 500


LINES = st.lists(st.text(st.sampled_from("ab .。中\t"), max_size=90))


@settings(max_examples=200, deadline=None)
@given(lines=LINES)
def test_joining_loses_nothing(lines: list[str]) -> None:
    joined = "".join("".join(join_wrapped(lines, found=ignore)).split())
    assert joined == "".join("".join(lines).split())


@settings(max_examples=200, deadline=None)
@given(lines=st.lists(st.sampled_from(["<doc id=1>", '<doc title="x">', "</doc>", "x", "", " y "])))
def test_parts_end_with_a_document(lines: list[str]) -> None:
    """Whatever the input, nothing stands behind the last end, and no paragraph is blank."""
    for parts in (list(wiki_parts(lines, name="a")), list(plain_parts(lines, separator="blank-line"))):
        assert not parts or parts[-1] is END
        assert all(part is END or part for part in parts)


def test_wiki_form_is_told_by_its_first_line() -> None:
    assert is_wiki('<doc id="12">\n')
    assert not is_wiki("<document>\n")
    assert not is_wiki("")
