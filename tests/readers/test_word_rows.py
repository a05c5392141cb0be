"""A sentence a row: lists in cells, words parted by blanks, spans in cells, and columns that may mean two things."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bertie import progress
from bertie.errors import BertieError, DataError, SettingsError
from bertie.items.words import Words
from bertie.readers.words import read_words

ROWS = [(["Ann", "saw", "Ulm"], ["B-PER", "O", "B-LOC"]), (["“", "No", ",", "'t", '"'], ["O"] * 5), (["Yes"], ["O"])]


@pytest.fixture(autouse=True)
def notes_show() -> None:
    progress.set_quiet(False)


def table(folder: Path, header: list[str], *rows: list[Any], name: str = "a.csv") -> Path:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    (folder / name).write_text(text.getvalue(), encoding="utf-8")
    return folder / name


def found(path: Path, **columns: str) -> list[tuple[list[str], list[str]]]:
    items = read_words(path, columns=columns or None, labelled=True).items
    return [(list(item.words), list(item.label or ())) for item in items]


@pytest.mark.parametrize("write", [repr, json.dumps, lambda values: str(np.array(values, object))])
def test_lists_in_cells(tmp_path: Path, write: Any) -> None:
    rows = [[number, write(words), write(tags)] for number, (words, tags) in enumerate(ROWS)]
    assert found(table(tmp_path, ["id", "tokens", "ner_tags"], *rows)) == ROWS
    assert found(table(tmp_path, ["labels", "words"], *([row[2], row[1]] for row in rows))) == ROWS
    assert (
        found(table(tmp_path, ["Wörter", "Marken"], *(row[1:] for row in rows)), words="Wörter", tags="Marken") == ROWS
    )
    bare = [["7", rows[0][1].replace("Ann", "..."), rows[0][2]]]
    assert found(table(tmp_path, ["id", "tokens", "ner_tags"], *bare))[0][0] == ["...", "saw", "Ulm"]


def test_words_parted_by_blanks(tmp_path: Path) -> None:
    rows = [[" ".join(words), " ".join(tags)] for words, tags in ROWS]
    for header in (["text", "labels"], ["sentence", "tags"], ["words", "ner"]):
        assert found(table(tmp_path, header, *rows)) == ROWS
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"text": a, "label": b}) + "\n" for a, b in rows))
    assert found(tmp_path / "b.jsonl") == ROWS
    mixed = table(tmp_path, ["Sentence", "POS", "Tag"], *([row[0], "['NN']", repr(row[1].split())] for row in rows))
    assert found(mixed) == ROWS
    with pytest.raises(DataError, match=r"a\.csv:2: 2 tags for 3 words"):
        found(table(tmp_path, ["text", "labels"], ["Ann saw Ulm", "B-PER O"]))


def test_spans_in_cells(tmp_path: Path) -> None:
    for cell in ('[[0, 3, "PER"], [8, 11, "LOC"]]', "[(0, 3, 'PER'), (8, 11, 'LOC')]"):
        assert found(table(tmp_path, ["text", "label"], ["Ann saw Ulm", cell], ["Yes", "[]"])) == [ROWS[0], ROWS[2]]
    cell = json.dumps([{"start": 0, "end": 3, "text": "Ann", "labels": ["PER"]}])  # Label Studio's .csv
    path = table(tmp_path, ["annotation_id", "text", "label"], ["1", "Ann saw Ulm", cell], ["2", "Yes", ""])
    assert found(path)[0][1] == ["B-PER", "O", "O"]
    with pytest.raises(DataError, match=r"a\.csv:2: the spans can't be read, .*: '\[\(0, 3, PER"):
        found(table(tmp_path, ["text", "label"], ["Ann saw Ulm", "[(0, 3, PER)]"]), text="text", spans="label")


def test_parquet_with_a_word_a_row_and_with_structs(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    flat = {"sentence_id": [0, 0, 0, 1], "word": ["Ann", "saw", "Ulm", "Yes"], "tag": ["B-PER", "O", "B-LOC", "O"]}
    flat["tag"] = arrow.array(flat["tag"]).dictionary_encode()
    parquet.write_table(arrow.table(flat), tmp_path / "a.parquet")
    assert found(tmp_path / "a.parquet") == [ROWS[0], ROWS[2]]
    spans = [[{"start": 0, "end": 3, "label": "PER"}, {"start": 8, "end": 11, "label": "LOC"}], []]
    parquet.write_table(arrow.table({"text": ["Ann saw Ulm", "Yes"], "entities": spans}), tmp_path / "b.parquet")
    assert found(tmp_path / "b.parquet") == [ROWS[0], ROWS[2]]


def test_a_json_array(tmp_path: Path) -> None:
    rows = [{"tokens": words, "tags": tags} for words, tags in ROWS]
    for indent in (None, 1):
        (tmp_path / "a.json").write_text(json.dumps(rows, indent=indent))
        assert found(tmp_path / "a.json") == ROWS
    (tmp_path / "a.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="nested too deeply"):
        found(tmp_path / "a.json")


def test_how_a_table_is_read_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Ann saw Ulm|B-PER O B-LOC\nYes|O\n")
    said = {"words": "0", "tags": "1", "header": "no", "delimiter": "bar"}
    assert found(tmp_path / "a.csv", **said) == [ROWS[0], ROWS[2]]
    reading = read_words(tmp_path / "a.csv", columns=said, labelled=True).reading
    assert reading is not None and reading.options == {"header": "no", "delimiter": "bar"}
    (tmp_path / "b.conll").write_text("Wort|Art\nAnn|NN\nsah|VB\n")
    assert found(tmp_path / "b.conll", delimiter="bar", header="yes") == [(["Ann", "sah"], ["NN", "VB"])]
    assert found(tmp_path / "b.conll", delimiter="bar", header="no")[0][0] == ["Wort", "Ann", "sah"]


def test_columns_that_may_be_the_tags(tmp_path: Path) -> None:
    row = {"tokens": ["Ann", "saw"], "tags": ["B-PER", "O"], "labels": ["B-X", "O"]}
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"columns 'tags', 'labels' may all be the tags; choose one: --columns words="):
        found(path)
    path.write_text(json.dumps({**row, "labels": ["other", "thing"], "pos_tags": ["NNP", "VBD"]}) + "\n")
    assert found(path) == [(["Ann", "saw"], ["B-PER", "O"])]
    path.write_text(json.dumps({"text": "Ann", "spans": [[0, 3, "X"]], "entities": [[0, 3, "Y"]]}) + "\n")
    with pytest.raises(
        DataError, match=r"columns 'spans', 'entities' may all be the spans; choose one.* text=NAME,spans=spa"
    ):
        found(path)
    path.write_text(json.dumps({"tokens": [["Ann", "B-PER"]]}) + "\n")
    with pytest.raises(DataError, match=r"'tokens' holds \[\['Ann', 'B-PER'\]\]; expected a list of words with"):
        found(path)
    path.write_text(json.dumps({"text": "Ann", "spans": [[0, 3, "X"]], "entities": [[0, 3, "Y"]]}) + "\n")
    (tmp_path / "a.ann").write_text("T1\tPER 0 3\tAnn\n")
    with pytest.raises(SettingsError, match="brat keeps its annotations in a separate file"):
        found(tmp_path / "a.ann")
    with pytest.raises(SettingsError, match="words=NAME,spans=NAME or text=NAME,spans=NAME"):
        found(path, text="text", tags="spans")


def test_tags_of_a_whole_sentence_in_a_file_without_header_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Ann saw Ulm,B-PER O B-LOC\nBob saw Ulm,B-PER O B-LOC\n")
    with pytest.raises(DataError, match=r"'B-PER O B-LOC' holds several tags; .* name the columns in a first line"):
        found(tmp_path / "a.csv")


def test_a_table_of_texts_alone_can_be_predicted(tmp_path: Path) -> None:
    path = table(tmp_path, ["id", "text"], ["1", "Ann saw Ulm."], ["2", "Yes, she did."])
    assert [item.words for item in read_words(path).items] == [
        ("Ann", "saw", "Ulm", "."),
        ("Yes", ",", "she", "did", "."),
    ]


WORDS = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=6)
TAGGED = st.lists(st.tuples(WORDS, st.sampled_from(["O", "B-PER", "I-PER", "B-LOC"])), min_size=1, max_size=5)


@settings(max_examples=120, deadline=None)
@given(st.lists(TAGGED, min_size=1, max_size=4), st.sampled_from(["python", "json", "numpy", "blanks", "jsonl"]))
def test_whatever_is_written_is_read_back_or_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[tuple[str, str]]], form: str
) -> None:
    assume(form != "blanks" or any(len(row) > 1 for row in rows))  # else it is a table with a word a row
    folder = tmp_path_factory.mktemp("any")
    progress.set_quiet(True)
    pairs = [([word for word, _ in row], [tag for _, tag in row]) for row in rows]
    write = {"python": repr, "json": json.dumps, "numpy": lambda one: str(np.array(one, object)), "blanks": " ".join}
    if form == "jsonl":
        path = folder / "a.jsonl"
        path.write_text("".join(json.dumps({"words": words, "labels": tags}) + "\n" for words, tags in pairs))
    else:
        path = table(folder, ["words", "labels"], *([write[form](one) for one in pair] for pair in pairs))
    try:
        items = read_words(path, labelled=True).items
    except BertieError:
        return
    assert [item.words for item in items] == [Words(tuple(words)).words for words, _ in pairs]
