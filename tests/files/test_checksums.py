"""Checksums: any change of a listed file is found, and the list reads as sha256sum's does."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from bertie.errors import DataError, SettingsError
from bertie.files import checksums
from bertie.files.checksums import SUMS, Differences, compare, read_sums, seal, verified


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a sealed folder of a few files, one of them in a subfolder."""
    place = tmp_path / "model"
    (place / "1_Pooling").mkdir(parents=True)
    for name, content in (("weights", b"\0\1" * 5000), ("a b.json", b"{}"), ("1_Pooling/config.json", b"{ }")):
        (place / name).write_bytes(content)
    (place / "README.md").write_text("# A model\n")
    (place / ".hidden").touch()
    (place / "helper").mkdir()
    (place / "helper" / "weights").write_text("other")
    seal(place / "helper")
    seal(place)
    return place


def load(folder: Path) -> None:
    with verified(folder):
        pass


def test_the_list_is_sha256sums_own(folder: Path) -> None:
    assert set(read_sums(folder) or {}) == {"1_Pooling/config.json", "README.md", "a b.json", "weights"}
    load(folder)
    assert compare(folder, read_sums(folder) or {}) == Differences()
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--strict", "--quiet", "-c", SUMS], cwd=folder, check=True)
        listed = subprocess.run(["sha256sum", "-b", "weights"], cwd=folder, check=True, capture_output=True, text=True)
        (folder / SUMS).write_text(listed.stdout)  # with a star before the name
        load(folder)


def test_a_folder_without_a_list_is_taken_as_it_is(tmp_path: Path) -> None:
    assert read_sums(tmp_path) is None
    load(tmp_path)
    load(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["weights", "a b.json", "1_Pooling/config.json"])
def test_changed_and_missing_files_are_named(folder: Path, name: str) -> None:
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(DataError, match=rf"{name} does not match.*bertie show .*model --accept-changes"):
        load(folder)
    assert compare(folder, read_sums(folder) or {}) == Differences(changed=(name,))
    (folder / name).unlink()
    with pytest.raises(DataError, match=rf"{name} does not match"):
        load(folder)
    (folder / "more").touch()
    assert compare(folder, read_sums(folder) or {}) == Differences(missing=(name,), added=("more",))
    seal(folder)
    load(folder)


def test_the_card_may_be_edited(folder: Path) -> None:
    (folder / "README.md").write_text("# My model\n")
    load(folder)
    found = compare(folder, read_sums(folder) or {})
    assert (found.changed, found.harmful) == (("README.md",), ())


def test_a_change_is_the_likelier_cause_of_an_error(folder: Path) -> None:
    with pytest.raises(SettingsError, match="no head"), verified(folder):
        raise SettingsError("no head")
    (folder / "a b.json").write_text("{")
    with pytest.raises(DataError, match=r"a b\.json does not match") as caught, verified(folder):
        raise KeyError("hidden_size")
    assert isinstance(caught.value.__cause__, KeyError)
    with pytest.raises(KeyboardInterrupt), verified(folder):
        raise KeyboardInterrupt


def test_nobody_waits_for_large_files_after_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checksums, "_SMALL_BYTES", 100)
    with (folder / "weights").open("r+b") as file:
        file.truncate(1 << 40)  # hashing this takes minutes
    with pytest.raises(SettingsError), verified(folder):
        raise SettingsError("damaged header")


@pytest.mark.parametrize(
    ("line", "number"),
    [
        ("0" * 64 + "  ../../outside", 1),
        ("0" * 64 + "  /etc/passwd", 1),
        ("0" * 63 + "  weights", 1),
        ("0" * 64 + " weights", 1),
        ("\\" + "0" * 64 + "  wei\\nghts", 1),
        ("", 1),
        ("0" * 64 + "  weights\n" + "0" * 64 + "  weights", 2),
        ("0" * 64 + "  weights\n\n", 2),
    ],
)
def test_a_damaged_list_is_named(folder: Path, line: str, number: int) -> None:
    (folder / SUMS).write_text(line)
    with pytest.raises(DataError, match=rf"SHA256SUMS is damaged: line {number} .*--accept-changes"):
        load(folder)


def test_other_damage_of_the_list(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / SUMS).write_bytes(b"\xff")
    with pytest.raises(DataError, match="byte 0 is not UTF-8"):
        load(folder)
    monkeypatch.setattr(checksums, "_MAX_BYTES", 0)
    with pytest.raises(DataError, match="it has 1 bytes"):
        load(folder)


def test_single_flipped_bytes(folder: Path) -> None:
    source, missed = random.Random(0), []
    for _ in range(300):
        path = source.choice([path for path in folder.rglob("*") if path.is_file() and path.stat().st_size])
        whole = path.read_bytes()
        place, flip = source.randrange(len(whole)), source.randrange(1, 256)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
        try:
            changed = compare(folder, read_sums(folder) or {}) != Differences()
            changed = changed or compare(folder / "helper", read_sums(folder / "helper") or {}) != Differences()
        except DataError:
            changed = True
        star = path.name == SUMS and path.read_bytes()[place : place + 1] == b"*"  # sha256sum's other form of a line
        if not changed and not star:
            missed.append((path.name, place, flip))
        path.write_bytes(whole)
    assert missed == []
