"""Embedding tables: values and gradients as torch's own, deterministic, and usable under compilation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bertie.batch import Batch
from bertie.nn.embeddings import Embeddings, EmbeddingTable

ROWS, SIZE = 11, 6


def tables() -> tuple[EmbeddingTable, nn.Embedding]:
    ours, theirs = EmbeddingTable(ROWS, SIZE), nn.Embedding(ROWS, SIZE)
    with torch.no_grad():
        ours.weight.copy_(theirs.weight)
    return ours, theirs


def test_lookup_and_gradient_equal_torch_own() -> None:
    ours, theirs = tables()
    indices = torch.randint(0, ROWS - 2, (300,))  # the last two rows never occur
    direction = torch.randn(300, SIZE)
    (ours(indices) * direction).sum().backward()
    (theirs(indices) * direction).sum().backward()
    assert torch.equal(ours(indices), theirs(indices))
    assert ours.weight.grad is not None and theirs.weight.grad is not None
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    assert not ours.weight.grad[-2:].any()


def test_numeric_gradient() -> None:
    table = EmbeddingTable(ROWS, SIZE).double()
    nn.init.normal_(table.weight)
    indices = torch.tensor([3, 3, 0, 10, 3])
    assert torch.autograd.gradcheck(lambda _: table(indices), (table.weight,))


def test_gradient_is_the_same_every_time() -> None:
    ours, _ = tables()
    indices, direction = torch.randint(0, ROWS, (5000,)), torch.randn(5000, SIZE)
    found = [torch.autograd.grad((ours(indices) * direction).sum(), ours.weight)[0] for _ in range(5)]
    assert all(torch.equal(found[0], other) for other in found)


def test_the_operator_is_well_defined() -> None:
    ours, _ = tables()
    torch.library.opcheck(torch.ops.bertie.lookup.default, (ours.weight, torch.tensor([1, 1, 2])))
    torch.library.opcheck(
        torch.ops.bertie.lookup_backward.default, (torch.randn(3, SIZE), torch.tensor([1, 1, 2]), ROWS)
    )


def test_compiles_as_one_graph() -> None:
    torch._dynamo.reset()
    ours, _ = tables()
    indices = torch.tensor([1, 1, 2])
    compiled = torch.compile(lambda given: torch.tanh(ours(given)), fullgraph=True, backend="aot_eager")
    (expected,) = torch.autograd.grad(torch.tanh(ours(indices)).sum(), ours.weight)
    (found,) = torch.autograd.grad(compiled(indices).sum(), ours.weight)
    torch.testing.assert_close(found, expected)


def embeddings() -> Embeddings:
    layer = Embeddings(ROWS, SIZE, max_positions=4, num_segments=2, layer_norm_eps=1e-12, dropout=0.0, site=0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    return layer


def test_sum_of_three_normalised() -> None:
    layer = embeddings()
    batch = Batch.pack([7, 8, 9], [0, 0, 1], [0, 1, 3])
    summed = layer.word.weight[[7, 8, 9]] + layer.position.weight[[0, 0, 1]] + layer.segment.weight[[0, 0, 1]]
    torch.testing.assert_close(layer(batch, None), layer.norm(summed))


def test_a_sequence_longer_than_the_positions_is_refused() -> None:
    with pytest.raises(ValueError, match="5 tokens, the model takes at most 4"):
        embeddings()(Batch.pack([1] * 5, [0] * 5, [0, 5]), None)
