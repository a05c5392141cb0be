"""Describe the machine and the package versions of a run for a report, without naming a user, host or path."""

import os
import platform
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path

from bertie.version import VERSION

_PACKAGES = ("torch", "numpy", "tokenizers", "safetensors")
_GROUPS, _CGROUP = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")  # of Linux


def this_machine() -> dict[str, str]:
    """Describe the processor, the memory, the operating system, and the GPU if torch has used one."""
    facts = {"Processor": processor(), "Cores": str(cores())}
    if memory := memory_bytes():
        facts["Memory"] = f"{memory / 1e9:.1f} GB"
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


def processor() -> str:
    """Return the processor's name."""
    with suppress(OSError):  # only Linux has this file
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return " ".join(value.split())
    return platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_bytes() -> int | None:
    """Return the memory of the machine in bytes; None if the system doesn't report it."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def memory_limit_bytes(groups: Path = _GROUPS, root: Path = _CGROUP) -> int | None:
    """Return the memory that the process's control groups allow, such as a container's limit; None if it is unlimited.

    Args:
        groups: the file that names the groups of this process.
        root: where the system shows the groups.
    """
    limits = [
        int(word)
        for folder in _group_folders(groups, root, "memory")
        for file in ("memory.max", "memory.limit_in_bytes")
        if (word := _first_line(folder / file)).isdecimal()
    ]
    total = memory_bytes()
    return min((limit for limit in limits if total is None or limit < total), default=None)


def cpu_limit(groups: Path = _GROUPS, root: Path = _CGROUP) -> float | None:
    """Return how many processors' time the control groups allow; None if it is unlimited."""
    limits = []
    for folder in _group_folders(groups, root, "cpu"):
        quota, _, period = _first_line(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = (_first_line(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
        if quota.isdecimal() and period.isdecimal() and int(period):
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def _group_folders(groups: Path, root: Path, controller: str) -> list[Path]:
    """Return the folders of the groups with this controller, of version 2 and of version 1, from inside outwards."""
    folders = []
    with suppress(OSError):
        for line in groups.read_text(encoding="utf-8", errors="replace").splitlines():
            number, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if number == "0" or controller in controllers.split(","):
                base = root if number == "0" else root / controller
                inner = [part for part in path.split("/") if part not in ("", "..")]
                folders += [base.joinpath(*inner[:depth]) for depth in range(len(inner), -1, -1)]
    return folders


def _first_line(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").partition("\n")[0].strip()
    except OSError:
        return ""


def _accelerator() -> str:
    # Do not import torch for this: a run that used a GPU has imported it already.
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return ""
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f"{len(names)} × {names[0]}" if len(names) > 1 else "".join(names)
