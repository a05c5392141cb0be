"""Read folders of encoder-decoder models: the config with two halves, and the start and end tokens.

A helper of the formats.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bertie.errors import DataError, SettingsError
from bertie.formats._config import architecture_name, encoder_config
from bertie.models.causal import CausalConfig
from bertie.models.model import architecture
from bertie.models.seq2seq import EncoderDecoderConfig, start_decoder
from bertie.tokenizer.tokenizer import Tokenizer

KIND = "seq2seq"
_FLAGS = ("is_decoder", "add_cross_attention")


def pair_config(values: Mapping[str, Any], folder: Path) -> EncoderDecoderConfig:
    """Build the config of an EncoderDecoderModel from its config.json.

    Raises:
        DataError: a half is missing, or a value has the wrong type or is out of range.
        SettingsError: a feature that bertie lacks.
    """
    where = f"{folder}/config.json"
    for side in ("encoder", "decoder"):
        half = values.get(side)
        if not isinstance(half, dict):
            raise DataError(f"{where}: {side} must be a JSON object, the config of one half")
        flags = [half.get(flag) for flag in _FLAGS]
        if side == "decoder" and not all(flags):
            raise DataError(f"{where}: {side} must have {' and '.join(_FLAGS)} set; got {flags}")
        kind = architecture_name(half, folder)
        rest = {name: value for name, value in half.items() if side == "encoder" or name not in _FLAGS}
        encoder_config(rest, architecture(kind), folder)
    try:
        return EncoderDecoderConfig.from_foreign(values)
    except (SettingsError, TypeError) as error:
        raise SettingsError(f"{where}: {error}") from error


def with_decoder(
    kind: str,
    config: Any,
    state: dict[str, Tensor],
    tokenizer: Tokenizer,
    folder: Path,
    *,
    new_head: bool,
    task: Any,
) -> tuple[str, Any, dict[str, Tensor]]:
    """Return architecture, config and state with a decoder.

    A new decoder starts as a copy of the encoder, unless the task, which `needs_decoder`, asks for random weights.

    Raises:
        SettingsError: the folder has no decoder and `new_head` is false, or the encoder can't be copied.
        DataError: the start and end tokens are not the tokenizer's [CLS] and [SEP].
    """
    if hasattr(config, "start_id"):
        given, wanted = (config.start_id, config.end_id), (tokenizer.start, tokenizer.separator)
        if given != wanted:
            raise DataError(
                f"{folder}: its texts start and end with the ids {given}; bertie needs [CLS] and [SEP], {wanted}"
            )
        return kind, config, state
    if not new_head:
        raise SettingsError(f"{folder} has no decoder to generate text with; fine-tune it with --task generation first")
    pair = over(config, tokenizer, task)
    if task.decoder == "copy" and config.KIND != "bert":
        raise SettingsError(
            f"{folder} is a {config.KIND}, and a decoder can start as a copy of a bert only; start it from random "
            "weights: --settings decoder=random"
        )
    return KIND, pair, state if task.decoder == "random" else start_decoder(state)


def over(config: Any, tokenizer: Tokenizer, task: Any) -> EncoderDecoderConfig:
    """Return the config of an encoder with a decoder on top.

    Raises:
        SettingsError: the model is decoder-only, or weights are to be shared with an encoder other than BERT.
    """
    if isinstance(config, CausalConfig):
        raise SettingsError(
            "a decoder-only model reads no source text; use a bert, or --task causal_lm to continue a prompt"
        )
    return EncoderDecoderConfig.over(
        config, start_id=tokenizer.start, end_id=tokenizer.separator, pad_id=tokenizer.pad, shared=task.shared
    )
