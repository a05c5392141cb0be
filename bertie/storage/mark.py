"""The mark of an upload, ``.bertie-upload.json``: the first and the last object that an upload writes.

An object store can't rename a folder, so the mark says what belongs to it:

    complete    whether everything is there
    files       bytes and SHA-256 of each file that is there
    pending     names of files that are being uploaded
    owner       a random text: which process writes

A reader believes the mark. So it never takes half of a corpus or a model for a whole one.
"""

import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from bertie.errors import DataError
from bertie.storage import store
from bertie.untrusted import parse_object

MARK = ".bertie-upload.json"
_SHOWN = 3


@dataclass(frozen=True)
class Mark:
    """What is known of a folder in a store."""

    complete: bool
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Bytes and SHA-256 (keys ``bytes`` and ``sha256``) by name."""
    pending: tuple[str, ...] = ()
    owner: str = ""

    @property
    def resumable(self) -> bool:
        """Whether files of an unfinished run can be used."""
        return not self.complete and bool(self.files)


def write(folder: str, mark: Mark) -> None:
    """Write the mark of a folder."""
    store.write(f"{folder}/{MARK}", content(mark))


def content(mark: Mark) -> bytes:
    """Return the bytes of a mark's file."""
    values = {
        "format": "bertie upload",
        "version": 1,
        "complete": mark.complete,
        "files": mark.files,
        "pending": mark.pending,
        "owner": mark.owner,
    }
    return (json.dumps(values, indent=1) + "\n").encode()


def read(folder: str, *, may_be_denied: bool = False) -> Mark | None:
    """Read the mark of a folder; None if it has none, or if it may be denied and is.

    Raises:
        DataError: the mark is damaged.
        SettingsError, ResourceError: the store refuses or can't be reached.
    """
    found = store.read(f"{folder}/{MARK}", may_be_denied=may_be_denied)
    if found is None:
        return None
    values = parse_object(found, f"{folder}/{MARK}")
    files, pending = values.get("files"), values.get("pending")
    whole = (
        values.get("format") == "bertie upload"
        and isinstance(values.get("complete"), bool)
        and isinstance(files, dict)
        and isinstance(pending, list)
        and all(isinstance(name, str) and is_inside(name) for name in (*files, *pending))
        and all(
            isinstance(entry, dict) and type(entry.get("bytes")) is int and isinstance(entry.get("sha256"), str)
            for entry in files.values()
        )
    )
    if not whole or not isinstance(files, dict) or not isinstance(pending, list):
        raise DataError(f"{folder}/{MARK} is damaged; remove it to read the folder unchecked")
    return Mark(values["complete"] is True, files, tuple(pending), str(values.get("owner", "")))


def is_inside(name: str) -> bool:
    """Check that the name of an object stays inside the folder when it becomes a path."""
    parts = name.split("/")
    return not PurePosixPath(name).is_absolute() and not any(part in ("", ".", "..") for part in parts)


def find(address: str, *, has_own: bool) -> tuple[Mark | None, str]:
    """Return the mark of the nearest folder at or above an address, and the address's place in it.

    Args:
        address: the folder.
        has_own: whether the folder has a mark of its own.
    """
    if has_own:
        return read(address), ""
    scheme, _, rest = address.partition("://")
    parts = rest.split("/")
    for depth in range(len(parts) - 1, 0, -1):
        # A user who may read a part of a bucket only is denied what is above it.
        mark = read(f"{scheme}://{'/'.join(parts[:depth])}", may_be_denied=True)
        if mark is not None:
            inner = "/".join(parts[depth:])
            return mark, inner and f"{inner}/"
    return None, ""


def some(names: list[str]) -> str:
    """Return the first of several names, for a message."""
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
