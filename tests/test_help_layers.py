"""The help in two layers: short with the basic flags and an example, complete with --help-all; both parse alike."""

import dataclasses
import shlex
from typing import Annotated, Literal

import pytest

from bertie import basic, config, flags, help_texts, registry
from bertie.basic import Basic
from bertie.cli import main
from bertie.config import Positional

LAYERED = [
    name
    for name in registry.choices("commands")
    if help_texts.is_layered(getattr(registry.load("commands", name), name))
]


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(list(words)) == 0
    return capsys.readouterr().out


def test_the_long_commands_have_layers() -> None:
    assert {"finetune", "pretrain"} <= set(LAYERED)


@pytest.mark.parametrize("name", LAYERED)
def test_short_and_complete(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = name.replace("_", "-")
    short, complete = shown(capsys, command, "--help"), shown(capsys, command, "--help-all")
    assert shown(capsys, command, "-h") == short
    assert len(short.splitlines()) <= 72 < len(complete.splitlines())
    assert f"bertie {command} --help-all shows all" in short and "shows all" not in complete
    assert "--training.log-every" in complete and "--training.log-every" not in short
    assert "--model.size" in short and "--model.dropout" not in short
    for text in (short, complete):
        assert "example:\n  bertie " in text and "--resume" in text and "--quiet" in text
        assert "(default: None)" not in text.split("model options")[0]


@pytest.mark.parametrize("name", LAYERED)
def test_the_example_is_accepted(name: str) -> None:
    lines = help_texts.example(getattr(registry.load("commands", name), name)).splitlines()
    assert len(lines) >= 1
    for line in lines:
        program, command, *words = shlex.split(line)
        assert program == "bertie"
        values, _ = flags.parse(getattr(registry.load("commands", command), command), words)
        assert values


def test_a_command_without_marks_shows_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, "compare", "--help") == shown(capsys, "compare", "--help-all")


def test_the_word_after_the_separator_is_no_flag() -> None:
    def teach(text: Positional[str], *, rate: Basic[float] = 0.5, other: int = 1) -> None:
        """Teach.

        Args:
            text: the text.
            rate: a rate.
            other: another one.
        """

    values, _ = flags.parse(teach, ["--other", "2", "--", "--help-all"])
    assert values == {"text": "--help-all", "rate": 0.5, "other": 2}
    with pytest.raises(flags.HelpPrinted):
        flags.parse(teach, ["--help"])


def test_marks_leave_the_type_as_it_is() -> None:
    @dataclasses.dataclass
    class Group:
        size: Basic[int | None] = None
        shape: Literal["a", "b"] = "a"

    def run(path: Basic[Annotated[str, "kept"]], *, on: Basic[bool] = False, group: Group | None = None) -> None: ...

    assert basic.marked(run) == {"path", "on"} and basic.marked(Group) == {"size"}
    assert basic.hints(run)["on"] is bool and basic.hints(run)["path"] == Annotated[str, "kept"]
    assert config.signature(run)["on"].annotation is bool
    assert basic.hints(Group)["size"] == int | None
