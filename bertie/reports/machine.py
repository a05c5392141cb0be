"""What a run ran on: the machine and the versions, as lines for a report. Names no user, host or path."""

import os
import platform
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from bertie.version import VERSION

_PACKAGES = ("torch", "numpy", "tokenizers", "safetensors")


def this_machine() -> dict[str, str]:
    """Describe processor, memory, graphics card where torch was used on one, and operating system."""
    found = {"Processor": _processor(), "Cores": str(_cores())}
    if memory := _memory():
        found["Memory"] = memory
    if device := _accelerator():
        found["Accelerator"] = device
    found["System"] = f"{platform.system()} {platform.machine()}"
    return found


def these_versions() -> dict[str, str]:
    """Return the versions of bertie, Python and the packages that decide what a run computes."""
    found = {"bertie": VERSION, "Python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


def _processor() -> str:
    with suppress(OSError):  # not there on other systems than Linux
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
    except (AttributeError, ValueError, OSError):  # a system that doesn't say
        return ""


def _accelerator() -> str:
    # Never imported for this: a run that used a card has torch already.
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return ""
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f"{len(names)} × {names[0]}" if len(names) > 1 else "".join(names)
