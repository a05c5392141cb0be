"""The tensors of a Hugging Face folder, read from safetensors files under our names and checked one by one.

It knows no tasks, and it is no choice among the formats.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from bertie.errors import DataError
from bertie.formats._config import architecture_name, read_config
from bertie.formats._folder import damaged, weights_of
from bertie.formats._names import strangers, unwrap
from bertie.formats._sentence_transformers import encoder_folder
from bertie.models.model import Architecture, architecture
from bertie.native import native
from bertie.untrusted import check_regular

_TYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_OWN_MATRIX = ("head.token_logits.embedding", "head.decoder.token_logits.embedding")
"""Masked-LM matrices by our names; those of a file are there only where they are not the word embeddings."""


@dataclass(frozen=True, eq=False)
class Stored:
    """What a folder's weight files hold."""

    state: dict[str, Tensor]
    """By our names, as fp32."""
    names: set[str]
    """As a Hugging Face folder of today has them."""
    strangers: tuple[str, ...]
    """Of tensors outside the encoder that no head here has; they are not in `state`."""
    notes: tuple[str, ...]
    """What was taken off the names or decided, one sentence each."""

    @property
    def own_matrix(self) -> bool:
        """Whether a masked-LM head has a matrix of its own."""
        return any(name in self.state for name in _OWN_MATRIX)


def read_tensors(folder: Path, module: Architecture, *, tied: bool = True) -> Stored:
    """Read all tensors of a folder.

    Args:
        folder: of the model.
        module: what knows the names of its kind.
        tied: what its config says of the masked-LM matrix.

    Raises:
        SettingsError: no safetensors file there.
        DataError: a damaged file, or a tensor that is no weight, not finite, there twice or of no place here.
    """
    found = _raw(folder)
    unwrapped = unwrap(found, module, folder)
    modern = {unwrapped.names[old]: value for old, value in found.items()}
    notes = [*unwrapped.notes, *_untie(modern, module, folder, tied=tied)]
    own = strangers(modern, module, folder) if module.names else []
    kept = {name: value for name, value in modern.items() if name not in {*own, *module.redundant}}
    for name, value in kept.items():
        if value.dtype not in _TYPES:
            raise DataError(f"{folder}: tensor {name} is of type {value.dtype}; bertie reads fp32, fp16, bf16 and fp64")
        kept[name] = value.float()
        if not torch.isfinite(kept[name]).all():
            raise DataError(f"{folder}: tensor {name} holds values that are not finite")
    for name in module.redundant:
        if name.endswith("pooler.dense.weight") and name in modern and bool(modern[name].any()):
            notes.append(f"{folder}: {name}, which an encoder under a decoder never uses, is left out")
    try:
        return Stored(module.from_foreign(kept), set(unwrapped.names.values()), tuple(own), tuple(notes))
    except KeyError as error:
        raise DataError(f"{folder}: tensor {error.args[0]} is unknown to {module.model_type}") from error


def _raw(folder: Path) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for file in weights_of(folder):
        check_regular(file)
        with native(partial(damaged, file)), safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dictionary
                if name in found:
                    raise DataError(f"{file}: tensor {name} is in two files")
                found[name] = tensors.get_tensor(name).clone()
    return found


def _untie(modern: dict[str, Tensor], module: Architecture, folder: Path, *, tied: bool) -> list[str]:
    """Drop second names of tied tensors; a tensor that differs from its twin is one of its own.

    As in transformers an output matrix that differs counts, whatever config.json says, and so does its bias.
    """
    notes = []
    for name, twin in module.tied.items():
        if name not in modern:
            continue
        alike = torch.equal(modern[name], modern.setdefault(twin, modern[name]))
        if name.endswith(".weight"):
            if alike and tied:
                del modern[name]
            elif tied:
                notes.append(f"{folder}: {name} differs from {twin}, so it is taken as a matrix of its own")
            continue
        if not alike and tied:
            notes.append(f"{folder}: {name} differs from {twin}; it is the one that counts, as in transformers")
        modern[twin] = modern.pop(name)
    return notes


def keep_part(file: Path, part: str) -> bool:
    """Keep of a safetensors file the tensors named PART.*, without that front; nothing happens without any."""
    found = load_file(file)
    kept = {
        name.removeprefix(f"{part}."): value.clone() for name, value in found.items() if name.startswith(f"{part}.")
    }
    if kept:
        save_file(kept, file, metadata={"format": "pt"})
    return bool(kept)


def with_second_names(tensors: dict[str, Tensor], module: Architecture) -> dict[str, Tensor]:
    """Add what transformers looks for in a folder whose output matrix is not tied: the bias by its second name too."""
    biases = {name: twin for name, twin in module.tied.items() if not name.endswith(".weight")}
    again = {name: tensors[twin].clone() for name, twin in biases.items() if twin in tensors}
    return {**tensors, **again}


def tensor_names(folder: str | Path) -> set[str]:
    """Return the names of a folder's tensors, as today's files spell them, without reading the tensors.

    Raises:
        SettingsError: no safetensors file there.
        DataError: it is damaged, or of an unknown kind of model.
    """
    place = encoder_folder(Path(folder))
    values: Mapping[str, Any] = read_config(place)
    module = architecture(architecture_name(values, place)).of(values)
    names: list[str] = []
    for file in weights_of(place):
        check_regular(file)
        with native(partial(damaged, file)), safe_open(file, framework="pt") as tensors:
            names += tensors.keys()
    return set(unwrap(names, module, place).names.values())
