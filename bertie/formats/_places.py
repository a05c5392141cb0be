"""Find a model's files: its folder or its snapshot in the hub's cache, and its weight file or the files of an index.

A helper of the formats. It opens no weights and no config.
"""

import shlex
from pathlib import Path

from bertie.errors import DataError, SettingsError
from bertie.tokenizer import sentencepiece
from bertie.untrusted import read_json, read_object

HEAD = "head.safetensors"
"""A file of a folder that `exported.py` wrote: the weights of a head that the graph doesn't hold."""
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
OTHERS = {
    ".gguf": "a GGUF model of llama.cpp, which can't be converted back",
    ".ggml": "a GGML model, which can't be converted back",
    ".onnx": "an ONNX model, which can't be converted back",
    ".tflite": "a TensorFlow Lite model, which can't be converted back",
    ".mlmodel": "a Core ML model, which can't be converted back",
    ".mlpackage": "a Core ML model, which can't be converted back",
    ".engine": "a TensorRT model, which can't be converted back",
    ".nemo": "a NeMo archive; export it with NeMo's own tools",
}
"""File suffixes of other programs' models, and what they are."""


def _a_file(path: Path) -> SettingsError:
    """Return the error for a file in place of a folder."""
    if path.suffix.lower() in _ARCHIVES:
        return SettingsError(f"{path} is an archive; unpack it and give the folder that holds config.json")
    if other := OTHERS.get(path.suffix.lower()):
        return SettingsError(f"{path} is {other}; use the folder that it was made from")
    return SettingsError(
        f"{path} is a file; a model is a folder with config.json, weights and tokenizer. If the file is in a model "
        f"folder, give {shlex.quote(str(path.parent))}"
    )


def resolve(path_or_hub_id: str | Path, *, pickles: bool = False) -> Path:
    """Return a local folder: the path itself, or a hub model's snapshot in huggingface_hub's cache.

    Args:
        path_or_hub_id: a folder, or a hub name such as `owner/model`.
        pickles: whether to download old `.bin` weights too; only conversion reads them.

    Raises:
        SettingsError: there is no such folder, and no such model on the hub (or, in offline mode, in the cache).
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
        *sentencepiece.NAMES,
        *(["*pytorch_model*.bin"] if pickles else []),
    ]
    try:
        folder = snapshot_download(text, allow_patterns=patterns)
    except Exception as error:  # errors of the hub, of the network, of the name: one message for all of them
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SettingsError(
            f"{text} is not a local folder, and it could not be read from the hub ({first}); give a folder that holds "
            "config.json and model.safetensors"
        ) from error
    return Path(folder)


def is_exported(folder: Path) -> bool:
    """Tell whether a folder is an exported model; False if its config.json can't be read."""
    if not (folder / "config.json").is_file():
        return False
    try:
        ours = read_object(folder / "config.json").get("bertie")
    except (DataError, SettingsError):
        return False
    return isinstance(ours, dict) and "export" in ours


def weight_files(folder: Path, name: str) -> list[Path]:
    """Return the file `name` of a folder, or the files of its index NAME.index.json; empty without either.

    Raises:
        DataError: the index is not an index, or names files outside the folder.
    """
    single, index = folder / name, folder / f"{name}.index.json"
    if single.is_file():
        return [single]
    if not index.is_file():
        return []
    try:
        names = set(read_json(index)["weight_map"].values())
    except (DataError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{index} is not an index of weight files") from error
    for part in names:
        if not isinstance(part, str) or Path(part).name != part or not (folder / part).is_file():
            raise DataError(
                f"{index} names {part!r}, which is not a file of this folder; if the file is missing, download it again"
            )
    if not names:
        raise DataError(f"{index} names no file")
    return [folder / part for part in sorted(names)]
