"""The registry: names from files without importing them, wrong names answered with the nearest."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie import registry
from bertie.errors import SettingsError


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A registry folder "tasks" with a contract, two choices, and a file that must never be imported."""
    room = tmp_path / "tasks"
    room.mkdir()
    (room / "task.py").write_text('"""The contract."""')
    (room / "__init__.py").write_text('"""The room."""')
    (room / "tagging.py").write_text('"""Label every word.\n\nMore."""\nraise RuntimeError("imported")')
    (room / "classification.py").write_text("raise RuntimeError('imported')")
    monkeypatch.setattr(registry, "PACKAGE", tmp_path)
    return "tasks"


def test_choices_leave_out_contract_and_package(folder: str) -> None:
    assert registry.choices(folder) == ["classification", "tagging"]


def test_summary_is_the_first_docstring_line(folder: str) -> None:
    assert registry.summary(folder, "tagging") == "Label every word"
    assert registry.summary(folder, "classification") == ""


def test_choices_of_a_room_that_is_not_there() -> None:
    assert registry.choices("castles") == []


def test_load_takes_dashes_and_underscores() -> None:
    assert registry.load("commands", "run").__name__ == "bertie.commands.run"
    with pytest.raises(SettingsError, match=r"unknown command 'rum'; did you mean 'run'\?"):
        registry.load("commands", "rum")


def test_the_contract_is_no_choice() -> None:
    with pytest.raises(SettingsError, match="unknown command 'command'"):
        registry.load("commands", "command")


def test_foreign_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere_tasks.py").write_text("class Ranking: pass\n")
    (tmp_path / "elsewhere_broken.py").write_text("import package_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.load_foreign("elsewhere_tasks:Ranking").__name__ == "Ranking"
    with pytest.raises(SettingsError, match="has no 'Rankin'; did you mean 'Ranking'"):
        registry.load_foreign("elsewhere_tasks:Rankin")
    with pytest.raises(SettingsError, match="no module named 'package_that_is_not_there'"):
        registry.load_foreign("elsewhere_broken:Ranking")
    with pytest.raises(SettingsError, match="no module named 'nowhere_at_all'"):
        registry.load_foreign("nowhere_at_all:Ranking")
    for wrong in ("elsewhere_tasks", ":Ranking", "elsewhere_tasks:"):
        with pytest.raises(SettingsError, match=r"package\.module:Class"):
            registry.load_foreign(wrong)
    sys.modules.pop("elsewhere_tasks")


def test_did_you_mean_lists_when_nothing_is_near() -> None:
    assert registry.did_you_mean("zzz", ["bert", "albert"]) == "choices: albert, bert"
    assert registry.did_you_mean("BERT", ["bert", "albert"]).startswith("did you mean 'bert'?")
    assert registry.did_you_mean("x", []) == "there are no choices"


@given(st.text(max_size=30))
def test_any_unknown_name_is_a_settings_error(name: str) -> None:
    if name.replace("-", "_") in registry.choices("commands"):
        return
    with pytest.raises(SettingsError):
        registry.load("commands", name)
