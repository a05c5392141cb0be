"""Going on from a trained encoder: a new head learns alone first."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import bertie
from bertie import config
from bertie.commands._continuing import further_batch
from bertie.errors import DataError, SettingsError
from bertie.formats.format import new
from bertie.formats.huggingface import read, write
from bertie.models.bert import BertConfig
from bertie.tasks.classification import Classification
from bertie.tasks.embedding import Embedding
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.training.record import read as read_record


@pytest.fixture(scope="module")
def corpus(prepare_sentences: Callable[..., Path]) -> Path:
    return prepare_sentences(("cat", "dog", "sat", "ran", "the"), count=90, lengths=(3, 6), document=6)


@pytest.fixture(scope="module")
def encoder(tiny_tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds an encoder and no head that guesses tokens."""
    shape = BertConfig(tiny_tokenizer.vocab_size, 16, 1, 2, 32, max_positions=32)
    folder = tmp_path_factory.mktemp("given") / "model"
    write(new(shape, Classification(labels=("a", "b")), tiny_tokenizer, seed=3), folder)
    return folder


@pytest.fixture
def wishes(corpus: Path, encoder: Path, tmp_path: Path) -> dict[str, Any]:
    return {
        "corpus": corpus,
        "from_": str(encoder),
        "task": "masked_lm",
        "out": tmp_path / "run",
        "steps": 4,
        "length": 32,
        "batch_tokens": 256,
        "threads": 1,
    }


def test_a_new_head_learns_alone_before_the_first_step(wishes: dict[str, Any]) -> None:
    """The run itself moves nothing here, so that all that changed is the head's."""
    report = bertie.pretrain(**wishes, learning_rate=1e-12)
    given, found = load_file(Path(wishes["from_"]) / "model.safetensors"), read(wishes["out"] / "model")
    assert report.values["head_steps"] > 0
    for name, value in given.items():
        if name.startswith("bert.encoder."):
            held = load_file(wishes["out"] / "model" / "model.safetensors")[name]
            torch.testing.assert_close(held, value, atol=1e-6, rtol=0.0)
    bias, tokens = found.model.head.token_logits.bias, found.tokenizer  # type: ignore[union-attr]
    common, absent = tokens.encode_batch(["cat", "北"])
    assert bias[common[0]] > bias[absent[0]] + 2.0
    said = "trained alone"
    assert said in (wishes["out"] / "report.html").read_text(encoding="utf-8")
    assert said in (wishes["out"] / "model" / "README.md").read_text(encoding="utf-8")


def test_a_head_that_is_there_does_not_learn_alone(wishes: dict[str, Any], tmp_path: Path) -> None:
    first = bertie.pretrain(**wishes)
    again = {**wishes, "from_": str(wishes["out"] / "model"), "out": tmp_path / "again"}
    assert "head_steps" in first.values and "head_steps" not in bertie.pretrain(**again).values


def test_a_run_that_broke_off_ends_at_the_same_weights(
    wishes: dict[str, Any], tmp_path: Path, break_off: Callable[..., None]
) -> None:
    """Before its first checkpoint the head learns alone once more, after it never."""
    whole = bertie.pretrain(**wishes)
    expected = load_file(wishes["out"] / "model" / "model.safetensors")
    for saves, name in ((0, "early"), (1, "late")):
        training = {"training": {"save_every": saves}}
        other = {**wishes, "out": tmp_path / name, **training}
        break_off(at=3, **other)
        resumed = bertie.pretrain(**other, resume=True)
        found = load_file(tmp_path / name / "model" / "model.safetensors")
        assert all(torch.equal(found[key], value) for key, value in expected.items()), name
        assert resumed.values["head_steps"] == whole.values["head_steps"]


def test_the_head_takes_a_share_of_a_budget(wishes: dict[str, Any]) -> None:
    del wishes["steps"]
    report = bertie.pretrain(**wishes, budget="1s")
    begun = read_record(wishes["out"] / "run.json")["kept"]["begun"]
    assert 0 < report.values["head_steps"] == begun["steps"]
    assert config.read(wishes["out"])["budget"] == "1s"


def test_what_is_written_is_a_mean_with_the_given_weights(wishes: dict[str, Any], tmp_path: Path) -> None:
    """By default where the head is new; measured as it is written, and chosen once for all."""
    written = {}
    for name, keep in (("none", 0.0), ("half", None), ("most", 0.8)):
        report = bertie.pretrain(**{**wishes, "out": tmp_path / name}, keep=keep, dev=wishes["corpus"])
        written[name] = load_file(tmp_path / name / "model" / "model.safetensors"), report.values
    given = load_file(Path(wishes["from_"]) / "model.safetensors")
    name = "bert.encoder.layer.0.output.dense.weight"
    learned = written["none"][0][name]
    assert (learned - given[name]).abs().max() > 1e-4
    torch.testing.assert_close(written["half"][0][name], (given[name] + learned) / 2)
    torch.testing.assert_close(written["most"][0][name], 0.8 * given[name] + 0.2 * learned)
    losses = [written[each][1]["mask_loss_after"] for each in ("none", "half", "most")]
    assert losses == sorted(set(losses))
    assert config.read(tmp_path / "half")["keep"] == 0.5
    page = (tmp_path / "half" / "report.html").read_text(encoding="utf-8")
    assert "a mean of weights: 50% from the source" in page
    further = {**wishes, "from_": str(tmp_path / "half" / "model"), "out": tmp_path / "further"}
    bertie.pretrain(**further)
    assert config.read(tmp_path / "further")["keep"] == 0.0


def test_a_run_taken_up_again_keeps_its_share(
    wishes: dict[str, Any], tmp_path: Path, break_off: Callable[..., None]
) -> None:
    bertie.pretrain(**wishes, keep=0.3)
    other = {**wishes, "out": tmp_path / "other", "training": {"save_every": 1}}
    break_off(at=3, **other, keep=0.3)
    bertie.pretrain(**other, resume=True)
    paths = [folder / "model" / "model.safetensors" for folder in (wishes["out"], other["out"])]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_shares_that_there_are_not(wishes: dict[str, Any]) -> None:
    for share in (1.0, -0.1):
        with pytest.raises(SettingsError, match="--keep must be at least 0 and below 1"):
            bertie.pretrain(**wishes, keep=share)
    del wishes["from_"]
    with pytest.raises(SettingsError, match="--keep is a share of the weights of --from"):
        bertie.pretrain(**wishes, model={"size": "1/16"}, keep=0.5)


def test_the_loss_before_and_after_is_told(wishes: dict[str, Any], tmp_path: Path) -> None:
    """On the held-out corpus where there is one, else on text that was learned from."""
    for number, dev in enumerate((None, wishes["corpus"])):
        given = {**wishes, "out": tmp_path / str(number), "dev": dev}
        values = bertie.pretrain(**{**given, "steps": 30}).values
        assert bool([line for line in values.get("remarks", ()) if "corpus that the run learned from" in line]) == bool(
            dev
        )
        assert values["mask_loss_after"] < values["mask_loss_before"] and "fine_tune_from" not in values
        where = "the dev corpus" if dev else "a sample of the training corpus"
        assert f"On {where} the loss" in (given["out"] / "report.html").read_text(encoding="utf-8")


def test_a_run_that_bought_nothing_says_so(wishes: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    report = bertie.pretrain(**{**wishes, "steps": 10}, learning_rate=1.0)
    assert report.values["mask_loss_after"] >= report.values["mask_loss_before"]
    assert [line for line in report.values["remarks"] if "did not fall" in line]
    assert "did not fall" in capsys.readouterr().err
    assert report.next_command is not None and wishes["from_"] in report.next_command


def test_the_rate_suits_the_weights_and_stays(wishes: dict[str, Any], tmp_path: Path) -> None:
    first = bertie.pretrain(**{**wishes, "steps": 60}, learning_rate=1e-2)
    further = {**wishes, "from_": str(Path(first.values["folder"]) / "model"), "out": tmp_path / "further"}
    bertie.pretrain(**further)
    chosen = config.read(further["out"])["learning_rate"]
    assert 1e-5 <= chosen <= 1e-3
    began = read_record(further["out"] / "run.json")
    assert began["settings"]["learning_rate"] == chosen
    bertie.pretrain(**further, resume=True)
    earlier = {**further, "out": tmp_path / "earlier", "learning_rate": 7e-4}  # as an older version chose
    bertie.pretrain(**earlier)
    bertie.pretrain(**{**earlier, "learning_rate": None}, resume=True)
    assert config.read(earlier["out"])["learning_rate"] == 7e-4


def test_the_batch_is_small_for_runs_of_minutes_alone(wishes: dict[str, Any]) -> None:
    del wishes["batch_tokens"]
    bertie.pretrain(**{**wishes, "steps": 1})
    assert config.read(wishes["out"])["batch_tokens"] == 2048
    given: dict[str, Any] = {"tokens": None, "budget": None, "device": "cpu"}
    assert further_batch({**given, "budget": "10m"}, 128, compares_items=False) == 2048
    assert further_batch({**given, "budget": "5h"}, 128, compares_items=False) == 8192
    assert further_batch({**given, "tokens": 10**8}, 128, compares_items=False) == 8192
    assert further_batch({**given, "device": "cuda", "budget": "10m"}, 128, compares_items=False) == 8192
    assert further_batch({**given, "budget": "10m"}, 4096, compares_items=False) == 4096
    assert further_batch({**given, "budget": "10m"}, 128, compares_items=True) == 8192


def test_a_sentence_encoder_goes_on_to_embed_as_it_did(
    wishes: dict[str, Any], tiny_tokenizer: Tokenizer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another program's folder says how texts become vectors, and that stays."""
    shape = BertConfig(tiny_tokenizer.vocab_size, 16, 1, 2, 32, max_positions=32)
    folder = tmp_path / "sentences"
    write(new(shape, Embedding(pooling="cls", normalize=False, pooler=True), tiny_tokenizer, seed=3), folder)
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del values["bertie"]
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    (folder / "SHA256SUMS").unlink()
    del wishes["task"]
    bertie.pretrain(**{**wishes, "from_": str(folder)})
    assert "the objective is embedding" in capsys.readouterr().err
    task = read(wishes["out"] / "model").task
    assert isinstance(task, Embedding)
    assert (task.pooling, task.normalize, task.pooler) == ("cls", False, True)
    other = {**wishes, "from_": str(folder), "out": tmp_path / "other", "settings": {"pooling": "mean"}}
    bertie.pretrain(**other)
    found = read(other["out"] / "model").task
    assert isinstance(found, Embedding) and (found.pooling, found.normalize) == ("mean", False)


def test_a_corpus_without_pairs_of_passages_teaches_masked_words(
    wishes: dict[str, Any],
    prepare_sentences: Callable[..., Path],
    tiny_tokenizer: Tokenizer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shape = BertConfig(tiny_tokenizer.vocab_size, 16, 1, 2, 32, max_positions=32)
    write(new(shape, Embedding(), tiny_tokenizer, seed=3), tmp_path / "sentences")
    lines = prepare_sentences(("cat", "dog", "sat"), count=90, lengths=(3, 6), document=1)
    given = {**wishes, "from_": str(tmp_path / "sentences"), "corpus": lines}
    with pytest.raises(DataError, match="no document of the corpus has two sentences"):
        bertie.pretrain(**{**given, "task": "embedding", "out": tmp_path / "named"})
    del given["task"]
    report = bertie.pretrain(**given)
    assert "the objective is masked_lm, because embedding needs" in capsys.readouterr().err
    assert report.values["mask_loss_after"] > 0 and config.read(wishes["out"])["task"] == "masked_lm"
