"""The libraries that a package carries: which of them suit a processor, and what is done with a bad one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bertie import child
from bertie.ops.kernels import build, cache, levels, library, prebuilt, trial
from bertie.ops.kernels.search import Choice

AVX2 = dict.fromkeys(levels._HAS_AVX2, True)
AVX512 = dict.fromkeys(levels._HAS_AVX512, True)
BF16, VNNI = {"avx512_bf16": True}, {"avx512_vnni": True}
AMX = {"amx_tile": True, "amx_int8": True, "amx_bf16": True}
ALL = {
    prebuilt.file_name(name, one) for name in build.NAMES for one in build.prebuilt_variants(name, levels.variants())
}
needs_compiler = pytest.mark.skipif(
    build.compiler() is None or levels.available()[-1].name != "avx2", reason="no C++ compiler, or no AVX2"
)


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    """Let the kernels be chosen anew, before and after."""
    library.forget()
    yield
    library.forget()


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, bool]], None]:
    """Return what pretends to be another processor."""

    def pretend(has: dict[str, bool]) -> None:
        monkeypatch.setattr(levels, "_request_tiles", lambda: True)
        monkeypatch.setattr(levels, "capabilities", lambda: has)
        levels.available.cache_clear()

    return pretend


def chosen(package: prebuilt.Package) -> dict[str, list[str]]:
    """Return the files of the first two libraries for each level of this processor, best first."""
    found = {
        name: [package.find(name, level) for level in levels.available() if build.has_code_for(name, level.name)]
        for name in ("attention", "layer")
    }
    return {name: [one.path.stem for one in several if one is not None] for name, several in found.items()}


@pytest.mark.parametrize(
    ("has", "attention", "layer"),
    [
        (AVX2, ["avx2"], ["avx2"]),
        ({**AVX2, "avx512_f": True}, ["avx2"], ["avx2"]),  # Knights Landing: not all of AVX-512
        (AVX512, ["avx512", "avx2"], ["avx512", "avx2"]),
        (AVX512 | VNNI, ["avx512", "avx2"], ["avx512-vnni", "avx2"]),
        (AVX512 | BF16, ["avx512", "avx2"], ["avx512", "avx2"]),
        (AVX512 | BF16 | VNNI, ["avx512-bf16-vnni", "avx2"], ["avx512-bf16-vnni", "avx2"]),
        (AVX512 | BF16 | VNNI | AMX, ["avx512-bf16-vnni", "avx2"], ["amx-bf16-vnni", "avx512-bf16-vnni", "avx2"]),
        (AVX512 | VNNI | AMX, ["avx512", "avx2"], ["avx512-vnni", "avx2"]),  # a virtual machine that hides BF16
        ({}, [], []),
        ({"neon": True}, [], []),
    ],
)
def test_each_processor_gets_the_best_library_that_it_can_run(
    has: dict[str, bool], attention: list[str], layer: list[str], processor: Callable[[dict[str, bool]], None]
) -> None:
    processor(has)
    expected = {
        name: [f"{name}-{one}" for one in several] for name, several in (("attention", attention), ("layer", layer))
    }
    assert chosen(prebuilt.Package("", dict.fromkeys(ALL, "0"))) == expected


def test_a_variant_never_uses_what_it_does_not_ask_for() -> None:
    flags = {
        "avx512_bf16": "-mavx512bf16",
        "avx512_vnni": "-mavx512vnni",
        "amx_tile": "-mamx-tile",
        "avx512_f": "-mavx512f",
    }
    for variant in levels.variants():
        assert not any("native" in flag or "march" in flag or "mtune" in flag for flag in variant.flags)
        for need, flag in flags.items():
            assert (need in variant.needs) == (flag in variant.flags)


def test_the_documentation_lists_every_variant() -> None:
    text = (Path(__file__).parents[3] / "docs" / "installation.md").read_text(encoding="utf-8")
    assert [one.variant for one in levels.variants() if f"-{one.variant}.so`" not in text] == []


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return what pretends that the package carries one library, gelu for AVX2."""

    def pack(spoil: Callable[[str], str] = str) -> Path:
        sources, folder = tmp_path / "sources", tmp_path / "compiled"
        for path in (*build.headers(), build.source("gelu")):
            copy = sources / path.relative_to(build.SOURCES)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        whole = (sources / "gelu" / "gelu.cpp").read_text()
        folder.mkdir()
        for module, name in ((build, "NAMES"), (library, "NAMES")):
            monkeypatch.setattr(module, name, ("gelu",))
        monkeypatch.setattr(build, "SOURCES", sources)
        monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-O1"))
        monkeypatch.setattr(prebuilt, "FOLDER", folder)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv(levels.SWITCH, "avx2")
        variant = levels.variants()[-1]
        target = folder / prebuilt.file_name("gelu", variant)
        (sources / "gelu" / "gelu.cpp").write_text(spoil(whole))
        command = build.compiler()
        assert command is not None
        assert build.compile_source("gelu", command, variant.flags, target, ()) is None
        (sources / "gelu" / "gelu.cpp").write_text(whole)
        target.chmod(0o644)
        libraries = {target.name: cache.digest(target.read_bytes())}
        manifest = {"reason": "", "sources": prebuilt.sources_digest(), "libraries": libraries}
        (folder / prebuilt.MANIFEST).write_text(json.dumps(manifest))
        library.forget()
        return target

    return pack


@pytest.fixture
def no_compiler(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def hide() -> None:
        monkeypatch.setenv("PATH", "")
        monkeypatch.delenv("CXX", raising=False)
        library.forget()

    return hide


@needs_compiler
@pytest.mark.slow
def test_without_a_compiler_the_library_of_the_package_is_proven_once_and_used(
    packaged: Callable[..., Path],
    no_compiler: Callable[[], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = packaged()
    no_compiler()
    assert library.load("gelu") is not None
    assert library.choices()["gelu"] == Choice("avx2", True, ())
    assert capsys.readouterr().err == (
        "checking the package's C++ kernels on this processor (avx2); this takes a few seconds, once\n"
    )
    (kept,) = (tmp_path / "cache" / "bertie" / "kernels").glob("*.so")
    assert kept.read_bytes() == target.read_bytes() and kept.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(child, "run", lambda *_, **__: pytest.fail("a process was started"))
    target.unlink()  # the proven copy is enough
    library.forget()
    assert library.load("gelu") is not None and capsys.readouterr().err == ""


@needs_compiler
@pytest.mark.slow
def test_a_library_of_the_package_that_is_wrong_gives_way_to_one_built_here(
    packaged: Callable[..., Path],
    sabotage: Callable[[Path, str], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said = ""

    def spoil(_: str) -> str:
        nonlocal said
        said = sabotage(tmp_path / "sources", "crash")
        return (tmp_path / "sources" / "gelu" / "gelu.cpp").read_text()

    packaged(spoil)
    assert library.load("gelu") is not None
    choice = library.choices()["gelu"]
    assert (choice.level, choice.prebuilt) == ("avx2", False)
    assert f"prebuilt gelu for avx2 {said} (avx2, built here, is used instead)" in capsys.readouterr().err


def truncated(target: Path) -> None:
    target.write_bytes(target.read_bytes()[:1000])


def another(target: Path) -> None:
    content = bytearray(target.read_bytes())
    content[-1] ^= 1
    target.write_bytes(content)


def a_pipe(target: Path) -> None:
    target.unlink()
    os.mkfifo(target)


def writable(target: Path) -> None:
    target.chmod(0o666)


def in_a_writable_folder(target: Path) -> None:
    target.parent.chmod(0o777)


def with_damaged_manifest(target: Path) -> None:
    target.with_name(prebuilt.MANIFEST).write_text('{"libraries": {"gelu-avx2.so": 1}}')


def with_half_a_manifest(target: Path) -> None:
    target.with_name(prebuilt.MANIFEST).write_text('{"libraries": {"gelu')


def without_manifest(target: Path) -> None:
    target.with_name(prebuilt.MANIFEST).unlink()


def with_changed_sources(target: Path) -> None:
    source = build.source("gelu")
    source.write_text(source.read_text() + "// changed\n")


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (Path.unlink, "can't be used"),
        (truncated, "is damaged"),
        (another, "is damaged"),
        (a_pipe, "can't be used"),
        (writable, "every user can change"),
        (in_a_writable_folder, "every user can change"),
        (with_damaged_manifest, "is damaged"),
        (with_half_a_manifest, "can't be used"),
        (without_manifest, "can't be used"),
        (with_changed_sources, "sources have changed"),
    ],
)
def test_what_cannot_be_trusted_is_not_loaded(
    harm: Callable[[Path], Any],
    said: str,
    packaged: Callable[..., Path],
    no_compiler: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    harm(packaged())
    monkeypatch.setattr(trial, "judge", lambda *_, **__: pytest.fail("it was tried"))
    no_compiler()
    assert library.load("gelu") is None
    assert said in capsys.readouterr().err
    monkeypatch.undo()


@needs_compiler
def test_nobody_gains_by_a_library_as_open_as_the_code_beside_it(
    packaged: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    target = packaged()
    target.chmod(0o666)
    library_ = prebuilt.package().find("gelu", levels.available()[-1])
    assert library_ is not None
    with pytest.raises(OSError, match="every user can change"):
        library_.content()
    code = tmp_path / "prebuilt.py"
    code.touch()
    code.chmod(0o666)
    monkeypatch.setattr(prebuilt, "__file__", str(code))
    assert library_.content() == target.read_bytes()


def test_an_editable_installation_carries_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(prebuilt, "FOLDER", tmp_path / "compiled")
    prebuilt.package.cache_clear()
    assert not prebuilt.package().hashes and "editable" in prebuilt.package().reason
    (tmp_path / "compiled").mkdir()
    (tmp_path / "compiled" / prebuilt.MANIFEST).write_text('{"reason": "there was no C++ compiler", "libraries": {}}')
    prebuilt.package.cache_clear()
    assert prebuilt.package().reason == "there was no C++ compiler"
