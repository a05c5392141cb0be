"""Which device and how many threads the tensors run on: one rule for training, evaluation and prediction."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from typing import Any

import torch

from bertie.errors import ResourceError, SettingsError


def resolve_device(name: str) -> torch.device:
    """Turn `auto` into the GPU if there is one, else the CPU; take other names as torch does.

    Raises:
        SettingsError: a name that torch doesn't know.
        ResourceError: a device that this machine doesn't have.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"--device {name}: not a device; use auto, cpu, cuda or cuda:1") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ResourceError(f"--device {name}: no CUDA GPU is to be seen here; use --device cpu")
    return device


def set_threads(threads: int | None) -> int:
    """Use that many CPU threads, all cores when None, and return the number in use."""
    if threads is not None:
        if threads < 1:
            raise SettingsError(f"--threads must be at least 1; got {threads}")
        torch.set_num_threads(threads)
    return torch.get_num_threads()


def give_memory_back() -> None:
    """Give freed memory back to the system, where its allocator can be asked to.

    What is kept of each batch, such as its predictions, lies between large tensors that come and go; left alone, the
    allocator holds ever more of the gaps.
    """
    trim = _trimmer()
    if trim is not None:
        trim(0)


@cache
def _trimmer() -> Any:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
