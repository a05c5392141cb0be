"""Words are stored with a corpus, a bit a token, and are part of it; text without Chinese is stored as ever."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.corpus import chunks as preparing
from bertie.corpus import segmentation
from bertie.corpus.prepare import PrepareSettings, prepare
from bertie.corpus.shards import Corpus, CorpusWriter, TokenBlock
from bertie.errors import DataError, SettingsError

ENGLISH = "The cat sat on the mat. The dog ran.\n\nA cat ran.\n"
CHINESE = "他在北京大学学习。我们的朋友有cat和T恤。\n\n人不是在中国的。他有一个朋友！\n"


def write(folder: Path, blocks: list[list[bool] | int]) -> Corpus:
    """Write blocks of one document each: flags, or a number of tokens without."""
    (folder / "tokenizer").mkdir(parents=True)
    writer = CorpusWriter(folder, vocab_size=9)
    for each in blocks:
        count = each if isinstance(each, int) else len(each)
        flags = None if isinstance(each, int) else np.array(each, bool)
        tokens, lengths = np.zeros(count, np.uint16), np.array([count])
        writer.append(
            TokenBlock(
                tokens=tokens,
                sentence_lengths=lengths,
                num_sentences=np.array([1]),
                continues=np.array([False]),
                goes_on=flags,
            )
        )
    writer.finish({"tokenizer_fingerprint": "f", "statistics": {}, "settings": {}, "sources": []})
    return Corpus.open(folder)


@settings(max_examples=40, deadline=None)
@given(blocks=st.lists(st.integers(1, 20) | st.lists(st.booleans(), min_size=1, max_size=20), min_size=1, max_size=6))
def test_any_flags_come_back(tmp_path_factory: pytest.TempPathFactory, blocks: list[list[bool] | int]) -> None:
    folder = tmp_path_factory.mktemp("any") / "corpus"
    corpus = write(folder, blocks)
    expected = [flag for each in blocks for flag in ([False] * each if isinstance(each, int) else each)]
    found = corpus.gather_words([0], [corpus.num_tokens])
    assert corpus.has_words == (found is not None) == any(isinstance(each, list) for each in blocks)
    if found is not None:
        assert found.tolist() == expected
        assert (folder / "words.bin").stat().st_size == -(-len(expected) // 8)
        places = np.array([len(expected) - 1, 0])
        assert corpus.gather_words(places, [1, 1]).tolist() == [expected[-1], expected[0]]  # type: ignore[union-attr]


def test_words_are_part_of_the_identity(tmp_path: Path) -> None:
    corpora = [
        write(tmp_path / str(number), [each]) for number, each in enumerate([3, [False] * 3, [False, True, True]])
    ]
    assert len({corpus.fingerprint for corpus in corpora}) == 3


def test_damage_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "a", [[False, True] * 10])
    file = tmp_path / "a" / "words.bin"
    content = file.read_bytes()
    file.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"words.bin: damaged corpus: it has 2 bytes instead of 3"):
        Corpus.open(tmp_path / "a")
    file.write_bytes(bytes(len(content)))
    with pytest.raises(DataError, match=r"words.bin: damaged corpus: its content was changed"):
        Corpus.open(tmp_path / "a")
    file.unlink()
    with pytest.raises(DataError, match=r"words.bin: damaged corpus: it is missing"):
        Corpus.open(tmp_path / "a")


def make(folder: Path, text: str, vocabulary: Path, name: str, processes: int = 1, **settings_: object) -> Corpus:
    path = folder / "text.txt"
    path.write_text(text, encoding="utf-8")
    chosen = PrepareSettings(**settings_)  # type: ignore[arg-type]
    return prepare([path], tokenizer=vocabulary, out=folder / name, settings=chosen, num_processes=processes)


def files(corpus: Corpus) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in corpus.path.rglob("*") if path.is_file()}


def words_of(corpus: Corpus) -> str:
    pieces = (corpus.tokenizer_path / "vocab.txt").read_text(encoding="utf-8").split("\n")
    found = corpus.gather_words([0], [corpus.num_tokens])
    assert found is not None
    ids = corpus.gather([0], [corpus.num_tokens])
    return "".join(f"{'' if flag else '|'}{pieces[each]}" for each, flag in zip(ids, found, strict=True))


def test_text_without_chinese_is_stored_as_ever(tmp_path: Path, vocabulary: Path) -> None:
    pytest.importorskip("rjieba")
    alone = files(make(tmp_path, ENGLISH, vocabulary, "none", words="none"))
    assert "words.bin" not in alone
    for words in ("auto", "jieba"):
        assert files(make(tmp_path, ENGLISH, vocabulary, words, words=words)) == alone


def test_chinese_words_are_stored(tmp_path: Path, vocabulary: Path) -> None:
    pytest.importorskip("rjieba")
    corpus = make(tmp_path, CHINESE, vocabulary, "auto")
    assert words_of(corpus).startswith(
        "|他|在|[UNK][UNK][UNK][UNK]|[UNK][UNK]|。|我[UNK]|的|[UNK][UNK]|有|cat|[UNK]|t[UNK]|。|"
    )
    assert "|不[UNK]|" not in words_of(corpus) and "|不是|" in words_of(corpus)
    told = corpus.manifest["words"]
    assert told["segmenter"].startswith("rjieba ") and not told["everywhere"] and told["user_dictionary"] is None
    plain = make(tmp_path, CHINESE, vocabulary, "none", words="none")
    assert "words" not in plain.manifest and plain.fingerprint != corpus.fingerprint
    assert {"tokens.bin", "sentences.bin"} <= {
        name for name, content in files(plain).items() if files(corpus)[name] == content
    }
    assert json.loads((plain.path / "manifest.json").read_text())["settings"].keys().isdisjoint({"words"})


def test_a_user_dictionary_decides(tmp_path: Path, vocabulary: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rjieba")
    (tmp_path / "own.txt").write_text("人不是在\n", encoding="utf-8")
    own = make(tmp_path, CHINESE, vocabulary, "own", user_dictionary=tmp_path / "own.txt")
    assert "|人不是在|" in words_of(own)
    assert own.manifest["words"]["user_dictionary"]["path"].endswith("own.txt")
    capsys.readouterr()
    make(tmp_path, ENGLISH, vocabulary, "english", user_dictionary=tmp_path / "own.txt")
    assert "own.txt was not used" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="no effect with --words none"):
        make(tmp_path, CHINESE, vocabulary, "neither", words="none", user_dictionary=tmp_path / "own.txt")
    assert not (tmp_path / "neither").exists()


def test_chinese_inside_other_text(tmp_path: Path, vocabulary: Path) -> None:
    pytest.importorskip("rjieba")
    text = ENGLISH + "\n" + "The dog sat in 不是 and ran on the mat with the cat. " * 3 + "\n"
    assert not make(tmp_path, text, vocabulary, "auto").has_words
    assert "|不是|" in words_of(make(tmp_path, text, vocabulary, "jieba", words="jieba"))


def test_processes_make_no_difference(tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rjieba")
    monkeypatch.setattr(preparing, "_CHUNK_CHARACTERS", 40)
    text = "\n".join([ENGLISH, CHINESE] * 6)
    one, two = (make(tmp_path, text, vocabulary, str(number), number) for number in (1, 2))
    assert files(one) == files(two) and one.has_words


def test_without_the_package(tmp_path: Path, vocabulary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "is_installed", lambda: False)
    assert not make(tmp_path, CHINESE, vocabulary, "auto").has_words
    with pytest.raises(SettingsError, match=r"rjieba is needed to segment Chinese words.*bertie\[zh\]"):
        make(tmp_path, CHINESE, vocabulary, "jieba", words="jieba")
