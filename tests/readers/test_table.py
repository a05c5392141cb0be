"""Labelled tables: columns by name and by content, and errors that name file, line and remedy."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from bertie.errors import DataError, SettingsError
from bertie.items.text import Text, label_names
from bertie.readers.table import read_table


def table(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


def test_named_columns(tmp_path: Path) -> None:
    found = read_table(table(tmp_path, "a.tsv", 'id\tsentence\tlabel\n7\tgood film\tpos\n8\t"bad" film\tneg\n'))
    assert found.mapping == {"text": "sentence", "label": "label", "id": "id"}
    assert [(item.id, item.line) for item in found.items] == [("7", 2), ("8", 3)]
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


def test_headers_in_words_of_their_own(tmp_path: Path) -> None:
    rows = "".join(f"a {'very ' * (n % 5)}good film, the {n}th\t{'+-'[n % 2]}\n" for n in range(20))
    with_header = read_table(table(tmp_path, "a.tsv", "phrase\tpolarity\n" + rows), labelled=True)
    assert with_header.mapping == {"text": "phrase", "label": "polarity"}
    assert len(with_header.items) == 20
    without = read_table(table(tmp_path, "b.tsv", rows), labelled=True)
    assert without.mapping == {"text": "0", "label": "1"}
    assert [item.text for item in without.items] == [item.text for item in with_header.items]
    # A first row whose text is long, or whose label occurs again, is a row.
    for first, label in ((f"{'long ' * 20}text\tnone\n", "none"), ("fine\t+\n", "+")):
        found = read_table(table(tmp_path, "c.tsv", first + rows), labelled=True)
        assert (found.mapping["text"], found.items[0].label) == ("0", label)


def test_columns_by_number(tmp_path: Path) -> None:
    columns = {"text": "1", "label": "0"}
    bare = table(tmp_path, "bare.tsv", "1\tone text\n0\tanother\n")
    assert [item.label for item in read_table(bare, columns=columns).items] == ["1", "0"]
    named = table(tmp_path, "named.csv", "label,text\n1,one text\n")
    assert read_table(named, columns=columns).items == [Text("one text", None, "1", 2)]
    numbered = table(tmp_path, "numbered.csv", "0,1\nx,one text\n")
    assert read_table(numbered, columns=columns).items == [Text("one text", None, "x", 2)]
    with pytest.raises(SettingsError, match=r"no column '5'; it has 0, 1"):
        read_table(bare, columns={"text": "5"})


def test_columns_of_json_lines(tmp_path: Path) -> None:
    path = table(tmp_path, "a.jsonl", '{"body": "x", "mood": 3, "tags": ["a", "b"], "label": null}\n')
    assert read_table(path, columns={"text": "body", "label": "mood"}).items == [Text("x", None, "3", 1)]
    with pytest.raises(SettingsError, match=r"no column 'bodi'; it has body, mood, tags, label.*did you mean 'body'"):
        read_table(path, columns={"text": "bodi", "label": "mood"})
    with pytest.raises(DataError, match=r"a\.jsonl:1: 'tags' holds \['a', 'b'\]; a text or label must be one string"):
        read_table(path, columns={"text": "tags", "label": "mood"})
    assert read_table(path, columns={"text": "body", "label": "tags"}).items == [Text("x", None, ("a", "b"), 1)]
    with pytest.raises(DataError, match=r"a\.jsonl:1: the label is empty; complete"):
        read_table(path, columns={"text": "body", "label": "label"}, labelled=True)
    with pytest.raises(DataError, match=r"the columns a, b may all hold the text; choose with --columns text=NAME"):
        read_table(table(tmp_path, "b.jsonl", '{"a": "x", "b": "y"}\n'))


def test_the_likeness_of_pairs_is_a_label(tmp_path: Path) -> None:
    rows = "".join(f"first text {n}\tsecond text {n}\t{n / 8}\n" for n in range(9))
    found = read_table(table(tmp_path, "a.tsv", f"sentence1\tsentence2\tscore\n{rows}"), labelled=True)
    assert found.mapping["label"] == "score" and found.items[8].label == "1.0"


def test_lists_of_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def labels(*given: Any) -> list[Any]:
        rows = [json.dumps({"text": "x", "label": label}) for label in given]
        return [item.label for item in read_table(table(tmp_path, "a.jsonl", "\n".join(rows)), labelled=True).items]

    assert labels(["a", "b"], [], ["b"]) == [("a", "b"), (), ("b",)]
    assert "label from column 'label', any number of labels each" in capsys.readouterr().err
    assert labels(["a"], ["b"]) == ["a", "b"]  # one each is one label
    assert "any number" not in capsys.readouterr().err
    assert Text("x", label=("a", "b")).labels() == ("a, b",) and Text("x", label=()).labels(many=True) == ()


def test_a_setting_that_can_take_no_effect(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="one text a line and no columns"):
        read_table(table(tmp_path, "a.txt", "one\n"), columns={"text": "body"})


def test_pairs_without_a_gold_label(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"premise": "a", "hypothesis": "b", "label": label} for label in ("neutral", "-", "-")]
    path = table(tmp_path, "a.jsonl", "\n".join(json.dumps(row) for row in rows))
    assert [item.label for item in read_table(path, labelled=True).items] == ["neutral"]
    assert "2 rows labelled '-' (no gold label; line 2) are left out" in capsys.readouterr().err
    path = table(tmp_path, "b.jsonl", "\n".join(json.dumps(row) for row in rows[1:]))
    with pytest.raises(DataError, match="every row has the label '-'"):
        read_table(path, labelled=True)
    signs = table(tmp_path, "c.tsv", "text\tlabel\ngood\t+\nbad\t-\n")
    assert label_names(read_table(signs, labelled=True).items) == ("+", "-")


@pytest.mark.parametrize(
    ("name", "content", "mark"), [("a.csv", "text;label\nx;y\n", ";"), ("a.tsv", "text,label\nx,y\n", ",")]
)
def test_columns_parted_by_another_mark(tmp_path: Path, name: str, content: str, mark: str) -> None:
    found = read_table(table(tmp_path, name, content))
    assert found.items == [Text("x", None, "y", 2)]
    assert found.reading is not None and found.reading.delimiter == mark


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("text\tlabel\n", "no rows"),
        ("text\tlabel\none\tx\ntwo\n", r"a\.tsv:3: 1 fields, but the header names 2 \(text, label\)"),
        ("text\tlabel\none\tx\ntwo\t\n", r"a\.tsv:3: the label is empty"),
        ("text\tlabel\none\tNaN\n", r"a\.tsv:2: the label is NaN"),
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


def test_empty_texts_are_kept_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = "text\tpair\tlabel\ngood\ta film\tx\n \ta film\ty\nbad\t\ty\n"
    assert len(read_table(table(tmp_path, "a.tsv", content), labelled=True).items) == 3
    assert "2 rows have an empty text, the first in line 3" in capsys.readouterr().err


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
        ("zh/ocnli/dev.jsonl.gz", 2950, {"text": "sentence1", "pair": "sentence2", "label": "label"}, 3),
        ("zh/afqmc/dev.tsv.gz", 4316, {"text": "0", "pair": "1", "label": "2"}, 2),
    ],
)
def test_real_tables(test_data: Path, name: str, rows: int, mapping: dict[str, str], labels: int) -> None:
    found = read_table(test_data / name, labelled=True)
    assert len(found.items) == rows
    assert {role: column for role, column in found.mapping.items() if role != "id"} == mapping
    assert len(label_names(found.items)) == labels


def test_a_table_named_txt_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = table(tmp_path, "a.txt", "text\tlabel\ngood\tyes\nbad\tno\n")
    with pytest.raises(DataError, match=r"a\.txt: a \.txt holds .* so name it a\.tsv$"):
        read_table(path, labelled=True)
    assert len(read_table(path).items) == 3
    assert "every line has columns separated by tabs" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"the format of fastText; .*sed -E .* 'my b\.txt' > 'my b\.tsv'$"):
        read_table(table(tmp_path, "my b.txt", "__label__yes good\n__label__no bad\n"), labelled=True)


def test_rejected_rows_of_prodigy_are_no_examples(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = ("accept", "reject", "accept", "ignore")
    rows = [{"text": f"text {n}", "label": "AB"[n % 2], "answer": one} for n, one in enumerate(answers)]
    path = table(tmp_path, "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    found = read_table(path, labelled=True)
    assert [item.line for item in found.items] == [1, 3]
    assert found.reading is not None and [(one.reason, one.count) for one in found.reading.left_out] == [
        ("not accepted", 2)
    ]
    assert "rejected" in capsys.readouterr().err
    assert len(read_table(path).items) == 4  # a prediction for each row


@pytest.mark.parametrize(
    ("name", "hint"), [("a.xlsx", "CSV UTF-8"), ("a.pkl", "to_csv"), ("a.zip", "unpack"), ("a", "suffix")]
)
def test_other_kinds_of_file_say_what_to_do(tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(SettingsError, match=f"; .*{hint}"):
        read_table(table(tmp_path, name, "x"))
