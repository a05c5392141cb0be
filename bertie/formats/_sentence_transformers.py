"""Read and write the files of sentence-transformers, which say how hidden vectors become one vector per text.

`modules.json` lists the steps: the encoder, a pooling, and optionally a scaling to length 1. bertie knows only these
three. It refuses any other step or setting that changes the vectors: another pooling, a dense layer, a prompt before
every text. A helper of the formats.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.files.atomic import write_text
from bertie.models.model import Config
from bertie.untrusted import read_json, read_object

_MODULES, _SENTENCES = "modules.json", "config_sentence_transformers.json"
# The file that holds the encoder's maximum length. bertie writes the first name; the others are older.
_TRANSFORMERS = tuple(
    f"sentence_{kind}_config.json" for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta")
)
# Pooling: its flag in 1_Pooling/config.json. Files from 2026 may hold the name under pooling_mode instead.
_FLAGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
}
_STEPS = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
_MAX_BYTES = 1024 * 1024
_OLD_KINDS = ("BERT", "RoBERTa", "DistilBERT", "ALBERT", "XLMRoBERTa", "CamemBERT")
"""Names of the first step from before sentence-transformers had one class for all encoders."""


def is_layout(folder: Path) -> bool:
    """Tell whether a folder holds a sentence-transformers model."""
    return (folder / _MODULES).is_file()


def encoder_folder(folder: Path) -> Path:
    """Return the folder of a sentence-transformers model's encoder; before version 2 it was a subfolder.

    A broken modules.json is no error here: `read_layout` reports it, and only embedding needs the file.
    """
    try:
        steps = _steps(folder) if is_layout(folder) else []
    except DataError:
        return folder
    return steps[0][1] if steps and steps[0][0] == "Transformer" and steps[0][1].is_dir() else folder


def read_layout(
    folder: Path, values: Mapping[str, Any], config: Config, *, lowercase: bool
) -> tuple[dict[str, Any], list[str]]:
    """Read the settings of the task `embedding`, and notes for the user.

    Args:
        folder: the model folder; without modules.json there are no settings.
        values: its config.json.
        config: the encoder's config.
        lowercase: whether the tokenizer lower-cases.

    Raises:
        DataError: a file is broken, or bertie lacks a step or a pooling.
    """
    if not is_layout(folder):
        stored = values.get("bertie", {}).get("task") == "embedding"
        hint = f"{folder} has no modules.json to say how texts become vectors; unless you set pooling, it is mean"
        return {}, [] if stored else [hint]
    steps = _steps(folder)
    kinds = [kind for kind, _ in steps]
    if kinds not in _STEPS:
        raise DataError(
            f"{folder / _MODULES} lists {', '.join(kinds) or 'no steps'}; bertie supports Transformer, Pooling and "
            "optionally Normalize, and leaving out a step would change the vectors"
        )
    if not steps[0][1].is_dir():
        raise DataError(f"{folder / _MODULES}: the encoder's folder {steps[0][1].name} is missing")
    settings: dict[str, Any] = {"pooling": _pooling(steps[1][1], config.hidden_size), "normalize": "Normalize" in kinds}
    if settings["normalize"]:
        scaled = _object(steps[2][1] / "config.json", missing={}).get("module_input_name", "sentence_embedding")
        if scaled != "sentence_embedding":
            raise DataError(f"{steps[2][1]}/config.json scales {scaled!r}; bertie scales only the vector of a text")
    if (length := _max_length(steps[0][1], lowercase=lowercase)) is not None:
        settings["max_length"] = min(length, config.max_positions)
    return settings, _prompts(folder)


def _steps(folder: Path) -> list[tuple[str, Path]]:
    """Read modules.json: the last part of each step's type, and its folder."""
    file = folder / _MODULES
    listed, steps = read_json(_present(file), limit=_MAX_BYTES), []
    for step in listed if isinstance(listed, list) else [listed]:
        kind, path = (step.get("type"), step.get("path")) if isinstance(step, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(path, str) or Path(path).name != path:
            raise DataError(f"{file} must list steps, each with a type and a path in this folder; got {step!r:.100}")
        if not kind.startswith("sentence_transformers."):
            raise DataError(f"{file} asks for {kind}, code outside sentence-transformers, which bertie doesn't run")
        last = kind.rpartition(".")[2]
        steps.append(("Transformer" if last in _OLD_KINDS else last, folder / path))
    return steps


def _pooling(folder: Path, hidden_size: int) -> str:
    file = folder / "config.json"
    values = _object(file)
    modes = values.get("pooling_mode")
    if modes is None:
        names = {flag: name for name, flag in _FLAGS.items()}
        flags = [flag for flag, on in values.items() if flag.startswith("pooling_mode_") and on]
        modes = [names.get(flag, flag.removeprefix("pooling_mode_")) for flag in flags] or ["mean"]
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or len(modes) != 1 or modes[0] not in [*_FLAGS]:
        raise DataError(f"{file} asks for the pooling {modes!r}; bertie supports one of {', '.join(_FLAGS)}")
    size = values.get("embedding_dimension", values.get("word_embedding_dimension"))
    if size not in (None, hidden_size):
        raise DataError(f"{file} pools vectors of size {size}, but config.json says {hidden_size}")
    return str(modes[0])


def _max_length(folder: Path, *, lowercase: bool) -> int | None:
    """Read the length at which texts are truncated; newer folders keep it in the tokenizer's settings."""
    file = next((folder / name for name in _TRANSFORMERS if (folder / name).is_file()), folder / _TRANSFORMERS[0])
    values = _object(file, missing={})
    kind = values.get("transformer_task", "feature-extraction")
    if kind != "feature-extraction":
        raise DataError(f"{file} uses the model for {kind!r}; bertie supports only hidden vectors, feature-extraction")
    if values.get("do_lower_case") and not lowercase:
        raise DataError(f"{file} lower-cases texts before the tokenizer, but the tokenizer's settings keep the case")
    length = values.get("max_seq_length")
    if length is None:
        length = _object(folder / "tokenizer_config.json", missing={}).get("model_max_length")
        return length if isinstance(length, int) and 0 < length < 1_000_000 else None
    if not isinstance(length, int) or length < 1:
        raise DataError(f"{file}: max_seq_length must be a number of tokens; got {length!r}")
    return length


def _prompts(folder: Path) -> list[str]:
    """Refuse a default prompt, which goes before every text; return a note that names optional ones."""
    file = folder / _SENTENCES
    values = _object(file, missing={})
    prompts, default = values.get("prompts") or {}, values.get("default_prompt_name")
    if not isinstance(prompts, dict):
        raise DataError(f"{file}: prompts must be an object; got {prompts!r:.100}")
    if default is not None and prompts.get(default):
        raise DataError(f"{file} puts {prompts[default]!r} before every text, which bertie doesn't support")
    named = [f"{name} {prompt!r}" for name, prompt in prompts.items() if prompt]
    return (
        [f"{file} lists prompts ({', '.join(named)}); bertie adds none, so put the prompt before your texts"]
        if named
        else []
    )


def write_layout(folder: Path, settings: Mapping[str, Any], hidden_size: int) -> None:
    """Write the files of sentence-transformers into a model folder, in a form that every version reads."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if settings["normalize"] else [])]
    steps = [
        {
            "idx": number,
            "name": str(number),
            "path": f"{number}_{kind}" if number else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, kind in enumerate(kinds)
    ]
    pooling = {
        "word_embedding_dimension": hidden_size,
        **{flag: name == settings["pooling"] for name, flag in _FLAGS.items()},
    }
    _write(folder / _MODULES, steps)
    _write(folder / "1_Pooling" / "config.json", pooling)
    if settings["normalize"]:
        (folder / "2_Normalize").mkdir()
    _write(folder / _TRANSFORMERS[0], {"max_seq_length": settings["max_length"], "do_lower_case": False})
    _write(folder / _SENTENCES, {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"})


def _write(file: Path, values: Any) -> None:
    write_text(file, json.dumps(values, indent=2) + "\n")


def _object(file: Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    """Read a JSON object; if the file is missing, return `missing`, or raise an error without it."""
    if missing is not None and not file.exists():
        return missing
    return read_object(_present(file), limit=_MAX_BYTES)


def _present(file: Path) -> Path:
    if not file.exists():
        raise DataError(f"{file} is missing")
    return file
