"""Find the weight files of a model folder, or explain what the folder is instead and what to do.

People pass the parent folder, a run, a checkpoint, an adapter or weights of another program. The message names each
of these, with the command or the call that leads to a model. A helper of the formats. It opens no weights.
"""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from bertie.errors import DataError, SettingsError
from bertie.formats._places import OTHERS, is_exported, weight_files
from bertie.native import said
from bertie.tokenizer.sources import VOCABULARIES
from bertie.untrusted import read_object

_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_TRAINING = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state.*|random_states.*|.*optim_states.*)")
"""Names of pickles that a Trainer writes next to the weights."""
_SAVE = "from transformers import AutoModel; AutoModel.from_pretrained({folder}, {flag}=True).save_pretrained(OUT)"
_OLD = "transformers 4 can turn it into one that bertie reads: " + _SAVE
_TENSORFLOW = ("*.h5", "flax_model.msgpack", "*.index", "saved_model.pb")


def pickles(folder: Path) -> list[Path]:
    """List the files that may hold pickled weights, without a Trainer's other pickles."""
    files = (file for file in sorted(folder.iterdir()) if file.suffix in _PICKLES and file.is_file())
    return [file for file in files if not _TRAINING.fullmatch(file.stem)]


def weights_of(folder: Path) -> list[Path]:
    """Return the safetensors files of a model folder.

    Raises:
        SettingsError: the folder has none; the message says what it holds instead.
        DataError: the index is not an index, or names files outside the folder.
    """
    if files := weight_files(folder, "model.safetensors"):
        return files
    if is_exported(folder):
        raise SettingsError(
            f"{folder} is an exported model, for predict, evaluate and search only; for anything else, use the folder "
            "that it was exported from"
        )
    if pickled := pickles(folder):
        target = shlex.quote(f"{folder.resolve()}-safetensors")
        raise SettingsError(
            f"{folder} holds {pickled[0].name}, a pickle, which could run code when read; convert it: "
            f"bertie convert {shlex.quote(str(folder))} {target}"
        )
    raise SettingsError(f"{folder} holds no model.safetensors; {instead(folder)}")


def damaged(file: Path, error: BaseException) -> DataError:
    """Return the error for a weight file that can't be read."""
    return DataError(stand_in(file) or f"{file} is damaged: {said(error)}")


def stand_in(file: Path) -> str:
    """Explain a weight file that is a Git LFS pointer or a web page; return "" for any other file."""
    with file.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(b"version https://git-lfs"):
        return f"{file} is a Git LFS pointer, not the weights; fetch them: git lfs pull"
    if start.lstrip()[:1] == b"<":
        return f"{file} is a web page, not weights; download the file itself"
    return ""


def no_config(folder: Path) -> SettingsError:
    """Return the error for a folder without config.json."""
    return SettingsError(f"{folder} is not a model folder: it holds no config.json; {instead(folder)}")


def instead(folder: Path) -> str:
    """Explain what a folder without config.json or weights is, and what to do with it."""
    names = {entry.name for entry in folder.iterdir()}
    if "adapter_config.json" in names or "adapter_model.safetensors" in names:
        return (
            f"it is an adapter (PEFT) for {_base(folder)}; merge it into its base model with PEFT: "
            "model.merge_and_unload().save_pretrained(OUT)"
        )
    if inner := _inner(folder):
        return inner
    if "bert_config.json" in names and "config.json" not in names:
        quoted = shlex.quote(str(folder))
        after = "" if "model.safetensors" in names else f", then bertie convert {quoted} OUT"
        if not any(Path(name).suffix in (*_PICKLES, ".safetensors") for name in names):
            return _tensorflow(folder)
        old = f"{quoted}/bert_config.json {quoted}/config.json"
        return f"bert_config.json is the old name of config.json: cp {old}{after}"
    if any(any(folder.glob(pattern)) for pattern in _TENSORFLOW):
        return _tensorflow(folder)
    weights = sorted(name for name in names if name.endswith(".safetensors"))
    if weights and "config.json" in names:
        return f"rename its weights: mv {weights[0]} model.safetensors"
    for name in sorted(names):
        if other := OTHERS.get(Path(name).suffix.lower()):
            return f"{name} is {other}; use the folder that it was made from"
    return _incomplete(folder, names)


def _incomplete(folder: Path, names: Iterable[str]) -> str:
    held = set(names)
    if pickled := pickles(folder):
        return f"{pickled[0].name} alone doesn't say which network it is; add the model's config.json to the folder"
    if any(name.endswith(".safetensors") for name in held):
        return "weights alone don't say which network they are; add the model's config.json to the folder"
    if not held:
        return "it is empty"
    if held & set(VOCABULARIES) and "config.json" not in held:
        return "it holds only a tokenizer"
    return (
        "give a folder that holds config.json and model.safetensors; if the hub has the model only as "
        "pytorch_model.bin, convert it: bertie convert OWNER/MODEL FOLDER"
    )


def _inner(folder: Path) -> str:
    """Name the model folder inside a run, a Trainer's output, or any folder whose subfolder is a model."""
    inner = sorted(entry for entry in folder.iterdir() if entry.is_dir() and _is_model(entry))
    if runs := sorted(file.parent for file in folder.glob("seed-*/model/config.json")):
        return f"it holds runs of several seeds; use the model of one, such as {shlex.quote(str(runs[0]))}"
    if not inner and (folder / "snapshots").is_dir():  # the layout of the hub's cache: blobs, refs, snapshots/REVISION
        kept = sorted(filter(_is_model, (folder / "snapshots").iterdir()), key=lambda entry: entry.stat().st_mtime)
        return f"it is a model's folder in the hub's cache; the model is {shlex.quote(str(kept[-1]))}" if kept else ""
    if not inner:
        return ""
    if (folder / "model").is_dir() and (folder / "config.toml").is_file():
        return f"it is a run; its model is {shlex.quote(str(folder / 'model'))}"
    steps = {int(found[1]): entry for entry in inner if (found := re.fullmatch(r"checkpoint-(\d+)", entry.name))}
    if steps:
        last = steps[max(steps)]
        best = _text(last / "trainer_state.json", "best_model_checkpoint")
        others = f" of {len(steps)}" if len(steps) > 1 else ""
        note = f"; trainer_state.json names {Path(best).name!r} as the best" if best else ""
        return f"it is a Trainer's output; the last checkpoint{others} is {shlex.quote(str(last))}{note}"
    if len(inner) == 1:
        return f"the model in it is {shlex.quote(str(inner[0]))}"
    return f"it holds {len(inner)} models, such as {shlex.quote(str(inner[0]))} and {shlex.quote(str(inner[1]))}"


def _is_model(folder: Path) -> bool:
    named = bool(_text(folder / "config.json", "model_type"))
    return named or ((folder / "config.json").is_file() and any(folder.glob("*.safetensors")))


def _tensorflow(folder: Path) -> str:
    quoted = repr(str(folder))
    if (folder / "flax_model.msgpack").is_file():
        return f"flax_model.msgpack is a Flax model; {_OLD.format(folder=quoted, flag='from_flax')}"
    if files := sorted(folder.glob("*.h5")):
        return f"{files[0].name} is a TensorFlow model; {_OLD.format(folder=quoted, flag='from_tf')}"
    if files := sorted(folder.glob("*.index")):
        checkpoint = files[0].name.removesuffix(".index")
        return f"{checkpoint} is a TensorFlow 1 checkpoint; convert it: bertie convert {shlex.quote(str(folder))} OUT"
    if (folder / "saved_model.pb").is_file():
        return "saved_model.pb is a TensorFlow program, which can't be converted back; use the model it was made from"
    return "its weights are missing; download the folder again"


def _base(folder: Path) -> str:
    name = _text(folder / "adapter_config.json", "base_model_name_or_path")
    return repr(name)[:100] if name else "a base model"


def _text(file: Path, key: str) -> str:
    """Return a string of a JSON object, for a message; "" if the file or the string is missing."""
    try:
        value = read_object(file).get(key)
    except (DataError, SettingsError):
        return ""
    return value if isinstance(value, str) else ""
