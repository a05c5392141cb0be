"""Pooling against a loop over texts: several texts an item, several windows a text."""

from __future__ import annotations

import pytest
import torch

from bertie.batch import Batch
from bertie.nn.pooling import Pooling, TextPooling, first_sequences

# Item 0: a text in two windows and its pair; item 1: one text; item 2: two texts.
LENGTHS, ROWS, SIDES = [3, 4, 2, 5, 2, 3], [0, 0, 0, 1, 2, 2], [0, 0, 1, 0, 0, 1]
TEXTS = [[0, 1], [2], [3], [4], [5]]
OFFSETS = [0, 3, 7, 9, 14, 16, 19]
HIDDEN = torch.randn(19, 4, generator=torch.Generator().manual_seed(0))
SHARES = torch.rand(19, generator=torch.Generator().manual_seed(1)) + 0.1


def batch(**targets: torch.Tensor) -> Batch:
    zeros = torch.zeros(19, dtype=torch.int64)
    return Batch.pack(zeros, zeros, OFFSETS, rows=ROWS, targets={"sequence.side": torch.tensor(SIDES), **targets})


def tokens_of(text: list[int]) -> list[int]:
    return [place for sequence in text for place in range(OFFSETS[sequence], OFFSETS[sequence + 1])]


@pytest.mark.parametrize("pooling", ["mean", "cls", "max"])
@pytest.mark.parametrize("normalized", [False, True])
def test_every_text_has_its_vector(pooling: Pooling, normalized: bool) -> None:
    found = TextPooling(pooling, normalized=normalized)(HIDDEN, batch(**{"token.share": SHARES}))
    expected = []
    for text in TEXTS:
        tokens = tokens_of(text)
        if pooling == "mean":
            vector = (HIDDEN[tokens] * SHARES[tokens, None]).sum(0) / SHARES[tokens].sum()
        elif pooling == "cls":
            vector = HIDDEN[[OFFSETS[sequence] for sequence in text]].mean(0)
        else:
            vector = HIDDEN[tokens].max(0).values
        expected.append(vector / vector.norm() if normalized else vector)
    torch.testing.assert_close(found, torch.stack(expected))


def test_without_targets_every_sequence_is_a_text() -> None:
    zeros = torch.zeros(19, dtype=torch.int64)
    bare = Batch.pack(zeros, zeros, OFFSETS)
    assert first_sequences(bare).tolist() == [0, 1, 2, 3, 4, 5]
    found = TextPooling("mean", normalized=False)(HIDDEN, bare)
    torch.testing.assert_close(found[1], HIDDEN[3:7].mean(0))


def test_gradients() -> None:
    values = HIDDEN.double().requires_grad_()
    assert first_sequences(batch()).tolist() == [0, 2, 3, 4, 5]
    for pooling in ("mean", "cls", "max"):
        pooled = TextPooling(pooling, normalized=True)(values, batch(**{"token.share": SHARES}))  # type: ignore[arg-type]
        pooled[:, 0].sum().backward()
        assert values.grad is not None and torch.isfinite(values.grad).all() and bool(values.grad.any())
        values.grad = None
