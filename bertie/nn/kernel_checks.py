"""Checks of the C++ kernels: every function runs on awkward shapes and is compared with its twin in torch.

`ops/kernels/trial.py` runs them in a child process, because a kernel may crash or hang. The child prints its progress.
The test suite runs the same checks at every level that the processor has.

Shapes: T tokens, N heads, D head size, H hidden, V vocabulary.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bertie.nn.block import Block
from bertie.ops.attention import grouped as grouped_attention
from bertie.ops.attention import kernel as attention_kernel
from bertie.ops.attention.attend import Layout, attend
from bertie.ops.cross_entropy import kernel as cross_entropy_kernel
from bertie.ops.cross_entropy.op import consume
from bertie.ops.dropout.op import Dropout, Noise
from bertie.ops.gelu import kernel as gelu_kernel
from bertie.ops.kernels import levels, library, pool
from bertie.ops.layer import kernel as layer_kernel
from bertie.ops.layer.kernel import Element, Layers, Parts
from bertie.ops.linear import kernel as linear_kernel
from bertie.ops.normalise import kernel as normalise_kernel
from bertie.ops.normalise.op import add_and_normalise

_HEADS = 2
_LENGTHS = (0, 5, 1, 130, 0, 49, 32)  # of sequences, two of them empty
_SHARE = {torch.float32: 2e-6, torch.bfloat16: 1e-2}  # allowed rounding error, as a share of the largest value


@dataclass(frozen=True)
class Pair:
    """The output of a kernel and that of its twin."""

    found: Tensor
    expected: Tensor
    relative: float = 0.0
    absolute: float = 0.0

    def trouble(self) -> str | None:
        """Return how the outputs differ, as a clause; None if the difference is allowed."""
        found, expected = self.found.detach().double(), self.expected.detach().double()
        if found.shape != expected.shape:
            return f"gave the shape {tuple(found.shape)} instead of {tuple(expected.shape)}"
        difference = (found - expected).abs()
        if bool((difference <= self.absolute + self.relative * expected.abs()).all()):  # False for a NaN
            return None
        return f"gave wrong results, {float(difference.max()):.2g} from torch's"


@dataclass(frozen=True)
class Check:
    """The check of one function of a library."""

    function: str
    pairs: Callable[[], list[Pair]]


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _near(found: Tensor, expected: Tensor, dtype: torch.dtype) -> Pair:
    """Pair two outputs that may differ by a share of the largest value."""
    largest = float(expected.detach().abs().max()) if expected.numel() else 0.0
    return Pair(found, expected, absolute=_SHARE[dtype] * largest)


def _both(work: Callable[[], list[Tensor]]) -> list[tuple[Tensor, Tensor]]:
    """Run `work` with the kernels and with torch alone, and pair the results."""
    found = work()
    with library.lent({}):
        return list(zip(found, work(), strict=True))


def _attention() -> Iterator[Check]:
    masks = ((False, -1), (True, -1), (False, 9), (True, 9))
    for dtype, size, (causal, window) in product(_SHARE, (4, 20, 64), masks):
        name = f"attention of {size} {dtype}"
        yield Check(name, partial(_attention_pairs, dtype, size, causal, window))


def _attention_pairs(dtype: torch.dtype, size: int, causal: bool, window: int) -> list[Pair]:
    offsets = torch.tensor((0, *_LENGTHS)).cumsum(0).int()
    settings = attention_kernel.Settings(causal, window, 0.2, 11, -12, 65)
    total = int(offsets[-1]) + 3  # three rows of padding after the last sequence
    qkv = _draw(total, 3, _HEADS, size).to(dtype)
    gradient = _draw(total, _HEADS, size, seed=1).to(dtype)

    def attended(kernel: Any, qkv: Tensor, gradient: Tensor) -> list[Tensor]:
        query, key, value = qkv.unbind(1)
        return [
            kernel.forward(query, key, value, offsets, offsets, settings),
            *kernel.backward(gradient, query, key, value, offsets, offsets, settings),
        ]

    found = attended(attention_kernel, qkv, gradient)
    expected = attended(grouped_attention, qkv.double(), gradient.double())
    return [_near(one, other, dtype) for one, other in zip(found, expected, strict=True)]


def _gelu() -> Iterator[Check]:
    for dtype, count in product(_SHARE, (1, 15, 33, 20_001)):
        yield Check(f"gelu of {count} {dtype}", partial(_gelu_pairs, dtype, count))


def _gelu_pairs(dtype: torch.dtype, count: int) -> list[Pair]:
    values, gradient = (_draw(count) * 4).to(dtype), _draw(count, seed=1).to(dtype)
    exact = values.double().requires_grad_()
    expected = F.gelu(exact)
    slopes = torch.autograd.grad(expected, exact, gradient.double())[0]
    allowed = {torch.float32: (1e-6, 1e-5), torch.bfloat16: (8e-3, 2e-3)}[dtype]
    found = gelu_kernel.forward(values), gelu_kernel.backward(gradient, values)
    return [Pair(one, other, *allowed) for one, other in zip(found, (expected, slopes), strict=True)]


def _linear() -> Iterator[Check]:
    for dtype, rows, (inputs, outputs) in product(_SHARE, (0, 1, 5, 13, 500), ((1, 3), (65, 70), (400, 64))):
        name = f"linear of {rows} rows, {inputs} to {outputs}, {dtype}"
        yield Check(name, partial(_linear_pairs, dtype, rows, inputs, outputs))


def _linear_pairs(dtype: torch.dtype, rows: int, inputs: int, outputs: int) -> list[Pair]:
    values, weight = _draw(rows, inputs).to(dtype), _draw(outputs, inputs, seed=1).to(dtype)
    bias = _draw(outputs, seed=2).to(dtype)
    pairs = []
    for added in (bias, None):
        found = linear_kernel.forward(values, weight, added)
        expected = F.linear(values.double(), weight.double(), None if added is None else added.double())
        pairs.append(_near(found, expected, dtype))
    single = linear_kernel.forward(values[rows // 2 : rows // 2 + 1], weight, None)  # equal bits alone and among others
    return [*pairs, Pair(single, found[rows // 2 : rows // 2 + 1])]


def _normalise() -> Iterator[Check]:
    types = ((torch.float32, torch.float32), (torch.float32, torch.bfloat16), (torch.bfloat16, torch.bfloat16))
    for dtypes, rate, shape in product(types, (0.0, 0.1), ((1, 32), (150, 96), (300, 64))):
        name = f"normalise of {shape[0]} rows, {dtypes[0]} and {dtypes[1]}"
        yield Check(name, partial(_normalise_pairs, dtypes, rate, shape))


def _normalise_pairs(dtypes: tuple[torch.dtype, torch.dtype], rate: float, shape: tuple[int, int]) -> list[Pair]:
    norm, dropout = nn.LayerNorm(shape[1], eps=1e-12), Dropout(rate, site=3)
    with torch.no_grad():
        norm.weight.copy_(1.0 + 0.1 * _draw(shape[1], seed=3))
        norm.bias.copy_(0.1 * _draw(shape[1], seed=4))
    residual, branch = (_draw(*shape, seed=at).to(dtype).requires_grad_() for at, dtype in enumerate(dtypes))
    if not normalise_kernel.takes(residual, branch, norm.weight):
        raise TypeError("the kernel takes no such tensors")

    def work() -> list[Tensor]:
        # In bfloats the twin would round the sum before it normalises, so it gets floats.
        wide = (
            [part.float() for part in (residual, branch)] if library.load("normalise") is None else [residual, branch]
        )
        output = add_and_normalise(wide[0], wide[1], norm, dropout, Noise(5, 6))
        learning = [residual, branch, norm.weight, norm.bias]
        return [output, *torch.autograd.grad((output.float() * _draw(*shape, seed=2)).sum(), learning)]

    coarsest = torch.bfloat16 if torch.bfloat16 in dtypes else torch.float32
    return [_near(found, expected, coarsest) for found, expected in _both(work)]


def _cross_entropy() -> Iterator[Check]:
    for dtype, size in product(_SHARE, (1, 7, 64, 1003)):
        yield Check(f"cross_entropy of {size} {dtype}", partial(_cross_entropy_pairs, dtype, size))


def _cross_entropy_pairs(dtype: torch.dtype, size: int) -> list[Pair]:
    bias, targets, drawn = _draw(size, seed=1), torch.arange(70) % size, (3.0 * _draw(70, size)).to(dtype)

    def work() -> list[Tensor]:
        rows, d_bias = drawn.clone(), torch.ones(size)
        found = consume(rows, bias, targets, d_bias)
        return [*found, rows, d_bias]

    slopes, column_sums = ((8e-3, 1e-5), (0.0, 0.3)) if dtype == torch.bfloat16 else ((0.0, 2e-6), (0.0, 1e-4))
    compared = zip(_both(work), ((1e-5, 1e-5), (0.0, 0.0), slopes, column_sums), strict=True)
    pairs = [Pair(*pair, *allowed) for pair, allowed in compared]
    logits = drawn.clone()  # without `d_bias` the kernel must leave them unchanged
    total = cross_entropy_kernel.consume(logits, bias, targets, None)[0].sum()
    expected = F.cross_entropy(drawn.float() + bias, targets, reduction="sum")
    return [*pairs, Pair(total, expected, 1e-5, 1e-5), Pair(logits, drawn)]


def _layer() -> Iterator[Check]:
    elements: tuple[Element, ...] = ("float", "bfloat", "byte")
    for element, activation, rows in product(elements, ("gelu", "relu"), ((1,), (10,), (53,), (1, 40, 16, 7, 130, 3))):
        name = f"layers in {element}s, {activation}, {sum(rows)} rows"
        yield Check(name, partial(_layer_pairs, element, activation, rows))


def draw_block(activation: Any = "gelu", *, hidden: int = 128, wide: int = 192) -> Block:
    """Make a block with random weights everywhere, also in biases and LayerNorms."""
    sizes = {"dropout": 0.1, "attention_dropout": 0.1, "layer_norm_eps": 1e-12}
    block = Block(hidden, _HEADS, wide, activation=activation, site=1, **sizes)
    with torch.no_grad():
        for seed, value in enumerate(block.parameters()):
            value.copy_(0.15 * _draw(*value.shape, seed=seed))
    return block.eval()


def parts_of(block: Block) -> Parts:
    """Return the parts of a block that the kernel takes."""
    linear = block.attention.qkv, block.attention.output, block.feedforward.up, block.feedforward.down
    return Parts(linear, (block.attention_norm, block.feedforward_norm), block.feedforward.activation_name, _HEADS)


def _in_bytes(values: Tensor, linear: nn.Linear) -> Tensor:
    """Multiply as int8 does: round to integers, with a scale for each row and each output."""
    weight_scales = linear.weight.abs().amax(1) / 127
    scales = values.abs().amax(1, keepdim=True) / 127
    whole = (values / scales).round().double() @ (linear.weight / weight_scales[:, None]).round().double().t()
    return (whole.float() * scales) * weight_scales + linear.bias


def _in_bfloats(values: Tensor, linear: nn.Linear) -> Tensor:
    return F.linear(_rounded(values), _rounded(linear.weight), linear.bias)


def _rounded(values: Tensor) -> Tensor:
    return values.bfloat16().float()


def by_hand(block: Block, hidden: Tensor, layout: Layout, element: Element) -> Tensor:
    """Run a block in torch and round where the kernel for bfloats or bytes rounds."""
    linear = {"bfloat": _in_bfloats, "byte": _in_bytes}[element]
    query, key, value = _rounded(linear(hidden, block.attention.qkv)).view(len(hidden), 3, _HEADS, -1).unbind(1)
    seen = _rounded(attend(query, key, value, layout, causal=layout.causal).flatten(1))
    hidden = block.attention_norm(hidden + linear(seen, block.attention.output))
    active = _rounded(block.feedforward.activation(linear(hidden, block.feedforward.up)))
    output: Tensor = block.feedforward_norm(hidden + linear(active, block.feedforward.down))
    return output


@torch.inference_mode()
def _layer_pairs(element: Element, activation: str, lengths: tuple[int, ...]) -> list[Pair]:
    """Compare two blocks in floats with torch, or one block in bfloats or bytes with `by_hand`.

    A value near half a rounding step may round either way, so bfloats and bytes have two bounds: 3 % of the largest
    value for each value, and 40 % of the mean rounding error for the mean difference.
    """
    pairs = []
    for hidden_size, wide, causal in ((128, 192, False), (64, 320, True)):
        blocks = [draw_block(activation, hidden=hidden_size, wide=wide)] * (2 if element == "float" else 1)
        all_parts = [parts_of(block) for block in blocks]
        if not all(layer_kernel.takes(parts, element) for parts in all_parts):
            return []  # this level has no products of this element type
        edges = torch.tensor([0, *lengths]).cumsum(0).int()
        layout = Layout(edges, edges, max(lengths), max(lengths), causal)
        hidden = exact = _draw(int(edges[-1]), hidden_size, seed=9)
        found = Layers(all_parts, element).encode(hidden, edges, causal=causal)
        with library.lent({}):
            for block in blocks:
                exact = block(exact, layout, None)
            if element == "float":
                pairs.append(Pair(found, exact, absolute=5e-6 * float(exact.abs().max())))
                continue
            expected = by_hand(blocks[0], hidden, layout, element)
        pairs.append(Pair(found, expected, absolute=0.03 * float(expected.abs().max())))
        if len(hidden) < 50:
            continue  # too few rows for a meaningful mean
        rounding_error, difference = (expected - exact).abs().mean(), (found - expected).abs().mean()
        pairs.append(Pair(difference, torch.zeros(()), absolute=0.4 * float(rounding_error)))
    return pairs


CHECKS: Mapping[str, Callable[[], Iterator[Check]]] = {
    "attention": _attention,
    "cross_entropy": _cross_entropy,
    "gelu": _gelu,
    "linear": _linear,
    "normalise": _normalise,
    "layer": _layer,
}
"""The checks that each library must pass."""
_THREADS = (1, 3)


def trouble_of(check: Check) -> str | None:
    """Run a check on one thread and on three; return what is wrong as a clause, or None."""
    before = torch.get_num_threads()
    try:
        for threads in _THREADS:
            torch.set_num_threads(threads)
            for pair in check.pairs():
                if (trouble := pair.trouble()) is not None:
                    return f"{trouble} in {check.function}"
    finally:
        torch.set_num_threads(before)
    return None


def _trouble_of_library(name: str) -> str | None:
    for check in CHECKS[name]():
        _print("begin", name, check.function)
        if (trouble := trouble_of(check)) is not None:
            return trouble
    return None


def _print(*words: str) -> None:
    sys.stdout.write(" ".join(words).replace("\n", " ") + "\n")
    sys.stdout.flush()


def main(words: list[str]) -> None:
    """Check libraries, given as NAME=PATH, one after another."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # crashes are expected here: no core dumps
    levels.available()  # requests the tile unit from the system
    libraries: dict[str, Any] = {}
    for word in words:
        name, _, path = word.partition("=")
        if name == "layer" and "attention" not in libraries:
            continue  # it calls the attention kernel, which has failed
        _print("begin", name, "loading")
        try:
            with library.lent({**libraries, name: pool.opened(path)}):
                trouble = _trouble_of_library(name)
        except Exception as error:  # any error disqualifies the kernel
            trouble = f"raised {type(error).__name__}: {error}"
        if trouble is None:
            libraries[name] = pool.opened(path)
            _print("passed", name)
        else:
            _print("differs", name, trouble)
