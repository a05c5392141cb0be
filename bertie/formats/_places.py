"""Where a model's files lie: a folder, or the hub's cache; one weight file, or those that an index names.

It opens no weights and no config, and it is no choice among the formats.
"""

import json
from pathlib import Path

from bertie.errors import DataError, SettingsError


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
    if not text or text.startswith((".", "/", "~")) or text.count("/") > 1:
        raise SettingsError(f"{text or '(empty)'}: no such model folder")
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.txt", "*.safetensors", "README.md", *(["pytorch_model*.bin"] if pickles else [])]
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
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(f"{index} is no index of weight files") from error
    for part in names:
        if not isinstance(part, str) or Path(part).name != part or not (folder / part).is_file():
            raise DataError(f"{index} names {part!r}, which is not a file of this folder")
    if not names:
        raise DataError(f"{index} names no file")
    return [folder / part for part in sorted(names)]
