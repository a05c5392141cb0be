"""Translate between generation_config.json, as transformers reads and writes it, and the settings of a task.

Older folders keep these values in config.json; they are read from there as well. A note names the values that bertie
can't follow. A helper of the formats.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.files.atomic import write_text
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.untrusted import read_object

_FILE = "generation_config.json"
_MAX_BYTES = 1024 * 1024
_IDS = ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
# transformers' name: (the task's field, types)
_NUMBERS: dict[str, tuple[str, tuple[type, ...]]] = {
    "num_beams": ("num_beams", (int,)),
    "max_new_tokens": ("max_new_tokens", (int,)),
    "min_new_tokens": ("min_new_tokens", (int,)),
    "length_penalty": ("length_penalty", (int, float)),
    "no_repeat_ngram_size": ("no_repeat_ngram", (int,)),
    "num_return_sequences": ("num_texts", (int,)),
    "do_sample": ("sample", (bool,)),
    "temperature": ("temperature", (int, float)),
    "top_k": ("top_k", (int,)),
    "top_p": ("top_p", (int, float)),
}
_SAMPLING = ("temperature", "top_k", "top_p")
# Options that change the texts and that bertie lacks, each with its neutral value.
_UNSUPPORTED: dict[str, Any] = {
    "early_stopping": False,
    "num_beam_groups": 1,
    "diversity_penalty": 0.0,
    "repetition_penalty": 1.0,
    "encoder_repetition_penalty": 1.0,
    "encoder_no_repeat_ngram_size": 0,
    "penalty_alpha": 0,
    "typical_p": 1.0,
    "min_p": 0,
    "top_h": 0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "guidance_scale": 1,
    "dola_layers": 0,
    **dict.fromkeys(
        (
            "bad_words_ids",
            "force_words_ids",
            "constraints",
            "forced_bos_token_id",
            "forced_eos_token_id",
            "suppress_tokens",
            "begin_suppress_tokens",
            "sequence_bias",
            "exponential_decay_length_penalty",
            "stop_strings",
            "renormalize_logits",
            "max_time",
            "watermarking_config",
            "token_healing",
        ),
        False,
    ),
}


@dataclass(frozen=True)
class Told:
    """The generation settings of a folder."""

    settings: dict[str, Any]
    """Settings of a task that generates text."""
    ids: dict[str, Any]
    """Start, end and padding ids, by transformers' names."""
    notes: tuple[str, ...]
    """At most one sentence, which names the options that bertie doesn't follow."""


def read_generation(folder: Path, values: Mapping[str, Any], *, pair: bool) -> Told:
    """Read the generation settings of a folder.

    Args:
        folder: the model folder.
        values: its config.json, where older folders keep these settings.
        pair: whether the model has an encoder and a decoder; the max_length and min_length of a decoder-only model
            include the prompt, so they are not read.

    Raises:
        DataError: the file is not a JSON object, or a value has the wrong type.
    """
    file = folder / _FILE
    stored = read_object(file, limit=_MAX_BYTES) if file.exists() else {}
    where = file if stored else folder / "config.json"
    names = ("max_length", "min_length", *_NUMBERS, *_UNSUPPORTED)
    options = stored or {name: values[name] for name in names if name in values}
    settings: dict[str, Any] = {}
    for name, (ours, types) in _NUMBERS.items():
        value = options.get(name)
        if value is None:
            continue
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise DataError(f"{where}: {name} must be a {types[-1].__name__}; got {value!r:.100}")
        settings[ours] = value
    lengths = {"max_new_tokens": options.get("max_length"), "min_new_tokens": options.get("min_length")} if pair else {}
    for ours, length in lengths.items():  # these two count the start token as well
        if isinstance(length, int) and not isinstance(length, bool) and length > 1 and ours not in settings:
            settings[ours] = length - 1
    if not settings.get("sample"):  # without sampling its settings have no effect, as in transformers
        settings = {name: value for name, value in settings.items() if name not in _SAMPLING}
    elif "top_k" not in settings:
        settings["top_k"] = 50
    ignored = [name for name, neutral in _UNSUPPORTED.items() if options.get(name) and options[name] != neutral]
    ignored += [] if pair else [name for name in ("max_length", "min_length") if stored.get(name)]
    notes = (f"{where}: bertie ignores these generation settings: {', '.join(ignored)}",) if ignored else ()
    return Told(settings, {name: stored[name] for name in _IDS if stored.get(name) is not None}, notes)


def with_ids(values: Mapping[str, Any], told: Told, folder: Path) -> dict[str, Any]:
    """Return an EncoderDecoderModel's config.json with the start, end and padding ids of generation_config.json.

    Raises:
        DataError: an id is not an integer, or a list of several.
    """
    ids = {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in told.ids.items()}
    for name, value in ids.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise DataError(f"{folder / _FILE}: {name} must be one id; got {value!r:.100}")
    if values.get("decoder_start_token_id") is None:
        ids.setdefault("decoder_start_token_id", ids.get("bos_token_id"))
    return {**values, **{name: value for name, value in ids.items() if value is not None and name != "bos_token_id"}}


def write_generation(folder: Path, task: Any, tokenizer: Tokenizer) -> None:
    """Write generation_config.json, so that transformers generates with the task's settings."""
    values = {
        "decoder_start_token_id": tokenizer.start,
        "bos_token_id": tokenizer.start,
        "eos_token_id": tokenizer.separator,
        "pad_token_id": tokenizer.pad,
        "num_beams": task.num_beams,
        "max_new_tokens": task.max_new_tokens,
        "min_new_tokens": task.min_new_tokens,
        "length_penalty": task.length_penalty,
        "no_repeat_ngram_size": task.no_repeat_ngram,
        "num_return_sequences": task.num_texts,
        "do_sample": task.sample,
    }
    if task.sample:
        values |= {"temperature": task.temperature, "top_k": task.top_k, "top_p": task.top_p}
    if task.num_beams == 1:
        del values["length_penalty"]
    write_text(folder / _FILE, json.dumps(values, indent=2) + "\n")
