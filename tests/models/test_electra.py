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


def test_a_discriminators_folder_gives_features(tiny_tokenizer: Any, tmp_path: Path) -> None:
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.ElectraConfig(vocab_size=tiny_tokenizer.vocab_size, embedding_size=12, **shape)
    theirs = transformers.ElectraForPreTraining(config).eval()
    theirs.save_pretrained(tmp_path)
    tiny_tokenizer.save(tmp_path)
    bundle = huggingface.read(tmp_path)
    assert bundle.task.name == "features" and "left out: head.discriminator" in bundle.notes[0]
    pieces = tiny_tokenizer.pack(["the cat sat"], max_length=20)
    with torch.no_grad():
        ours = bundle.model(Batch.pack(pieces.tokens, pieces.segments, pieces.offsets))
        expected = theirs.electra(torch.as_tensor(pieces.tokens)[None]).last_hidden_state[0]
    assert ours.pooled is None
    torch.testing.assert_close(ours.hidden, expected, rtol=0, atol=1e-5)


def test_summaries_of_another_kind_are_refused() -> None:
    with pytest.raises(SettingsError, match="summary_type is 'last'"):
        ElectraConfig.from_foreign({**SMALL.to_foreign(), "summary_type": "last"})
