"""How a folder writes texts: generation_config.json as transformers reads and writes it, next to a task's settings.

What a folder says there counts, also where config.json says it, as older folders do. What bertie can't follow is named.
It is no choice among the formats.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertie.errors import DataError
from bertie.files.atomic import write_text
from bertie.nn.search import Search
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.untrusted import read_object

_FILE = "generation_config.json"
_MAX_BYTES = 1024 * 1024
_IDS = ("decoder_start_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
# theirs: (ours, types)
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
_DRAWING = ("temperature", "top_k", "top_p")
# What changes the texts and isn't here, with the value that changes nothing.
_OTHERS: dict[str, Any] = {
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
    """What a folder says of writing."""

    settings: dict[str, Any]
    """Of a task that writes."""
    ids: dict[str, Any]
    """Start, end and padding, by transformers' names."""
    notes: tuple[str, ...]
    """What isn't followed, one sentence at most."""


def read_generation(folder: Path, values: Mapping[str, Any], *, pair: bool) -> Told:
    """Read how a folder writes.

    Args:
        folder: of the model.
        values: its config.json, where older folders say it.
        pair: whether it has an encoder and a decoder; a decoder alone counts what it reads among its lengths.

    Raises:
        DataError: no JSON object, or a value of the wrong type.
    """
    file = folder / _FILE
    found = read_object(file, limit=_MAX_BYTES) if file.exists() else {}
    where = file if found else folder / "config.json"
    said = found or {name: values[name] for name in ("max_length", "min_length", *_NUMBERS, *_OTHERS) if name in values}
    settings: dict[str, Any] = {}
    for name, (ours, types) in _NUMBERS.items():
        value = said.get(name)
        if value is None:
            continue
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise DataError(f"{where}: {name} must be a {types[-1].__name__}; got {value!r:.100}")
        settings[ours] = value
    lengths = {} if not pair else {"max_new_tokens": said.get("max_length"), "min_new_tokens": said.get("min_length")}
    for ours, length in lengths.items():  # of a decoder's text, its start included
        if isinstance(length, int) and not isinstance(length, bool) and length > 1 and ours not in settings:
            settings[ours] = length - 1
    if not settings.get("sample"):  # as in transformers, what is for drawing is left alone where nothing is drawn
        settings = {name: value for name, value in settings.items() if name not in _DRAWING}
    elif "top_k" not in settings:
        settings["top_k"] = 50
    ignored = [name for name, usual in _OTHERS.items() if said.get(name) and said[name] != usual]
    ignored += [] if pair else [name for name in ("max_length", "min_length") if found.get(name)]
    notes = (f"{where}: not followed in writing: {', '.join(ignored)}",) if ignored else ()
    return Told(settings, {name: found[name] for name in _IDS if found.get(name) is not None}, notes)


def with_ids(values: Mapping[str, Any], told: Told, folder: Path) -> dict[str, Any]:
    """Return an EncoderDecoderModel's config.json with start, end and padding as its generation_config.json says.

    Raises:
        DataError: an id that is no number, or several ends.
    """
    ids = {name: value[0] if isinstance(value, list) and len(value) == 1 else value for name, value in told.ids.items()}
    for name, value in ids.items():
        if not isinstance(value, int) or isinstance(value, bool):
            raise DataError(f"{folder / _FILE}: {name} must be one id; got {value!r:.100}")
    if values.get("decoder_start_token_id") is None:
        ids.setdefault("decoder_start_token_id", ids.get("bos_token_id"))
    return {**values, **{name: value for name, value in ids.items() if value is not None and name != "bos_token_id"}}


def write_generation(folder: Path, task: Search, tokenizer: Tokenizer) -> None:
    """Write generation_config.json, by which transformers writes as the task's settings say."""
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
