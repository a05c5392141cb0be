"""The wheel and the source package: built, installed in environments of their own, and used from outside the source."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.ops.kernels import build, levels, library
from bertie.tasks.classification import Classification
from bertie.tasks.task import TaskModel

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
SWITCH = "BERTIE_WHEEL_KERNELS"
COMPILED = "bertie/ops/kernels/compiled/"
PIP = ("-m", "pip", "--disable-pip-version-check", "--isolated")
needs_compiler = pytest.mark.skipif(
    build.compiler() is None or levels.available()[-1].name != "avx2", reason="no C++ compiler, or no AVX2"
)


def run(words: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    """Run Python in a folder with these environment variables alone, and return its stdout."""
    done = subprocess.run(words, cwd=folder, env=dict(environment), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def packed(kind: str, source: Path, out: Path, switch: str) -> Path:
    """Build a source package or a wheel of a folder, and return it."""
    before = set(out.glob("*"))
    run(
        [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(out)], source, {**os.environ, SWITCH: switch}
    )
    (made,) = set(out.glob("*")) - before
    return made


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed("sdist", ROOT, tmp_path_factory.mktemp("sdist"), "off")


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a wheel that was built from the source package and carries kernels for AVX2."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (source,) = folder.iterdir()
    return packed("wheel", source, folder, "avx2")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, str], Callable[..., str]]:
    """Return what installs a package in a new environment, with the dependencies of this one."""

    def install(package: Path, switch: str = "off") -> Callable[..., str]:
        folder = tmp_path_factory.mktemp("environment")
        venv.create(folder, symlinks=True, with_pip=False)
        python = folder / "bin" / "python"
        variables = {"base": str(folder), "platbase": str(folder)}
        packages = Path(sysconfig.get_path("purelib", "venv", variables))
        # A .pth file names folders to look in. The .pth files there are not read, such as that of an editable bertie.
        (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        flags = ["--no-deps", "--no-index", "--no-compile", "--no-build-isolation", "--ignore-installed"]
        words = [sys.executable, *PIP, "--python", str(python), "install", *flags, str(package)]
        run(words, folder, {**os.environ, SWITCH: switch})
        kept = {name: os.environ[name] for name in ("OMP_NUM_THREADS",) if name in os.environ}
        environment = {**kept, "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache"), "PATH": ""}

        def use(*words: str, **more: str) -> str:
            return run([str(python), *words], folder, {**environment, **more})

        return use

    return install


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Return the folder of a small classifier."""
    folder = tmp_path_factory.mktemp("model") / "model"
    build_model: Callable[..., TaskModel] = request.getfixturevalue("build_model")
    task = Classification(labels=("bad", "good"), max_length=32)
    made = build_model(task, deviation=0.3)
    write(Bundle(made, task, request.getfixturevalue("tiny_tokenizer"), made.encoder.config), folder)
    return folder


TEXTS = ("the cat sat in the red house", "a very bad film, never great", "北京 的 猫 !")
PREDICT = ("predict", "--json", "--quiet")
SHOW = """
import json, sys
import bertie
from bertie.commands import _equipment
from bertie.ops.kernels import library
print(json.dumps({
    "place": bertie.__file__,
    "loaded": sorted(name for name in library.NAMES if library.load(name) is not None),
    "choices": {name: [choice.level, choice.prebuilt] for name, choice in library.choices().items()},
    "description": library.describe(),
    "doctor": [line.what for line in _equipment._kernels()],
}))
"""


def scores(output: str) -> list[float]:
    """Return all numbers of the predictions that a command printed."""

    def numbers(value: Any) -> list[float]:
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            return [number for part in value for number in numbers(part)]
        return [value] if isinstance(value, float) else []

    return [number for line in output.splitlines() for number in numbers(json.loads(line))]


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_source_package_has_what_tests_and_builds_need(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"hatch_build.py", "pyproject.toml", "README.md", "LICENSE", "Makefile", "constraints.txt", "CITATION.cff"}
    wanted |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.toml")}
    assert wanted - inside == set()
    assert not {name for name in inside if name.endswith((".so", ".pyc"))}


def check_files(wheel: Path) -> None:
    """Check that a wheel has every file of the package, and kernels for AVX2 that need neither torch nor OpenMP."""
    tree = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "bertie").rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and not path.relative_to(ROOT).as_posix().startswith(COMPILED)
    }
    libraries = {f"{COMPILED}{name}-avx2.so" for name in library.NAMES}
    assert names(wheel) == tree | libraries | {f"{COMPILED}manifest.json"}
    assert wheel.name.startswith("bertie-") and wheel.name.endswith("_x86_64.whl") and "-py3-none-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        (record,) = (name for name in archive.namelist() if name.endswith(".dist-info/RECORD"))
        recorded = {row[0]: row[1] for row in csv.reader(archive.read(record).decode().splitlines())}
        manifest = json.loads(archive.read(f"{COMPILED}manifest.json"))
        for name in libraries:
            content, mode = archive.read(name), archive.getinfo(name).external_attr >> 16
            digest = hashlib.sha256(content)
            assert recorded[name] == "sha256=" + base64.urlsafe_b64encode(digest.digest()).decode().rstrip("=")
            assert manifest["libraries"][name.removeprefix(COMPILED)] == digest.hexdigest()
            assert mode & 0o022 == 0 and content.startswith(b"\x7fELF")
            # Neither torch nor an OpenMP runtime: any build of torch lends its threads.
            assert not any(word in content for word in (b"libtorch", b"libgomp", b"libomp", b"libiomp", b"GOMP_"))


@needs_compiler
def test_outside_the_source_without_a_compiler_the_wheel_s_kernels_are_used(
    wheel: Path, installed: Callable[..., Callable[..., str]], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bertie.cli import main

    check_files(wheel)
    use = installed(wheel)
    found = json.loads(use("-c", SHOW))
    assert not Path(found["place"]).is_relative_to(ROOT)
    assert found["loaded"] == sorted(library.NAMES)
    assert found["choices"] == {name: ["avx2", True] for name in library.NAMES}
    assert all(f"{name}: avx2, prebuilt in the package, checked" in found["doctor"] for name in library.NAMES)
    outside = scores(use("-m", "bertie", *PREDICT, str(model), *TEXTS))
    assert main([*PREDICT, str(model), *TEXTS]) == 0
    here = scores(capsys.readouterr().out)
    assert len(here) >= len(TEXTS) and outside == pytest.approx(here, abs=1e-6)


@pytest.mark.skipif(os.name != "posix", reason="the folders of an environment differ")
def test_a_package_without_kernels_says_why_and_predicts_the_same(
    sdist: Path, installed: Callable[..., Callable[..., str]], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bertie.cli import main

    use = installed(sdist, "off")
    found = json.loads(use("-c", SHOW))
    assert found["description"] == "plain torch (no C++ compiler)" and found["loaded"] == []
    assert any(f"it was built with {SWITCH}=off" in line for line in found["doctor"])
    outside = scores(use("-m", "bertie", *PREDICT, str(model), *TEXTS))
    assert main([*PREDICT, str(model), *TEXTS]) == 0
    assert outside == pytest.approx(scores(capsys.readouterr().out), abs=1e-4)


def hook() -> Any:
    """Import the build's own file."""
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("content", "platform"),
    [
        (b"\0libm.so.6\0libc.so.6\0GLIBC_2.2.5\0GLIBC_2.27\0", "manylinux_2_27_x86_64"),
        (b"\0libstdc++.so.6\0GLIBCXX_3.4\0CXXABI_1.3.9\0GCC_3.0\0", "manylinux_2_27_x86_64"),
        (b"\0libc.so.6\0GLIBC_2.28\0", "linux_x86_64"),
        (b"\0libstdc++.so.6\0GLIBCXX_3.4.30\0", "linux_x86_64"),
        (b"\0libc.musl-x86_64.so.1\0", "linux_x86_64"),
        (b"\0libc++.so.1\0libc.so.6\0", "linux_x86_64"),
    ],
)
def test_a_wheel_promises_no_older_system_than_its_symbols_allow(content: bytes, platform: str) -> None:
    assert hook().platform_of([b"\0libc.so.6\0GLIBC_2.2.5\0", content]) == platform


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({SWITCH: "off"}, "built with BERTIE_WHEEL_KERNELS=off"),
        ({"PATH": ""}, "there was no C++ compiler when it was built"),
        ({"CXX": "false"}, "can't build it"),
    ],
)
def test_a_wheel_without_kernels_is_pure_and_says_why(environment: dict[str, str], said: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    run(words, ROOT, {**os.environ, "CXX": "", **environment})
    (made,) = tmp_path.iterdir()
    assert made.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(made) as archive:
        assert said in json.loads(archive.read(f"{COMPILED}manifest.json"))["reason"]


def test_an_unknown_level_stops_the_build(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(
        words, cwd=ROOT, env={**os.environ, SWITCH: "avx9"}, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and "must be amx, avx512, avx2 or off; got 'avx9'" in done.stderr
    assert list(tmp_path.iterdir()) == []
