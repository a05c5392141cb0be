"""Inputs: fetched once, again when they change, in bounded space, whole or not at all, by several processes at once."""

import multiprocessing
import os
import time
from pathlib import Path
from typing import Any

import pytest

from bertie.errors import DataError, ResourceError, SettingsError
from bertie.storage import cache, mark
from bertie.storage.inputs import fetch, local
from bertie.storage.mark import Mark


def stored(tmp_path: Path) -> dict[str, int]:
    """Return the objects in the cache and their sizes."""
    files = (tmp_path / "cache" / "objects").rglob("*")
    return {file.name: file.stat().st_size for file in files if file.is_file() and file.suffix != ".lock"}


def free_copies() -> None:
    """Let go of the local copies, as the end of a process does."""
    assert cache._copies is not None
    cache._remove_copies(*cache._copies)


def downloads(remote: Any) -> int:
    return sum(action == "get_file" for action, _ in remote.calls)


def test_a_file_is_fetched_once_and_again_when_it_changes(remote: Any) -> None:
    remote.pipe("/b/a.txt", b"one")
    assert fetch("memory://b/a.txt").read_bytes() == b"one"
    assert fetch("memory://b/a.txt").read_bytes() == b"one"
    assert downloads(remote) == 1
    time.sleep(0.01)
    remote.pipe("/b/a.txt", b"two")  # of the same size
    assert fetch("memory://b/a.txt").read_bytes() == b"two"
    assert downloads(remote) == 2


def test_folders_and_patterns_keep_their_names(remote: Any) -> None:
    for name in ("a.txt", "a.txt.gz", "b/c.txt", "d.csv"):
        remote.pipe(f"/b/text/{name}", name.encode())
    folder = fetch("memory://b/text")
    names = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())
    assert names == ["a.txt", "a.txt.gz", "b/c.txt", "d.csv"]
    free_copies()
    pattern = fetch("memory://b/text/*.txt")
    assert [file.name for file in pattern.parent.glob(pattern.name)] == ["a.txt"]
    assert not (pattern.parent / "d.csv").exists()
    assert local(Path("memory://b/text/d.csv")).read_bytes() == b"d.csv"
    assert local("elsewhere") == "elsewhere"
    with pytest.raises(SettingsError, match=r"no object matches memory://b/text/\*\.md"):
        fetch("memory://b/text/*.md")
    with pytest.raises(SettingsError, match="memory://b/none: no such object"):
        fetch("memory://b/none")


def test_files_that_the_store_lost_go(remote: Any) -> None:
    remote.pipe("/b/m/a", b"1")
    remote.pipe("/b/m/c/d", b"2")
    assert (fetch("memory://b/m") / "c" / "d").exists()
    remote.rm_file("/b/m/c/d")
    assert [file.name for file in fetch("memory://b/m").rglob("*") if file.is_file()] == ["a"]


def test_a_cut_download_is_tried_again(remote: Any, tmp_path: Path) -> None:
    remote.pipe("/b/a.txt", b"whole content")
    remote.failures["get_file"], remote.failures["find"], remote.cut["memory://b/a.txt"] = 2, 3, 1
    assert fetch("memory://b/a.txt").read_bytes() == b"whole content"
    assert list(stored(tmp_path).values()) == [13]


def test_a_download_that_fails_leaves_nothing(remote: Any, tmp_path: Path) -> None:
    remote.pipe("/b/a.txt", b"whole content")
    remote.failures["get_file"] = 100
    with pytest.raises(ResourceError, match=r"memory://b/a\.txt: .*get_file was cut off.* after 4 attempts"):
        fetch("memory://b/a.txt")
    assert stored(tmp_path) == {}


def test_the_cache_is_bounded_and_drops_what_was_not_used(
    remote: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTIE_CACHE_GB", "0.000003")
    for name in "abc":
        remote.pipe(f"/b/{name}", name.encode() * 1000)
        fetch(f"memory://b/{name}")
        time.sleep(0.01)
    free_copies()
    fetch("memory://b/a")
    free_copies()
    remote.pipe("/b/d", b"d" * 1000)
    fetch("memory://b/d")
    assert sum(stored(tmp_path).values()) == 3000
    before = downloads(remote)
    fetch("memory://b/a")
    fetch("memory://b/c")
    assert downloads(remote) == before  # b was used least
    with pytest.raises(ResourceError, match="set BERTIE_CACHE_GB to a larger number"):
        fetch("memory://b/b")  # all others are in use
    free_copies()
    assert fetch("memory://b/b").read_bytes() == b"b" * 1000
    remote.pipe("/b/large", b"x" * 3001)
    with pytest.raises(ResourceError, match=r"don't fit into the cache"):
        fetch("memory://b/large")


@pytest.mark.parametrize("size", ["-1", "many", "nan", "0", "inf"])
def test_a_bad_size_is_an_error(remote: Any, monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.setenv("BERTIE_CACHE_GB", size)
    remote.pipe("/b/a", b"1")
    with pytest.raises(SettingsError, match="BERTIE_CACHE_GB must be a positive number"):
        fetch("memory://b/a")


def test_leftovers_of_killed_processes_go(remote: Any, tmp_path: Path) -> None:
    remote.pipe("/b/a", b"1")
    fetch("memory://b/a")
    (name,) = stored(tmp_path)
    part = tmp_path / "cache" / "objects" / "ab" / f"ab{'0' * 62}.partial-1234"
    part.parent.mkdir(exist_ok=True)
    part.write_bytes(b"half")
    old = tmp_path / "cache" / "copies" / "1-dead"
    old.mkdir()
    free_copies()
    remote.pipe("/b/c", b"2")
    fetch("memory://b/c")
    assert not part.exists() and not old.exists()
    assert name in stored(tmp_path)


def test_names_that_leave_the_folder_are_refused(remote: Any, tmp_path: Path) -> None:
    remote.store["/b/m/../../evil"] = remote.store.get("/x") or _object(remote)
    with pytest.raises(DataError, match=r"holds an object named '\.\./\.\./evil'"):
        fetch("memory://b/m")
    assert not list(tmp_path.rglob("evil"))


def _object(remote: Any) -> Any:
    remote.pipe("/x", b"1")
    return remote.store["/x"]


def _bring(home: str, folder: str, results: Any) -> None:
    """Fetch all files of a slow store in a process of its own, and tell how many downloads that took."""
    import fsspec

    from bertie.storage import store

    os.environ["BERTIE_CACHE"] = home
    count = 0
    disk: Any = fsspec.filesystem("file")

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(disk, name)

        def get_file(self, address: str, file: str) -> None:
            nonlocal count
            count += 1
            time.sleep(0.05)
            disk.get_file(address.replace("memory://", f"{folder}/"), file)

        def find(self, address: str, **more: Any) -> Any:
            return disk.find(address.replace("memory://", f"{folder}/"), **more)

        def _strip_protocol(self, address: str) -> str:
            return address.replace("memory://", f"{folder}/")

        def cat_file(self, address: str) -> Any:
            raise FileNotFoundError

    store._opened = lambda scheme: Slow()  # type: ignore[assignment]
    copy = fetch("memory://corpus")
    results.put((count, sorted((file.name, file.read_bytes()) for file in copy.iterdir())))


def test_two_processes_fetch_the_same_once(tmp_path: Path) -> None:
    source = tmp_path / "stored" / "corpus"
    source.mkdir(parents=True)
    files = {f"{number:02}.bin": os.urandom(1000) for number in range(24)}
    for name, content in files.items():
        (source / name).write_bytes(content)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    given = (str(tmp_path / "cache"), str(tmp_path / "stored"), results)
    both = [context.Process(target=_bring, args=given) for _ in range(2)]
    for process in both:
        process.start()
    found = [results.get(timeout=120) for _ in both]
    for process in both:
        process.join(timeout=60)
    assert [content for _, content in found] == [sorted(files.items())] * 2
    assert sum(count for count, _ in found) == len(files)


def test_a_damaged_mark_is_an_error(remote: Any) -> None:
    remote.pipe("/b/m/a", b"1")
    remote.pipe(f"/b/m/{mark.MARK}", b'{"format": "bertie upload", "complete": true, "files": {"../a": 1}}')
    with pytest.raises(DataError, match="is damaged; remove it"):
        fetch("memory://b/m")


def test_an_object_that_is_not_the_one_of_the_mark_is_refused(remote: Any) -> None:
    remote.pipe("/b/m/a", b"1")
    mark.write("memory://b/m", Mark(complete=True, files={"a": {"bytes": 1, "sha256": "0" * 64}}))
    with pytest.raises(ResourceError, match="is not what was uploaded"):
        fetch("memory://b/m")
