"""docs/howto/cluster-jobs.md shows the files that `bertie launch` prints."""

import re
from pathlib import Path

import pytest

from bertie import cli

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "cluster-jobs.md").read_text(encoding="utf-8")


def test_the_files_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in re.findall(r"`(\w+\.toml)`:\n\n```toml\n(.*?)```", PAGE, re.DOTALL):
        (tmp_path / name).write_text(text, encoding="utf-8")
    commands = re.findall(r"`bertie (launch [^`>]+) > ", PAGE)
    assert len(commands) == 4
    shown = re.findall(r"```(?:bash|yaml)\n(.*?)```", PAGE, re.DOTALL)
    printed = []
    for command in commands:
        assert cli.main(command.split()) == 0
        printed.append(capsys.readouterr().out)
    assert shown == printed[:3]  # the fourth is described only
