"""The contract of `backends/`: another program runs the encoder, and torch runs the head.

A backend freezes an encoder into files and opens them as a module from packed batches to hidden vectors. With a task's
head on top it is a `TaskModel` like any other, so prediction, evaluation and search need no changes. Heads cost little.
They stay in torch and in fp32, also if the encoder runs in a lower precision.

Shapes: T tokens, B sequences, S longest sequence, H hidden.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.formats.format import Bundle
from bertie.tasks.task import TaskModel
from bertie.untrusted import read_bytes

Precision = Literal["exact", "bf16", "int8"]
"""The agreement of the vectors with those of fp32; see `LIMITS`."""
LIMITS: dict[str, float] = {"exact": 1e-4, "bf16": 0.9999, "int8": 0.995}
"""Limits on texts' mean vectors of length 1: for exact the largest difference, for others the lowest mean cosine."""
_EXTERNAL = b"\x0a\x08location\x12"  # marks a tensor in another file in an ONNX graph
Ids = NDArray[np.int64]
Padded = Callable[[Ids, Ids, Ids], NDArray[np.float32]]
"""(tokens, mask, segments), (B, S) each, to hidden vectors (B, S, H)."""


class Backend(ABC):
    """The methods and attributes of every backend."""

    name: ClassVar[str]
    """Name of the file, which users type."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages that must be installed in addition to bertie."""
    extra: ClassVar[str] = ""
    """Extras of bertie that install them."""

    def missing(self) -> str:
        """Return the first package that isn't installed; empty if all are."""
        return next((package for package in self.packages if find_spec(package) is None), "")

    def require(self) -> None:
        """Check that the packages are installed.

        Raises:
            SettingsError: a package isn't installed.
        """
        if package := self.missing():
            raise SettingsError(
                f"--backend {self.name} needs {package}; install it with: pip install 'bertie[{self.extra}]'"
            )

    @abstractmethod
    def refusal(self, bundle: Bundle, precision: Precision) -> str:
        """Return why this backend can't run the model in this precision, as a clause; empty if it can."""

    def admit(self, bundle: Bundle, precision: Precision) -> None:
        """Check that this backend can run the model.

        Raises:
            SettingsError: a package is missing, or the model can't be run in this precision.
        """
        self.require()
        if reason := self.refusal(bundle, precision):
            raise SettingsError(f"--backend {self.name} --precision {precision}: {reason}")

    @abstractmethod
    def freeze(self, bundle: Bundle, path: Path, precision: Precision) -> None:
        """Write the files that `open` reads into the existing folder `path`.

        Raises:
            SettingsError: the model can't be frozen.
        """

    @abstractmethod
    def open(self, bundle: Bundle, path: Path, precision: Precision) -> TaskModel:
        """Return a model of the frozen encoder in `path` and the bundle's head; it uses as many threads as torch.

        Args:
            bundle: its head and config are used, its encoder is not.
            path: folder that `freeze` wrote.
            precision: precision that it was frozen for.
        """

    def prepare(self, bundle: Bundle, precision: Precision) -> TaskModel:
        """Freeze and open; no file stays on disk.

        Raises:
            SettingsError: a package is missing, or the model can't be run.
        """
        self.admit(bundle, precision)
        with TemporaryDirectory(prefix="bertie-frozen-") as folder:
            self.freeze(bundle, Path(folder), precision)
            return self.open(bundle, Path(folder), precision)


def stored_graph(file: Path) -> bytes:
    """Read a stored ONNX graph, which must hold all its weights.

    Raises:
        SettingsError: there is no such file.
        DataError: weights are in other files, which have no checksums.
    """
    content = read_bytes(file, limit=2**31)
    if _EXTERNAL in content:
        raise DataError(f"{file} has weights in other files, unlike bertie's exports; export the model again")
    return content


def check_hidden(hidden: NDArray[Any], shape: tuple[int, ...], file: Path) -> None:
    """Check that the output of a stored graph is hidden vectors of the right shape.

    Raises:
        DataError: it has another shape or type.
    """
    if hidden.shape != shape or hidden.dtype != np.float32:
        raise DataError(
            f"{file} returned {hidden.dtype} of shape {hidden.shape} instead of float32 of shape {shape}; it is the "
            "graph of another model: export the model again"
        )


class FrozenEncoder(nn.Module):
    """An encoder that another program runs on padded batches.

    Args:
        config: of the frozen encoder.
        run: function that runs the program.
        digest: SHA-256 of the program's input files, in hexadecimal digits.
    """

    def __init__(self, config: Any, run: Padded, digest: str) -> None:
        super().__init__()
        self.config, self._run = config, run
        # Stored as a parameter, so that fingerprints differ between weights and `.device` can be found.
        self.digest = nn.Parameter(torch.tensor(list(bytes.fromhex(digest)), dtype=torch.uint8), requires_grad=False)

    def forward(self, batch: Batch, noise: None = None) -> Tensor:
        """Map a packed batch to (T, H)."""
        del noise  # there is no dropout in inference
        if batch.causal:
            raise SettingsError("a frozen encoder can't run causal attention; use --backend eager")
        if batch.max_length > self.config.max_positions:
            raise ValueError(
                f"a sequence has {batch.max_length} tokens, the model takes at most {self.config.max_positions}"
            )
        groups = like_lengths(batch.lengths.numpy())
        if len(groups) == 1 and len(groups[0]) == len(batch):
            return self._padded(batch)
        hidden = torch.empty(batch.num_tokens, self.config.hidden_size)
        indices = torch.arange(batch.num_tokens)
        for group in groups:
            part = replace(batch, targets={"token.index": indices}, target=None).select(torch.from_numpy(group))
            hidden[part.targets["token.index"]] = self._padded(part)
        return hidden

    def _padded(self, batch: Batch) -> Tensor:
        mask = batch.unpack(torch.ones_like(batch.tokens))
        inputs = (batch.unpack(batch.tokens).numpy(), mask.numpy(), batch.unpack(batch.segments).numpy())
        return torch.from_numpy(self._run(*inputs))[mask.bool()]


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


_CALL_TOKENS = 96


def under_head(encoder: nn.Module, bundle: Bundle) -> TaskModel:
    """Return a model of an encoder and the bundle's head."""
    return TaskModel(encoder, bundle.model.head).eval()


def sha256(*parts: bytes) -> str:
    """Return the SHA-256 of bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def has_bf16() -> bool:
    """Return whether the CPU has instructions for products of bf16."""
    return _has("avx512_bf16") or _has("amx_bf16") or torch.cpu._is_amx_tile_supported()


def has_int8() -> bool:
    """Return whether the CPU has instructions for sums of products of 8-bit integers."""
    return _has("avx512_vnni") or _has("avx_vnni") or torch.cpu._is_vnni_supported()


def _has(flag: str) -> bool:
    return bool(torch.cpu.get_capabilities().get(flag, False))
