"""A look at raw text: every planted fault is found, with its place; sound text is fine."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.checks.advice import advise
from bertie.checks.corpus import CorpusSurvey, broken_bytes, survey
from bertie.corpus.encoding import TextEncoder
from bertie.errors import SettingsError
from bertie.findings import Finding, places, verdict
from bertie.tokenizer.reading import load_tokenizer

STORY = "The cat sat on the mat. The dog ran to the old house in the city. It was a good day for both of them."


def write(folder: Path, name: str, *documents: str) -> Path:
    path = folder / name
    path.write_text("\n\n".join(documents) + "\n", encoding="utf-8")
    return path


def advice(found: CorpusSurvey, random_share: float | None = 0.5) -> str:
    return "\n".join(f"{one.severity}: {one.what} [{one.where}]" for one in said(found, random_share))


def said(found: CorpusSurvey, random_share: float | None = 0.5) -> list[Finding]:
    return advise(found, separator="blank-line", random_share=random_share)


def test_sound_text_is_fine(tmp_path: Path) -> None:
    path = write(tmp_path, "a.txt", *(f"{STORY} This was story number {number}." for number in range(30)))
    found = survey([path])
    assert (found.counts.documents, found.counts.sentences, found.counts.lines) == (30, 120, 30)
    assert found.num_documents == 30 and found.document_offsets.tolist() == [*range(0, 121, 4)]
    assert found.duplicate_lines == found.duplicate_documents == 0
    assert verdict(said(found)) == "fine"


def test_counts_by_hand(tmp_path: Path) -> None:
    found = survey([write(tmp_path, "a.txt", "Ab c 12!", "History\nIt is so.", "北京的猫很好。")]).counts
    assert (found.documents, found.one_sentence_documents, found.lines) == (3, 2, 4)
    assert (found.characters, found.letters, found.chinese) == (8 + 7 + 9 + 7, 3 + 7 + 6 + 6, 6)
    assert found.heading_like_lines == 2  # "History" and "It is so.": a full stop is no mark against a heading


def test_planted_faults(tmp_path: Path) -> None:
    lines = ["Click here to subscribe", f"{STORY} <br />", "caf\u00c3\u00a9 again", "1234 5678 | 90 | 12 | 34 | 56"]
    documents = ["\n".join([*lines, f"Number {number}."]) for number in range(20)]
    found = survey([write(tmp_path, "a.txt", *documents, documents[0], "x " * 4000)])
    text = advice(found, 0.75)
    assert "warning: 1 of 22 documents (4.5%) are exact copies" in text
    assert "81 of 106 lines (76.4%) repeat earlier ones, such as 'Click here to subscribe' 21 times" in text
    assert "warning: 21 lines contain tags such as <br />" in text
    assert "warning: 21 lines look like UTF-8 that was read as Latin-1" in text
    assert "the longest sentence has 7,999 characters" in text and "a.txt: x x x" in text
    assert "about 75% of the pairs will be random" in text
    assert "can't be used" not in verdict(said(found))


def test_bytes_that_are_not_utf8_are_placed_and_reading_goes_on(tmp_path: Path) -> None:
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"A sound line.\nA caf\xe9 here.\n\nAnother \xff\xfe.\n")
    found = survey([bad, write(tmp_path, "good.txt", STORY, STORY)])
    assert found.counts.documents == 4 and found.counts.replaced == 3
    assert [one.where for one in found.findings] == [f"{bad}: byte offsets 19, 36, 37"]
    assert "3 byte sequences are not UTF-8" in advice(found)


def test_a_file_that_can_not_be_read_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / name for name in ("empty.txt", "wide.txt", "cut.txt.gz", "table.csv")]
    for file, content in zip(
        files,
        (
            b"",
            "text".encode("utf-16"),
            b"\x1f\x8b\x08",
            b"number,date\n1,2001-02-03\n2,2001-02-04\n3,2001-02-05\n4,2001-02-06\n5,2001-02-07\n",
        ),
        strict=True,
    ):
        file.write_bytes(content)
    found = survey([*files, write(tmp_path, "good.txt", STORY, STORY)])
    assert found.counts.documents == 2
    assert [one.severity for one in found.findings] == ["error"] * 4
    text = advice(found)
    for part in ("empty.txt", "this is UTF-16", "broken gz data", "can't tell which column holds the text"):
        assert part in text
    assert "warning" not in capsys.readouterr().err
    with pytest.raises(SettingsError, match="no such file"):
        survey([tmp_path / "nowhere.txt"])


def test_what_readers_warn_of_is_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "wiki.txt"
    path.write_text('<doc id="1" title="Cat">\nCat\n\nA cat is small.\n<doc id="2" title="Dog">\nDog\n</doc>\n')
    found = survey([path])
    assert found.counts.documents == 1 and found.counts.empty_documents == 1
    assert "warning: " in advice(found) and "without </doc>" in advice(found)
    assert "note: 1 documents contain no text" in advice(found)
    assert "there is only one document" in advice(found)


def test_rows_without_text_are_empty_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "One. Two."}\n{"text": ""}\n{"text": null}\n{"text": "  "}\n{"text": "Three."}\n')
    counts = survey([path]).counts
    assert (counts.documents, counts.empty_documents, counts.sentences) == (2, 3, 3)


def test_pieces_by_a_tokenizer(tmp_path: Path, vocabulary: Path) -> None:
    encoder = TextEncoder(load_tokenizer(vocabulary))
    found = survey([write(tmp_path, "a.txt", "The cat sat.", "Ω Ω cat. dog")], encoder=encoder)
    assert found.counts.unknown == 2 and found.counts.pieces == 4 + 5
    assert found.sentence_starts.tolist() == [0, 4, 8, 9]
    assert "warning: 22.2% of the pieces are [UNK]" in advice(found)


def test_documents_in_parts_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertie.corpus.documents.PART_CHARACTERS", 10)
    found = survey([write(tmp_path, "a.txt", "\n".join(["One sentence here."] * 5), "One sentence here.")])
    assert (found.counts.documents, found.counts.one_sentence_documents) == (2, 1)
    assert found.document_offsets.tolist() == [0, 5, 6] and found.duplicate_lines == 5


@given(content=st.lists(st.binary(max_size=6) | st.text(max_size=4).map(str.encode), max_size=30).map(b"".join))
def test_broken_bytes_are_those_that_a_strict_reader_meets(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(content)
    expected, place = [], 0
    while True:
        try:
            content[place:].decode()
            break
        except UnicodeDecodeError as error:
            expected.append(place + error.start)
            place += error.end
    assert list(broken_bytes(path)) == expected


def test_broken_bytes_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bertie.checks.corpus._CHUNK_BYTES", 3)
    path = tmp_path / "a.txt"
    path.write_bytes("é北京\U0001f600".encode() + b"\xe4\xb8x\xff" + "京".encode() + b"\xf0\x9f")
    assert list(broken_bytes(path)) == [12, 15, 19]


def test_words_of_findings() -> None:
    assert places("a", []) == "a" and places("a", [7]) == "a: line 7" and places("a", ["q1", "q2"]) == "a: items q1, q2"
    assert places("a", range(1, 1008)) == "a: lines 1, 2, 3, 4, 5 and 1,002 more"
    error, warning, note = (Finding(kind, "", "") for kind in ("error", "warning", "note"))  # type: ignore[arg-type]
    assert verdict([note]) == "fine" and verdict([warning]) == "1 warning"
    assert verdict([warning, error, warning]) == "can't be used: 1 error, 2 warnings"


@pytest.mark.realdata
def test_real_wiki(english: Path, chinese: Path) -> None:
    found = survey([english, chinese])
    counts = found.counts
    assert counts.documents > 150 and counts.sentences > 15_000 and counts.replaced == 0
    assert 0.1 < counts.chinese / counts.characters < 0.3
    assert np.all(np.diff(found.sentence_starts) > 0) and np.all(np.diff(found.document_offsets) > 0)
    assert not [one for one in said(found) if one.severity == "error"]
