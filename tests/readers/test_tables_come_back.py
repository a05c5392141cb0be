"""Any table that a usual program writes is read back exactly, or refused; never misread."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertie.errors import BertieError
from bertie.readers.table import read_table

SCRIPTS = ("abcdefgh", "абвгдежз", "αβγδεζηθ", "你好世界电影很差", "कखगचजतदन", "גדהוזחטי", "ابتثجحخد")
NAMES = (
    ("text", "label"),
    ("utterance", "intent"),
    ("Nachricht", "Stimmung"),
    ("texte_client", "avis"),
    ("отзыв", "оценка"),
    ("评论", "情感"),
    ("review body", "star rating"),
)
MARKS = (", ", "; ", " | ", "\t", '"', " ", "\n", "!", "''", "...", "; ", ",", ";")


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Draw a text of some words of one script, with marks that may stand between columns too."""
    letters = draw(st.sampled_from(SCRIPTS))
    words = draw(st.lists(st.text(letters, min_size=1, max_size=9), min_size=1, max_size=9))
    joined = words[0]
    for word in words[1:]:
        joined += draw(st.sampled_from(MARKS) if draw(st.integers(0, 3)) == 0 else st.just(" ")) + word
    return joined.strip()


@st.composite
def tables(draw: st.DrawFn) -> tuple[tuple[str, str], list[tuple[str, str]]]:
    """Draw names of columns, and rows of texts and of labels in some words or numbers."""
    labels = draw(st.sampled_from([("0", "1"), ("pos", "neg"), ("gut", "schlecht", "neutral"), ("1.5", "2.0", "4.25")]))
    rows = draw(st.lists(st.tuples(texts(), st.sampled_from(labels)), min_size=1, max_size=12))
    return draw(st.sampled_from(NAMES)), rows


@pytest.mark.parametrize("named", [True, False])
@settings(max_examples=150, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    table=tables(),
    suffix=st.sampled_from([".csv", ".tsv"]),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
)
def test_what_programs_write_comes_back(
    tmp_path: Path,
    table: tuple[tuple[str, str], list[tuple[str, str]]],
    suffix: str,
    delimiter: str,
    quoting: int,
    end: str,
    mark: bool,
    named: bool,
) -> None:
    names, rows = table
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator=end)
    writer.writerows([names, *rows] if named else rows)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(("\ufeff" if mark else "").encode() + stream.getvalue().encode())
    try:
        found = read_table(path, labelled=True)
    except BertieError:
        return  # refused, in words
    assert [(item.text, item.label) for item in found.items] == [(text, label) for text, label in rows]
