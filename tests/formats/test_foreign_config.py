"""config.json of a stranger: what can't be meant is refused by name, and nothing it says is run or allocated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.errors import BertieError, DataError, SettingsError
from bertie.formats import huggingface
from bertie.formats.format import new
from bertie.models.bert import BertConfig
from bertie.tasks.pretraining import Pretraining
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer

TOKENIZER = Tokenizer.build([*SPECIALS, *(f"piece{number}" for number in range(40))], lowercase=True)
CONFIG = BertConfig(45, hidden_size=16, num_layers=2, num_heads=2, intermediate_size=24, max_positions=32)
BUNDLE = new(CONFIG, Pretraining(max_length=32), TOKENIZER, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder as bertie writes it."""
    huggingface.write(BUNDLE, tmp_path / "model")
    return tmp_path / "model"


def change_config(folder: Path, *, drop: tuple[str, ...] = (), **values: Any) -> None:
    file = folder / "config.json"
    old = json.loads(file.read_text())
    file.write_text(json.dumps({**{key: value for key, value in old.items() if key not in drop}, **values}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"\xff\xfe", "UTF-16"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' * 100_000, "nested too deeply"),
        (b"[1]", "a JSON object was expected"),
        (b"null", "a JSON object was expected"),
        (b" " * (16 * 1024 * 1024 + 1), "at most"),
    ],
)
def test_config_that_is_none(content: bytes, message: str, folder: Path) -> None:
    (folder / "config.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        huggingface.read(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2' is not among .*bert"),
        ({"model_type": "../bert"}, "model_type"),
        ({"model_type": ["bert"]}, "model_type"),
        ({"hidden_act": "swish"}, "hidden_act 'swish'"),
        ({"hidden_act": ["gelu"]}, "hidden_act"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
        ({"hidden_size": 18}, "config.json says"),
        ({"hidden_size": 17}, "multiple"),
        ({"hidden_size": "16"}, "hidden_size"),
        ({"hidden_size": None}, "hidden_size"),
        ({"hidden_size": 10**15}, "hidden_size"),
        ({"hidden_size": -16}, "hidden_size"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers"),
        ({"num_hidden_layers": 3}, "lacks encoder.blocks.2"),
        ({"num_hidden_layers": 1}, r"no parameter for encoder\.blocks\.1"),
        ({"vocab_size": 10**9}, "config.json says"),
        ({"vocab_size": 44}, "45 tokens, but the model only 44"),
        ({"hidden_dropout_prob": 3}, "hidden_dropout_prob"),
        ({"layer_norm_eps": "small"}, "layer_norm_eps"),
        ({"is_decoder": True}, "a causal model attends to the left only"),
        ({"is_decoder": True, "add_cross_attention": True}, "is_decoder"),
        ({"add_cross_attention": True}, "add_cross_attention"),
        ({"bertie": 3}, "bertie"),
        ({"bertie": {"task": "pretraining", "settings": 3}}, "bertie"),
        ({"bertie": {"task": "pretraining", "settings": {"surprise": 3}}}, "surprise"),
        ({"bertie": {"task": "pretraining", "settings": {"max_length": "long"}}}, "max_length"),
        ({"bertie": {"task": "../x"}}, "task"),
        ({"bertie": {"task": ["x"]}}, "task"),
        ({"bertie": {"task": "os:system"}}, "task"),
        ({"bertie": {"task": "pretraining", "golden_ids": [1]}}, "cuts the stored test text differently"),
    ],
)
def test_config_that_says_impossible_things(values: dict[str, Any], message: str, folder: Path) -> None:
    change_config(folder, **values)
    with pytest.raises((DataError, SettingsError), match=message):
        huggingface.read(folder)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(
    [*BertConfig.FOREIGN.values(), "model_type", "architectures", "id2label", "bertie", "problem_type"]
)


@settings(max_examples=150)
@given(st.dictionaries(KEYS, JSON, min_size=1, max_size=2), st.booleans())
def test_any_config_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any], foreign: bool
) -> None:
    place = tmp_path_factory.getbasetemp() / "any-config"
    if not place.exists():
        huggingface.write(BUNDLE, place)
        (place / "config.json").rename(place / "config.first")
    (place / "config.json").write_text((place / "config.first").read_text())
    change_config(place, drop=("bertie", "architectures") if foreign else (), **values)
    try:
        state = huggingface.read(place, task="pretraining").model.state_dict()
        assert all(torch.equal(state[name], value) for name, value in BUNDLE.model.state_dict().items())
    except BertieError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, r"weights are quantized \(bitsandbytes\)"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, r"weights are quantized \(gptq\)"),
        ({"quantization_config": [1]}, r"weights are quantized \(quantization_config\)"),
        ({"auto_map": {"AutoModel": "modeling.Model", "AutoConfig": "a.B"}}, r"code in its folder \(modeling"),
        ({"pruned_heads": {"0": [1]}}, "attention heads are pruned"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling is"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type 'relative_key'"),
        ({"hidden_act": "silu"}, "hidden_act 'silu'"),
        ({"add_cross_attention": True}, "add_cross_attention is True"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings must be true or false"),
    ],
)
def test_what_would_be_another_network_is_refused(values: dict[str, Any], message: str, folder: Path) -> None:
    change_config(folder, **values)
    with pytest.raises(BertieError, match=message) as refusal:
        huggingface.read(folder)
    assert str(folder) in str(refusal.value)


def test_keys_without_a_meaning_are_named(folder: Path) -> None:
    change_config(folder, use_flash_attn=True, alibi_starting_size=512, gradient_checkpointing=True, absent=None, off=0)
    change_config(folder, pruned_heads={}, auto_map={"AutoTokenizer": "a.B"}, directionality="bidi", num_beams=3)
    (note,) = huggingface.read(folder).notes
    assert note.endswith("bertie ignores these keys: alibi_starting_size, auto_map, use_flash_attn")


def test_a_config_without_model_type(folder: Path) -> None:
    change_config(folder, drop=("model_type",))
    assert huggingface.read(folder).architecture == "bert"
    change_config(folder, drop=("model_type",), architectures=["RobertaForMaskedLM"])
    with pytest.raises(DataError, match=r"named bert\.\*, like those of a bert, but config\.json says roberta"):
        huggingface.read(folder)
    change_config(folder, drop=("model_type",), architectures=["GPT2ForMaskedLM"])
    with pytest.raises(DataError, match="no model_type, and its class 'GPT2ForMaskedLM' is not among"):
        huggingface.read(folder)


@pytest.mark.parametrize("labels", [None, True, 3, "abc", {"a": 1}, [1], [None]])
def test_stored_labels_are_names(labels: object, folder: Path) -> None:
    change_config(folder, bertie={"task": "classification", "settings": {"labels": labels}})
    with pytest.raises(DataError, match=r"config\.json: bertie\.settings\.labels must be a list of names"):
        huggingface.read(folder)
