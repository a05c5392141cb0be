"""Describe anything that bertie makes or reads: what it is, how it was made, its figures, and what to type next.

It compares files with their checksums, and reads small text files and the headers of weight files. It loads no model,
but for --attention and --live.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from bertie import progress
from bertie.commands._attention import attention_page
from bertie.commands._live import write_live_page
from bertie.commands._shown import Description, quoted
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import DataError, SettingsError
from bertie.files.checksums import Differences, compare, read_sums, seal
from bertie.untrusted import check_regular

_IN_MODELS = ("config.json", "README.md", "SHA256SUMS", "modules.json", "bert_config.json", "generation_config.json")
_IN_RUNS = ("config.toml", "run.json", "metrics.jsonl", "report.html", "seeds.json", ".lock")
_KINDS = 1000
"""Entries of a folder that are looked at."""


def show(
    path: Positional[Path],
    *,
    attention: str | None = None,
    attention_pair: str | None = None,
    live: bool = False,
    out: Path | None = None,
    accept_changes: bool = False,
) -> Report:
    """Describe anything that bertie makes or reads: what it is, how it was made, its figures, and what to type next.

    It knows runs (also running or stopped ones), models of any program, exported models, checkpoints, prepared corpora,
    tokenizers, search indexes, unfinished files of predictions, TensorFlow checkpoints, data tables, and folders of
    these. With --attention it writes one HTML file that shows how a model reads a text, and with --live
    one that holds a small masked language model and computes with it.

    Args:
        path: the folder or file; with --attention or --live a model, the run that made it, or a hub id.
        attention: a text; its pieces, and where each head of each layer looks, are written to --out as a page that
            loads nothing from elsewhere.
        attention_pair: the second text of a pair, or the passage of a question.
        live: write a page that holds the model itself: type a sentence, hide words, see the guesses and every number
            behind them change. A run that kept checkpoints (--training.keep) shows how it learned.
        out: the page to write, attention.html or live.html when not given; an earlier page is replaced.
        accept_changes: accept a model's current files, and rewrite their checksums (SHA256SUMS).

    Returns:
        The kind of the artefact, its figures, and the files that changed since they were written; the exit code is 3 if
        there are any.

    Raises:
        SettingsError: the path doesn't exist, or has no files that bertie can read.
        DataError: one of its files is broken.
    """
    if live:
        if accept_changes or attention is not None or attention_pair is not None:
            raise SettingsError("--live can be combined with --out alone; leave out the other flags")
        return write_live_page(path, out)
    if attention is not None:
        if accept_changes:
            raise SettingsError("--accept-changes and --attention can't be combined; give one of them")
        return attention_page(path, attention, attention_pair, out)
    if attention_pair is not None:
        raise SettingsError('--attention-pair requires --attention "a text"; add it, or leave out --attention-pair')
    if out is not None:
        raise SettingsError('--out requires --attention "a text" or --live; add one of them, or leave out --out')
    work = path.with_name(f"{path.name}.parts") if path.name else path
    if not path.exists() and (work / "origin.json").is_file():
        path = work  # the file of predictions isn't there yet
    if not path.exists():
        raise SettingsError(f"no such file or folder: {path}")
    if path.is_dir():
        return _describe_folder(path, accept_changes=accept_changes)
    if accept_changes:
        return _describe_folder(path.parent, accept_changes=True)
    return _describe_file(path)


def _describe_folder(folder: Path, *, accept_changes: bool) -> Report:
    for known_by, describe in _kinds(folder):
        if accept_changes:
            _accept_changes(folder, known_by)
        return describe(folder)
    kinds = {} if accept_changes else _entries(folder)
    from bertie.formats._folder import instead

    if kinds:
        from bertie.commands._shown_files import describe_folder

        return describe_folder(folder, kinds)
    raise SettingsError(
        f"{folder} is not a run (config.toml), a prepared corpus (manifest.json), a model (config.json) "
        f"or a tokenizer (tokenizer.json or vocab.txt); {instead(folder)}"
    )


def _kinds(folder: Path) -> Iterator[tuple[str, Callable[[Path], Report]]]:
    """Yield the file that tells what a folder is, and what describes it; nothing for an unknown folder."""
    from bertie.commands import _shown_files as files
    from bertie.commands import _shown_models as models
    from bertie.commands import _shown_runs as runs
    from bertie.commands import _shown_texts as texts
    from bertie.training import checkpoint_files

    if (folder / "config.toml").is_file():
        yield "config.toml", runs.describe_run
    elif checkpoint_files.is_checkpoint(folder):
        yield checkpoint_files.MANIFEST, runs.describe_checkpoint
    elif (folder / "origin.json").is_file() and folder.name.endswith(".parts"):
        yield "origin.json", files.describe_predictions
    elif (folder / "manifest.json").is_file():
        yield "manifest.json", texts.describe_corpus
    elif models.is_model(folder):
        yield "config.json", models.describe_model
    elif models.is_google(folder):
        yield "a checkpoint of TensorFlow", models.describe_google
    else:
        for name in texts.TOKENIZER_FILES:
            if (folder / name).is_file():
                yield name, texts.describe_tokenizer
                return


def _describe_file(file: Path) -> Report:
    """Describe a file, or the folder that it is a part of."""
    from bertie.commands import _shown_files as files
    from bertie.commands import _shown_texts as texts
    from bertie.formats._places import OTHERS

    check_regular(file)
    name, suffix = file.name, file.suffix.lower()
    parts: dict[str, bool] = {
        "config.toml": name in _IN_RUNS,
        "manifest.json": name in ("manifest.json", "tokens.bin", "sentences.bin", "documents.bin"),
        "MANIFEST.json": name in ("MANIFEST.json", "state.json") or name.startswith("tensors-"),
        "config.json": name in _IN_MODELS or suffix in (".safetensors", ".onnx") or name.endswith("_config.json"),
        "origin.json": name in ("origin.json", "done.json"),
    }
    for known_by, is_part in parts.items():
        if is_part and (file.parent / known_by).is_file():
            return _describe_folder(file.parent, accept_changes=False)
    if name in texts.TOKENIZER_FILES and name != "vocab.txt":
        return texts.describe_tokenizer(file.parent)
    if (".ckpt" in name or name in ("bert_config.json", "tokenizer_config.json")) and any(file.parent.glob("*.index")):
        return _describe_folder(file.parent, accept_changes=False)
    if suffix == ".npz":
        return files.describe_index(file)
    if suffix in OTHERS:
        raise SettingsError(f"{file} is {OTHERS[suffix]}; use the folder that it was made from")
    if suffix in (".bin", ".pt", ".pth", ".ckpt"):
        raise SettingsError(
            f"{file} is a pickle, which could run code when read; give the folder that holds it and its config.json to "
            f"convert it: bertie convert {quoted(file.parent)} OUT"
        )
    if suffix == ".html":
        return _describe_page(file)
    if suffix == ".txt" and texts.is_vocabulary(file):
        return texts.describe_vocabulary(file)
    return files.describe_table(file) if files.is_table(file) else files.describe_text(file)


def _describe_page(file: Path) -> Report:
    num_bytes = file.stat().st_size
    return Description(
        title=f"{file}: a page to open in a browser",
        values={"kind": "page", "path": str(file), "bytes": num_bytes, "address": file.absolute().as_uri()},
        facts={"address": file.absolute().as_uri()},
    )


def _entries(folder: Path) -> dict[str, str]:
    """Return what the entries of a folder are, by their names; those that bertie doesn't know are left out."""
    from bertie.commands._shown_files import is_table

    names = {
        "config.toml": "run",
        "manifest.json": "prepared corpus",
        "config.json": "model",
        "origin.json": "predictions",
    }
    found: dict[str, str] = {}
    for number, entry in enumerate(sorted(folder.iterdir())):
        if number == _KINDS:
            break
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            kind = next((known_by for known_by, _ in _kinds(entry)), "")
            if kind:
                found[entry.name] = names.get(
                    kind, "checkpoint" if kind.isupper() or "MANIFEST" in kind else "tokenizer"
                )
        elif entry.suffix == ".npz":
            found[entry.name] = "search index"
        elif is_table(entry) and not entry.name.endswith("_config.json"):  # such as that of an adapter
            found[entry.name] = "data table"
    return found


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
