"""Hugging Face folders: what is accepted is read exactly, and broken, odd and hostile ones are refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bertie.errors import DataError, SettingsError
from bertie.formats import huggingface
from bertie.formats.format import Bundle, new
from bertie.models.bert import BertConfig
from bertie.tasks.classification import Classification
from bertie.tasks.features import FeaturesTask
from bertie.tasks.pretraining import Pretraining
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer
from bertie.tokenizer.writing import save_tokenizer

TOKENIZER = Tokenizer.build([*SPECIALS, *(f"piece{number}" for number in range(40))], lowercase=True)
CONFIG = BertConfig(45, hidden_size=16, num_layers=2, num_heads=2, intermediate_size=24, max_positions=32)
BUNDLE = new(CONFIG, Pretraining(max_length=32), TOKENIZER, 3)
WORDS, DECODER = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder as bertie writes it."""
    huggingface.write(BUNDLE, tmp_path / "model")
    return tmp_path / "model"


def change_config(folder: Path, *, drop: tuple[str, ...] = (), **values: Any) -> None:
    file = folder / "config.json"
    old = json.loads(file.read_text())
    file.write_text(json.dumps({**{key: value for key, value in old.items() if key not in drop}, **values}))


def change_tensors(folder: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    file = folder / "model.safetensors"
    tensors = {name: value.clone() for name, value in load_file(file).items()}
    save_file({name: value.contiguous().clone() for name, value in change(tensors).items()}, file)


def assert_same(bundle: Bundle, expected: Bundle = BUNDLE) -> None:
    ours, theirs = bundle.model.state_dict(), expected.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_there_and_back(folder: Path) -> None:
    bundle = huggingface.read(folder)
    assert_same(bundle)
    assert (bundle.task, bundle.config, bundle.notes) == (BUNDLE.task, BUNDLE.config, ())
    assert bundle.tokenizer.fingerprint == TOKENIZER.fingerprint
    assert bundle.model.head.token_logits.embedding is bundle.model.encoder.embeddings.word.weight  # type: ignore[union-attr]
    assert not bundle.model.training
    with pytest.raises(SettingsError, match="exists already"):
        huggingface.write(bundle, folder)
    huggingface.write(bundle, folder, overwrite=True)
    assert_same(huggingface.read(folder))


def test_everybody_may_read_what_everybody_may_read_of_other_files(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    modes = {path.name: path.stat().st_mode for path in folder.rglob("*") if path.is_file()}
    assert "model.safetensors" in modes and set(modes.values()) == {(tmp_path / "usual").stat().st_mode}


def test_card_and_extra_travel(tmp_path: Path) -> None:
    bundle = Bundle(BUNDLE.model, BUNDLE.task, TOKENIZER, CONFIG, card="# 卡\n", extra={"scores": {"accuracy": 0.5}})
    huggingface.write(bundle, tmp_path / "model")
    again = huggingface.read(tmp_path / "model")
    assert (again.card, again.extra) == ("# 卡\n", {"scores": {"accuracy": 0.5}})


def test_old_names_without_prefix_with_redundant_tensors(folder: Path) -> None:
    def old(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        extra = {DECODER: tensors[WORDS], "cls.predictions.decoder.bias": tensors["cls.predictions.bias"]}
        extra["embeddings.position_ids"] = torch.arange(32)[None]
        renamed = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
            for name, value in tensors.items()
        }
        return {**{name.removeprefix("bert."): value for name, value in renamed.items()}, **extra}

    change_tensors(folder, old)
    change_config(folder, drop=("bertie",))
    names = load_file(folder / "model.safetensors").keys()
    assert "embeddings.LayerNorm.gamma" in names and not any(name.startswith("bert.") for name in names)
    assert_same(huggingface.read(folder))
    assert DECODER in huggingface.tensor_names(folder)


def test_half_precision_is_read_as_fp32(folder: Path) -> None:
    change_tensors(folder, lambda tensors: {name: value.half() for name, value in tensors.items()})
    state = huggingface.read(folder).model.state_dict()
    expected = BUNDLE.model.state_dict()
    assert all(torch.equal(value, expected[name].half().float()) for name, value in state.items())
    assert {value.dtype for value in state.values()} == {torch.float32}


@pytest.mark.parametrize("tie", [False, True, None])
def test_an_output_matrix_of_its_own(tie: bool | None, folder: Path, tmp_path: Path) -> None:
    bias = "cls.predictions.decoder.bias"
    own = torch.randn(45, 16, generator=torch.Generator().manual_seed(1))
    change_tensors(folder, lambda found: {**found, DECODER: own, bias: found["cls.predictions.bias"] + 1})
    said = {} if tie is None else {"tie_word_embeddings": tie}
    change_config(folder, drop=("bertie", "tie_word_embeddings"), **said)
    bundle = huggingface.read(folder)
    head: Any = bundle.model.head
    assert torch.equal(head.token_logits.embedding, own) and torch.equal(head.token_logits.bias, torch.ones(45))
    assert head.token_logits.embedding is not bundle.model.encoder.embeddings.word.weight  # type: ignore[union-attr]
    assert any(f"{DECODER} differs" in note for note in bundle.notes) == (tie is not False)
    huggingface.write(bundle, tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["tie_word_embeddings"] is False
    assert_same(huggingface.read(tmp_path / "again"), bundle)
    assert torch.equal(load_file(tmp_path / "again" / "model.safetensors")[bias], head.token_logits.bias)


def test_an_output_matrix_of_its_own_under_a_decoder(folder: Path, tmp_path: Path) -> None:
    change_tensors(folder, lambda tensors: {**tensors, DECODER: tensors[WORDS] + 1})
    room = {"max_length": 16, "max_target": 16, "max_new_tokens": 8}
    pair = huggingface.read(folder, task="generation", settings=room, new_head=True)
    logits: Any = pair.model.head.decoder.token_logits  # type: ignore[union-attr]
    assert torch.equal(logits.embedding, load_file(folder / "model.safetensors")[DECODER])
    huggingface.write(pair, tmp_path / "pair")
    assert_same(huggingface.read(tmp_path / "pair"), pair)
    assert huggingface.read(tmp_path / "pair").notes == ()
    written = load_file(tmp_path / "pair" / "model.safetensors")
    assert torch.equal(written["decoder.cls.predictions.decoder.bias"], logits.bias)


def test_an_output_matrix_of_its_own_is_left_out_where_nothing_is_guessed(folder: Path, tmp_path: Path) -> None:
    change_tensors(folder, lambda tensors: {**tensors, DECODER: tensors[WORDS] + 1})
    change_config(folder, drop=("bertie",))
    features = huggingface.read(folder, task="features")
    assert any("not needed for features, left out: head.next_sentence, head.token_logits" in x for x in features.notes)
    huggingface.write(features, tmp_path / "features")
    assert not any("decoder" in name for name in load_file(tmp_path / "features" / "model.safetensors"))
    assert_same(huggingface.read(tmp_path / "features"), features)
    learned = huggingface.read(folder, task="classification", settings={"labels": ("a", "b")}, new_head=True)
    assert learned.model.head.classifier.weight.shape == (2, 16)  # type: ignore[union-attr]


def test_two_names_of_one_tensor_are_refused(folder: Path) -> None:
    change_tensors(folder, lambda tensors: {**tensors, WORDS.removeprefix("bert."): tensors[WORDS] + 1})
    with pytest.raises(DataError, match=f"the tensor {WORDS} twice"):
        huggingface.read(folder)


QUERY = "bert.encoder.layer.1.attention.self.query.weight"
BROKEN: dict[str, tuple[Callable[[dict[str, Tensor]], dict[str, Tensor]], str]] = {
    "missing": (lambda found: {name: value for name, value in found.items() if name != WORDS}, "lacks encoder.embed"),
    "no query": (
        lambda found: {name: value for name, value in found.items() if name != QUERY},
        "lacks|unknown",
    ),
    "extra": (lambda found: {**found, "bert.surprise.weight": torch.ones(2)}, "bert.surprise.weight is unknown"),
    "layer": (lambda found: {**found, QUERY.replace(".1.", ".7."): torch.ones(16, 16)}, r"layer\.7|blocks\.7"),
    "shape": (lambda found: {**found, WORDS: torch.ones(45, 15)}, r"word.weight is \(45, 15\), config.json says"),
    "nan": (lambda found: {**found, QUERY: found[QUERY] * float("nan")}, f"{QUERY} holds values that are not finite"),
    "infinity": (lambda found: {**found, QUERY: found[QUERY] / 0}, "not finite"),
    "integers": (lambda found: {**found, QUERY: torch.ones(16, 16, dtype=torch.int64)}, f"{QUERY} is of type"),
    "empty": (lambda found: {}, "num_hidden_layers 2 is more than the file holds"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_wrong_tensors(kind: str, folder: Path) -> None:
    change, message = BROKEN[kind]
    change_tensors(folder, change)
    with pytest.raises(DataError, match=message) as refusal:
        huggingface.read(folder)
    assert str(folder) in str(refusal.value)


@pytest.mark.parametrize("kept", [0, 7, 100, 3000, -1])
def test_truncated_weights(kept: int, folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"model\.safetensors is damaged"):
        huggingface.read(folder)


def test_weights_cut_into_files(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    names = sorted(tensors)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, chosen in parts.items():
        save_file({name: tensors[name] for name in chosen}, folder / file)
    weights = (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {name: file for file, chosen in parts.items() for name in chosen}}))
    assert_same(huggingface.read(folder))
    outside = ["../outside.safetensors", str(weights), "..", "", "nowhere.safetensors", 3, None]
    for content in [*({"weight_map": {"a": name}} for name in outside), {"weight_map": {}}, {"weight_map": []}, [], 3]:
        index.write_text(json.dumps(content))
        with pytest.raises(DataError, match=r"index\.json (names|is not an index)"):
            huggingface.read(folder)
    index.write_text("[" * 100_000)
    with pytest.raises(DataError, match="is not an index"):
        huggingface.read(folder)


def test_pickles_are_refused_with_the_way_out(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(SettingsError, match=r"holds no model\.safetensors"):
        huggingface.read(folder)
    (folder / "pytorch_model.bin").write_bytes(b"never opened")
    with pytest.raises(SettingsError, match=f"bertie convert {folder} {folder}-safetensors"):
        huggingface.read(folder)


def test_a_vocabulary_that_was_changed(folder: Path) -> None:
    save_tokenizer(Tokenizer.build(TOKENIZER.tokens, lowercase=False), folder)
    change_config(folder, bertie={"task": "pretraining", "golden_ids": [5, 6]})
    with pytest.raises(DataError, match="cuts the stored test text differently"):
        huggingface.read(folder)
    save_tokenizer(Tokenizer.build([*TOKENIZER.tokens, "more"], lowercase=True), folder)
    with pytest.raises(DataError, match="46 tokens, but the model only 45"):
        huggingface.read(folder)


@pytest.mark.parametrize("settings", [b"{", b"[]", b"[" * 100_000, b"\xff"])
def test_broken_tokenizer_settings(settings: bytes, folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_bytes(settings)
    with pytest.raises(DataError, match=r"tokenizer_config\.json"):
        huggingface.read(folder)


@pytest.mark.parametrize(
    ("architecture", "task"),
    [
        ("BertForPreTraining", "pretraining"),
        ("BertForMaskedLM", "masked_lm"),
        ("BertForNextSentencePrediction", "next_sentence"),
        ("BertModel", "features"),
        (None, "pretraining"),
    ],
)
def test_the_task_is_inferred(architecture: str | None, task: str, folder: Path) -> None:
    change_config(folder, drop=("bertie",), architectures=architecture and [architecture])
    bundle = huggingface.read(folder)
    assert bundle.task.name == task
    assert bundle.task.max_length == 32  # type: ignore[attr-defined]
    assert len(bundle.notes) == (task != "pretraining")


def test_architectures_without_a_task(folder: Path) -> None:
    change_config(folder, drop=("bertie",), architectures=["BertForGuessing"])
    with pytest.raises(SettingsError, match="is a BertForGuessing, for which bertie has no task"):
        huggingface.read(folder)
    assert huggingface.read(folder, task="masked_lm").task.name == "masked_lm"
    with pytest.raises(SettingsError, match="unknown task"):
        huggingface.read(folder, task="masked")


def test_labels_keep_the_order_of_their_numbers(tmp_path: Path) -> None:
    labels = tuple(f"name {number * 7 % 12}" for number in range(12))
    huggingface.write(new(CONFIG, Classification(labels, max_length=16), TOKENIZER, 1), tmp_path / "model")
    assert huggingface.read(tmp_path / "model").task == Classification(labels, max_length=16)
    backwards = {str(number): labels[number] for number in reversed(range(12))}
    change_config(tmp_path / "model", drop=("bertie",), id2label=backwards)
    assert huggingface.read(tmp_path / "model").task == Classification(labels, max_length=32)
    change_config(tmp_path / "model", id2label={"0": "LABEL_0", "1": "LABEL_1"})
    assert huggingface.read(tmp_path / "model").task.labels[-1] == "LABEL_11"  # type: ignore[attr-defined]
    for wrong in ({"1": "a", "2": "b"}, {"x": "a"}, ["a"], 3):
        change_config(tmp_path / "model", id2label=wrong)
        with pytest.raises(DataError, match="id2label must give a name"):
            huggingface.read(tmp_path / "model")
    change_config(tmp_path / "model", id2label=backwards, problem_type="regression")
    with pytest.raises(DataError, match="regression with 12 outputs; bertie's regression has one"):
        huggingface.read(tmp_path / "model")


def test_a_missing_pooler(folder: Path) -> None:
    change_tensors(folder, lambda found: {name: value for name, value in found.items() if "pooler" not in name})
    assert huggingface.read(folder, task="features").task == FeaturesTask(max_length=32, pooler=False)
    assert huggingface.read(folder, task="masked_lm").task.name == "masked_lm"
    with pytest.raises(SettingsError, match=r"has no head\.pooler\.dense\.bias"):
        huggingface.read(folder)


def test_a_new_head_says_what_it_drew(folder: Path) -> None:
    labels = {"labels": ("a", "b", "c")}
    with pytest.raises(SettingsError, match=r"has no head\.classifier\.bias, head\.classifier\.weight, which"):
        huggingface.read(folder, task="classification", settings=labels)
    first = huggingface.read(folder, task="classification", settings=labels, new_head=True, seed=4)
    assert first.notes[0] == f"{folder}: initialized at random from seed 4: classifier.bias, classifier.weight"
    state, pooler = first.model.state_dict(), "head.pooler.dense.weight"
    assert torch.equal(state[pooler], BUNDLE.model.state_dict()[pooler])
    assert float(state["head.classifier.weight"].std()) == pytest.approx(0.02, rel=0.5)
    again = huggingface.read(folder, task="classification", settings=labels, new_head=True, seed=4)
    other = huggingface.read(folder, task="classification", settings=labels, new_head=True, seed=5)
    assert_same(again, first)
    assert not torch.equal(other.model.state_dict()["head.classifier.weight"], state["head.classifier.weight"])


def hub_cache(root: Path, folder: Path) -> None:
    """Lay out huggingface_hub's cache: files are blobs, and a snapshot links to them."""
    place = root / "models--someone--small"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("0" * 40)
    snapshot = place / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (place / "blobs").mkdir()
    for file in folder.iterdir():
        file.rename(place / "blobs" / file.name)
        (snapshot / file.name).symlink_to(f"../../blobs/{file.name}")


def test_a_hub_id_comes_from_the_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub_cache(tmp_path / "hub", folder)
    monkeypatch.chdir(tmp_path)  # what lies beside the repository is none of the test's
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert_same(huggingface.read(huggingface.resolve("someone/small")))
    with pytest.raises(
        SettingsError, match=r"someone/large is not a local folder, and it could not be read from the hub"
    ):
        huggingface.resolve("someone/large")
    for wrong in ("./someone", "/nowhere/someone", "a/b/c", "some one", "../x", ""):
        with pytest.raises(SettingsError):
            huggingface.resolve(wrong)
