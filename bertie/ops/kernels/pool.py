"""Open libraries so that they use the threads of torch.

A library is linked neither to torch nor to an OpenMP runtime: it gets the addresses of four functions of the runtime
that torch has loaded (`parallel.h`). So one file serves every build of torch.
"""

from __future__ import annotations

import ctypes
from functools import cache

import torch


class Pool(ctypes.Structure):
    """`Pool` of parallel.h, field by field."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("parallel", "number", "count", "barrier"))


@cache
def pool() -> Pool | None:
    """Return the functions of the OpenMP runtime that torch has loaded; None if there is none.

    torch's own module depends on the runtime, so its functions are found there whatever the runtime is called.
    """
    try:
        runtime = ctypes.CDLL(torch._C.__file__)
        names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads", "GOMP_barrier")
        return Pool(*(ctypes.cast(getattr(runtime, name), ctypes.c_void_p) for name in names))
    except (OSError, AttributeError):
        return None


def opened(path: str) -> ctypes.CDLL:
    """Load a library and pass it torch's thread pool.

    Raises:
        OSError: it can't be loaded.
    """
    library, shared = ctypes.CDLL(path), pool()
    if shared is None:
        raise OSError("torch has no threads to share")
    library.share_pool(ctypes.byref(shared))
    return library
