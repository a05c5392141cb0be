"""Show what a folder is: a run, a model, a prepared corpus or a tokenizer, its figures, and whether it is whole.

It compares files with their checksums, and reads small text files and the headers of weight files. It runs nothing.
"""

import math
import shlex
from pathlib import Path
from typing import Any

from bertie import config, progress
from bertie.commands._seeds import folder_of
from bertie.commands._whole import corpus_files, model_files, run_files
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import DataError, SettingsError
from bertie.files.checksums import Differences, compare, has_own_sum, read_sums, seal
from bertie.untrusted import LARGE_BYTES, check_regular, parse_object, read_object, read_text

MAX_HEADER_BYTES = 100_000_000  # what the safetensors format itself allows
_DAMAGED = 3


def show(path: Positional[Path], *, accept_changes: bool = False) -> Report:
    """Show what a folder is: a run, a model, a prepared corpus or a tokenizer, its figures, and whether it is whole.

    Args:
        path: the folder, or one of the files by which it is known, such as its config.toml or manifest.json.
        accept_changes: accept a model's files as they are now, and rewrite their checksums (SHA256SUMS).

    Returns:
        What it is, its figures, and which files are not as they were written; the exit code is 3 when there are any.

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
            if accept_changes:
                _accept(folder, known_by[0])
            return describe(folder)
    from bertie.formats._folder import instead

    raise SettingsError(
        f"{folder} is no run (config.toml), no prepared corpus (manifest.json), no model (config.json) "
        f"and no tokenizer (tokenizer.json or vocab.txt); {instead(folder) if folder.is_dir() else 'there is none'}"
    )


def _accept(folder: Path, known_by: str) -> None:
    """Write the checksums of a model folder's files as they are now, and name those that changed."""
    if known_by != "config.json":
        raise SettingsError(f"--accept-changes is for model folders; {folder} is known by its {known_by}")
    try:
        before = read_sums(folder)
    except DataError as error:
        progress.note(str(error))
        before = None
    found = Differences() if before is None else compare(folder, before)
    for what, names in (("changed", found.changed), ("gone", found.missing), ("new", found.added)):
        if names:
            progress.note(f"{what}, and accepted: {', '.join(names)}")
    seal(folder)


def _run(folder: Path) -> Report:
    settings = config.read(folder)
    command = settings.pop("command", None)
    if isinstance(settings.get("seeds"), list) and settings["seeds"] and not (folder / "run.json").exists():
        return _several(folder, str(command), settings)
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
    values["files"], whole = run_files(folder)
    model = shlex.quote(str(folder / "model"))
    following = f"bertie finetune {model} --task classification --train TABLE --dev TABLE --out OUT"
    if command == "finetune":
        following = f'bertie predict {model} "a text"'
    if not finished:
        following = f"bertie run {shlex.quote(str(folder / 'config.toml'))} --resume"
    code = 0 if whole else _DAMAGED
    return Report(title=f"run in {folder}", values=values, next_command=following, exit_code=code)


def _several(folder: Path, command: str, settings: dict[str, Any]) -> Report:
    """Describe a folder that --seeds made: the state of each run and, once all are finished, what they are together."""
    runs = {seed: folder_of(folder, seed) for seed in settings["seeds"]}
    states: dict[int, str] = {}
    for seed, run in runs.items():
        states[seed] = "not begun" if not run.is_dir() else "finished" if _finished(run) else "unfinished"
    all_ended = set(states.values()) == {"finished"}
    files: dict[int, tuple[Any, bool]] = {seed: run_files(run) for seed, run in runs.items() if run.is_dir()}
    together = read_object(folder / "seeds.json") if (folder / "seeds.json").is_file() else {}
    finished = all_ended and together.get("seeds") == settings["seeds"]
    values = {
        "kind": "runs of several seeds",
        "path": str(folder),
        "command": command,
        "state": "finished" if finished else "unfinished",
        "runs": [{"seed": seed, "state": state, "folder": str(runs[seed])} for seed, state in states.items()],
        **{name: value for name, value in together.items() if finished and name in ("best", "typical", "over_seeds")},
        "settings": settings,
        "files": {f"seed-{seed}": found for seed, (found, _) in files.items()},
    }
    whole = all(is_whole for _, is_whole in files.values())
    model = shlex.quote(str(together.get("best", folder_of(folder, settings["seeds"][0]) / "model")))
    following = f'bertie predict {model} "a text"'
    if command != "finetune":
        following = f"bertie finetune {model} --task classification --train TABLE --dev TABLE --out OUT"
    if not finished:
        following = f"bertie run {shlex.quote(str(folder / 'config.toml'))} --resume"
    title = f"runs of several seeds in {folder}"
    return Report(title=title, values=values, next_command=following, exit_code=0 if whole else _DAMAGED)


def _finished(folder: Path) -> bool:
    """Tell whether a run wrote everything: its figures are the last thing it leaves."""
    file = folder / "run.json"
    values = read_object(file) if file.exists() else {}
    if not has_own_sum(values):
        raise DataError(f"{file} is damaged: it isn't as it was written")
    return "values" in values


def _latest_metrics(file: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """Return the last line of each kind in a journal, without its kind, and the number of lines."""
    latest: dict[str, dict[str, Any]] = {}
    number = 0
    if not file.exists():
        return latest, number
    check_regular(file)
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                number -= 1  # a run is writing it just now
                break
            entry = parse_object(line, f"{file}:{number}")
            latest[str(entry.pop("kind", "line"))] = entry
    return latest, number


def _corpus(folder: Path) -> Report:
    manifest = read_object(folder / "manifest.json")
    if manifest.get("format") != "bertie corpus":
        raise SettingsError(f"{folder / 'manifest.json'} is not the manifest of a prepared corpus")
    files = manifest.get("files", {})
    try:
        num_bytes = sum(int(entry["bytes"]) for entry in files.values())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / 'manifest.json'}: doesn't say how large each file is; it is broken") from error
    shown = {name: value for name, value in manifest.items() if name not in ("files", "sha256")}
    values = {"kind": "corpus", "path": str(folder), **shown, "num_bytes": num_bytes}
    values["files"], whole = corpus_files(folder, manifest)
    following = f"bertie pretrain --corpus {shlex.quote(str(folder))} --model.size mini --out OUT"
    code = 0 if whole else _DAMAGED
    return Report(title=f"prepared corpus in {folder}", values=values, next_command=following, exit_code=code)


def _model(folder: Path) -> Report:
    settings = read_object(folder / "config.json")
    own = settings.get("bertie")
    own = own if isinstance(own, dict) else {}
    tensors = [tensor for file in sorted(folder.glob("*.safetensors")) for tensor in _tensors(file).values()]
    labels = settings.get("id2label")
    values = {
        "kind": "model",
        "path": str(folder),
        "architectures": settings.get("architectures"),
        "task": own.get("task"),
        "layers": settings.get("num_hidden_layers", settings.get("n_layers")),  # the second is DistilBERT's name
        "hidden_size": settings.get("hidden_size", settings.get("dim")),
        "attention_heads": settings.get("num_attention_heads", settings.get("n_heads")),
        "vocab_size": settings.get("vocab_size"),
        "max_positions": settings.get("max_position_embeddings"),
        "labels": list(labels.values()) if isinstance(labels, dict) else None,
        "num_parameters": sum(numbers for numbers, _ in tensors) if tensors else None,
        "types": sorted({kind for _, kind in tensors}),
        "bertie": own,
    }
    values["files"], whole = model_files(folder)
    text = "a text" if isinstance(labels, dict) else "A text with a [MASK]."
    following = f'bertie predict {shlex.quote(str(folder))} "{text}"'
    if not whole:
        following = f"bertie show {shlex.quote(str(folder))} --accept-changes"
    title = f"model in {folder}"
    return Report(title=title, values=values, next_command=following, exit_code=0 if whole else _DAMAGED)


def _tensors(file: Path) -> dict[str, tuple[int, str]]:
    """Read what a weight file says it holds, numbers and their type by tensor: a length of eight bytes, then JSON."""
    check_regular(file)
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(MAX_HEADER_BYTES, file.stat().st_size):
            raise DataError(f"{file}: its header claims {length} bytes, more than there are; the file is broken")
        header = parse_object(stream.read(length), f"{file}: its header")
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    try:
        return {name: (math.prod(map(int, entry["shape"])), str(entry["dtype"])) for name, entry in entries.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file}: its header describes a tensor without shape or type; the file is broken") from error


def _tokenizer(folder: Path) -> Report:
    values: dict[str, Any] = {"kind": "tokenizer", "path": str(folder)}
    if (file := folder / "tokenizer.json").is_file():
        whole = read_object(file, limit=LARGE_BYTES)
        try:
            values |= {"model": whole["model"].get("type"), "vocab_size": len(whole["model"]["vocab"])}
            values |= {"lowercase": (whole.get("normalizer") or {}).get("lowercase")}
        except (AttributeError, KeyError, TypeError) as error:
            raise DataError(f"{file}: holds no vocabulary; it is no tokenizer of Hugging Face's form") from error
    else:
        values["vocab_size"] = read_text(folder / "vocab.txt", limit=LARGE_BYTES).count("\n")
    if (file := folder / "tokenizer_config.json").is_file():
        values["settings"] = read_object(file)
    following = f"bertie prepare-corpus FILES --tokenizer {shlex.quote(str(folder))} --out OUT"
    return Report(title=f"tokenizer in {folder}", values=values, next_command=following)


def _entries(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")] if folder.is_dir() else []
