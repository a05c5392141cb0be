"""The libraries that a wheel carries, compiled when it was built, and which of them suit a processor.

They lie in the folder `compiled`, which the build of the wheel writes (`hatch_build.py`). A source folder and an
editable installation have no such folder. Its manifest holds the hash of each library and one hash of all sources. A
library is as trustworthy as bertie's own code beside it: this file checks that it is whole and that nobody can change
it who couldn't change that code. Like a library that was built here, it must then pass the checks on this processor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from bertie import untrusted
from bertie.errors import BertieError
from bertie.ops.kernels import build, levels
from bertie.ops.kernels import cache as store
from bertie.ops.kernels.levels import Level

FOLDER = Path(__file__).with_name("compiled")
MANIFEST = "manifest.json"
_MAX_BYTES = 64 << 20


@dataclass(frozen=True)
class Prebuilt:
    """A library of the wheel."""

    path: Path
    sha256: str
    """Hash of its content by the manifest."""

    def content(self) -> bytes:
        """Return its content.

        Raises:
            OSError: it is missing or damaged, or other users can change it; the message is a clause about the library.
        """
        try:
            content = untrusted.read_bytes(self.path, limit=_MAX_BYTES)
        except BertieError as error:
            raise OSError(f"can't be used: {error}") from error
        if store.digest(content) != self.sha256:
            raise OSError(f"is damaged: {self.path} is not the file of the package; install bertie again")
        if others := _new_writers(self.path):
            raise OSError(f"isn't trusted: {' and '.join(others)} can change {self.path}; run chmod go-w on it")
        return content


@dataclass(frozen=True)
class Package:
    """What this installation carries."""

    reason: str
    """Why it carries no libraries, as a clause; empty if it carries some."""
    hashes: dict[str, str] = field(default_factory=dict)
    """By file name."""
    compiler: str = ""

    def find(self, name: str, level: Level) -> Prebuilt | None:
        """Return the library of an operation that makes the most of this processor at a level; None if there is none.

        Args:
            name: of the operation.
            level: one of the levels of this processor.
        """
        has = levels.capabilities()
        for variant in levels.variants():
            file = file_name(name, variant)
            if variant.name == level.name and file in self.hashes and all(has.get(need) for need in variant.needs):
                return Prebuilt(FOLDER / file, self.hashes[file])
        return None


def file_name(name: str, variant: Level) -> str:
    """Return the name of a library's file in the folder."""
    return f"{name}-{variant.variant}.so"


def sources_digest() -> str:
    """Return the hash of all that the libraries are compiled from: sources, headers and flags."""
    digest = hashlib.sha256()
    files = [*map(build.source, build.NAMES), *build.headers()]
    flags = [" ".join((*build.FLAGS, *variant.flags)) for variant in levels.variants()]
    for text in (*(path.read_bytes() for path in files), *(words.encode() for words in flags)):
        digest.update(f"{len(text)} ".encode() + text)
    return digest.hexdigest()


@cache
def package() -> Package:
    """Read the manifest, once; it never fails, because the kernels can be built here instead."""
    if not FOLDER.is_dir():
        return Package("this is an editable installation or a source folder, and only wheels carry compiled kernels")
    try:
        manifest = untrusted.read_object(FOLDER / MANIFEST)
        others, sources_here = _new_writers(FOLDER / MANIFEST), sources_digest()
    except (BertieError, OSError) as error:
        return Package(f"the list of the package's compiled kernels can't be used: {error}")
    if others:
        return Package(f"{' and '.join(others)} can change {FOLDER / MANIFEST}; run chmod go-w on it and its folder")
    hashes, reason, sources, compiler = (manifest.get(key) for key in ("libraries", "reason", "sources", "compiler"))
    if not isinstance(hashes, dict) or not all(isinstance(value, str) for value in hashes.values()):
        return Package(f"{FOLDER / MANIFEST} is damaged; install bertie again")
    if not hashes:
        return Package(reason if isinstance(reason, str) and reason else "the package carries no compiled kernels")
    if sources != sources_here:
        return Package("the C++ sources have changed since the package was built")
    return Package("", hashes, compiler if isinstance(compiler, str) else "")


def _new_writers(path: Path) -> Sequence[str]:
    """Return who can change a library but not the code beside its folder."""
    code = store.writers(Path(__file__))
    return () if store.EVERYONE in code else sorted(store.writers(path) - code)
