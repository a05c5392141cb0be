"""`pretrain --add-words`: a trained model gains whole words, and keeps what it had."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bertie
from bertie.corpus.pairs import PairCounts
from bertie.errors import DataError, SettingsError
from bertie.formats.format import Bundle
from bertie.formats.huggingface import read
from bertie.formats.widen import widen
from bertie.tasks.masked_lm import MaskedLM
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.widen import widened
from bertie.training.settings import TrainingSettings

Make = Callable[..., Path]
SMALL: dict[str, Any] = {"length": 16, "batch_tokens": 256, "threads": 1}
WORDS = ("the", "cat", "volcano", "catfish", "ran", "saw", "dog")


@pytest.fixture(scope="module")
def corpus(prepare_sentences: Callable[..., Path]) -> Path:
    return prepare_sentences(WORDS, count=120, lengths=(4, 9), document=6)


@pytest.fixture(scope="module")
def encoder(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("encoder") / "run"
    model = {"size": "1/32", "num_heads": 2, "dropout": 0.0}
    bertie.pretrain(corpus=corpus, out=out, model=model, task="masked_lm", steps=2, **SMALL)  # type: ignore[arg-type]
    return out / "model"


def test_a_model_gains_words_and_other_programs_read_it(corpus: Path, encoder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    out = tmp_path / "run"
    report = bertie.pretrain(
        corpus=corpus, dev=corpus, out=out, from_=str(encoder), add_words="2", task="masked_lm", steps=2, **SMALL
    )
    assert (out / "prepared" / "words.txt").read_text() == "volcano\ncatfish\n"
    tokenizer, model = AutoTokenizer.from_pretrained(out / "model"), AutoModelForMaskedLM.from_pretrained(out / "model")
    before = AutoTokenizer.from_pretrained(encoder)
    assert tokenizer.tokenize("the Volcano ran") == ["the", "volcano", "ran"]
    assert tokenizer("the cat ran").input_ids == before("the cat ran").input_ids
    assert model.get_input_embeddings().weight.shape[0] == len(before) + 2 == model.config.vocab_size
    assert np.isfinite(report.values["dev_loss"])
    assert "2 whole words were added" in (out / "report.html").read_text(encoding="utf-8")
    fills = bertie.load(str(out / "model")).predict("the [MASK] ran")
    assert fills


def test_what_a_model_had_stays(encoder: Path) -> None:
    before, bundle = read(encoder, task="masked_lm"), read(encoder, task="masked_lm")
    tokenizer = widened(bundle.tokenizer, ["volcano", "catfish"])
    wide = widen(bundle, tokenizer, _counts(tokenizer))
    old, new = before.model.state_dict(), wide.model.state_dict()
    size = before.tokenizer.vocab_size
    for name, value in old.items():
        assert torch.equal(new[name][: len(value)] if value.dim() else new[name], value), name
    table = new["encoder.embeddings.word.weight"]
    assert table.shape[0] == size + 2 == wide.config.vocab_size == wide.model.encoder.config.vocab_size  # type: ignore[union-attr]
    pieces = bundle.tokenizer.encode_batch(["volcano"])[0]
    assert torch.allclose(table[size], table[pieces].mean(0))  # too few known words to fit on


def test_neighbours_place_a_new_word_beside_its_like() -> None:
    """New words used like known ones get vectors like theirs, whatever their pieces are."""
    letters = [chr(97 + number) for number in range(26)]
    names = [f"{a}{b}" for a in letters for b in letters][:600]
    tokenizer = Tokenizer.build(
        ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{each}" for each in letters), *names],
        lowercase=True,
    )
    wider = widened(tokenizer, ["newone", "newtwo"])
    bundle = _bundle(tokenizer)
    table: Any = bundle.model.encoder.embeddings.word.weight  # type: ignore[union-attr]
    first = tokenizer.token_id(names[0])
    groups = torch.arange(600) % 2  # words of one group stand beside words of the other
    with torch.no_grad():
        table[first : first + 600] = torch.randn(2, 16, generator=torch.Generator().manual_seed(0))[groups]
        table[first : first + 600] += 0.1 * torch.randn(600, 16, generator=torch.Generator().manual_seed(1))
    new = tokenizer.vocab_size
    members = {0: [*range(first, first + 600, 2), new], 1: [*range(first + 1, first + 600, 2), new + 1]}
    draw = np.random.default_rng(0)
    left = np.concatenate([np.repeat(members[group], 30) for group in (0, 1)])
    right = np.concatenate([draw.choice(members[1 - group][:-1], len(members[group]) * 30) for group in (0, 1)])
    wide = widen(bundle, wider, _pairs(left, right, wider.vocab_size))
    rows: Any = wide.model.encoder.embeddings.word.weight.detach()  # type: ignore[union-attr]
    means = torch.stack([rows[members[group][:-1]].mean(0) for group in (0, 1)])
    for group in (0, 1):
        assert torch.cdist(rows[new + group][None], means).argmin() == group


@pytest.mark.parametrize("at", [1, 4])
def test_an_interrupted_run_ends_with_the_same_weights(
    at: int, corpus: Path, encoder: Path, tmp_path: Path, break_off: Callable[..., None]
) -> None:
    how: dict[str, Any] = {"corpus": corpus, "from_": str(encoder), "add_words": "2", "task": "masked_lm", "steps": 5}
    how |= {"training": TrainingSettings(save_every=2), **SMALL}
    bertie.pretrain(out=tmp_path / "whole", **how)
    break_off(at=at, out=tmp_path / "parts", **how)
    assert bertie.pretrain(out=tmp_path / "parts", resume=True, **how).values["steps"] == 5
    parts, whole = (read(tmp_path / name / "model").model.state_dict() for name in ("parts", "whole"))
    assert all(torch.equal(parts[name], value) for name, value in whole.items())
    assert bertie.pretrain(out=tmp_path / "parts", resume=True, **how).values["steps"] == 5  # finished already


def test_a_corpus_of_the_wider_vocabulary_is_taken_as_it_is(corpus: Path, encoder: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    bertie.pretrain(corpus=corpus, out=first, from_=str(encoder), add_words="1", task="masked_lm", steps=1, **SMALL)
    own = first / "prepared" / "corpus"
    bertie.pretrain(corpus=own, out=tmp_path / "second", from_=str(encoder), task="masked_lm", steps=1, **SMALL)
    assert read(tmp_path / "second" / "model").tokenizer.tokens[-1] == "volcano"


@pytest.mark.parametrize(
    ("words", "said"), [("0", "at least 1"), ("-3", "at least 1"), ("none.txt", "none.txt"), ("4.5", "4.5")]
)
def test_what_is_no_number_and_no_file_is_refused(
    words: str, said: str, corpus: Path, encoder: Path, tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=said):
        bertie.pretrain(corpus=corpus, out=tmp_path / "run", from_=str(encoder), add_words=words, steps=1, **SMALL)
    assert not (tmp_path / "run").exists()


def test_random_weights_have_no_old_vocabulary(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="train-tokenizer"):
        bertie.pretrain(corpus=corpus, out=tmp_path / "run", add_words="3", steps=1, **SMALL)


def test_a_run_that_failed_before_its_first_step_begins_again(corpus: Path, encoder: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    how: dict[str, Any] = {"corpus": corpus, "from_": str(encoder), "task": "masked_lm", "out": out, **SMALL}
    with pytest.raises(SettingsError, match="--length 9999 is more than"):
        bertie.pretrain(add_words="2", steps=1, **{**how, "length": 9999})
    assert (out / "prepared").is_dir()
    with pytest.raises(DataError, match="with other settings"):
        bertie.pretrain(add_words="1", steps=1, **how)
    assert bertie.pretrain(add_words="2", steps=1, **how).values["steps"] == 1


def test_a_folder_in_use_and_another_corpus_are_refused(corpus: Path, encoder: Path, tmp_path: Path) -> None:
    how: dict[str, Any] = {"from_": str(encoder), "add_words": "1", "task": "masked_lm", "steps": 1, **SMALL}
    bertie.pretrain(corpus=corpus, out=tmp_path / "run", **how)
    with pytest.raises(SettingsError, match="exists already"):
        bertie.pretrain(corpus=corpus, out=tmp_path / "run", **how)
    other = tmp_path / "run" / "prepared" / "corpus"
    with pytest.raises(DataError, match="made from other text"):
        bertie.pretrain(corpus=other, out=tmp_path / "run", resume=True, **how)


def _bundle(tokenizer: Tokenizer) -> Bundle:
    from bertie.formats.format import new
    from bertie.models.bert import BertConfig

    config = BertConfig(tokenizer.vocab_size, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=32)
    return new(config, MaskedLM(max_length=16), tokenizer, 0)


def _pairs(left: Any, right: Any, size: int) -> PairCounts:
    keys, counts = np.unique(left * size + right, return_counts=True)
    tokens = np.bincount(np.concatenate([left, right]), minlength=size)
    return PairCounts(tokens, keys, counts)


def _counts(tokenizer: Tokenizer) -> PairCounts:
    ids = np.arange(tokenizer.vocab_size - 1)
    return _pairs(ids, ids + 1, tokenizer.vocab_size)
