"""In which numbers a step computes: fp32 throughout, or bf16 products on fp32 master weights.

The only file that knows autocast and dtypes. Weights, gradients and optimizer state are fp32 in every case; under bf16
the matrix products take rounded copies, made once a forward pass. The committed rule of `auto`, never a timing: bf16
where the processor multiplies it natively, else fp32; the choice stands in the run's config.toml.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from bertie.errors import SettingsError

Precision = Literal["auto", "fp32", "bf16"]


def resolve(precision: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """Turn `auto` into what this device does well.

    Raises:
        SettingsError: bf16 asked for on a GPU without it.
    """
    if device.type == "cuda":
        has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_bf16 = torch.cpu.get_capabilities().get("avx512_bf16", False) or torch.cpu._is_amx_tile_supported()
    if precision == "auto":
        return "bf16" if has_bf16 else "fp32"
    if precision == "bf16" and device.type == "cuda" and not has_bf16:
        raise SettingsError("--precision bf16: this GPU has no bf16; use --precision fp32")
    return precision


@contextmanager
def compute(precision: Literal["fp32", "bf16"], device: torch.device) -> Iterator[None]:
    """Run the forward pass in `precision`; the backward pass follows by itself."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield
