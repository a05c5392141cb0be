"""Runs by their start: what they begin with, say and write, and how they go on."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bertie
from bertie.commands import _size_choice
from bertie.commands._new_model import ModelSettings, RandomStart
from bertie.corpus.shards import Corpus
from bertie.errors import SettingsError
from bertie.formats import huggingface
from bertie.formats.format import new
from bertie.models.bert import BertConfig
from bertie.models.model import architecture
from bertie.reports import parts
from bertie.starts import neighbours
from bertie.tasks.causal_lm import CausalLM
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.pretraining import Pretraining
from bertie.tasks.replaced_token import ReplacedToken
from bertie.tokenizer.reading import load_tokenizer
from bertie.training.settings import TrainingSettings

WORDS = ("film", "story", "day", "cat", "dog", "bird", "fish", "house", "river", "city", "good", "bad", "great")
SIZE = ModelSettings(size="2/32", num_heads=2)
RUN: dict[str, Any] = {
    "task": "masked_lm",
    "length": 32,
    "batch_tokens": 256,
    "threads": 1,
    "training": TrainingSettings(save_every=2, log_every=2),
}


@pytest.fixture(scope="module")
def corpus(prepare_sentences: Callable[..., Path]) -> Path:
    return prepare_sentences(WORDS, count=900, lengths=(4, 12), document=6)


def begun(task: Any, corpus: Path, *, seed: int = 0, **changes: Any) -> tuple[Any, Any, Any]:
    """Return a network before and after it began, and what was told."""
    text, tokenizer = Corpus.open(corpus), load_tokenizer(corpus / "tokenizer")
    size = {"architecture": "bert", "size": "2/64", "num_heads": 2, **changes}
    bundle = RandomStart.of(ModelSettings(**size), tokenizer).draw(task, seed=seed)
    network = task.network(bundle.model, seed=seed)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    told = neighbours.begin(network, task, text, tokenizer, seed=seed)
    return network, before, told


def test_bias_is_the_logarithm_of_frequencies(corpus: Path) -> None:
    text, tokenizer = Corpus.open(corpus), load_tokenizer(corpus / "tokenizer")
    occurrences = np.bincount(text.gather([0], [text.num_tokens]), minlength=tokenizer.vocab_size) + 0.5
    expected = torch.from_numpy(np.log(occurrences / occurrences.sum())).float()
    for task in (MaskedLM(max_length=32), Pretraining(max_length=32)):
        network, _, told = begun(task, corpus)
        torch.testing.assert_close(network.head.token_logits.bias.detach(), expected)
        assert told.name == "neighbours" and told.tokens == text.num_tokens
    network, _, _ = begun(CausalLM(max_length=32), corpus)
    shares = network.head.token_logits.bias.detach().exp()
    assert float(shares.sum()) == pytest.approx(1.0, abs=1e-4)
    assert float(shares[tokenizer.separator]) > text.num_documents / text.num_tokens / 2  # it ends each text
    generator = begun(ReplacedToken(max_length=32), corpus, architecture="electra")[0].generator
    torch.testing.assert_close(generator.head.token_logits.bias.detach(), expected)


def test_words_get_vectors_of_their_counts_and_the_others_keep_theirs(corpus: Path) -> None:
    network, before, _ = begun(MaskedLM(max_length=32), corpus)
    table, tokenizer = network.encoder.embeddings.word.weight.detach(), load_tokenizer(corpus / "tokenizer")
    ids = [pieces[0] for pieces in tokenizer.encode_batch(list(WORDS))]
    kept = slice(0, 64 - 2 * 8)  # the last columns of both tables tell places
    drawn = before["encoder.embeddings.word.weight"]
    assert not torch.isclose(table[ids, kept], drawn[ids, kept]).all(1).any()
    assert torch.equal(table[tokenizer.mask, kept], drawn[tokenizer.mask, kept])
    assert float(table[ids, kept].std()) == pytest.approx(0.02, rel=0.2)


def test_an_output_matrix_of_its_own_begins_as_the_word_vectors(corpus: Path) -> None:
    tokenizer, task = load_tokenizer(corpus / "tokenizer"), MaskedLM(max_length=32)
    shape = BertConfig.sized("2/64", vocab_size=tokenizer.vocab_size)
    network = new(replace(shape, tied=False), task, tokenizer, 0).model
    neighbours.begin(network, task, Corpus.open(corpus), tokenizer, seed=0)
    head: Any = network.head
    words: Any = network.encoder.embeddings
    assert head.token_logits.embedding is not words.word.weight
    assert torch.equal(head.token_logits.embedding, words.word.weight)


def test_tables_that_two_models_learn_on_are_large(corpus: Path) -> None:
    """A discriminator's gradients would wash out what the generator begins with; the LayerNorm hides the size."""
    for task, size in ((MaskedLM(max_length=32), 1.0), (ReplacedToken(max_length=32), 5.0)):
        network, _, _ = begun(task, corpus, architecture="electra", size="2/128")
        words, places = (
            part.weight.detach() for part in (network.encoder.embeddings.word, network.encoder.embeddings.position)
        )
        ids = [pieces[0] for pieces in load_tokenizer(corpus / "tokenizer").encode_batch(list(WORDS))]
        assert float(words[ids, :96].std()) == pytest.approx(0.02 * size, rel=0.25)
        assert float(places.abs().max()) == pytest.approx(0.03 * size, rel=0.02)


def test_the_same_seed_gives_the_same_bits(corpus: Path) -> None:
    for name in ("bert", "modernbert", "albert"):
        one, two, other = (
            begun(MaskedLM(max_length=32), corpus, seed=seed, architecture=name)[0].state_dict() for seed in (1, 1, 2)
        )
        assert all(torch.equal(value, two[name]) for name, value in one.items())
        assert any(not torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("count", [1, 3, 40])
def test_a_corpus_too_small_to_count_gives_heads_and_bias(count: int, prepare_sentences: Callable[..., Path]) -> None:
    small = prepare_sentences(WORDS, count=count, lengths=(2, 4), document=2)
    network, before, told = begun(MaskedLM(max_length=32), small)
    state = network.state_dict()
    name = "encoder.embeddings.word.weight"
    assert told.tokens < 5000 and torch.equal(state[name][:, :48], before[name][:, :48])
    assert all(torch.isfinite(value).all() for value in state.values())
    assert not torch.equal(
        state["encoder.blocks.0.attention.qkv.weight"], before["encoder.blocks.0.attention.qkv.weight"]
    )


def test_paper_draws_what_it_always_drew() -> None:
    sums = {"bert": -23005.39190055, "modernbert": 2299.005446309844, "albert": -27081.081816392645}
    for name, expected in sums.items():
        encoder = architecture(name).config.sized("2/32", vocab_size=50).build()
        encoder.initialize(7)
        values = [value.double().flatten() for _, value in sorted(encoder.state_dict().items())]
        found = sum(float(value @ torch.arange(1.0, len(value) + 1, dtype=torch.float64)) for value in values)
        assert found == pytest.approx(expected, rel=1e-9)


def test_paper_leaves_the_weights_as_drawn(corpus: Path, tmp_path: Path) -> None:
    model = replace(SIZE, start="paper")
    bertie.pretrain(corpus=corpus, out=tmp_path / "run", model=model, steps=1, learning_rate=1e-30, seed=7, **RUN)
    drawn = RandomStart.of(SIZE, load_tokenizer(corpus / "tokenizer")).draw(MaskedLM(max_length=32), seed=7).model
    written = huggingface.read(tmp_path / "run" / "model").model.state_dict()
    assert all(torch.equal(value, written[name]) for name, value in drawn.state_dict().items())


def test_a_run_says_where_it_began(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    report = bertie.pretrain(corpus=corpus, out=tmp_path / "run", model=SIZE, steps=2, **RUN)
    tokens = Corpus.open(corpus).num_tokens
    assert f"first weights from counts of {tokens:,} tokens" in capsys.readouterr().err
    assert (report.values["start"], report.values["counted_tokens"]) == ("neighbours", tokens)
    said = f"output bias at counts of {tokens:,} tokens"
    assert said in (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert said in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert 'start = "neighbours"' in (tmp_path / "run" / "config.toml").read_text(encoding="utf-8")
    plain = bertie.pretrain(corpus=corpus, out=tmp_path / "paper", model=replace(SIZE, start="paper"), steps=2, **RUN)
    assert plain.values["start"] == "paper" and "counted_tokens" not in plain.values


def weights(out: Path) -> dict[str, Any]:
    return huggingface.read(out / "model").model.state_dict()


@pytest.mark.parametrize("at", [1, 4])
def test_a_run_that_goes_on_has_its_weights_from_the_checkpoint(
    at: int, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, break_off: Callable[..., None]
) -> None:
    wishes: dict[str, Any] = {"corpus": corpus, "model": SIZE, "steps": 5, **RUN}
    guessed: list[Any] = []
    shown = parts.masked_sentences
    monkeypatch.setattr(parts, "masked_sentences", lambda *given: guessed.append(given[:3]) or shown(*given))
    bertie.pretrain(out=tmp_path / "whole", **wishes)
    break_off(at=at, out=tmp_path / "broken", **wishes)
    with monkeypatch.context() as patch:
        if at > 2:  # there is a checkpoint
            patch.setattr(neighbours, "count_pieces", None)
        values = bertie.pretrain(out=tmp_path / "broken", resume=True, **wishes).values
    assert (values["start"], values["counted_tokens"]) == ("neighbours", Corpus.open(corpus).num_tokens)
    whole, broken = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert all(torch.equal(value, broken[name]) for name, value in whole.items())
    assert guessed[0] == guessed[1] and guessed[0][1] != guessed[0][2]  # holes, guesses before and after


def test_a_run_from_before_there_were_starts_goes_on_as_it_began(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, break_off: Callable[..., None]
) -> None:
    size = replace(SIZE, dropout=0.1)  # what runs took then, as those that begin as in the paper do today
    wishes: dict[str, Any] = {"corpus": corpus, "out": tmp_path / "run", "model": size, "steps": 5, **RUN}
    wishes["mask_rate"] = 0.15
    with monkeypatch.context() as patch:
        patch.setattr(_size_choice, "with_start", lambda model, out, resume: model)
        break_off(at=4, **wishes)
    assert "model.start" not in json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))["settings"]
    values = bertie.pretrain(resume=True, **wishes).values
    assert "start" not in values and values["steps"] == 5
    bertie.pretrain(**{**wishes, "out": tmp_path / "paper", "model": replace(SIZE, start="paper")})
    whole, broken = weights(tmp_path / "paper"), weights(tmp_path / "run")
    assert all(torch.equal(value, broken[name]) for name, value in whole.items())


def test_what_is_refused(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="unknown start 'neighbors'; did you mean 'neighbours'"):
        bertie.pretrain(corpus=corpus, out=tmp_path / "a", model=replace(SIZE, start="neighbors"), steps=1, **RUN)
    table = tmp_path / "table.tsv"
    table.write_text("text\tlabel\nthe cat\ta\nthe dog\tb\n", encoding="utf-8")
    wishes: dict[str, Any] = {"task": "classification", "train": table, "tokenizer": corpus / "tokenizer", "steps": 1}
    with pytest.raises(SettingsError, match="takes its first weights from a prepared corpus, and finetune has none"):
        bertie.finetune(replace(SIZE, start="neighbours"), out=tmp_path / "b", **wishes)
    bertie.finetune(replace(SIZE, start="paper"), out=tmp_path / "c", threads=1, **wishes)


def test_transformers_sees_the_same_heads(corpus: Path, tmp_path: Path) -> None:
    import transformers

    network, _, _ = begun(MaskedLM(max_length=32), corpus, size="2/128")
    tokenizer = load_tokenizer(corpus / "tokenizer")
    bundle = RandomStart.of(ModelSettings(size="2/128"), tokenizer).draw(MaskedLM(max_length=32), seed=0)
    bundle.model.load_state_dict(network.state_dict())
    huggingface.write(bundle, tmp_path / "model")
    theirs = transformers.BertForMaskedLM.from_pretrained(tmp_path / "model", attn_implementation="eager").eval()
    ids = torch.randint(10, tokenizer.vocab_size, (4, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        layers = theirs(ids, output_attentions=True).attentions
    for layer in layers:
        for head, offset in enumerate((-1, 1)):
            assert float(layer[:, head].diagonal(offset, 1, 2)[:, 2:-2].mean()) > 0.5
