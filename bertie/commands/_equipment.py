"""The lines of `bertie doctor` about the machine: processor, memory, kernels, GPU, backends and disk space.

The kernels are built and checked if they aren't yet. Without torch there are neither kernels nor GPUs.
"""

import os
import platform
import shutil
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bertie import progress, registry
from bertie.backends._frozen import RUNTIMES
from bertie.commands._diagnosis import Line
from bertie.errors import SettingsError
from bertie.inference.network import has_torch
from bertie.reports.machine import cores, cpu_limit, memory_bytes, memory_limit_bytes, processor

if TYPE_CHECKING:
    from bertie.ops.kernels.search import Choice

_LITTLE_DISK = 2e9
_LITTLE_MEMORY = 4e9
_DRIVER = Path("/proc/driver/nvidia/version")


def equipment_lines() -> list[Line]:
    """Return the lines about the machine."""
    if not has_torch():
        found = Line("processor", "ok", f"{_machine()}, {_cores(cores())}")
        return [found, *_memory(), *_runtimes(), *_disk(None)]
    return [*_processor(), *_memory(), *_kernels(), *_gpu(), *_backends(), *_disk(_cache())]


def _processor() -> Iterator[Line]:
    import torch

    from bertie.backends.backend import has_bf16, has_int8
    from bertie.ops.kernels import levels

    count, threads, limit = cores(), torch.get_num_threads(), cpu_limit()
    yield Line("processor", "ok", _machine())
    kinds = [level.name for level in levels.available()]
    kinds += [name for name, has in (("bf16 products", has_bf16()), ("8-bit products", has_int8())) if has]
    yield Line("processor", "ok", f"instructions that bertie uses: {', '.join(kinds)}")
    if threads > count:
        yield Line(
            "processor",
            "note",
            f"{threads} threads share {_cores(count)}, which is slow",
            f"set OMP_NUM_THREADS={count}",
        )
    elif limit is not None and threads > limit + 0.5:
        remedy = f"set OMP_NUM_THREADS={max(1, int(limit))}, or give the container more processors"
        yield Line("processor", "note", f"{threads} threads, but a limit of {limit:.1f} processors", remedy)
    elif threads < count:
        remedy = "unset OMP_NUM_THREADS, or set it higher, to use all"
        yield Line("processor", "note", f"{threads} of {_cores(count)} in use", remedy)
    else:
        yield Line("processor", "ok", f"{_cores(count)}, a thread on each")


def _machine() -> str:
    return f"{processor()}, {platform.system()} {platform.machine()}"


def _cores(count: int) -> str:
    return "1 core" if count == 1 else f"{count} cores"


def _memory() -> Iterator[Line]:
    total, limit = memory_bytes(), memory_limit_bytes()
    usable = min((size for size in (total, limit) if size is not None), default=None)
    if usable is None:
        yield Line("memory", "note", "the system doesn't report its memory")
        return
    what = f"{usable / 1e9:.1f} GB"
    if limit is not None:
        what += f" by the limit of a control group (the machine has {(total or limit) / 1e9:.1f} GB)"
    if usable < _LITTLE_MEMORY:
        remedy = "use --batch-tokens 1024 or less, or a smaller model"
        yield Line("memory", "note", f"{what}; training BERT-base needs more", remedy)
    else:
        yield Line("memory", "ok", what)


def _kernels() -> Iterator[Line]:
    """Yield how the C++ kernels run, each library that failed, the compiler, the switch and the cache folder."""
    from bertie.ops.kernels import build, library, prebuilt
    from bertie.ops.kernels import cache as store
    from bertie.ops.kernels.levels import OFF, SWITCH

    switch = os.environ.get(SWITCH, "").strip()
    try:
        with progress.collected() as said:
            description, choices = library.describe(), library.choices()
    except SettingsError as error:
        yield Line("kernels", "problem", str(error), f"unset {SWITCH}")
        return
    compiler = build.compiler()
    path, reason = store.place()
    if switch.lower() == OFF:
        yield Line("kernels", "note", description, f"unset {SWITCH} for faster training and prediction")
    elif library.load("attention") is not None:
        yield Line("kernels", "ok", description)
    elif compiler is None and not choices:
        yield Line("kernels", "note", description, "install g++ or clang++ for faster training and prediction")
    elif choices or said:
        yield Line(
            "kernels", "problem", "; ".join([description, *said]), "torch replaces them; report it with this line"
        )
    else:
        yield Line("kernels", "note", description, "install another build of torch for faster training and prediction")
    if (package := prebuilt.package()).hashes:
        yield Line(
            "kernels", "ok", f"the package carries {len(package.hashes)} libraries for kinds of x86-64 processors"
        )
    else:
        yield Line("kernels", "ok", f"the package carries no libraries: {package.reason}")
    yield from _libraries(choices, path)
    if switch and choices:
        yield Line("kernels", "note", f"{SWITCH}={switch} limits them", f"unset {SWITCH} to use what the processor has")
    if compiler is not None:
        yield Line("kernels", "ok", f"compiler: {' '.join(compiler)}")
    if reason or path is None:
        remedy = "set XDG_CACHE_HOME to a folder that only you can write"
        yield Line("kernels", "note", f"every start builds the kernels again: {reason}", remedy)
    else:
        yield Line(
            "kernels", "ok", f"cache: {path} (mode {path.stat().st_mode & 0o777:o}; only you and root can change it)"
        )


def _libraries(choices: "dict[str, Choice]", path: Path | None) -> Iterator[Line]:
    """Yield a line for each library, whether the package carries it, and a line for each better one that isn't used."""
    again = f"delete {path} to check it again; if it fails again, report it with this line" if path else ""
    remedies = {"failed": again, "lacking": "install a newer g++ or clang++", "unusable": "install bertie again"}
    for name, choice in choices.items():
        for candidate, verdict in choice.rejected:
            what = f"{candidate} {verdict.text}; {choice.level} is used instead"
            yield Line(
                "kernels", "note" if verdict.outcome == "lacking" else "problem", what, remedies[verdict.outcome]
            )
        if choice.missing:
            what = f"{name}: there is no library for {', '.join(choice.missing)}, and no compiler to build it"
            yield Line("kernels", "note", what, "install g++ or clang++")
        if choice.level != "torch":
            origin = "prebuilt in the package" if choice.prebuilt else "built here"
            yield Line("kernels", "ok", f"{name}: {choice.level}, {origin}, checked")


def _gpu() -> Iterator[Line]:
    import torch

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    why = "".join(f": {one.message}" for one in said[:1]).partition("\n")[0]
    if usable:
        for index in range(torch.cuda.device_count()):
            facts = torch.cuda.get_device_properties(index)
            yield Line("GPU", "ok", f"cuda:{index}: {facts.name}, {facts.total_memory / 1e9:.1f} GB")
    elif _DRIVER.exists() and torch.version.cuda is None:
        remedy = "install torch for CUDA; pytorch.org/get-started has the command"
        yield Line("GPU", "note", "there is a GPU, but this torch is built for CPUs only", remedy)
    elif _DRIVER.exists():
        remedy = "update the driver, or install torch for its version of CUDA"
        yield Line("GPU", "problem", f"there is a GPU, but torch can't use it{why}", remedy)
    else:
        yield Line("GPU", "ok", "none; bertie runs on the CPU")


def _backends() -> Iterator[Line]:
    from bertie.inference.choose_backend import load_backend

    names = registry.choices("backends")
    missing = {name: load_backend(name).missing() for name in names}
    yield Line("backends", "ok", ", ".join(name for name in names if not missing[name]))
    for name in names:
        if missing[name]:
            remedy = f"pip install 'bertie[{load_backend(name).extra}]'"
            yield Line("backends", "note", f"{name} needs {missing[name]}", remedy)


def _runtimes() -> Iterator[Line]:
    """Yield a line for each program that runs exported models."""
    for name, (_, package, _) in RUNTIMES.items():
        if find_spec(package) is None:
            remedy = f"pip install {package}"
            yield Line("backends", "note", f"models exported with --backend {name} need {package}", remedy)
        else:
            yield Line("backends", "ok", f"{name}, for exported models")


def _cache() -> Path | None:
    from bertie.ops.kernels import cache as store

    return store.place()[0]


def _disk(cache: Path | None) -> Iterator[Line]:
    for name, path in (("cache", cache), ("current folder", Path.cwd())):
        if path is None or not path.is_dir():
            continue
        free = shutil.disk_usage(path).free
        what = f"{name} {path}: {free / 1e9:.1f} GB free"
        if not os.access(path, os.W_OK):
            yield Line("disk", "note", f"{what}, but it can't be written", "work in a folder of your own")
        elif free < _LITTLE_DISK:
            yield Line("disk", "note", f"{what}; a run of BERT-base needs more", "free some, or use another disk")
        else:
            yield Line("disk", "ok", what)
