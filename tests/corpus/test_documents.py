"""Files of every form give the documents a user would expect, in constant memory, and bad input is named."""

import gzip
import json
import tarfile
import textwrap
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertie.corpus import documents
from bertie.corpus.documents import Tally, read_documents
from bertie.errors import DataError, SettingsError


def read(*paths: Path, **settings: Any) -> list[list[str]]:
    """Return the paragraphs of each document, parts joined."""
    result: list[list[str]] = []
    for document in read_documents(paths, **settings):
        if document.continues:
            result[-1] += document.paragraphs
        else:
            result.append(document.paragraphs)
    return result


def write(folder: Path, content: str, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(content.encode())
    return path


def test_blank_lines_part_documents(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeff\n\n one \r\ntwo\r\n\r\n \t\r\n\nthree\rfour")
    assert read(path) == [["one", "two"], ["three", "four"]]


def test_one_file_a_document(tmp_path: Path) -> None:
    paths = [write(tmp_path, "one\n\ntwo\n", "b.txt"), write(tmp_path, "three\n\n\n", "a.txt")]
    assert read(*paths, separator="file") == [["three"], ["one", "two"]]
    assert [document.source for document in read_documents(paths)] == [str(paths[1]), str(paths[0]), str(paths[0])]


def test_wiki_extractor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = """<doc id="1" url="u" title="Tom &amp; &quot;Jerry&quot;">
Tom & "Jerry"

First paragraph.
History.

Second paragraph.
Tom & "Jerry"
</doc>

<doc id="2" url="u" title="Untold">
Another first line.
</doc>
<doc id="3" url="u" title="Empty">
Empty

</doc>
"""
    first = ["First paragraph.", "History.", "Second paragraph.", 'Tom & "Jerry"']
    assert read(write(tmp_path, content)) == [first, ["Another first line."]]
    assert read(write(tmp_path, content), separator="file") == [first, ["Another first line."]]
    assert capsys.readouterr().err == ""


def test_wiki_extractor_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = (
        '<doc id="1" title="A">\nA\n\none\n<doc id="2" title="B">\ntwo\n</doc>\nstray\n<doc id="3" title="C">\nthr'
    )
    assert read(write(tmp_path, content)) == [["one"], ["two"], ["thr"]]
    warnings = capsys.readouterr().err
    assert "a.txt: 2 documents without </doc>" in warnings
    assert "a.txt: 1 lines outside" in warnings


def test_text_about_xml_is_no_wiki(tmp_path: Path) -> None:
    assert read(write(tmp_path, "An XML text:\n<doc a>\n</doc>\n")) == [["An XML text:", "<doc a>", "</doc>"]]


def test_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [
        write(tmp_path, 'id,Text\n1,"one\n\ntwo"\n2,\n3,three\n', "a.csv"),
        write(tmp_path, "sentence\tlabel\nfour\t0\n", "b.tsv"),
        write(tmp_path, '{"title": "t", "content": "five\\r\\nsix"}\n{"title": "t", "content": null}\n', "c.jsonl"),
    ]
    assert read(*paths) == [["one", "two"], ["three"], ["four"], ["five", "six"]]
    notes = capsys.readouterr().err
    assert "a.csv: text from column 'Text' (columns: id, Text)" in notes
    assert "b.tsv: text from column 'sentence'" in notes
    assert read(paths[2], text_column="title") == [["t"], ["t"]]


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    path = write(tmp_path, "id\tutterance\n1\tx\n", "a.tsv")
    with pytest.raises(SettingsError, match=r"which column holds the text \(columns: id, utterance\).*--text-column"):
        read(path)
    with pytest.raises(SettingsError, match=r"no column 'uterance'; did you mean 'utterance'"):
        read(path, text_column="uterance")
    with pytest.raises(DataError, match=r"b\.jsonl:2: column 'text' holds \[1, 2\], which is not text"):
        read(write(tmp_path, '{"text": "x"}\n{"text": [1, 2]}\n', "b.jsonl"))


def test_nothing_to_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = [write(tmp_path, content, f"{number}.txt") for number, content in enumerate(["", "\n \n", "\ufeff"])]
    empty += [write(tmp_path, "", "3.jsonl"), write(tmp_path, "text\n", "4.csv")]
    with pytest.raises(DataError, match="no text found in 5 files"):
        read(*empty)
    capsys.readouterr()
    assert read(*empty, write(tmp_path, "one", "5.txt")) == [["one"]]
    assert capsys.readouterr().err.count("contains no text") == 5


def test_replacements_are_counted_for_each_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_bytes(b"bad \xff\xfe\n\ngenuine \xef\xbf\xbd\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"good\n\nbad \xff\n"))
    tally = Tally()
    result = read(tmp_path, bad_utf8="replace", tally=tally)
    assert result == [["bad \ufffd\ufffd"], ["genuine \ufffd"], ["good"], ["bad \ufffd"]]
    assert tally.num_replaced == 3
    assert [size for _, size in tally.sources] == [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert tally.bytes_read == sum(size for _, size in tally.sources)
    warnings = capsys.readouterr().err
    assert "a.txt: 2 byte sequences" in warnings
    assert "b.txt.gz: 1 byte sequences" in warnings
    with pytest.raises(DataError, match=r"a\.txt:1: byte 0xff at offset 4"):
        read(tmp_path)


def test_long_documents_come_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "PART_CHARACTERS", 100)
    path = write(tmp_path, "".join(f"paragraph number {number}\n" for number in range(50)) + "\nshort\n" + "x" * 500)
    parts = list(read_documents(path))
    assert max(sum(map(len, part.paragraphs)) for part in parts if len(part.paragraphs) > 1) <= 100
    assert read(path) == [[f"paragraph number {number}" for number in range(50)], ["short", "x" * 500]]


@pytest.mark.parametrize("separator", ["file", "blank-line"])
def test_memory_is_constant(tmp_path: Path, separator: str) -> None:
    """A file of one endless document is read in the memory of a few parts."""
    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"A sentence of some length that fills the memory, if it is kept.\n" * 150_000, 1))
    tracemalloc.start()
    total = sum(len(document.paragraphs) for document in read_documents(path, separator=separator, join_lines=False))  # type: ignore[arg-type]
    assert total == 150_000
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.lists(st.sampled_from([b"<doc id=1>", b"</doc>", b"\n", b"\r", b"\x00", b"a", b" ", b"\xff"])).map(b"".join),
    ),
    separator=st.sampled_from(["file", "blank-line"]),
)
def test_any_bytes_give_clean_paragraphs(tmp_path: Path, content: bytes, separator: Any) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    try:
        result = read(path, bad_utf8="replace", separator=separator)
    except DataError as error:
        assert "no text" in str(error) or "UTF-16" in str(error)
        return
    for paragraphs in result:
        assert paragraphs
        assert all(text and text == text.strip() and "\n" not in text and "\r" not in text for text in paragraphs)


def test_wrapped_text_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = textwrap.fill("It was agreed that the matter, which had waited for so long, should be taken up. " * 20, 60)
    write(tmp_path, text, "a.txt")
    write(tmp_path, "".join(json.dumps({"text": text}) + "\n" for _ in range(3)), "b.jsonl")
    tally = Tally()
    assert read(tmp_path, tally=tally) == [[text.replace("\n", " ")]] * 4
    assert tally.num_wrapped == 4
    assert capsys.readouterr().err.count("its lines are wrapped at about") == 1
    assert read(tmp_path / "a.txt", join_lines=False) == [text.split("\n")]


@pytest.mark.realdata
def test_real_wikipedia(english: Path, chinese: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = read(english)
    text = english.read_text(encoding="utf-8")
    assert len(result) == text.count("\n<doc ") + 1
    assert result[0][0].startswith("Anarchism is a political philosophy")
    num_lines = sum(1 for line in text.splitlines() if line.strip() and not line.startswith(("<doc ", "</doc>")))
    # Every line but the titles, which each document begins with.
    assert sum(map(len, result)) == num_lines - len(result)
    assert len(read(chinese)) == chinese.read_text(encoding="utf-8").count("<doc ")
    assert "1 documents without </doc>" in capsys.readouterr().err


@pytest.mark.realdata
def test_real_novels(test_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Books wrapped in different ways all give paragraphs with whole sentences."""
    wanted = {"Dickens_Bleak_1853": True, "Doyle_Lost_1912": True, "Trollope_Warden_1855": False}
    with tarfile.open(test_data / "novels" / "novels.tar.xz") as archive:
        for member in archive:
            if (name := Path(member.name).stem) in wanted:
                source = archive.extractfile(member)
                assert source is not None
                (tmp_path / f"{name}.txt").write_bytes(source.read(300_000))
    for name, wrapped in wanted.items():
        (paragraphs,) = read(tmp_path / f"{name}.txt", separator="file", bad_utf8="replace")
        assert ("wrapped at about" in capsys.readouterr().err) == wrapped
        ended = sum(text.endswith((".", "!", "?", '"', "'", ":", ";", "-", ")")) for text in paragraphs[100:])
        assert ended > 0.9 * len(paragraphs[100:])
