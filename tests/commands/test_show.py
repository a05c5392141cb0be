"""``bertie show``: runs, models, corpora and tokenizers told apart, broken ones named."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertie import config
from bertie.commands.show import show
from bertie.errors import BertieError, DataError, SettingsError
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.inference.predictor import load
from bertie.tasks.classification import Classification
from bertie.training import checkpoint
from bertie.training.journal import Journal
from bertie.training.runfolder import RunFolder


def weights(tensors: dict[str, Any]) -> bytes:
    header = json.dumps(tensors).encode()
    return len(header).to_bytes(8, "little") + header


def test_a_run(tmp_path: Path) -> None:
    config.write(tmp_path / "config.toml", command="pretrain", parameters={"seed": 3, "model": {"size": "mini"}})
    lines = [
        {"kind": "train", "step": 1, "loss": 9.0},
        {"kind": "dev", "step": 1, "loss": 8.0},
        {"kind": "train", "step": 2, "loss": 7.0},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines) + '{"kind": "tra'
    (tmp_path / "metrics.jsonl").write_text(text)
    (tmp_path / "checkpoints" / "step-2").mkdir(parents=True)
    (tmp_path / "checkpoints" / ".unfinished").mkdir()
    report = show(tmp_path)
    assert report.values == {
        "kind": "run",
        "path": str(tmp_path),
        "command": "pretrain",
        "state": "unfinished",
        "checkpoints": ["step-2"],
        "logged_lines": 3,
        "last_train": {"step": 2, "loss": 7.0},
        "last_dev": {"step": 1, "loss": 8.0},
        "settings": {"seed": 3, "model": {"size": "mini"}},
        "files": {"state": "as they were written"},
    }
    assert report.next_command == f"bertie run {tmp_path}/config.toml --resume"
    (tmp_path / "model").mkdir()
    (tmp_path / "run.json").write_text('{"values": {}}')
    assert show(tmp_path / "metrics.jsonl").values["state"] == "finished"
    assert (show(tmp_path).next_command or "").startswith(f"bertie finetune {tmp_path}/model")


def test_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "a model"
    folder.mkdir()
    settings = {
        "architectures": ["BertForSequenceClassification"],
        "num_hidden_layers": 4,
        "hidden_size": 256,
        "num_attention_heads": 4,
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "id2label": {"0": "neg", "1": "pos"},
        "bertie": {"task": "classification"},
    }
    (folder / "config.json").write_text(json.dumps(settings))
    tensors = {"a": {"shape": [3, 4], "dtype": "F32"}, "b": {"shape": [], "dtype": "F32"}, "__metadata__": {"x": "y"}}
    (folder / "model.safetensors").write_bytes(weights(tensors))
    values = show(folder).values
    assert (values["kind"], values["task"], values["labels"]) == ("model", "classification", ["neg", "pos"])
    assert (values["num_parameters"], values["types"], values["layers"]) == (13, ["F32"], 4)
    assert show(folder).next_command == f"bertie predict '{folder}' \"a text\""
    (folder / "config.json").write_text('{"model_type": "distilbert", "n_layers": 6, "dim": 768, "n_heads": 12}')
    values = show(folder).values
    assert (values["layers"], values["hidden_size"], values["attention_heads"]) == (6, 768, 12)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").unlink()
    assert show(folder).values["num_parameters"] is None


def test_a_corpus(tmp_path: Path) -> None:
    manifest = {"format": "bertie corpus", "num_tokens": 12, "files": {"a": {"bytes": 3}, "b": {"bytes": 4}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    values = show(tmp_path).values
    assert (values["kind"], values["num_tokens"], values["num_bytes"]) == ("corpus", 12, 7)
    assert values["files"]["state"].startswith("not checked")
    (tmp_path / "manifest.json").write_text('{"format": "another"}')
    with pytest.raises(SettingsError, match="not the manifest of a prepared corpus"):
        show(tmp_path)


def test_tokenizers(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("[PAD]\n模\na\n", encoding="utf-8")
    assert show(tmp_path).values == {"kind": "tokenizer", "path": str(tmp_path), "vocab_size": 3}
    whole = {"model": {"type": "WordPiece", "vocab": {"a": 0, "b": 1}}, "normalizer": {"lowercase": True}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(whole))
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    values = show(tmp_path / "tokenizer.json").values
    assert (values["model"], values["vocab_size"], values["lowercase"]) == ("WordPiece", 2, True)
    assert values["settings"] == {"do_lower_case": True}
    (tmp_path / "pieces").mkdir()
    (tmp_path / "pieces" / "spm.model").write_bytes(b"\n\x07\n\x03[U]\x18\x02\n\x03\n\x01a")  # two pieces
    values = show(tmp_path / "pieces").values
    assert (values["kind"], values["model"], values["vocab_size"]) == ("tokenizer", "Unigram", 2)


def test_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file or folder"):
        show(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match=r"is not a run \(config.toml\), a prepared corpus"):
        show(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"{", "config.json: this is not valid JSON"),
        ("config.json", b"\xff\xfe\x00", "config.json: this is UTF-16"),
        ("config.json", b"[1]", "config.json: a JSON object was expected"),
        ("config.json", b"[" * 100_000, "config.json: nested too deeply"),
        ("manifest.json", b"null", "manifest.json: a JSON object was expected here; this is null"),
        ("model.safetensors", b"", "model.safetensors: its header: this is not valid JSON"),
        ("model.safetensors", b"\xff" * 8, "its header claims"),
        ("model.safetensors", weights({"a": 3}), "without shape or type"),
        ("model.safetensors", weights({"a": {"shape": "x", "dtype": "F32"}}), "without shape or type"),
        ("tokenizer.json", b'{"model": {"vocab": 3}}', "tokenizer.json: has no vocabulary"),
        ("tokenizer.json", b'{"model": {"vocab": {}}, "normalizer": [1]}', "tokenizer.json: has no vocabulary"),
        ("manifest.json", b'{"format": "bertie corpus", "files": [3]}', "the sizes of the files are missing"),
        ("manifest.json", b'{"format": "bertie corpus", "files": {"a": {}}}', "the sizes of the files are missing"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    if name.endswith("safetensors"):
        (tmp_path / "config.json").write_text("{}")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        show(tmp_path)


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    config.write(tmp_path / "config.toml", command="pretrain", parameters={})
    (tmp_path / "metrics.jsonl").write_text('{"kind": "train"}\n{"kind": \n{"kind": "train"}\n')
    with pytest.raises(DataError, match=r"metrics.jsonl:2: this is not valid JSON"):
        show(tmp_path)


@given(st.sampled_from(["config.json", "manifest.json", "tokenizer.json", "model.safetensors"]), st.binary(max_size=64))
def test_any_bytes_are_shown_or_refused(tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "config.json").write_text("{}")
    (folder / name).write_bytes(content)
    try:
        assert show(folder).values["path"] == str(folder)
    except BertieError as error:
        assert str(folder) in str(error)


@pytest.fixture
def model(build_model: Callable[..., Any], tiny_tokenizer: Any, tmp_path: Path) -> Path:
    """Return a model folder as bertie writes it."""
    network = build_model(Classification(labels=("bad", "good"), max_length=16))
    bundle = Bundle(
        network, Classification(labels=("bad", "good"), max_length=16), tiny_tokenizer, network.encoder.config
    )
    write(replace(bundle, card="# A card\n"), tmp_path / "model")
    return tmp_path / "model"


def test_a_model_that_was_edited(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = show(model)
    assert (report.values["files"], report.exit_code) == ({"state": "as they were written"}, 0)
    (model / "README.md").write_text("# My card\n")
    (model / "notes.txt").touch()
    found = {"state": "as they were written, but for the card", "changed": ["README.md"], "added": ["notes.txt"]}
    report = show(model)
    assert (report.values["files"], report.exit_code) == (found, 0)
    load(model)
    file = model / "config.json"
    file.write_text(file.read_text().replace('"good"', '"fine"'))
    report = show(model)
    assert (report.values["files"]["state"], report.exit_code) == ("not as they were written", 3)
    assert report.values["files"]["changed"] == ["README.md", "config.json"]
    assert report.next_command == f"bertie show {model} --accept-changes"
    with pytest.raises(DataError, match=r"config\.json does not match.*--accept-changes"):
        load(model)
    capsys.readouterr()
    assert show(model, accept_changes=True).exit_code == 0
    assert "changed, and accepted: README.md, config.json\nnew, and accepted: notes.txt" in capsys.readouterr().err
    assert load(model).task.labels == ("bad", "fine")


def test_checksums_that_are_no_list_can_be_written_anew(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model / "SHA256SUMS").write_text("?")
    for call in (show, load):
        with pytest.raises(DataError, match="SHA256SUMS is damaged: line 1"):
            call(model)
    assert show(model, accept_changes=True).values["files"] == {"state": "as they were written"}
    load(model)
    (model / "SHA256SUMS").unlink()
    assert show(model).values["files"] == {"state": "not checked: there is no SHA256SUMS"}
    load(model)


def test_only_a_models_changes_can_be_accepted_here(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\n")
    with pytest.raises(SettingsError, match=r"is only for model folders; .* has a vocab\.txt"):
        show(tmp_path, accept_changes=True)


def test_a_run_that_was_edited(tmp_path: Path, model: Path) -> None:
    parameters: dict[str, Any] = {"steps": 10, "seed": 3}
    opening: dict[str, Any] = {"resume": False, "data": "x", "settings_file": config}
    with (
        RunFolder.open(tmp_path / "run", "finetune", parameters, **opening) as folder,
        Journal(folder.metrics) as lines,
    ):
        for step in (1, 2):
            lines.write({"kind": "train", "step": step})
        tensors = {"a": torch.arange(100)}
        state = {"journal": lines.sums()}
        saved = checkpoint.save(folder.checkpoints, step=2, tensors=tensors, state=state)
    run = tmp_path / "run"
    report = show(run)
    assert (report.values["files"], report.exit_code) == ({"state": "as they were written"}, 0)
    weights = saved / "tensors-00001.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    report = show(run)
    assert report.exit_code == 3 and f"{weights} is damaged" in report.values["files"]["changed"][0]
    checkpoint.save(folder.checkpoints, step=3, tensors=tensors, state=state, keep=1)
    folder.metrics.write_text(folder.metrics.read_text().replace('"step": 1', '"step": 0'))
    assert show(run).values["files"]["changed"] == [f"{folder.metrics}:1 was changed after it was written"]
    model.rename(run / "model")
    folder.mark_finished({"steps": 3})
    folder.config.write_text(folder.config.read_text().replace("steps = 10", "steps = 11"))
    report = show(run)
    changes = ["steps was 10 and is now 11"]
    assert report.values["files"] == {"state": "as they were written", "settings_changed": changes}
    folder.metrics.write_text("")
    (run / "model" / "vocab.txt").write_text("a")
    assert show(run).values["files"]["changed"] == ["metrics.jsonl", "model/vocab.txt"]
    (run / "run.json").write_text((run / "run.json").read_text().replace('"steps": 3', '"steps": 4'))
    with pytest.raises(DataError, match=r"run\.json is damaged"):
        show(run)


def test_a_corpus_that_was_edited(prepare_sentences: Callable[..., Path], tmp_path: Path) -> None:
    made = prepare_sentences(("cat", "dog", "sat", "ran"), count=60, lengths=(3, 6), document=6)
    corpus = shutil.copytree(made, tmp_path / "corpus")
    report = show(corpus)
    assert (report.values["files"], report.exit_code) == ({"state": "as they were written"}, 0)
    manifest = corpus / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"num_unknown": ', '"num_unknown": 1'))
    (corpus / "tokenizer" / "vocab.txt").write_text("a")
    report = show(corpus)
    assert report.exit_code == 3
    assert report.values["files"]["changed"] == ["manifest.json", "tokenizer/vocab.txt"]
