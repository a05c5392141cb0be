"""Old `pytorch_model.bin` files to safetensors, in a process of their own with limits; no choice among the formats.

A pickle may ask for anything when it is read. Here torch's restricted reader gets it, which makes tensors only, in a
child that has little memory and little time; what comes back is a safetensors file, which the parent then reads as it
reads any stranger's. Nothing of the pickle enters the parent.
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
"""Names of what training programs keep beside the weights."""


def unpickle(files: Sequence[Path], out: Path, *, part: str | None = None, seconds: float | None = None) -> list[str]:
    """Write the tensors of old weight files to one safetensors file, in a child process with limits.

    Training programs keep weights among other things (`state_dict`, `model_state_dict`): the one dictionary of named
    tensors that is there is taken.

    Args:
        files: what `weight_files` found.
        out: the file to write; it must not exist.
        part: which dictionary of tensors is meant where there are several, such as ema or model.ema.
        seconds: how long the child may take; by the size of the files when None.

    Returns:
        What was taken out of what, a sentence a file that held more than tensors.

    Raises:
        DataError: no weights, damaged, or more in them than tensors.
        ResourceError: it took too long, or needed too much memory.
    """
    size = sum(file.stat().st_size for file in files)
    limit = 60.0 + _SECONDS_PER_GIB * size / (1 << 30) if seconds is None else seconds
    words = json.dumps([str(out), part, *map(str, files)])
    done = child.python(["-m", "bertie.formats._unpickle"], text=words, seconds=limit)
    if done.code is None:
        raise ResourceError(
            f"{files[0]}: reading it took more than {limit:.0f} seconds and was stopped; nothing was written"
        )
    if done.code != 0 or not out.is_file():
        lines = done.errors.strip().splitlines() or [f"the reader ended with code {done.code}"]
        for file in files:
            if said := stand_in(file):
                raise DataError(said)
        kind = ResourceError if "can't allocate memory" in done.errors or "MemoryError" in done.errors else DataError
        raise kind(f"{files[0]} can't be read as weights: {lines[-1][:500]}")
    return [str(line) for line in parse_json(done.output or "[]", str(files[0]), data=True)]


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


def _child(out: Path, part: str | None, files: Sequence[Path]) -> list[str]:
    """Read with torch's restricted reader and write what is there, each tensor with memory of its own."""
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
            notes.append(f"{file.name}: the weights are {name!r}; left out: {', '.join(rest)[:200] or 'nothing'}")
        for key, value in state.items():
            if key in tensors:
                raise TypeError(f"tensor {key} is in two files")
            tensors[key] = value.detach().contiguous().clone()
    save_file(tensors, out, metadata={"format": "pt"})
    return notes


def _chosen(whole: dict[Any, Any], part: str | None) -> tuple[str, dict[str, torch.Tensor]]:
    """Return the dictionary of named tensors in a file, and its name there; no name where it is the file itself.

    Raises:
        TypeError: there is none, or there are several and `part` names none of them.
    """
    found = dict(_dictionaries(whole, ""))
    if part in found:
        return str(part), found[str(part)]
    if not found:
        key, value = next(iter(whole.items()))
        raise TypeError(f"it holds no named tensors; {key!r} in it is a {type(value).__name__}, not a tensor")
    if "" in found:
        return "", found[""]
    if len(found) > 1:
        names = ", ".join(found)
        raise TypeError(f"it holds several sets of weights ({names}); say which: --part {next(iter(found))}")
    return next(iter(found.items()))


def _dictionaries(whole: dict[Any, Any], front: str, depth: int = 3) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """Yield the dictionaries of named weights in a dictionary, with dotted names; what counts or is empty is none."""
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
    """Say in one line why a file can't be read, without torch's own advice, which is to run it after all."""
    text = str(error)
    if type(error).__name__ == "UnpicklingError":
        if found := re.search(r"GLOBAL ([\w.]+)", text):
            return (
                f"it holds an object of {found[1]}, which only code could rebuild; bertie reads named tensors. Where "
                "it was made: torch.save(model.state_dict(), FILE)"
            )
        return "it is damaged, or holds more than named tensors"
    if "TorchScript" in text:
        return "it is a TorchScript program, not named tensors. Where it was made: torch.save(model.state_dict(), FILE)"
    return f"{type(error).__name__}: {next(iter(text.strip().splitlines()), '')}"


def _main() -> int:
    """Do the child's work on the paths that stdin lists, the output first; the last line on stderr is why it failed."""
    try:
        out, part, *files = parse_json(sys.stdin.read(), "standard input", data=True)
        notes = _child(Path(out), part, [Path(file) for file in files])
    except Exception as error:  # whatever the file made torch raise: the parent shows one line of it
        sys.stderr.write(f"\n{_reason(error)}\n")
        return 1
    sys.stdout.write(json.dumps(notes))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
