"""Building the kernels: once a machine, whole or not at all, and torch does the work where they can't be built."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bertie.kernels import library

needs_compiler = pytest.mark.skipif(library.load("gelu") is None, reason="no C++ compiler on this machine")
SOURCE = 'extern "C" int answer() { return 41 + 1; }\n'


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the sources be a folder of the test's, and the cache another; nothing is loaded yet."""
    folder = tmp_path / "sources"
    folder.mkdir()
    (folder / "answer.cpp").write_text(SOURCE)
    monkeypatch.setattr(library, "_SOURCES", folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for cached in (library.load, library._compiler, library._own_folder):
        cached.cache_clear()
    return folder


@pytest.fixture(autouse=True)
def forget(request: pytest.FixtureRequest) -> None:
    """Let later tests find the real kernels."""
    for cached in (library.load, library._compiler, library._own_folder):
        request.addfinalizer(cached.cache_clear)


def built(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "bertie" / "kernels").glob("*"))


@needs_compiler
def test_a_source_is_built_once_and_anew_when_it_changes(sources: Path, tmp_path: Path) -> None:
    loaded = library.load("answer")
    assert loaded is not None and loaded.answer() == 42
    (first,) = built(tmp_path)
    before = first.stat().st_mtime_ns
    library.load.cache_clear()
    assert library.load("answer") is not None and first.stat().st_mtime_ns == before
    (sources / "answer.cpp").write_text(SOURCE.replace("41", "42"))
    library.load.cache_clear()
    changed = library.load("answer")
    assert changed is not None and changed.answer() == 43
    assert len(built(tmp_path)) == 2


@needs_compiler
def test_what_does_not_compile_is_said_and_left_to_torch(
    sources: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (sources / "answer.cpp").write_text("no such thing;\n")
    assert library.load("answer") is None
    assert "can't build answer.cpp" in capsys.readouterr().err
    assert built(tmp_path) == []  # no half of a library is left


@needs_compiler
def test_a_cache_that_others_may_write_is_not_trusted(sources: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "bertie" / "kernels"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    loaded = library.load("answer")
    assert loaded is not None and loaded.answer() == 42
    assert built(tmp_path) == []
    shutil.rmtree(library._own_folder())


def test_without_a_compiler_torch_does_the_work(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert library.load("answer") is None
    assert "no C++ compiler" in library.describe()


def test_the_switch_leaves_everything_to_torch(sources: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.SWITCH, "off")
    assert library.load("answer") is None
    assert library.describe() == ("plain torch" if library._compiler() else "plain torch (no C++ compiler)")


@needs_compiler
def test_threads_are_those_of_torch() -> None:
    """A second OpenMP runtime would bring a second pool of threads, which fights for the same cores."""
    code = (
        "import torch, ctypes; from bertie.kernels import library; library.load('gelu'); "
        "maps = open('/proc/self/maps').read().split(); "
        "print(len({name for name in maps if 'gomp' in name}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(found.stdout) == 1


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_registers_of_every_width_give_the_same(lanes: int, tmp_path: Path) -> None:
    """The widths that this processor lacks are put together from narrower ones by the compiler."""
    compiler, threads = library._compiler(), library._thread_pool()
    target = tmp_path / "gelu.so"
    source = library._SOURCES / "gelu.cpp"
    flags = [*library._FLAGS, f"-DBERTIE_LANES={lanes}", "-O1", "-shared"]
    subprocess.run([str(compiler), *flags, str(source), str(threads), "-o", str(target)], check=True)
    loaded = ctypes.CDLL(str(target))
    values = torch.linspace(-9, 9, 1001)
    found = torch.empty_like(values)
    loaded.gelu_float(ctypes.c_int64(1001), 1, ctypes.c_void_p(values.data_ptr()), ctypes.c_void_p(found.data_ptr()))
    torch.testing.assert_close(found, torch.nn.functional.gelu(values), rtol=1e-6, atol=1e-6)
