"""The folder of built kernels: nothing in it that somebody else could have put there is loaded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bertie.ops.kernels import cache
from bertie.ops.kernels.cache import Verdict


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


def test_a_folder_of_one_s_own_lasts(home: Path) -> None:
    assert cache.folder() == (home / "bertie" / "kernels", True)


@pytest.mark.parametrize("where", ["bertie/kernels", "bertie", "."])
def test_a_folder_that_others_may_write_is_not_used(where: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "bertie" / "kernels").mkdir(parents=True)
    (home / where).chmod(0o777)
    folder, lasts = cache.folder()
    assert not lasts and not folder.is_relative_to(home)
    assert f"other users may write in {home / where}" in capsys.readouterr().err
    folder.rmdir()


def test_others_may_add_names_where_they_may_not_replace_ours(home: Path) -> None:
    home.chmod(0o1777)
    assert cache.folder()[1]


def test_a_link_of_one_s_own_is_followed_and_its_way_judged(home: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "kernels").mkdir(parents=True, mode=0o700)
    (home / "bertie").symlink_to(Path("..") / "elsewhere")
    assert cache.folder() == (home / "bertie" / "kernels", True)
    elsewhere.chmod(0o777)
    assert "elsewhere" in str(cache.distrust(home / "bertie" / "kernels"))


def test_a_file_or_a_circle_in_the_way_is_no_folder(home: Path, tmp_path: Path) -> None:
    (home / "bertie").write_text("")
    assert not cache.folder()[1]
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    with pytest.raises(OSError, match="more than 40 links"):
        cache.distrust(circle)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_belongs_to_others_is_not_used(home: Path, tmp_path: Path) -> None:
    planted = home / "bertie"
    planted.mkdir()
    os.chown(planted, 12345, 12345)
    assert "belongs to another user" in str(cache.distrust(planted))
    planted.rmdir()
    planted.symlink_to(tmp_path)
    os.chown(planted, 12345, 12345, follow_symlinks=False)
    assert "belongs to another user" in str(cache.distrust(planted))
    library = tmp_path / "library.so"
    library.write_bytes(b"")
    os.chown(library, 12345, 12345)
    with pytest.raises(PermissionError):
        cache.open_own(library)


def test_only_plain_files_of_one_s_own_are_opened(tmp_path: Path) -> None:
    path = tmp_path / "library.so"
    path.write_bytes(b"content")
    path.chmod(0o600)
    descriptor = cache.open_own(path)
    assert cache.content(descriptor) == cache.content(descriptor) == b"content"
    os.close(descriptor)
    (tmp_path / "link").symlink_to(path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    for name in ("link", "fifo", ".", "missing"):
        with pytest.raises(OSError):
            cache.open_own(tmp_path / name)
    path.chmod(0o666)
    with pytest.raises(PermissionError, match="not a plain file that only this user can write"):
        cache.open_own(path)


def test_verdicts_are_kept_and_a_compiler_gets_another_try_after_a_day(tmp_path: Path) -> None:
    path = tmp_path / "it.verdict"
    assert cache.read_verdict(path) is None
    for outcome in ("proven", "failed", "lacking"):
        cache.write_verdict(path, Verdict(outcome, "why"))
        assert cache.read_verdict(path) == Verdict(outcome, "why", fresh=False)
    os.utime(path, (0, 0))
    assert cache.read_verdict(path) is None
    path.write_bytes(b"\xff\xfe" * 10)
    assert cache.read_verdict(path) is None
    cache.write_verdict(tmp_path / "no-folder" / "it.verdict", Verdict("proven", ""))  # no room is no trouble
    assert [file.name for file in tmp_path.iterdir()] == ["it.verdict"]


def test_what_a_killed_build_left_goes_after_a_day(tmp_path: Path) -> None:
    for name in (".build-old", ".build-new"):
        (tmp_path / name).mkdir()
    (tmp_path / ".build-old" / "layer.so").write_bytes(b"")
    (tmp_path / ".verdict-old").write_text("")
    (tmp_path / ".build-link").symlink_to(tmp_path / ".build-new")
    for name in (".build-old", ".verdict-old", ".build-link"):
        os.utime(tmp_path / name, (0, 0), follow_symlinks=False)
    cache.clear_stale(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".build-new"]
