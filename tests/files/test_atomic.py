"""Files and folders appear whole or not at all, whatever goes wrong while they are written."""

import errno
import fcntl
import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable
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
    with pytest.raises(SettingsError, match="choose another path"):
        write_text(tmp_path / "file" / "a.txt", "x")
    with pytest.raises(SettingsError, match="choose another path"):
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


def test_modes_follow_the_umask_whatever_wrote_the_files(tmp_path: Path) -> None:
    usual_file, usual_folder = tmp_path / "usual", tmp_path / "usual folder"
    usual_file.touch()
    usual_folder.mkdir()
    with atomic_folder(tmp_path / "target") as folder:
        (folder / "inner").mkdir(mode=0o700)
        for name, mode in (("own", 0o600), ("inner/locked", 0o400), ("inner/program", 0o755)):
            (folder / name).touch()
            (folder / name).chmod(mode)
    target = tmp_path / "target"
    assert names(target) == ["inner", "locked", "own", "program"]
    assert {path.stat().st_mode for path in target.rglob("*") if path.is_file()} == {usual_file.stat().st_mode}
    assert {path.stat().st_mode for path in (target, target / "inner")} == {usual_folder.stat().st_mode}


KILLED = """
import os, signal, sys
from bertie.files.atomic import atomic_folder
with atomic_folder(sys.argv[1]) as folder:
    (folder / "a").write_text("1" * 100_000)
    os.kill(os.getpid(), signal.SIGKILL)
"""
HOLDING = KILLED.replace("os.kill(os.getpid(), signal.SIGKILL)", 'print("held", flush=True); sys.stdin.read()')


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "target")], check=False)
    other = tmp_path / "target2.partial-0badcafe"
    other.mkdir()
    leftovers = [path.name for path in tmp_path.glob("target.partial-*")]
    assert len(leftovers) == 1  # the second one removed what the first one left
    with atomic_folder(tmp_path / "target") as folder:
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["target", other.name]
    said = capsys.readouterr().err
    assert f"removed {tmp_path / leftovers[0]} (0.1 MB), a leftover of a killed command" in said
    assert folder.name not in said


def test_a_writer_at_work_keeps_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", HOLDING, str(tmp_path / "target")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "target"):
            assert len(list(tmp_path.iterdir())) == 2
            raise ZeroDivisionError
        holder.communicate("")
    assert holder.returncode == 0
    assert names(tmp_path) == ["a", "target"]
    assert capsys.readouterr().err == ""


def test_old_parts_of_single_files_go(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, young = tmp_path / "a.txt.partial-00000001", tmp_path / "a.txt.partial-00000002"
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    write_text(tmp_path / "a.txt", "x")
    assert names(tmp_path) == ["a.txt", young.name]
    assert f"removed {old}, a leftover" in capsys.readouterr().err


@pytest.mark.parametrize("fails", [False, True])
def test_a_folder_takes_the_place_of_an_older_one(tmp_path: Path, fails: bool) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").touch()
    try:
        with atomic_folder(target, replace=True) as folder:
            (folder / "new").touch()
            assert names(target) == ["old"]
            assert not fails or 1 / 0
    except ZeroDivisionError:
        assert fails
    assert names(tmp_path) == (["old", "target"] if fails else ["new", "target"])


def no_folders(real: Callable[..., int]) -> Callable[..., int]:
    """Open files only, as Windows does."""

    def call(path: str | Path, *args: int, **kwargs: int) -> int:
        if Path(path).is_dir():
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *args, **kwargs)

    return call


def only_written(real: Callable[[int], None]) -> Callable[[int], None]:
    """Sync only what is open for writing, as Windows does."""

    def call(descriptor: int) -> None:
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, "Bad file descriptor")
        real(descriptor)

    return call


def test_a_system_that_opens_no_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = tmp_path / "target.partial-0badcafe"
    left.mkdir()
    monkeypatch.setattr(os, "open", no_folders(os.open))
    monkeypatch.setattr(os, "fsync", only_written(os.fsync))
    write_text(tmp_path / "a.txt", "x")
    with atomic_folder(tmp_path / "target") as folder:
        (folder / "b").touch()
    assert names(tmp_path) == ["a.txt", "b", "target", left.name]
    assert f"{left} is incomplete; remove it if no running command is writing it" in capsys.readouterr().err


def test_a_file_system_that_syncs_no_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", files_only)
    with atomic_folder(tmp_path / "target") as folder:
        (folder / "b").touch()
    assert names(tmp_path) == ["b", "target"]


@pytest.mark.parametrize(("refusals", "works"), [(3, True), (4, False)])
def test_a_file_that_another_program_has_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int, works: bool
) -> None:
    write_text(tmp_path / "a.txt", "old")
    real, refused = Path.replace, [0]

    def replace(path: Path, target: Path) -> Path:
        if refused[0] < refusals:
            refused[0] += 1
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace)
    if works:
        write_text(tmp_path / "a.txt", "new")
    else:
        with pytest.raises(SettingsError, match=r"can't write .*a\.txt: Permission denied"):
            write_text(tmp_path / "a.txt", "new")
    assert (tmp_path / "a.txt").read_text() == ("new" if works else "old")
    assert names(tmp_path) == ["a.txt"]
