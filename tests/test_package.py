"""The package as Python users see it: every command a function, ``load``, and nothing imported before its time."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
import types
from importlib import metadata
from pathlib import Path

import pytest

import bertie
from bertie import registry
from bertie.commands._packages import MODULES
from bertie.errors import SettingsError
from bertie.version import VERSION


def test_every_command_is_a_function_with_its_help() -> None:
    for name in registry.choices("commands"):
        function = getattr(bertie, name)
        assert callable(function)
        assert function.__name__ == name
        assert function.__doc__
        assert name in dir(bertie)


def test_commands_check_what_they_are_given(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    assert bertie.show(str(tmp_path)).values["vocab_size"] == 2
    with pytest.raises(SettingsError, match="unknown key 'pth'; did you mean 'path'"):
        bertie.show(pth="x")


def test_what_is_not_there_is_an_attribute_error() -> None:
    for name in ("nonsense", "_private", "command"):
        with pytest.raises(AttributeError, match=f"module 'bertie' has no attribute '{name}'"):
            getattr(bertie, name)


def test_load_hands_over_to_the_predictor(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    predictor = types.SimpleNamespace(load=lambda *words, **settings: asked.append((words, settings)))
    monkeypatch.setitem(sys.modules, "bertie.inference.predictor", predictor)
    bertie.load("out/model", task="features", device="cpu")
    assert asked == [(("out/model",), {"task": "features", "device": "cpu"})]


def test_submodules_import_by_name() -> None:
    assert importlib.import_module("bertie.registry") is registry
    script = "from bertie import registry, cli; print(registry.__name__, cli.__name__)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "bertie.registry bertie.cli\n"


def test_one_version() -> None:
    assert bertie.__version__ == VERSION
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert "version" in project["dynamic"]
    citation = (Path(__file__).parents[1] / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {VERSION}\n" in citation
    try:
        assert metadata.version("bertie") == bertie.__version__
    except metadata.PackageNotFoundError:
        pytest.skip("bertie is not installed here")


def test_the_tested_set_is_exact() -> None:
    lines = (Path(__file__).parents[1] / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(line.count("==") == 1 and "+" not in line for line in pins)
    assert "torch==2.13.0" in pins


def imports(root: Path) -> set[str]:
    """Return the packages that files of Python import, also by `import_module("name")`."""
    found = set()
    for path in root.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add((node.module or "").partition(".")[0])
            elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                function = getattr(node.func, "id", getattr(node.func, "attr", ""))
                found |= {str(node.args[0].value).partition(".")[0]} if function == "import_module" else set()
    return found


def test_every_extra_is_used() -> None:
    root = Path(__file__).parents[1]
    extras = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    apart = {"dev", "docs"}  # for work on bertie itself
    packages = [each for name, members in extras.items() if name not in apart for each in members]
    wanted = [re.split("[^a-z0-9-]", each)[0] for each in packages]
    used = imports(root / "bertie")
    if "torch.utils.tensorboard" in (root / "bertie" / "trackers" / "tensorboard.py").read_text(encoding="utf-8"):
        used.add("tensorboard")  # torch's writer imports it
    named = (root / "bertie" / "storage" / "store.py").read_text(encoding="utf-8")
    used |= {name for name in ("s3fs", "gcsfs") if f'"{name}"' in named}  # fsspec imports them
    assert wanted
    assert [name for name in wanted if MODULES.get(name, name.replace("-", "_")) not in used] == []
