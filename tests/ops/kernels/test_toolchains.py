"""The kernels by other compilers, at other levels of optimisation, under sanitizers, with tiles in plain C++.

What is wrong in a source may be right by the grace of one compiler; each of these looks at it in another way.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bertie import child
from bertie.nn import kernel_checks
from bertie.ops.kernels import build, levels, library, pool, trial

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(library.load("attention") is None, reason="no C++ compiler on this machine"),
]
IN_SOFTWARE = (*(next((level.flags for level in levels.available() if level.name == "avx2"), ())), "-DBERTIE_TILES=2")
LIBOMP = ("libomp.so.5", "libomp.so", "libiomp5.so")


def compiled(folder: Path, names: Sequence[str], flags: Sequence[str], compiler: str = "") -> dict[str, Path]:
    """Build libraries; skip where the compiler is missing or can't."""
    path = shutil.which(compiler) if compiler else None
    command = build.compiler() if not compiler else path and (path,)
    if not command:
        pytest.skip(f"{compiler} is not on this machine")
    targets = {name: folder / f"{name}.so" for name in names}
    with ThreadPoolExecutor(2) as workers:
        found = workers.map(lambda name: build.compile_source(name, command, flags, targets[name]), names)
    assert list(found) == [None] * len(names)
    return targets


def troubles(libraries: dict[str, Path]) -> list[str]:
    """Try libraries out in this process; layers call the attention that is proven where there is no other."""
    opened = {name: pool.opened(str(path)) for name, path in libraries.items()}
    attention = library.load("attention")
    assert attention is not None
    with library.lent({"attention": attention, **opened}):
        checks = [check for name in opened for check in kernel_checks.CHECKS[name]()]
        return [trouble for check in checks if (trouble := kernel_checks.trouble_of(check)) is not None]


@pytest.mark.parametrize(
    ("compiler", "optimised", "names"),
    [
        ("g++", "-O1", ("attention", "layer")),
        ("g++", "-O2", ("layer",)),
        ("clang++", "-O1", library.NAMES),
        ("clang++", "-O3", ("layer",)),
    ],
)
def test_every_compiler_and_optimisation(compiler: str, optimised: str, names: tuple[str, ...], tmp_path: Path) -> None:
    flags = (*levels.available()[0].flags, optimised)
    assert troubles(compiled(tmp_path, names, flags, compiler)) == []


def test_tiles_in_software_are_what_the_unit_does(tmp_path: Path) -> None:
    libraries = compiled(tmp_path, ("layer",), (*IN_SOFTWARE, "-O1"))
    assert all(getattr(pool.opened(str(libraries["layer"])), f"layer_serves_{name}")() for name in ("bfloat", "byte"))
    assert troubles(libraries) == []


def sanitized(names: Sequence[str], folder: Path) -> dict[str, str | None]:
    """Try libraries out under the sanitizers of addresses and of undefined behaviour."""
    command = build.compiler()
    assert command is not None
    found = child.run([*command, "-print-file-name=libasan.so"], seconds=60).output.strip()
    if not Path(found).is_absolute():
        pytest.skip("this compiler has no sanitizer to load beforehand")
    wanted = ("-O1", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
    libraries = compiled(folder, names, (*IN_SOFTWARE, *wanted))
    return trial.judge(libraries, {"LD_PRELOAD": found, "ASAN_OPTIONS": "detect_leaks=0"})


def test_sanitizers_find_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 200.0)  # what is watched is slow
    assert sanitized(library.NAMES, tmp_path) == dict.fromkeys(library.NAMES)


def test_sanitizers_would_find_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = tmp_path / "sources"
    shutil.copytree(build.SOURCES, sources, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    source = sources / "gelu" / "gelu.cpp"
    text = source.read_text()
    body = "    forward(count, threads, input, output);"
    assert body in text
    source.write_text(text.replace(body, body + "\n    output[count + 8] = output[count];", 1))
    monkeypatch.setattr(build, "SOURCES", sources)
    assert "ended the process in gelu of" in str(sanitized(["gelu"], tmp_path)["gelu"])


def test_another_openmp_runtime_serves_as_well(tmp_path: Path) -> None:
    """Some builds of torch bring LLVM's libomp: its functions are found among what torch needs, as GCC's are."""
    code = (
        "import ctypes, sys, torch; ctypes.CDLL(sys.argv[1]); torch._C.__file__ = sys.argv[1]\n"
        "from bertie.nn import kernel_checks; kernel_checks.main(sys.argv[2:])\n"
        "assert 'libomp' in open('/proc/self/maps').read()"
    )
    places = [Path("/usr/lib"), Path("/lib"), Path(sys.prefix) / "lib"]
    found = [path for place in places for name in LIBOMP for path in (place.glob(f"**/{name}"))]
    if not found:
        pytest.skip("there is no libomp on this machine")
    libraries = compiled(tmp_path, ("attention", "normalise"), (*levels.available()[-1].flags, "-O1"))
    words = [f"{name}={path}" for name, path in libraries.items()]
    environment = {**os.environ, levels.SWITCH: levels.OFF, "OMP_NUM_THREADS": "3"}
    command = [sys.executable, "-c", code, str(found[0]), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "passed attention" in done.stdout and "passed normalise" in done.stdout
