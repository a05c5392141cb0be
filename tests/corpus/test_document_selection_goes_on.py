"""The selection of documents depends on the text alone, and goes on after an interruption with what it has."""

import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bertie.corpus.documents import Document, Tally, read_file
from bertie.corpus.prepare import prepare
from bertie.corpus.selection import select as room
from bertie.corpus.selection import store as store_room
from bertie.corpus.selection.select import Selection, SelectSettings
from bertie.corpus.selection.store import Store
from bertie.errors import DataError, SettingsError
from bertie.files.text import expand

pytest.importorskip("rensa")

NEAR = SelectSettings(duplicates="near")
Text = tuple[Path, Path]


@pytest.fixture
def text(tmp_path: Path) -> Text:
    """Return a folder of three files, with duplicates in and between them, and a test set."""
    chance = random.Random(0)
    texts = [" ".join(chance.choice("abcdefgh") * 3 + chance.choice("xyz") for _ in range(40)) for _ in range(40)]
    texts += [chance.choice(texts).replace("aaax", "aaa") for _ in range(30)]
    texts.insert(35, " ".join(chance.choice("abcdefgh") * 2 for _ in range(3000)))
    folder = tmp_path / "text"
    folder.mkdir()
    for number in range(3):
        own = texts[number * 20 : None if number == 2 else (number + 1) * 20]
        (folder / f"{number}.txt").write_text("\n\n".join(own) + "\n")
    table = tmp_path / "test.tsv"
    table.write_text(f"text\n{texts[3][4:60]}\n{texts[35][900:960]}\n")
    return folder, table


def reader() -> Callable[[Path, Tally], Iterator[Document]]:
    read = partial(read_file, bad_utf8="stop", separator="blank-line", text_column=None, join_lines=True)
    return lambda path, tally: read(path, tally=tally)


def selected(text: Text, store: Path, *, read: Any = None, processes: int = 1) -> Selection:
    return room.select(
        expand(text[0], suffixes=(".txt",)),
        read=read or reader(),
        reading={},
        settings=SelectSettings(duplicates="near", test_sets=(text[1],)),
        folder=store,
        num_processes=processes,
    )


def decision(selection: Selection, text: Text) -> tuple[Any, ...]:
    """Return everything that a selection decides, and end it."""
    assert selection.leaks is not None
    report = selection.leaks.report(expand(text[0], suffixes=(".txt",)), selection.store)
    lines = selection.store.whole("line").tolist()
    selection.store.remove()
    return selection.reasons.tolist(), selection.kept.tolist(), selection.similarities.tolist(), lines, report


def test_depends_on_the_text_alone(text: Text, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the number of processes nor the size of pieces matters."""
    monkeypatch.setattr(room, "_CHUNK_CHARACTERS", 2000)
    expected = decision(selected(text, tmp_path / "one"), text)
    assert 5 < sum(map(bool, expected[0])) < 35 and expected[4][0]["rows_found"] == 2
    monkeypatch.setattr(store_room, "_PIECE_DOCUMENTS", 7)
    assert decision(selected(text, tmp_path / "two", processes=2), text) == expected


@pytest.mark.parametrize("after", [1, 20, 21, 37, 70])
def test_goes_on_after_an_interruption(text: Text, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Also in the middle of a file and of a document, and with a piece that is damaged."""
    monkeypatch.setattr(room, "_CHUNK_CHARACTERS", 1000)
    monkeypatch.setattr(store_room, "_PIECE_DOCUMENTS", 5)
    expected = decision(selected(text, tmp_path / "whole"), text)
    read = reader()
    num_read = 0

    def interrupted(path: Path, tally: Tally) -> Iterator[Document]:
        nonlocal num_read
        for document in read(path, tally):
            num_read += 1
            if num_read > after:
                raise KeyboardInterrupt
            yield document

    folder = tmp_path / "store"
    with pytest.raises(KeyboardInterrupt):
        selected(text, folder, read=interrupted)
    pieces = sorted(folder.glob("*.npz")) if folder.exists() else []
    assert 0 <= after - 5 * len(pieces) <= 13
    fingerprinted = 0
    compute = room.run

    def counted(work: Any, chunks: Any, **others: Any) -> Any:
        nonlocal fingerprinted
        for chunk in compute(work, chunks, **others):
            fingerprinted += sum(not each for each in chunk.continues)
            yield chunk

    monkeypatch.setattr(room, "run", counted)
    if len(pieces) > 2:
        damaged = bytearray(pieces[2].read_bytes())
        damaged[len(damaged) // 2] ^= 1
        pieces[2].write_bytes(damaged)
        pieces = pieces[:2]
    assert decision(selected(text, folder), text) == expected
    assert fingerprinted == 71 - 5 * len(pieces)


def test_other_text_or_settings_begin_again(text: Text, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_room, "_PIECE_DOCUMENTS", 5)
    folder = tmp_path / "store"
    selected(text, folder).store.close()
    assert list(folder.glob("*.npz"))
    other = Store(folder, {"other": 1})
    assert len(other) == 0 and not list(folder.glob("*.npz"))
    other.close()
    selected(text, folder).store.close()
    (text[0] / "3.txt").write_text("One more text.")
    expected = decision(selected(text, tmp_path / "new"), text)
    assert decision(selected(text, folder), text) == expected and len(expected[0]) == 72


def test_one_command_at_a_time(text: Text, tmp_path: Path) -> None:
    first = selected(text, tmp_path / "store")
    with pytest.raises(SettingsError, match="another command is preparing this corpus"):
        selected(text, tmp_path / "store")
    assert len(decision(first, text)[0]) == 71


def test_files_of_the_user_are_left_alone(text: Text, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    folder.mkdir()
    (folder / "000000.npz").write_text("mine")
    for request in (None, "{}", "{"):
        if request is not None:
            (folder / "request.json").write_text(request)
        with pytest.raises(SettingsError, match="exists and holds other files"):
            selected(text, folder)
        assert (folder / "000000.npz").read_text() == "mine"
    (folder / "000000.npz").unlink()  # a command was killed while it wrote its first file
    assert len(decision(selected(text, folder), text)[0]) == 71


def test_a_failure_keeps_what_was_compared(
    text: Text, tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the text changes between the two readings, no corpus appears; the next attempt compares again and succeeds."""
    out = tmp_path / "corpus"
    original = room.Selection.take

    def shrink(selection: Selection, number: int) -> bool:
        (text[0] / "2.txt").write_text("")
        return original(selection, number)

    with monkeypatch.context() as patch:
        patch.setattr(room.Selection, "take", shrink)
        with pytest.raises(DataError, match="the text was changed while the corpus was prepared"):
            prepare([text[0]], tokenizer=vocabulary, out=out, select=NEAR, num_processes=1)
    assert not out.exists() and list(out.with_name("corpus.selection").glob("*.npz"))
    corpus = prepare([text[0]], tokenizer=vocabulary, out=out, select=NEAR, num_processes=1)
    assert corpus.manifest["statistics"]["documents_read"] == 40
    assert not out.with_name("corpus.selection").exists()
