"""Outputs: whole or refused, the mark last, old files removed, a failed upload kept."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from bertie.errors import BertieError, DataError, ResourceError, SettingsError
from bertie.files.atomic import atomic_folder, write_bytes
from bertie.storage import cache, mark, outputs
from bertie.storage.inputs import fetch
from bertie.storage.mark import MARK
from bertie.storage.outputs import Output, failed, pushed_meanwhile

ADDRESS = "memory://b/corpus"


def opened(**given: Any) -> Output:
    output = Output(ADDRESS)
    output.open(folder=True, **given)
    return output


def fill(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_bytes(folder / name.replace("__", "/").replace("_", "."), content.encode())


def names(remote: Any) -> list[str]:
    return sorted(name.removeprefix("/b/corpus/") for name in remote.store if name.startswith("/b/corpus/"))


def test_the_mark_is_first_and_last_and_manifests_follow_their_files(remote: Any) -> None:
    output = opened()
    fill(output.path, tokens_bin="1", manifest_json="2", tokenizer__vocab_txt="3")
    (output.path / ".lock").write_text("hidden")
    (output.path / "x.partial-1234").write_text("half")
    output.push(complete=True)
    sent = [path for action, path in remote.calls if action == "put_file"]
    assert sent[-1] == f"{ADDRESS}/manifest.json"
    assert names(remote) == [MARK, "manifest.json", "tokenizer/vocab.txt", "tokens.bin"]
    found = mark.read(ADDRESS)
    assert found is not None and found.complete
    assert found.files["tokens.bin"] == {"bytes": 1, "sha256": hashlib.sha256(b"1").hexdigest()}
    output.release()
    assert (fetch(ADDRESS) / "tokenizer" / "vocab.txt").read_text() == "3"


def test_half_an_upload_is_refused_by_the_names_of_what_is_missing(remote: Any, monkeypatch: Any) -> None:
    output = opened()
    fill(output.path, tokens_bin="1", manifest_json="2")
    send = Output._send

    def dying(self: Output, name: str, file: Path) -> None:
        if name == "manifest.json":
            raise KeyboardInterrupt
        send(self, name, file)

    monkeypatch.setattr(Output, "_send", dying)
    with pytest.raises(KeyboardInterrupt):
        output.push(complete=True)
    assert "tokens.bin" in names(remote)
    with pytest.raises(DataError, match=r"is incomplete: .* missing are manifest\.json"):
        fetch(ADDRESS)
    monkeypatch.setattr(Output, "_send", send)
    again = opened()  # half an upload is replaced
    fill(again.path, manifest_json="3", other_bin="4")
    (again.path / "tokens.bin").unlink()
    again.push(complete=True)
    assert names(remote) == [MARK, "manifest.json", "other.bin"]


def test_what_is_there_stays(remote: Any) -> None:
    remote.pipe("/b/corpus/notes.txt", b"mine")
    with pytest.raises(SettingsError, match="memory://b/corpus exists already; remove it"):
        opened()
    assert names(remote) == ["notes.txt"]


def test_missing_and_changed_objects_are_named(remote: Any) -> None:
    output = opened()
    fill(output.path, a_bin="1", b_bin="2")
    output.push(complete=True)
    remote.pipe("/b/corpus/a.bin", b"longer")
    with pytest.raises(DataError, match=r"the size of a\.bin has changed"):
        fetch(ADDRESS)
    remote.rm_file("/b/corpus/b.bin")
    with pytest.raises(DataError, match=r"the store has no b\.bin"):
        fetch(ADDRESS)
    with pytest.raises(DataError, match=r"the store has no b\.bin"):
        opened(resume=True)


def test_parts_of_an_upload_obey_its_mark(remote: Any) -> None:
    output = opened()
    fill(output.path, model__config_json="1", run_json="2")
    output.push(complete=False)
    assert (fetch(f"{ADDRESS}/model") / "config.json").read_text() == "1"
    remote.rm_file("/b/corpus/model/config.json")
    remote.pipe("/b/corpus/model/vocab.txt", b"x")
    with pytest.raises(DataError, match=r"the store has no config\.json"):
        fetch(f"{ADDRESS}/model")
    remote.pipe("/b/corpus/later/a", b"half")
    with pytest.raises(DataError, match="the upload of the folder that holds it hasn't ended"):
        fetch(f"{ADDRESS}/later")


def test_only_changes_are_sent_and_old_files_go(remote: Any) -> None:
    output = opened()
    fill(output.path, step1__a="1", metrics="2")
    output.push(complete=False)
    fill(output.path, step2__a="3")
    (output.path / "step1" / "a").unlink()
    remote.calls.clear()
    output.push(complete=False)
    assert [path for action, path in remote.calls if action == "put_file"] == [f"{ADDRESS}/step2/a"]
    assert names(remote) == [MARK, "metrics", "step2/a"]
    remote.calls.clear()
    output.push(complete=False)
    assert not remote.calls


def test_a_run_comes_back_and_goes_on(remote: Any) -> None:
    output = opened()
    fill(output.path, run_json="1", step1__a="2")
    output.push(complete=False)
    output.release()
    with pytest.raises(SettingsError, match="exists already"):
        opened()
    again = opened(resume=True)
    assert (again.path / "step1" / "a").read_text() == "2"
    remote.calls.clear()
    fill(again.path, model="3")
    again.push(complete=True)
    assert [path for action, path in remote.calls if action == "put_file"] == [f"{ADDRESS}/model"]
    assert mark.read(ADDRESS) == mark.Mark(True, again._entries, (), again._owner)
    # What was half uploaded when a process was killed is not of the state, and goes.
    remote.pipe("/b/corpus/step2/a", b"half")
    mark.write(ADDRESS, mark.Mark(False, again._entries, ("step2/a",), "dead"))
    third = opened(resume=True)
    assert not (third.path / "step2").exists()
    third.push(complete=True)
    assert "step2/a" not in names(remote)


def test_two_writers_find_each_other(remote: Any) -> None:
    output = opened()
    fill(output.path, a="1")
    output.push(complete=False)
    mark.write(ADDRESS, mark.Mark(False, {}, (), "another"))
    fill(output.path, b="2")
    with pytest.raises(SettingsError, match="another process writes to memory://b/corpus"):
        output.push(complete=True)


def test_errors_of_the_network_are_tried_again_and_then_the_output_is_kept(remote: Any) -> None:
    output = opened()
    fill(output.path, a_bin="1")
    remote.failures["put_file"] = 3
    output.push(complete=True)
    assert names(remote) == [MARK, "a.bin"]
    fill(output.path, b_bin="2")
    remote.failures["put_file"] = 1000
    with pytest.raises(ResourceError, match="after 4 attempts") as caught:
        output.push(complete=True)
    error = failed(output, caught.value)
    (kept,) = (cache.home() / "unsent").glob("*/corpus")
    assert str(kept) in str(error) and "aws s3 cp" in str(error)
    # Other tools may copy the folder, with its mark.
    for file in kept.rglob("*"):
        remote.pipe(f"/b/corpus/{file.relative_to(kept).as_posix()}", file.read_bytes())
    assert (fetch(ADDRESS) / "b.bin").read_text() == "2"


def test_files_that_vanish_meanwhile(remote: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    output = opened()
    fill(output.path, old__a="1", new__a="2")
    send = Output._send

    def racing(self: Output, name: str, file: Path) -> None:
        if name == "old/a":
            file.unlink()  # as a save of a checkpoint removes an old one
        send(self, name, file)

    monkeypatch.setattr(Output, "_send", racing)
    output.push(complete=False)
    found = mark.read(ADDRESS)
    assert found is not None and list(found.files) == ["new/a"]


def test_checkpoints_are_uploaded_meanwhile(remote: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "PAUSE_SECONDS", 0.0)
    output = opened()
    pushed = []
    push = Output.push

    def noted(self: Output, *, complete: bool) -> None:
        push(self, complete=complete)
        pushed.append(sorted(self._entries))

    monkeypatch.setattr(Output, "push", noted)
    with pushed_meanwhile([output]):
        for step in (1, 2):
            before = len(pushed)
            with atomic_folder(output.path / "checkpoints" / f"step-{step}") as folder:
                (folder / "a").write_text("1")
            while len(pushed) == before:
                pass
    assert any("checkpoints/step-2/a" in each for each in pushed)
    assert pushed[0] == ["checkpoints/step-1/a"]


def test_a_store_that_fails_does_not_stop_a_run(remote: Any, monkeypatch: Any, capsys: Any) -> None:
    output = opened()

    def broken(self: Output, *, complete: bool) -> None:
        raise ResourceError("gone")

    monkeypatch.setattr(Output, "push", broken)
    with pushed_meanwhile([output]):
        write_bytes(output.path / "a", b"1")
        while "not uploaded: gone. The run goes on" not in capsys.readouterr().err:
            pass


def test_files_are_never_written_to_a_folder_named_like_a_scheme(remote: Any) -> None:
    for path in ("memory://b/x", Path("memory://b/x")):
        with pytest.raises(SettingsError, match="memory://b/x can't be written from here"):
            write_bytes(path, b"1")
    assert not Path("memory:").exists()


def test_a_claim_without_content_goes(remote: Any) -> None:
    output = opened()
    assert json.loads(remote.cat(f"/b/corpus/{MARK}"))["complete"] is False
    output.release()
    assert names(remote) == []


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PermissionError("Forbidden"), "access denied"),
        (FileNotFoundError("The specified bucket does not exist"), "no such object or bucket"),
        (type("NoCredentialsError", (Exception,), {})("Unable to locate credentials"), "no credentials"),
        (ConnectionError("Could not connect to http://me:hidden@host/"), r"http://\.\.\.@host"),
        (ImportError("Install s3fs"), "can't be reached"),
    ],
)
def test_errors_name_the_address_and_the_remedy(remote: Any, monkeypatch: Any, error: Exception, text: str) -> None:
    def refuse(*args: Any, **more: Any) -> None:
        raise error

    monkeypatch.setattr(remote, "pipe_file", refuse)
    with pytest.raises(BertieError, match=text) as caught:
        opened()
    assert "memory://b/corpus" in str(caught.value)
    assert "hidden" not in str(caught.value)


def test_a_missing_package_is_named(remote: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(scheme: str) -> Any:
        raise ImportError("Install gcsfs to access Google Storage")

    monkeypatch.setattr("bertie.storage.store._opened", missing)
    with pytest.raises(SettingsError, match=r"gcsfs is needed to use gs:// addresses; .*pip install 'bertie\[gcs\]'"):
        fetch("gs://bucket/model")
