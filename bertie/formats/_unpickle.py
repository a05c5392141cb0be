"""Old `pytorch_model.bin` files to safetensors, in a process of their own with limits; no choice among the formats.

A pickle may ask for anything when it is read. Here torch's restricted reader gets it, which makes tensors only, in a
child that has little memory and little time; what comes back is a safetensors file, which the parent then reads as it
reads any stranger's. Nothing of the pickle enters the parent.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

from bertie.errors import DataError, ResourceError

_SECONDS_PER_GIB = 120.0
_SPARE_BYTES = 512 << 20
_PACKAGES = Path(__file__).parents[2]  # where `import bertie` finds us


def unpickle(files: Sequence[Path], out: Path, *, seconds: float | None = None) -> None:
    """Write the tensors of old weight files to one safetensors file, in a child process with limits.

    Args:
        files: what `weight_files` found.
        out: the file to write; it must not exist.
        seconds: how long the child may take; by the size of the files when None.

    Raises:
        DataError: no weights, damaged, or more in them than tensors.
        ResourceError: it took too long, or needed too much memory.
    """
    size = sum(file.stat().st_size for file in files)
    limit = 60.0 + _SECONDS_PER_GIB * size / (1 << 30) if seconds is None else seconds
    paths = [str(_PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-P", "-m", "bertie.formats._unpickle"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            input=json.dumps([str(out), *map(str, files)]),
            text=True,
            errors="replace",
            timeout=limit,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ResourceError(
            f"{files[0]}: reading it took more than {limit:.0f} seconds and was stopped; nothing was written"
        ) from error
    if done.returncode != 0 or not out.is_file():
        lines = done.stderr.strip().splitlines() or [f"the reader ended with code {done.returncode}"]
        kind = ResourceError if "can't allocate memory" in done.stderr or "MemoryError" in done.stderr else DataError
        raise kind(f"{files[0]} can't be read as weights: {lines[-1][:500]}")


def _limit_memory(files: Sequence[Path]) -> None:
    """Allow this process what the tensors need, three times over (read, copied, written), and little more."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        size = sum(file.stat().st_size for file in files)
        most = pages * resource.getpagesize() + 4 * size + _SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    except (ImportError, OSError, ValueError):
        return  # a system without such limits; the time limit is the parent's


def _child(out: Path, files: Sequence[Path]) -> None:
    """Read with torch's restricted reader and write what is there, each tensor with memory of its own."""
    torch.set_num_threads(1)
    _limit_memory(files)
    tensors: dict[str, torch.Tensor] = {}
    for file in files:
        state = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not state:
            raise TypeError(f"it holds a {type(state).__name__}, not named tensors")
        for name, value in state.items():
            if not isinstance(name, str) or not isinstance(value, torch.Tensor):
                raise TypeError(f"{name!r} in it is a {type(value).__name__}, not a tensor")
            if name in tensors:
                raise TypeError(f"tensor {name} is in two files")
            tensors[name] = value.detach().contiguous().clone()
    save_file(tensors, out, metadata={"format": "pt"})


def _main() -> int:
    """Do the child's work on the paths that stdin lists, the output first; the last line on stderr is why it failed."""
    try:
        out, *files = map(Path, json.load(sys.stdin))
        _child(out, files)
    except Exception as error:  # whatever the file made torch raise: the parent shows one line of it
        first = next(iter(str(error).strip().splitlines()), "")
        sys.stderr.write(f"\n{type(error).__name__}: {first}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
