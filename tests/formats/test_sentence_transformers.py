"""The files of sentence-transformers beside a model: written, read in their old and new form, and refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertie.errors import BertieError, DataError
from bertie.formats import huggingface
from bertie.formats._sentence_transformers import read_layout
from bertie.formats.format import new
from bertie.inference.predictor import Predictor
from bertie.models.bert import BertConfig
from bertie.tasks.embedding import Embedding
from bertie.tasks.features import FeaturesTask
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer

TOKENIZER = Tokenizer.build([*SPECIALS, *(f"piece{number}" for number in range(40))], lowercase=True)
CONFIG = BertConfig(45, hidden_size=16, num_layers=2, num_heads=2, intermediate_size=24, max_positions=32)
TEXTS = ["piece1 piece2", "piece3 " * 40, "", "piece4"]
NEW = "sentence_transformers.base.modules.transformer.Transformer"
POOLING = "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
NORMALIZE = "sentence_transformers.base.modules.normalize.Normalize"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an embedding model as bertie writes it, of vectors of length 1."""
    huggingface.write(new(CONFIG, Embedding(max_length=16, pooler=True), TOKENIZER, 3), tmp_path / "model")
    return tmp_path / "model"


def vectors(folder: Path, **wishes: Any) -> np.ndarray:
    predictor = Predictor(huggingface.read(folder, settings=wishes), device="cpu")
    return np.stack([prediction.vector for prediction in predictor.predict(TEXTS)])


def change(file: Path, edit: Callable[[Any], Any]) -> None:
    file.write_text(json.dumps(edit(json.loads(file.read_text(encoding="utf-8")))), encoding="utf-8")


def without_ours(folder: Path) -> None:
    change(folder / "config.json", lambda values: {name: value for name, value in values.items() if name != "bertie"})


def step(number: int, path: str, kind: str) -> dict[str, Any]:
    return {"idx": number, "name": str(number), "path": path, "type": kind}


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize("normalize", [False, True])
def test_there_and_back_as_a_stranger(pooling: Any, normalize: bool, tmp_path: Path) -> None:
    task = Embedding(pooling=pooling, normalize=normalize, max_length=16, scale=10.0, pooler=True)
    bundle, place = new(CONFIG, task, TOKENIZER, 3), tmp_path / "model"
    huggingface.write(bundle, place)
    assert huggingface.read(place).task == task
    assert (place / "2_Normalize").is_dir() == normalize
    expected = vectors(place)
    without_ours(place)
    again = huggingface.read(place)
    assert again.task == replace(task, scale=20.0) and again.notes == ()
    np.testing.assert_array_equal(vectors(place), expected)
    assert torch.equal(again.model.head.pooler.dense.weight, bundle.model.head.pooler.dense.weight)  # type: ignore[union-attr]


def test_what_is_written(folder: Path) -> None:
    files = {file.relative_to(folder).as_posix() for file in folder.rglob("*")}
    assert {"modules.json", "1_Pooling", "1_Pooling/config.json", "2_Normalize", "sentence_bert_config.json"} <= files
    steps = json.loads((folder / "modules.json").read_text())
    kinds = ("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")
    assert steps == [step(at, path, f"sentence_transformers.models.{kind}") for at, (path, kind) in enumerate(kinds)]
    assert json.loads((folder / "1_Pooling/config.json").read_text()) == {
        "word_embedding_dimension": 16,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False,
    }
    length = json.loads((folder / "sentence_bert_config.json").read_text())
    assert length == {"max_seq_length": 16, "do_lower_case": False}
    assert json.loads((folder / "config.json").read_text())["architectures"] == ["BertModel"]


def test_other_tasks_have_no_such_files(tmp_path: Path) -> None:
    huggingface.write(new(CONFIG, FeaturesTask(max_length=16), TOKENIZER, 3), tmp_path / "model")
    assert not (tmp_path / "model" / "modules.json").exists()
    assert huggingface.read(tmp_path / "model").task.name == "features"
    found = huggingface.read(tmp_path / "model", task="embedding")
    assert found.task == Embedding(max_length=32, pooler=True)
    assert "no modules.json to say how texts become vectors" in found.notes[0]


def test_the_form_of_new_versions(folder: Path) -> None:
    without_ours(folder)
    (folder / "modules.json").write_text(
        json.dumps([step(0, "", NEW), step(1, "1_Pooling", POOLING), step(2, "2_Normalize", NORMALIZE)])
    )
    (folder / "1_Pooling/config.json").write_text('{"embedding_dimension": 16, "pooling_mode": "max"}')
    (folder / "2_Normalize/config.json").write_text('{"module_input_name": "sentence_embedding"}')
    (folder / "sentence_bert_config.json").write_text('{"transformer_task": "feature-extraction"}')
    change(folder / "tokenizer_config.json", lambda values: {**values, "model_max_length": 12})
    task = huggingface.read(folder).task
    assert task == Embedding(pooling="max", max_length=12, pooler=True)
    change(folder / "tokenizer_config.json", lambda values: {**values, "model_max_length": 10**30})
    assert huggingface.read(folder).task == replace(task, max_length=32)
    change(folder / "tokenizer_config.json", lambda values: {**values, "model_max_length": 512})
    assert huggingface.read(folder).task == replace(task, max_length=32)  # the encoder has no more positions


def test_what_another_program_saved_last_holds_and_wishes_win(folder: Path) -> None:
    change(folder / "sentence_bert_config.json", lambda values: {**values, "max_seq_length": 8})
    assert huggingface.read(folder).task == Embedding(max_length=8, pooler=True)
    wished = huggingface.read(folder, settings={"pooling": "cls", "max_length": 20}).task
    assert wished == Embedding(pooling="cls", max_length=20, pooler=True)
    assert not np.allclose(vectors(folder), vectors(folder, pooling="cls"))


def test_prompts(folder: Path) -> None:
    file = folder / "config_sentence_transformers.json"
    change(file, lambda values: {**values, "prompts": {"query": "query: ", "document": ""}})
    assert "lists prompts (query 'query: ')" in huggingface.read(folder).notes[0]
    change(file, lambda values: {**values, "default_prompt_name": "document"})
    assert huggingface.read(folder).task.name == "embedding"
    change(file, lambda values: {**values, "default_prompt_name": "query"})
    with pytest.raises(DataError, match="puts 'query: ' before every text"):
        huggingface.read(folder)
    assert huggingface.read(folder, task="features").task.name == "features"  # which needs none of these files


OLD = "sentence_transformers.models."
DENSE = [step(0, "", f"{OLD}Transformer"), step(1, "1_Pooling", f"{OLD}Pooling"), step(2, "2_Dense", f"{OLD}Dense")]
REFUSED: dict[str, tuple[str, Any, str]] = {
    "dense": ("modules.json", DENSE, "lists Transformer, Pooling, Dense; bertie supports Transformer"),
    "no pooling": ("modules.json", DENSE[:1], "lists Transformer; bertie supports"),
    "nothing": ("modules.json", [], "lists no steps"),
    "an object": ("modules.json", {}, "must list steps"),
    "no type": ("modules.json", [{"path": ""}], "must list steps, each with a type and a path"),
    "outside": ("modules.json", [DENSE[0], step(1, "../1_Pooling", f"{OLD}Pooling")], "a path in this folder"),
    "foreign code": ("modules.json", [step(0, "", "custom.Model")], "custom.Model, code outside"),
    "elsewhere": (
        "modules.json",
        [step(0, "0_Transformer", f"{OLD}Transformer"), DENSE[1]],
        "is missing",
    ),
    "no file": (
        "modules.json",
        [DENSE[0], step(1, "1_Nowhere", f"{OLD}Pooling")],
        r"1_Nowhere/config\.json is missing",
    ),
    "square root": ("1_Pooling/config.json", {"pooling_mode_mean_sqrt_len_tokens": True}, "mean_sqrt_len_tokens"),
    "last": (
        "1_Pooling/config.json",
        {"pooling_mode": "lasttoken"},
        "the pooling .'lasttoken'.; bertie supports one of",
    ),
    "two": (
        "1_Pooling/config.json",
        {"pooling_mode_cls_token": True, "pooling_mode_max_tokens": True},
        "'cls', 'max'",
    ),
    "no name": ("1_Pooling/config.json", {"pooling_mode": [3]}, "bertie supports one of"),
    "width": (
        "1_Pooling/config.json",
        {"word_embedding_dimension": 17},
        r"pools vectors of size 17, but config\.json says 16",
    ),
    "tokens": ("2_Normalize/config.json", {"module_input_name": "token_embeddings"}, "scales 'token_embeddings'"),
    "length": ("sentence_bert_config.json", {"max_seq_length": "long"}, "max_seq_length must be a number of tokens"),
    "task": ("sentence_bert_config.json", {"transformer_task": "fill-mask"}, "uses the model for 'fill-mask'"),
    "prompts": ("config_sentence_transformers.json", {"prompts": ["a"]}, "prompts must be an object"),
    "list": ("sentence_bert_config.json", [], "a JSON object was expected"),
}


@pytest.mark.parametrize("kind", ["BERT", "Transformer", "RoBERTa"])
def test_an_encoder_in_a_folder_of_its_own(kind: str, folder: Path) -> None:
    expected = vectors(folder)
    inner = folder / f"0_{kind}"
    inner.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "tokenizer_config.json"):
        (folder / name).rename(inner / name)
    (folder / "sentence_bert_config.json").rename(inner / "sentence_bert_config.json")
    change(inner / "config.json", lambda values: {key: value for key, value in values.items() if key != "bertie"})
    (folder / "config.json").write_text('{"__version__": "0.2.0"}')
    change(folder / "modules.json", lambda steps: [{**steps[0], **step(0, inner.name, f"{OLD}{kind}")}, *steps[1:]])
    assert huggingface.read(folder).task.name == "embedding"
    assert np.array_equal(vectors(folder), expected)
    assert huggingface.read(folder, task="features").task.name == "features"


@pytest.mark.parametrize("kind", REFUSED)
def test_what_would_be_other_vectors_is_refused(kind: str, folder: Path) -> None:
    name, content, said = REFUSED[kind]
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DataError, match=said) as refusal:
        huggingface.read(folder)
    assert str(folder) in str(refusal.value)


def test_lower_case_before_a_tokenizer_that_keeps_case(folder: Path) -> None:
    change(folder / "sentence_bert_config.json", lambda values: {**values, "do_lower_case": True})
    assert huggingface.read(folder).task.name == "embedding"  # its tokenizer does so anyway
    with pytest.raises(DataError, match="lower-cases texts before the tokenizer"):
        read_layout(folder, {}, CONFIG, lowercase=False)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000, b" " * (1 << 20) + b"[]"])
def test_broken_files(content: bytes, folder: Path) -> None:
    (folder / "modules.json").write_bytes(content)
    with pytest.raises(DataError, match=r"modules\.json(: this is not valid|: not UTF-8|: nested too| has .* at most)"):
        huggingface.read(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(["pooling_mode", "pooling_mode_cls_token", "max_seq_length", "type", "path", "prompts", "idx"])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["modules.json", "1_Pooling/config.json", "sentence_bert_config.json"]),
    content=JSON | st.dictionaries(KEYS, JSON) | st.lists(st.dictionaries(KEYS, JSON), max_size=3),
)
def test_any_json_is_read_or_refused(name: str, content: Any, folder: Path) -> None:
    before = (folder / name).read_bytes()
    try:
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
        found, _ = read_layout(folder, {}, CONFIG, lowercase=True)
        assert found["pooling"] in ("mean", "cls", "max")
    except BertieError as error:
        assert str(folder) in str(error)
    finally:
        (folder / name).write_bytes(before)
