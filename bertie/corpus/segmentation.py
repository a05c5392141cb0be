"""Where Chinese words begin and end, by ``rjieba``: its dictionary, a user's own words, and a model for new ones.

Chinese is written without spaces, so whole-word masking can't see its words in the ids. Here they are found in the
text. What holds no Chinese character is left alone: there the vocabulary says where words begin.

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
_MOST_LISTED = 3  # words of a dictionary that a warning names


@dataclass(frozen=True)
class UserDictionary:
    """A user's own words: a word a line, and behind it, if wanted, how frequent it is and its part of speech."""

    path: str
    """The file."""
    sha256: str
    """Of the file; what was read in one process is the same in the others."""

    @classmethod
    def of(cls, path: Path) -> "UserDictionary":
        """Look at a file.

        Raises:
            SettingsError: there is no such file.
            DataError: a line that is no entry.
        """
        found = cls(str(path), "")
        found.entries()
        return cls(str(path), sha256_file(path))

    def entries(self) -> dict[str, tuple[int, int | None]]:
        """Read the words: of each its line and its frequency; None where the file leaves that to the segmenter.

        Raises:
            SettingsError: there is no such file.
            DataError: a line that is no entry, no word at all, or the file has changed.
        """
        if self.sha256 and sha256_file(self.path) != self.sha256:
            raise DataError(f"{self.path} changed while the corpus was prepared; prepare it again")
        found: dict[str, tuple[int, int | None]] = {}
        with open_text(self.path) as stream:
            for number, line in enumerate(stream, 1):
                fields = line.split()
                if fields:
                    found[fields[0]] = number, self._frequency(fields[1:], number)
        if not found:
            raise DataError(f"{self.path} holds no word; a user dictionary has one a line, such as: 云计算")
        return found

    def _frequency(self, fields: list[str], number: int) -> int | None:
        frequency = None
        if fields and fields[0].isdecimal():
            frequency = int(fields.pop(0)[: len(str(_LARGEST_FREQUENCY)) + 1])
        if (frequency or 0) > _LARGEST_FREQUENCY or len(fields) > 1 or (fields and not _TAG.fullmatch(fields[0])):
            raise DataError(
                f"{self.path}:{number}: a line is a word, then, if wanted, its frequency (a whole number up to "
                f"{_LARGEST_FREQUENCY:,}) and its part of speech (letters), with spaces between them"
            )
        return frequency


@dataclass(frozen=True)
class Segmentation:
    """What is segmented, and with which words; small, so that it goes to other processes."""

    everywhere: bool
    """Whether Chinese words are looked for in documents of any language, or in those that are Chinese only."""
    dictionary: UserDictionary | None = None
    """A user's own words."""

    @property
    def name(self) -> str:
        """The segmenter and its version."""
        return f"{_PACKAGE} {importlib.metadata.version(_PACKAGE)}"


def segmentation(words: Words, dictionary: Path | None) -> Segmentation | None:
    """Decide whether Chinese words are looked for.

    Args:
        words: ``none``; ``jieba``, in every document; ``auto``, in Chinese documents, where the segmenter is installed.
        dictionary: a user's own words.

    Raises:
        SettingsError: the segmenter is asked for and isn't installed.
        DataError: the dictionary can't be read.
    """
    if words == "none" or (words == "auto" and dictionary is None and not is_installed()):
        return None
    if not is_installed():
        raise missing_extra(_PACKAGE, _EXTRA, "to find Chinese words")
    return Segmentation(words == "jieba", None if dictionary is None else UserDictionary.of(dictionary))


def is_installed() -> bool:
    """Tell whether the segmenter is installed, without loading it."""
    return importlib.util.find_spec(_PACKAGE) is not None


def has_words(text: str) -> bool:
    """Tell whether a text has two Chinese characters side by side: with fewer there is nothing to look for."""
    return not text.isascii() and _TOGETHER.search(text) is not None


@cache
def segmenter(chosen: Segmentation) -> "Segmenter":
    """Make the segmenter of this process; it takes a tenth of a second to load."""
    return Segmenter(chosen.dictionary)


class Segmenter:
    """Finds words in texts.

    Args:
        dictionary: a user's own words.

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
        """Words of the user's that hold no Chinese character; the segmenter's own ones of that kind don't count."""
        self._lines = {word: line for word, (line, _) in entries.items()}

    def word_numbers(self, texts: Sequence[str], uncut: list[str] | None = None) -> Integers:
        """Number the words of texts.

        Args:
            texts: whole Unicode texts; no word goes on from one to the next.
            uncut: gets the texts that the segmenter failed on; in them each character counts as a word.

        Returns:
            (C,) for each character the number of its word, rising. A character outside of words that hold Chinese, or
            are the user's own, has a number of its own.
        """
        words: list[str] = []
        for text in texts:
            found = self._cut(text)
            if found is None:
                if uncut is not None:
                    uncut.append(text)
                found = list(text)
            words += found
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        ends = np.cumsum(lengths)
        starts = ends - lengths
        counts = np.concatenate([[0], np.cumsum(is_chinese("".join(words)))])  # Chinese characters up to each place
        kept = counts[ends] > counts[starts]
        if self._listed:
            kept |= np.fromiter((word in self._listed for word in words), bool, len(words))
        begins = np.repeat(~kept, lengths)
        begins[starts] = True
        return np.cumsum(begins)

    def never_found(self) -> list[tuple[str, int]]:
        """Return the words of the user's that are cut even where they stand alone, and their lines."""
        return [(word, line) for word, line in self._lines.items() if self._cut(word) != [word]]

    def _cut(self, text: str) -> list[str] | None:
        """Cut a text; None where the segmenter fails or loses some of it."""
        try:
            found: list[str] = self._jieba.cut(text)
        except BaseException as error:  # a panic in Rust is no Exception
            if not failed(error):
                raise
            return None
        return found if sum(map(len, found)) == len(text) else None


def warn_of_unfound(chosen: Segmentation) -> None:
    """Name the user's words that no text can hold as one word, such as those with a mark inside."""
    lost = [] if chosen.dictionary is None else segmenter(chosen).never_found()
    if chosen.dictionary is not None and lost:
        some = ", ".join(f"{shorten(word, 20)} (line {line})" for word, line in lost[:_MOST_LISTED])
        more = f" and {len(lost) - _MOST_LISTED:,} more" if len(lost) > _MOST_LISTED else ""
        progress.warn(
            f"{chosen.dictionary.path}: {some}{more} will not be found as words: the segmenter cuts at most marks, and "
            "where the frequency given is too low"
        )


def is_chinese(text: str) -> npt.NDArray[np.bool_]:
    """Tell of each character whether it is Chinese: (C,)."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    found: npt.NDArray[np.bool_] = _chinese_codes()[codes]
    return found


@cache
def _chinese_codes() -> npt.NDArray[np.bool_]:
    table = np.zeros(0x110000, bool)
    ranges = re.findall("(.)-(.)", CJK)
    table[list(chain.from_iterable(range(ord(first), ord(last) + 1) for first, last in ranges))] = True
    return table
