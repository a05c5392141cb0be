"""What a folder is that should be a model's: its weight files, or a sentence that says what is there and what to do.

People give the folder above, the run, a checkpoint, an adapter, weights of another program. Each is named, with the
command or the call that leads on. It opens no weights, and it is no choice among the formats.
"""

import re
import shlex
from collections.abc import Iterable
from pathlib import Path

from bertie.errors import DataError, SettingsError
from bertie.formats._places import HEAD, OTHERS, weight_files
from bertie.native import said
from bertie.untrusted import read_object

_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_TRAINING = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state.*|random_states.*|.*optim_states.*)")
"""Pickles beside weights that hold no weights."""
_SAVE = "from transformers import AutoModel; AutoModel.from_pretrained({folder}, {flag}=True).save_pretrained(OUT)"
_OLD = "transformers 4 can turn it into one that bertie reads: " + _SAVE
_KINDS = ("*.h5", "flax_model.msgpack", "*.ckpt.index", "saved_model.pb")


def pickles(folder: Path) -> list[Path]:
    """List the files that may hold pickled weights; what a Trainer keeps beside them is none of them."""
    files = (file for file in sorted(folder.iterdir()) if file.suffix in _PICKLES and file.is_file())
    return [file for file in files if not _TRAINING.fullmatch(file.stem)]


def weights_of(folder: Path) -> list[Path]:
    """Return the safetensors files of a model folder.

    Raises:
        SettingsError: there are none; the message says what is there instead.
        DataError: an index that is none, or that names files elsewhere.
    """
    if files := weight_files(folder, "model.safetensors"):
        return files
    if (folder / HEAD).is_file():
        raise SettingsError(
            f"{folder} is an exported model, which predict, evaluate and search use; for anything else take the folder "
            "it was exported from"
        )
    if found := pickles(folder):
        target = shlex.quote(f"{folder.resolve()}-safetensors")
        raise SettingsError(
            f"{folder} holds {found[0].name}, a pickle, which could run code when read; type: "
            f"bertie convert {shlex.quote(str(folder))} {target}"
        )
    raise SettingsError(f"{folder} holds no model.safetensors; {instead(folder)}")


def damaged(file: Path, error: BaseException) -> DataError:
    """Make the error for a weight file that can't be read."""
    return DataError(stand_in(file) or f"{file} is damaged: {said(error)}")


def stand_in(file: Path) -> str:
    """Say what a download left in place of weights; empty for anything else."""
    with file.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(b"version https://git-lfs"):
        return f"{file} is a pointer of Git LFS, not the weights; fetch them: git lfs pull"
    if start.lstrip()[:1] == b"<":
        return f"{file} is a web page, not weights; download the file itself"
    return ""


def no_config(folder: Path) -> SettingsError:
    """Make the error for a folder without config.json."""
    return SettingsError(f"{folder} is no model folder: it holds no config.json; {instead(folder)}")


def instead(folder: Path) -> str:
    """Say what a folder is that lacks config.json or weights, and what to do with it."""
    names = {entry.name for entry in folder.iterdir()}
    if "adapter_config.json" in names or "adapter_model.safetensors" in names:
        return (
            f"it is an adapter (PEFT) for {_base(folder)}; merge the two where it was made: "
            "model.merge_and_unload().save_pretrained(OUT)"
        )
    if inner := _inner(folder):
        return inner
    if "bert_config.json" in names and "config.json" not in names:
        there = shlex.quote(str(folder))
        after = "" if "model.safetensors" in names else f", then bertie convert {there} OUT"
        if not any(Path(name).suffix in (*_PICKLES, ".safetensors") for name in names):
            return _tensorflow(folder)
        old = f"{there}/bert_config.json {there}/config.json"
        return f"bert_config.json is the old name of config.json: cp {old}{after}"
    if any(any(folder.glob(kind)) for kind in _KINDS):
        return _tensorflow(folder)
    weights = sorted(name for name in names if name.endswith(".safetensors"))
    if weights and "config.json" in names:
        return f"rename its weights: mv {weights[0]} model.safetensors"
    for name in sorted(names):
        if other := OTHERS.get(Path(name).suffix.lower()):
            return f"{name} is {other}; take the folder that it was made from"
    return _rest(folder, names)


def _rest(folder: Path, names: Iterable[str]) -> str:
    held = set(names)
    if found := pickles(folder):
        return f"{found[0].name} alone doesn't say what network it is of; put the model's config.json beside it"
    if any(name.endswith(".safetensors") for name in held):
        return "weights alone don't say what network they are of; put the model's config.json beside them"
    if not held:
        return "it is empty"
    if held & {"vocab.txt", "tokenizer.json", "vocab.json"} and "config.json" not in held:
        return "it holds a tokenizer alone"
    return (
        "give a folder that holds config.json and model.safetensors; if the hub has the model as pytorch_model.bin "
        "only, type: bertie convert OWNER/MODEL FOLDER"
    )


def _inner(folder: Path) -> str:
    """Name the model inside: of a run, of a Trainer's output, of any folder with one model further down."""
    inner = sorted(entry for entry in folder.iterdir() if entry.is_dir() and _is_model(entry))
    if runs := sorted(file.parent for file in folder.glob("seed-*/model/config.json")):
        return f"it holds runs of several seeds; take the model of one, such as {shlex.quote(str(runs[0]))}"
    if not inner and (folder / "snapshots").is_dir():  # of the hub's cache: blobs, refs, snapshots/REVISION
        kept = sorted(filter(_is_model, (folder / "snapshots").iterdir()), key=lambda entry: entry.stat().st_mtime)
        return f"it is a model in the hub's cache, which lies in {shlex.quote(str(kept[-1]))}" if kept else ""
    if not inner:
        return ""
    if (folder / "model").is_dir() and (folder / "config.toml").is_file():
        return f"it is a run, whose model is {shlex.quote(str(folder / 'model'))}"
    steps = {int(found[1]): entry for entry in inner if (found := re.fullmatch(r"checkpoint-(\d+)", entry.name))}
    if steps:
        last = steps[max(steps)]
        best = _text(last / "trainer_state.json", "best_model_checkpoint")
        others = f" of {len(steps)}" if len(steps) > 1 else ""
        told = f"; the best by its own record was {Path(best).name!r}" if best else ""
        return f"it is a Trainer's output; the last checkpoint{others} is {shlex.quote(str(last))}{told}"
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
    if found := sorted(folder.glob("*.h5")):
        return f"{found[0].name} is a TensorFlow model; {_OLD.format(folder=quoted, flag='from_tf')}"
    if found := sorted(folder.glob("*.ckpt.index")):
        checkpoint = found[0].name.removesuffix(".index")
        settings = "bert_config.json" if (folder / "bert_config.json").is_file() else "config.json"
        return (
            f"{checkpoint} is a checkpoint of TensorFlow 1; transformers 4 with TensorFlow turns it into one that "
            f"bertie can convert: transformers convert --model_type bert --tf_checkpoint {folder}/{checkpoint} "
            f"--config {folder}/{settings} --pytorch_dump_output OUT/pytorch_model.bin"
        )
    if (folder / "saved_model.pb").is_file():
        return "saved_model.pb is a TensorFlow program, which can't be turned back; take the model it was made from"
    return "its weights are missing; fetch the folder again"


def _base(folder: Path) -> str:
    found = _text(folder / "adapter_config.json", "base_model_name_or_path")
    return repr(found)[:100] if found else "its base model"


def _text(file: Path, key: str) -> str:
    """Read one text of a JSON object, to tell people; nothing where there is none."""
    try:
        found = read_object(file).get(key)
    except (DataError, SettingsError):
        return ""
    return found if isinstance(found, str) else ""
