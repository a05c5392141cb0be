"""The import law: the contracts of pyproject.toml hold, and the rooms that promise it start without torch."""

import subprocess
import sys
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[2]
TORCH_FREE_ROOMS = ("tokenizer", "files", "tables", "corpus", "runners", "schedules")
# --help and --print-completion load commands where torch may be missing.
TORCH_FREE_COMMANDS = sorted(path.stem for path in (ROOT / "bertie" / "commands").glob("[!_]*.py"))
GROUND = (
    "bertie",
    "bertie.errors",
    "bertie.registry",
    "bertie.config",
    "bertie.progress",
    "bertie.flags",
    "bertie.cli",
)


def loaded_after(code: str) -> set[str]:
    """Run code in a fresh interpreter and return the names of the modules it ended up with."""
    script = f"{code}\nimport sys\nsys.stderr.write('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines())


def test_floors_hold() -> None:
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache", "--no-logo"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("room", TORCH_FREE_ROOMS)
def test_rooms_import_without_torch(room: str) -> None:
    names = [f"bertie.{room}"] + [
        f"bertie.{room}.{path.stem}" for path in sorted((ROOT / "bertie" / room).glob("*.py"))
    ]
    names = [name.removesuffix(".__init__") for name in names]
    assert "torch" not in loaded_after(f"import {', '.join(names)}")


def test_ground_and_early_commands_import_without_torch() -> None:
    commands = [name for name in TORCH_FREE_COMMANDS if (ROOT / "bertie" / "commands" / f"{name}.py").exists()]
    names = [*GROUND, *(f"bertie.commands.{name}" for name in commands)]
    assert "torch" not in loaded_after(f"import {', '.join(names)}")


@pytest.mark.parametrize("words", [["--help"], [], ["--version"], ["pretrian"]])
def test_overview_loads_nothing_heavy(words: list[str]) -> None:
    loaded = loaded_after(f"from bertie.cli import main\nmain({words!r})")
    assert "bertie.cli" in loaded
    assert not loaded & {"torch", "numpy", "tyro", "pydantic", "rich", "tokenizers", "transformers"}
    assert not [name for name in loaded if name.startswith("bertie.commands")]


def test_import_bertie_loads_nothing_else() -> None:
    loaded = loaded_after("import bertie")
    assert {name for name in loaded if name.startswith("bertie")} == {"bertie", "bertie.version"}
    assert not loaded & {"torch", "numpy", "tyro", "pydantic", "rich"}


@pytest.mark.parametrize("name", [name for name in TORCH_FREE_COMMANDS if name != "command"])
def test_help_of_a_torch_free_command_loads_no_torch(name: str) -> None:
    loaded = loaded_after(f"from bertie.cli import main\nmain([{name!r}, '--help'])")
    assert "tyro" in loaded
    assert "torch" not in loaded


def test_no_file_imports_itself_by_a_circle() -> None:
    graph = grimp.build_graph("bertie", exclude_type_checking_imports=True, cache_dir=None)
    imports = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    left = dict(imports)
    while free := [module for module, found in left.items() if not found & left.keys()]:
        for module in free:
            del left[module]
    assert not left, "files that import each other, or that import such files"
