"""Which backend runs a model where nobody named one: a committed rule, never a timing.

The rule is one table. Its rows are tried from the top; the first one that fits the class of exactness, the case, the
CPU, the packages that are installed and the model is taken. A class may be served by a stricter one, where that is
faster: what is asked for is the least exactness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from bertie import registry
from bertie.kernels import layer

if TYPE_CHECKING:
    from bertie.backends.backend import Backend, Precision
    from bertie.formats.format import Bundle

Case = Literal["few", "many"]
MANY_ITEMS = 500
"""From so many items on a call is `many`: freezing takes a second or two, which fewer don't win back."""


def has_bf16() -> bool:
    """Tell whether the CPU multiplies bf16 itself."""
    return _has("avx512_bf16") or _has("amx_bf16") or torch.cpu._is_amx_tile_supported()


def has_int8() -> bool:
    """Tell whether the CPU sums products of 8-bit integers in one instruction."""
    return _has("avx512_vnni") or _has("avx_vnni") or torch.cpu._is_vnni_supported()


def _has(flag: str) -> bool:
    return bool(torch.cpu.get_capabilities().get(flag, False))


@dataclass(frozen=True)
class Row:
    """A line of the rule."""

    asked: Precision
    """The class that is asked for."""
    cases: tuple[Case, ...]
    cpu: Callable[[], bool]
    backend: str
    runs: Precision
    """The class that is run, the same or a stricter one."""
    reason: str


def _any() -> bool:
    return True


def _has_bf16_alone() -> bool:
    return has_bf16() and not layer.serves("bfloat")


_BOTH: tuple[Case, ...] = ("few", "many")

# Measured with MiniLM-L6, 800 to 1,500 sentences, two threads (benchmarks/predict.py). Eager did 1.2 times OpenVINO's
# sentences a second in fp32, 1.2 in bf16, 1.9 in int8 on a Xeon with AMX, and 1.1, 1.4 and 1.4 on an EPYC with AVX-512
# alone; without the kernel for layers it took 1.6 times as long in bf16. On a CPU with AVX2 alone torch without padding
# was level with both runtimes in fp32, and a single request took ONNX Runtime 0.7 to 0.8 of torch's time, but only once
# the model is frozen: for that, export it, or name the backend.
RULE: tuple[Row, ...] = (
    Row("exact", _BOTH, _any, "eager", "exact", "no padding, and nothing to freeze"),
    Row("bf16", ("many",), _has_bf16_alone, "openvino", "bf16", "its kernels fuse what torch does one by one"),
    Row("bf16", _BOTH, has_bf16, "eager", "bf16", "no padding, and nothing to freeze"),
    Row("bf16", _BOTH, _any, "eager", "exact", "this CPU has no bf16 products, so fp32 is faster"),
    Row("int8", _BOTH, has_int8, "eager", "int8", "no padding, and a scale for each token"),
    Row("int8", _BOTH, has_bf16, "eager", "bf16", "this CPU has no 8-bit products, but bf16"),
    Row("int8", _BOTH, _any, "eager", "exact", "this CPU has neither 8-bit nor bf16 products, so fp32 is faster"),
)


def choose(bundle: Bundle, precision: Precision, case: Case) -> tuple[Backend, Row]:
    """Take the first row of the rule that fits.

    Args:
        bundle: the model.
        precision: the class that is asked for.
        case: few items, or many at once.
    """
    for row in RULE:
        if row.asked == precision and case in row.cases and row.cpu():
            backend = load_backend(row.backend)
            if not backend.missing() and not backend.refusal(bundle, row.runs):
                return backend, row
    raise AssertionError(f"no row of the rule is for {precision}")  # eager's rows fit always


def load_backend(name: str) -> Backend:
    """Find a backend by the word a user types.

    Raises:
        SettingsError: there is none of that name.
    """
    backend: Backend = registry.load("backends", name).BACKEND()
    return backend
