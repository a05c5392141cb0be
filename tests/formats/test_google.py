"""Google's folders of TensorFlow 1: names, transposed matrices, both directions of `convert`, and what is refused."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bertie.commands.convert import convert
from bertie.errors import BertieError, DataError, SettingsError
from bertie.formats import _tensor_bundle as checkpoint
from bertie.formats import google, huggingface
from bertie.formats.format import new
from bertie.models.bert import BertConfig
from bertie.tasks.classification import Classification
from bertie.tasks.features import FeaturesTask
from bertie.tasks.pretraining import Pretraining
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer

TOKENIZER = Tokenizer.build([*SPECIALS, *(f"piece{number}" for number in range(40))], lowercase=True)
CONFIG = BertConfig(45, hidden_size=16, num_layers=2, num_heads=2, intermediate_size=24, max_positions=32)
FILES = ("bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001")


def bundle(task: Any = None, config: Any = CONFIG) -> Any:
    made = new(config, task or Pretraining(max_length=32), TOKENIZER, 3)
    with torch.no_grad():
        for number, value in enumerate(made.model.parameters()):
            value.add_(torch.linspace(0, 0.1, value.numel()).reshape(value.shape) + number / 100)
    return made


def stored(folder: Path) -> dict[str, torch.Tensor]:
    opened = checkpoint.Checkpoint(folder / FILES[0])
    return {name: opened.tensor(name) for name in opened.entries}


def changed(folder: Path, change: Any) -> None:
    """Change the tensors of a checkpoint in place."""
    tensors = stored(folder)
    change(tensors)
    checkpoint.write(tensors, folder / "bert_model.ckpt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    google.write(bundle(), tmp_path / "google")
    return tmp_path / "google"


def test_the_names_and_forms_of_google(folder: Path) -> None:
    tensors, model = stored(folder), bundle().model
    layer = "bert/encoder/layer_1"
    assert len(tensors) == 5 + 2 * 16 + 2 + 5 + 2
    blocks: Any = model.encoder.blocks
    query, key, _ = blocks[1].attention.qkv.weight.chunk(3)
    assert torch.equal(tensors[f"{layer}/attention/self/query/kernel"], query.t())
    assert torch.equal(tensors[f"{layer}/attention/self/key/kernel"], key.t())
    assert tensors[f"{layer}/intermediate/dense/kernel"].shape == (16, 24)
    assert torch.equal(tensors[f"{layer}/output/dense/kernel"], blocks[1].feedforward.down.weight.t())
    assert torch.equal(tensors[f"{layer}/output/LayerNorm/gamma"], blocks[1].feedforward_norm.weight)
    assert torch.equal(tensors[f"{layer}/attention/output/LayerNorm/beta"], blocks[1].attention_norm.bias)
    head: Any = model.head
    assert torch.equal(tensors["bert/pooler/dense/kernel"], head.pooler.dense.weight.t())
    assert torch.equal(tensors["cls/seq_relationship/output_weights"], head.next_sentence.weight)
    assert torch.equal(tensors["cls/predictions/output_bias"], head.token_logits.bias)
    assert tensors["bert/embeddings/word_embeddings"].shape == (45, 16)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*FILES, "bert_config.json", "tokenizer_config.json", "vocab.txt"]
    )
    values = json.loads((folder / "bert_config.json").read_text())
    assert (values["hidden_act"], values["num_hidden_layers"], values["type_vocab_size"]) == ("gelu", 2, 2)


@pytest.mark.parametrize(
    "task",
    [
        Pretraining(max_length=32),
        FeaturesTask(max_length=32),
        Classification(labels=("bad", "good", "none"), max_length=32),
        QuestionAnswering(max_length=32),
    ],
    ids=lambda task: task.name,
)
def test_there_and_back_is_the_same_model(tmp_path: Path, task: Any) -> None:
    given = bundle(task)
    google.write(given, tmp_path / "google")
    found = google.read(tmp_path / "google")
    assert found.task.name == task.name
    assert getattr(found.task, "labels", ()) == getattr(task, "labels", ())
    before, after = given.model.state_dict(), found.model.state_dict()
    assert before.keys() == after.keys()
    assert [name for name in before if not torch.equal(before[name], after[name])] == []
    assert found.tokenizer.golden_ids() == TOKENIZER.golden_ids()
    google.write(found, tmp_path / "again")
    for name in (*FILES, "bert_config.json", "vocab.txt"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "google" / name).read_bytes()


def test_the_command_in_both_directions(folder: Path, tmp_path: Path) -> None:
    report = convert(str(folder), tmp_path / "model")
    assert (report.values["task"], report.values["left_out"], report.values["notes"]) == ("pretraining", [], [])
    assert report.next_command == f"bertie show {tmp_path}/model"
    back = convert(str(tmp_path / "model"), tmp_path / "back", to="google")
    assert (back.values["left_out"], back.next_command) == ([], None)
    for name in FILES:
        assert (tmp_path / "back" / name).read_bytes() == (folder / name).read_bytes()
    with pytest.raises(SettingsError, match="exists already"):
        convert(str(tmp_path / "model"), tmp_path / "back", to="google")
    with pytest.raises(SettingsError, match="--part is for files with several models"):
        convert(str(folder), tmp_path / "part", part="ema")
    less = convert(str(folder), tmp_path / "less", task="features").values
    assert "cls.seq_relationship.bias" in less["left_out"]
    assert [note.startswith(f"{folder}: not needed for features") for note in less["notes"]] == [True]


def test_the_optimizers_tensors_are_left_out_and_said(folder: Path, tmp_path: Path) -> None:
    def add(tensors: dict[str, torch.Tensor]) -> None:
        slots = {f"{name}/{slot}": value for name, value in tensors.items() for slot in ("adam_m", "adam_v")}
        tensors |= {**slots, "global_step": torch.tensor(1000)}

    changed(folder, add)
    report = convert(str(folder), tmp_path / "model")
    assert report.values["notes"] == [f"{folder}: left out 93 tensors of the optimizer (adam_m, adam_v, global_step)"]
    expected = bundle().model.state_dict()
    found = huggingface.read(tmp_path / "model").model.state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_capitals_of_the_vocabulary_decide_without_a_setting(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    assert google.read(folder).tokenizer.lowercase
    text = (folder / "vocab.txt").read_text().replace("piece1\n", "Piece\n").replace("piece2\n", "Berlin\n")
    (folder / "vocab.txt").write_text(text)
    found = google.read(folder)
    assert not found.tokenizer.lowercase
    assert found.notes == (
        f'{folder}/vocab.txt has pieces with capitals (Piece, ...), so texts keep theirs ("do_lower_case": false)',
    )


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "bert_config.json").unlink(), "has no bert_config.json"),
        (lambda folder: (folder / "vocab.txt").unlink(), "has no vocab.txt"),
        (lambda folder: (folder / FILES[1]).unlink(), "no such file"),
        (lambda folder: (folder / FILES[1]).write_bytes(bytes(70_000)), "the checksum of bert/.* is wrong"),
        (lambda folder: (folder / FILES[0]).write_bytes(b"x"), "not the index of a TensorFlow checkpoint"),
        (
            lambda folder: shutil.copyfile(folder / FILES[0], folder / "model.ckpt-9.index"),
            "must have one TensorFlow checkpoint .* it has bert_model.ckpt.index, model.ckpt-9.index",
        ),
        (
            lambda folder: changed(folder, lambda tensors: tensors.pop("bert/embeddings/LayerNorm/beta")),
            "lacks encoder.embeddings.norm.bias",
        ),
        (
            lambda folder: changed(folder, lambda tensors: tensors.update({"bert/strange": torch.zeros(2)})),
            "tensor bert.strange is unknown to bert",
        ),
        (
            lambda folder: changed(folder, lambda tensors: tensors.update({"mine/weights": torch.zeros(2)})),
            "belong to none of bertie's heads: mine.weights",
        ),
        (
            lambda folder: changed(
                folder, lambda tensors: tensors.update({"bert/pooler/dense/bias": torch.zeros(16, dtype=torch.int32)})
            ),
            "tensor bert.pooler.dense.bias is of type torch.int32",
        ),
        (
            lambda folder: changed(
                folder, lambda tensors: tensors.update({"bert/pooler/dense/bias": torch.full((16,), float("nan"))})
            ),
            "not finite",
        ),
    ],
)
def test_folders_that_are_refused(folder: Path, tmp_path: Path, spoil: Any, words: str) -> None:
    spoil(folder)
    with pytest.raises(BertieError) as error:
        convert(str(folder), tmp_path / "out")
    assert re.search(words, str(error.value))
    assert str(folder) in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            lambda: bundle(config=replace(CONFIG, layer_norm_eps=1e-5)),
            "layer_norm_eps 1e-12 only; this model has 1e-05",
        ),
        (lambda: bundle(config=replace(CONFIG, tied=False)), "no place for the tensor cls.predictions.decoder.weight"),
        (lambda: replace(bundle(), architecture="roberta"), "holds BERT only; this model is a roberta"),
    ],
)
def test_models_that_are_refused(tmp_path: Path, given: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        google.write(given(), tmp_path / "google")
    assert not (tmp_path / "google").exists()


def test_which_folders_are_googles(folder: Path) -> None:
    assert google.is_google(folder)
    (folder / "model.safetensors").touch()
    assert not google.is_google(folder)


def test_a_plain_use_names_the_command(folder: Path) -> None:
    with pytest.raises(SettingsError, match=rf"TensorFlow 1 checkpoint; convert it: bertie convert {folder} OUT"):
        huggingface.read(folder)
