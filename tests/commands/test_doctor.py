"""`bertie doctor`: what it says of packages, limits and kernels, and when it calls something broken."""

import json
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie import child, cli
from bertie.commands import _equipment, _packages
from bertie.commands._diagnosis import Line, listing, verdict
from bertie.commands._packages import Requirement, failures, requirements
from bertie.ops.kernels import levels, library
from bertie.ops.kernels.cache import Verdict
from bertie.ops.kernels.search import Choice
from bertie.reports.machine import cpu_limit, memory_limit_bytes

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture
def as_at_first() -> Iterator[None]:
    """Let the kernels be chosen anew, before and after."""
    library.forget()
    yield
    library.forget()


def test_the_command_and_its_json(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_packages, "failures", lambda modules: {})
    report = bertie.doctor()
    assert {line.subject for line in report.lines} >= {"versions", "processor", "kernels", "GPU", "backends", "disk"}
    assert report.exit_code == (3 if any(line.state == "problem" for line in report.lines) else 0)
    assert all(line.remedy for line in report.lines if line.state == "problem")
    assert cli.main(["doctor", "--json"]) == report.exit_code
    assert json.loads(capsys.readouterr().out)["lines"][0]["what"].startswith(f"bertie {bertie.__version__}")


def test_a_wrong_switch_is_a_problem(monkeypatch: pytest.MonkeyPatch, as_at_first: None) -> None:
    monkeypatch.setattr(_packages, "failures", lambda modules: {})
    monkeypatch.setenv(levels.SWITCH, "avx9")
    report = bertie.doctor()
    assert report.exit_code == 3
    assert any("avx9" in line.what and line.state == "problem" for line in report.lines)
    assert "problem" in report.title


def test_kernels_off_are_a_note(monkeypatch: pytest.MonkeyPatch, as_at_first: None) -> None:
    monkeypatch.setenv(levels.SWITCH, "off")
    first = next(_equipment._kernels())
    assert (first.state, first.remedy[:20]) == ("note", "unset BERTIE_KERNELS")


def test_failed_and_lacking_kernels() -> None:
    choices = {
        "gelu": Choice("avx2", False, (("prebuilt gelu for avx2", Verdict("failed", "differs from torch")),)),
        "layer": Choice("avx512", False, (("layer for amx", Verdict("lacking", "g++ can't build it")),)),
        "attention": Choice("torch", False, (("prebuilt attention for avx2", Verdict("unusable", "is damaged")),)),
        "normalise": Choice("avx2", True, (), ("avx512",)),
    }
    failed, gelu, lacking, layer, damaged, missing, normalise = _equipment._libraries(choices, Path("cache"))
    assert (failed.state, failed.what) == ("problem", "prebuilt gelu for avx2 differs from torch; avx2 is used instead")
    assert failed.remedy.startswith("delete cache")
    assert (gelu.state, gelu.what) == ("ok", "gelu: avx2, built here, checked")
    assert (lacking.state, layer.state) == ("note", "ok")
    assert (damaged.state, damaged.remedy) == ("problem", "install bertie again")
    assert missing.state == "note" and "no library for avx512, and no compiler" in missing.what
    assert (normalise.state, normalise.what) == ("ok", "normalise: avx2, prebuilt in the package, checked")


def test_every_extra_has_a_purpose_and_every_package_its_module() -> None:
    extras = PROJECT["optional-dependencies"]
    assert set(_packages.PURPOSES) == set(extras) - {"dev", "docs"}
    texts = [*PROJECT["dependencies"], *(text for extra in _packages.PURPOSES for text in extras[extra])]
    wanted = requirements(texts)
    assert len(wanted) == len(texts)
    assert [one for one in wanted if _packages._version(one.package) and not find_spec(one.module)] == []


def test_requirements_and_their_bounds() -> None:
    texts = [
        "torch<3,>=2.11",
        "pyarrow>=21; extra == 'data'",
        "ruff>=0.13; extra == 'dev'",
        "bertie[zh]; extra == 'dev'",
    ]
    torch, arrow = requirements(texts)
    assert (torch.extra, arrow.extra, str(torch)) == ("", "data", "torch>=2.11,<3")
    fitting = {version: torch.fits(version) for version in ("2.11", "2.11.0+cpu", "2.9.1", "3.0.0", "2.100")}
    assert fitting == {"2.11": True, "2.11.0+cpu": True, "2.9.1": False, "3.0.0": False, "2.100": True}


@pytest.mark.parametrize(
    ("version", "broken", "states", "words"),
    [
        ("21.1", {}, ["ok"], "pyarrow 21.1"),
        ("20", {}, ["note"], "pyarrow 20 is not pyarrow>=21"),
        (None, {}, ["note"], "pyarrow must be installed"),
        ("21.1", {"pyarrow": "ImportError libx.so"}, ["problem"], "doesn't start: ImportError libx.so"),
    ],
)
def test_a_package_of_an_extra(
    monkeypatch: pytest.MonkeyPatch, version: str | None, broken: dict[str, str], states: list[str], words: str
) -> None:
    monkeypatch.setattr(_packages, "_version", lambda package: version)
    lines = list(_packages._extra("data", [Requirement("pyarrow", ((">=", "21"),), "data")], broken))
    assert [line.state for line in lines] == states
    assert words in lines[0].what
    needed = list(_packages._needed([Requirement("pyarrow", ((">=", "21"),))], broken))
    assert [line.state for line in needed] == ["ok" if states == ["ok"] else "problem"]


def test_modules_that_fail_crash_or_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quite_bad.py").write_text("raise ImportError('no libx')")
    (tmp_path / "quite_dead.py").write_text("import os\nos.kill(os.getpid(), 11)")
    (tmp_path / "quite_good.py").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    found = failures(["quite_bad", "quite_dead", "quite_good"])
    assert found == {"quite_bad": "ImportError no libx", "quite_dead": "it ends Python (code -11)"}

    def hang(*_: Any, **__: Any) -> child.Done:
        return child.Done(None, "begin quite_good\n", "")

    assert failures(["quite_good"], hang) == {"quite_good": "no answer in 120 seconds"}
    assert "ended with 1" in failures(["quite_good"], lambda *_, **__: child.Done(1, "", ""))["quite_good"]


def test_limits_of_control_groups(tmp_path: Path) -> None:
    groups, root = tmp_path / "groups", tmp_path / "root"
    inner = root / "pod" / "box"
    inner.mkdir(parents=True)
    groups.write_text("0::/pod/box\n")
    assert memory_limit_bytes(groups, root) is None and cpu_limit(groups, root) is None
    (inner / "memory.max").write_text("max\n")
    (root / "pod" / "memory.max").write_text("1000000\n")
    (inner / "cpu.max").write_text("150000 100000\n")
    (root / "pod" / "cpu.max").write_text("max 100000\n")
    assert (memory_limit_bytes(groups, root), cpu_limit(groups, root)) == (1_000_000, 1.5)

    old = root / "memory" / "box"
    old.mkdir(parents=True)
    (old / "memory.limit_in_bytes").write_text("2000000\n")
    (root / "cpu").mkdir()
    (root / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (root / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    groups.write_text("4:memory:/box\n1:cpu,cpuacct:/box/../..\n")
    assert (memory_limit_bytes(groups, root), cpu_limit(groups, root)) == (2_000_000, None)
    assert memory_limit_bytes(tmp_path / "none", root) is None


def test_the_listing() -> None:
    lines = [Line("disk", "note", "a " * 40, "free some"), Line("GPU", "ok", "none")]
    text = listing(lines, 60)
    assert text.splitlines()[0] == "disk"
    assert max(map(len, text.splitlines())) <= 60
    assert "           -> free some\n\nGPU\n  ok       none" in text
    assert verdict(lines) == "1 note; nothing is broken"
    assert verdict([Line("GPU", "problem", "x", "y"), *lines]) == "1 problem, 1 note"
    assert verdict(lines[1:]) == "nothing to do; nothing is broken"
