"""Read and write objects by their address, with fsspec: list, download, upload, remove; retry, and explain errors.

An object has a name, bytes and a version. There are no folders, and nothing can be renamed. An upload of one object is
atomic: readers see the old object or the new one.
"""

import contextlib
import errno
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from bertie.addresses import redacted
from bertie.errors import BertieError, ResourceError, SettingsError, missing_extra

T = TypeVar("T")
_EXTRAS = {"s3": ("s3fs", "s3"), "gs": ("gcsfs", "gcs"), "gcs": ("gcsfs", "gcs")}
_WAITS = (0.5, 2.0, 5.0)  # seconds before further attempts
_VERSION_KEYS = ("ETag", "etag", "generation", "md5Hash", "LastModified", "mtime", "updated", "created")
_LAST_KEYS = ("LastModified", "mtime", "updated", "created")
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
_LOGIN = (
    "set the credentials of the store: for s3:// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or the "
    "machine's role; for gs:// gcloud auth application-default login or GOOGLE_APPLICATION_CREDENTIALS"
)


@dataclass(frozen=True)
class Item:
    """What a store says of an object."""

    size: int
    """Bytes."""

    version: str
    """A text that changes when the object does."""

    modified: float | None
    """Seconds since 1970, if known."""


def items(address: str) -> dict[str, Item]:
    """List the objects below an address.

    Returns:
        The objects by their name relative to the address; with the name "", the object of this very address. Empty if
        there is none.

    Raises:
        SettingsError: no such bucket, no permission, no credentials, or a package is missing.
        ResourceError: the store can't be reached.
    """

    def look() -> dict[str, Item]:
        store = _filesystem(address)
        store.invalidate_cache()
        found: dict[str, Any] = {}
        with contextlib.suppress(FileNotFoundError):
            found = store.find(address, detail=True)
        root = store._strip_protocol(address)
        return {
            _relative(name, root): _item(facts)
            for name, facts in found.items()
            if facts.get("type") == "file" and not name.endswith("/")  # some tools write objects that stand for folders
        }

    return _attempt(look, address)


def matching(pattern: str) -> dict[str, Item]:
    """Return the objects that match a pattern, by their address. Errors as for `items`."""

    def look() -> dict[str, Item]:
        store = _filesystem(pattern)
        store.invalidate_cache()
        found = store.glob(pattern, detail=True)
        scheme = pattern.partition("://")[0]
        return {
            f"{scheme}://{name.lstrip('/')}": _item(facts)
            for name, facts in found.items()
            if facts.get("type") == "file"
        }

    return _attempt(look, pattern)


def read(address: str, *, may_be_denied: bool = False) -> bytes | None:
    """Read a small object; None if there is none, or if it may be denied and is. Other errors as for `items`."""

    def look() -> bytes | None:
        try:
            content: bytes = _filesystem(address).cat_file(address)
        except (FileNotFoundError, IsADirectoryError):
            return None
        except PermissionError:
            if may_be_denied:
                return None
            raise
        return content

    return _attempt(look, address)


def write(address: str, content: bytes) -> None:
    """Write a small object, replacing an older one. Errors as for `items`."""
    _attempt(lambda: _filesystem(address).pipe_file(address, content), address)


def download(address: str, file: Path, *, size: int | None = None) -> None:
    """Download an object into a file. A connection that breaks is tried again from the beginning.

    Args:
        address: the object.
        file: the file to write; the caller gives it its name when it is complete.
        size: its bytes: fewer count as a broken connection.

    Raises:
        SettingsError: there is no such object, or as for `items`.
        ResourceError: the store can't be reached, or the disk is full.
    """

    def get() -> None:
        _filesystem(address).get_file(address, str(file))
        if size is not None and file.stat().st_size != size:
            raise ConnectionError(f"{file.stat().st_size:,} of {size:,} bytes came")

    _attempt(get, address)


def upload(file: Path, address: str) -> None:
    """Upload a file as one object, replacing an older one.

    Raises:
        FileNotFoundError: the file is gone.
        SettingsError: as for `items`.
        ResourceError: the store can't be reached.
    """

    def put() -> None:
        _filesystem(address).put_file(str(file), address)

    try:
        _attempt(put, address)
    except BertieError:
        if not file.exists():
            raise FileNotFoundError(file) from None
        raise


def remove(addresses: Iterable[str]) -> None:
    """Remove objects; those that are gone already are no error. Other errors as for `items`."""
    for address in addresses:

        def drop(address: str = address) -> None:
            with contextlib.suppress(FileNotFoundError):
                _filesystem(address).rm_file(address)

        _attempt(drop, address)


def _filesystem(address: str) -> Any:
    return _opened(address.partition("://")[0])


@cache
def _opened(scheme: str) -> Any:
    import fsspec

    # Without a cache of listings, which would hide what other processes have written meanwhile.
    return fsspec.filesystem(scheme, use_listings_cache=False)


def _relative(name: str, root: str) -> str:
    return name.strip("/").removeprefix(root.strip("/")).lstrip("/")


def _item(facts: dict[str, Any]) -> Item:
    version = "|".join(f"{facts[key]}" for key in _VERSION_KEYS if facts.get(key) is not None)
    last = next((facts[key] for key in _LAST_KEYS if facts.get(key) is not None), None)
    if isinstance(last, str):
        with contextlib.suppress(ValueError):
            last = datetime.fromisoformat(last)
    modified = last.timestamp() if isinstance(last, datetime) else last if isinstance(last, int | float) else None
    return Item(int(facts.get("size") or 0), version, modified)


def _attempt(action: Callable[[], T], address: str) -> T:
    """Run an action, again after errors that may pass."""
    for wait in (*_WAITS, None):
        try:
            return action()
        except Exception as error:
            if wait is None or not _may_pass(error):
                raise _explained(error, address) from error
        time.sleep(wait * random.uniform(0.5, 1.0))
    raise AssertionError


def _may_pass(error: Exception) -> bool:
    settled = FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError | ImportError | ValueError
    if isinstance(error, settled) or _lacks_login(error):
        return False
    return not (isinstance(error, OSError) and error.errno in _FULL_DISK | {errno.EINVAL})


def _lacks_login(error: Exception) -> bool:
    return "Credential" in type(error).__name__ or "ProfileNotFound" in type(error).__name__


def _explained(error: Exception, address: str) -> BertieError:
    """Return the error for the user."""
    scheme = address.partition("://")[0]
    if isinstance(error, ImportError) and scheme in _EXTRAS:
        package, extra = _EXTRAS[scheme]
        return missing_extra(package, extra, f"to use {scheme}:// addresses")
    said = redacted((str(error).strip() or type(error).__name__).splitlines()[0])[:300]
    if isinstance(error, OSError) and error.errno in _FULL_DISK:
        return ResourceError(f"can't fetch {address}: {error.strerror}; free some space, or set BERTIE_CACHE")
    if isinstance(error, OSError) and error.errno == errno.EINVAL:
        return SettingsError(f"{address}: {said}; check the address")
    if _lacks_login(error):
        return SettingsError(f"{address}: no credentials ({said}); {_LOGIN}")
    if isinstance(error, PermissionError):
        return SettingsError(f"{address}: access denied ({said}); check the rights of this user, or {_LOGIN}")
    if isinstance(error, FileNotFoundError):
        return SettingsError(f"{address}: no such object or bucket; check the address, and that the bucket exists")
    return ResourceError(
        f"{address}: the store can't be reached or fails ({said}), after {len(_WAITS) + 1} attempts; check the network "
        "and, for a store of your own, AWS_ENDPOINT_URL, then run the command again"
    )
