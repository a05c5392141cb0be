"""ALBERT's own ways: one layer at every depth, groups of layers, narrow embeddings, folders of its pre-training."""

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
from bertie.models.albert import AlbertConfig
from bertie.ops.dropout.op import Noise
from bertie.tokenizer.writing import save_tokenizer

SMALL = AlbertConfig(
    60, hidden_size=16, num_layers=4, num_heads=2, intermediate_size=24, max_positions=32, embedding_size=6
)
BATCH = Batch.pack([7, 8, 9, 5, 6], [0, 0, 1, 0, 0], [0, 3, 5])


def test_the_base_size() -> None:
    with torch.device("meta"):
        encoder = AlbertConfig.sized("base", vocab_size=30000).build()
        parts = (encoder, encoder.pool("features"))
    assert sum(value.numel() for part in parts if part for value in part.parameters()) == 11_683_584
    assert AlbertConfig.sized("xlarge", vocab_size=9).num_heads == 16


def test_depth_costs_no_weights() -> None:
    deep, flat = SMALL.build().eval(), replace(SMALL, num_layers=1).build().eval()
    deep.initialize(0)
    flat.load_state_dict(deep.state_dict())
    with torch.no_grad():
        hidden = flat.embeddings(BATCH, None)
        for _ in range(4):
            hidden = flat(BATCH, None, hidden)
        assert torch.equal(deep(BATCH), hidden)
    grouped = replace(SMALL, num_groups=2).build()
    assert (len(grouped.blocks), grouped.num_rounds) == (2, 2)
    with pytest.raises(SettingsError, match="multiple of num_groups"):
        replace(SMALL, num_groups=3)


def test_each_round_drops_other_values() -> None:
    """One mask at every depth would kill the same coordinates all the way up."""
    encoder = replace(SMALL, dropout=0.5).build().train()
    encoder.initialize(0)
    block, seen = encoder.blocks[0], []
    block.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[2].key))
    one, two = (encoder(BATCH, Noise(seed)).detach() for seed in (1, 1))
    assert torch.equal(one, two) and len(set(seen)) == 4


def test_a_folder_of_its_pre_training_is_read_whole(tiny_tokenizer: Any, tmp_path: Path) -> None:
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.AlbertConfig(vocab_size=tiny_tokenizer.vocab_size, embedding_size=12, **shape)
    transformers.AlbertForPreTraining(config).save_pretrained(tmp_path)
    save_tokenizer(tiny_tokenizer, tmp_path)
    bundle = huggingface.read(tmp_path)
    assert bundle.task.name == "sentence_order" and bundle.notes == ()


def test_groups_of_several_layers_are_refused() -> None:
    with pytest.raises(SettingsError, match="inner_group_num is 2"):
        AlbertConfig.from_foreign({**SMALL.to_foreign(), "inner_group_num": 2})
