"""Run folders: made once, held by one process, resumed with the same settings and data only."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bertie import config
from bertie.errors import DataError, SettingsError
from bertie.training.runfolder import RunFolder


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    keep: int | None = 2


PARAMETERS: dict[str, Any] = {
    "corpus": Path("corpus"),
    "dev": Path("dev"),
    "from_": None,
    "steps": 10,
    "stages": (128, 512),
    "columns": {"text": "body"},
    "training": Inner(),
    "resume": False,
}


def take(path: Path, *, command: str = "pretrain", data: str = "abc", resume: bool = True, **changes: Any) -> RunFolder:
    return RunFolder.open(path, command, {**PARAMETERS, **changes}, resume=resume, data=data, settings_file=config)


def test_a_run_is_made_resumed_and_finished(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "run"
    with take(path, resume=False) as folder:
        assert (folder.finished, folder.values) == (False, {})
        assert folder.path == path
        assert folder.checkpoints.is_dir()
        assert {folder.metrics.parent, folder.model.parent, folder.report.parent} == {path}
        made = folder.config.read_bytes()
        assert config.read(folder.config)["training"] == {"rate": 0.5, "keep": 2}
    with take(path) as folder:
        assert not folder.finished
        folder.mark_finished({"steps": 10, "loss": 2.25})
        assert folder.finished
    with take(path, resume=True) as folder:
        assert folder.finished
        assert folder.values == {"steps": 10, "loss": 2.25}
        assert folder.config.read_bytes() == made


def test_resume_may_begin_a_run_and_config_does_not_say_so(tmp_path: Path) -> None:
    parameters = {**PARAMETERS, "resume": True}
    with RunFolder.open(
        tmp_path / "run", "pretrain", parameters, resume=True, data="abc", settings_file=config
    ) as folder:
        assert config.read(folder.config)["resume"] is False


@pytest.mark.parametrize("kind", ["run", "folder", "file"])
def test_an_occupied_place_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "run"
    if kind == "run":
        take(path, resume=False).__exit__(None, None, None)
    elif kind == "folder":
        (path / "photos").mkdir(parents=True)
    else:
        path.write_text("x")
    with pytest.raises(SettingsError, match=r"run exists already; resume it with --resume, or choose another --out"):
        take(path, resume=False)
    if kind == "folder":
        with pytest.raises(SettingsError, match=r"photos but no run\.json: it is no run"):
            take(path, resume=True)
        assert not (path / "config.toml").exists()


def test_an_empty_folder_will_do(tmp_path: Path) -> None:
    with take(tmp_path, resume=False) as folder:
        assert folder.config.exists()


def test_a_run_killed_while_it_was_made_can_be_resumed(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "run.json.partial-1234").write_text("{")
    with take(tmp_path) as folder:
        assert folder.config.exists()
    (tmp_path / "config.toml").unlink()  # killed between the two files
    with take(tmp_path) as folder:
        assert folder.config.exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 20}, "steps was 10 and is now 20.*or --accept-changes to resume with the new ones"),
        ({"from_": "bert"}, "from was not set and is now 'bert'"),
        ({"steps": None}, "steps was 10 and is now not set"),
        ({"stages": (128,)}, r"stages was \[128, 512\] and is now \[128\]"),
        ({"columns": {"text": "title"}}, "columns.text was 'body' and is now 'title'"),
        ({"training": Inner(rate=0.25)}, "training.rate was 0.5 and is now 0.25"),
        ({"dev": Path("other")}, "dev was '.*dev' and is now '.*other'"),
        ({"steps": 20, "training": Inner(1.0, 3)}, "steps was 10 and is now 20; training.rate was 0.5 and is now 1.0"),
    ],
)
def test_other_settings_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    take(tmp_path, resume=False).__exit__(None, None, None)
    with pytest.raises(SettingsError, match=message) as caught:
        take(tmp_path, **changes)
    assert "keep" not in str(caught.value)
    with take(tmp_path):  # the refused one let go
        pass


def test_what_changes_no_weight_is_free(tmp_path: Path) -> None:
    take(tmp_path, resume=False).__exit__(None, None, None)
    moved = {"corpus": Path("elsewhere"), "dev": Path("dev").resolve(), "training": replace(Inner(), keep=5)}
    with take(tmp_path, **moved, quiet=True):
        pass


def test_other_data_are_named(tmp_path: Path) -> None:
    take(tmp_path, resume=False).__exit__(None, None, None)
    with pytest.raises(DataError, match=r"corpus was '.*corpus' with fingerprint abc and is now '.*new' with xyz"):
        take(tmp_path, data="xyz", corpus=Path("new"))


def test_another_command_is_refused(tmp_path: Path) -> None:
    take(tmp_path, resume=False).__exit__(None, None, None)
    with pytest.raises(SettingsError, match="is a run of pretrain, not of finetune"):
        take(tmp_path, command="finetune")


def test_editing_the_copy_of_the_settings_changes_nothing(tmp_path: Path) -> None:
    take(tmp_path, resume=False).__exit__(None, None, None)
    text = (tmp_path / "config.toml").read_text()
    (tmp_path / "config.toml").write_text(text.replace("steps = 10", "steps = 20"))
    with pytest.raises(SettingsError, match="steps was 10 and is now 20"):
        take(tmp_path, steps=config.read(tmp_path)["steps"])


def test_another_torch_is_said_aloud(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take(tmp_path, resume=False).__exit__(None, None, None)
    record = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**record, "torch": "1.0", "sha256": None}))
    with take(tmp_path):
        pass
    assert "torch was 1.0 and is" in capsys.readouterr().err


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"command": 1, "data": "", "torch": "", "settings": {}}'])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    take(tmp_path, resume=False).__exit__(None, None, None)
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(DataError, match=r"run\.json is damaged .*choose another --out"):
        take(tmp_path)


HOLD = """
import sys, time
from bertie import config
from bertie.training.runfolder import RunFolder
from pathlib import Path
folder = RunFolder.open(Path(sys.argv[1]), "c", {}, resume=True, data="", settings_file=config)
print("held", flush=True)
time.sleep(60)
"""


def test_one_process_at_a_time_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(SettingsError, match=rf"another process \(pid {holder.pid}\) uses"):
            RunFolder.open(tmp_path, "c", {}, resume=True, data="", settings_file=config)
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with RunFolder.open(tmp_path, "c", {}, resume=True, data="", settings_file=config):
            assert (tmp_path / ".lock").read_text() == str(os.getpid())


def test_a_system_without_locks_is_said_aloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("fcntl", "msvcrt"):
        monkeypatch.setitem(sys.modules, name, None)
    with take(tmp_path):
        assert "without locks; make sure that no other process uses it" in capsys.readouterr().err


def test_imports_without_what_only_posix_has() -> None:
    code = """
import sys
sys.modules.update(dict.fromkeys(("fcntl", "resource", "pwd", "grp", "termios")))
import bertie.training.run, bertie.commands.pretrain, bertie.commands.finetune, bertie.commands.prepare_corpus
import bertie.inference.predictor, bertie.formats._unpickle, bertie.corpus.prepare, bertie.flags
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def edit(path: Path, old: str, new: str) -> None:
    text = (path / "config.toml").read_text()
    assert old in text
    (path / "config.toml").write_text(text.replace(old, new))


def test_an_edited_settings_file_is_named(tmp_path: Path) -> None:
    take(tmp_path, resume=False).__exit__(None, None, None)
    written = (tmp_path / "config.toml").read_text()
    edit(tmp_path, "steps = 10", "steps = 20  # longer")
    with pytest.raises(
        SettingsError, match=r"config\.toml was changed .* steps was 10 and is now 20.*--accept-changes"
    ):
        take(tmp_path)
    with take(tmp_path, accept_changes=True):  # with the settings that the run began with
        assert (tmp_path / "config.toml").read_text() == written
    (tmp_path / "config.toml").unlink()
    with take(tmp_path):
        assert (tmp_path / "config.toml").read_text() == written


def test_a_settings_file_that_is_no_toml_any_more(tmp_path: Path) -> None:
    take(tmp_path, resume=False).__exit__(None, None, None)
    edit(tmp_path, "steps = 10", "steps = ")
    with pytest.raises(SettingsError, match=r"not valid TOML.*remove it to resume with the settings"):
        take(tmp_path)
    with take(tmp_path, accept_changes=True):
        assert config.read(tmp_path)["steps"] == 10


@pytest.mark.parametrize(
    ("old", "new"), [("steps = 10", "steps  =  10 # ten"), ("keep = 2", "keep = 9"), ('"corpus"', '"elsewhere"')]
)
def test_edits_without_effect_are_free(tmp_path: Path, old: str, new: str) -> None:
    take(tmp_path, resume=False).__exit__(None, None, None)
    edit(tmp_path, old, new)
    with take(tmp_path):
        assert new in (tmp_path / "config.toml").read_text()


def test_accepted_settings_are_the_runs_from_then_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take(tmp_path, resume=False).__exit__(None, None, None)
    edit(tmp_path, "steps = 10", "steps = 20")
    with take(tmp_path, steps=20, accept_changes=True):
        assert "resumed with other settings than it began with: steps was 10 and is now 20" in capsys.readouterr().err
    assert config.read(tmp_path)["steps"] == 20 and "accept_changes" not in config.read(tmp_path)
    assert "accept_changes" not in (tmp_path / "run.json").read_text()
    with take(tmp_path, steps=20) as folder:
        folder.mark_finished({})
    assert json.loads((tmp_path / "run.json").read_text())["changes"] == ["steps was 10 and is now 20"]
    with pytest.raises(SettingsError, match="is finished: steps was 20 and is now 30"):
        take(tmp_path, steps=30, accept_changes=True)


def test_what_no_checkpoint_fits_can_not_be_accepted(tmp_path: Path) -> None:
    take(tmp_path, resume=False).__exit__(None, None, None)
    with pytest.raises(SettingsError, match=r"stages was .*Give the old ones, or choose another --out") as caught:
        take(tmp_path, stages=(128,), accept_changes=True)
    assert "--accept-changes" not in str(caught.value)


def test_a_run_may_go_on_on_another_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    take(tmp_path, resume=False, threads=2, device="cuda").__exit__(None, None, None)
    with take(tmp_path, threads=4, device="cpu"):
        said = capsys.readouterr().err
    assert "threads was 2 and is now 4; device was 'cuda' and is now 'cpu'; the run is resumed, but its weights" in said


def test_any_flipped_byte_of_the_record_is_found_or_has_no_effect(tmp_path: Path) -> None:
    with take(tmp_path, resume=False) as folder:
        folder.metrics.write_text('{"step": 1}\n')
        folder.mark_finished({"steps": 10, "loss": 2.25})
    whole = (tmp_path / "run.json").read_bytes()
    expected = {key: value for key, value in json.loads(whole).items() if key != "sha256"}
    for place in range(len(whole)):
        (tmp_path / "run.json").write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        try:
            with take(tmp_path) as folder:
                found = {key: value for key, value in folder._record.items() if key in expected}
        except (DataError, SettingsError):
            continue
        assert found == expected, place


def test_a_finished_run_keeps_its_checkpoints_only_when_asked_to(tmp_path: Path) -> None:
    with take(tmp_path / "a", training=replace(Inner(), keep=None)) as folder:
        (folder.checkpoints / "step-00000010").mkdir()
        folder.mark_finished({})
    assert not (tmp_path / "a" / "checkpoints").exists()
    with take(tmp_path / "a", training=replace(Inner(), keep=None)) as folder:
        assert folder.finished
    with take(tmp_path / "b", training=replace(Inner(), keep=1)) as folder:
        (folder.checkpoints / "step-00000010").mkdir()
        folder.mark_finished({})
    assert (tmp_path / "b" / "checkpoints" / "step-00000010").exists()
