"""An empty store in memory, and an empty cache, for each test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from bertie import addresses
from bertie.storage import cache, store


class FailingStore(MemoryFileSystem):  # type: ignore[misc]
    """A store in memory that fails now and then, like a network: so many times for each action."""

    cachable = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.failures: dict[str, int] = {}
        self.calls: list[tuple[str, str]] = []
        self.cut: dict[str, int] = {}

    def _count(self, action: str, path: str) -> None:
        self.calls.append((action, path))
        if self.failures.get(action, 0) > 0:
            self.failures[action] -= 1
            raise ConnectionResetError(f"{action} was cut off")

    def find(self, path: str, **more: Any) -> Any:
        self._count("find", path)
        return super().find(path, **more)

    def get_file(self, rpath: str, lpath: str, **more: Any) -> None:
        if self.cut.get(rpath, 0) > 0:  # the connection ends early, and nobody says so
            self.cut[rpath] -= 1
            Path(lpath).write_bytes(self.cat_file(rpath)[:3])
            return
        if self.failures.get("get_file", 0) > 0:
            Path(lpath).write_bytes(b"half")
        self._count("get_file", rpath)
        super().get_file(rpath, lpath, **more)

    def put_file(self, lpath: str, rpath: str, **more: Any) -> None:
        self._count("put_file", rpath)
        super().put_file(lpath, rpath, **more)


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FailingStore]:
    """Return the file system behind ``memory://``."""
    monkeypatch.setenv("BERTIE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_copies", None)
    monkeypatch.setattr(store, "_WAITS", (0.0, 0.0, 0.0))
    made = FailingStore()
    monkeypatch.setattr(store, "_opened", lambda scheme: made if scheme == "memory" else fsspec.filesystem(scheme))
    _empty()
    yield made
    _empty()
    addresses.set_folder(None)


def _empty() -> None:
    """Empty the one store in memory that fsspec has."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
