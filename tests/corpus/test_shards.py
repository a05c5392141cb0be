"""A corpus comes back as it was written, and one that was damaged is refused by the file's name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertie.corpus import shards
from bertie.corpus.shards import Corpus, CorpusWriter, TokenBlock, token_dtype
from bertie.errors import DataError, SettingsError

Part = tuple[bool, list[list[int]]]


def block(parts: list[Part]) -> TokenBlock:
    """Make a block of (continues, sentences)."""
    sentences = [sentence for _, part in parts for sentence in part]
    return TokenBlock(
        tokens=np.array([token for sentence in sentences for token in sentence], np.uint32),
        sentence_lengths=np.array([len(sentence) for sentence in sentences], np.int64),
        num_sentences=np.array([len(part) for _, part in parts], np.int64),
        continues=np.array([continues for continues, _ in parts], bool),
    )


def write(folder: Path, blocks: list[list[Part]], *, vocab_size: int = 1000) -> CorpusWriter:
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "tokenizer" / "vocab.txt").write_text("[PAD]\n")
    writer = CorpusWriter(folder, vocab_size=vocab_size)
    for parts in blocks:
        writer.append(block(parts))
    writer.finish({"tokenizer_fingerprint": "f", "statistics": {}, "settings": {}, "sources": []})
    return writer


def documents(corpus: Corpus) -> list[list[list[int]]]:
    starts = corpus.sentence_starts
    edges = corpus.document_offsets
    return [
        [corpus.gather([starts[s]], [corpus.sentence_lengths[s]]).tolist() for s in range(edges[d], edges[d + 1])]
        for d in range(corpus.num_documents)
    ]


EXAMPLE: list[list[Part]] = [
    [(False, [[1, 2], [3]]), (False, [[4, 5, 6]])],
    [(True, [[7]]), (False, []), (True, [[8, 9]])],
    [(False, []), (False, [[10]])],
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "corpus", EXAMPLE)
    return tmp_path / "corpus"


def test_written_and_read(folder: Path) -> None:
    corpus = Corpus.open(folder)
    assert documents(corpus) == [[[1, 2], [3]], [[4, 5, 6], [7]], [[8, 9]], [[10]]]
    assert (corpus.num_documents, corpus.num_sentences, corpus.num_tokens, corpus.vocab_size) == (4, 6, 10, 1000)
    for array in (corpus.sentence_starts, corpus.document_offsets, corpus.sentence_lengths):
        assert array.dtype == np.int64
        assert type(array) is np.ndarray
    assert corpus.gather([3, 0, 9, 5], [2, 2, 1, 0]).tolist() == [4, 5, 1, 2, 10]
    assert corpus.gather([], []).tolist() == []
    assert corpus.gather([0], [1]).dtype == np.int64
    assert corpus.tokenizer_path == folder / "tokenizer"
    with pytest.raises(ValueError, match="read-only"):
        corpus.sentence_starts[0] = 1


PARTS = st.lists(st.tuples(st.booleans(), st.lists(st.lists(st.integers(0, 999), min_size=1, max_size=4), max_size=3)))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(blocks=st.lists(PARTS, max_size=4))
def test_any_documents_come_back(tmp_path_factory: pytest.TempPathFactory, blocks: list[list[Part]]) -> None:
    expected: list[list[list[int]]] = []
    for continues, sentences in [part for parts in blocks for part in parts]:
        if continues and expected:
            expected[-1] += sentences
        else:
            expected.append(list(sentences))
    expected = [document for document in expected if document]
    if blocks and blocks[0]:
        blocks[0][0] = (False, blocks[0][0][1])
    folder = tmp_path_factory.mktemp("any") / "corpus"
    writer = write(folder, [parts for parts in blocks if parts])
    assert writer.num_documents == len(expected)
    assert writer.num_one_sentence_documents == sum(len(document) == 1 for document in expected)
    if expected:
        assert documents(Corpus.open(folder)) == expected
        assert writer.longest_sentence == max(len(sentence) for document in expected for sentence in document)


@pytest.mark.parametrize(("vocab_size", "bytes_per_token"), [(65_536, 2), (65_537, 4)])
def test_width_of_ids(tmp_path: Path, vocab_size: int, bytes_per_token: int) -> None:
    last = vocab_size - 1
    write(tmp_path / "corpus", [[(False, [[0, last]])]], vocab_size=vocab_size)
    assert (tmp_path / "corpus" / "tokens.bin").stat().st_size == 2 * bytes_per_token
    assert Corpus.open(tmp_path / "corpus").gather([0], [2]).tolist() == [0, last]
    assert token_dtype(vocab_size).itemsize == bytes_per_token


def test_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    def fingerprint(name: str, blocks: list[list[Part]], vocab_size: int = 1000) -> str:
        write(tmp_path / name, blocks, vocab_size=vocab_size)
        return Corpus.open(tmp_path / name).fingerprint

    first = fingerprint("a", EXAMPLE)
    assert fingerprint("b", [[part for parts in EXAMPLE for part in parts]]) == first
    others = [
        fingerprint("c", [[(False, [[1, 2], [3]]), (False, [[4, 5, 6], [7]]), (False, [[8, 9]]), (False, [[11]])]]),
        fingerprint("d", [[(False, [[1, 2, 3]]), (False, [[4, 5, 6], [7]]), (False, [[8, 9]]), (False, [[10]])]]),
        fingerprint("e", [[(False, [[1, 2], [3], [4, 5, 6], [7]]), (False, [[8, 9]]), (False, [[10]])]]),
        fingerprint("f", EXAMPLE, 1001),
    ]
    assert len({first, *others}) == 5


@pytest.mark.parametrize("name", ["tokens.bin", "sentences.bin", "documents.bin", "tokenizer/vocab.txt"])
@pytest.mark.parametrize("damage", ["cut", "longer", "changed", "removed"])
def test_damage_is_named(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    data = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(
            {"cut": data[:-1], "longer": data + b"\0", "changed": data[:-1] + bytes([data[-1] ^ 1])}[damage]
        )
    with pytest.raises(DataError, match=f"{path.name}: damaged corpus.*prepare the corpus again"):
        Corpus.open(folder)


def test_large_files_are_hashed_when_asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "_ALWAYS_VERIFIED_BYTES", 0)
    data = bytearray((folder / "tokens.bin").read_bytes())
    data[0] ^= 1
    (folder / "tokens.bin").write_bytes(data)
    Corpus.open(folder)
    with pytest.raises(DataError, match=r"tokens\.bin.*sha256"):
        Corpus.open(folder, verify=True)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"version": 2}, DataError, "format version 2, but this version of bertie reads 1"),
        ({"format": "something"}, SettingsError, "is not the manifest of a prepared corpus"),
        ({"num_tokens": 11}, DataError, r"its counts don't fit the size of tokens\.bin"),
        ({"num_documents": 0}, DataError, "a count, a fingerprint or the list of files"),
        ({"num_sentences": "6"}, DataError, "a count, a fingerprint or the list of files"),
        ({"num_sentences": True}, DataError, "a count, a fingerprint or the list of files"),
        ({"fingerprint": None}, DataError, "a count, a fingerprint or the list of files"),
        ({"files": {}}, DataError, "its counts don't fit"),
        ({"files": {"../x": {"bytes": 1, "sha256": ""}}}, DataError, "list of files"),
        ({"files": {"x": 3}}, DataError, "list of files"),
    ],
)
def test_wrong_manifests(folder: Path, changes: dict[str, Any], error: type[Exception], message: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"sha256": None} | changes))
    with pytest.raises(error, match=message):
        Corpus.open(folder)


def test_any_flipped_byte_of_the_manifest_is_found_or_has_no_effect(folder: Path) -> None:
    path = folder / "manifest.json"
    whole = path.read_bytes()
    expected = {name: value for name, value in json.loads(whole).items() if name != "sha256"}
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            found = Corpus.open(folder).manifest
        except (DataError, SettingsError):
            continue
        assert {name: value for name, value in found.items() if name in expected} == expected, place


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]"])
def test_manifests_that_are_no_json(folder: Path, content: bytes) -> None:
    (folder / "manifest.json").write_bytes(content)
    with pytest.raises((DataError, SettingsError), match=r"manifest\.json"):
        Corpus.open(folder)


def test_offsets_must_end_where_the_counts_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "corpus", EXAMPLE)
    monkeypatch.setattr(shards, "_check_file", lambda *arguments, **settings: None)
    for name in ("sentences.bin", "documents.bin"):
        data = (tmp_path / "corpus" / name).read_bytes()
        (tmp_path / "corpus" / name).write_bytes(data[:-8] + bytes(8))
        with pytest.raises(DataError, match=f"{name}.*it doesn't end at"):
            Corpus.open(tmp_path / "corpus")
        (tmp_path / "corpus" / name).write_bytes(data)


@pytest.mark.parametrize(
    ("name", "offsets", "message"),
    [
        ("sentences.bin", [1, 2], "the first sentence begins at 1"),
        ("sentences.bin", [0, 0], "sentence 1 is empty or ends before it begins"),
        ("sentences.bin", [0, 2, 1], "sentence 2 is empty or ends before it begins"),
        ("sentences.bin", [0, 2**40], "sentence 2 is empty or ends before it begins"),
        ("sentences.bin", [0, -5], "sentence 1 is empty or ends before it begins"),
        ("documents.bin", [-1], "the first document begins at -1"),
        ("documents.bin", [0, 99], "document 2 is empty or ends before it begins"),
    ],
)
def test_offsets_point_forwards_and_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, offsets: list[int], message: str
) -> None:
    write(tmp_path / "corpus", EXAMPLE)
    monkeypatch.setattr(shards, "_check_file", lambda *arguments, **settings: None)
    data = np.fromfile(tmp_path / "corpus" / name, "<i8")
    data[: len(offsets)] = offsets
    (tmp_path / "corpus" / name).write_bytes(data.tobytes())
    with pytest.raises(DataError, match=f"{name}: damaged corpus: {message}"):
        Corpus.open(tmp_path / "corpus")


def test_ids_outside_the_vocabulary_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "corpus", EXAMPLE)
    monkeypatch.setattr(shards, "_check_file", lambda *arguments, **settings: None)
    data = np.fromfile(tmp_path / "corpus" / "tokens.bin", "<u2")
    data[1] = 65_535
    (tmp_path / "corpus" / "tokens.bin").write_bytes(data.tobytes())
    corpus = Corpus.open(tmp_path / "corpus")
    with pytest.raises(DataError, match=r"tokens\.bin: damaged corpus: id 65535 is not in the vocabulary"):
        corpus.gather([0], [3])


def test_no_corpus(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(SettingsError, match=r"no prepared corpus at .*bertie prepare-corpus"):
            Corpus.open(path)
