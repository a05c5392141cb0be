"""Where a model's files lie: a folder, or the hub's cache; one weight file, or those that an index names.

It opens no weights and no config, and it is no choice among the formats.
"""

import shlex
from pathlib import Path

from bertie.errors import DataError, SettingsError
from bertie.untrusted import read_json

HEAD = "head.safetensors"
"""The weights of a folder that `exported.py` wrote: its head's alone."""
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
OTHERS = {
    ".gguf": "a GGUF model of llama.cpp, which can't be turned back",
    ".ggml": "a GGML model, which can't be turned back",
    ".onnx": "an ONNX model, which can't be turned back",
    ".tflite": "a TensorFlow Lite model, which can't be turned back",
    ".mlmodel": "a Core ML model, which can't be turned back",
    ".mlpackage": "a Core ML model, which can't be turned back",
    ".engine": "a TensorRT model, which can't be turned back",
    ".nemo": "a NeMo archive; export it from there by nemo's own tools",
}
"""What other programs' models are, by the ending of their files."""


def _a_file(path: Path) -> SettingsError:
    """Make the error for a file in place of a folder."""
    if path.suffix.lower() in _ARCHIVES:
        return SettingsError(f"{path} is an archive; unpack it, and give the folder that holds config.json")
    if other := OTHERS.get(path.suffix.lower()):
        return SettingsError(f"{path} is {other}; take the folder that it was made from")
    return SettingsError(
        f"{path} is a file; a model is a folder, with config.json, the weights and the tokenizer: give "
        f"{shlex.quote(str(path.parent))} if this file lies in one"
    )


def resolve(path_or_hub_id: str | Path, *, pickles: bool = False) -> Path:
    """Return a local folder: the path itself, or a hub model's snapshot in huggingface_hub's cache.

    Args:
        path_or_hub_id: a folder, or a name such as `owner/model`.
        pickles: whether old `.bin` weights are wanted too, for conversion; nothing else reads them.

    Raises:
        SettingsError: neither a folder nor a model the hub, or in offline mode the cache, has.
    """
    path, text = Path(path_or_hub_id), str(path_or_hub_id)
    if text and path.is_dir():
        return path
    if text and path.is_file():
        raise _a_file(path)
    if not text or text.startswith((".", "/", "~")) or text.count("/") > 1:
        raise SettingsError(f"{text or '(empty)'}: no such model folder")
    from huggingface_hub import snapshot_download

    patterns = [
        "*.json",
        "*.txt",
        "*.safetensors",
        "README.md",
        *(["*pytorch_model*.bin"] if pickles else []),
    ]
    try:
        folder = snapshot_download(text, allow_patterns=patterns)
    except Exception as error:  # the hub's own errors, the network's, bad names: all end here for the user
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SettingsError(
            f"{text} is no local folder, and the hub has no such model for us ({first}); give a folder that holds "
            "config.json and model.safetensors"
        ) from error
    return Path(folder)


def weight_files(folder: Path, name: str) -> list[Path]:
    """Return the file `name` of a folder, or the files that the index beside it names; empty without either.

    Raises:
        DataError: an index that is none, or that names files elsewhere.
    """
    single, index = folder / name, folder / f"{name}.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        return []
    try:
        names = set(read_json(index)["weight_map"].values())
    except (DataError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{index} is no index of weight files") from error
    for part in names:
        if not isinstance(part, str) or Path(part).name != part or not (folder / part).is_file():
            raise DataError(
                f"{index} names {part!r}, which is not a file of this folder; if it was lost on the way, fetch it again"
            )
    if not names:
        raise DataError(f"{index} names no file")
    return [folder / part for part in sorted(names)]
