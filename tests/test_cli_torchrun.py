"""Under torchrun, only commands that share their work run; the first process says why the others don't."""

from pathlib import Path

import pytest

from bertie import cli, registry


@pytest.fixture
def torchrun(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of the first of three processes."""
    for name, value in {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "3", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize("name", sorted({*registry.choices("commands")} - cli.SHARED - {"run"}))
def test_commands_that_each_process_would_repeat(
    name: str, torchrun: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [name.replace("_", "-"), "a", "--out", "b"]
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert "torchrun started 3 processes" in said and f"bertie {words[0]}" in said
    assert ("--runner slice" in said) == (name in ("predict", "prepare_corpus"))
    torchrun.setenv("RANK", "1")
    assert cli.main(words) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("torchrun")
def test_a_settings_file_counts_as_its_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.toml").write_text('command = "evaluate"\nmodel = "a"\nfile = "b"\n')
    (tmp_path / "b.toml").write_text('command = "finetune"\nmodel = "a"\ntrain = "missing.csv"\nout = "c"\n')
    assert cli.main(["run", str(tmp_path / "a.toml")]) == 2
    assert "bertie evaluate" in capsys.readouterr().err
    assert cli.main(["run", str(tmp_path / "b.toml")]) == 2
    assert "torchrun" not in capsys.readouterr().err


def test_other_launchers_are_no_concern(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert cli.main(["show", "missing"]) == 2
    assert "torchrun" not in capsys.readouterr().err
