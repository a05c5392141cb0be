"""Folders of an encoder and a decoder: their config of two halves, their start and end tokens.

It is no choice among the formats.
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
from bertie.tasks.generation import Generation
from bertie.tokenizer.tokenizer import Tokenizer

KIND = "seq2seq"
_FLAGS = ("is_decoder", "add_cross_attention")


def pair_config(values: Mapping[str, Any], folder: Path) -> EncoderDecoderConfig:
    """Make the settings of an EncoderDecoderModel's config.json.

    Raises:
        DataError: a half that is missing, or a value of the wrong type or out of range.
        SettingsError: something that isn't here.
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
    task: Generation,
) -> tuple[str, Any, dict[str, Tensor]]:
    """Return architecture, config and state with a decoder.

    Where there is none it begins as a copy of the encoder, unless the task wants it random.

    Raises:
        SettingsError: none is there and none may be made, or a copy is asked for that can't be.
        DataError: start and end are not the tokenizer's [CLS] and [SEP].
    """
    if hasattr(config, "start_id"):
        given, wanted = (config.start_id, config.end_id), (tokenizer.start, tokenizer.separator)
        if given != wanted:
            raise DataError(
                f"{folder}: its texts begin and end with the ids {given}; bertie writes from [CLS] to [SEP], {wanted}"
            )
        return kind, config, state
    if not new_head:
        raise SettingsError(f"{folder} has no decoder, so it can't write; fine-tune it with --task generation first")
    pair = over(config, tokenizer, task)
    if task.decoder == "copy" and config.KIND != "bert":
        raise SettingsError(
            f"{folder} is of kind {config.KIND}, and a decoder can begin as a copy of a bert only; let it begin with "
            "random weights: --settings decoder=random"
        )
    return KIND, pair, state if task.decoder == "random" else start_decoder(state)


def over(config: Any, tokenizer: Tokenizer, task: Generation) -> EncoderDecoderConfig:
    """Put a decoder over an encoder without one.

    Raises:
        SettingsError: a decoder-only model, or shared weights, which another encoder than BERT can't have.
    """
    if isinstance(config, CausalConfig):
        raise SettingsError(
            "a decoder-only model reads no source; take a bert, or go on with texts by --task causal_lm"
        )
    return EncoderDecoderConfig.over(
        config, start_id=tokenizer.start, end_id=tokenizer.separator, pad_id=tokenizer.pad, shared=task.shared
    )
