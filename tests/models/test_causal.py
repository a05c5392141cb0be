"""The decoder-only model: it sees no future, and refuses what needs both sides."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.formats import huggingface
from bertie.formats.format import Bundle, new
from bertie.models.bert import BertConfig
from bertie.models.causal import CausalConfig
from bertie.models.modernbert import ModernBertConfig
from bertie.nn.initialize import initialize
from bertie.tasks.causal_lm import CausalLM
from bertie.tasks.classification import Classification
from bertie.tasks.hybrid import Hybrid
from bertie.tasks.masked_lm import MaskedLM

VOCABULARY = 23
LENGTHS = st.lists(st.integers(1, 20), min_size=1, max_size=5)


def scattered(config: Any) -> Any:
    encoder = config.build()
    initialize(encoder, deviation=0.2, generator=torch.Generator().manual_seed(1))
    return encoder.eval()


BERT = replace(BertConfig.sized("2/32", vocab_size=VOCABULARY), num_heads=2)
MODERN = replace(ModernBertConfig.sized("2/32", vocab_size=VOCABULARY), num_heads=2)
READERS = {"causal": scattered(CausalConfig.over(BERT)), "bert": scattered(BERT), "modernbert": scattered(MODERN)}


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=15)
@given(LENGTHS, st.data())
def test_a_future_token_changes_no_earlier_output(name: str, lengths: list[int], data: st.DataObject) -> None:
    tokens = torch.randint(0, VOCABULARY, (sum(lengths),), generator=torch.Generator().manual_seed(3))
    batch = replace(
        Batch.pack(tokens, torch.zeros_like(tokens), torch.tensor([0, *lengths]).cumsum(0)), causal=name != "causal"
    )
    place = data.draw(st.integers(0, len(tokens) - 1))
    sequence = int((batch.offsets <= place).sum()) - 1
    end = int(batch.offsets[sequence + 1])
    changed = tokens.clone()
    changed[place] = (changed[place] + 1) % VOCABULARY
    with torch.no_grad():
        before, after = (READERS[name](replace(batch, tokens=ids)) for ids in (tokens, changed))
        seen = READERS["bert"](replace(batch, causal=False, tokens=changed))
    others = [*range(place), *range(end, len(tokens))]
    assert torch.equal(after[others], before[others])
    assert not torch.allclose(after[place], before[place])
    if name == "bert" and sequence == len(lengths) - 1 and len(tokens) - int(batch.offsets[sequence]) > 1:
        assert not torch.allclose(seen[-lengths[-1] :], after[-lengths[-1] :])  # both sides are another matter


def test_causal_travels_with_a_batch() -> None:
    batch = replace(Batch.pack([1, 2, 3], [0, 0, 0], [0, 1, 3]), causal=True)
    assert batch.select([1]).causal and batch.to("cpu").causal
    assert [part.causal for part in batch.split(2)] == [True, True]


def test_what_needs_both_sides_is_refused(tiny_tokenizer: Any) -> None:
    shape = CausalConfig.over(replace(BERT, vocab_size=tiny_tokenizer.vocab_size))
    for task in (MaskedLM(), Hybrid()):
        with pytest.raises(SettingsError, match=f"{task.name} predicts tokens from both sides, and a causal model"):
            new(shape, task, tiny_tokenizer, 0, architecture="causal")
    with pytest.raises(SettingsError, match="no vector of a whole text"):
        new(shape, Classification(labels=("a", "b")), tiny_tokenizer, 0, architecture="causal")
    modern = replace(MODERN, vocab_size=tiny_tokenizer.vocab_size)
    with pytest.raises(SettingsError, match="can't continue texts"):
        new(modern, CausalLM(), tiny_tokenizer, 0, architecture="modernbert")


def bundle_of(task: Any, tokenizer: Any) -> Bundle:
    shape = replace(BERT, vocab_size=tokenizer.vocab_size, max_positions=64)
    return new(shape, task, tokenizer, 0)


def test_a_bert_that_learns_causal_lm_is_decoder_only(tiny_tokenizer: Any, tmp_path: Path) -> None:
    made = bundle_of(CausalLM(max_length=64), tiny_tokenizer)
    assert (made.architecture, type(made.config)) == ("causal", CausalConfig)
    huggingface.write(bundle_of(MaskedLM(max_length=64), tiny_tokenizer), tmp_path / "masked")
    begun = huggingface.read(tmp_path / "masked", task="causal_lm", new_head=True)  # as pre-training goes on from it
    assert begun.architecture == "causal"
    huggingface.write(begun, tmp_path / "causal")
    values = json.loads((tmp_path / "causal" / "config.json").read_text())
    assert (values["architectures"], values["is_decoder"]) == (["BertLMHeadModel"], True)
    assert huggingface.read(tmp_path / "causal").architecture == "causal"


def test_what_a_folder_has_not_learned_is_refused(tiny_tokenizer: Any, tmp_path: Path) -> None:
    for task in (MaskedLM(max_length=64), Hybrid(max_length=64), CausalLM(max_length=64)):
        huggingface.write(bundle_of(task, tiny_tokenizer), tmp_path / task.name)
    for name, wrong in [("masked_lm", "causal_lm"), ("masked_lm", "hybrid"), ("causal_lm", "hybrid")]:
        with pytest.raises(SettingsError, match=f"was not trained for {wrong}: its texts and scores would be noise"):
            huggingface.read(tmp_path / name, task=wrong)
    for name in ("hybrid", "causal_lm"):
        with pytest.raises(
            SettingsError, match=f"was trained for {name}, which predicts each token at the position before it"
        ):
            huggingface.read(tmp_path / name, task="masked_lm")
    assert huggingface.read(tmp_path / "hybrid").architecture == "bert"
    assert huggingface.read(tmp_path / "hybrid", task="causal_lm").architecture == "causal"


def test_a_decoder_of_a_source_is_none(tiny_tokenizer: Any, tmp_path: Path) -> None:
    huggingface.write(bundle_of(CausalLM(max_length=64), tiny_tokenizer), tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    (tmp_path / "model" / "SHA256SUMS").unlink()
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, "add_cross_attention": True}))
    with pytest.raises(DataError, match="cross-attention"):
        huggingface.read(tmp_path / "model")
    file.write_text(json.dumps({**values, "is_decoder": False}))  # what it has learned is said by its task
    assert huggingface.read(tmp_path / "model").architecture == "causal"
    del values["bertie"]
    file.write_text(json.dumps({**values, "is_decoder": False}))
    with pytest.raises(SettingsError, match="was not trained for causal_lm"):
        huggingface.read(tmp_path / "model")
