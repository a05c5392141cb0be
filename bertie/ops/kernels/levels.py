"""Levels: the sets of processor instructions that kernels may use, newest first, and the switch that limits them.

Every kernel is built separately for a level. If it fails at one level, only this kernel falls back to the next lower
level.
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
"""Environment variable: the highest level to use, or `off` for no kernels at all."""
OFF = "off"


@dataclass(frozen=True)
class Level:
    """A set of instructions."""

    name: str
    needs: tuple[str, ...]
    """Capabilities that the processor must have, by torch's names."""
    flags: tuple[str, ...]
    """Compiler flags that allow these instructions."""


_AVX2 = ("-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2", "-mlzcnt", "-mpopcnt")
_AVX512 = (*_AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512cd")
_HAS_AVX2 = ("avx2", "fma3", "f16c", "bmi", "bmi2", "lzcnt", "popcnt")
_HAS_AVX512 = (*_HAS_AVX2, "avx512_f", "avx512_bw", "avx512_dq", "avx512_vl", "avx512_cd")
_PARTS = {"avx512_bf16": "-mavx512bf16", "avx512_vnni": "-mavx512vnni"}  # extensions of AVX-512 on some processors
OPTIONAL = tuple(_PARTS.values())
"""Flags that an older compiler may lack; without them the level is still useful."""
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
    """Return the processor's capabilities as torch reports them."""
    return dict(torch.cpu.get_capabilities())


@cache
def available() -> tuple[Level, ...]:
    """Return the levels of this processor, highest first; only `native` if it has none of the known levels."""
    has = capabilities()
    parts = tuple(flag for name, flag in _PARTS.items() if has.get(name))
    levels = []
    for level in _LEVELS:
        if not all(has.get(name) for name in level.needs) or (level.name == "amx" and not _request_tiles()):
            continue
        extra = parts if level.name != "avx2" else ()
        levels.append(Level(level.name, level.needs, (*level.flags, *extra, "-mtune=native")))
    return tuple(levels) or (Level(NATIVE, (), ("-march=native",)),)


def _request_tiles() -> bool:
    """Request the tile unit of AMX from the system, which a process must do before a kernel uses it."""
    return bool(torch.cpu._init_amx())


def chosen() -> tuple[Level, ...]:
    """Return the levels that the switch allows, highest first; none if it is `off`.

    Raises:
        SettingsError: the switch has an unknown value.
    """
    word, levels = os.environ.get(SWITCH, "").strip().lower(), available()
    names = [level.name for level in levels]
    if not word or word == NATIVE:
        return levels
    if word == OFF:
        return ()
    if word not in NAMES:
        raise SettingsError(f"{SWITCH} must be {', '.join(NAMES)} or {OFF}; got {word!r}")
    lower = [level for level in levels if level.name in NAMES[NAMES.index(word) :]] or list(levels)
    if word not in names:
        progress.warn(f"{SWITCH}={word}: this processor doesn't have {word}; {lower[0].name} is used")
    return tuple(lower)


def processor() -> str:
    """Return a description of the processor; kernels are checked again on a processor with another one."""
    names = sorted(name for name, has in capabilities().items() if has is True)
    wanted = {
        "vendor_id",
        "cpu family",
        "model",
        "model name",
        "stepping",
        "CPU implementer",
        "CPU part",
        "CPU variant",
    }
    facts: dict[str, str] = {}
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if not name.strip() and facts:
                    break  # one processor is enough
                if name.strip() in wanted:
                    facts[name.strip()] = value.strip()
    except OSError:
        facts = {"name": platform.processor()}
    return f"{platform.system()} {platform.machine()} {sorted(facts.items())} {names}"
