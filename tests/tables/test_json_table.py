"""One JSON value that holds a table is read as one; what holds none is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from bertie.errors import DataError
from bertie.items.text import Text
from bertie.readers.table import read_table
from bertie.tables.table import open_rows

ROWS = [{"text": "the soup was cold", "label": "bad"}, {"text": "a lovely place", "label": "good"}]


def write(folder: Path, value: Any, indent: int | None = None, name: str = "a.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(value, indent=indent), encoding="utf-8")
    return path


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(
    ("value", "remark"),
    [
        (ROWS, "one JSON list"),
        ({"version": 1, "data": ROWS}, "rows from 'data'"),
        ({name: [row[name] for row in ROWS] for name in ROWS[0]}, "one JSON list per column"),
        ({str(n): row for n, row in enumerate(ROWS)}, "one object per row, keyed by row number"),
        (
            {"columns": list(ROWS[0]), "index": [0, 1], "data": [list(row.values()) for row in ROWS]},
            "rows from 'data'",
        ),
        ({name: {str(n): row[name] for n, row in enumerate(ROWS)} for name in ROWS[0]}, "one JSON list per column"),
    ],
)
def test_tables_in_one_value(tmp_path: Path, value: Any, remark: str, indent: int | None) -> None:
    table = read_table(write(tmp_path, value, indent), labelled=True)
    assert table.items == [Text(row["text"], None, row["label"], number) for number, row in enumerate(ROWS, 1)]
    assert table.reading is not None and table.reading.remarks == (remark,)


def test_a_list_named_jsonl_and_lines_named_json(tmp_path: Path) -> None:
    assert len(read_table(write(tmp_path, ROWS, 1, "a.jsonl")).items) == 2
    lines = tmp_path / "b.json"
    lines.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert len(read_table(lines).items) == 2
    single = write(tmp_path, {"words": ["a", "b"], "tags": ["X", "Y"]}, name="c.jsonl")
    with open_rows(single) as table:  # a row of lists, not two columns
        assert list(table.rows(["words"])) == [(1, [["a", "b"]])]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (["a", "b"], r"a\.json:1: each row must be an object .*; this is a string"),
        ([], "is empty"),
        ({"text": "a", "label": "b"}, "one JSON object over several lines, which is a single row"),
        ({"train": ROWS, "dev": ROWS}, r"no list of rows found; the file holds train \(a list\), dev \(a list\)"),
        ([{"text": "a", "label": "x"}, {"text": "b"}], r"a\.json:2: no 'label' here; found: text"),
    ],
)
def test_what_holds_no_table(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_table(write(tmp_path, value, 1), labelled=True)


def test_broken_values(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for content in ('[{"text": "a"},', "[" * 100_000, '[{"text": "\\ud800"}]'):
        path.write_text(content)
        with pytest.raises(DataError, match=r"a\.json"):
            read_table(path)
