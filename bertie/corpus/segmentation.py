"""Segment Chinese text into words with ``rjieba``: by its dictionary, a user dictionary, and a model for new words.

Chinese is written without spaces, so whole-word masking can't find its words in the ids. This module finds them in the
text. It ignores text without Chinese characters: there the vocabulary decides where words begin.

Shapes: C characters of all texts.
"""

import importlib.metadata
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from bertie import progress
from bertie.errors import DataError, missing_extra
from bertie.files.atomic import sha256_file
from bertie.files.text import open_text, shorten
from bertie.native import failed
from bertie.tokenizer.words import CJK

Words = Literal["auto", "none", "jieba"]
Integers = npt.NDArray[np.int64]

_PACKAGE = "rjieba"
_EXTRA = "zh"
_TOGETHER = re.compile(f"[{CJK}]{{2}}")
_TAG = re.compile("[a-zA-Z]+")
_LARGEST_FREQUENCY = 10**9
_MAX_LISTED = 3  # words of a dictionary that a warning names


@dataclass(frozen=True)
class UserDictionary:
    """A file of additional words: per line a word, optionally followed by its frequency and its part of speech."""

    path: str
    """The file."""
    sha256: str
    """The file's sha256. It ensures that all processes read the same content."""

    @classmethod
    def of(cls, path: Path) -> "UserDictionary":
        """Check a file and compute its sha256.

        Raises:
            SettingsError: there is no such file.
            DataError: a line is not a valid entry, or the file contains no words.
        """
        unchecked = cls(str(path), "")
        unchecked.entries()
        return cls(str(path), sha256_file(path))

    def entries(self) -> dict[str, tuple[int, int | None]]:
        """Read the line number and the frequency of each word; None if the file gives no frequency.

        Raises:
            SettingsError: there is no such file.
            DataError: a line is not a valid entry, the file contains no words, or it has changed.
        """
        if self.sha256 and sha256_file(self.path) != self.sha256:
            raise DataError(f"{self.path} changed while the corpus was prepared; prepare it again")
        entries: dict[str, tuple[int, int | None]] = {}
        with open_text(self.path) as stream:
            for number, line in enumerate(stream, 1):
                fields = line.split()
                if fields:
                    entries[fields[0]] = number, self._frequency(fields[1:], number)
        if not entries:
            raise DataError(f"{self.path} contains no words; write one word per line, for example: 云计算")
        return entries

    def _frequency(self, fields: list[str], number: int) -> int | None:
        frequency = None
        if fields and fields[0].isdecimal():
            frequency = int(fields.pop(0)[: len(str(_LARGEST_FREQUENCY)) + 1])
        if (frequency or 0) > _LARGEST_FREQUENCY or len(fields) > 1 or (fields and not _TAG.fullmatch(fields[0])):
            raise DataError(
                f"{self.path}:{number}: not a valid entry; write a word, optionally followed by its frequency (a whole "
                f"number up to {_LARGEST_FREQUENCY:,}) and its part of speech (letters), separated by spaces"
            )
        return frequency


@dataclass(frozen=True)
class Segmentation:
    """Which documents to segment, and with which user dictionary; small, because it is sent to other processes."""

    everywhere: bool
    """Whether to segment Chinese words in documents of any language, not only in Chinese ones."""
    dictionary: UserDictionary | None = None
    """Additional words."""

    @property
    def name(self) -> str:
        """The name of the segmenter and its version."""
        return f"{_PACKAGE} {importlib.metadata.version(_PACKAGE)}"


def segmentation(words: Words, dictionary: Path | None) -> Segmentation | None:
    """Decide whether and where to segment Chinese words; None means nowhere.

    Args:
        words: ``none``; ``jieba``: in all documents; ``auto``: in Chinese documents, if the segmenter is installed.
        dictionary: a file of additional words; it requires the segmenter.

    Raises:
        SettingsError: the segmenter is required but isn't installed.
        DataError: the dictionary can't be read.
    """
    if words == "none" or (words == "auto" and dictionary is None and not is_installed()):
        return None
    if not is_installed():
        raise missing_extra(_PACKAGE, _EXTRA, "to segment Chinese words")
    return Segmentation(words == "jieba", None if dictionary is None else UserDictionary.of(dictionary))


def is_installed() -> bool:
    """Return whether the segmenter is installed, without loading it."""
    return importlib.util.find_spec(_PACKAGE) is not None


def has_words(text: str) -> bool:
    """Return whether a text has two adjacent Chinese characters; without them it needs no segmentation."""
    return not text.isascii() and _TOGETHER.search(text) is not None


@cache
def segmenter(chosen: Segmentation) -> "Segmenter":
    """Return the segmenter of this process; loading it takes a tenth of a second."""
    return Segmenter(chosen.dictionary)


class Segmenter:
    """A segmenter of texts into words.

    Args:
        dictionary: additional words.

    Raises:
        DataError: the dictionary can't be read.
    """

    def __init__(self, dictionary: UserDictionary | None = None) -> None:
        import rjieba

        self._jieba: Any = rjieba.Jieba()
        entries = {} if dictionary is None else dictionary.entries()
        for word, (_, frequency) in entries.items():
            self._jieba.add_word(word, frequency, None)
        self._listed = frozenset(word for word in entries if not is_chinese(word).any())
        """Words of the user dictionary without Chinese characters. Other words without them are not kept as words."""
        self._lines = {word: line for word, (line, _) in entries.items()}

    def word_numbers(self, texts: Sequence[str], uncut: list[str] | None = None) -> Integers:
        """Number the words of texts.

        Args:
            texts: any texts; a word does not continue from one text to the next.
            uncut: receives the texts that the segmenter failed on; each of their characters counts as a word.

        Returns:
            (C,) the number of each character's word, ascending. A word counts if it has a Chinese character or is in
            the user dictionary. Any other character has a number of its own.
        """
        words: list[str] = []
        for text in texts:
            cut = self._cut(text)
            if cut is None:
                if uncut is not None:
                    uncut.append(text)
                cut = list(text)
            words += cut
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        ends = np.cumsum(lengths)
        starts = ends - lengths
        counts = np.concatenate([[0], np.cumsum(is_chinese("".join(words)))])  # Chinese characters before each position
        kept = counts[ends] > counts[starts]
        if self._listed:
            kept |= np.fromiter((word in self._listed for word in words), bool, len(words))
        begins = np.repeat(~kept, lengths)
        begins[starts] = True
        return np.cumsum(begins)

    def never_found(self) -> list[tuple[str, int]]:
        """Return the words of the user dictionary that are split even as a text of their own, and their lines."""
        return [(word, line) for word, line in self._lines.items() if self._cut(word) != [word]]

    def _cut(self, text: str) -> list[str] | None:
        """Split a text into words; None if the segmenter fails or loses characters."""
        try:
            words: list[str] = self._jieba.cut(text)
        except BaseException as error:  # a Rust panic is not an Exception
            if not failed(error):
                raise
            return None
        return words if sum(map(len, words)) == len(text) else None


def warn_of_unfound(chosen: Segmentation) -> None:
    """Warn of words of the user dictionary that are never found as one word, such as those with punctuation inside."""
    lost = [] if chosen.dictionary is None else segmenter(chosen).never_found()
    if chosen.dictionary is not None and lost:
        some = ", ".join(f"{shorten(word, 20)} (line {line})" for word, line in lost[:_MAX_LISTED])
        more = f" and {len(lost) - _MAX_LISTED:,} more" if len(lost) > _MAX_LISTED else ""
        progress.warn(
            f"{chosen.dictionary.path}: {some}{more} will not be found as words, because the segmenter splits at most "
            "punctuation, and splits words whose given frequency is too low"
        )


def is_chinese(text: str) -> npt.NDArray[np.bool_]:
    """Return for each character whether it is Chinese: (C,)."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    chinese: npt.NDArray[np.bool_] = _chinese_codes()[codes]
    return chinese


@cache
def _chinese_codes() -> npt.NDArray[np.bool_]:
    table = np.zeros(0x110000, bool)
    ranges = re.findall("(.)-(.)", CJK)
    table[list(chain.from_iterable(range(ord(first), ord(last) + 1) for first, last in ranges))] = True
    return table
