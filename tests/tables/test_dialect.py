"""What parts the columns of a text table, and its quotes, are told from its lines; what fits two ways is asked."""

import csv
import io
from pathlib import Path

import pytest

from bertie.errors import DataError, SettingsError
from bertie.tables.table import Rows, open_rows

ROWS = [
    ("Gut, aber teuer; nie wieder", "schlecht"),
    ('Er sagte "nein" und ging', "schlecht"),
    ("Zwei Zeilen\nin einem Text", "gut"),
    ("Immer wieder gern", "gut"),
]


def written(path: Path, delimiter: str, quoting: int = csv.QUOTE_MINIMAL, rows: list[tuple[str, str]] = ROWS) -> Path:
    stream = io.StringIO()
    csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator="\n").writerows([("text", "label"), *rows])
    path.write_text(stream.getvalue(), encoding="utf-8")
    return path


def read(path: Path, **columns: str) -> tuple[Rows, list[tuple[str, ...]]]:
    with open_rows(path, columns=columns) as table:
        return table, [tuple(values) for _, values in table.rows(table.columns)]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC])
def test_what_programs_write(tmp_path: Path, name: str, delimiter: str, quoting: int) -> None:
    table, rows = read(written(tmp_path / name, delimiter, quoting))
    assert rows == ROWS and (table.delimiter, table.quoted, table.header) == (delimiter, True, True)


def test_quotes_of_texts_stay(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"bad" film\tneg\nthey call it "fun"\tpos\n"a quotation"\tpos\n')
    table, rows = read(path)
    assert not table.quoted and [text for text, _ in rows] == ['"bad" film', 'they call it "fun"', '"a quotation"']


def test_a_line_that_names_the_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("sep=;\ntext;label\nGut, aber;x\n")
    with open_rows(path) as table:
        assert list(table.rows(["text", "label"])) == [(3, ["Gut, aber", "x"])]


def test_two_delimiters_that_fit_are_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Der Film war gut;1,5\nDas Buch war lang;2,5\nDie Suppe war kalt;3,0\n")
    with pytest.raises(
        DataError,
        match=r"can't tell which delimiter separates its columns: comma .* or semicolon .*=semicolon",
    ):
        open_rows(path)
    assert read(path, delimiter="semicolon", header="no")[1][0] == ("Der Film war gut", "1,5")
    with pytest.raises(SettingsError, match="use one character or one of comma, semicolon, tab, bar"):
        open_rows(path, columns={"delimiter": "semi"})
    with pytest.raises(SettingsError, match="use header=yes or header=no"):
        open_rows(path, columns={"header": "maybe"})


def test_quotes_that_can_be_read_in_two_ways_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"one,x\ntwo",y\n')
    with pytest.raises(DataError, match=r"a\.csv:2: a quote opens here .*quotes=yes .*quotes=no"):
        open_rows(path)
    assert read(path, quotes="yes")[1] == [("one,x\ntwo", "y")]
    assert read(path, quotes="no")[1] == [('"one', "x"), ('two"', "y")]
    path.write_text('text,label\n"He said \\"no\\" and left",x\n')
    with pytest.raises(DataError, match="escaped by a backslash"):
        open_rows(path)


def test_a_header_that_comes_again_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "utterance,intent\n" + "book a table for two,book\n" * 3 + "utterance,intent\ncancel it all,cancel\n" * 2
    )
    with open_rows(path) as table, pytest.raises(DataError, match=r"a\.csv:5: the header appears again"):
        list(table.rows(["intent"]))


@pytest.mark.parametrize("name", ["UTF-16LE", "UTF-16BE"])
def test_wide_characters_without_a_mark_are_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\nGut, schön,x\n".encode(name))
    with pytest.raises(DataError, match=f"looks like {name}, not UTF-8.*every second byte is 0.*iconv -f {name}"):
        open_rows(path)
