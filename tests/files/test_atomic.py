"""Files and folders appear whole or not at all, whatever goes wrong while they are written."""

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bertie.errors import ResourceError, SettingsError
from bertie.files.atomic import atomic_folder, sha256_file, write_bytes, write_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def full_disk(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    write_text(path, "one\r\nzwei 二\n")
    assert path.read_bytes() == "one\r\nzwei 二\n".encode()
    write_bytes(path, b"\x00\xff")
    assert path.read_bytes() == b"\x00\xff"
    assert names(tmp_path) == ["a.txt", "new"]


def test_mode_follows_the_umask(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.touch()
    write_text(tmp_path / "a.txt", "x")
    with atomic_folder(tmp_path / "folder"):
        pass
    assert (tmp_path / "a.txt").stat().st_mode == usual.stat().st_mode
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o777 & ~(0o666 & ~usual.stat().st_mode & 0o777)


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    if call == "fsync":
        monkeypatch.setattr(os, "fsync", full_disk)
    else:
        monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(ResourceError, match=r"a\.txt.*No space left.*free some space"):
        write_text(path, "new")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_refused_place_is_a_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="choose another place"):
        write_text(tmp_path / "file" / "a.txt", "x")
    with pytest.raises(SettingsError, match="choose another place"):
        write_text(tmp_path / ("n" * 300), "x")


def test_folder_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    with atomic_folder(target) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "a").write_text("1")
        assert not target.exists()
        assert folder.parent == target.parent
    assert names(target) == ["a", "sub"]
    assert names(target.parent) == ["a", "sub", "target"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_folder_disappears_on_failure(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), atomic_folder(tmp_path / "target") as folder:
        (folder / "a").write_text("1")
        raise error
    assert names(tmp_path) == []


def test_folder_on_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ResourceError, match="target"), atomic_folder(tmp_path / "target") as folder:
        (folder / "a").write_text("1")
        monkeypatch.setattr(os, "fsync", full_disk)
    assert names(tmp_path) == []


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_folder_never_replaces(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "target"
    if kind == "file":
        target.touch()
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to("nowhere")
    with pytest.raises(SettingsError, match="exists already"), atomic_folder(target):
        pytest.fail("must not begin")
    assert names(tmp_path) == ["target"]


def test_folder_made_by_somebody_else_meanwhile(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="exists already"), atomic_folder(tmp_path / "target"):
        (tmp_path / "target").mkdir()
    assert names(tmp_path) == ["target"]


def test_killed_writer_leaves_no_target(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from bertie.files.atomic import atomic_folder
with atomic_folder(sys.argv[1]) as folder:
    (folder / "a").write_text("1")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "target")], check=False)
    assert done.returncode < 0
    (left,) = tmp_path.iterdir()
    assert left.name.startswith("target.partial-")
    with atomic_folder(tmp_path / "target"):
        pass
    assert (tmp_path / "target").is_dir()


def test_sha256_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()
