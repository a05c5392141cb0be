"""Run the graph of an exported folder on numpy arrays, without torch.

`open_frozen` reads what config.json says about the export (`Facts`), checks the graph's files against it, and opens
them in the runtime. The graph takes padded arrays and returns named outputs. `Frozen.packed` takes packed ones, without
padding, and returns outputs without padding. Heads, tasks and tokenizers are unknown here.

Shapes: T tokens, B sequences, S longest sequence, M slots (chosen tokens), W width of an output.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from bertie.errors import DataError, SettingsError
from bertie.native import native
from bertie.untrusted import read_bytes

Ids = NDArray[np.int64]
Array = NDArray[np.float32]
Axis = Literal["token", "sequence", "slot", "choice"]
"""What an output has one row for. A graph with `choice` takes inputs (items, choices, S)."""
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
ASKED = 2
"""Value of attention_mask at slots. Where it occurs, an output for slots holds these tokens only, as (1, M, W)."""
RUNTIMES = {
    "onnx": ("_onnxruntime", "onnxruntime", ("model.onnx",)),
    "openvino": ("_openvino", "openvino", ("openvino_model.xml", "openvino_model.bin")),
}
"""For each backend with files: the module here that runs them, its package, and the files."""
_MAX_BYTES = 2**31
_CALL_TOKENS, _MAX_CALL_TOKENS = 96, 8192


@dataclass(frozen=True)
class Output:
    """A named output of a graph."""

    per: Axis
    """What it has one row for."""
    width: int
    """Numbers in a row; 0 for a single number without an axis of its own."""


@dataclass(frozen=True)
class Facts:
    """What `bertie.export` in config.json says about a graph."""

    backend: str
    precision: str
    max_length: int
    """Tokens of the longest sequence that the graph takes."""
    inputs: tuple[str, ...]
    """Names of the inputs: `INPUTS`, without token_type_ids if the encoder doesn't read it."""
    outputs: dict[str, Output]
    """Outputs by name, in the graph's order."""
    sha256: dict[str, str]
    """SHA-256 of each of the graph's files, by name."""
    proof: dict[str, Any] = field(default_factory=dict)
    """What was measured when the model was exported."""

    @classmethod
    def read(cls, value: Any, place: str) -> Facts:
        """Read the object from config.json, an untrusted file.

        Args:
            value: of the key `bertie.export`.
            place: the start of a message.

        Raises:
            DataError: it is not what `as_json` returns.
        """
        try:
            outputs = {name: Output(one["per"], one["width"]) for name, one in value["outputs"].items()}
            facts = cls(
                value["backend"],
                value["precision"],
                value["max_length"],
                tuple(value["inputs"]),
                outputs,
                dict(value["sha256"]),
                dict(value.get("proof", {})),
            )
            facts._check()
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise DataError(
                f"{place}: bertie.export doesn't describe a graph, or an old version of bertie wrote it; export the "
                "model again"
            ) from error
        return facts

    def _check(self) -> None:
        """Check types and values.

        Raises:
            ValueError: one is wrong.
        """
        numbers = [self.max_length, *(output.width for output in self.outputs.values())]
        files = RUNTIMES[self.backend][2] if self.backend in RUNTIMES else self.sha256
        if (
            not all(isinstance(number, int) and 0 <= number < 2**31 for number in numbers)
            or not all(output.per in get_args(Axis) for output in self.outputs.values())
            or not self.outputs
            or self.inputs not in (INPUTS, INPUTS[:2])
            or not isinstance(self.backend, str)
            or not isinstance(self.precision, str)
            or set(self.sha256) != set(files)
        ):
            raise ValueError

    def as_json(self) -> dict[str, Any]:
        """Return the object for config.json."""
        outputs = {name: {"per": output.per, "width": output.width} for name, output in self.outputs.items()}
        return {
            "backend": self.backend,
            "precision": self.precision,
            "max_length": self.max_length,
            "inputs": list(self.inputs),
            "outputs": outputs,
            "sha256": self.sha256,
            "proof": self.proof,
        }


@dataclass(frozen=True, eq=False)
class Session:
    """A graph that is open in a runtime."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    run: Callable[[dict[str, Ids]], dict[str, NDArray[Any]]]
    """Map inputs by name to outputs by name."""


class Frozen:
    """A graph of an exported folder. Several threads may share it.

    Args:
        session: the open graph.
        facts: about it.
        file: its file, for messages.
    """

    def __init__(self, session: Session, facts: Facts, file: Path) -> None:
        self.facts, self._session, self._file = facts, session, file
        self.digest = sha256(*(f"{name}={value}".encode() for name, value in sorted(facts.sha256.items())))
        """SHA-256 that differs between graphs."""
        self._per_choice = any(output.per == "choice" for output in facts.outputs.values())
        if set(facts.inputs) != set(session.inputs) or not set(facts.outputs) <= set(session.outputs):
            raise DataError(
                f"{file} has inputs {', '.join(session.inputs)} and outputs {', '.join(session.outputs)}; config.json "
                f"says inputs {', '.join(facts.inputs)} and outputs {', '.join(facts.outputs)}: export the model again"
            )

    def padded(self, tokens: Ids, mask: Ids, segments: Ids) -> dict[str, Array]:
        """Run padded sequences, (B, S) each.

        Args:
            tokens: token ids.
            mask: 1 at tokens and 0 at padding; `ASKED` at slots.
            segments: segment ids.

        Returns:
            Outputs by name: (B, S, W) for tokens, (B, W) for sequences, (B,) for choices, and for slots (M, W), or
            (B, S, W) if the mask has no slots. Outputs of width 0 lack the last axis.

        Raises:
            DataError: the runtime refuses the graph or an id, or an output is not what config.json says.
        """
        given = dict(zip(INPUTS, (tokens, mask, segments), strict=True))
        arrays = {name: given[name][None] if self._per_choice else given[name] for name in self.facts.inputs}
        with native(f"{self._file} can't be run"):
            found = self._session.run(arrays)
        num_slots = int(np.count_nonzero(mask == ASKED))
        outputs = {}
        for name, output in self.facts.outputs.items():
            shape = {
                "token": tokens.shape,
                "sequence": tokens.shape[:1],
                "choice": (1, len(tokens)),
                "slot": (1, num_slots) if num_slots else tokens.shape,
            }[output.per]
            value = found[name]
            whole = (*shape, output.width) if output.width else shape
            if value.shape != whole or value.dtype != np.float32:
                raise DataError(
                    f"{self._file} returned {value.dtype} of shape {value.shape} as {name} instead of float32 of shape "
                    f"{whole}; it is the graph of another model: export the model again"
                )
            outputs[name] = value[0] if output.per == "choice" or (output.per == "slot" and num_slots) else value
        return outputs

    def packed(
        self, tokens: Ids, segments: Ids, offsets: NDArray[np.integer[Any]], *, slots: Ids | None = None
    ) -> dict[str, Array]:
        """Run packed sequences, those of similar length together.

        Args:
            tokens: (T,) token ids.
            segments: (T,) segment ids.
            offsets: (B+1,) start of each sequence and, at the end, T.
            slots: (M,) ascending indices of tokens, for outputs for slots. None: all tokens.

        Returns:
            Outputs by name: (T, W) for tokens, (M, W) for slots, (B, W) for sequences, (B,) for choices. Outputs of
            width 0 lack the last axis.

        Raises:
            ValueError: a sequence is longer than the graph takes.
            DataError: as in `padded`.
        """
        offsets = np.asarray(offsets, np.int64)
        lengths = np.diff(offsets)
        if lengths.max() > self.facts.max_length:
            raise ValueError(f"a sequence has {lengths.max()} tokens, the model takes at most {self.facts.max_length}")
        slot_of = np.full(len(tokens), -1, np.int64)  # number of the slot at each token
        chosen = np.arange(len(tokens)) if slots is None else np.asarray(slots, np.int64)
        slot_of[chosen] = np.arange(len(chosen))
        counts = {"token": len(tokens), "slot": len(chosen), "sequence": len(lengths), "choice": len(lengths)}
        outputs = {
            name: np.empty((counts[one.per], *((one.width,) if one.width else ())), np.float32)
            for name, one in self.facts.outputs.items()
        }
        for group in calls(lengths):
            within = np.arange(lengths[group[0]])
            real = within < lengths[group, None]  # (b, S)
            source = np.where(real, offsets[group, None] + within, 0)  # index of each token in the packed arrays
            asked = real & (slot_of[source] >= 0)
            mask = real.astype(np.int64)
            if not np.array_equal(asked, real):
                mask[asked] = ASKED
            found = self.padded(np.where(real, tokens[source], 0), mask, np.where(real, segments[source], 0))
            for name, one in self.facts.outputs.items():
                if one.per == "token":
                    outputs[name][source[real]] = found[name][real]
                elif one.per == "slot":
                    rows = found[name] if (mask == ASKED).any() else found[name][asked]
                    outputs[name][slot_of[source[asked]]] = rows
                else:
                    outputs[name][group] = found[name]
        return outputs


def open_frozen(folder: Path, facts: Facts, *, threads: int | None = None) -> Frozen:
    """Open the graph of an exported folder.

    Args:
        folder: the folder.
        facts: of `bertie.export` in its config.json.
        threads: number of threads; None for one a core.

    Raises:
        SettingsError: the runtime's package isn't installed, or a file is missing.
        DataError: a file is not the one that was exported, or the runtime can't open it.
    """
    module, package, names = RUNTIMES[facts.backend]
    if find_spec(package) is None:
        raise SettingsError(
            f"{folder} needs {package}, which isn't installed; install it with: pip install {package}, or "
            f"pip install 'bertie[{facts.backend}]'"
        )
    contents = []
    for name in names:
        content = read_bytes(folder / name, limit=_MAX_BYTES)
        if sha256(content) != facts.sha256[name]:
            raise DataError(
                f"{folder / name} is not the file that config.json was written with; export the model again, or fetch "
                "both files again"
            )
        contents.append(content)
    runtime = import_module(f"bertie.backends.{module}")
    file = folder / names[0]
    with native(f"{file} can't be run"):
        session = runtime.open_session(contents, facts.precision, threads)
    return Frozen(session, facts, file)


def like_lengths(lengths: Ids) -> list[Ids]:
    """Split sequences into groups with little padding; return the indices of each group, longest sequences first.

    >>> [group.tolist() for group in like_lengths(np.array([10, 500, 9, 490]))]
    [[1, 3], [0, 2]]
    """
    order = np.argsort(-lengths, kind="stable")
    groups: list[Ids] = []
    start = lost = 0
    for end, index in enumerate(order.tolist()):
        lost += int(lengths[order[start]] - lengths[index])
        # A further call costs about as much as a hundred tokens, so a group may have that much padding.
        if lost > _CALL_TOKENS + (end - start) * int(lengths[order[start]]) // 16:
            groups.append(order[start:end])
            start, lost = end, 0
    return [*groups, order[start:]]


def calls(lengths: Ids) -> Iterator[Ids]:
    """Yield the groups of `like_lengths`, divided so that a call has a limited number of tokens, or one sequence."""
    for group in like_lengths(lengths):
        size = max(1, _MAX_CALL_TOKENS // int(lengths[group[0]]))
        for start in range(0, len(group), size):
            yield group[start : start + size]


def sha256(*parts: bytes) -> str:
    """Return the SHA-256 of bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
