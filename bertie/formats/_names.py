"""Names of tensors as programs leave them: wrappers are taken off, and what belongs to no network here is found.

Training code wraps a network in others (DataParallel, a LightningModule, torch.compile), and each puts a word before
every name. The place of the word embeddings tells how many there are. It reads no files, and it is no choice among the
formats.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bertie import registry
from bertie.errors import DataError
from bertie.models._naming import unknown_names
from bertie.models.model import Architecture

_OUTER = ("module.", "_orig_mod.", "_forward_module.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""Words of wrappers that stand nowhere in a network's own names; they may come anywhere in a name."""
_WORDS = "encoder.embeddings.word.weight"
_OLD_ENDINGS = ((".gamma", ".weight"), (".beta", ".bias"))


@dataclass(frozen=True)
class Unwrapped:
    """Names as a Hugging Face folder of today has them."""

    names: dict[str, str]
    """What each name of the file stands for."""
    notes: tuple[str, ...]
    """What was taken off, one sentence each."""


def unwrap(names: Iterable[str], module: Architecture, folder: Path) -> Unwrapped:
    """Take wrappers off the names of a file, and write old spellings as today's.

    Args:
        names: of the file's tensors.
        module: the file of models/ that the folder's config is of.
        folder: for messages.

    Raises:
        DataError: two names that come to the same, or several networks side by side.
    """
    given = list(names)
    bare = {name: _without(name, _OUTER) for name in given}
    notes = []
    if taken := sorted({word for name in given for word in _OUTER if word in name}):
        notes.append(f"{folder}: {', '.join(repr(word) for word in taken)} is taken off the tensors' names")
    front, now = _front(list(bare.values()), module, folder)
    if front != now:
        own = sum(name.startswith(front) for name in bare.values())
        notes.append(
            f"{folder}: {front!r} is taken off the names of {own} tensors"
            if not now
            else f"{folder}: {own} tensors are named {front}*; they are read as {now}*"
        )
        bare = {
            name: f"{now}{inner.removeprefix(front)}" if inner.startswith(front) else inner
            for name, inner in bare.items()
        }
    found: dict[str, str] = {}
    for old, inner in bare.items():
        name = _modern(inner, module)
        if name in found.values():
            raise DataError(f"{folder}: {name} is there twice, once as {old}")
        found[old] = name
    return Unwrapped(found, tuple(notes))


def _without(name: str, words: Sequence[str]) -> str:
    """Take whole words out of a dotted name, wherever they stand."""
    parts = {word.removesuffix(".") for word in words}
    return ".".join(part for part in name.split(".") if part not in parts)


def _front(names: Sequence[str], module: Architecture, folder: Path) -> tuple[str, str]:
    """Return what stands before the network's names, and what should stand there instead.

    Raises:
        DataError: several encoders, none of which has the name that it should.
    """
    table = dict(module.names)
    if module.model_type == "encoder-decoder":  # their names begin with the halves
        return _front_of_two(names), ""
    if _WORDS not in table:
        return "", ""
    prefix = f"{module.prefix}."
    tail = table[_WORDS].removeprefix(prefix)
    fronts = sorted(name.removesuffix(tail) for name in names if name == tail or name.endswith(f".{tail}"))
    if not fronts or "" in fronts or prefix in fronts:
        return "", ""
    if len(fronts) > 1:
        raise DataError(
            f"{folder} holds {len(fronts)} encoders side by side, named {'*, '.join(fronts)}*; say which one is meant: "
            f"bertie convert FOLDER OUT --part {fronts[0].rstrip('.')}"
        )
    front = fronts[0]
    last = front.rstrip(".").rpartition(".")[2]
    if last in {*registry.choices("models")} - {module.prefix}:
        raise DataError(
            f"{folder}: the tensors are named {front}*, as those of a {last}, and config.json says {module.model_type}"
        )
    # "model.bert." is a wrapper around a whole BERT; "encoder." is what a program called its BERT.
    whole = front.endswith(f".{prefix}")
    return (front.removesuffix(prefix), "") if whole else (front, prefix)


def _front_of_two(names: Sequence[str]) -> str:
    """Return what stands before the names of an encoder and a decoder, if it is one thing."""
    found = (re.fullmatch(r"(|.*\.)encoder\.embeddings\.\w+\.weight", name) for name in names)
    fronts = {match[1] for match in found if match}
    return fronts.pop() if len(fronts) == 1 else ""


def _modern(name: str, module: Architecture) -> str:
    """Write a tensor's name as today's files do: weight and bias for gamma and beta, the encoder's prefix in front."""
    for old, now in _OLD_ENDINGS:
        name = name.removesuffix(old) + now if name.endswith(old) else name
    bare = {theirs.split(".")[1] for _, theirs in module.names if theirs.startswith(f"{module.prefix}.")}
    return f"{module.prefix}.{name}" if name.partition(".")[0] in bare else name


def strangers(names: Iterable[str], module: Architecture, folder: Path) -> list[str]:
    """List the tensors outside the encoder that no head here has: a head of someone's own.

    Raises:
        DataError: one inside the encoder, without which the encoder would be another.
    """
    known = {*module.tied, *module.redundant}
    unknown = sorted(unknown_names((name for name in names if name not in known), module.names))
    for name in unknown:
        if ".lora_" in name or ".base_layer." in name:
            raise DataError(
                f"{folder}: {name} is part of a LoRA adapter; merge it where it was made "
                "(PeftModel.merge_and_unload) and save the model again"
            )
        if name.startswith(f"{module.prefix}."):
            raise DataError(f"{folder}: tensor {name} is unknown to {module.model_type}")
    return unknown
