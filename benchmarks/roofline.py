"""How fast is this machine at most: products in fp32, bf16 and int8 by all of torch's routines, memory, fresh memory?

The figures are upper limits for the other benchmarks. No code of bertie runs here. The first row of each table is
torch's default. Products must agree with the fp32 product within the accuracy of their number format.

Usage: python -m benchmarks.roofline
"""

import time
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks import rounds
from benchmarks.contest import Agreement, Case, Contestant, Ready, Work, largest_difference

# (rows, in, out): attention and feed-forward of mini and base, and the masked-LM head of mini
SHAPES = ((4096, 256, 1024), (4096, 768, 768), (4096, 768, 3072), (1200, 256, 30522))
LEAST_SECONDS = 0.1  # shortest duration of a repeat
MEGABYTES = {"in cache": 8, "in memory": 512}
WITHIN = {"fp32": 1e-5, "bf16": 1e-2, "int8": 3e-2}


def _relative(a: Any, b: Any) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(a))


def cases(options: Namespace) -> list[Case]:
    """Make a case for each shape, and two for memory."""
    shapes = ((64, 64, 64),) if options.smoke else SHAPES
    seconds = 0.0 if options.smoke else LEAST_SECONDS
    found = []
    near = Agreement("relative difference of the product", _relative, max(WITHIN.values()))
    for shape in shapes:
        routines: dict[str, tuple[Callable[..., Any], bool]] = {
            "fp32 F.linear": (fp32_linear, False),
            "fp32 oneDNN, packed weight": (fp32_packed, True),
            "bf16 F.linear": (bf16_linear, False),
            "bf16 oneDNN, packed weight": (bf16_packed, True),
            "int8 torch._int_mm": (int8_product, True),
        }
        contestants = tuple(
            # A routine that this build of torch lacks fails in its own process and is listed as failed.
            Contestant(name, partial(ready_product, routine, shape, seconds), may_differ=optional)
            for name, (routine, optional) in routines.items()
        )
        name = "product {} x {} x {}".format(*shape)
        found.append(Case(name, "GFLOP/s", contestants, near, settings={"shape": list(shape)}))
    sizes = {"in cache": 1} if options.smoke else MEGABYTES
    for size, megabytes in sizes.items():
        moves = {"copy": copy, "sum": total, "fill of fresh memory": first_touch}
        contestants = tuple(
            Contestant(name, partial(ready_memory, move, megabytes, seconds)) for name, move in moves.items()
        )
        same = largest_difference(0.0)
        found.append(Case(f"memory, {size}", "GB/s", contestants, same, settings={"megabytes": megabytes}))
    return found


def timed(work: Callable[[], Any], amount: float, seconds: float) -> Callable[[], float]:
    """Return a function that repeats `work` for `seconds` and returns the amount a second, in units of 1e9."""

    def repeat() -> float:
        count, started = 0, time.perf_counter()
        while True:
            work()
            count += 1
            passed = time.perf_counter() - started
            if passed >= seconds:
                return amount * count / passed / 1e9

    return repeat


def ready_product(routine: Callable[..., Any], shape: tuple[int, int, int], seconds: float, work: Work) -> Ready:
    """Prepare the product of (rows, in) and the transpose of (out, in)."""
    import torch

    torch.set_grad_enabled(False)
    generator = torch.Generator().manual_seed(0)
    rows, inner, outer = shape
    x = torch.randn(rows, inner, generator=generator)
    w = torch.randn(outer, inner, generator=generator)
    multiply = routine(x, w)
    operations = 2.0 * rows * inner * outer
    # A corner of the product proves as much as all of it, and is small enough to be passed between processes.
    return Ready(lambda: multiply()[:64, :64].float().numpy(), timed(multiply, operations, seconds), warmups=2)


def fp32_linear(x: Any, w: Any) -> Callable[[], Any]:
    """Multiply with torch's default."""
    import torch

    return lambda: torch.nn.functional.linear(x, w)


def fp32_packed(x: Any, w: Any) -> Callable[[], Any]:
    """Multiply with oneDNN and a weight that is packed in advance."""
    return _packed(x, w)


def bf16_linear(x: Any, w: Any) -> Callable[[], Any]:
    """Multiply in bf16 with torch's default."""
    import torch

    x, w = x.bfloat16(), w.bfloat16()
    return lambda: torch.nn.functional.linear(x, w)


def bf16_packed(x: Any, w: Any) -> Callable[[], Any]:
    """Multiply in bf16 with oneDNN and a weight that is packed in advance."""
    return _packed(x.bfloat16(), w.bfloat16())


def _packed(x: Any, w: Any) -> Callable[[], Any]:
    import torch

    weight = torch.ops.mkldnn._reorder_linear_weight(w, x.shape[0])
    return lambda: torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")


class Scaled:
    """An int8 product that is scaled only when it is read, so that only the multiplication is timed."""

    def __init__(self, product: Any, scale: Any) -> None:
        self.product, self.scale = product, scale

    def __getitem__(self, index: Any) -> Any:
        return self.product[index].float() * self.scale


def int8_product(x: Any, w: Any) -> Callable[[], Any]:
    """Multiply in int8, with one scale for each matrix."""
    import torch

    scales = [value.abs().max() / 127 for value in (x, w)]
    a, b = ((value / scale).round().to(torch.int8) for value, scale in zip((x, w), scales, strict=True))
    transposed = b.t()
    return lambda: Scaled(torch._int_mm(a, transposed), scales[0] * scales[1])


def ready_memory(move: Callable[[int], tuple[Any, float]], megabytes: int, seconds: float, work: Work) -> Ready:
    """Prepare a memory operation on that many megabytes."""
    run, count = move(megabytes << 20)
    return Ready(lambda: 0.0, timed(run, count, seconds))


def copy(size: int) -> tuple[Any, float]:
    """Copy: read and write `size` bytes."""
    import torch

    source, target = torch.ones(size // 4), torch.ones(size // 4)
    return lambda: target.copy_(source), 2.0 * size


def total(size: int) -> tuple[Any, float]:
    """Sum: read `size` bytes."""
    import torch

    source = torch.ones(size // 4)
    return source.sum, float(size)


def first_touch(size: int) -> tuple[Any, float]:
    """Write `size` bytes of memory that the system has yet to map."""
    import mmap

    def run() -> None:
        np.frombuffer(mmap.mmap(-1, size), np.uint8).fill(1)  # freeing the array unmaps it again

    return run, float(size)


def main(words: list[str] | None = None) -> None:
    """Run the benchmark."""
    rounds.main("benchmarks.roofline", words, rounds=3, repeats=5)


if __name__ == "__main__":
    main()
