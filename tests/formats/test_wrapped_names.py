"""Names as training programs leave them: wrappers come off, several networks are asked about, own heads are named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bertie.commands.convert import convert
from bertie.errors import DataError, SettingsError
from bertie.formats import huggingface
from bertie.formats.format import new
from bertie.models.bert import BertConfig
from bertie.models.modernbert import ModernBertConfig
from bertie.tasks.classification import Classification
from bertie.tasks.generation import Generation
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer

TOKENIZER = Tokenizer.build([*SPECIALS, *(f"piece{number}" for number in range(40))], lowercase=True)
SHAPE: dict[str, Any] = {"hidden_size": 16, "num_layers": 2, "num_heads": 2, "intermediate_size": 24}
CONFIG = BertConfig(45, max_positions=32, **SHAPE)
TASK = Classification(("bad", "good"), max_length=32)
WORDS = "bert.embeddings.word_embeddings.weight"
Tensors = dict[str, Tensor]


def original(folder: Path, architecture: str = "bert") -> tuple[Path, Tensors]:
    """Write a classifier as another program would, and return its tensors too."""
    config = CONFIG if architecture == "bert" else ModernBertConfig(45, max_positions=32, **SHAPE)
    huggingface.write(new(config, TASK, TOKENIZER, 3, architecture=architecture), folder)
    file = folder / "config.json"
    values = json.loads(file.read_text())
    del values["bertie"]
    file.write_text(json.dumps(values))
    return folder, load_file(folder / "model.safetensors")


def front(word: str) -> Callable[[Tensors], Tensors]:
    return lambda found: {f"{word}{name}": value for name, value in found.items()}


def compiled_inside(found: Tensors) -> Tensors:
    return {name.replace("bert.encoder.", "bert.encoder._orig_mod."): value for name, value in found.items()}


def other_word(found: Tensors) -> Tensors:
    return {name.replace("bert.", "backbone.", 1): value for name, value in found.items()}


def with_a_loss(found: Tensors) -> Tensors:
    return {**front("model.")(found), "criterion.weight": torch.ones(2)}


WRAPPED = {
    "data parallel": front("module."),
    "compiled": front("_orig_mod."),
    "compiled and parallel": front("module._orig_mod."),
    "lightning": front("model."),
    "lightning with a word of its own": front("net.inner."),
    "called bert": front("bert."),
    "compiled inside": compiled_inside,
    "another word for the encoder": other_word,
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_wrappers_come_off(kind: str, tmp_path: Path) -> None:
    folder, tensors = original(tmp_path / "model")
    expected = huggingface.read(folder).model.state_dict()
    save_file(WRAPPED[kind](tensors), folder / "model.safetensors")
    bundle = huggingface.read(folder)
    assert [name for name, value in bundle.model.state_dict().items() if not torch.equal(value, expected[name])] == []
    assert len(bundle.notes) == 1 and str(folder) in bundle.notes[0]


def test_a_wrapper_of_an_encoder_whose_own_word_is_model(tmp_path: Path) -> None:
    folder, tensors = original(tmp_path / "model", "modernbert")
    expected = huggingface.read(folder).model.state_dict()
    save_file(front("model.")(tensors), folder / "model.safetensors")
    state = huggingface.read(folder).model.state_dict()
    assert [name for name, value in state.items() if not torch.equal(value, expected[name])] == []


def test_a_wrapper_of_an_encoder_and_a_decoder(tmp_path: Path) -> None:
    pair = new(CONFIG, Generation(max_length=32, max_target=16, max_new_tokens=8), TOKENIZER, 3)
    huggingface.write(pair, tmp_path / "pair")
    file = tmp_path / "pair" / "model.safetensors"
    expected = huggingface.read(tmp_path / "pair").model.state_dict()
    for word in ("module.", "model.", "net.inner."):
        tensors = load_file(file)
        save_file(front(word)(tensors), file)
        state = huggingface.read(tmp_path / "pair").model.state_dict()
        assert [name for name, value in state.items() if not torch.equal(value, expected[name])] == []
        save_file(tensors, file)


def test_a_loss_beside_the_wrapped_network_is_named(tmp_path: Path) -> None:
    folder, tensors = original(tmp_path / "model")
    save_file(with_a_loss(tensors), folder / "model.safetensors")
    with pytest.raises(SettingsError, match=r"heads: criterion\.weight; .* give --task classification"):
        huggingface.read(folder)
    assert "left out: criterion.weight" in huggingface.read(folder, task="classification").notes[-1]


def test_an_own_head_is_left_out_where_it_is_not_used(tmp_path: Path) -> None:
    folder, tensors = original(tmp_path / "model")
    own = {name: value for name, value in tensors.items() if not name.startswith("classifier")}
    save_file({**own, "out.weight": torch.ones(3, 16), "out.bias": torch.ones(3)}, folder / "model.safetensors")
    bundle = huggingface.read(folder, task="features")
    assert bundle.notes[-1].endswith("not needed for features, left out: out.bias, out.weight")
    learned = huggingface.read(folder, task="classification", settings={"labels": ("a", "b")}, new_head=True)
    assert learned.notes[0].endswith("classifier.bias, classifier.weight")
    report = convert(str(folder), tmp_path / "converted", task="features")
    assert {"out.bias", "out.weight"} <= set(report.values["left_out"])


def test_two_encoders_are_asked_about(tmp_path: Path) -> None:
    folder, tensors = original(tmp_path / "model")
    teacher = {name: value + 1 for name, value in tensors.items()}
    save_file({**front("student.")(tensors), **front("teacher.")(teacher)}, folder / "model.safetensors")
    with pytest.raises(DataError, match=r"2 encoders, named student\.bert\.\*, teacher\.bert\.\*; .*--part student"):
        huggingface.read(folder)
    convert(str(folder), tmp_path / "new", part="teacher")
    assert torch.equal(load_file(tmp_path / "new" / "model.safetensors")[WORDS], teacher[WORDS])
    with pytest.raises(SettingsError, match=r"no weights named pupil and no tensors named pupil\.\*"):
        convert(str(folder), tmp_path / "other", part="pupil")


@pytest.mark.parametrize("name", ["bert.surprise.weight", "bert.encoder.layer.0.attention.self.distance.weight"])
def test_more_inside_the_encoder_is_refused(name: str, tmp_path: Path) -> None:
    folder, tensors = original(tmp_path / "model")
    save_file({**tensors, name: torch.ones(2)}, folder / "model.safetensors")
    with pytest.raises(DataError, match=f"{name} is unknown to bert"):
        huggingface.read(folder, task="features")


def test_an_adapter_inside_is_named(tmp_path: Path) -> None:
    folder, tensors = original(tmp_path / "model")
    name = "bert.encoder.layer.0.attention.self.query.lora_A.default.weight"
    save_file({**front("base_model.model.")({**tensors, name: torch.ones(2)})}, folder / "model.safetensors")
    with pytest.raises(DataError, match="LoRA adapter; merge it"):
        huggingface.read(folder, task="features")


CHECKPOINTS: dict[str, Callable[[Tensors], Any]] = {
    "lightning": lambda found: {
        "state_dict": front("model.")(found),
        "epoch": 3,
        "callbacks": {"best": torch.ones(2, 2)},
    },
    "model_state_dict": lambda found: {
        "model_state_dict": found,
        "optimizer_state_dict": {"state": {0: {"exp_avg": torch.ones(2, 2)}}, "param_groups": [{"lr": 0.1}]},
    },
    "model beside names": lambda found: {
        "model": found,
        "optimizer": {"exp_avg": {"a": torch.ones(2, 2)}},
        "args": [1],
    },
    "nested": lambda found: {"trainer": {"net": front("module.")(found)}, "step": 7},
    "epoch among tensors": lambda found: {**found, "epoch": 3},
    "extra state": lambda found: {**found, "bert._extra_state": None},
}


@pytest.mark.parametrize("kind", CHECKPOINTS)
def test_weights_are_found_in_a_training_programs_checkpoint(kind: str, tmp_path: Path) -> None:
    folder, tensors = original(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save(CHECKPOINTS[kind](tensors), folder / "last.ckpt")
    torch.save({"lr": 0.1}, folder / "training_args.bin")
    report = convert(str(folder), tmp_path / "new")
    written = load_file(tmp_path / "new" / "model.safetensors")
    assert [name for name, value in written.items() if not torch.equal(value, tensors[name])] == []
    assert report.values["task"] == "classification"
    if kind == "model_state_dict":
        assert report.values["notes"] == [
            "last.ckpt: the weights are 'model_state_dict'; left out: optimizer_state_dict"
        ]


def test_several_sets_of_weights_are_asked_about(tmp_path: Path) -> None:
    folder, tensors = original(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    average = {name: value + 1 for name, value in tensors.items()}
    torch.save({"model": tensors, "ema": average}, folder / "pytorch_model.bin")
    with pytest.raises(DataError, match=r"several sets of weights \(model, ema\); choose one: --part model"):
        convert(str(folder), tmp_path / "new")
    convert(str(folder), tmp_path / "new", part="ema")
    assert torch.equal(load_file(tmp_path / "new" / "model.safetensors")[WORDS], average[WORDS])


def test_a_whole_pickled_model_is_refused_in_one_plain_line(tmp_path: Path) -> None:
    folder, _ = original(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save(nn.Sequential(nn.Linear(2, 2), nn.GELU()), folder / "pytorch_model.bin")
    with pytest.raises(
        DataError, match=r"an object of torch\.nn\.modules\.\S+, .*torch\.save\(model\.state_dict"
    ) as no:
        convert(str(folder), tmp_path / "new")
    assert "\x1b" not in str(no.value) and "\n" not in str(no.value) and "weights_only" not in str(no.value)


def test_several_pickles_are_asked_about(tmp_path: Path) -> None:
    folder, tensors = original(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    for name in ("best.pt", "last.pt"):
        torch.save(tensors, folder / name)
    with pytest.raises(SettingsError, match=r"has several weight files: best\.pt, last\.pt; keep only the one"):
        convert(str(folder), tmp_path / "new")
