"""Tagged words from files of every form, and errors that name file, line and remedy."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.items.words import Words
from bertie.readers.words import read_words

CONLL = """-DOCSTART- -X- -X- O

Ann NNP I-NP I-PER
went VBD I-VP O

to TO I-PP O
New NNP I-NP I-LOC
York NNP I-NP I-LOC
Boston NNP I-NP B-LOC
. . O O
"""
ANN = Words(("Ann", "went"), ("B-PER", "O"), 3)
TRIP = Words(("to", "New", "York", "Boston", "."), ("O", "B-LOC", "I-LOC", "B-LOC", "O"), 6)


@pytest.fixture(autouse=True)
def notes_show() -> None:
    progress.set_quiet(False)  # whatever ran before


def file(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


def lines(folder: Path, *rows: Any, name: str = "a.jsonl") -> Path:
    return file(folder, name, "".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("name", ["a.txt", "a.conll", "a"])
def test_conll_columns(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = read_words(file(tmp_path, name, CONLL), labelled=True)
    assert found.items == [ANN, TRIP] and found.mapping == {"words": "0", "tags": "3"}
    said = capsys.readouterr().err
    assert "2 sentences, 7 words, words from column '0', tags from column '3', 1 documents" in said
    assert "tags are IOB1, read as IOB2, 3 entities (LOC 2, PER 1)" in said and "warning" not in said


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_compressed(tmp_path: Path, suffix: str) -> None:
    pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(suffix)
    if pack is None:
        pack = pytest.importorskip("zstandard").compress
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(pack(CONLL.encode()))
    assert read_words(path).items == [ANN, TRIP]


def test_windows_lines_no_last_blank_line_and_several_between(tmp_path: Path) -> None:
    text = CONLL.replace("\n\n", "\n \n\n").rstrip("\n").replace("\n", "\r\n")
    items = read_words(file(tmp_path, "a.txt", "\ufeff" + text)).items
    assert [(item.words, item.label) for item in items] == [(item.words, item.label) for item in (ANN, TRIP)]


def test_tabs_keep_words_with_spaces_and_wide_spaces_are_words(tmp_path: Path) -> None:
    tabs = read_words(file(tmp_path, "a.tsv", "New York\tB-LOC\n\tO\nis\tO\n"))
    assert tabs.items == [Words(("New York", "", "is"), ("B-LOC", "O", "O"), 1)]
    wide = read_words(file(tmp_path, "b.txt", "北 B-LOC\n京 I-LOC\n\u3000 O\n"))
    assert wide.items == [Words(("北", "京", "\u3000"), ("B-LOC", "I-LOC", "O"), 1)]


def test_comments_before_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read_words(file(tmp_path, "a.conll", "# id 7 domain=en\nAnn B-PER\n# O\n\n# id 8 x\nBob B-PER\n"))
    assert found.items == [Words(("Ann", "#"), ("B-PER", "O"), 2), Words(("Bob",), ("B-PER",), 6)]
    assert "2 comments left out" in capsys.readouterr().err


def test_columns_by_number(tmp_path: Path) -> None:
    path = file(tmp_path, "a.txt", CONLL)
    found = read_words(path, columns={"tags": "1"}, labelled=True)
    assert found.items[0] == Words(("Ann", "went"), ("NNP", "VBD"), 3) and found.mapping == {"words": "0", "tags": "1"}
    with pytest.raises(SettingsError, match=r"tags=4: .*a\.txt has columns 0 to 3"):
        read_words(path, columns={"tags": "4"})
    with pytest.raises(SettingsError, match="did you mean 'words'"):
        read_words(path, columns={"word": "0"})


def test_plain_text_without_tags(tmp_path: Path) -> None:
    items = read_words(file(tmp_path, "a.txt", "Ann went.\n\n北京\n")).items
    assert [item.words for item in items] == [("Ann", "went", "."), (), ("北", "京")]
    assert (
        items[0] == Words(("Ann", "went", "."), None, 1, "Ann went.", ((0, 3), (4, 8), (8, 9))) and items[2].line == 3
    )
    pairs = read_words(file(tmp_path, "b.txt", "Ann went\nBob came\n")).items
    assert [item.words for item in pairs] == [("Ann", "went"), ("Bob", "came")]


def test_lists_of_words_and_tags(tmp_path: Path) -> None:
    rows = [{"id": 1, "tokens": list(item.words), "ner_tags": list(item.label or ())} for item in (ANN, TRIP)]
    found = read_words(lines(tmp_path, *rows), labelled=True)
    assert [(item.words, item.label, item.line) for item in found.items] == [
        (ANN.words, ANN.label, 1),
        (TRIP.words, TRIP.label, 2),
    ]
    assert found.mapping == {"words": "tokens", "tags": "ner_tags"}
    renamed = lines(tmp_path, {"x": ["a", "b"], "y": ["DT", "NN"], "tokens": []}, name="b.json")
    assert read_words(renamed, columns={"words": "x", "tags": "y"}).items == [Words(("a", "b"), ("DT", "NN"), 1)]
    bare = lines(tmp_path, {"tokens": ["a"]}, name="c.jsonl")
    assert read_words(bare).items == [Words(("a",), None, 1)]


def test_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pytest.importorskip("pyarrow").table({"words": [["Ann", "went"]], "labels": [["S-PER", "O"]]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert read_words(tmp_path / "a.parquet", labelled=True).items == [Words(("Ann", "went"), ("B-PER", "O"), 1)]


def test_a_data_set_names_its_tags(tmp_path: Path) -> None:
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    named = {"_type": "List", "feature": {"_type": "ClassLabel", "names": ["O", "B-PER", "I-PER"]}}
    features = {"info": {"features": {"tokens": {"_type": "List"}, "ner_tags": named}}}
    table = arrow.table({"tokens": [["Ann", "Lee", "left"]], "ner_tags": [[1, 2, 0]]})
    parquet.write_table(
        table.replace_schema_metadata({"huggingface": json.dumps(features)}), tmp_path / "train.parquet"
    )
    found = read_words(f"hub:{tmp_path}:train", labelled=True)
    assert found.items == [Words(("Ann", "Lee", "left"), ("B-PER", "I-PER", "O"), 1)]


def test_texts_with_spans(tmp_path: Path) -> None:
    text, offsets = "叶老桂在浙商银行", tuple((place, place + 1) for place in range(8))
    tags = ("B-name", "I-name", "I-name", "O", "B-company", "I-company", "I-company", "I-company")
    expected = [Words(tuple(text), tags, 1, text, offsets)]
    clue = {"text": text, "label": {"name": {"叶老桂": [[0, 2]]}, "company": {"浙商银行": [[4, 7]]}}}
    assert read_words(lines(tmp_path, clue), labelled=True).items == expected
    spans = [{"start": 0, "end": 3, "label": "name"}, {"start": 4, "end": 8, "label": "company"}]
    for column in ("spans", "entities"):
        found = read_words(lines(tmp_path, {"text": text, column: spans}), labelled=True)
        assert found.items == expected and found.mapping == {"text": "text", "spans": column}
    assert read_words(lines(tmp_path, {"text": text})).items == [Words(tuple(text), None, 1, text, offsets)]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, ":2: 1 tags for 2 words; give each word one"),
        ({"tokens": "a b", "tags": ["O"]}, ":2: words must be a list of strings; got 'a b'"),
        ({"tokens": ["a"], "tags": "O"}, ":2: tags must be a list of strings"),
        ({"tokens": ["a"], "tags": None}, ":2: no tags here"),
        ({"tokens": ["a"], "tags": ["PER"]}, ":2: tag 'PER' fits no scheme"),
        ({"tokens": ["a"]}, ":2: no 'tags' here"),
    ],
)
def test_bad_rows(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_words(lines(tmp_path, {"tokens": ["a"], "tags": ["B-PER"]}, row), labelled=True)
    assert f"a.jsonl{message}" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "", "a.txt holds no sentences"),
        ("a.jsonl", "", "a.jsonl holds no sentences"),
        ("a.conll", "-DOCSTART- O\n\n\n", "a.conll holds no sentences"),
        ("a.txt", "Ann B-PER\nwent O\n\nBob\nran O\n", "a.txt:4: 1 fields, but most lines have 2"),
        ("a.txt", "Ann B-PER\nwent O\n\nBob PER\n", "a.txt:4: tag 'PER' fits no scheme"),
        ("a.txt", "Ann\nwent\n", "a.txt:1: no tags here"),
        ("a.jsonl", '{"id": 1, "title": "x"}\n', "no column has a typical name for words or texts (id, title)"),
        ("a.jsonl", '{"text": "Ann"}\n', "a.jsonl:1: no tags here"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        read_words(file(tmp_path, name, content), labelled=True)
    assert message in str(caught.value)


def test_columns_that_dont_go_together(tmp_path: Path) -> None:
    path = lines(tmp_path, {"a": ["x"], "b": ["O"], "c": "x"})
    with pytest.raises(SettingsError, match="words=NAME,spans=NAME or text=NAME,spans=NAME"):
        read_words(path, columns={"text": "c", "tags": "b"})
    with pytest.raises(SettingsError, match="has no column 'd'; it has a, b, c"):
        read_words(path, columns={"words": "d"})


def test_tags_that_are_numbers_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = read_words(lines(tmp_path, {"tokens": ["Ann", "went"], "ner_tags": [1, 0]}))
    assert found.items == [Words(("Ann", "went"), ("1", "0"), 1)]
    assert "warning" in capsys.readouterr().err


def test_odd_tags_are_said_with_their_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read_words(file(tmp_path, "a.txt", "Ann B-PER\nLee I-PER\n\nin O\nRome I-LOC\n"))
    assert "1 tags break the rules of IOB2, first 'I-LOC' at" in (said := capsys.readouterr().err)
    assert "a.txt:5; an entity" in said


@pytest.mark.realdata
def test_conll_and_cluener(test_data: Path) -> None:
    counts = {}
    for name in (
        "conll2003/train.txt.gz",
        "conll2003/test.txt.gz",
        "zh/cluener/train.jsonl.gz",
        "zh/cluener/dev.jsonl.gz",
    ):
        items = read_words(test_data / name, labelled=True).items
        tags = [tag for item in items for tag in item.label or ()]
        counts[name] = (len(items), len(tags), sum(tag.startswith("B-") for tag in tags))
    assert counts == {
        "conll2003/train.txt.gz": (14041, 203621, 23499),
        "conll2003/test.txt.gz": (3453, 46435, 5648),
        "zh/cluener/train.jsonl.gz": (10748, 380305, 23966),
        "zh/cluener/dev.jsonl.gz": (1343, 47690, 3071),
    }
