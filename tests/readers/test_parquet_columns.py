"""Columns of Parquet files of every type: plain text where they plainly are text, else an error that names them."""

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from bertie.errors import DataError
from bertie.readers.table import read_table

TEXTS = ["it was good", "it was bad", "it was fine"]


def write(folder: Path, **columns: Any) -> Path:
    path = folder / "a.parquet"
    pyarrow.parquet.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize(
    "texts",
    [
        pa.array([text.encode() for text in TEXTS], pa.binary()),
        pa.array(TEXTS, pa.large_string()),
        pa.array(TEXTS).dictionary_encode(),
    ],
)
def test_texts(tmp_path: Path, texts: Any) -> None:
    table = read_table(write(tmp_path, text=texts, label=["x", "y", "x"]), labelled=True)
    assert [item.text for item in table.items] == TEXTS


@pytest.mark.parametrize(
    ("labels", "read"),
    [
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (
            pa.array([decimal.Decimal("1.50"), decimal.Decimal("2.00"), decimal.Decimal("0.25")]),
            ["1.50", "2.00", "0.25"],
        ),
        (pa.array([1, 0, 1], pa.int8()), ["1", "0", "1"]),
        (pa.array([True, False, True]), ["True", "False", "True"]),
        (pa.array([["a"], ["b", "a"], []]), [("a",), ("b", "a"), ()]),
        (pa.array([dt.date(2020, 1, day) for day in (1, 2, 1)]), ["2020-01-01", "2020-01-02", "2020-01-01"]),
        (pa.array([b"a", b"b", b"a"]), ["a", "b", "a"]),
    ],
)
def test_labels(tmp_path: Path, labels: Any, read: list[Any]) -> None:
    assert [item.label for item in read_table(write(tmp_path, text=TEXTS, label=labels), labelled=True).items] == read


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.parquet:1: 'text' holds bytes that are not UTF-8 text"):
        read_table(write(tmp_path, text=pa.array([b"\xff\xfe", b"a", b"b"]), label=["x", "y", "x"]))
    structs = pa.array([{"a": 1}] * 3)
    with pytest.raises(DataError, match=r"a\.parquet:1: 'text' holds \{'a': 1\}"):
        read_table(write(tmp_path, text=structs, label=["x", "y", "x"]))
    with pytest.raises(DataError, match=r"a\.parquet:1: 'label' holds \{'a': 1\}"):
        read_table(write(tmp_path, text=TEXTS, label=structs), labelled=True)
    with pytest.raises(DataError, match=r"a\.parquet:2: the label is empty"):
        read_table(write(tmp_path, text=TEXTS, label=["x", None, "y"]), labelled=True)
