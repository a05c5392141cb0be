"""Raw text becomes a corpus whose bytes depend on nothing but text, tokenizer and settings; failures leave nothing."""

import errno
import json
import os
import resource
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bertie.corpus import chunks as room
from bertie.corpus import shards
from bertie.corpus.prepare import PrepareSettings, prepare
from bertie.corpus.shards import Corpus
from bertie.errors import DataError, ResourceError, SettingsError
from bertie.files.atomic import sha256_file
from bertie.tokenizer.reading import load_tokenizer

WORDS = ("the", "cat", "dog", "sat", "ran", "on", "mat", "quickly", "then", "slept")


def story(number: int) -> str:
    """Return a document of a few sentences in two paragraphs."""
    sentences = [
        " ".join(WORDS[(number * 7 + place * 3 + word * word) % len(WORDS)] for word in range(3 + place)).capitalize()
        + "."
        for place in range(1 + number % 5)
    ]
    return " ".join(sentences[:2]) + "\n" + " ".join(sentences[2:])


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(story(number).strip() for number in range(400)), encoding="utf-8")
    return path


def documents(corpus: Corpus) -> list[list[str]]:
    """Return each document's sentences, decoded."""
    tokenizer = load_tokenizer(corpus.tokenizer_path)
    edges, starts = corpus.document_offsets, corpus.sentence_starts
    decoded = [tokenizer.decode(corpus.gather([a], [b - a]).tolist()) for a, b in pairwise(starts)]
    return [decoded[a:b] for a, b in pairwise(edges)]


# Of the beginnings of two Wikipedia files: faster ways to encode change no byte.
FINGERPRINTS = {
    "uncased": "3bb2c18f8746a2129c2a96cf6c2697d0324f700dab1e878ebde7ab0bf910012a",
    "chinese": "0182fae3b2b8d5c1b97b3bc45ea933a3479bed92bbb5043d06ff30328205ad96",
}


def hashes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def test_text_to_corpus(tmp_path: Path, vocabulary: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(
        "The cat sat. The dog ran!\n\x00\nOn the mat.\n\n \x00\x01 \n\n我有他。他在，我不在！\nCats é\n",
        encoding="utf-8",
    )
    corpus = prepare([path], tokenizer=vocabulary, out=tmp_path / "corpus")
    assert documents(corpus) == [
        ["the cat sat.", "the dog ran!", "on the mat."],
        ["我 有 他 。", "他 在 ， 我 不 在 ！", "cats e"],
    ]
    statistics = corpus.manifest["statistics"]
    assert statistics == {
        "text_bytes": len("The cat sat. The dog ran!\x00On the mat.\x00\x01我有他。他在，我不在！Cats é".encode()),
        "documents_by_language": {"en": 2, "zh": 1},
        "num_one_sentence_documents": 0,
        "longest_sentence": 7,
        "num_unknown": 0,
        "num_unsplit": 0,
        "num_replaced": 0,
        "num_wrapped_texts": 0,
        "documents_read": 3,
        "dropped_documents": {"without_tokens": 1},
    }
    tokenizer = load_tokenizer(vocabulary)
    assert corpus.tokenizer_fingerprint == tokenizer.fingerprint == load_tokenizer(corpus.tokenizer_path).fingerprint
    assert corpus.vocab_size == tokenizer.vocab_size
    assert corpus.manifest["sources"] == [{"path": str(path), "bytes": path.stat().st_size}]
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


def test_settings_are_followed(tmp_path: Path, vocabulary: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"The cat. The dog.\n\nOn \xff. Mat.\n")

    def sentences(name: str, **settings: Any) -> list[list[str]]:
        corpus = prepare(
            [path], tokenizer=vocabulary, out=tmp_path / name, settings=PrepareSettings(bad_utf8="replace", **settings)
        )
        assert corpus.manifest["statistics"]["num_replaced"] == 1
        assert (
            corpus.manifest["settings"]
            == {
                "language": "auto",
                "sentences": "split",
                "documents": "blank-line",
                "bad_utf8": "replace",
                "text_column": None,
            }
            | settings
        )
        return documents(corpus)

    assert sentences("a") == [["the cat.", "the dog."], ["on.", "mat."]]
    assert sentences("b", sentences="line") == [["the cat. the dog."], ["on. mat."]]
    assert sentences("c", documents="file") == [["the cat.", "the dog.", "on.", "mat."]]
    assert sentences("d", language="zh") == [["the cat. the dog."], ["on. mat."]]
    with pytest.raises(SettingsError, match="--language 'xx' is unknown"):
        sentences("e", language="xx")


@pytest.mark.parametrize("num_characters", [100, 5000])
def test_bytes_do_not_depend_on_the_number_of_processes(
    text: Path, tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch, num_characters: int
) -> None:
    monkeypatch.setattr(room, "_CHUNK_CHARACTERS", num_characters)
    found = [
        hashes(prepare([text], tokenizer=vocabulary, out=tmp_path / str(number), num_processes=number).path)
        for number in (1, 2, 3)
    ]
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 8


def test_bytes_do_not_depend_on_chunks_and_parts(
    text: Path, tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = prepare([text], tokenizer=vocabulary, out=tmp_path / "whole").fingerprint
    monkeypatch.setattr(room, "_CHUNK_CHARACTERS", 50)
    monkeypatch.setattr("bertie.corpus.documents.PART_CHARACTERS", 40)
    assert prepare([text], tokenizer=vocabulary, out=tmp_path / "pieces").fingerprint == whole
    assert documents(Corpus.open(tmp_path / "pieces"))[7] == documents(Corpus.open(tmp_path / "whole"))[7]


def test_nothing_but_blanks(tmp_path: Path, vocabulary: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("\x00\n\n\u200b\n", encoding="utf-8")
    with pytest.raises(DataError, match="no tokens found in 1 files"):
        prepare([path], tokenizer=vocabulary, out=tmp_path / "corpus")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt"]


def test_a_long_sentence_and_special_tokens(tmp_path: Path, vocabulary: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("the cat " * 125_000 + "\n[SEP] the [MASK]", encoding="utf-8")
    corpus = prepare([path], tokenizer=vocabulary, out=tmp_path / "corpus")
    assert corpus.sentence_lengths.tolist() == [250_000, 2 + 3 + 1 + 2 + 4]
    tokenizer = load_tokenizer(vocabulary)
    assert not set(corpus.gather([0], [corpus.num_tokens]).tolist()).intersection(tokenizer.special_ids)


def test_errors_leave_nothing(text: Path, tmp_path: Path, vocabulary: Path) -> None:
    (tmp_path / "bad.txt").write_bytes(b"x" * 600_000 + b"\n\n\xff")
    before = sorted(path.name for path in tmp_path.iterdir())
    for num_processes in (1, 2):
        with pytest.raises(DataError, match=r"bad\.txt:3: byte 0xff at offset 600002"):
            prepare([tmp_path], tokenizer=vocabulary, out=tmp_path / "corpus", num_processes=num_processes)
    with pytest.raises(SettingsError, match="exists already"):
        prepare([text], tokenizer=vocabulary, out=tmp_path)
    with pytest.raises(SettingsError, match="tokenizer"):
        prepare([text], tokenizer=tmp_path / "nowhere", out=tmp_path / "corpus")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_full_disk_before_and_during(
    text: Path, tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        with pytest.raises(ResourceError, match=r"not enough space for .*corpus: at least 0 MB needed, 0 MB free"):
            prepare([text], tokenizer=vocabulary, out=tmp_path / "corpus")

    def full(self: object, values: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shards.HashedFile, "write", full)
        with pytest.raises(ResourceError, match=r"can't write .*corpus: No space left"):
            prepare([text], tokenizer=vocabulary, out=tmp_path / "corpus")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.txt"]


SCRIPT = """
import sys
from itertools import pairwise
from pathlib import Path
from bertie.corpus.prepare import prepare
from bertie.errors import BertieError
try:
    prepare([Path(sys.argv[1])], tokenizer=Path(sys.argv[2]), out=Path(sys.argv[3]), num_processes=int(sys.argv[4]))
except BertieError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def start(*words: object, **settings: Any) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", SCRIPT, *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **settings
    )


def test_a_real_limit_of_the_system(tmp_path: Path, vocabulary: Path) -> None:
    """The system itself refuses to let a file grow; buffers that can't be flushed don't hide it."""
    (tmp_path / "a.txt").write_text("the cat sat on the mat.\n" * 20_000)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    with start(tmp_path / "a.txt", vocabulary, tmp_path / "corpus", 1, preexec_fn=limit) as process:
        output, errors = process.communicate(timeout=60)
    assert process.returncode == ResourceError.exit_code, errors
    assert "File too large" in output
    assert "Traceback" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt"]


def test_killed_while_working_leaves_no_corpus(tmp_path: Path, text: Path, vocabulary: Path) -> None:
    (tmp_path / "a.txt").write_text("the cat sat on the mat.\n" * 200_000)
    with start(tmp_path / "a.txt", vocabulary, tmp_path / "corpus", 2) as process:
        while process.poll() is None:
            tokens = [path.stat().st_size for path in tmp_path.glob("corpus.partial-*/tokens.bin")]
            if tokens and tokens[0] > 0:
                process.kill()
    assert process.returncode < 0, "it ended before it could be killed"
    assert not (tmp_path / "corpus").exists()
    assert prepare([text], tokenizer=vocabulary, out=tmp_path / "corpus").num_documents == 400


@pytest.mark.realdata
def test_real_text_in_both_languages(test_data: Path, english: Path, chinese: Path, tmp_path: Path) -> None:
    counts = {}
    for name, path in (("uncased", english), ("chinese", chinese)):
        vocabulary = test_data / "vocab" / f"bert-base-{name}-vocab.txt"
        corpora = [
            prepare(
                [path],
                tokenizer=vocabulary,
                out=tmp_path / f"{name}-{number}",
                settings=PrepareSettings(words="none"),
                num_processes=number,
            )
            for number in (1, 2)
        ]
        assert hashes(corpora[0].path) == hashes(corpora[1].path)
        assert corpora[0].fingerprint == FINGERPRINTS[name]
        statistics = corpora[0].manifest["statistics"]
        counts[name] = (
            statistics["num_unknown"] / corpora[0].num_tokens,
            corpora[0].num_tokens / corpora[0].num_sentences,
        )
        assert corpora[0].num_documents > 50
        assert statistics["num_one_sentence_documents"] < 0.2 * corpora[0].num_documents
        output_bytes = sum(path.stat().st_size for path in corpora[0].path.glob("*.bin"))
        assert output_bytes < 0.8 * statistics["text_bytes"]
    assert max(unknown for unknown, _ in counts.values()) < 0.01
    assert all(15 < length < 60 for _, length in counts.values())
    manifest = json.loads((tmp_path / "chinese-1" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["statistics"]["documents_by_language"]["zh"] > 50
