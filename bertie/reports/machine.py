"""Describe the machine and the package versions of a run for a report, without naming a user, host or path."""

import os
import platform
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from bertie.version import VERSION

_PACKAGES = ("torch", "numpy", "tokenizers", "safetensors")


def this_machine() -> dict[str, str]:
    """Describe the processor, the memory, the operating system, and the GPU if torch has used one."""
    facts = {"Processor": _processor(), "Cores": str(_cores())}
    if memory := _memory():
        facts["Memory"] = memory
    if device := _accelerator():
        facts["Accelerator"] = device
    facts["System"] = f"{platform.system()} {platform.machine()}"
    return facts


def these_versions() -> dict[str, str]:
    """Return the versions of bertie, Python and the packages that affect the results of a run."""
    versions = {"bertie": VERSION, "Python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions


def _processor() -> str:
    with suppress(OSError):  # only Linux has this file
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return " ".join(value.split())
    return platform.processor() or platform.machine()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 1e9:.1f} GB"
    except (AttributeError, ValueError, OSError):  # the system does not report its memory
        return ""


def _accelerator() -> str:
    # Do not import torch for this: a run that used a GPU has imported it already.
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return ""
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f"{len(names)} × {names[0]}" if len(names) > 1 else "".join(names)
