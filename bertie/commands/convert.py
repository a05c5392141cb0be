"""Turn a folder of old weights (`pytorch_model.bin`, old tensor names) into a model folder as written today.

It changes no weight and draws none: a folder that lacks something is refused.
"""

import shlex
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bertie import progress
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import BertieError, SettingsError

if TYPE_CHECKING:
    from bertie.formats.format import Bundle


def convert(source: Positional[str], out: Positional[Path], *, task: str | None = None) -> Report:
    """Turn a folder of old weights into a model folder as written today.

    A `.bin` file is a pickle; it is read by a process of its own that may make tensors only, with little memory and
    little time.

    Args:
        source: folder or hub id of the model, with pytorch_model.bin or model.safetensors.
        out: model folder to write; must not exist.
        task: what the model is for; told from its config or its tensors when not given.

    Returns:
        The task, the number of parameters, and what was left out.

    Raises:
        SettingsError: no such model, or `out` exists.
        DataError: damaged weights, more than tensors in them, or a model that doesn't fit its config.
        ResourceError: reading took too much memory or time.
    """
    from bertie.formats import huggingface

    if out.exists() or out.is_symlink():
        raise SettingsError(f"{out} exists already; remove it or choose another name")
    folder = huggingface.resolve(source, pickles=True)
    with tempfile.TemporaryDirectory(prefix="bertie-convert-") as name:
        readable = _as_safetensors(folder, Path(name))
        try:
            bundle = huggingface.read(readable, task=task)
            names = huggingface.tensor_names(readable)
        except BertieError as error:
            raise type(error)(str(error).replace(str(readable), str(folder))) from error
        huggingface.write(bundle, out)
        left_out = sorted(names - huggingface.tensor_names(out))
        notes = [note.replace(str(readable), str(folder)) for note in bundle.notes]
    return _report(bundle, folder, out, left_out=left_out, notes=notes)


def _as_safetensors(folder: Path, scratch: Path) -> Path:
    """Return the folder itself when it holds safetensors, else `scratch`, filled with its files and its weights."""
    from bertie.formats._places import weight_files
    from bertie.formats._unpickle import unpickle

    if weight_files(folder, "model.safetensors"):
        return folder
    files = weight_files(folder, "pytorch_model.bin")
    if not files:
        raise SettingsError(f"{folder} holds neither pytorch_model.bin nor model.safetensors")
    for pattern in ("*.json", "*.txt", "README.md"):
        for file in folder.glob(pattern):
            if file.is_file() and not file.name.endswith(".index.json"):
                shutil.copyfile(file, scratch / file.name)
    progress.note(f"reading {', '.join(file.name for file in files)} in a process of its own")
    unpickle(files, scratch / "model.safetensors")
    return scratch


def _report(bundle: "Bundle", folder: Path, out: Path, *, left_out: list[str], notes: list[str]) -> Report:
    values = {
        "source": str(folder),
        "out": str(out),
        "task": bundle.task.name,
        "num_parameters": sum(parameter.numel() for parameter in bundle.model.parameters()),
        "left_out": left_out,
        "notes": notes,
    }
    return Report(title=f"Model written to {out}", values=values, next_command=f"bertie show {shlex.quote(str(out))}")
