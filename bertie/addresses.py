"""Addresses of files in object stores, such as ``s3://bucket/corpus``: recognise them, and name their local copies.

A command works on local files only. A process that uses addresses has one folder in which every local copy has the
place of its address: ``FOLDER/s3/bucket/corpus``. So an address follows from the path of its copy, and back. This file
opens nothing; `bertie.storage` fetches and uploads.
"""

import os
import re
from pathlib import Path

from bertie.errors import SettingsError

SCHEMES = ("s3", "gs", "gcs", "memory", "file")
_NAMES = "|".join(SCHEMES)
# A Path of "s3://bucket/key" is "s3:/bucket/key": pathlib merges slashes.
_ADDRESS = re.compile(rf"({_NAMES}):/+(\S.*)?", re.DOTALL)
_TYPED = re.compile(rf"({_NAMES})://(\S*)")
_PASSWORD = re.compile(r"//[^/\s]*@")
PATTERN_CHARACTERS = "*?["
_folder: str | None = None


def address_of(value: object) -> str | None:
    """Return the address that a text or a path is; None for anything else.

    >>> address_of(Path("s3://bucket/corpus"))
    's3://bucket/corpus'
    >>> address_of("out/corpus")
    """
    if not isinstance(value, str | os.PathLike):
        return None
    match = _ADDRESS.fullmatch(str(value))
    if match is None:
        return None
    check(str(value))
    scheme, rest = match[1], (match[2] or "").rstrip("/")
    return f"{scheme}://{'/' if scheme == 'file' else ''}{rest}"


def check(text: str) -> None:
    """Check an address as it was typed; any other text passes.

    Raises:
        SettingsError: it holds a user name or password, or a part that no local path can have.
    """
    if _PASSWORD.search(text) and _ADDRESS.fullmatch(text):
        raise SettingsError(
            f"{redacted(text)}: an address can't hold a user name or a password; give them as the store's own tools "
            "read them, for example in the environment or in ~/.aws/credentials"
        )
    typed = _TYPED.fullmatch(text)
    if typed is None:
        return
    scheme, rest = typed[1], typed[2].rstrip("/")
    if scheme == "file":
        if not rest.startswith("/"):
            raise SettingsError(f"{text}: write three slashes and an absolute path: file:///data/corpus")
    elif not rest or any(part in ("", ".", "..") for part in rest.split("/")):
        raise SettingsError(f"{text}: write {scheme}://BUCKET/NAME; no part of the name may be empty, . or ..")


def redacted(text: str) -> str:
    """Return text without the user names and passwords in its addresses.

    >>> redacted("can't reach http://me:secret@host/x")
    "can't reach http://...@host/x"
    """
    return _PASSWORD.sub("//...@", text)


def is_pattern(address: str) -> bool:
    """Check whether an address is a pattern such as ``s3://bucket/*.txt``."""
    return any(character in address for character in PATTERN_CHARACTERS)


def set_folder(folder: Path | None) -> None:
    """Set the folder of local copies of this process."""
    global _folder
    _folder = None if folder is None else str(folder)


def place(address: str) -> Path:
    """Return the path of the local copy of an address. `set_folder` must have been called, except for ``file://``."""
    scheme, _, rest = address.partition("://")
    if scheme == "file":
        return Path(rest)
    assert _folder is not None, "no folder of local copies"
    return Path(_folder, scheme, rest)


def shown(text: str) -> str:
    """Return text in which local copies have their address in place of their path."""
    if _folder is None or _folder not in text:
        return text
    return re.sub(rf"{re.escape(_folder)}/({_NAMES})/", r"\1://", text)
