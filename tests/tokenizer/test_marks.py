"""Vowel signs are letters of their script: they are kept, or their loss is said; accents are no such signs."""

from pathlib import Path

import pytest

from bertie.commands.check import check
from bertie.commands.train_tokenizer import train_tokenizer
from bertie.tokenizer.marks import count_script_marks, count_vowel_signs
from bertie.tokenizer.reading import load_tokenizer

HINDI = "कुत्ता और बिल्ली आँगन में सो रहे हैं। यह नदी बहुत लंबी है।"
THAI = "วันนี้อากาศดีมาก เราไปเดินเล่นที่สวน"


def test_signs_are_told_from_accents() -> None:
    assert count_vowel_signs("कु") == 1 and count_vowel_signs("ที่") == 2
    assert count_vowel_signs("été, naïve, e\u0301") == 0 and count_vowel_signs("plain") == 0
    assert count_script_marks("का") == 1 and count_vowel_signs("का") == 0  # this one survives


@pytest.mark.parametrize(("text", "words"), [(HINDI, ("कुत्ता", "कत्ता")), (THAI, ("ดีมาก", "ดมาก"))])
def test_words_that_differ_in_a_vowel_stay_apart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: tuple[str, str]
) -> None:
    corpus = tmp_path / "a.txt"
    corpus.write_text(f"{text}\n" * 5, encoding="utf-8")
    train_tokenizer((str(corpus),), out=tmp_path / "kept", vocab_size=200)
    assert "vowel signs and other marks that words of this script need, so they are kept" in capsys.readouterr().err
    one, other = load_tokenizer(tmp_path / "kept").encode_batch(list(words))
    assert one != other
    train_tokenizer((str(corpus),), out=tmp_path / "dropped", vocab_size=200, strip_accents=True)
    assert "were dropped with the accents" in capsys.readouterr().err
    one, other = load_tokenizer(tmp_path / "dropped").encode_batch(list(words))
    assert one == other


def test_accents_are_dropped_without_a_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = tmp_path / "a.txt"
    corpus.write_text("L'été était très long, déjà passé.\n" * 5, encoding="utf-8")
    train_tokenizer((str(corpus),), out=tmp_path / "out", vocab_size=100)
    assert "vowel signs" not in capsys.readouterr().err
    one, other = load_tokenizer(tmp_path / "out").encode_batch(["été", "ete"])
    assert one == other


def test_check_takes_them_for_letters(tmp_path: Path) -> None:
    corpus = tmp_path / "a.txt"
    corpus.write_text("\n".join(f"{HINDI}\n" for _ in range(5)), encoding="utf-8")
    said = [found.what for found in check((corpus,)).findings]
    assert not any("digits, punctuation and symbols" in what for what in said)
