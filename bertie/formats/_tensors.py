"""Read the tensors of a Hugging Face folder from its safetensors files, check each one, and use bertie's names.

A helper of the formats. It knows no tasks.
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
_UNTIED_MATRIX = ("head.token_logits.embedding", "head.decoder.token_logits.embedding")
"""Masked-LM matrices by bertie's names; they are in the state only if they are not tied to the word embeddings."""


@dataclass(frozen=True, eq=False)
class Stored:
    """The contents of a folder's weight files."""

    state: dict[str, Tensor]
    """Tensors by bertie's names, as fp32."""
    names: set[str]
    """Names of all tensors, in the current spelling of Hugging Face."""
    strangers: tuple[str, ...]
    """Names of tensors outside the encoder that belong to none of bertie's heads; they are not in `state`."""
    notes: tuple[str, ...]
    """One sentence for each removed prefix and each decision."""

    @property
    def own_matrix(self) -> bool:
        """Whether the masked-LM matrix is separate from the word embeddings."""
        return any(name in self.state for name in _UNTIED_MATRIX)


def read_tensors(folder: Path, module: Architecture, *, tied: bool = True) -> Stored:
    """Read all tensors of a folder.

    Args:
        folder: the model folder.
        module: translates the names of its architecture; see `naming`.
        tied: whether its config ties the masked-LM matrix to the word embeddings.

    Raises:
        SettingsError: there is no safetensors file.
        DataError: a file is damaged, or a tensor is unknown, there twice, not a floating-point type or not finite.
    """
    tensors = _raw(folder)
    unwrapped = unwrap(tensors, module, folder)
    modern = {unwrapped.names[old]: value for old, value in tensors.items()}
    notes = [*unwrapped.notes, *_untie(modern, module, folder, tied=tied)]
    foreign = strangers(modern, module, folder) if module.names else []
    kept = {name: value for name, value in modern.items() if name not in {*foreign, *module.redundant}}
    for name, value in kept.items():
        if value.dtype not in _TYPES:
            raise DataError(f"{folder}: tensor {name} is of type {value.dtype}; bertie reads fp32, fp16, bf16 and fp64")
        kept[name] = value.float()
        if not torch.isfinite(kept[name]).all():
            raise DataError(f"{folder}: tensor {name} holds values that are not finite")
    for name in module.redundant:
        if name.endswith("pooler.dense.weight") and name in modern and bool(modern[name].any()):
            notes.append(f"{folder}: left out {name}, which an encoder with a decoder never uses")
    try:
        return Stored(module.from_foreign(kept), set(unwrapped.names.values()), tuple(foreign), tuple(notes))
    except KeyError as error:
        raise DataError(f"{folder}: tensor {error.args[0]} is unknown to {module.model_type}") from error


def _raw(folder: Path) -> dict[str, Tensor]:
    raw: dict[str, Tensor] = {}
    for file in weights_of(folder):
        check_regular(file)
        with native(partial(damaged, file)), safe_open(file, framework="pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dictionary
                if name in raw:
                    raise DataError(f"{file}: tensor {name} is in two files")
                raw[name] = tensors.get_tensor(name).clone()
    return raw


def _untie(modern: dict[str, Tensor], module: Architecture, folder: Path, *, tied: bool) -> list[str]:
    """Drop the second names of tied tensors, and keep an output matrix that differs from the word embeddings.

    As in transformers, a different output matrix is used whatever config.json says, and so is a different bias.
    """
    notes = []
    for name, twin in module.tied.items():
        if name not in modern:
            continue
        equal = torch.equal(modern[name], modern.setdefault(twin, modern[name]))
        if name.endswith(".weight"):
            if equal and tied:
                del modern[name]
            elif tied:
                notes.append(f"{folder}: {name} differs from {twin}, so the two are not tied")
            continue
        if not equal and tied:
            notes.append(f"{folder}: {name} differs from {twin}; {name} is used, as in transformers")
        modern[twin] = modern.pop(name)
    return notes


def keep_part(file: Path, part: str) -> bool:
    """Reduce a safetensors file to its tensors named PART.*, without that prefix.

    Returns:
        Whether there are such tensors; without them the file stays as it is.
    """
    tensors = load_file(file)
    kept = {
        name.removeprefix(f"{part}."): value.clone() for name, value in tensors.items() if name.startswith(f"{part}.")
    }
    if kept:
        save_file(kept, file, metadata={"format": "pt"})
    return bool(kept)


def with_second_names(tensors: dict[str, Tensor], module: Architecture) -> dict[str, Tensor]:
    """Add the output bias by its second name, where transformers looks for it if the output matrix is not tied."""
    biases = {name: twin for name, twin in module.tied.items() if not name.endswith(".weight")}
    copies = {name: tensors[twin].clone() for name, twin in biases.items() if twin in tensors}
    return {**tensors, **copies}


def tensor_names(folder: str | Path) -> set[str]:
    """Return the names of a folder's tensors, in their current spelling, without reading the tensors.

    Raises:
        SettingsError: there is no safetensors file.
        DataError: the file is damaged, or the architecture is unknown.
    """
    inner = encoder_folder(Path(folder))
    values: Mapping[str, Any] = read_config(inner)
    module = architecture(architecture_name(values, inner)).of(values)
    names: list[str] = []
    for file in weights_of(inner):
        check_regular(file)
        with native(partial(damaged, file)), safe_open(file, framework="pt") as tensors:
            names += tensors.keys()
    return set(unwrap(names, module, inner).names.values())
