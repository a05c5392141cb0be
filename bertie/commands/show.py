"""Show what a folder is: a run, a model, a prepared corpus or a tokenizer, and its figures.

Reads small text files and the headers of weight files; loads no weights and runs nothing.
"""

import json
import math
import shlex
from pathlib import Path
from typing import Any

from bertie import config
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import DataError, SettingsError

MAX_HEADER_BYTES = 100_000_000  # what the safetensors format itself allows


def show(path: Positional[Path]) -> Report:
    """Show what a folder is: a run, a model, a prepared corpus or a tokenizer, and its figures.

    Args:
        path: the folder, or one of the files by which it is known, such as its config.toml or manifest.json.

    Returns:
        What it is and its figures.

    Raises:
        SettingsError: there is nothing there, or nothing that bertie made or can read.
        DataError: one of its files is broken.
    """
    if not path.exists():
        raise SettingsError(f"no such file or folder: {path}")
    folder = path if path.is_dir() else path.parent
    for known_by, describe in (
        (("config.toml",), _run),
        (("manifest.json",), _corpus),
        (("config.json",), _model),
        (("tokenizer.json", "vocab.txt"), _tokenizer),
    ):
        if any((folder / name).is_file() for name in known_by):
            return describe(folder)
    raise SettingsError(
        f"{folder} is no run (config.toml), no prepared corpus (manifest.json), no model (config.json) "
        "and no tokenizer (tokenizer.json or vocab.txt)"
    )


def _run(folder: Path) -> Report:
    settings = config.read(folder)
    command = settings.pop("command", None)
    latest, num_lines = _latest_metrics(folder / "metrics.jsonl")
    finished = _finished(folder)
    values = {
        "kind": "run",
        "path": str(folder),
        "command": command,
        "state": "finished" if finished else "unfinished",
        "checkpoints": sorted(entry.name for entry in _entries(folder / "checkpoints")),
        "logged_lines": num_lines,
        **{f"last_{kind}": line for kind, line in latest.items()},
        "settings": settings,
    }
    model = shlex.quote(str(folder / "model"))
    following = f"bertie finetune {model} --task classification --train TABLE --dev TABLE --out OUT"
    if command == "finetune":
        following = f'bertie predict {model} "a text"'
    if not finished:
        following = f"bertie run {shlex.quote(str(folder / 'config.toml'))} --resume"
    return Report(title=f"run in {folder}", values=values, next_command=following)


def _finished(folder: Path) -> bool:
    """Tell whether a run wrote everything: its figures are the last thing it leaves."""
    file = folder / "run.json"
    return file.exists() and "values" in _object(file.read_bytes(), str(file))


def _latest_metrics(file: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """Return the last line of each kind in a journal, without its kind, and the number of lines."""
    latest: dict[str, dict[str, Any]] = {}
    number = 0
    if not file.exists():
        return latest, number
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                number -= 1  # a run is writing it just now
                break
            entry = _object(line, f"{file}:{number}")
            latest[str(entry.pop("kind", "line"))] = entry
    return latest, number


def _corpus(folder: Path) -> Report:
    manifest = _object((folder / "manifest.json").read_bytes(), str(folder / "manifest.json"))
    if manifest.get("format") != "bertie corpus":
        raise SettingsError(f"{folder / 'manifest.json'} is not the manifest of a prepared corpus")
    files = manifest.pop("files", {})
    try:
        num_bytes = sum(int(entry["bytes"]) for entry in files.values())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / 'manifest.json'}: doesn't say how large each file is; it is broken") from error
    values = {"kind": "corpus", "path": str(folder), **manifest, "num_bytes": num_bytes}
    following = f"bertie pretrain --corpus {shlex.quote(str(folder))} --model.size mini --out OUT"
    return Report(title=f"prepared corpus in {folder}", values=values, next_command=following)


def _model(folder: Path) -> Report:
    settings = _object((folder / "config.json").read_bytes(), str(folder / "config.json"))
    own = settings.get("bertie")
    own = own if isinstance(own, dict) else {}
    tensors = [tensor for file in sorted(folder.glob("*.safetensors")) for tensor in _tensors(file).values()]
    labels = settings.get("id2label")
    values = {
        "kind": "model",
        "path": str(folder),
        "architectures": settings.get("architectures"),
        "task": own.get("task"),
        "layers": settings.get("num_hidden_layers"),
        "hidden_size": settings.get("hidden_size"),
        "attention_heads": settings.get("num_attention_heads"),
        "vocab_size": settings.get("vocab_size"),
        "max_positions": settings.get("max_position_embeddings"),
        "labels": list(labels.values()) if isinstance(labels, dict) else None,
        "num_parameters": sum(numbers for numbers, _ in tensors) if tensors else None,
        "types": sorted({kind for _, kind in tensors}),
        "bertie": own,
    }
    text = "a text" if isinstance(labels, dict) else "A text with a [MASK]."
    following = f'bertie predict {shlex.quote(str(folder))} "{text}"'
    return Report(title=f"model in {folder}", values=values, next_command=following)


def _tensors(file: Path) -> dict[str, tuple[int, str]]:
    """Read what a weight file says it holds, numbers and their type by tensor: a length of eight bytes, then JSON."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(MAX_HEADER_BYTES, file.stat().st_size):
            raise DataError(f"{file}: its header claims {length} bytes, more than there are; the file is broken")
        header = _object(stream.read(length), str(file))
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    try:
        return {name: (math.prod(map(int, entry["shape"])), str(entry["dtype"])) for name, entry in entries.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file}: its header describes a tensor without shape or type; the file is broken") from error


def _tokenizer(folder: Path) -> Report:
    values: dict[str, Any] = {"kind": "tokenizer", "path": str(folder)}
    if (file := folder / "tokenizer.json").is_file():
        whole = _object(file.read_bytes(), str(file))
        try:
            values |= {"model": whole["model"].get("type"), "vocab_size": len(whole["model"]["vocab"])}
            values |= {"lowercase": (whole.get("normalizer") or {}).get("lowercase")}
        except (AttributeError, KeyError, TypeError) as error:
            raise DataError(f"{file}: holds no vocabulary; it is no tokenizer of Hugging Face's form") from error
    else:
        with (folder / "vocab.txt").open("rb") as stream:
            values["vocab_size"] = sum(1 for _ in stream)
    if (file := folder / "tokenizer_config.json").is_file():
        values["settings"] = _object(file.read_bytes(), str(file))
    following = f"bertie prepare-corpus FILES --tokenizer {shlex.quote(str(folder))} --out OUT"
    return Report(title=f"tokenizer in {folder}", values=values, next_command=following)


def _object(content: bytes, place: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise DataError(f"{place}: holds a {type(value).__name__} where an object was expected")
    return value


def _entries(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")] if folder.is_dir() else []
