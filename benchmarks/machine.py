"""Describe the machine of a benchmark (processor, memory, versions, environment), and measure a process's peak memory.

It needs no torch, so that the process that waits for the contestants stays small. It records no user, host or path.
"""

import os
import platform
import resource
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from bertie.reports.machine import this_machine

# Processor flags that decide which products are fast, by their names in Linux.
_FLAGS = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "avx512_fp16", "amx_bf16", "amx_int8")
_VARIABLES = (
    *("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "RAYON_NUM_THREADS", "THP_MEM_ALLOC_ENABLE", "MKL_NUM_THREADS"),
    *("MALLOC_MMAP_MAX_", "MALLOC_TRIM_THRESHOLD_"),
)
_STATUS = Path("/proc/self/status")


def description() -> dict[str, Any]:
    """Describe the machine; two results can be compared only if their descriptions are equal."""
    found = this_machine()
    flags: set[str] = set()
    with suppress(OSError):  # only Linux has the file
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("flags"):
                flags = set(line.split(":", 1)[1].split())
                break
    return {
        "processor": found["Processor"],
        "cores": int(found["Cores"]),
        "flags": [name for name in _FLAGS if name in flags],
        "memory": found.get("Memory", "unknown"),
        "system": found["System"],
    }


def native_bf16() -> bool:
    """Tell whether the processor multiplies bf16 natively, by the rule of `--precision auto` but without torch."""
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(description()["flags"])


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python, bertie and the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in ("bertie", "torch", *sorted(packages)):
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def environment() -> dict[str, str]:
    """Return the environment variables that change speed, and the file names of preloaded libraries."""
    found = {name: os.environ[name] for name in _VARIABLES if name in os.environ}
    if preloaded := os.environ.get("LD_PRELOAD"):
        found["LD_PRELOAD"] = " ".join(Path(each).name for each in preloaded.replace(":", " ").split())
    return found


def peak_mb() -> float:
    """Return the peak resident memory of this process, or of an ended child if that is larger, in MB."""
    kilobytes = 1024 if sys.platform != "darwin" else 1 << 20
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / kilobytes
    try:
        # Not getrusage: its figure starts at the memory of the parent process.
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        own = int(line.split()[1]) / 1024
    except OSError:
        own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / kilobytes
    return round(max(own, children), 1)
