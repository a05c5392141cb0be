"""A corpus cut anew by a wider vocabulary is the corpus that the wider vocabulary would have made of the text."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertie.corpus import respell as respelling
from bertie.corpus.prepare import PrepareSettings, prepare
from bertie.corpus.respell import broken_words, respell
from bertie.corpus.shards import Corpus
from bertie.errors import DataError, SettingsError
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.widen import is_widened, read_words, widened
from bertie.tokenizer.writing import save_tokenizer

WORDS = [
    "volcano",
    "volcanoes",
    "volcan",
    "catfish",
    "the",
    "cat",
    "cats",
    "Zebra",
    "zebras",
    "é",
    "日",
    "2024",
    "a-b",
    "☃",
]
Prepare = Callable[[str, Path, str], Corpus]


@pytest.fixture
def prepared(tmp_path: Path) -> Prepare:
    def make(text: str, tokenizer: Path, name: str) -> Corpus:
        source = tmp_path / "text.txt"
        source.write_text(text, encoding="utf-8")
        how = PrepareSettings(language="en", sentences="line")
        return prepare([source], tokenizer=tokenizer, out=tmp_path / name, settings=how, num_processes=1)

    return make


def _arrays(corpus: Corpus) -> list[list[int]]:
    ids = corpus.gather([0], [corpus.num_tokens])
    return [ids.tolist(), corpus.sentence_starts.tolist(), corpus.document_offsets.tolist()]


@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    documents=st.lists(
        st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9), min_size=1, max_size=5),
        min_size=1,
        max_size=6,
    ),
    added=st.lists(st.sampled_from(["volcano", "volcan", "catfish", "zebra"]), min_size=1, unique=True),
    block=st.integers(1, 40),
)
def test_cut_anew_is_prepared_anew(
    tiny_tokenizer: Tokenizer,
    tmp_path_factory: pytest.TempPathFactory,
    documents: list[list[list[str]]],
    added: list[str],
    block: int,
) -> None:
    folder = tmp_path_factory.mktemp("respell")
    text = folder / "text.txt"
    text.write_text("\n\n".join("\n".join(" ".join(line) for line in each) for each in documents), encoding="utf-8")
    wider = widened(tiny_tokenizer, added)
    for name, tokenizer in (("old", tiny_tokenizer), ("wide", wider)):
        save_tokenizer(tokenizer, folder / f"{name}-tokenizer")
    how = PrepareSettings(language="en", sentences="line")
    old, wide = (
        prepare([text], tokenizer=folder / f"{name}-tokenizer", out=folder / name, settings=how, num_processes=1)
        for name in ("old", "wide")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(respelling, "_BLOCK", block)
        respell(old, tiny_tokenizer, wider, folder / "anew")
    anew = Corpus.open(folder / "anew", verify=True)
    assert _arrays(anew) == _arrays(wide)
    assert anew.fingerprint == wide.fingerprint
    assert anew.manifest["statistics"] == wide.manifest["statistics"]


def test_words_that_save_most_come_first(prepared: Prepare, tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_tokenizer(tiny_tokenizer, tmp_path / "tokenizer")
    lines = ["the volcano ate the catfish"] * 7 + ["catfish"] * 3 + ["rareword 123456 123456"] + ["123456"] * 9
    corpus = prepared("\n".join(lines), tmp_path / "tokenizer", "corpus")
    assert broken_words(corpus, tiny_tokenizer, 10) == ["volcano", "catfish"]  # 7 x 6 pieces saved, then 10 x 4
    assert broken_words(corpus, tiny_tokenizer, 1) == ["volcano"]


def test_old_ids_keep_their_pieces(tiny_tokenizer: Tokenizer) -> None:
    wider = widened(tiny_tokenizer, ["volcano"])
    assert wider.tokens[: tiny_tokenizer.vocab_size] == tiny_tokenizer.tokens
    assert wider.encode_batch(["The Volcano"]) == [[tiny_tokenizer.token_id("the"), tiny_tokenizer.vocab_size]]
    assert is_widened(wider, tiny_tokenizer)
    assert not is_widened(tiny_tokenizer, wider)
    assert not is_widened(tiny_tokenizer, tiny_tokenizer)


def test_another_vocabulary_is_no_wider_one(tiny_tokenizer: Tokenizer) -> None:
    other = Tokenizer.build([*tiny_tokenizer.tokens, "volcano"], lowercase=False)
    assert not is_widened(other, tiny_tokenizer)


def test_words_of_a_file(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("Volcano\n\n  catfish \nvolcano\nthe\n", encoding="utf-8")
    assert read_words(file, tiny_tokenizer) == ["volcano", "catfish"]
    file.write_text("volcano\nsea-fish\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"words.txt:2: 'sea-fish' is not one word.*sea \| - \| fish"):
        read_words(file, tiny_tokenizer)
    file.write_text("x" * 101, encoding="utf-8")
    with pytest.raises(DataError, match=r"words.txt:1: .*longer than 100 characters"):
        read_words(file, tiny_tokenizer)
    file.write_text("the\n[MASK]\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"words.txt:2"):
        read_words(file, tiny_tokenizer)
    file.write_text("the\n", encoding="utf-8")
    with pytest.raises(DataError, match="no word that the vocabulary"):
        read_words(file, tiny_tokenizer)
    with pytest.raises(SettingsError, match=r"none\.txt"):
        read_words(tmp_path / "none.txt", tiny_tokenizer)


def test_words_already_known_make_no_difference(prepared: Prepare, tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    save_tokenizer(tiny_tokenizer, tmp_path / "tokenizer")
    corpus = prepared("the cat saw\nthe fish ☃ .", tmp_path / "tokenizer", "corpus")
    respell(corpus, tiny_tokenizer, widened(tiny_tokenizer, ["volcano"]), tmp_path / "anew")
    anew = Corpus.open(tmp_path / "anew")
    assert np.array_equal(corpus.gather([0], [corpus.num_tokens]), anew.gather([0], [anew.num_tokens]))


def test_marks_of_chinese_words_are_kept(tiny_tokenizer: Tokenizer, tmp_path: Path) -> None:
    pytest.importorskip("rjieba")
    (tmp_path / "own.txt").write_text("卡拉volcano厅\n", encoding="utf-8")
    text = "在卡拉volcano厅看volcano，北京的volcanoes。cat北京volcano\n"
    (tmp_path / "text.txt").write_text(text * 3, encoding="utf-8")
    wider = widened(tiny_tokenizer, ["volcano", "volcanoes"])
    how = PrepareSettings(language="zh", sentences="line", user_dictionary=tmp_path / "own.txt")
    made = []
    for name, tokenizer in (("old", tiny_tokenizer), ("wide", wider)):
        save_tokenizer(tokenizer, tmp_path / name)
        out = tmp_path / f"corpus-{name}"
        made.append(prepare([tmp_path / "text.txt"], tokenizer=tmp_path / name, out=out, settings=how, num_processes=1))
    old, wide = made
    respell(old, tiny_tokenizer, wider, tmp_path / "anew")
    anew = Corpus.open(tmp_path / "anew", verify=True)
    assert old.has_words and anew.num_tokens < old.num_tokens
    marked = [corpus.gather_words([0], [corpus.num_tokens]) for corpus in (anew, wide)]
    assert np.array_equal(*marked) and np.any(marked[0])  # type: ignore[arg-type]
    assert anew.fingerprint == wide.fingerprint and anew.manifest["words"] == wide.manifest["words"]
