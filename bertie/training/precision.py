"""The precision of a step: fp32 throughout, or bf16 matrix products with fp32 master weights.

This is the only file that uses autocast. Weights, gradients and optimizer state are always fp32. Under bf16, matrix
products read rounded copies of the weights, which are made once per forward pass. `auto` follows a fixed rule and never
a timing: bf16 if the processor multiplies it natively, else fp32. The run's config.toml records the choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from bertie.errors import SettingsError

Precision = Literal["auto", "fp32", "bf16"]


def resolve(precision: Precision, device: torch.device) -> Literal["fp32", "bf16"]:
    """Return the precision to use: `auto` becomes bf16 on a device that has it, else fp32.

    Raises:
        SettingsError: bf16 is requested on a GPU without it.
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
    """Run the forward pass in `precision`. The backward pass follows it automatically."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield
