"""The kernel for whole layers beyond `nn/kernel_checks.py`: its results don't depend on threads or neighbours.

Shapes: T tokens, H hidden, I intermediate.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bertie.nn.block import Block
from bertie.nn.kernel_checks import draw_block, parts_of
from bertie.ops.attention.attend import Layout
from bertie.ops.kernels import library
from bertie.ops.layer import kernel as layer
from bertie.ops.layer.kernel import Element, Layers

pytestmark = [
    pytest.mark.skipif(library.load("layer") is None, reason="no C++ compiler on this machine"),
    pytest.mark.usefixtures("level"),
]
LENGTHS = (1, 40, 16, 7, 130, 3, 22)


def kernel_of(blocks: list[Block], element: Element) -> Layers:
    every = [parts_of(block) for block in blocks]
    if not all(layer.takes(parts, element) for parts in every):
        pytest.skip(f"this processor multiplies no {element}s faster than torch")
    return Layers(every, element)


def draw(lengths: tuple[int, ...] = LENGTHS, hidden: int = 128) -> tuple[Tensor, Layout]:
    offsets = torch.tensor([0, *lengths]).cumsum(0).int()
    values = torch.randn(int(offsets[-1]), hidden, generator=torch.Generator().manual_seed(1))
    return values, Layout(offsets, offsets, max(lengths), max(lengths))


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
@pytest.mark.parametrize("element", ["float", "bfloat", "byte"])
def test_neither_threads_nor_neighbours_change_a_bit(element: Element) -> None:
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
def test_few_rows_shared_by_columns_are_the_same_to_the_bit(element: Element, count: int) -> None:
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


@torch.inference_mode()
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("element", ["float", "bfloat", "byte"])
def test_no_rows_are_no_work(element: Element, threads: int) -> None:
    own, before = kernel_of([draw_block()], element), torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        found = own.encode(torch.empty(0, 128), torch.zeros(1, dtype=torch.int32), causal=False)
    finally:
        torch.set_num_threads(before)
    assert found.shape == (0, 128)


@pytest.mark.parametrize("change", ["no bias", "odd size", "gelu_tanh"])
def test_what_the_kernel_leaves_to_torch(change: str) -> None:
    block = draw_block("gelu_tanh" if change == "gelu_tanh" else "gelu", wide=160 if change == "odd size" else 192)
    if change == "no bias":
        block.attention.output.bias = None  # type: ignore[assignment]
    assert not any(layer.takes(parts_of(block), element) for element in ("float", "bfloat", "byte"))
