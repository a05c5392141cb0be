"""Small models for the backends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from bertie.batch import Batch
from bertie.formats.format import Bundle
from bertie.models.model import architecture as known
from bertie.nn.initialize import initialize
from bertie.tasks.classification import Classification
from bertie.tasks.task import TaskModel

SHAPE = {"hidden_size": 64, "num_layers": 2, "num_heads": 2, "intermediate_size": 128, "max_positions": 64}


@pytest.fixture(scope="session")
def build_bundle(tiny_tokenizer: Any) -> Callable[..., Bundle]:
    """Return a function that makes a bundle of an architecture, with random weights that say something."""

    def build(architecture: str = "bert", task: Any = None, **shape: Any) -> Bundle:
        chosen = task or Classification(labels=("bad", "good"), max_length=32)
        config = known(architecture).config(tiny_tokenizer.vocab_size, **{**SHAPE, **shape})
        encoder = config.build()
        model = TaskModel(encoder, chosen.head(encoder))
        generator = torch.Generator().manual_seed(3)
        initialize(model, deviation=0.15, generator=generator)
        for name, value in model.named_parameters():  # biases and norms too, so that one left out is seen
            if name.endswith("bias") or "norm.weight" in name:
                value.data += 0.2 * torch.randn(value.shape, generator=generator)
        return Bundle(model.eval(), chosen, tiny_tokenizer, config, architecture)

    return build


@pytest.fixture(scope="session")
def mixed() -> Batch:
    """Return a batch of lengths 1 to 40 in no order, with second segments."""
    generator = torch.Generator().manual_seed(5)
    lengths = torch.tensor([7, 40, 1, 16, 3, 40, 22, 2])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    total = int(lengths.sum())
    tokens = torch.randint(5, 80, (total,), generator=generator)
    return Batch.pack(tokens, torch.randint(0, 2, (total,), generator=generator), offsets)
