"""What people give in place of a model folder is named, with the command or the call that leads on."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from bertie.commands.convert import convert
from bertie.commands.show import show
from bertie.errors import BertieError
from bertie.formats import huggingface
from bertie.formats.format import new
from bertie.models.bert import ARCHITECTURE, BertConfig
from bertie.tasks.masked_lm import MaskedLM
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer
from bertie.tokenizer.writing import save_tokenizer

TOKENIZER = Tokenizer.build([*SPECIALS, *(f"piece{number}" for number in range(40))], lowercase=True)
CONFIG = BertConfig(45, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=24, max_positions=32)


def model(folder: Path) -> Path:
    folder.parent.mkdir(parents=True, exist_ok=True)
    huggingface.write(new(CONFIG, MaskedLM(max_length=32), TOKENIZER, 3), folder)
    return folder


def refusal(path: Path) -> str:
    """Return what is said of a path, and check that it is one line that names the path."""
    with pytest.raises(BertieError) as error:
        huggingface.read(huggingface.resolve(path))
    said = str(error.value)
    assert str(path) in said and "\n" not in said
    return said


FILES = {
    "tf_model.h5": "is a TensorFlow model; transformers 4 .*from_tf=True.*save_pretrained",
    "flax_model.msgpack": "is a Flax model; transformers 4 .*from_flax=True",
    "model.ckpt.index": "model.ckpt is a TensorFlow 1 checkpoint; convert it: bertie convert .* OUT",
    "saved_model.pb": "TensorFlow program, which can't be converted back",
    "model.onnx": "is an ONNX model, which can't be converted back",
    "ggml-model-q4_0.gguf": r"is a GGUF model of llama\.cpp",
    "model.tflite": "TensorFlow Lite",
    "weights.safetensors": r"rename its weights: mv weights\.safetensors model\.safetensors",
    "adapter_model.safetensors": r"an adapter \(PEFT\) for a base model; .*merge_and_unload",
    "pytorch_model.bin": "a pickle, which could run code when read; convert it: bertie convert",
    "training_args.bin": r"holds no model\.safetensors; give a folder",
}


@pytest.mark.parametrize("name", FILES)
def test_a_config_with_other_weights(name: str, tmp_path: Path) -> None:
    folder = model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(b"other")
    assert re.search(FILES[name], refusal(folder))


def test_an_adapter_names_its_base(tmp_path: Path) -> None:
    settings = {"base_model_name_or_path": "someone/small", "peft_type": "LORA"}
    (tmp_path / "adapter_config.json").write_text(json.dumps(settings))
    (tmp_path / "adapter_model.safetensors").touch()
    assert "for 'someone/small'; merge it into its base model" in refusal(tmp_path)
    with pytest.raises(BertieError, match=r"a model .* for 'someone/small'"):
        show(tmp_path)
    (tmp_path / "adapter_config.json").write_text("[" * 100_000)
    assert "for a base model" in refusal(tmp_path)


def test_the_output_of_a_trainer(tmp_path: Path) -> None:
    for step in (500, 1000, 90):
        model(tmp_path / "out" / f"checkpoint-{step}")
    state = {"best_model_checkpoint": "/elsewhere/out/checkpoint-500"}
    (tmp_path / "out" / "checkpoint-1000" / "trainer_state.json").write_text(json.dumps(state))
    said = refusal(tmp_path / "out")
    assert f"the last checkpoint of 3 is {tmp_path}/out/checkpoint-1000" in said
    assert "trainer_state.json names 'checkpoint-500' as the best" in said


def test_a_folder_of_the_hubs_cache(tmp_path: Path) -> None:
    """One finds it where models are kept and takes it for the model, which lies two folders down."""
    found = tmp_path / "models--someone--small"
    (found / "blobs").mkdir(parents=True)
    (found / "snapshots" / "empty").mkdir(parents=True)
    assert "the hub's cache" not in refusal(found)
    model(found / "snapshots" / "abc")
    assert f"it is a model's folder in the hub's cache; the model is {found}/snapshots/abc" in refusal(found)


def test_a_checkpoint_of_a_trainer_is_a_model(tmp_path: Path) -> None:
    folder = model(tmp_path / "checkpoint-500")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "trainer_state.json"):
        (folder / name).write_bytes(b"never opened")
    assert huggingface.read(folder).task.name == "masked_lm"


def test_a_run_and_a_folder_around_one_model(tmp_path: Path) -> None:
    model(tmp_path / "run" / "model")
    assert f"the model in it is {tmp_path}/run/model" in refusal(tmp_path / "run")
    (tmp_path / "run" / "config.toml").write_text("")
    assert f"it is a run; its model is {tmp_path}/run/model" in refusal(tmp_path / "run")
    for name in ("first", "second"):
        model(tmp_path / "many" / name)
    assert f"it holds 2 models, such as {tmp_path}/many/first and" in refusal(tmp_path / "many")


def test_an_older_name_of_the_config(tmp_path: Path) -> None:
    folder = model(tmp_path / "model")
    values = json.loads((folder / "config.json").read_text())
    names = ("bertie", "model_type", "architectures", "tie_word_embeddings")
    plain = {name: value for name, value in values.items() if name not in names}
    (folder / "bert_config.json").write_text(json.dumps(plain))
    (folder / "config.json").unlink()
    copy = f"cp {folder}/bert_config.json {folder}/config.json"
    assert refusal(folder).endswith(copy)
    (folder / "config.json").write_bytes((folder / "bert_config.json").read_bytes())
    assert huggingface.read(folder).task.name == "masked_lm"
    (folder / "config.json").unlink()
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert refusal(folder).endswith(f"{copy}, then bertie convert {folder} OUT")
    (folder / "pytorch_model.bin").rename(folder / "bert_model.ckpt.index")
    assert f"bert_model.ckpt is a TensorFlow 1 checkpoint; convert it: bertie convert {folder} OUT" in refusal(folder)


def test_parts_of_a_model(tmp_path: Path) -> None:
    assert refusal(tmp_path).endswith("it is empty")
    save_tokenizer(TOKENIZER, tmp_path / "tokenizer")
    assert refusal(tmp_path / "tokenizer").endswith("it holds only a tokenizer")
    (tmp_path / "pieces").mkdir()
    (tmp_path / "pieces" / "spm.model").touch()
    assert refusal(tmp_path / "pieces").endswith("it holds only a tokenizer")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").touch()
    assert "weights alone don't say which network" in refusal(tmp_path / "weights")
    (tmp_path / "weights" / "model.safetensors").rename(tmp_path / "weights" / "last.ckpt")
    assert "last.ckpt alone doesn't say which network" in refusal(tmp_path / "weights")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.zip", "is an archive; unpack it"),
        ("model.tar.gz", "is an archive; unpack it"),
        ("model.gguf", "a GGUF model"),
        ("model.safetensors", "is a file; a model is a folder"),
        ("config.json", "is a file; a model is a folder"),
    ],
)
def test_a_file_in_place_of_a_folder(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    assert said in refusal(tmp_path / name)


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a Git LFS pointer"),
        (b"<!DOCTYPE html>\n<html>", "is a web page, not weights"),
        (b"nothing", "is damaged"),
    ],
)
def test_files_that_are_no_weights(start: bytes, said: str, tmp_path: Path) -> None:
    folder = model(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(start)
    assert said in refusal(folder)


def test_weights_of_an_older_sentence_transformers_folder_are_converted(tmp_path: Path) -> None:
    inner = model(tmp_path / "model" / "0_BERT")
    state = huggingface.read(inner).model.encoder.state_dict()
    torch.save(
        ARCHITECTURE.to_foreign({f"encoder.{name}": value for name, value in state.items()}),
        inner / "pytorch_model.bin",
    )
    (inner / "model.safetensors").unlink()
    values = {name: value for name, value in CONFIG.to_foreign().items() if name != "model_type"}
    (inner / "config.json").write_text(json.dumps(values))
    kind = "sentence_transformers.models."
    steps = [{"type": f"{kind}BERT", "path": "0_BERT"}, {"type": f"{kind}Pooling", "path": "1_Pooling"}]
    (tmp_path / "model" / "modules.json").write_text(json.dumps(steps))
    (tmp_path / "model" / "1_Pooling").mkdir()
    (tmp_path / "model" / "1_Pooling" / "config.json").write_text('{"pooling_mode_cls_token": true}')
    convert(str(tmp_path / "model"), tmp_path / "new")
    task = huggingface.read(tmp_path / "new").task
    assert (task.name, task.pooling) == ("embedding", "cls")  # type: ignore[attr-defined]
