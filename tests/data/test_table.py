"""Labelled tables: columns by name and by content, and errors that name file, line and remedy."""

import gzip
import json
from pathlib import Path

import pytest

from bertie.data.table import Text, label_names, read_table, refuse_unseen
from bertie.errors import DataError, SettingsError


def table(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


def test_named_columns(tmp_path: Path) -> None:
    found = read_table(table(tmp_path, "a.tsv", 'id\tsentence\tlabel\n7\tgood film\tpos\n8\t"bad" film\tneg\n'))
    assert found.mapping == {"text": "sentence", "label": "label"}
    assert found.items == [Text("good film", None, "pos", 2), Text('"bad" film', None, "neg", 3)]


def test_pairs_before_single_texts(tmp_path: Path) -> None:
    rows = [{"premise": "a b", "hypothesis": "c", "gold_label": "neutral", "text": "x"}] * 2
    path = table(tmp_path, "a.jsonl", "\n".join(json.dumps(row) for row in rows))
    found = read_table(path)
    assert found.items[0] == Text("a b", "c", "neutral", 1)


def test_columns_by_content(tmp_path: Path) -> None:
    rows = "".join(f"src{n % 9}\t{n % 2}\t\tA sentence that says thing number {n}.\n" for n in range(50))
    found = read_table(table(tmp_path, "cola.tsv", rows))
    assert found.mapping == {"text": "3", "label": "1"}
    assert found.items[3].text == "A sentence that says thing number 3."


def test_pairs_by_content(tmp_path: Path) -> None:
    rows = "".join(f"first text {n}\tsecond text {n}\t{n % 2}\n" for n in range(50))
    assert read_table(table(tmp_path, "a.tsv", rows)).mapping == {"text": "0", "pair": "1", "label": "2"}


def test_csv_quotes_and_line_numbers(tmp_path: Path) -> None:
    found = read_table(table(tmp_path, "a.csv", 'text,label\n"two\nlines, quoted",x\nplain,y\n'))
    assert [(item.text, item.line) for item in found.items] == [("two\nlines, quoted", 2), ("plain", 4)]


def test_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    path = table(tmp_path, "a.tsv", "\ufeffQuality\t#1 String\t#2 String\r\n1\tone\ttwo\r\n0\tthree\tfour\r\n")
    assert read_table(path).items[1] == Text("three", "four", "0", 3)


def test_compressed_and_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"one\n\ntwo\n"))
    assert [item.text for item in read_table(path).items] == ["one", "", "two"]


def test_columns_that_the_user_names(tmp_path: Path) -> None:
    path = table(tmp_path, "a.tsv", "body\ttag\tother\nsome words\tx\t1\n")
    assert read_table(path, columns={"text": "body", "label": "tag"}).items[0] == Text("some words", None, "x", 2)
    with pytest.raises(SettingsError, match=r"no column 'bodi'.*body, tag, other.*body"):
        read_table(path, columns={"text": "bodi", "label": "tag"})
    with pytest.raises(SettingsError, match="text=NAME"):
        read_table(path, columns={"label": "tag"})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("text\tlabel\n", "no rows"),
        ("text\tlabel\none\tx\ntwo\n", r"a\.tsv:3: 1 fields, the first line has 2"),
        ("text\tlabel\none\tx\ntwo\t\n", r"a\.tsv:3: the label is 'empty'"),
        ("text\tlabel\none\tNaN\n", r"a\.tsv:2: the label is 'NaN'"),
        ("text\tlength\none\t1\n", "no column holds labels"),
    ],
)
def test_bad_tables(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(table(tmp_path, "a.tsv", content), labelled=True)


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes(b"text\tlabel\ngood\tx\nb\xffd\ty\n")
    with pytest.raises(DataError, match=r"a\.tsv"):
        read_table(path)
    assert read_table(path, bad_utf8="replace").items[1].text == "b\ufffdd"


def test_labels() -> None:
    assert label_names([Text("a", None, "10"), Text("b", None, "9")]) == ("9", "10")
    assert label_names([Text("a", None, "yes"), Text("b", None, "no")]) == ("no", "yes")
    with pytest.raises(DataError, match=r"dev\.tsv:4: label 'maybe' \(2 rows\)"):
        items = [Text("a", None, "yes", 3), Text("b", None, "maybe", 4), Text("c", None, "maybe", 5)]
        refuse_unseen(items, ("no", "yes"), Path("dev.tsv"))


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "rows", "mapping", "labels"),
    [
        ("glue/sst2/dev.tsv.gz", 872, {"text": "sentence", "label": "label"}, 2),
        ("glue/cola/dev.tsv.gz", 1043, {"text": "3", "label": "1"}, 2),
        ("glue/rte/dev.tsv.gz", 277, {"text": "sentence1", "pair": "sentence2", "label": "label"}, 2),
        ("glue/mrpc/test.tsv.gz", 1725, {"text": "#1 String", "pair": "#2 String", "label": "Quality"}, 2),
        ("lingnli/dev.jsonl.gz", 7371, {"text": "premise", "pair": "hypothesis", "label": "label"}, 3),
        ("zh/chnsenticorp/dev.tsv.gz", 1200, {"text": "0", "label": "1"}, 2),
        ("zh/tnews/dev.tsv.gz", 10000, {"text": "0", "label": "1"}, 15),
        ("zh/afqmc/dev.tsv.gz", 4316, {"text": "0", "pair": "1", "label": "2"}, 2),
    ],
)
def test_real_tables(test_data: Path, name: str, rows: int, mapping: dict[str, str], labels: int) -> None:
    found = read_table(test_data / name, labelled=True)
    assert len(found.items) == rows
    assert found.mapping == mapping
    assert len(label_names(found.items)) == labels
