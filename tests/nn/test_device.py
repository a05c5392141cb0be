"""Names of devices and thread counts, right and wrong."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bertie.errors import ResourceError, SettingsError
from bertie.nn.device import give_memory_back, resolve_device, set_threads


def test_auto_takes_the_gpu_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert resolve_device("auto").type == expected


def test_wrong_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SettingsError, match="--device gpu: not a device"):
        resolve_device("gpu")
    with pytest.raises(ResourceError, match="no CUDA GPU"):
        resolve_device("cuda:1")
    for name in ("mps", "xpu", "meta"):
        with pytest.raises(ResourceError, match=f"--device {name}: bertie runs on CPUs and on CUDA GPUs"):
            resolve_device(name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(ResourceError, match="--device cuda:2: this machine has cuda:0 to cuda:1"):
        resolve_device("cuda:2")


def test_threads() -> None:
    before = torch.get_num_threads()
    try:
        assert set_threads(1) == 1 == torch.get_num_threads()
        assert set_threads(None) == 1
        with pytest.raises(SettingsError, match="at least 1; got 0"):
            set_threads(0)
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="no glibc")
def test_freed_memory_goes_back() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    blocks = [bytearray(b"x" * 60_000) for _ in range(2000)]  # too small for the allocator to map one by one
    last, before = blocks[-1], resident()
    del blocks
    give_memory_back()
    assert len(last) == 60_000
    assert before - resident() > 10_000  # pages of 4 kB: of 120 MB more than 40 went back


PAGES = """
import resource
from pathlib import Path
import torch
from bertie.nn.device import memory_kept

def pages_brought(rounds):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(rounds):
        torch.ones(16 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

print(pages_brought(8))
with memory_kept():
    pages_brought(8)
    print(pages_brought(8))
    print(resident())
print(resident())
"""


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="no glibc")
def test_a_run_keeps_its_memory() -> None:
    """Of the pages that large tensors need, few are asked of the system again in a run; after it they have gone back.

    In a process of its own: where others have left a gap of that size, it is used in any case.
    """
    done = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True, timeout=120)
    before, inside, held, left = map(int, done.stdout.split())
    assert inside < before / 2
    assert held - left > 10_000  # of 64 MiB more than 40 MB
