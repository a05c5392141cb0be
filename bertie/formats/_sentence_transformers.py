"""The files that sentence-transformers keeps beside a Hugging Face folder: how hidden vectors become one vector a text.

`modules.json` lists the steps: the encoder, a pooling, and perhaps a scaling to length 1. Only these three are known;
whatever else a folder asks for (another pooling, a dense layer, a prompt before every text) would mean other vectors,
and is refused. It is no choice among the formats.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.files.atomic import write_text
from bertie.models.model import Config
from bertie.tasks.embedding import Embedding
from bertie.untrusted import read_json, read_object

_MODULES, _SENTENCES = "modules.json", "config_sentence_transformers.json"
# Where the encoder's length stands; the first is written, the others are old names of it.
_TRANSFORMERS = tuple(
    f"sentence_{kind}_config.json" for kind in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta")
)
# pooling here: its flag in 1_Pooling/config.json. Files of 2026 may have its name under pooling_mode instead.
_FLAGS = {
    "cls": "pooling_mode_cls_token",
    "mean": "pooling_mode_mean_tokens",
    "max": "pooling_mode_max_tokens",
}
_STEPS = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
_MAX_BYTES = 1024 * 1024
_OLD_KINDS = ("BERT", "RoBERTa", "DistilBERT", "ALBERT", "XLMRoBERTa", "CamemBERT")
"""What the first step was called before there was one class for all encoders."""


def is_layout(folder: Path) -> bool:
    """Tell whether a folder holds a sentence-transformers model."""
    return (folder / _MODULES).is_file()


def encoder_folder(folder: Path) -> Path:
    """Return where the encoder of a sentence-transformers model is: before version 2 in a folder of its own.

    Whatever else is wrong with modules.json is for `read_layout` to say, if its vectors are wanted.
    """
    try:
        steps = _steps(folder) if is_layout(folder) else []
    except DataError:
        return folder
    return steps[0][1] if steps and steps[0][0] == "Transformer" and steps[0][1].is_dir() else folder


def read_layout(
    folder: Path, values: Mapping[str, Any], config: Config, *, lowercase: bool
) -> tuple[dict[str, Any], list[str]]:
    """Read the settings of an `Embedding`, and remarks worth a line each.

    Args:
        folder: of the model; without modules.json nothing is known of its vectors.
        values: its config.json.
        config: what that says of the encoder.
        lowercase: whether the tokenizer turns everything into lower case.

    Raises:
        DataError: a broken file, a step or a pooling that bertie doesn't have.
    """
    if not is_layout(folder):
        said = values.get("bertie", {}).get("task") == Embedding.name
        hint = f"{folder} has no modules.json to say how texts become vectors; unless pooling is set, by their mean"
        return {}, [] if said else [hint]
    steps = _steps(folder)
    kinds = [kind for kind, _ in steps]
    if kinds not in _STEPS:
        raise DataError(
            f"{folder / _MODULES} lists {', '.join(kinds) or 'nothing'}; bertie's embedding has Transformer, Pooling "
            "and perhaps Normalize, and the vectors would differ without the rest"
        )
    if not steps[0][1].is_dir():
        raise DataError(f"{folder / _MODULES}: the encoder should be in {steps[0][1].name}, which is not there")
    settings: dict[str, Any] = {"pooling": _pooling(steps[1][1], config.hidden_size), "normalize": "Normalize" in kinds}
    if settings["normalize"]:
        scaled = _object(steps[2][1] / "config.json", missing={}).get("module_input_name", "sentence_embedding")
        if scaled != "sentence_embedding":
            raise DataError(f"{steps[2][1]}/config.json scales {scaled!r}; bertie scales the vector of a text")
    if (length := _max_length(steps[0][1], lowercase=lowercase)) is not None:
        settings["max_length"] = min(length, config.max_positions)
    return settings, _prompts(folder)


def _steps(folder: Path) -> list[tuple[str, Path]]:
    """Read modules.json: the last word of each step's type, and its folder."""
    file = folder / _MODULES
    listed, steps = read_json(_present(file), limit=_MAX_BYTES), []
    for step in listed if isinstance(listed, list) else [listed]:
        kind, path = (step.get("type"), step.get("path")) if isinstance(step, dict) else (None, None)
        if not isinstance(kind, str) or not isinstance(path, str) or Path(path).name != path:
            raise DataError(f"{file} must list steps, each with a type and a path in this folder; got {step!r:.100}")
        if not kind.startswith("sentence_transformers."):
            raise DataError(f"{file} asks for {kind}, which is code outside sentence-transformers")
        last = kind.rpartition(".")[2]
        steps.append(("Transformer" if last in _OLD_KINDS else last, folder / path))
    return steps


def _pooling(folder: Path, hidden_size: int) -> str:
    file = folder / "config.json"
    found = _object(file)
    modes = found.get("pooling_mode")
    if modes is None:
        names = {flag: name for name, flag in _FLAGS.items()}
        flags = [flag for flag, on in found.items() if flag.startswith("pooling_mode_") and on]
        modes = [names.get(flag, flag.removeprefix("pooling_mode_")) for flag in flags] or ["mean"]
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or len(modes) != 1 or modes[0] not in [*_FLAGS]:
        raise DataError(f"{file} asks for the pooling {modes!r}; bertie has one of {', '.join(_FLAGS)}")
    size = found.get("embedding_dimension", found.get("word_embedding_dimension"))
    if size not in (None, hidden_size):
        raise DataError(f"{file} pools vectors of {size}, config.json says {hidden_size}")
    return str(modes[0])


def _max_length(folder: Path, *, lowercase: bool) -> int | None:
    """Read the length texts are cut to; newer files keep it with the tokenizer."""
    file = next((folder / name for name in _TRANSFORMERS if (folder / name).is_file()), folder / _TRANSFORMERS[0])
    found = _object(file, missing={})
    kind = found.get("transformer_task", "feature-extraction")
    if kind != "feature-extraction":
        raise DataError(f"{file} takes the model for {kind!r}; bertie takes the hidden vectors, feature-extraction")
    if found.get("do_lower_case") and not lowercase:
        raise DataError(f"{file} turns texts into lower case before the tokenizer, whose own settings keep the case")
    length = found.get("max_seq_length")
    if length is None:
        length = _object(folder / "tokenizer_config.json", missing={}).get("model_max_length")
        return length if isinstance(length, int) and 0 < length < 1_000_000 else None
    if not isinstance(length, int) or length < 1:
        raise DataError(f"{file}: max_seq_length must be a number of tokens; got {length!r}")
    return length


def _prompts(folder: Path) -> list[str]:
    """Refuse a prompt that stands before every text; say that there are others to choose from."""
    file = folder / _SENTENCES
    found = _object(file, missing={})
    prompts, default = found.get("prompts") or {}, found.get("default_prompt_name")
    if not isinstance(prompts, dict):
        raise DataError(f"{file}: prompts must be an object; got {prompts!r:.100}")
    if default is not None and prompts.get(default):
        raise DataError(f"{file} puts {prompts[default]!r} before every text, which bertie doesn't do")
    named = [f"{name} {prompt!r}" for name, prompt in prompts.items() if prompt]
    return (
        [f"{file} knows prompts ({', '.join(named)}); bertie puts none before texts, so write it there"]
        if named
        else []
    )


def write_layout(folder: Path, task: Embedding, hidden_size: int) -> None:
    """Write the files beside a model folder, in the form that every version of sentence-transformers reads."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if task.normalize else [])]
    steps = [
        {
            "idx": number,
            "name": str(number),
            "path": f"{number}_{kind}" if number else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, kind in enumerate(kinds)
    ]
    pooling = {"word_embedding_dimension": hidden_size, **{flag: name == task.pooling for name, flag in _FLAGS.items()}}
    _write(folder / _MODULES, steps)
    _write(folder / "1_Pooling" / "config.json", pooling)
    if task.normalize:
        (folder / "2_Normalize").mkdir()
    _write(folder / _TRANSFORMERS[0], {"max_seq_length": task.max_length, "do_lower_case": False})
    _write(folder / _SENTENCES, {"prompts": {}, "default_prompt_name": None, "similarity_fn_name": "cosine"})


def _write(file: Path, values: Any) -> None:
    write_text(file, json.dumps(values, indent=2) + "\n")


def _object(file: Path, missing: dict[str, Any] | None = None) -> dict[str, Any]:
    """Read a JSON object; `missing` in place of a file that isn't there, which is an error without it."""
    if missing is not None and not file.exists():
        return missing
    return read_object(_present(file), limit=_MAX_BYTES)


def _present(file: Path) -> Path:
    if not file.exists():
        raise DataError(f"{file} is missing")
    return file
