"""Levels: the sets of processor instructions that kernels may use, newest first, and the switch that limits them.

Every kernel is built separately for a level. If it fails at one level, only this kernel falls back to the next lower
level. A wheel carries kernels for several variants of the levels. Only the functions that look at this machine need
torch, so that the build of a wheel can do without it.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

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
    parts: tuple[str, ...] = ()
    """Extensions that are used as well, by torch's names."""

    @property
    def variant(self) -> str:
        """The name of the level with those of its extensions, such as `avx512-bf16-vnni`."""
        return "-".join((self.name, *(part.removeprefix("avx512_") for part in self.parts)))


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
_VARIANTS = (
    ("amx", tuple(_PARTS)),
    ("avx512", tuple(_PARTS)),
    ("avx512", ("avx512_vnni",)),  # Cascade Lake and Ice Lake
    ("avx512", ()),  # Skylake
    ("avx2", ()),
)


@cache
def capabilities() -> dict[str, Any]:
    """Return the processor's capabilities as torch reports them."""
    import torch

    return dict(torch.cpu.get_capabilities())


@cache
def available() -> tuple[Level, ...]:
    """Return the levels of this processor, highest first; only `native` if it has none of the known levels."""
    has = capabilities()
    parts = tuple(name for name in _PARTS if has.get(name))
    levels = []
    for level in _LEVELS:
        if not all(has.get(name) for name in level.needs) or (level.name == "amx" and not _request_tiles()):
            continue
        extended = _extended(level, parts if level.name != "avx2" else ())
        levels.append(replace(extended, flags=(*extended.flags, "-mtune=native")))
    return tuple(levels) or (Level(NATIVE, (), ("-march=native",)),)


def variants() -> tuple[Level, ...]:
    """Return the variants of the levels for which a wheel carries kernels, best first.

    Several processors of a level lack some of its extensions. A variant needs all of its own, and its flags name no
    processor to tune for.
    """
    by_name = {level.name: level for level in _LEVELS}
    return tuple(_extended(by_name[name], parts) for name, parts in _VARIANTS)


def _extended(level: Level, parts: tuple[str, ...]) -> Level:
    """Return a level with extensions."""
    return Level(level.name, (*level.needs, *parts), (*level.flags, *(_PARTS[part] for part in parts)), parts)


def _request_tiles() -> bool:
    """Request the tile unit of AMX from the system, which a process must do before a kernel uses it."""
    import torch

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
