"""A vocabulary of the same bytes every time."""

import hashlib
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers, pre_tokenizers

from bertie.commands.train_tokenizer import train_tokenizer
from bertie.errors import DataError, SettingsError
from bertie.tokenizer import train as training
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.tokenizer import SPECIALS
from bertie.tokenizer.train import train

ROOT = Path(__file__).parents[2]


def text(count: int = 3000) -> list[str]:
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghij", k=draw.randint(2, 8))) for _ in range(400)]
    return [" ".join(draw.choices(words, k=12)) for _ in range(count)]


def hashes(folder: Path) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())]


def test_processes_agree(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n\n".join(text()))
    found = []
    for number in range(4):
        words = ["train-tokenizer", "text.txt", "--out", f"out{number}", "--vocab-size", "500", "--quiet"]
        environment = {
            **os.environ,
            "PYTHONHASHSEED": str(number),
            "RAYON_NUM_THREADS": str(1 + number % 3),
            "PYTHONPATH": str(ROOT),
        }
        subprocess.run([sys.executable, "-m", "bertie", *words], cwd=tmp_path, env=environment, check=True)
        found.append(hashes(tmp_path / f"out{number}"))
    assert all(each == found[0] for each in found)


HOSTILE = st.text(
    st.sampled_from("aBΣ9 ,.#_-的一豈𠀀か\u0301\u00e9İ\u037e\u226e\t\x00\x0b\x1c\x7f\u3000\u200b\u2028ﬁ가。\ufffd")
)


@settings(max_examples=200, deadline=None)
@given(
    texts=st.lists(st.one_of(st.text(st.characters(exclude_categories=("Cs",)), max_size=40), HOSTILE)),
    lowercase=st.booleans(),
    accents=st.sampled_from([None, True, False]),
)
def test_words_are_counted_as_the_tokenizer_cuts_them(texts: list[str], lowercase: bool, accents: bool | None) -> None:
    normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=accents)
    cut = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    expected = Counter(word for text in texts for word, _ in cut(normalizer.normalize_str(text)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "_COUNTED_AT_ONCE", 3)
        assert training._counted(texts, normalizer, lowercase=lowercase) == expected


def test_pieces() -> None:
    tokenizer = train(text(), vocab_size=300)
    assert tokenizer.tokens[:5] == list(SPECIALS)
    assert tokenizer.vocab_size == 300
    assert len(set(tokenizer.tokens)) == 300
    assert {"a", "##a", "j", "##j"} <= set(tokenizer.tokens)
    ids = tokenizer.encode_batch(text(50))
    assert not any(tokenizer.unknown in row for row in ids)
    # '##x' in a text is two signs and a letter, not the continuation piece
    assert tokenizer.encode_batch(["##a"]) == [[1, 1, tokenizer.token_id("a")]]


def test_case_and_accents() -> None:
    assert "é" in train(["É É é é e"], vocab_size=30, lowercase=True, strip_accents=False).tokens
    lower = train(["Été ABC abc"] * 3, vocab_size=40)
    assert not any(token != token.lower() for token in lower.tokens[5:])
    assert "é" not in lower.tokens
    assert "A" in train(["ABC abc"] * 3, vocab_size=40, lowercase=False).tokens


def test_chinese_gets_its_characters() -> None:
    characters = [chr(0x4E00 + number) for number in range(2000)]
    tokenizer = train(["".join(characters)] * 2, vocab_size=6000)
    assert set(characters) <= set(tokenizer.tokens)


def test_no_chinese_character_goes_on_with_a_word() -> None:
    """Whatever stands before it, it is cut off as a word, so a continuation of it could never occur."""
    tokenizer = train(["一丁ab中国b2豈𠀀c"] * 3, vocab_size=40)
    assert not {"##一", "##丁", "##国", "##豈", "##𠀀"} & set(tokenizer.tokens)
    assert {"一", "国", "a", "##b", "##2"} <= set(tokenizer.tokens)
    assert tokenizer.unknown not in tokenizer.encode_batch(["国a中b一"])[0]


def test_rare_chinese_characters_make_room(capsys: pytest.CaptureFixture[str]) -> None:
    characters = [chr(0x4E00 + number) for number in range(300)]
    texts = ["".join(characters[:80]) * 100, "".join(characters[80:])[:30], "ab abab abab"]
    tokenizer = train(texts, vocab_size=100)
    assert set(characters[:80]) <= set(tokenizer.tokens) and {"a", "##b"} <= set(tokenizer.tokens)
    assert "room for 8" in capsys.readouterr().err
    assert tokenizer.vocab_size <= 100
    with pytest.raises(DataError, match="no room for the 112 characters"):
        train(texts, vocab_size=100, alphabet_limit=200)  # asked for
    with pytest.raises(DataError, match="no room for the 300 characters"):
        train(["".join(characters)], vocab_size=100)  # most of the text would be lost


def test_too_little(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="no text"):
        train(["", "  "], vocab_size=100)
    with pytest.raises(DataError, match=r"no room for the 10 characters.* 25"):
        train(text(), vocab_size=20)
    train(["abc abc"], vocab_size=1000)
    assert "not 1,000" in capsys.readouterr().err


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("\n\n".join(text(300)))
    report = train_tokenizer((str(tmp_path / "text.txt"),), out=tmp_path / "out", vocab_size=200)
    assert report.values["pieces"] == 200
    assert report.values["unknown_share"] == 0
    assert report.values["pieces_per_word"] > 1
    assert (report.next_command or "").startswith("bertie prepare-corpus")
    assert load_tokenizer(tmp_path / "out").vocab_size == 200
    with pytest.raises(SettingsError, match="exists"):
        train_tokenizer((str(tmp_path / "text.txt"),), out=tmp_path / "out", vocab_size=200)


def test_bytes_that_are_not_text(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(b"some text\nbro\xffken\n")
    with pytest.raises(DataError, match=r"text\.txt"):
        train_tokenizer((str(tmp_path / "text.txt"),), out=tmp_path / "out", vocab_size=200)
    assert not (tmp_path / "out").exists()
