"""``bertie show``: runs, models, corpora and tokenizers told apart, broken ones named."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie import config
from bertie.commands.show import show
from bertie.errors import BertieError, DataError, SettingsError


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
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").unlink()
    assert show(folder).values["num_parameters"] is None


def test_a_corpus(tmp_path: Path) -> None:
    manifest = {"format": "bertie corpus", "num_tokens": 12, "files": {"a": {"bytes": 3}, "b": {"bytes": 4}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    values = show(tmp_path).values
    assert (values["kind"], values["num_tokens"], values["num_bytes"]) == ("corpus", 12, 7)
    assert "files" not in values
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


def test_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file or folder"):
        show(tmp_path / "nowhere")
    with pytest.raises(SettingsError, match=r"is no run \(config.toml\), no prepared corpus"):
        show(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"{", "config.json: not valid JSON"),
        ("config.json", b"\xff\xfe\x00", "config.json: not valid JSON"),
        ("config.json", b"[1]", "config.json: holds a list"),
        ("config.json", b"[" * 100_000, "config.json: not valid JSON"),
        ("manifest.json", b"null", "manifest.json: holds a NoneType"),
        ("model.safetensors", b"", "model.safetensors: not valid JSON"),
        ("model.safetensors", b"\xff" * 8, "its header claims"),
        ("model.safetensors", weights({"a": 3}), "without shape or type"),
        ("model.safetensors", weights({"a": {"shape": "x", "dtype": "F32"}}), "without shape or type"),
        ("tokenizer.json", b'{"model": {"vocab": 3}}', "tokenizer.json: holds no vocabulary"),
        ("tokenizer.json", b'{"model": {"vocab": {}}, "normalizer": [1]}', "tokenizer.json: holds no vocabulary"),
        ("manifest.json", b'{"format": "bertie corpus", "files": [3]}', "how large each file is"),
        ("manifest.json", b'{"format": "bertie corpus", "files": {"a": {}}}', "how large each file is"),
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
    with pytest.raises(DataError, match=r"metrics.jsonl:2: not valid JSON"):
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
