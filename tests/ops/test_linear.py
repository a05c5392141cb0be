"""Linear layers in the order that is faster for few rows: the same numbers as torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bertie.ops.linear.op import Linear, linear


@pytest.mark.parametrize("rows", [0, 1, 2, 7, 128, 129])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "bare"])
def test_it_is_torchs_own_layer(rows: int, bias: bool) -> None:
    torch.manual_seed(0)
    layer, plain = Linear(24, 40, bias=bias), nn.Linear(24, 40, bias=bias)
    plain.load_state_dict(layer.state_dict())
    values = torch.randn(rows, 24)
    with torch.inference_mode():
        found = layer(values)
    assert found.is_contiguous() and found.shape == (rows, 40)
    torch.testing.assert_close(found, plain(values).detach())


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_a_large_matrix(rows: int) -> None:
    torch.manual_seed(0)
    layer, values = Linear(256, 300), torch.randn(rows, 256)
    with torch.inference_mode():
        found = layer(values)
        assert found.is_contiguous() and found.shape == (rows, 300)
        torch.testing.assert_close(found, nn.functional.linear(values, layer.weight, layer.bias), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(layer(values[:1]), found[:1], rtol=1e-5, atol=1e-5)


def test_learning_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Linear(8, 4)
    values = torch.randn(5, 8, requires_grad=True)
    monkeypatch.setattr(torch, "addmm", None)  # the other order must not be tried
    assert torch.equal(layer(values), nn.functional.linear(values, layer.weight, layer.bias))


@pytest.mark.parametrize("values", [torch.zeros(5, 8, dtype=torch.bfloat16), torch.zeros(2, 3, 8)], ids=["bf16", "3d"])
def test_other_values_go_the_plain_way(values: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "mm", None)
    with torch.no_grad():
        assert linear(values, torch.ones(4, 8, dtype=values.dtype), None).shape == (*values.shape[:-1], 4)
