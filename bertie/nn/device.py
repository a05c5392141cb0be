"""Which device and how many threads the tensors run on: one rule for training, evaluation and prediction.

A forked process computes on one thread. Its parent's pool of threads isn't copied with it, and the first loop that is
shared out among them would wait for ever.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch

from bertie import progress
from bertie.errors import ResourceError, SettingsError

# Of glibc's mallopt (malloc.h).
_TRIM_ABOVE, _MOST_MAPPINGS = -1, -4


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
    if device.type not in ("cpu", "cuda"):
        raise ResourceError(f"--device {name}: bertie runs on CPUs and on CUDA GPUs; use --device cpu")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ResourceError(f"--device {name}: no CUDA GPU is to be seen here; use --device cpu")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ResourceError(f"--device {name}: the GPUs here are cuda:0 to cuda:{torch.cuda.device_count() - 1}")
    return device


def set_threads(threads: int | None) -> int:
    """Use that many CPU threads, all cores when None, and return the number in use; a forked process has one."""
    if threads is not None:
        if threads < 1:
            raise SettingsError(f"--threads must be at least 1; got {threads}")
        if _forked and threads > 1:
            progress.warn(f"--threads {threads}: {FORKED}")
        else:
            torch.set_num_threads(threads)
    return torch.get_num_threads()


FORKED = (
    "a forked process computes on one thread, because threads don't survive a fork; start processes by spawn "
    "(multiprocessing.get_context('spawn')) to use more in each"
)
_forked = _said = False


def say_forked() -> None:
    """Say once that this process was forked, if it was."""
    global _said
    if _forked and not _said:
        _said = True
        progress.note(FORKED)


def _after_fork() -> None:
    global _forked, _said
    if not _forked and torch.get_num_threads() == 1:
        return  # the parent had no pool either
    _forked, _said = True, False
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork)


def give_memory_back() -> None:
    """Give freed memory back to the system, where its allocator can be asked to.

    What is kept of each batch, such as its predictions, lies between large tensors that come and go; left alone, the
    allocator holds ever more of the gaps.
    """
    trim = _c_function("malloc_trim")
    if trim is not None:
        trim(0)


@contextmanager
def memory_kept() -> Iterator[None]:
    """Let freed memory stay with the process for the next step; at the end give it back.

    Left alone, glibc maps every tensor of over 32 MiB anew and unmaps it when it is freed, such as the gradient of the
    word embeddings: at every step the system must find and clear its pages, a tenth of a small step's time.
    """
    tune = _c_function("mallopt")
    if tune is None:
        yield
        return
    tune(_MOST_MAPPINGS, 0)
    tune(_TRIM_ABOVE, -1)
    try:
        yield
    finally:
        tune(_MOST_MAPPINGS, 65_536)  # glibc's own
        tune(_TRIM_ABOVE, 131_072)
        give_memory_back()


@cache
def _c_function(name: str) -> Any:
    """Return a function of glibc by name; None where there is none."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
