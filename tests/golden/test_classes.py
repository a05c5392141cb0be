"""The class that a written folder names is there in transformers and takes all of its weights, of whatever kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.formats import huggingface
from bertie.formats.format import new
from bertie.models.model import architecture
from bertie.tasks.generation import Generation
from bertie.tasks.hybrid import Hybrid
from bertie.tasks.masked_lm import MaskedLM

KINDS = (
    "bert",
    "roberta",
    "distilbert",
    "albert",
    "electra",
    "modernbert",
    "roformer",
    "mpnet",
    "xlm_roberta",
    "deberta_v2",
)
KIN = KINDS[1:]
LENGTHS = {"max_length": 16, "max_target": 16, "max_new_tokens": 8}


def encoder(kind: str, tokenizer: Any, task: Any) -> Any:
    """Make a small model of a kind."""
    config = architecture(kind).config.sized("2/32", vocab_size=tokenizer.vocab_size)
    return new(config, task, tokenizer, 1, architecture=kind)


def loaded(folder: Path) -> Any:
    """Open a folder by the class that it names, which must find every key and miss none."""
    (name,) = json.loads((folder / "config.json").read_text(encoding="utf-8"))["architectures"]
    model, report = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert {kind: keys for kind, keys in report.items() if keys} == {}
    return model.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_masked_and_causal_in_one(kind: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    huggingface.write(encoder(kind, tiny_tokenizer, Hybrid(max_length=16)), tmp_path / "model")
    loaded(tmp_path / "model")


@pytest.mark.parametrize("kind", ["roberta", "albert", "modernbert"])
def test_special_ids_are_the_tokenizers(kind: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    huggingface.write(encoder(kind, tiny_tokenizer, MaskedLM(max_length=16)), tmp_path / "model")
    config = loaded(tmp_path / "model").config
    assert (config.bos_token_id, config.eos_token_id) == (tiny_tokenizer.start, tiny_tokenizer.separator)


@pytest.mark.parametrize("kind", KIN)
def test_a_decoder_over_a_bert_of_another_kind(kind: str, tiny_tokenizer: Any, tmp_path: Path) -> None:
    folder, pair = tmp_path / "encoder", tmp_path / "pair"
    huggingface.write(encoder(kind, tiny_tokenizer, MaskedLM(max_length=16)), folder)
    kind_there = architecture(kind).model_type
    with pytest.raises(SettingsError, match=f"is a {kind_there}, and a decoder.*--settings decoder=random"):
        huggingface.read(folder, task="generation", settings=LENGTHS, new_head=True)
    with pytest.raises(SettingsError, match="one shape"):
        encoder(kind, tiny_tokenizer, Generation(**LENGTHS, shared=True))
    wishes = {**LENGTHS, "decoder": "random"}
    bundle = huggingface.read(folder, task="generation", settings=wishes, new_head=True)
    huggingface.write(bundle, pair)
    theirs = loaded(pair)
    draw = torch.Generator().manual_seed(3)
    source, target = (torch.randint(10, tiny_tokenizer.vocab_size, (2, size), generator=draw) for size in (6, 5))
    batch = Batch.from_padded(source)
    with torch.no_grad():
        expected = theirs(input_ids=source, decoder_input_ids=target).logits.flatten(0, 1)
        memory = bundle.model.encoder(batch)
        found = bundle.model.head.decoder(memory, batch, Batch.from_padded(target)).materialise()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    again = huggingface.read(pair)
    assert (again.config, again.task, again.architecture) == (bundle.config, bundle.task, "seq2seq")
