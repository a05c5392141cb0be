"""Tables of four formats give the same rows, and what is wrong in one is named by its line."""

import csv
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertie.errors import DataError
from bertie.tables.table import open_rows

RECORDS = [{"id": str(number), "text": f"Text {number}, 第{number}句。", "label": "a b"} for number in range(1000)]
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def write_table(path: Path, records: list[dict[str, str]]) -> Path:
    """Write records in the format and compression that the suffixes name."""
    plain = path.with_suffix("") if path.suffix in COMPRESS else path
    if plain.suffix == ".jsonl":
        plain.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    elif plain.suffix == ".parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(records), plain, row_group_size=300)
    else:
        with plain.open("w", encoding="utf-8", newline="") as file:
            if plain.suffix == ".tsv":
                writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None)
            else:
                writer = csv.writer(file)
            writer.writerow(records[0])
            writer.writerows(record.values() for record in records)
    if plain != path:
        path.write_bytes(COMPRESS[path.suffix](plain.read_bytes()))
        plain.unlink()
    return path


def read(path: Path, *columns: str, **settings: Any) -> list[tuple[int, list[Any]]]:
    with open_rows(path, **settings) as table:
        return list(table.rows(columns))


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_every_format(tmp_path: Path, suffix: str, compression: str) -> None:
    path = write_table(tmp_path / f"a{suffix}{compression}", RECORDS)
    first = 2 if suffix in (".csv", ".tsv") else 1
    expected = [(first + number, [record["text"], record["id"]]) for number, record in enumerate(RECORDS)]
    with open_rows(path) as table:
        assert table.columns == ["id", "text", "label"]
        assert list(table.rows(["text", "id"])) == expected
        assert table.position == path.stat().st_size
        assert table.num_replaced == 0


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv"])
def test_empty_and_blank(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("")
    with open_rows(path) as table:
        assert table.columns == []
        assert list(table.rows([])) == []
    path.write_text('{"text": "x"}\n\n \n{"text": "y"}\n' if suffix == ".jsonl" else "text\nx\n\ny\n")
    assert [values for _, values in read(path, "text")] == [["x"], ["y"]]


def test_quoted_csv(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,text\n1,"one, ""two""\nthree"\n2,four\n', encoding="utf-8-sig")
    assert read(path, "text") == [(2, ['one, "two"\nthree']), (4, ["four"])]


def test_tsv_has_no_quotes(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"open\t1\nit "is" so\t0\n')
    assert read(path, "text") == [(2, ['"open']), (3, ['it "is" so'])]


def test_huge_fields(tmp_path: Path) -> None:
    text = "word, " * 200_000
    for suffix in (".jsonl", ".csv", ".tsv", ".parquet"):
        path = write_table(tmp_path / f"a{suffix}", [{"text": text}])
        assert [values for _, values in read(path, "text")] == [[text]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "id,text\n1,a\n2,b,c\n", r"a\.csv:3: 3 fields, but the header names 2 \(id, text\)"),
        ("a.csv", "id,text\n1\n", r"a\.csv:2: 1 fields"),
        ("a.csv", 'id,text\n1,a\n2,"never closed\n3,c\n', r"a\.csv:3: .*not valid CSV"),
        ("a.tsv", "id\ttext\n1\ta\tb\n", r"a\.tsv:2: 3 fields"),
        ("a.jsonl", '{"text": "a"}\n{"text": \n', r"a\.jsonl:2: .*not valid JSON"),
        ("a.jsonl", "[" * 100_000 + "\n", r"a\.jsonl: nested too deeply"),
        ("a.jsonl", "9" * 5000 + "\n", r"a\.jsonl:1: a number has more than 300 digits"),
        ("a.jsonl", '"just text"\n', r"a\.jsonl:1: each line must be an object"),
        ("a.jsonl", '{"text": "a"}\n\n{"body": "b"}\n', r"a\.jsonl:3: no 'text' here; found: body"),
        ("a.jsonl", '{"text": "\\ud800x"}\n', r"a\.jsonl:1: 'text' contains half a character"),
        ("a.parquet", "PAR1 and then nothing", r"a\.parquet: not a valid Parquet"),
        ("a.parquet", "", r"a\.parquet: not a valid Parquet"),
    ],
)
def test_broken_tables(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read(path, "text")


def test_bad_bytes_and_half_characters_are_replaced_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "\xff \\ud800\\udfff \\ud83d\\ude00 \\udfff", "more": ["\\ud800"]}\n')
    with open_rows(path, bad_utf8="replace") as table:
        # A high half followed by a low one is a whole character.
        assert list(table.rows(["text"])) == [(1, ["\ufffd \U000103ff \U0001f600 \ufffd"])]
        assert table.num_replaced == 2


def test_parquet_with_bad_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    values = pa.array([b"fine \xef\xbf\xbd", None, b"bad \xff"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, values.buffers())
    pyarrow.parquet.write_table(pa.table({"text": text}), path)
    with pytest.raises(DataError, match=r"a\.parquet:3: .*not UTF-8.*--bad-utf8 replace"):
        read(path, "text")
    with open_rows(path, bad_utf8="replace") as table:
        assert list(table.rows(["text"])) == [(1, ["fine \ufffd"]), (2, [None]), (3, ["bad \ufffd"])]
        assert table.num_replaced == 1


FIELDS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(FIELDS, min_size=1, max_size=5), suffix=st.sampled_from([".jsonl", ".csv", ".parquet"]))
def test_any_text_comes_back(tmp_path: Path, texts: list[str], suffix: str) -> None:
    path = write_table(tmp_path / f"a{suffix}", [{"id": "x", "text": text} for text in texts])
    expected = texts
    if suffix == ".csv":  # line ends are line ends, also in quotes
        expected = [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
    try:
        found = read(path, "text")
    except DataError as error:  # every line of a text over several lines is a whole row as well
        assert "a quote opens here" in str(error) and any("\n" in text for text in expected)
        return
    assert [values for _, values in found] == [[text] for text in expected]


@pytest.mark.parametrize(
    ("rows", "remark"),
    [
        ("good one,yes,\nbad one,no,\n", "each row ends in a delimiter"),
        ("1,good one,yes\n2,bad one,no\n", "the header lacks a name for the first column, which numbers the rows"),
    ],
)
def test_rows_with_one_field_more_than_the_header(tmp_path: Path, rows: str, remark: str) -> None:
    (tmp_path / "a.csv").write_text(f"text,label\n{rows}")
    with open_rows(tmp_path / "a.csv") as table:
        assert table.remarks == (remark,)
        assert list(table.rows(["text", "label"])) == [(2, ["good one", "yes"]), (3, ["bad one", "no"])]


def test_another_field_more_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nx,good one,yes\ny,bad one,no\n")
    with open_rows(tmp_path / "a.csv") as table, pytest.raises(DataError, match="3 fields, but the header names 2"):
        list(table.rows(["text", "label"]))


def test_spaces_before_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('label, text\n"yes", "good, one"\n"no", "a ""bad"" one"\n')
    with open_rows(tmp_path / "a.csv") as table:
        assert list(table.rows(["label", "text"])) == [(2, ["yes", "good, one"]), (3, ["no", 'a "bad" one'])]
    (tmp_path / "b.csv").write_text('text,label\n"he said ""x"", so",yes\n"and, ""y"", then",no\n')
    with open_rows(tmp_path / "b.csv") as table:
        assert [row[0] for _, row in table.rows(["text"])] == ['he said "x", so', 'and, "y", then']
