"""Convert old `pytorch_model.bin` files to safetensors, in a child process with limits.

Reading a pickle can run any code. So a child process with limited memory and time reads it, with torch's restricted
reader, which builds tensors only. The child writes a safetensors file, and the parent reads that file like any
untrusted one. No object of the pickle enters the parent. A helper of the formats.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from bertie import child
from bertie.errors import DataError, ResourceError
from bertie.formats._folder import stand_in
from bertie.untrusted import parse_json

_SECONDS_PER_GIB = 120.0
_SPARE_BYTES = 512 << 20
_NO_WEIGHTS = re.compile(r"optim|sched|scaler|callback|loop|rng|hyper|config", re.IGNORECASE)
"""Keys under which training programs store other things than weights."""


def unpickle(files: Sequence[Path], out: Path, *, part: str | None = None, seconds: float | None = None) -> list[str]:
    """Write the tensors of old weight files to one safetensors file, in a child process with limits.

    Training programs store weights among other things (`state_dict`, `model_state_dict`). The file must hold one
    dictionary of named tensors, at any key.

    Args:
        files: the files, from `weight_files`.
        out: the file to write; it must not exist.
        part: the key of the dictionary to use if there are several, such as ema or model.ema.
        seconds: the child's time limit; None for one that grows with the size of the files.

    Returns:
        One note for each file that held more than tensors: the key that was used, and those that were left out.

    Raises:
        DataError: a file holds no weights, is damaged, or holds objects other than tensors.
        ResourceError: the child exceeded its time or its memory.
    """
    size = sum(file.stat().st_size for file in files)
    limit = 60.0 + _SECONDS_PER_GIB * size / (1 << 30) if seconds is None else seconds
    words = json.dumps([str(out), part, *map(str, files)])
    done = child.python(["-m", "bertie.formats._unpickle"], text=words, seconds=limit)
    if done.code is None:
        raise ResourceError(
            f"{files[0]}: reading it took more than {limit:.0f} seconds, so it was stopped; no file was written"
        )
    if done.code != 0 or not out.is_file():
        lines = done.errors.strip().splitlines() or [f"the reader ended with code {done.code}"]
        for file in files:
            if reason := stand_in(file):
                raise DataError(reason)
        kind = ResourceError if "can't allocate memory" in done.errors or "MemoryError" in done.errors else DataError
        raise kind(f"{files[0]} can't be read as weights: {lines[-1][:500]}")
    return [str(line) for line in parse_json(done.output or "[]", str(files[0]), data=True)]


def _limit_memory(files: Sequence[Path]) -> None:
    """Limit this process to the memory of three copies of the tensors (read, copied, written), with a margin."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        size = sum(file.stat().st_size for file in files)
        limit = pages * resource.getpagesize() + 4 * size + _SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    except (ImportError, OSError, ValueError):
        return  # a system without such limits; the parent still limits the time


def _child(out: Path, part: str | None, files: Sequence[Path]) -> list[str]:
    """Read the files with torch's restricted reader, and write each tensor as a separate copy."""
    torch.set_num_threads(1)
    _limit_memory(files)
    tensors: dict[str, torch.Tensor] = {}
    notes = []
    for file in files:
        whole = torch.load(file, map_location="cpu", weights_only=True)
        if not isinstance(whole, dict) or not whole:
            raise TypeError(f"it holds a {type(whole).__name__}, not named tensors")
        name, state = _chosen(whole, part)
        if name:
            rest = [str(key) for key in whole if str(key) != name.partition(".")[0]]
            notes.append(f"{file.name}: the weights are {name!r}; left out: {', '.join(rest)[:200] or 'no other key'}")
        for key, value in state.items():
            if key in tensors:
                raise TypeError(f"tensor {key} is in two files")
            tensors[key] = value.detach().contiguous().clone()
    save_file(tensors, out, metadata={"format": "pt"})
    return notes


def _chosen(whole: dict[Any, Any], part: str | None) -> tuple[str, dict[str, torch.Tensor]]:
    """Return the dotted key of the dictionary of named tensors in a file, and the dictionary.

    The key is "" if the whole file is that dictionary.

    Raises:
        TypeError: there is none, or there are several and `part` names none of them.
    """
    candidates = dict(_dictionaries(whole, ""))
    if part in candidates:
        return str(part), candidates[str(part)]
    if not candidates:
        key, value = next(iter(whole.items()))
        raise TypeError(f"it holds no named tensors; {key!r} in it is a {type(value).__name__}, not a tensor")
    if "" in candidates:
        return "", candidates[""]
    if len(candidates) > 1:
        names = ", ".join(candidates)
        raise TypeError(f"it holds several sets of weights ({names}); choose one: --part {next(iter(candidates))}")
    return next(iter(candidates.items()))


def _dictionaries(whole: dict[Any, Any], front: str, depth: int = 3) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """Yield the dictionaries of named weights inside a dictionary, with their dotted keys.

    Empty dictionaries are skipped, and so are those without a matrix that hold other values than tensors.
    """
    named = {key: value for key, value in whole.items() if isinstance(key, str)}
    tensors = {key: value for key, value in named.items() if isinstance(value, torch.Tensor)}
    matrices = any(value.dim() > 1 for value in tensors.values())
    if tensors and len(named) == len(whole) and (matrices or len(tensors) == len(named)):
        for key in named.keys() - tensors.keys():
            if "." in key and not key.endswith("_extra_state"):
                raise TypeError(f"{key!r} in it is a {type(named[key]).__name__}, not a tensor")
        yield front, tensors
        return
    for key, value in named.items():
        if isinstance(value, dict) and depth and not _NO_WEIGHTS.search(key):
            yield from _dictionaries(value, f"{front}.{key}" if front else key, depth - 1)


def _reason(error: Exception) -> str:
    """Explain in one line why a file can't be read, without torch's advice to read it unrestricted."""
    text = str(error)
    if type(error).__name__ == "UnpicklingError":
        if match := re.search(r"GLOBAL ([\w.]+)", text):
            return (
                f"it holds an object of {match[1]}, which only code could rebuild; bertie reads named tensors. In the "
                "program that made it, write torch.save(model.state_dict(), FILE)"
            )
        return "it is damaged, or holds more than named tensors"
    if "TorchScript" in text:
        return (
            "it is a TorchScript program, not named tensors. In the program that made it, write "
            "torch.save(model.state_dict(), FILE)"
        )
    return f"{type(error).__name__}: {next(iter(text.strip().splitlines()), '')}"


def _main() -> int:
    """Run the child: read the output, the part and the files from stdin; on failure, end stderr with the reason."""
    try:
        out, part, *files = parse_json(sys.stdin.read(), "standard input", data=True)
        notes = _child(Path(out), part, [Path(file) for file in files])
    except Exception as error:  # torch may raise anything on a bad file; the parent shows one line of it
        sys.stderr.write(f"\n{_reason(error)}\n")
        return 1
    sys.stdout.write(json.dumps(notes))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
