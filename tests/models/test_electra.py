"""ELECTRA's own ways: narrow embeddings, heads with GELU, folders of a discriminator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.formats import huggingface
from bertie.models.electra import ElectraConfig
from bertie.tokenizer.writing import save_tokenizer

SMALL = ElectraConfig(
    60, hidden_size=16, num_layers=2, num_heads=2, intermediate_size=24, max_positions=32, embedding_size=6
)


def test_sizes() -> None:
    with torch.device("meta"):
        encoder = ElectraConfig.sized("small", vocab_size=30522).build()
    assert sum(value.numel() for value in encoder.parameters()) == 13_483_008
    assert ElectraConfig.sized("base", vocab_size=9).embedding_size == 768


def test_embeddings_are_widened_only_where_they_are_narrow() -> None:
    narrow, wide = SMALL.build(), replace(SMALL, embedding_size=16).build()
    assert narrow.embeddings.word.weight.shape == (60, 6) and narrow.embeddings.project is not None
    assert wide.embeddings.project is None
    narrow.initialize(0)
    assert narrow(Batch.pack([7, 8, 9], [0, 0, 1], [0, 3])).shape == (3, 16)
    assert narrow.token_logits()(torch.zeros(2, 16)).materialise().shape == (2, 60)


def test_a_generator_stands_on_the_discriminators_embeddings() -> None:
    encoder = replace(SMALL, num_layers=3).build()
    narrow = encoder.generator(0.5)
    shape: Any = narrow.config
    assert (shape.hidden_size, shape.num_heads, shape.intermediate_size, shape.num_layers) == (8, 1, 12, 3)
    shared = {id(value) for value in encoder.parameters()} & {id(value) for value in narrow.parameters()}
    assert len(shared) == 5  # words, positions, segments, and both of their LayerNorm
    assert narrow.embeddings.project is not encoder.embeddings.project
    sizes = [encoder.generator(share).config for share in (0.01, 0.3, 1.0)]
    assert [(size.hidden_size, size.num_heads) for size in sizes] == [(1, 1), (5, 1), (16, 2)]
    wide = ElectraConfig.sized("base", vocab_size=9)
    with torch.device("meta"):
        shape = wide.build().generator(1 / 3).config
    assert (shape.hidden_size, shape.num_heads, shape.intermediate_size) == (256, 4, 1024)  # as released


def test_a_discriminators_folder_detects(tiny_tokenizer: Any, tmp_path: Path) -> None:
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.ElectraConfig(vocab_size=tiny_tokenizer.vocab_size, embedding_size=12, **shape)
    torch.manual_seed(0)
    theirs = transformers.ElectraForPreTraining(config).eval()
    theirs.save_pretrained(tmp_path)
    save_tokenizer(tiny_tokenizer, tmp_path)
    bundle, bare = huggingface.read(tmp_path), huggingface.read(tmp_path, task="features")
    assert bundle.task.name == "replaced_token" and bundle.notes == ()
    assert "left out: head.discriminator" in bare.notes[0]
    pieces = tiny_tokenizer.pack(["the cat sat"], max_length=20)
    batch = Batch.pack(pieces.tokens, pieces.segments, pieces.offsets)
    with torch.no_grad():
        ours, features = bundle.model(batch), bare.model(batch)
        expected = theirs.electra(torch.as_tensor(pieces.tokens)[None]).last_hidden_state[0]
        logits = theirs(torch.as_tensor(pieces.tokens)[None]).logits[0]
    assert features.pooled is None
    torch.testing.assert_close(features.hidden, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours, logits, rtol=0, atol=1e-5)
    huggingface.write(bundle, tmp_path / "again")
    _, info = transformers.ElectraForPreTraining.from_pretrained(tmp_path / "again", output_loading_info=True)
    assert not any(info.values())


def test_summaries_of_another_kind_are_refused() -> None:
    with pytest.raises(SettingsError, match="summary_type is 'last'"):
        ElectraConfig.from_foreign({**SMALL.to_foreign(), "summary_type": "last"})
