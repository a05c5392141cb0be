"""The device and the number of threads, by the same rules for training, evaluation and prediction.

A forked process computes on one thread. A fork doesn't copy the parent's thread pool, so the first parallel loop in the
child would wait for ever.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.errors import ResourceError, SettingsError

if TYPE_CHECKING:
    import torch

# Parameters of glibc's mallopt (malloc.h): M_TRIM_THRESHOLD and M_MMAP_MAX.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def resolve_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is the GPU if there is one, else the CPU.

    Raises:
        SettingsError: torch doesn't know the name.
        ResourceError: this machine doesn't have the device.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SettingsError(f"--device {name}: not a device; use auto, cpu, cuda or cuda:1") from error
    if device.type not in ("cpu", "cuda"):
        raise ResourceError(f"--device {name}: bertie runs on CPUs and on CUDA GPUs; use --device cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ResourceError(f"--device {name}: no CUDA GPU is visible to torch; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ResourceError(f"--device {name}: this machine has cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    return device


def set_threads(threads: int | None) -> int:
    """Set the number of CPU threads, all cores when None, and return it. A forked process keeps one thread."""
    import torch

    check_threads(threads)
    if threads is not None:
        if _forked and threads > 1:
            progress.warn(f"--threads {threads}: {FORKED}")
        else:
            torch.set_num_threads(threads)
    return torch.get_num_threads()


def check_threads(threads: int | None) -> None:
    """Check a number of threads.

    Raises:
        SettingsError: it is below 1.
    """
    if threads is not None and threads < 1:
        raise SettingsError(f"--threads must be at least 1; got {threads}")


FORKED = (
    "a forked process computes on one thread, because threads don't survive a fork; to use more, start processes with "
    "multiprocessing.get_context('spawn')"
)
_forked = _noted = False


def say_forked() -> None:
    """Print a note if this process was forked, once."""
    global _noted
    if _forked and not _noted:
        _noted = True
        progress.note(FORKED)


def _after_fork() -> None:
    global _forked, _noted
    torch = sys.modules.get("torch")
    if torch is None or (not _forked and torch.get_num_threads() == 1):
        return  # the parent had no pool either
    _forked, _noted = True, False
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_after_fork)


def give_memory_back() -> None:
    """Return freed memory to the system, if the allocator offers that.

    The results of each batch, such as its predictions, are allocated between large temporary tensors. Without this call
    the allocator would keep more and more of the gaps between them.
    """
    trim = _c_function("malloc_trim")
    if trim is not None:
        trim(0)


@contextmanager
def memory_kept() -> Iterator[None]:
    """Keep freed memory in the process for the next step, and return it to the system at the end.

    By default glibc maps every tensor of over 32 MiB, such as the gradient of the word embeddings, when it is allocated
    and unmaps it when it is freed. The system then has to find and clear its pages at every step, which takes a tenth
    of the time of a small step.
    """
    tune = _c_function("mallopt")
    if tune is None:
        yield
        return
    tune(_MMAP_MAX, 0)
    tune(_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        tune(_MMAP_MAX, 65_536)  # the defaults of glibc
        tune(_TRIM_THRESHOLD, 131_072)
        give_memory_back()


@cache
def _c_function(name: str) -> Any:
    """Return a glibc function by name; None if there is no such function, or no glibc."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
