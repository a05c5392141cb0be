"""The shape of the house: contracts in registries, docstrings in rooms, one name per test; no traces of machines."""

import ast
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from bertie import registry

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "bertie"
REGISTRIES = ("commands", "tasks", "models", "formats", "backends", "runners", "starts", "optimizers", "schedules")
REGISTRIES += ("tables",)
VAGUE = {"utils", "util", "common", "misc", "helpers", "helper", "tools"}
# Written in parts, so that this file holds no such path itself.
MACHINE_PATH = re.compile(r"(?<![\w.:/*])/(?:home|root|work|tmp|Users|mnt|workspace|private)/" + r"[\w.]")


def tracked_files() -> list[Path]:
    """Return the repository's files; all that git doesn't ignore, so that a new file counts before it is added."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [path for name in done.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize("folder", REGISTRIES)
def test_registries_have_a_contract(folder: str) -> None:
    if not (PACKAGE / folder).is_dir() or not registry.choices(folder):
        pytest.skip(f"no choice in {folder} yet")
    assert (PACKAGE / folder / f"{folder.removesuffix('s')}.py").exists()
    assert all(registry.summary(folder, name) for name in registry.choices(folder))


def test_inner_packages_hold_no_code() -> None:
    holding = []
    for path in PACKAGE.glob("*/**/__init__.py"):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        only_docstring = len(body) == 1 and isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
        if not only_docstring:
            holding.append(str(path.relative_to(ROOT)))
    assert holding == []


def test_every_room_is_a_package() -> None:
    rooms = {path.parent for path in PACKAGE.rglob("*.py")}
    assert [str(room.relative_to(ROOT)) for room in rooms if not (room / "__init__.py").exists()] == []


def test_every_file_says_what_it_is_for() -> None:
    files = [path for room in ("bertie", "tests", "benchmarks", "examples") for path in (ROOT / room).rglob("*.py")]
    silent = [path for path in files if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert [str(path.relative_to(ROOT)) for path in silent] == []


def test_no_vague_names() -> None:
    assert [str(path.relative_to(ROOT)) for path in PACKAGE.rglob("*") if path.stem in VAGUE] == []


def test_test_files_have_names_of_their_own() -> None:
    counts = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert {name: count for name, count in counts.items() if count > 1} == {}
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_no_machine_paths() -> None:
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        found += [
            f"{path.relative_to(ROOT)}:{text[: hit.start()].count(chr(10)) + 1}" for hit in MACHINE_PATH.finditer(text)
        ]
    assert found == []


def test_machine_paths_are_recognised() -> None:
    for root in ("home", "tmp", "work"):
        assert MACHINE_PATH.search(f"see /{root}/someone/file")
    for harmless in ("https://example.org/home/page", "out/work/x", "../tmp/x", "/dev/null", "a /usr/bin/env b"):
        assert not MACHINE_PATH.search(harmless)
