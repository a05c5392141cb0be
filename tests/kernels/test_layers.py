"""The kernel for whole layers against the same layers in torch, and against rounding worked out by hand.

Shapes: T tokens, H hidden, I intermediate.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.kernels import layer, library
from bertie.kernels.layer import Element, Layers, Parts
from bertie.nn.attention import Layout, attend
from bertie.nn.block import Block

pytestmark = pytest.mark.skipif(library.load("layer") is None, reason="no C++ compiler on this machine")
LENGTHS = (1, 40, 16, 7, 130, 3, 22)
HEADS = 2


@pytest.fixture(scope="module")
def without_tiles(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name a folder where the kernel for processors without tiles is built once, for all tests."""
    return str(tmp_path_factory.mktemp("without-tiles"))


@pytest.fixture(params=["as built", "without tiles"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, without_tiles: str) -> Iterator[str]:
    """Build the kernel for this processor, and for one that has no tiles."""
    if request.param == "without tiles":
        monkeypatch.setattr(library, "_FLAGS", (*library._FLAGS, "-mno-amx-int8", "-mno-amx-bf16"))
        monkeypatch.setenv("XDG_CACHE_HOME", without_tiles)
        library.load.cache_clear()
        if library.load("layer") is None:
            pytest.skip("this compiler knows no tiles")
    yield request.param
    library.load.cache_clear()


def draw_block(activation: Any = "gelu", *, hidden: int = 128, wide: int = 192) -> Block:
    """Make a layer whose every weight says something."""
    torch.manual_seed(0)
    block = Block(
        hidden,
        HEADS,
        wide,
        activation=activation,
        dropout=0.1,
        attention_dropout=0.1,
        layer_norm_eps=1e-12,
        site=1,
    )
    for value in block.parameters():
        nn.init.normal_(value, 0.0, 0.15)
    return block.eval()


def parts_of(block: Block) -> Parts:
    own = block.attention.qkv, block.attention.output, block.feedforward.up, block.feedforward.down
    return Parts(own, (block.attention_norm, block.feedforward_norm), block.feedforward.activation_name, HEADS)


def kernel_of(blocks: list[Block], element: Element) -> Layers:
    every = [parts_of(block) for block in blocks]
    if not all(layer.takes(parts, element) for parts in every):
        pytest.skip(f"this processor multiplies no {element}s faster than torch")
    return Layers(every, element)


def draw(lengths: tuple[int, ...] = LENGTHS, hidden: int = 128) -> tuple[Tensor, Layout]:
    offsets = torch.tensor([0, *lengths]).cumsum(0).int()
    values = torch.randn(int(offsets[-1]), hidden, generator=torch.Generator().manual_seed(1))
    return values, Layout(offsets, offsets, max(lengths), max(lengths))


def byte_linear(values: Tensor, linear: nn.Linear) -> Tensor:
    """Multiply as the class int8 means it: a scale for each row and each output, whole numbers between."""
    weight_scales = linear.weight.abs().amax(1) / 127
    scales = values.abs().amax(1, keepdim=True) / 127
    whole = (values / scales).round().double() @ (linear.weight / weight_scales[:, None]).round().double().t()
    return (whole.float() * scales) * weight_scales + linear.bias


def by_hand(block: Block, hidden: Tensor, layout: Layout, linear: Any, rounded: Any) -> Tensor:
    """Go through a layer with products of another kind, `rounded` being what is written between them."""
    query, key, value = rounded(linear(hidden, block.attention.qkv)).view(len(hidden), 3, HEADS, -1).unbind(1)
    seen = rounded(attend(query, key, value, layout).flatten(1))
    hidden = block.attention_norm(hidden + linear(seen, block.attention.output))
    active = rounded(F.gelu(linear(hidden, block.feedforward.up)))
    return block.feedforward_norm(hidden + linear(active, block.feedforward.down))  # type: ignore[no-any-return]


def apart(found: Tensor, expected: Tensor) -> float:
    """Return the largest difference as a share of the largest value."""
    return float((found - expected).abs().max() / expected.abs().max())


@torch.inference_mode()
@pytest.mark.parametrize("activation", ["gelu", "relu"])
@pytest.mark.parametrize("causal", [False, True])
def test_floats_are_the_layers_in_torch(activation: str, causal: bool) -> None:
    blocks = [draw_block(activation), draw_block(activation)]
    hidden, layout = draw()
    layout = Layout(layout.query_offsets, layout.key_offsets, layout.max_query, layout.max_key, causal)
    found = kernel_of(blocks, "float").encode(hidden, layout.query_offsets, causal=causal)
    for block in blocks:
        hidden = block(hidden, layout, None)
    assert apart(found, hidden) < 3e-6


@torch.inference_mode()
def test_bfloats_and_bytes_are_rounded_as_said(form: str) -> None:
    block, (hidden, layout) = draw_block(), draw()

    def bfloat(values: Tensor) -> Tensor:
        return values.bfloat16().float()

    def bfloat_linear(values: Tensor, linear: nn.Linear) -> Tensor:
        return F.linear(bfloat(values), bfloat(linear.weight), linear.bias)

    cases: tuple[tuple[Element, Any], ...] = (("bfloat", bfloat_linear), ("byte", byte_linear))
    for element, linear in cases:
        found = kernel_of([block], element).encode(hidden, layout.query_offsets, causal=False)
        expected = by_hand(block, hidden, layout, linear, bfloat)
        exact = block(hidden, layout, None)
        assert apart(found, expected) < 0.03  # a value near a half may be rounded to either side
        assert float((found - expected).abs().mean()) < 0.3 * float((expected - exact).abs().mean())


@torch.inference_mode()
@pytest.mark.parametrize("element", ["float", "bfloat", "byte"])
def test_neither_threads_nor_neighbours_change_a_bit(element: Element, form: str) -> None:
    own, (hidden, layout) = kernel_of([draw_block()], element), draw()
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = own.encode(hidden, layout.query_offsets, causal=False)
        torch.set_num_threads(3)
        several = own.encode(hidden, layout.query_offsets, causal=False)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(one, several)
    first = own.encode(hidden[:41], layout.query_offsets[:3], causal=False)
    assert torch.equal(first, one[:41])


@torch.inference_mode()
@pytest.mark.parametrize("element", ["float", "bfloat", "byte"])
@pytest.mark.parametrize("count", [1, 10, 31, 44, 45, 53])
def test_few_rows_shared_by_columns_are_the_same_to_the_bit(element: Element, count: int, form: str) -> None:
    own, (hidden, layout) = kernel_of([draw_block(), draw_block("relu")], element), draw((count,))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = own.encode(hidden, layout.query_offsets, causal=False)
        for threads in (2, 3, 7):
            torch.set_num_threads(threads)
            assert torch.equal(own.encode(hidden, layout.query_offsets, causal=False), one)
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
@pytest.mark.parametrize("element", ["float", "bfloat", "byte"])
def test_rows_of_zeros_and_large_values(element: Element) -> None:
    block = draw_block()
    hidden, layout = draw((4,))
    hidden[1], hidden[2] = 0.0, 1e4
    found = kernel_of([block], element).encode(hidden, layout.query_offsets, causal=False)
    assert found.isfinite().all()
    assert apart(found, block(hidden, layout, None)) < 0.2


@pytest.mark.parametrize("change", ["no bias", "odd size", "gelu_tanh"])
def test_what_the_kernel_leaves_to_torch(change: str) -> None:
    block = draw_block("gelu_tanh" if change == "gelu_tanh" else "gelu", wide=160 if change == "odd size" else 192)
    if change == "no bias":
        block.attention.output.bias = None  # type: ignore[assignment]
    assert not any(layer.takes(parts_of(block), element) for element in ("float", "bfloat", "byte"))
