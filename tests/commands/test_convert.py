"""``bertie convert``: old folders become today's; a pickle that wants more than tensors gets nothing."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from bertie.commands.convert import convert
from bertie.errors import DataError, ResourceError, SettingsError
from bertie.formats import huggingface
from bertie.formats._places import weight_files
from bertie.formats._unpickle import unpickle
from bertie.formats.format import new
from bertie.models.bert import ARCHITECTURE, BertConfig
from bertie.tasks.pretraining import Pretraining
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer

TOKENIZER = Tokenizer.build([*SPECIALS, *(f"piece{number}" for number in range(40))], lowercase=True)
CONFIG = BertConfig(45, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=24, max_positions=32)


def old_state() -> dict[str, torch.Tensor]:
    """Return tensors as the first programs named them: gamma and beta, a tied decoder, position numbers."""
    model = new(CONFIG, Pretraining(max_length=32), TOKENIZER, 3).model
    state = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value.detach()
        for name, value in ARCHITECTURE.to_foreign(model.state_dict()).items()
    }
    state["cls.predictions.decoder.weight"] = state["bert.embeddings.word_embeddings.weight"]
    state["bert.embeddings.position_ids"] = torch.arange(32)[None]
    return state


def old_folder(folder: Path, state: Any = None) -> Path:
    folder.mkdir()
    torch.save(old_state() if state is None else state, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(CONFIG.to_foreign()))
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in TOKENIZER.tokens))
    return folder


class Touch:
    """Makes a folder when it is unpickled: stands for whatever a stranger would like to run."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


def test_an_old_folder_as_the_refusal_says(tmp_path: Path) -> None:
    source, made = old_folder(tmp_path / "old"), tmp_path / "old-safetensors"
    with pytest.raises(SettingsError, match="a pickle, which could run code") as refusal:
        huggingface.read(source)
    command = str(refusal.value).partition("bertie convert ")[2].split()
    assert command == [str(source), str(made)]
    report = convert(command[0], Path(command[1]))
    bundle = huggingface.read(made)
    expected = new(CONFIG, Pretraining(max_length=32), TOKENIZER, 3).model.state_dict()
    assert [name for name, value in bundle.model.state_dict().items() if not torch.equal(value, expected[name])] == []
    assert report.values == {
        "source": str(source),
        "out": str(made),
        "task": "pretraining",
        "num_parameters": sum(value.numel() for value in ARCHITECTURE.to_foreign(expected).values()),
        "left_out": ["bert.embeddings.position_ids", "cls.predictions.decoder.weight"],
        "notes": [],
    }
    assert report.next_command == f"bertie show {made}"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old", "old-safetensors"]


def test_a_task_of_ones_own_and_notes(tmp_path: Path) -> None:
    source = tmp_path / "model"
    huggingface.write(new(CONFIG, Pretraining(max_length=32), TOKENIZER, 3), source)
    report = convert(str(source), tmp_path / "new", task="masked_lm")
    assert report.values["task"] == "masked_lm"
    assert {"cls.seq_relationship.weight", "bert.pooler.dense.weight"} <= set(report.values["left_out"])
    (note,) = report.values["notes"]
    assert note.startswith(f"{source}: not needed for masked_lm")


def test_weights_in_several_files(tmp_path: Path) -> None:
    source, state = old_folder(tmp_path / "old"), old_state()
    (source / "pytorch_model.bin").unlink()
    names, half = list(state), len(state) // 2
    parts = {"pytorch_model-1.bin": names[:half], "pytorch_model-2.bin": names[half:]}
    for file, chosen in parts.items():
        torch.save({name: state[name] for name in chosen}, source / file)
    index = source / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file, chosen in parts.items() for name in chosen}}))
    assert convert(str(source), tmp_path / "new").values["task"] == "pretraining"
    for wrong in ({"weight_map": {"a": "../old/pytorch_model-1.bin"}}, {"weight_map": {"a": 3}}, {"weight_map": 3}, 3):
        index.write_text(json.dumps(wrong))
        with pytest.raises(DataError, match=r"pytorch_model\.bin\.index\.json"):
            convert(str(source), tmp_path / "other")


def test_safetensors_with_old_names(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    source = old_folder(tmp_path / "old")
    save_file({name: value.clone() for name, value in old_state().items()}, source / "model.safetensors")
    (source / "pytorch_model.bin").write_bytes(b"never opened")
    assert "cls.predictions.decoder.weight" in convert(str(source), tmp_path / "new").values["left_out"]
    assert huggingface.tensor_names(tmp_path / "new") == set(
        ARCHITECTURE.to_foreign(huggingface.read(source).model.state_dict())
    )


def test_a_malicious_pickle_does_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    source = old_folder(tmp_path / "old", {**old_state(), "extra": Touch(canary)})
    with pytest.raises(DataError, match=r"pytorch_model\.bin can't .*: it holds an object of posix.mkdir"):
        convert(str(source), tmp_path / "new")
    (source / "pytorch_model.bin").write_bytes(pickle.dumps({"extra": Touch(canary)}))  # without torch's frame
    with pytest.raises(DataError, match="can't be read as weights"):
        convert(str(source), tmp_path / "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old"]
    torch.load(old_folder(tmp_path / "control", {"extra": Touch(canary)}) / "pytorch_model.bin", weights_only=False)
    assert canary.exists()  # so it would have run


@pytest.mark.parametrize("kept", [0, -1])
def test_a_truncated_file(kept: int, tmp_path: Path) -> None:
    source = old_folder(tmp_path / "old")
    file = source / "pytorch_model.bin"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"pytorch_model\.bin can't be read as weights"):
        convert(str(source), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_what_a_download_left_in_place_of_weights(tmp_path: Path) -> None:
    source = old_folder(tmp_path / "old")
    for content, said in ((b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"), (b"<html>", "a web page")):
        (source / "pytorch_model.bin").write_bytes(content)
        with pytest.raises(DataError, match=said):
            convert(str(source), tmp_path / "new")


@pytest.mark.parametrize("content", [[torch.ones(2)], {"a": 3}])
def test_other_things_than_named_tensors(content: Any, tmp_path: Path) -> None:
    source = old_folder(tmp_path / "old", content)
    with pytest.raises(DataError, match=r"named tensors|not a tensor"):
        convert(str(source), tmp_path / "new")


def test_time_and_memory_are_limited(tmp_path: Path) -> None:
    source = old_folder(tmp_path / "old")
    with pytest.raises(ResourceError, match="more than 0 seconds"):
        unpickle(weight_files(source, "pytorch_model.bin"), tmp_path / "out", seconds=0.01)
    # A small file that asks for 16 GiB: one value, repeated by its strides, which a copy would spell out.
    torch.save({"a": torch.zeros(1).expand(1 << 32)}, source / "pytorch_model.bin")
    assert (source / "pytorch_model.bin").stat().st_size < 10_000
    with pytest.raises(ResourceError, match="memory"):
        convert(str(source), tmp_path / "new")


def test_a_model_that_does_not_fit_names_its_own_folder(tmp_path: Path) -> None:
    state = old_state()
    del state["bert.encoder.layer.0.output.dense.weight"]
    source = old_folder(tmp_path / "old", state)
    with pytest.raises(DataError, match=f"^{source}: the file lacks"):
        convert(str(source), tmp_path / "new")


def test_nothing_to_convert(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SettingsError, match=r"holds no model\.safetensors; it is empty"):
        convert(str(tmp_path / "empty"), tmp_path / "new")
    with pytest.raises(SettingsError, match="no such model folder"):
        convert(str(tmp_path / "nowhere"), tmp_path / "new")
    with pytest.raises(SettingsError, match="exists already"):
        convert(str(old_folder(tmp_path / "old")), tmp_path / "empty")
