"""Read and write a prepared corpus: token ids in one flat memory-mapped file, with sentence and document offsets.

A corpus folder holds::

    manifest.json   format version, counts, statistics, settings, sources, sizes and sha256 of the other files
    tokens.bin      the concatenated ids of all sentences: uint16 for vocabularies up to 65,536 entries, else uint32
    sentences.bin   int64: the first token of each sentence, and the end of the last one
    documents.bin   int64: the first sentence of each document, and the end of the last one
    words.bin       only if Chinese words were segmented: one bit per token, set if it continues the previous word
    dropped.jsonl   only if asked for: the documents that were read but are not in the corpus, see corpus.selection
    tokenizer/      the files of the tokenizer of the corpus

All numbers are little-endian. A corpus contains no special tokens and suits any objective: pairs and masks are drawn
while loading. ``corpus.prepare`` turns text into ids.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bertie.corpus import word_bits
from bertie.corpus.hashed_file import HashedFile
from bertie.errors import DataError, SettingsError
from bertie.files.atomic import sha256_file, write_text
from bertie.files.checksums import has_own_sum, inside, with_own_sum
from bertie.untrusted import read_json

FORMAT = "bertie corpus"
FORMAT_VERSION = 1
MANIFEST = "manifest.json"
TOKENIZER_FOLDER = "tokenizer"
DROPPED = "dropped.jsonl"
TOKENS, SENTENCES, DOCUMENTS, WORDS = "tokens.bin", "sentences.bin", "documents.bin", "words.bin"
_OFFSETS = np.dtype("<i8")
_OFFSETS_AT_ONCE = 1 << 20
# Hashing this many bytes takes at most about a second; larger files are hashed only on request.
_ALWAYS_VERIFIED_BYTES = 1 << 30

Integers = npt.NDArray[np.int64]


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """Return the smallest dtype on disk that holds the ids of a vocabulary."""
    return np.dtype("<u2") if vocab_size <= 65_536 else np.dtype("<u4")


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenBlock:
    """Some documents, or parts of documents, as token ids."""

    tokens: npt.NDArray[Any]
    """(T,) the concatenated ids of all sentences."""

    sentence_lengths: Integers
    """The number of tokens of each sentence; none is 0."""

    num_sentences: Integers
    """The number of sentences of each part; may be 0."""

    continues: npt.NDArray[np.bool_]
    """Whether a part continues the previous document."""

    goes_on: npt.NDArray[np.bool_] | None = None
    """(T,) whether a token continues the word of the previous token; None if no words were segmented."""


class CorpusWriter:
    """A writer of corpus files, block by block, in constant memory."""

    def __init__(self, folder: Path, *, vocab_size: int) -> None:
        """Begin a corpus in an empty folder.

        Args:
            folder: the folder to write to; the caller makes it atomic (``files.atomic.atomic_folder``).
            vocab_size: the size of the vocabulary; it decides the dtype of the ids on disk.
        """
        self.num_documents = 0
        self.num_sentences = 0
        self.num_tokens = 0
        self.num_one_sentence_documents = 0
        self.longest_sentence = 0
        self._vocab_size = vocab_size
        self._folder = folder
        self._dtype = token_dtype(vocab_size)
        self._files = {name: HashedFile(folder / name) for name in (TOKENS, SENTENCES, DOCUMENTS)}
        self._word_bits = word_bits.WordBits(self._open_words)
        self._last_boundary = 0
        try:
            for name in (SENTENCES, DOCUMENTS):
                self._files[name].write(np.zeros(1, _OFFSETS))
        except BaseException:
            self.close()
            raise

    def append(self, block: TokenBlock) -> None:
        """Append some documents; documents without a sentence are not stored."""
        self._word_bits.append(block.goes_on, len(block.tokens))
        self._files[TOKENS].write(block.tokens.astype(self._dtype, copy=False))
        self._files[SENTENCES].write((self.num_tokens + np.cumsum(block.sentence_lengths)).astype(_OFFSETS))
        begins = self.num_sentences + np.cumsum(block.num_sentences) - block.num_sentences
        self._add_boundaries(begins[~block.continues])
        self.num_tokens += len(block.tokens)
        self.num_sentences += len(block.sentence_lengths)
        self.longest_sentence = max(self.longest_sentence, int(block.sentence_lengths.max(initial=0)))

    def end_document(self) -> None:
        """Count the last document; only then are the counts of documents complete."""
        self._add_boundaries(np.array([self.num_sentences]))

    def finish(self, manifest: dict[str, Any]) -> None:
        """Complete all files, and write the manifest last. It also lists the tokenizer's files if they are present.

        Args:
            manifest: entries that the writer doesn't know: ``tokenizer_fingerprint``, settings, sources, statistics.
        """
        self.end_document()
        self._word_bits.finish()
        files = {name: file.finish() for name, file in self._files.items()}
        for path in sorted((self._folder / TOKENIZER_FOLDER).glob("*")):
            name = f"{TOKENIZER_FOLDER}/{path.name}"
            files[name] = {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        known = {
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "num_documents": self.num_documents,
            "num_sentences": self.num_sentences,
            "num_tokens": self.num_tokens,
            "vocab_size": self._vocab_size,
            "token_dtype": self._dtype.name,
        }
        identity = [known, manifest["tokenizer_fingerprint"], [files[name]["sha256"] for name in self._files]]
        fingerprint = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        content = with_own_sum(known | {"fingerprint": fingerprint} | manifest | {"files": files})
        write_text(self._folder / MANIFEST, json.dumps(content, indent=2, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Close the files; without ``finish`` they are not a usable corpus."""
        for file in self._files.values():
            # On a full disk, closing fails again; the first failure is the one to report.
            with contextlib.suppress(OSError):
                file.close()

    @property
    def has_words(self) -> bool:
        """Whether the blocks written so far have segmented words."""
        return WORDS in self._files

    def _open_words(self) -> Callable[[npt.NDArray[Any]], None]:
        self._files[WORDS] = HashedFile(self._folder / WORDS)
        return self._files[WORDS].write

    def _add_boundaries(self, begins: Integers) -> None:
        # A document without sentences begins at the same boundary as the next document, so `unique` removes it.
        boundaries = np.unique(np.concatenate([[self._last_boundary], begins])).astype(_OFFSETS)
        self._files[DOCUMENTS].write(boundaries[1:])
        self.num_documents += len(boundaries) - 1
        self.num_one_sentence_documents += int(np.count_nonzero(np.diff(boundaries) == 1))
        self._last_boundary = int(boundaries[-1])


class Corpus:
    """A prepared corpus, open for reading; its arrays are memory-mapped."""

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        """See ``Corpus.open``."""
        self.path = path
        """The folder."""
        self.manifest = manifest
        """The content of manifest.json."""
        self.num_documents: int = manifest["num_documents"]
        self.num_sentences: int = manifest["num_sentences"]
        self.num_tokens: int = manifest["num_tokens"]
        self.vocab_size: int = manifest["vocab_size"]
        self.fingerprint: str = manifest["fingerprint"]
        """Depends on ids, offsets, words and the tokenizer, but not on the path of the folder."""
        self.tokenizer_fingerprint: str = manifest["tokenizer_fingerprint"]
        self._tokens = _mapped(path / TOKENS, token_dtype(self.vocab_size))
        self.sentence_starts: Integers = _mapped(path / SENTENCES, _OFFSETS)
        """(num_sentences + 1,) int64: the first token of each sentence, and the end of the last one."""
        self.document_offsets: Integers = _mapped(path / DOCUMENTS, _OFFSETS)
        """(num_documents + 1,) int64: the first sentence of each document, and the end of the last one."""
        self._words = _mapped(path / WORDS, np.dtype(np.uint8)) if WORDS in manifest["files"] else None

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> "Corpus":
        """Open a corpus folder.

        The sizes of all files are compared with the manifest; the sha256 only of small files, unless `verify` is set.

        Args:
            path: a folder that ``bertie prepare-corpus`` wrote.
            verify: whether to compute the sha256 of large files, too.

        Raises:
            SettingsError: there is no such folder, or it holds no prepared corpus.
            DataError: a file is missing, truncated or changed, or the format has another version.
        """
        path = Path(path)
        manifest = _read_manifest(path)
        for name, entry in manifest["files"].items():
            _check_file(path / name, entry["bytes"], entry["sha256"], verify=verify)
        sizes = {
            TOKENS: manifest["num_tokens"] * token_dtype(manifest["vocab_size"]).itemsize,
            SENTENCES: (manifest["num_sentences"] + 1) * _OFFSETS.itemsize,
            DOCUMENTS: (manifest["num_documents"] + 1) * _OFFSETS.itemsize,
        }
        if WORDS in manifest["files"]:
            sizes[WORDS] = word_bits.num_bytes(manifest["num_tokens"])
        for name, size in sizes.items():
            if manifest["files"].get(name, {}).get("bytes") != size or not size:
                raise _damaged(path / MANIFEST, f"its counts don't fit the size of {name}")
        corpus = cls(path, manifest)
        if corpus.sentence_starts[-1] != corpus.num_tokens:
            raise _damaged(path / SENTENCES, f"it doesn't end at token {corpus.num_tokens:,}")
        if corpus.document_offsets[-1] != corpus.num_sentences:
            raise _damaged(path / DOCUMENTS, f"it doesn't end at sentence {corpus.num_sentences:,}")
        _check_offsets(corpus.sentence_starts, path / SENTENCES, "sentence")
        _check_offsets(corpus.document_offsets, path / DOCUMENTS, "document")
        return corpus

    @property
    def tokenizer_path(self) -> Path:
        """The folder of this corpus's tokenizer."""
        return self.path / TOKENIZER_FOLDER

    @cached_property
    def sentence_lengths(self) -> Integers:
        """(num_sentences,) int64: the number of tokens of each sentence, none 0; computed at first use and cached."""
        return np.diff(self.sentence_starts)

    def gather(self, starts: npt.ArrayLike, lengths: npt.ArrayLike) -> Integers:
        """Read ranges of tokens.

        Args:
            starts: (R,) the first token of each range, counted from the beginning of the corpus.
            lengths: (R,) the number of tokens of each range.

        Returns:
            (T,) int64: the concatenated ids of all ranges.
        """
        ids: Integers = self._tokens[_indices(starts, lengths)].astype(np.int64)
        if ids.max(initial=0) >= self.vocab_size:
            raise _damaged(self.path / TOKENS, f"id {ids.max()} is not in the vocabulary of {self.vocab_size:,} tokens")
        return ids

    @property
    def has_words(self) -> bool:
        """Whether Chinese words were segmented in the text."""
        return self._words is not None

    def gather_words(self, starts: npt.ArrayLike, lengths: npt.ArrayLike) -> npt.NDArray[np.bool_] | None:
        """Read for ranges of tokens whether each token continues the word of the previous one.

        Args:
            starts: as in `gather`.
            lengths: as in `gather`.

        Returns:
            (T,) for the ids that `gather` returns; None for a corpus without segmented words.
        """
        return None if self._words is None else word_bits.flags_at(self._words, _indices(starts, lengths))


def _indices(starts: npt.ArrayLike, lengths: npt.ArrayLike) -> Integers:
    """Return the indices of all tokens of ranges: (T,)."""
    first = np.asarray(starts, dtype=np.int64)
    count = np.asarray(lengths, dtype=np.int64)
    ends = np.cumsum(count)
    # Index t of the result, in range r, is token first[r] + (t - start of r in the result).
    indices: Integers = np.repeat(first - ends + count, count)
    indices += np.arange(len(indices))
    return indices


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.exists():
        raise SettingsError(
            f"no prepared corpus at {folder} ({MANIFEST} is missing); create one with: bertie prepare-corpus"
        )
    try:
        manifest = read_json(path)
    except DataError as error:
        raise DataError(f"damaged corpus: {error}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise SettingsError(f"{path} is not the manifest of a prepared corpus")
    if manifest.get("version") != FORMAT_VERSION:
        raise DataError(
            f"{path}: format version {manifest.get('version')!r}, but this version of bertie reads {FORMAT_VERSION}; "
            "prepare the corpus again"
        )
    counts = ("num_documents", "num_sentences", "num_tokens", "vocab_size")
    texts = ("fingerprint", "tokenizer_fingerprint")
    files = manifest.get("files")
    complete = all(type(manifest.get(name)) is int and manifest[name] > 0 for name in counts)
    complete = complete and all(isinstance(manifest.get(name), str) for name in texts)
    complete = complete and isinstance(files, dict) and all(_is_file_entry(*item) for item in files.items())
    if not complete:
        raise _damaged(path, "a count, a fingerprint or the list of files is missing or wrong")
    if not has_own_sum(manifest):
        raise _damaged(path, "its content was changed (its checksum does not match)")
    return manifest


def _is_file_entry(name: str, entry: Any) -> bool:
    return inside(name) and isinstance(entry, dict) and {"bytes", "sha256"} <= entry.keys()


def _check_file(path: Path, num_bytes: int, sha256: str, *, verify: bool) -> None:
    if not path.is_file():
        raise _damaged(path, "it is missing")
    size = path.stat().st_size
    if size != num_bytes:
        raise _damaged(path, f"it has {size:,} bytes instead of {num_bytes:,}")
    if (verify or size <= _ALWAYS_VERIFIED_BYTES) and sha256_file(path) != sha256:
        raise _damaged(path, "its content was changed (its sha256 differs from the manifest)")


def _check_offsets(offsets: Integers, file: Path, unit: str) -> None:
    """Check that offsets begin at 0 and ascend; part by part, because there may be a hundred million."""
    if offsets[0] != 0:
        raise _damaged(file, f"the first {unit} begins at {offsets[0]:,} and not at 0")
    for start in range(0, len(offsets) - 1, _OFFSETS_AT_ONCE):
        part = offsets[start : start + _OFFSETS_AT_ONCE + 1]
        back = np.flatnonzero(part[1:] <= part[:-1])
        if len(back):
            raise _damaged(file, f"{unit} {start + int(back[0]) + 1:,} is empty or ends before it begins")


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(f"{path}: damaged corpus: {reason}; copy the folder again or prepare the corpus again")


def _mapped(path: Path, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    # Return a plain array: numpy's memmap class makes every slice and sum slower.
    return np.memmap(path, dtype=dtype, mode="r").view(np.ndarray)
