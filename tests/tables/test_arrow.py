"""Arrow's streams and Feather files give the rows that were written, or an error that names the file."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import ipc

from bertie.errors import DataError
from bertie.items.text import Text
from bertie.readers.questions import read_questions
from bertie.readers.table import read_table
from bertie.readers.words import read_words
from bertie.tables.table import open_rows

RECORDS = [{"id": number, "text": f"Text {number}, 第{number}句。", "label": None} for number in range(1000)]
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def write_stream(table: pa.Table, path: Path, *, batch_rows: int = 300, **options: Any) -> Path:
    """Write a table as `datasets` does."""
    with ipc.new_stream(str(path), table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, batch_rows)
    return path


def write_file(table: pa.Table, path: Path, *, batch_rows: int = 300, **options: Any) -> Path:
    """Write a table as pandas' `to_feather` does, which compresses."""
    options = {"compression": "lz4", **options}
    with ipc.new_file(str(path), table.schema, options=ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, batch_rows)
    return path


WRITERS = pytest.mark.parametrize("write", [write_stream, write_file])


def read(path: Path, *columns: str, **options: Any) -> list[list[Any]]:
    with open_rows(path, **options) as table:
        return [values for _, values in table.rows(columns)]


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", [".arrow", ".feather"])
@WRITERS
def test_rows_come_back(tmp_path: Path, write: Callable[..., Path], suffix: str, compression: str) -> None:
    plain = write(pa.Table.from_pylist(RECORDS), tmp_path / f"a{suffix}")
    path = tmp_path / f"b{suffix}{compression}"
    path.write_bytes(COMPRESS[compression](plain.read_bytes()))
    with open_rows(path) as table:
        assert table.columns == ["id", "text", "label"]
        expected = [(row["id"] + 1, [row["text"], row["id"]]) for row in RECORDS]
        assert list(table.rows(["text", "id"])) == expected
        assert table.position == path.stat().st_size
    with open_rows(path) as table:
        assert table.sample(2) == [list(row.values()) for row in RECORDS[:2]]


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@WRITERS
def test_compressed_buffers_and_an_empty_table(tmp_path: Path, write: Callable[..., Path], codec: str) -> None:
    table = pa.Table.from_pylist(RECORDS)
    path = write(table, tmp_path / "a.arrow", compression=codec)
    assert read(path, "text") == [[row["text"]] for row in RECORDS]
    assert read(write(table.slice(0, 0), tmp_path / "b.arrow"), "text") == []


@WRITERS
def test_types(tmp_path: Path, write: Callable[..., Path]) -> None:
    columns = {
        "text": pa.array(["a", None, "c"], pa.large_string()),
        "words": [["a", "b"], [], None],
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        "answers": [{"text": ["a"], "answer_start": [0]}] * 3,
    }
    path = write(pa.table(columns), tmp_path / "a.arrow")
    assert read(path, *columns)[0] == ["a", ["a", "b"], "x", {"text": ["a"], "answer_start": [0]}]
    assert read(path, "kind", "text", "words")[1:] == [["y", None, []], ["x", "c", None]]


@WRITERS
def test_bytes_that_are_not_utf_8(tmp_path: Path, write: Callable[..., Path]) -> None:
    values = pa.array([b"fine \xef\xbf\xbd", None, b"bad \xff"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, values.buffers())
    path = write(pa.table({"text": text}), tmp_path / "a.arrow")
    with pytest.raises(DataError, match=r"a\.arrow:3: byte 0xff is not UTF-8.*--bad-utf8 replace"):
        read(path, "text")
    with open_rows(path, bad_utf8="replace") as table:
        assert list(table.rows(["text"])) == [(1, ["fine \ufffd"]), (2, [None]), (3, ["bad \ufffd"])]
        assert table.num_replaced == 1


@WRITERS
def test_a_text_outside_of_the_file_is_refused(tmp_path: Path, write: Callable[..., Path]) -> None:
    """An offset that points out of the data would make pyarrow read foreign memory."""
    path, offsets = tmp_path / "a.arrow", b"\0\0\0\0\1\0\0\0\3\0\0\0"
    for kind in (pa.string(), pa.large_string(), pa.binary()):
        wide = b"".join(offsets[at : at + 4] + bytes(4 * (kind == pa.large_string())) for at in (0, 4, 8))
        good = write(pa.table({"text": pa.array(["a", "bc"], kind)}), path, compression=None).read_bytes()
        assert good.count(wide) == 1
        for wrong in (wide[:-1] + b"\x70", wide.replace(b"\1", b"\xff")):
            path.write_bytes(good.replace(wide, wrong))
            with pytest.raises(DataError, match=r"a\.arrow: damaged after row 0"):
                read(path, "text")


@WRITERS
def test_a_cut_file_is_refused_wherever_it_ends(tmp_path: Path, write: Callable[..., Path]) -> None:
    whole = write(pa.table({"text": ["a", "b", "c", "d"]}), tmp_path / "whole.arrow", batch_rows=1).read_bytes()
    path = tmp_path / "a.arrow"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"a\.arrow: (not a valid Arrow file|damaged after row|its end is missing)"):
            read(path, "text")
    path.write_bytes(whole + b"more")
    with pytest.raises(DataError, match=r"a\.arrow: "):
        read(path, "text")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), write=st.sampled_from([write_stream, write_file])
)
def test_changed_bytes_give_rows_or_an_error(
    tmp_path: Path, place: float, byte: int, write: Callable[..., Path]
) -> None:
    table = pa.table({"text": ["a", None, "cc"], "words": [["x"], [], ["y", "z"]], "n": [1, 2, 3]})
    whole = bytearray(write(table, tmp_path / "a.arrow").read_bytes())
    whole[int(place * len(whole))] = byte
    (tmp_path / "a.arrow").write_bytes(whole)
    try:
        rows = read(tmp_path / "a.arrow", "text", "words", "n")
    except DataError as error:
        assert "a.arrow" in str(error)
    else:
        assert all(len(row) == 3 for row in rows)


def test_other_files_and_columns(tmp_path: Path) -> None:
    for name, content, message in (
        ("a.arrow", b"", r"a\.arrow: not a valid Arrow file"),
        ("a.feather", b"text\tlabel\n", r"a\.feather: not a valid Arrow file"),
        ("a.feather", b"FEA1 and more", r"a\.feather: this is version 1 of Feather"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=message):
            open_rows(tmp_path / name)
    path = write_stream(pa.table({"text": ["a"]}), tmp_path / "b.arrow")
    with pytest.raises(DataError, match=r"b\.arrow: no 'body' here; found: text"):
        read(path, "body")


@WRITERS
def test_memory_does_not_grow_with_the_file(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write(pa.table({"text": ["word " * 200] * 20_000}), tmp_path / "a.arrow", batch_rows=500)
    before, most = pa.total_allocated_bytes(), 0
    with open_rows(path) as table:
        for number, _ in table.rows(["text"]):
            if number % 500 == 0:
                most = max(most, pa.total_allocated_bytes() - before)
    assert most < 4_000_000


def test_tasks_read_them(tmp_path: Path) -> None:
    texts = write_file(pa.table({"text": ["good", "bad"], "label": ["yes", "no"]}), tmp_path / "texts.feather")
    assert read_table(texts, labelled=True).items == [Text("good", None, "yes", 1), Text("bad", None, "no", 2)]
    words = write_stream(
        pa.table({"tokens": [["Ann", "went"]], "ner_tags": [["B-PER", "O"]]}), tmp_path / "words.arrow"
    )
    assert read_words(words, labelled=True).items[0].words == ("Ann", "went")
    answers = [{"text": ["b"], "answer_start": [2]}]
    columns = {"question": ["q"], "context": ["a b"], "answers": answers}
    (question,) = read_questions(write_stream(pa.table(columns), tmp_path / "questions.arrow"), labelled=True).items
    assert question.label[0].text == "b"


def test_classes_of_a_data_set_get_their_names(tmp_path: Path) -> None:
    features = {"info": {"features": {"label": {"names": ["bad", "good"], "_type": "ClassLabel"}}}}
    table = pa.table({"text": ["x", "y"], "label": [1, 0]})
    write_stream(table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "train.arrow")
    items = read_table(f"hub:{tmp_path}:train", labelled=True).items
    assert [item.label for item in items] == ["good", "bad"]
