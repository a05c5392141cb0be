"""Fetch files, folders and patterns by address into the cache, and give the path of the local copy."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from bertie import addresses, progress
from bertie.errors import DataError, SettingsError
from bertie.storage import cache, mark, store
from bertie.storage.cache import Wanted
from bertie.storage.mark import MARK, Mark
from bertie.storage.store import Item

T = TypeVar("T")
_THREADS = 8
_SHOWN_BYTES = 1_000_000


def local(value: T) -> T:
    """Return the local copy of an address, fetched now; any other value unchanged.

    Args:
        value: an address as text or as a path, or anything else.

    Raises:
        SettingsError: there is no such object, no permission, or a package is missing.
        DataError: the upload of the folder didn't end, or files of it are missing.
        ResourceError: the store can't be reached, or the cache may not hold so much.
    """
    address = addresses.address_of(value)
    # Text stays text, and a path a path.
    return value if address is None else type(value)(fetch(address))  # type: ignore[call-arg]


def fetch(address: str) -> Path:
    """Fetch what an address names, and return the path of its local copy. Errors as for `local`."""
    if address.startswith("file://"):
        return addresses.place(address)
    cache.copies()
    target = addresses.place(address)
    if addresses.is_pattern(address):
        found = {name: item for name, item in store.matching(address).items() if not name.endswith(f"/{MARK}")}
        if not found:
            raise SettingsError(f"no object matches {address}")
        _bring([Wanted(each, item, addresses.place(each)) for each, item in sorted(found.items())], address)
        return target
    items = store.items(address)
    if not items:
        raise SettingsError(f"{address}: no such object; check the address, and that the bucket exists")
    if set(items) == {""}:
        _bring([Wanted(address, items[""], target)], address)
        return target
    items.pop("", None)
    refuse_outside(items, address)
    chosen, sums = committed(address, items)
    for file in target.rglob("*"):  # of an earlier call; the store no longer has them
        if file.is_file() and file.relative_to(target).as_posix() not in chosen:
            file.unlink()
    wanted = [Wanted(f"{address}/{name}", item, target / name, sums.get(name)) for name, item in sorted(chosen.items())]
    _bring(wanted, address)
    return target


def committed(address: str, items: Mapping[str, Item], *, told: bool = True) -> tuple[dict[str, Item], dict[str, str]]:
    """Choose the objects of a folder that belong to it, by the mark of its upload.

    Args:
        address: the folder.
        items: all objects in it, by name.
        told: whether to note that the folder is of an unfinished run.

    Returns:
        The objects, and the checksums that can be checked, by name. All objects if bertie didn't upload the folder.

    Raises:
        DataError: the upload didn't end, or objects are missing or have another size.
    """
    found, inner = mark.find(address, has_own=MARK in items)
    plain = {name: item for name, item in items.items() if name.rpartition("/")[2] != MARK}
    if found is None:
        return plain, {}
    names = {name.removeprefix(inner): entry for name, entry in found.files.items() if name.startswith(inner)}
    pending = [name.removeprefix(inner) for name in found.pending if name.startswith(inner)]
    if not names and not pending:
        if found.complete:
            return plain, {}  # put into the folder by someone else
        raise DataError(f"{address} is incomplete: the upload of the folder that holds it hasn't ended")
    if not found.complete and not names:
        missing = [name for name in pending if name not in plain] or pending
        raise DataError(
            f"{address} is incomplete: its upload began but didn't end; missing are {mark.some(missing)}. Run the "
            "command that writes it again"
        )
    lost = [name for name in names if name not in plain]
    if lost:
        raise DataError(f"{address} is damaged: the store has no {mark.some(lost)}; upload it again")
    if found.complete:
        changed = [name for name, entry in names.items() if plain[name].size != entry["bytes"]]
        if changed:
            raise DataError(f"{address} is damaged: the size of {mark.some(changed)} has changed; upload it again")
    elif told:
        progress.note(f"{address} belongs to a run that isn't finished; its last complete state is used")
    if others := sorted(set(plain) - set(names) - set(pending)):
        progress.note(f"{address}: left out, because they were not uploaded with it: {mark.some(others)}")
    return {name: plain[name] for name in names}, sums_of(found, names)


def sums_of(found: Mark, names: Mapping[str, Any]) -> dict[str, str]:
    """Return the checksums by name; none of an unfinished run, whose record and figures change in place."""
    return {name: entry["sha256"] for name, entry in names.items()} if found.complete else {}


def refuse_outside(names: Iterable[str], address: str) -> None:
    """Check that no object's name leaves its folder.

    Raises:
        DataError: one does.
    """
    if outside := [name for name in names if not mark.is_inside(name)]:
        raise DataError(f"{address} holds an object named {outside[0]!r}, which can't be a local file; rename it")


def _bring(wanted: list[Wanted], address: str) -> None:
    """Bring objects to their places, several at a time."""
    num_bytes = cache.make_room(wanted)
    if not num_bytes:
        for each in wanted:
            cache.bring(each)
        return
    by_name = {each.address: each for each in wanted}
    with moving(f"Fetching {address}", sum(each.item.size for each in wanted)) as advance:
        each_of(list(by_name), lambda name: cache.bring(by_name[name]), lambda name: advance(by_name[name].item.size))


@contextmanager
def moving(title: str, num_bytes: int, *, shown: bool = True) -> Iterator[Callable[[int], None]]:
    """Give a function that counts bytes; a bar shows them if they are more than a megabyte."""
    if not shown or num_bytes < _SHOWN_BYTES:
        yield lambda count: None
        return
    with progress.bar(title, total=num_bytes / 1e6, unit="MB") as bar:
        yield lambda count: bar.advance(count / 1e6)


def each_of(names: list[str], action: Callable[[str], None], done: Callable[[str], None]) -> None:
    """Run an action for each name, several at a time; after an error no further ones begin."""
    with ThreadPoolExecutor(_THREADS) as pool:
        jobs = {pool.submit(action, name): name for name in names}
        try:
            for job in as_completed(jobs):
                job.result()
                done(jobs[job])
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
