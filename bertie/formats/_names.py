"""Normalize the names of a file's tensors: remove the prefixes of wrappers, and find tensors that bertie doesn't know.

Training code wraps a network (DataParallel, a LightningModule, torch.compile), and each wrapper adds a prefix to every
name. The name of the word embeddings shows the whole prefix. A helper of the formats. It reads no files.
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
"""Parts that wrappers add anywhere in a name, and that no network uses in its own names."""
_WORDS = "encoder.embeddings.word.weight"
_OLD_ENDINGS = ((".gamma", ".weight"), (".beta", ".bias"))


@dataclass(frozen=True)
class Unwrapped:
    """Tensor names in the current spelling of Hugging Face."""

    names: dict[str, str]
    """The current name for each name in the file."""
    notes: tuple[str, ...]
    """One sentence for each prefix that was removed or replaced."""


def unwrap(names: Iterable[str], module: Architecture, folder: Path) -> Unwrapped:
    """Remove wrapper prefixes from tensor names, and replace old spellings by current ones.

    Args:
        names: the names of the file's tensors.
        module: the folder's architecture, a file of models/.
        folder: for messages.

    Raises:
        DataError: two names become the same, or the file holds several networks.
    """
    given = list(names)
    bare = {name: _without(name, _OUTER) for name in given}
    notes = []
    if taken := sorted({word for name in given for word in _OUTER if word in name}):
        notes.append(f"{folder}: removed {', '.join(repr(word) for word in taken)} from the tensors' names")
    front, now = _front(list(bare.values()), module, folder)
    if front != now:
        count = sum(name.startswith(front) for name in bare.values())
        notes.append(
            f"{folder}: removed {front!r} from the names of {count} tensors"
            if not now
            else f"{folder}: {count} tensors are named {front}*; they are read as {now}*"
        )
        bare = {
            name: f"{now}{inner.removeprefix(front)}" if inner.startswith(front) else inner
            for name, inner in bare.items()
        }
    current: dict[str, str] = {}
    for old, inner in bare.items():
        name = _modern(inner, module)
        if name in current.values():
            raise DataError(f"{folder} holds the tensor {name} twice, once as {old}")
        current[old] = name
    return Unwrapped(current, tuple(notes))


def _without(name: str, words: Sequence[str]) -> str:
    """Remove whole parts from a dotted name, at any position."""
    parts = {word.removesuffix(".") for word in words}
    return ".".join(part for part in name.split(".") if part not in parts)


def _front(names: Sequence[str], module: Architecture, folder: Path) -> tuple[str, str]:
    """Return the prefix of the network's names in the file, and the prefix to replace it by.

    Raises:
        DataError: there are several encoders, none of them under the expected name, or the prefix is that of another
            architecture.
    """
    table = dict(module.names)
    if module.model_type == "encoder-decoder":  # its names begin with "encoder." or "decoder."
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
            f"{folder} holds {len(fronts)} encoders, named {'*, '.join(fronts)}*; choose one: "
            f"bertie convert FOLDER OUT --part {fronts[0].rstrip('.')}"
        )
    front = fronts[0]
    last = front.rstrip(".").rpartition(".")[2]
    if last in {*registry.choices("models")} - {module.prefix}:
        raise DataError(
            f"{folder}: the tensors are named {front}*, like those of a {last}, but config.json says "
            f"{module.model_type}"
        )
    # "model.bert." is a wrapper around a whole BERT; "encoder." is a program's own name for its BERT.
    whole = front.endswith(f".{prefix}")
    return (front.removesuffix(prefix), "") if whole else (front, prefix)


def _front_of_two(names: Sequence[str]) -> str:
    """Return the prefix of an encoder-decoder's names; "" if there is none or more than one."""
    found = (re.fullmatch(r"(|.*\.)encoder\.embeddings\.\w+\.weight", name) for name in names)
    fronts = {match[1] for match in found if match}
    return fronts.pop() if len(fronts) == 1 else ""


def _modern(name: str, module: Architecture) -> str:
    """Return the current spelling of a name: weight and bias for gamma and beta, with the encoder's prefix."""
    for old, now in _OLD_ENDINGS:
        name = name.removesuffix(old) + now if name.endswith(old) else name
    bare = {theirs.split(".")[1] for _, theirs in module.names if theirs.startswith(f"{module.prefix}.")}
    return f"{module.prefix}.{name}" if name.partition(".")[0] in bare else name


def strangers(names: Iterable[str], module: Architecture, folder: Path) -> list[str]:
    """List the tensors outside the encoder that belong to none of bertie's heads, such as those of a custom head.

    Raises:
        DataError: a tensor inside the encoder is unknown, so the encoder is another network.
    """
    known = {*module.tied, *module.redundant}
    unknown = sorted(unknown_names((name for name in names if name not in known), module.names))
    for name in unknown:
        if ".lora_" in name or ".base_layer." in name:
            raise DataError(
                f"{folder}: {name} is part of a LoRA adapter; merge it into the model with PEFT "
                "(PeftModel.merge_and_unload) and save the model again"
            )
        if name.startswith(f"{module.prefix}."):
            raise DataError(f"{folder}: tensor {name} is unknown to {module.model_type}")
    return unknown
