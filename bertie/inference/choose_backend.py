"""Choose a backend by a fixed rule, without timing.

The rule is the table `RULE`. The first row that fits the precision, the number of items, the CPU, the installed
packages and the model wins. The requested precision is a minimum: where a stricter one is faster, it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from bertie import registry
from bertie.backends.backend import has_bf16, has_int8
from bertie.ops.layer import kernel as layer

if TYPE_CHECKING:
    from bertie.backends.backend import Backend, Precision
    from bertie.formats.format import Bundle

Case = Literal["few", "many"]
MANY_ITEMS = 500
"""A call with at least this many items is `many`. Freezing takes a second or two, which fewer items don't win back."""


@dataclass(frozen=True)
class Row:
    """A row of the rule."""

    asked: Precision
    """The requested precision."""
    cases: tuple[Case, ...]
    """The numbers of items that the row applies to."""
    cpu: Callable[[], bool]
    """Returns whether the row applies to this CPU."""
    backend: str
    runs: Precision
    """The precision that the backend runs, the requested or a stricter one."""
    reason: str
    """Why this backend, as a clause for the user."""


def _any() -> bool:
    return True


def _bf16_without_kernel() -> bool:
    return has_bf16() and not layer.serves("bfloat")


_BOTH: tuple[Case, ...] = ("few", "many")

# Measured with MiniLM-L6, 800 to 1,500 sentences, two threads (benchmarks/predict.py). On a Xeon with AMX, eager had
# 1.2 times OpenVINO's sentences a second in fp32, 1.2 times in bf16 and 1.9 times in int8. On an EPYC with AVX-512 and
# without AMX the factors were 1.1, 1.4 and 1.4; without the kernel for layers, bf16 took 1.6 times as long. On a CPU
# with AVX2 only, torch without padding was as fast as both runtimes in fp32. There a single request took ONNX Runtime
# 0.7 to 0.8 of torch's time, but only with a frozen model: for that, export the model or give --backend.
RULE: tuple[Row, ...] = (
    Row("exact", _BOTH, _any, "eager", "exact", "no padding, and nothing to freeze"),
    Row(
        "bf16",
        ("many",),
        _bf16_without_kernel,
        "openvino",
        "bf16",
        "its kernels fuse operations, torch's don't",
    ),
    Row("bf16", _BOTH, has_bf16, "eager", "bf16", "no padding, and nothing to freeze"),
    Row("bf16", _BOTH, _any, "eager", "exact", "this CPU has no bf16 products, so fp32 is faster"),
    Row("int8", _BOTH, has_int8, "eager", "int8", "no padding, and a scale for each token"),
    Row("int8", _BOTH, has_bf16, "eager", "bf16", "this CPU has bf16 but no 8-bit products"),
    Row("int8", _BOTH, _any, "eager", "exact", "this CPU has neither 8-bit nor bf16 products, so fp32 is faster"),
)


def choose(bundle: Bundle, precision: Precision, case: Case) -> tuple[Backend, Row]:
    """Return the backend and the row of the first row that fits.

    Args:
        bundle: the model.
        precision: the requested precision.
        case: few items, or many at once.
    """
    for row in RULE:
        if row.asked == precision and case in row.cases and row.cpu():
            backend = load_backend(row.backend)
            if not backend.missing() and not backend.refusal(bundle, row.runs):
                return backend, row
    raise AssertionError(f"no row of the rule is for {precision}")  # a row of eager always fits


def load_backend(name: str) -> Backend:
    """Return the backend of a name.

    Raises:
        SettingsError: there is no such backend.
    """
    backend: Backend = registry.load("backends", name).BACKEND()
    return backend
