"""The command line over small fake commands: flags, files, help, and what goes to which stream."""

import io
import json
import os
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bertie
from bertie import cli, config, progress, registry
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to train."""

    save_every: int = 100
    """Steps between checkpoints."""

    rate: float = 1e-4
    """Peak learning rate."""

    kind: Literal["adamw", "paper"] = "adamw"
    """The update."""

    def __post_init__(self) -> None:
        if self.save_every < 1:
            raise SettingsError(f"save_every must be positive, not {self.save_every}")


def teach(
    model: Positional[Path],
    texts: Positional[tuple[str, ...]] = (),
    *,
    out: Path,
    from_: str | None = None,
    steps: int | None = None,
    resume: bool = False,
    columns: dict[str, str] | None = None,
    weights: dict[str, float] | None = None,
    accents: bool | None = None,
    mode: Literal["split", "line"] | None = None,
    training: Training = Training(rate=3e-4),
) -> Report:
    """Teach a model something.

    At some length, over
    two lines.

    Args:
        model: the model, which this text describes
            over two lines.
        texts: what to teach: words.
        out: the run folder.
        from_: where to go on from.
        steps: how many.
        resume: go on.
        columns: what they hold.
        weights: of words.
        accents: drop them.
        mode: how.
        training: the training itself.

    Returns:
        What was learnt.
    """
    progress.note("teaching")
    values: dict[str, Any] = config.plain(dict(locals()))
    return Report(title="taught", values=values, next_command="bertie predict out/model")


def gather(files: Positional[tuple[Path, ...]]) -> Report:
    """Gather at least one file."""
    return Report(title="gathered", text=f"{len(files)} files: 模型 [MASK]")


@pytest.fixture(autouse=True)
def commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the fakes in the place of the commands."""
    fakes = {"teach": teach, "gather_up": gather}
    gather.__name__ = "gather_up"
    real = registry.load

    def load(folder: str, name: str) -> types.ModuleType:
        return real(folder, name) if name not in fakes else types.SimpleNamespace(**fakes)  # type: ignore[return-value]

    monkeypatch.setattr(registry, "choices", lambda folder: sorted([*fakes, "run"]))
    monkeypatch.setattr(registry, "summary", lambda folder, name: f"summary of {name}")
    monkeypatch.setattr(registry, "load", load)
    monkeypatch.setattr(progress, "_quiet", False)


def taught(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Run a command with --json and return what it printed."""
    code = cli.main([*words, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    values: dict[str, Any] = json.loads(captured.out)
    return values


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run a command that must end with code 2 and one line on stderr; return the line."""
    assert cli.main(list(words)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    return captured.err.removeprefix("error: ").strip()


def test_flags_and_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    values = taught(
        capsys,
        "teach",
        "m",
        "a",
        "b",
        "--out=o",
        "--from",
        "x",
        "--training.save-every",
        "7",
        "--training.rate",
        "1e-5",
    )
    assert values == {
        "model": "m",
        "texts": ["a", "b"],
        "out": "o",
        "from_": "x",
        "steps": None,
        "resume": False,
        "columns": None,
        "weights": None,
        "accents": None,
        "mode": None,
        "training": {"save_every": 7, "rate": 1e-5, "kind": "adamw"},
    }


def test_words_after_two_dashes_are_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["teach", "m", "--out", "o", "--json", "--", "--steps", "-x"])
    assert code == 0
    assert json.loads(capsys.readouterr().out)["texts"] == ["--steps", "-x"]


def test_dictionaries_and_what_may_be_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.toml"
    file.write_text('mode = "line"\nsteps = 3\naccents = true\n[columns]\nlabel = "tag"\n[weights]\na = 1\n')
    words = ["teach", "m", "--out", "o", "--config", str(file)]
    values = taught(capsys, *words)
    assert (values["columns"], values["weights"]) == ({"label": "tag"}, {"a": 1.0})
    assert (values["mode"], values["steps"], values["accents"]) == ("line", 3, True)
    values = taught(capsys, *words, "--columns", "text=body,label=a=b", "--weights", "a=0.5", "--mode", "None")
    assert (values["columns"], values["weights"], values["mode"]) == (
        {"text": "body", "label": "a=b"},
        {"a": 0.5},
        None,
    )
    values = taught(capsys, *words, "--columns", 'text=["a, b", "c"],label=a|b')
    assert values["columns"] == {"text": '["a, b", "c"]', "label": "a|b"}  # a list's own commas part no pairs
    values = taught(capsys, *words, "--steps", "None", "--accents", "False", "--columns", "None")
    assert (values["columns"], values["steps"], values["accents"]) == (None, None, False)


def test_underscores_and_repeats(capsys: pytest.CaptureFixture[str]) -> None:
    values = taught(capsys, "teach", "m", "--out", "o", "--training.save_every", "3", "--steps", "1", "--steps", "2")
    assert (values["training"]["save_every"], values["steps"]) == (3, 2)


def test_defaults_then_file_then_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.toml"
    file.write_text('model = "m"\nout = "o"\nresume = true\nfrom = "y"\n[training]\nsave_every = 7\nkind = "paper"\n')
    values = taught(capsys, "teach", "--config", str(file), "--training.kind", "adamw", "--no-resume")
    assert values["training"] == {"save_every": 7, "rate": 3e-4, "kind": "adamw"}
    assert (values["model"], values["from_"], values["resume"]) == ("m", "y", False)
    assert taught(capsys, "teach", f"--config={file}", "n")["model"] == "n"
    assert taught(capsys, "teach", f"--config={file}", "--model", "k")["model"] == "k", "as all in a file, by its name"
    assert taught(capsys, "teach", "--model=k", "--config", str(file))["model"] == "k"
    assert refused(capsys, "teach", "--config", str(file), "--model") == "--model needs a value"


def test_run_repeats_a_written_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = taught(capsys, "teach", "m", "a", "--out", "o", "--from", "x", "--training.rate", "0.5")
    config.write(tmp_path / "config.toml", command="teach", parameters=first)
    assert taught(capsys, "run", str(tmp_path / "config.toml")) == first
    assert taught(capsys, "run", str(tmp_path), "--out", "p") == {**first, "out": "p"}
    report = bertie.run(tmp_path, out="p", from_="z", training={"save_every": 9})
    training = {**first["training"], "save_every": 9}
    assert report.values == {**first, "out": "p", "from_": "z", "training": training}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("teach", "missing: MODEL, --out PATH; see bertie teach --help"),
        ("teach m", "missing: --out PATH; see bertie teach --help"),
        ("teach m --out", "Missing value for argument '--out'. Expected 1 values; see bertie teach --help"),
        ("teach m --out o --stps 3", "unknown flag --stps; did you mean --steps?"),
        ("teach m --out o --trainng.rate=3", "unknown flag --trainng.rate; did you mean --training.rate?"),
        ("teach m --out o --zzzzz", "unknown flag --zzzzz; see bertie teach --help"),
        ("teach --model m --out o", "MODEL is given without --model; see bertie teach --help"),
        ("teach m --out o --steps abc", "--steps: 'abc' is not a whole number; see bertie teach --help"),
        ("teach m --out o --steps 1.5", "--steps: '1.5' is not a whole number; see bertie teach --help"),
        ("teach m --out o --training.rate x", "--training.rate: 'x' is not a number; see bertie teach --help"),
        ("teach m --out o --columns text", "--columns: 'text' is not of the form KEY=VALUE; see bertie teach --help"),
        ("teach m --out o --columns a=b,=c", "--columns: '=' is not of the form KEY=VALUE; see bertie teach --help"),
        ("teach m --out o --weights a=b", "--weights: 'b' is not a number; see bertie teach --help"),
        ("teach m --out o --mode cut", "invalid choice 'cut' for argument '--mode'. Expected one of ('split', 'line'"),
        ("teach m --out o --training.kind sgd", "invalid choice 'sgd' for argument '--training.kind'. Expected one of"),
        ("teach m --out o --training.rate nan", "training.rate should be a finite number, not nan"),
        ("teach m --out o --training.save-every 0", "save_every must be positive, not 0"),
        ("teach m --out o --config nowhere.toml", "nowhere.toml: no such file"),
        ("gather-up", "missing: FILES; see bertie gather-up --help"),
        ("taech", "unknown command 'taech'; did you mean 'teach'? (choices: gather-up, run, teach)"),
        ("--teach", "unknown flag --teach before a command; usage: bertie COMMAND [--FLAGS], see bertie --help"),
        ("run nowhere.toml", "nowhere.toml: no such file"),
    ],
)
def test_what_the_user_must_change(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(capsys, *words.split()).startswith(message)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_terminal_gets_one_line_too(
    encoding: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    name = "a" * 100
    assert cli.main(["teach", "m", "--out", "o", "--steps", name]) == 2
    assert capsys.readouterr().err == f"error: --steps: '{name}' is not a whole number; see bertie teach --help\n"
    assert os.environ["COLUMNS"] == "40"


def test_files_of_another_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "c.toml"
    file.write_text('command = "gather_up"\nfiles = ["a"]\n')
    assert "holds settings of 'gather_up', not of 'teach'" in refused(capsys, "teach", "--config", str(file))
    file.write_text('command = "teech"\n')
    assert "unknown command 'teech'; did you mean 'teach'?" in refused(capsys, "run", str(file))
    file.write_text("model = 3\n")
    assert "names no command" in refused(capsys, "run", str(file))
    assert f"{file}: model should be a valid string, not 3" in refused(capsys, "teach", "--config", str(file))


def test_streams(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["teach", "m", "--out", "o"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("taught\n  model ")
    assert captured.err == "teaching\nnext: bertie predict out/model\n"
    cli.main(["teach", "m", "--out", "o", "--quiet"])
    assert capsys.readouterr().err == ""
    cli.main(["teach", "m", "--out", "o", "--json"])
    assert capsys.readouterr().err == "teaching\n"


def test_overview_lists_commands_in_the_order_of_a_life(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    text = capsys.readouterr().out
    lines = [line.split()[0] for line in text.splitlines() if line.startswith("  ")]
    assert lines == ["run", "gather-up", "teach"]
    assert "  gather-up  summary of gather_up\n" in text


def test_help_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["teach", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for part in (
        "Teach a model something. At some length, over two lines.",
        "the model, which this text describes over two lines.",
        "--from STR where to go on from.",
        "--training.save-every INT Steps between checkpoints. (default: 100)",
        "--quiet",
        "Settings file; flags win over it.",
    ):
        assert part in text
    assert "Args" not in text
    assert "What was learnt" not in text


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12), max_size=5))
def test_any_words_end_with_a_code_for_the_user(words: list[str]) -> None:
    assert cli.main(["teach", *words, "--quiet"]) in (0, 2)
