"""Which instructions the kernels may use: levels, newest first, and the switch that chooses among them.

Each level has a library of its own, so what fails at one is left for the next lower one without touching the others.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from bertie import progress
from bertie.errors import SettingsError

SWITCH = "BERTIE_KERNELS"
"""Environment variable: a level, which is then the highest that is used, or `off`, which leaves everything to torch."""
OFF = "off"


@dataclass(frozen=True)
class Level:
    """A set of instructions."""

    name: str
    needs: tuple[str, ...]
    """What the processor must have, by torch's names."""
    flags: tuple[str, ...]
    """By which a compiler may use them."""


_AVX2 = ("-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2", "-mlzcnt", "-mpopcnt")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512cd")
_HAS_AVX2 = ("avx2", "fma3", "f16c", "bmi", "bmi2", "lzcnt", "popcnt")
_HAS_AVX512 = (*_HAS_AVX2, "avx512_f", "avx512_bw", "avx512_dq", "avx512_vl", "avx512_cd")
_PARTS = {"avx512_bf16": "-mavx512bf16", "avx512_vnni": "-mavx512vnni"}  # of AVX-512, where a processor has them
OPTIONAL = tuple(_PARTS.values())
"""Flags that an older compiler may lack; the level is worth having without them."""
NATIVE = "native"

_LEVELS = (
    Level(
        "amx",
        (*_HAS_AVX512, "amx_tile", "amx_int8", "amx_bf16"),
        (*_AVX512, "-mamx-tile", "-mamx-int8", "-mamx-bf16", "-DBERTIE_TILES=1"),
    ),
    Level("avx512", _HAS_AVX512, _AVX512),
    Level("avx2", _HAS_AVX2, _AVX2),
)
NAMES = tuple(level.name for level in _LEVELS)


@cache
def capabilities() -> dict[str, Any]:
    """Return what torch knows of the processor."""
    return dict(torch.cpu.get_capabilities())


@cache
def available() -> tuple[Level, ...]:
    """Return the levels of this processor, highest first; one without a name of its own where it has none of ours."""
    found = capabilities()
    parts = tuple(flag for name, flag in _PARTS.items() if found.get(name))
    levels = []
    for level in _LEVELS:
        if not all(found.get(name) for name in level.needs) or (level.name == "amx" and not _tiles_lent()):
            continue
        extra = parts if level.name != "avx2" else ()
        levels.append(Level(level.name, level.needs, (*level.flags, *extra, "-mtune=native")))
    return tuple(levels) or (Level(NATIVE, (), ("-march=native",)),)


def _tiles_lent() -> bool:
    """Ask the system for the tile unit, which it lends to a process that asks; it must, before any kernel runs."""
    return bool(torch.cpu._init_amx())


def chosen() -> tuple[Level, ...]:
    """Return the levels that may be used, highest first; none where the switch is off.

    Raises:
        SettingsError: the switch is a word that it doesn't know.
    """
    word, levels = os.environ.get(SWITCH, "").strip().lower(), available()
    names = [level.name for level in levels]
    if not word or word == NATIVE:
        return levels
    if word == OFF:
        return ()
    if word not in NAMES:
        raise SettingsError(f"{SWITCH} is {word!r}; it may be {', '.join(NAMES)} or {OFF}")
    lower = [level for level in levels if level.name in NAMES[NAMES.index(word) :]] or list(levels)
    if word not in names:
        progress.warn(f"{SWITCH} is {word!r}, which this processor doesn't have; {lower[0].name} is used")
    return tuple(lower)


def processor() -> str:
    """Name the processor and its instructions, as exactly as a proof on it holds."""
    names = sorted(name for name, has in capabilities().items() if has is True)
    kept = {"vendor_id", "cpu family", "model", "model name", "stepping", "CPU implementer", "CPU part", "CPU variant"}
    found: dict[str, str] = {}
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if not name.strip() and found:
                    break  # one processor is enough
                if name.strip() in kept:
                    found[name.strip()] = value.strip()
    except OSError:
        found = {"name": platform.processor()}
    return f"{platform.system()} {platform.machine()} {sorted(found.items())} {names}"
