"""Convert a folder of old weights (`pytorch_model.bin`, Google's checkpoints) to a current model folder, or back.

No weight is changed or drawn: a folder that lacks weights is refused.
"""

import shlex
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie import progress
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import BertieError, SettingsError

if TYPE_CHECKING:
    from bertie.formats.format import Bundle


def convert(
    source: Positional[str],
    out: Positional[Path],
    *,
    to: Literal["huggingface", "google"] = "huggingface",
    task: str | None = None,
    part: str | None = None,
    settings: dict[str, Any] | None = None,
) -> Report:
    """Convert a folder of old weights to a current model folder, or a model folder to Google's checkpoint.

    Google's folders of TensorFlow 1 have bert_config.json, vocab.txt and a checkpoint such as bert_model.ckpt.*; no
    TensorFlow is needed. A `.bin` file is a pickle. A separate process reads it; it may create only tensors, with
    limited memory and time. From a training checkpoint only the weights are read.

    Args:
        source: folder or hub id of the model, with pytorch_model.bin (or one other pickle of weights) or
            model.safetensors; or a folder with a TensorFlow checkpoint of BERT.
        out: model folder to write; must not exist.
        to: format to write: huggingface, or google (a TensorFlow checkpoint).
        task: the model's task; detected from its config or its tensors when not given.
        part: the weights to convert from a file with several models: the name of their dictionary or the prefix of
            their tensor names, such as ema or student.
        settings: settings of the task that replace those of the config, such as labels=bad|good for LABEL_0 and
            LABEL_1.

    Returns:
        The task, the number of parameters, and the tensors that were left out.

    Raises:
        SettingsError: the model doesn't exist, or `out` exists.
        DataError: the weights are damaged, hold other objects than tensors, or don't fit the config.
        ResourceError: reading took too much memory or time.
    """
    from bertie.formats import google, huggingface

    if out.exists() or out.is_symlink():
        raise SettingsError(f"{out} exists already; remove it or choose another name")
    folder = huggingface.resolve(source, pickles=True)
    if google.is_google(folder):
        if part is not None:
            raise SettingsError("--part is for files with several models; a TensorFlow checkpoint has one")
        progress.note(f"reading the TensorFlow checkpoint of {folder}")
        bundle, names = google.read(folder, task=task, settings=settings), google.tensor_names(folder)
        notes: list[str] = []
    else:
        bundle, names, notes = _read(folder, task, part, settings)
    notes += bundle.notes
    if to == "google":
        google.write(bundle, out)
        return _report(bundle, folder, out, left_out=sorted(names - google.tensor_names(out)), notes=notes)
    huggingface.write(bundle, out)
    return _report(bundle, folder, out, left_out=sorted(names - huggingface.tensor_names(out)), notes=notes)


def _read(
    folder: Path, task: str | None, part: str | None, settings: dict[str, Any] | None
) -> tuple["Bundle", set[str], list[str]]:
    """Read a folder with safetensors or pickles; return the names of all its tensors and notes too."""
    from bertie.formats import huggingface

    with tempfile.TemporaryDirectory(prefix="bertie-convert-") as name:
        readable, notes = _as_safetensors(folder, Path(name), part)
        try:
            bundle = huggingface.read(readable, task=task, settings=settings)
            names = huggingface.tensor_names(readable)
        except BertieError as error:
            raise type(error)(str(error).replace(str(readable), str(folder))) from error
        said = [note.replace(str(readable), str(folder)) for note in bundle.notes]
    return replace(bundle, notes=tuple(said)), names, notes


def _as_safetensors(folder: Path, scratch: Path, part: str | None) -> tuple[Path, list[str]]:
    """Return the folder if its weights are safetensors already, else `scratch` with a converted copy; and notes."""
    from bertie.formats._folder import pickles, weights_of
    from bertie.formats._places import weight_files
    from bertie.formats._sentence_transformers import encoder_folder
    from bertie.formats._tensors import keep_part
    from bertie.formats._unpickle import unpickle

    encoder = encoder_folder(folder)
    ready = weight_files(encoder, "model.safetensors")
    if ready and part is None:
        return folder, []
    files = [] if ready else weight_files(encoder, "pytorch_model.bin") or pickles(encoder)
    if not files and not ready:
        weights_of(encoder)  # raises an error that names the files found
    if len(files) > 1 and not (encoder / "pytorch_model.bin.index.json").is_file():
        listed = ", ".join(file.name for file in files)
        raise SettingsError(
            f"{folder} has several weight files: {listed}; keep only the one to convert, as pytorch_model.bin"
        )
    for pattern in ("*.json", "*.txt", "README.md", "*/*.json", "*/*.txt"):
        for file in folder.glob(pattern):
            if file.is_file() and not file.name.endswith(".index.json"):
                copy = scratch / file.relative_to(folder)
                copy.parent.mkdir(exist_ok=True)
                shutil.copyfile(file, copy)
    weights, notes = scratch / encoder.relative_to(folder) / "model.safetensors", []
    if len(ready) > 1:
        raise SettingsError(f"{folder} has its weights in {len(ready)} files; --part needs a single file")
    if ready:
        shutil.copyfile(ready[0], weights)
    else:
        progress.note(f"reading {', '.join(file.name for file in files)} in a separate process")
        notes = unpickle(files, weights, part=part)
    if part is not None and not keep_part(weights, part) and not any(f" {part!r}" in note for note in notes):
        raise SettingsError(f"{folder} has no weights named {part} and no tensors named {part}.*")
    return scratch, notes


def _report(bundle: "Bundle", folder: Path, out: Path, *, left_out: list[str], notes: list[str]) -> Report:
    values = {
        "source": str(folder),
        "out": str(out),
        "task": bundle.task.name,
        "num_parameters": sum(parameter.numel() for parameter in bundle.model.parameters()),
        "left_out": left_out,
        "notes": notes,
    }
    following = f"bertie show {shlex.quote(str(out))}" if (out / "config.json").is_file() else None
    return Report(title=f"Model written to {out}", values=values, next_command=following)
