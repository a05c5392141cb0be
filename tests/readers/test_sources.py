"""Tables of sources and targets: names of columns, a .tsv without header, what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from bertie.errors import DataError, SettingsError
from bertie.items.text import Text
from bertie.readers.sources import read_sources


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "source\ttarget\nthe cat\ta cat, of course\n"),
        ("a.tsv", "the cat\ta cat, of course\n"),
        ("a.csv", 'id,Article,Summary\n1,the cat,"a cat, of course"\n'),
        ("a.jsonl", '{"document": "the cat", "summary": "a cat, of course"}\n'),
        ("b.jsonl", '{"text": "the cat", "title": "a cat, of course"}\n'),
    ],
)
def test_columns_are_found(tmp_path: Path, name: str, text: str) -> None:
    table = read_sources(write(tmp_path, name, text), labelled=True)
    assert [(item.text, item.pair, item.label) for item in table.items] == [("the cat", None, "a cat, of course")]


def test_columns_are_named(tmp_path: Path) -> None:
    file = write(tmp_path, "a.csv", "q,p,out\nwho,a cat sat,the cat\n")
    table = read_sources(file, columns={"source": "q", "pair": "p", "target": "out"}, labelled=True)
    assert table.items == [Text("who", "a cat sat", "the cat", 2)]
    with pytest.raises(SettingsError, match="no column 'nope'"):
        read_sources(file, columns={"source": "nope"})


def test_sources_alone(tmp_path: Path) -> None:
    assert [item.text for item in read_sources(write(tmp_path, "a.txt", "one\ntwo\n")).items] == ["one", "two"]
    assert [item.label for item in read_sources(write(tmp_path, "a.tsv", "source\nx y\n")).items] == [None]
    with pytest.raises(DataError, match="can't tell which column holds the target"):
        read_sources(tmp_path / "a.tsv", labelled=True)


def test_unknown_names_and_empty_targets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't tell which column holds the source"):
        read_sources(write(tmp_path, "a.csv", "x_value,y_value\n" + "1,2\n" * 6))
    with pytest.raises(DataError, match=r"a\.tsv:2: the label is empty"):
        read_sources(write(tmp_path, "a.tsv", "source\ttarget\nx\t\n"), labelled=True)


def test_nan_and_a_dash_are_texts_to_write(tmp_path: Path) -> None:
    pairs = write(tmp_path, "a.csv", "source,pair,target\nnot a number,x,NaN\nminus,y,-\nSee also,z,nan\n")
    roles = {"source": "source", "pair": "pair", "target": "target"}
    assert [item.label for item in read_sources(pairs, columns=roles, labelled=True).items] == ["NaN", "-", "nan"]
