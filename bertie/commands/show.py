"""Describe a folder: a run, a model, a prepared corpus or a tokenizer, with its figures and any changed files.

It compares files with their checksums, and reads small text files and the headers of weight files. It loads no model.
"""

import math
import shlex
from pathlib import Path
from typing import Any

from bertie import config, progress
from bertie.commands._attention import attention_page
from bertie.commands._integrity import corpus_files, model_files, run_files
from bertie.commands._seeds import folder_of
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import DataError, SettingsError
from bertie.files.checksums import Differences, compare, has_own_sum, read_sums, seal
from bertie.tokenizer import sentencepiece
from bertie.untrusted import LARGE_BYTES, check_regular, parse_object, read_object, read_text

MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format
_DAMAGED = 3


def show(
    path: Positional[Path],
    *,
    attention: str | None = None,
    attention_pair: str | None = None,
    out: Path | None = None,
    accept_changes: bool = False,
) -> Report:
    """Describe a folder: a run, a model, a prepared corpus or a tokenizer, with its figures and any changed files.

    Args:
        path: the folder, or a file that identifies it, such as its config.toml or manifest.json.
        accept_changes: accept a model's current files, and rewrite their checksums (SHA256SUMS).

    Returns:
        The folder's kind, its figures, and the files that changed since they were written; the exit code is 3 if there
        are any.

    Raises:
        SettingsError: the path doesn't exist, or has no files that bertie can read.
        DataError: one of its files is broken.
    """
    if attention is not None:
        if accept_changes:
            raise SettingsError("--accept-changes and --attention can't be combined; give one of them")
        return attention_page(path, attention, attention_pair, out)
    for flag, value in (("--attention-pair", attention_pair), ("--out", out)):
        if value is not None:
            raise SettingsError(f'{flag} requires --attention "a text"; add it, or leave out {flag}')
    if not path.exists():
        raise SettingsError(f"no such file or folder: {path}")
    folder = path if path.is_dir() else path.parent
    for file_names, describe in (
        (("config.toml",), _describe_run),
        (("manifest.json",), _describe_corpus),
        (("config.json",), _describe_model),
        (("tokenizer.json", "vocab.txt", *sentencepiece.NAMES), _describe_tokenizer),
    ):
        if any((folder / name).is_file() for name in file_names):
            if accept_changes:
                _accept_changes(folder, file_names[0])
            return describe(folder)
    from bertie.formats._folder import instead

    raise SettingsError(
        f"{folder} is not a run (config.toml), a prepared corpus (manifest.json), a model (config.json) "
        f"or a tokenizer (tokenizer.json or vocab.txt); {instead(folder) if folder.is_dir() else 'there is none'}"
    )


def _accept_changes(folder: Path, known_by: str) -> None:
    """Write the checksums of a model folder's current files, and write notes about those that changed."""
    if known_by != "config.json":
        raise SettingsError(f"--accept-changes is only for model folders; {folder} has a {known_by}")
    try:
        before = read_sums(folder)
    except DataError as error:
        progress.note(str(error))
        before = None
    differences = Differences() if before is None else compare(folder, before)
    for change, names in (("changed", differences.changed), ("gone", differences.missing), ("new", differences.added)):
        if names:
            progress.note(f"{change}, and accepted: {', '.join(names)}")
    seal(folder)


def _describe_run(folder: Path) -> Report:
    settings = config.read(folder)
    command = settings.pop("command", None)
    if isinstance(settings.get("seeds"), list) and settings["seeds"] and not (folder / "run.json").exists():
        return _describe_seeds(folder, str(command), settings)
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
    values["files"], is_whole = run_files(folder)
    model = shlex.quote(str(folder / "model"))
    next_command = f"bertie finetune {model} --task classification --train TABLE --dev TABLE --out OUT"
    if command == "finetune":
        next_command = f'bertie predict {model} "a text"'
    if not finished:
        next_command = f"bertie run {shlex.quote(str(folder / 'config.toml'))} --resume"
    code = 0 if is_whole else _DAMAGED
    return Report(title=f"run in {folder}", values=values, next_command=next_command, exit_code=code)


def _describe_seeds(folder: Path, command: str, settings: dict[str, Any]) -> Report:
    """Describe a folder that --seeds made: the state of each run and, when all are finished, their mean and spread."""
    runs = {seed: folder_of(folder, seed) for seed in settings["seeds"]}
    states: dict[int, str] = {}
    for seed, run in runs.items():
        states[seed] = "not begun" if not run.is_dir() else "finished" if _finished(run) else "unfinished"
    all_ended = set(states.values()) == {"finished"}
    files: dict[int, tuple[Any, bool]] = {seed: run_files(run) for seed, run in runs.items() if run.is_dir()}
    summary = read_object(folder / "seeds.json") if (folder / "seeds.json").is_file() else {}
    finished = all_ended and summary.get("seeds") == settings["seeds"]
    values = {
        "kind": "runs of several seeds",
        "path": str(folder),
        "command": command,
        "state": "finished" if finished else "unfinished",
        "runs": [{"seed": seed, "state": state, "folder": str(runs[seed])} for seed, state in states.items()],
        **{name: value for name, value in summary.items() if finished and name in ("best", "typical", "over_seeds")},
        "settings": settings,
        "files": {f"seed-{seed}": found for seed, (found, _) in files.items()},
    }
    all_unchanged = all(is_whole for _, is_whole in files.values())
    model = shlex.quote(str(summary.get("best", folder_of(folder, settings["seeds"][0]) / "model")))
    next_command = f'bertie predict {model} "a text"'
    if command != "finetune":
        next_command = f"bertie finetune {model} --task classification --train TABLE --dev TABLE --out OUT"
    if not finished:
        next_command = f"bertie run {shlex.quote(str(folder / 'config.toml'))} --resume"
    title = f"runs of several seeds in {folder}"
    return Report(title=title, values=values, next_command=next_command, exit_code=0 if all_unchanged else _DAMAGED)


def _finished(folder: Path) -> bool:
    """Check whether a run is finished: it writes its figures last."""
    file = folder / "run.json"
    values = read_object(file) if file.exists() else {}
    if not has_own_sum(values):
        raise DataError(f"{file} is damaged: it has changed since it was written")
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
                number -= 1  # the run is still writing this line
                break
            entry = parse_object(line, f"{file}:{number}")
            latest[str(entry.pop("kind", "line"))] = entry
    return latest, number


def _describe_corpus(folder: Path) -> Report:
    manifest = read_object(folder / "manifest.json")
    if manifest.get("format") != "bertie corpus":
        raise SettingsError(f"{folder / 'manifest.json'} is not the manifest of a prepared corpus")
    files = manifest.get("files", {})
    try:
        num_bytes = sum(int(entry["bytes"]) for entry in files.values())
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / 'manifest.json'}: the sizes of the files are missing; it is broken") from error
    described = {name: value for name, value in manifest.items() if name not in ("files", "sha256")}
    values = {"kind": "corpus", "path": str(folder), **described, "num_bytes": num_bytes}
    values["files"], is_whole = corpus_files(folder, manifest)
    next_command = f"bertie pretrain --corpus {shlex.quote(str(folder))} --model.size mini --out OUT"
    code = 0 if is_whole else _DAMAGED
    return Report(title=f"prepared corpus in {folder}", values=values, next_command=next_command, exit_code=code)


def _describe_model(folder: Path) -> Report:
    settings = read_object(folder / "config.json")
    bertie_settings = settings.get("bertie")
    bertie_settings = bertie_settings if isinstance(bertie_settings, dict) else {}
    tensors = [tensor for file in sorted(folder.glob("*.safetensors")) for tensor in _tensors(file).values()]
    labels = settings.get("id2label")
    values = {
        "kind": "model",
        "path": str(folder),
        "architectures": settings.get("architectures"),
        "task": bertie_settings.get("task"),
        "layers": settings.get("num_hidden_layers", settings.get("n_layers")),  # the second is DistilBERT's name
        "hidden_size": settings.get("hidden_size", settings.get("dim")),
        "attention_heads": settings.get("num_attention_heads", settings.get("n_heads")),
        "vocab_size": settings.get("vocab_size"),
        "max_positions": settings.get("max_position_embeddings"),
        "labels": list(labels.values()) if isinstance(labels, dict) else None,
        "num_parameters": sum(numbers for numbers, _ in tensors) if tensors else None,
        "types": sorted({kind for _, kind in tensors}),
        "bertie": bertie_settings,
    }
    values["files"], is_whole = model_files(folder)
    text = "a text" if isinstance(labels, dict) else "A text with a [MASK]."
    next_command = f'bertie predict {shlex.quote(str(folder))} "{text}"'
    if not is_whole:
        next_command = f"bertie show {shlex.quote(str(folder))} --accept-changes"
    title = f"model in {folder}"
    return Report(title=title, values=values, next_command=next_command, exit_code=0 if is_whole else _DAMAGED)


def _tensors(file: Path) -> dict[str, tuple[int, str]]:
    """Read the header of a weight file: the count of numbers and their type, by tensor.

    The header is JSON; its length is in the first eight bytes.
    """
    check_regular(file)
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(MAX_HEADER_BYTES, file.stat().st_size):
            raise DataError(f"{file}: its header claims {length} bytes, more than the file has; the file is broken")
        header = parse_object(stream.read(length), f"{file}: its header")
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    try:
        return {name: (math.prod(map(int, entry["shape"])), str(entry["dtype"])) for name, entry in entries.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file}: its header describes a tensor without shape or type; the file is broken") from error


def _describe_tokenizer(folder: Path) -> Report:
    values: dict[str, Any] = {"kind": "tokenizer", "path": str(folder)}
    if (file := folder / "tokenizer.json").is_file():
        contents = read_object(file, limit=LARGE_BYTES)
        try:
            values |= {"model": contents["model"].get("type"), "vocab_size": len(contents["model"]["vocab"])}
            values |= {"lowercase": (contents.get("normalizer") or {}).get("lowercase")}
        except (AttributeError, KeyError, TypeError) as error:
            raise DataError(f"{file}: has no vocabulary; it is not a tokenizer in Hugging Face's format") from error
    elif (file := folder / "vocab.txt").is_file():
        values["vocab_size"] = read_text(file, limit=LARGE_BYTES).count("\n")
    else:
        file = next(folder / name for name in sentencepiece.NAMES if (folder / name).is_file())
        values |= {"model": "Unigram", "vocab_size": len(sentencepiece.read(file).pieces)}
    if (file := folder / "tokenizer_config.json").is_file():
        values["settings"] = read_object(file)
    next_command = f"bertie prepare-corpus FILES --tokenizer {shlex.quote(str(folder))} --out OUT"
    return Report(title=f"tokenizer in {folder}", values=values, next_command=next_command)


def _entries(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")] if folder.is_dir() else []
