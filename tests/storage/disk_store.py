"""Run a command of bertie with a store on disk behind ``memory://``: one that other processes see, and that is slow.

    python disk_store.py FOLDER SECONDS-OF-AN-UPLOAD WORDS-OF-THE-COMMAND ...

Like a real store, it writes an object completely or not at all.
"""

import os
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem


class DiskStore(LocalFileSystem):  # type: ignore[misc]
    """Objects as files of a folder."""

    root = Path()
    seconds = 0.0

    def __init__(self, **more: Any) -> None:
        super().__init__(auto_mkdir=True)

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        text = str(path)
        return (
            text.replace("memory:/", str(cls.root)) if text.startswith("memory://") else super()._strip_protocol(text)
        )

    def put_file(self, lpath: str, rpath: str, **more: Any) -> None:
        partial = self.root / f"partial-{secrets.token_hex(4)}"
        super().put_file(lpath, str(partial))
        time.sleep(self.seconds)
        target = Path(self._strip_protocol(rpath))
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.replace(target)

    def pipe_file(self, path: str, value: bytes, **more: Any) -> None:
        partial = self.root / f"partial-{secrets.token_hex(4)}"
        partial.write_bytes(value)
        target = Path(self._strip_protocol(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial, target)  # noqa: PTH105


if __name__ == "__main__":
    DiskStore.root, DiskStore.seconds = Path(sys.argv[1]), float(sys.argv[2])
    fsspec.register_implementation("memory", DiskStore, clobber=True)
    from bertie.cli import main
    from bertie.storage import outputs

    outputs.PAUSE_SECONDS = 0.1  # between two uploads of a run's state; runs here are short
    sys.exit(main(sys.argv[3:]))
