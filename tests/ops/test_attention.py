"""Attention over packed sequences against the plain reference: values, gradients, masks, layouts, dropout, compilation.

Shapes: T query tokens, K key tokens, N heads, D head size.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from bertie.batch import Batch
from bertie.ops.attention import packed as packed_attention
from bertie.ops.attention.attend import Layout, attend, attention_weights, reference_attend
from bertie.ops.dropout.op import Noise
from bertie.ops.kernels.library import load

HEADS, SIZE = 2, 4


@pytest.fixture(params=["kernel", "groups"], autouse=True)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run every test by the C++ kernel and by its twin."""
    if request.param == "groups":
        monkeypatch.setattr(packed_attention.kernel, "takes", lambda query: False)
    elif load("attention") is None:
        pytest.skip("no C++ compiler on this machine")


LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def batch_of(lengths: list[int]) -> Batch:
    offsets = torch.tensor([0, *lengths]).cumsum(0)
    return Batch.pack(torch.zeros(int(offsets[-1])), torch.zeros(int(offsets[-1])), offsets)


def self_layout(lengths: list[int]) -> Layout:
    return Layout.of(batch_of(lengths))


def draw(total: int, *, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(total, HEADS, SIZE, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def inputs(layout: Layout, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    queries, keys = int(layout.query_offsets[-1]), int(layout.key_offsets[-1])
    return draw(queries, seed=1, dtype=dtype), draw(keys, seed=2, dtype=dtype), draw(keys, seed=3, dtype=dtype)


MASKS = st.fixed_dictionaries({"causal": st.booleans(), "window": st.sampled_from([None, 0, 1, 5, 100])})


@given(LENGTHS, MASKS)
def test_self_attention_equals_the_reference(lengths: list[int], masks: dict[str, object]) -> None:
    layout = self_layout(lengths)
    query, key, value = inputs(layout)
    expected = reference_attend(query, key, value, layout, **masks)  # type: ignore[arg-type]
    torch.testing.assert_close(attend(query, key, value, layout, **masks), expected, rtol=0, atol=1e-5)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=5))
def test_cross_attention_equals_the_reference(pairs: list[tuple[int, int]]) -> None:
    layout = Layout.cross(batch_of([one for one, _ in pairs]), batch_of([other for _, other in pairs]))
    query, key, value = inputs(layout)
    expected = reference_attend(query, key, value, layout)
    torch.testing.assert_close(attend(query, key, value, layout), expected, rtol=0, atol=1e-5)


def test_the_reference_is_torch_own_attention() -> None:
    layout = self_layout([7, 1, 12])
    query, key, value = inputs(layout)
    for start, end in ((0, 7), (7, 8), (8, 20)):
        parts = [part[start:end].transpose(0, 1)[None] for part in (query, key, value)]
        for causal in (False, True):
            expected = torch.nn.functional.scaled_dot_product_attention(*parts, is_causal=causal)[0].transpose(0, 1)
            found = reference_attend(query, key, value, layout, causal=causal)[start:end]
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@settings(max_examples=25)
@given(LENGTHS, MASKS)
def test_gradients_equal_the_reference(lengths: list[int], masks: dict[str, object]) -> None:
    layout = self_layout(lengths)
    ours = [part.requires_grad_() for part in inputs(layout)]
    theirs = [part.requires_grad_() for part in inputs(layout)]
    direction = draw(sum(lengths), seed=4)
    (attend(*ours, layout, **masks) * direction).sum().backward()  # type: ignore[arg-type]
    (reference_attend(*theirs, layout, **masks) * direction).sum().backward()  # type: ignore[arg-type]
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("layout", "masks"),
    [
        (self_layout([3, 1, 18]), {}),
        (self_layout([3, 5]), {"causal": True}),
        (self_layout([3, 6]), {"window": 1}),
        (Layout.cross(batch_of([2, 4]), batch_of([5, 1])), {}),
        (self_layout([3, 5]), {"dropout": 0.3, "noise": Noise(7), "site": 2}),
    ],
    ids=["plain", "causal", "window", "cross", "dropout"],
)
def test_numeric_gradients(layout: Layout, masks: dict[str, object]) -> None:
    parts = [part.requires_grad_() for part in inputs(layout, torch.float64)]
    assert torch.autograd.gradcheck(lambda *given: attend(*given, layout, **masks), parts)  # type: ignore[arg-type]


def test_weights_are_distributions_and_respect_masks() -> None:
    layout = self_layout([5, 9])
    query, key, _ = inputs(layout)
    for weights, length in zip(attention_weights(query, key, layout, causal=True, window=2), (5, 9), strict=True):
        assert weights.shape == (HEADS, length, length)
        torch.testing.assert_close(weights.sum(-1), torch.ones(HEADS, length))
        far = torch.arange(length)[None, :] - torch.arange(length)[:, None]
        assert bool((weights[:, (far > 0) | (far < -2)] == 0).all())


def test_sequences_do_not_see_each_other() -> None:
    layout = self_layout([17, 20, 3])
    query, key, value = inputs(layout)
    before = attend(query, key, value, layout)
    key[17:37] += 100.0
    value[17:37] += 100.0
    after = attend(query, key, value, layout)
    assert torch.equal(before[:17], after[:17]) and torch.equal(before[37:], after[37:])
    assert not torch.allclose(before[17:37], after[17:37])


def test_half_precision_comes_back_in_its_own_dtype() -> None:
    layout = self_layout([9, 30])
    query, key, value = inputs(layout)
    found = attend(query.bfloat16(), key.bfloat16(), value.bfloat16(), layout)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), reference_attend(query, key, value, layout), rtol=0, atol=0.05)


def dropped_weights(lengths: list[int], rate: float, noise: Noise, site: int = 0) -> Tensor:
    """Read the dropped weights off, flat: uniform attention over one-hot values, one head, as multiples of 1/length."""
    layout = self_layout(lengths)
    total, longest = sum(lengths), max(lengths)
    zeros = torch.zeros(total, 1, longest)
    onehot = torch.eye(longest)[batch_of(lengths).positions][:, None]  # (T, 1, longest)
    found = attend(zeros, zeros, onehot, layout, dropout=rate, noise=noise, site=site)[:, 0]
    parts = zip(found.split(lengths), lengths, strict=True)
    return torch.cat([part[:, :length].flatten() * length for part, length in parts])


def test_dropout_drops_at_its_rate_and_keeps_the_scale() -> None:
    weights = dropped_weights([48] * 40, 0.2, Noise(1))
    count = weights.numel()
    deviation = math.sqrt(0.2 * 0.8 / count)
    assert abs(float((weights == 0).float().mean()) - 0.2) < 4 * deviation
    assert torch.allclose(weights[weights > 0], torch.tensor(1.25))
    assert abs(float(weights.mean()) - 1.0) < 5 * deviation


def test_dropout_differs_by_key_and_site_and_repeats() -> None:
    first = dropped_weights([16] * 4, 0.5, Noise(1, 2, 3))
    assert torch.equal(first, dropped_weights([16] * 4, 0.5, Noise(1, 2, 3)))
    for noise, site in ((Noise(2, 2, 3), 0), (Noise(1, 3, 3), 0), (Noise(1, 2, 4), 0), (Noise(1, 2, 3), 1)):
        agreement = float((first == dropped_weights([16] * 4, 0.5, noise, site)).float().mean())
        assert 0.4 < agreement < 0.6  # independent masks agree on half of the places


def test_dropout_differs_between_groups_of_unlike_length() -> None:
    weights = dropped_weights([16] * 16 + [17] * 16, 0.5, Noise(5))
    short, long = weights[: 16**3].view(16, 16, 16), weights[16**3 :].view(16, 17, 17)
    assert 0.45 < float(((short == 0) == (long[:, :16, :16] == 0)).float().mean()) < 0.55
    assert 0.45 < float(((short.flatten() == 0) == (long.flatten()[: 16**3] == 0)).float().mean()) < 0.55


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("masks", [{}, {"causal": True}, {"window": 3}, {"causal": True, "window": 3}])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_kernels_of_a_gpu_equal_the_reference(dtype: torch.dtype, masks: dict[str, object]) -> None:
    layout = Layout.of(batch_of([9, 1, 70]).to("cuda"))
    generator = torch.Generator("cuda").manual_seed(1)
    parts = [torch.randn(80, HEADS, 64, device="cuda", generator=generator, requires_grad=True) for _ in range(3)]
    found = attend(*(part.to(dtype) for part in parts), layout, **masks)  # type: ignore[arg-type]
    expected = reference_attend(*parts, layout, **masks)  # type: ignore[arg-type]
    tolerance = 1e-5 if dtype == torch.float32 else 0.03
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=tolerance)
    gradients = [torch.autograd.grad(output.float().square().sum(), parts) for output in (found, expected)]
    for one, other in zip(*gradients, strict=True):
        assert float((one - other).norm() / other.norm()) < tolerance


def test_evaluating_first_does_not_spoil_training() -> None:
    layout = self_layout([6, 21])
    parts = inputs(layout)
    with torch.inference_mode():
        expected = attend(*parts, layout)
    query = parts[0].clone().requires_grad_()
    found = attend(query, *parts[1:], layout)
    found.sum().backward()
    assert torch.equal(found, expected) and query.grad is not None


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_operator_is_well_defined(dropout: float) -> None:
    layout = self_layout([6, 21])
    parts = [part.requires_grad_() for part in inputs(layout)]
    settings = (layout.query_offsets, layout.key_offsets, True, 3, dropout, 1, 2, 5, 40)
    torch.library.opcheck(torch.ops.bertie.packed_attention.default, (*parts, *settings))


def test_compiles_as_one_graph() -> None:
    torch._dynamo.reset()
    layout = self_layout([6, 21])
    query, key, value = (part.requires_grad_() for part in inputs(layout))

    def layer(query: Tensor) -> Tensor:
        return torch.tanh(attend(query * 2.0, key, value, layout))

    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(query), layer(query))
    (expected,) = torch.autograd.grad(layer(query).sum(), query)
    (found,) = torch.autograd.grad(compiled(query).sum(), query)
    torch.testing.assert_close(found, expected)
