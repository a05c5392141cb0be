"""A small vocabulary for the tests of this room, and real text cut to a size that tests can afford."""

import lzma
import string
from pathlib import Path

import pytest

LETTERS = string.ascii_lowercase + string.digits
WORDS = ("the", "cat", "dog", "sat", "ran", "##ing", "on", "mat")
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@pytest.fixture(scope="session")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a vocabulary of letters, a few words and Chinese characters."""
    folder = tmp_path_factory.mktemp("tokenizer")
    marks = [mark for mark in string.punctuation if mark != "#"] + list("。！？，…“”《》（）")
    pieces = [*SPECIALS, *LETTERS, *(f"##{letter}" for letter in LETTERS), *WORDS, *marks, "#", *"的一是不了人我在有他"]
    (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def english(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the first 2 MB of a Wikipedia file."""
    return cut(test_data / "enwiki" / "enwiki-00.txt.xz", tmp_path_factory.mktemp("english") / "wiki.txt", 2_000_000)


@pytest.fixture(scope="session")
def chinese(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the first 500,000 characters of a Chinese Wikipedia file."""
    source = test_data / "zh" / "zhwiki" / "zhwiki-00.txt.xz"
    return cut(source, tmp_path_factory.mktemp("chinese") / "wiki.txt", 500_000)


def cut(source: Path, target: Path, num_characters: int) -> Path:
    """Copy the beginning of a compressed text."""
    with lzma.open(source, "rt", encoding="utf-8") as file:
        target.write_text(file.read(num_characters), encoding="utf-8")
    return target
