"""Compute what decides about a document: its hash, its MinHash signature, its language, and rows of test sets in it."""

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bertie.corpus.selection.languages import language_of
from bertie.corpus.selection.test_sets import TestSets
from bertie.corpus.selection.units import normalized, shingles_of, units_of
from bertie.errors import missing_extra

HASHES = 128
"""Hash functions of a signature. The standard deviation of an estimated similarity s is (s (1 - s) / HASHES)**0.5."""
DIGEST_BYTES = 16
PACKAGE, EXTRA = "rensa", "selection"
_SEED = 42  # any fixed number: signatures must be the same in every process

Signatures = npt.NDArray[np.uint32]


@dataclass(frozen=True)
class Chunk:
    """Some documents, or parts of documents, for one call of another process."""

    texts: list[str]
    continues: list[bool]
    """Whether a text is a further part of the previous document."""


@dataclass(frozen=True)
class Fingerprints:
    """The fingerprints of the texts of a chunk."""

    digests: list[bytes]
    """Of the normalized texts."""
    signatures: Signatures
    """(P, HASHES), or (P, 0) if not asked for; 2**32 - 1 for a text without units."""
    languages: list[str]
    found: list[dict[int, int]]
    """For each text, the cells of the test sets that occur in it, and how many of their grams do."""
    continues: list[bool]


@dataclass(frozen=True)
class Fingerprint:
    """The work of one process: it computes fingerprints of a chunk."""

    near: bool
    """Whether to compute signatures."""
    language: bool
    test_sets: tuple[Path, ...]

    def __call__(self, chunk: Chunk) -> Fingerprints:
        """Compute the fingerprints of a chunk."""
        digests, languages = [], []
        found: list[dict[int, int]] = []
        signatures = np.zeros((len(chunk.texts), HASHES if self.near else 0), np.uint32)
        for number, (text, continues) in enumerate(zip(chunk.texts, chunk.continues, strict=True)):
            languages.append(language_of(text) if self.language and not continues else "")
            text = normalized(text)
            # A lone surrogate, which JSON can hold, is no valid UTF-8 but still decides whether texts are equal.
            digests.append(digest_of(text.encode("utf-8", "surrogatepass")))
            if self.near or self.test_sets:
                units = units_of(text)
                shingles = shingles_of(units)
                if self.near:
                    signatures[number] = signature_of(shingles)
                found.append(_test_sets(self.test_sets).find(units, shingles) if self.test_sets else {})
        return Fingerprints(digests, signatures, languages, found or [{} for _ in digests], chunk.continues)


def digest_of(content: bytes) -> bytes:
    """Return a hash of `DIGEST_BYTES`; two texts of a billion share one by chance with a probability of 1e-21."""
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()


def signature_of(shingles: list[str]) -> Signatures:
    """Return the MinHash signature of a set of shingles: (HASHES,). That of a union is the minimum of signatures."""
    from rensa import RMinHash

    sketch = RMinHash(num_perm=HASHES, seed=_SEED)
    sketch.update(shingles)
    return np.array(sketch.digest(), np.uint32)


def algorithm() -> str:
    """Return the name and version of the algorithm of signatures: only signatures of one version are comparable.

    Raises:
        SettingsError: the package isn't installed.
    """
    if importlib.util.find_spec(PACKAGE) is None:
        raise missing_extra(PACKAGE, EXTRA, "to find near duplicates")
    from rensa import RMinHash

    return f"R-MinHash {RMinHash.ALGORITHM_VERSION}"


@lru_cache(maxsize=1)
def _test_sets(files: tuple[Path, ...]) -> TestSets:
    # Kept as long as the process.
    return TestSets.read(files)
