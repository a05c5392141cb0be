"""Building the kernels and having them prove themselves: what is wrong is off, said in a sentence, and work goes on."""

from __future__ import annotations

import _ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bertie import child
from bertie.errors import SettingsError
from bertie.ops.kernels import build, cache, levels, library, trial

needs_compiler = pytest.mark.skipif(library.load("gelu") is None, reason="no C++ compiler on this machine")
MARK = 'extern "C" void gelu_float('


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the sources be a copy, small by leaving most libraries out, and the cache another; nothing is loaded yet."""
    folder = tmp_path / "sources"
    for path in (*build.headers(), build.source("gelu")):
        copy = folder / path.relative_to(build.SOURCES)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    monkeypatch.setattr(build, "SOURCES", folder)
    monkeypatch.setattr(library, "NAMES", ("gelu",))
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-O1"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv(levels.SWITCH, levels.available()[-1].name)
    library.forget()
    return folder


@pytest.fixture(autouse=True)
def forget(request: pytest.FixtureRequest) -> None:
    """Let later tests find the real kernels."""
    request.addfinalizer(library.forget)


def built(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "cache" / "bertie" / "kernels").iterdir() if path.name != ".lock")


def verdict(tmp_path: Path) -> str:
    (path,) = (path for path in built(tmp_path) if path.suffix == ".verdict")
    return path.read_text()


@needs_compiler
@pytest.mark.slow
def test_a_library_is_built_and_tried_once(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert library.load("gelu") is not None
    assert capsys.readouterr().err.startswith("building C++ kernels for this processor")
    assert len(built(tmp_path)) == 2 and verdict(tmp_path).startswith("proven\n")
    with monkeypatch.context() as patch:
        patch.setattr(child, "run", lambda *_, **__: pytest.fail("a process was started"))
        library.forget()
        assert library.load("gelu") is not None
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(trial, "judge", dict.fromkeys)
    (sources / "gelu" / "gelu.cpp").write_text((sources / "gelu" / "gelu.cpp").read_text() + "// changed\n")
    library.forget()
    assert library.load("gelu") is not None and len(built(tmp_path)) == 4


@needs_compiler
@pytest.mark.slow
def test_what_is_not_right_is_left_to_torch(
    sources: Path,
    tmp_path: Path,
    sabotage: Callable[[Path, str], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = sabotage(sources, "wrong")
    assert library.load("gelu") is None
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert said in line and "torch is used instead" in line
    assert library.describe() == "plain torch (every kernel failed on this machine)"
    assert verdict(tmp_path).startswith("failed\n")
    monkeypatch.setattr(child, "run", lambda *_, **__: pytest.fail("a process was started"))
    library.forget()
    assert library.load("gelu") is None
    assert said in capsys.readouterr().err  # a user of this process should know it too


@needs_compiler
@pytest.mark.slow
@pytest.mark.skipif(len(levels.available()) < 2, reason="this processor has one level")
def test_what_fails_at_one_level_is_done_by_the_next(
    sources: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (sources / "gelu" / "gelu.cpp").read_text().replace(MARK, "#if LANES_HERE == 16\n#error x\n#endif\n" + MARK)
    text = text.replace("#error x", "__attribute__((constructor)) static void die() { __builtin_trap(); }")
    (sources / "gelu" / "gelu.cpp").write_text(text.replace("LANES_HERE", "BERTIE_LANES"))
    monkeypatch.delenv(levels.SWITCH)
    assert library.load("gelu") is not None
    error = capsys.readouterr().err
    assert "gelu for avx512 crashed in loading (SIGILL) (avx2 is used instead)" in error
    assert library.describe().endswith("; gelu by avx2")


@needs_compiler
def test_what_does_not_compile_is_said_once(sources: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sources / "gelu" / "gelu.cpp").write_text("no such thing;\n")
    assert library.load("gelu") is None
    assert "can't build it: " in capsys.readouterr().err
    library.forget()
    assert library.load("gelu") is None and capsys.readouterr().err == ""


def test_a_compiler_that_hangs_is_stopped_with_all_it_started(
    sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compiler, sleeper = tmp_path / "hanging-c++", tmp_path / "child"
    compiler.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {sleeper}\nwait\n")
    compiler.chmod(0o700)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setattr(build, "SECONDS", 2.0)
    library.forget()
    assert library.load("gelu") is None
    assert "hanging-c++ didn't finish within 2 seconds and was stopped" in capsys.readouterr().err
    for _ in range(100):
        if not alive(int(sleeper.read_text())):
            break
        time.sleep(0.1)
    assert not alive(int(sleeper.read_text()))


def alive(process: int) -> bool:
    """Tell whether a process runs; one that waits to be buried doesn't."""
    try:
        os.kill(process, 0)
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (OSError, IndexError):
        return False


@needs_compiler
def test_a_damaged_library_is_built_anew(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "judge", dict.fromkeys)
    assert library.load("gelu") is not None
    (path,) = (path for path in built(tmp_path) if path.suffix == ".so")
    whole = path.read_bytes()
    changed = tmp_path / "changed"
    changed.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    changed.chmod(0o600)
    changed.replace(path)
    library.forget()
    assert library.load("gelu") is not None and path.read_bytes() != whole[:-1] + bytes([whole[-1] ^ 1])


def test_without_a_compiler_torch_does_the_work(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    library.forget()
    assert library.load("gelu") is None and library.load("layer") is None
    assert capsys.readouterr().err.count("C++ kernels are off") == 1
    assert "no C++ compiler" in library.describe()


@needs_compiler
@pytest.mark.parametrize("module", ["no-such-file", _ctypes.__file__])
def test_without_threads_to_share_torch_does_the_work(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A torch without OpenMP: what it needs has none of the functions."""
    monkeypatch.setattr(torch._C, "__file__", module)
    library.forget()
    assert library.load("gelu") is None and "no threads to share" in library.describe()


def test_the_switch_leaves_everything_to_torch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(levels.SWITCH, "off")
    library.forget()
    assert library.load("gelu") is None
    assert library.describe() == "plain torch (BERTIE_KERNELS=off)"
    assert capsys.readouterr().err == ""


def test_a_word_that_the_switch_does_not_know_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(levels.SWITCH, "fast")
    library.forget()
    with pytest.raises(SettingsError, match="BERTIE_KERNELS must be amx, avx512, avx2 or off; got 'fast'"):
        library.load("gelu")


@pytest.mark.parametrize(("word", "used"), [("amx", ["avx2"]), ("avx2", ["avx2"]), ("", ["avx2"])])
def test_a_level_that_the_processor_lacks_is_said(
    word: str, used: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(levels, "available", lambda: (next(level for level in levels._LEVELS if level.name == "avx2"),))
    monkeypatch.setenv(levels.SWITCH, word)
    assert [level.name for level in levels.chosen()] == used
    said = "BERTIE_KERNELS=amx: this processor doesn't have amx; avx2 is used"
    assert (said in capsys.readouterr().err) == (word == "amx")


def test_a_processor_that_torch_knows_nothing_of_has_one_level(monkeypatch: pytest.MonkeyPatch) -> None:
    library.forget()
    monkeypatch.setattr(levels, "capabilities", dict)
    assert [level.name for level in levels.available()] == [levels.NATIVE]
    levels.available.cache_clear()


def test_a_processor_has_a_name_without_the_kernel_s_table(monkeypatch: pytest.MonkeyPatch) -> None:
    here = levels.processor()
    monkeypatch.setattr(levels, "Path", lambda _: Path("no-such-file"))
    assert levels.processor() != "" and here != ""


@needs_compiler
def test_threads_are_those_of_torch() -> None:
    """A second OpenMP runtime would bring a second pool of threads, which fights for the same cores."""
    code = (
        "from bertie.ops.kernels import library; assert library.load('gelu') is not None; "
        "maps = open('/proc/self/maps').read().split(); "
        "print(len({name for name in maps if 'omp' in name.rpartition('/')[2].partition('.')[0]}))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(found.stdout) == 1


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (child.Done(-9, "begin gelu it\n", ""), "was ended by SIGKILL"),
        (child.Done(1, "", "ModuleNotFoundError: No module named 'torch'\n"), "No module named 'torch'"),
        (child.Done(None, "", ""), "didn't begin within"),
        (child.Done(0, "", ""), "it ended with 0"),
    ],
)
def test_a_child_that_fails_by_itself_says_nothing_about_kernels(
    done: child.Done, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(child, "run", lambda *_, **__: done)
    with pytest.raises(OSError, match=said):
        trial.judge({"gelu": Path("gelu.so")})


@pytest.mark.parametrize(
    ("done", "found"),
    [
        (child.Done(0, "begin gelu it\npassed gelu\n", ""), {"gelu": None}),
        (child.Done(0, "begin gelu it\n", ""), {"gelu": "ended the process in it (code 0)"}),
        (child.Done(-11, "passed a\nbegin gelu it\n", ""), {"a": None, "gelu": "crashed in it (SIGSEGV)"}),
        (child.Done(None, "begin gelu it\n", ""), {"gelu": "gave no result in it within 120 seconds"}),
        (child.Done(0, "begin gelu it\ndiffers gelu gave 1\n", ""), {"gelu": "gave 1"}),
    ],
)
def test_what_a_child_found(done: child.Done, found: dict[str, str | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "run", lambda *_, **__: done)
    assert trial.judge({"gelu": Path("gelu.so")}) == found


def test_a_lock_that_another_holds_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_WAIT_SECONDS", 0.3)
    with cache.alone(tmp_path), cache.alone(tmp_path):  # not for ever
        pass
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with cache.alone(tmp_path):
        pass
