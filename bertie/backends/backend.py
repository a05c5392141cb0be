"""The contract of `backends/`: another program runs the encoder, torch runs the head.

A backend freezes an encoder into files of its own and opens them as a module from packed batches to hidden vectors.
Put under a task's head it makes a `TaskModel` like any other, so predicting, evaluating and searching need not know.
Heads cost little and stay in torch and in fp32, also where the encoder runs in a lower class of exactness.

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
"""How near the vectors come to fp32's; see `LIMITS`."""
LIMITS: dict[str, float] = {"exact": 1e-4, "bf16": 0.9999, "int8": 0.995}
"""Of exact the largest difference, of the others the least mean cosine, of texts' mean vectors scaled to length 1."""
_ELSEWHERE = b"\x0a\x08location\x12"  # how ONNX says that a tensor lies in another file
Ids = NDArray[np.int64]
Padded = Callable[[Ids, Ids, Ids], NDArray[np.float32]]
"""(tokens, mask, segments), (B, S) each, to hidden vectors (B, S, H)."""


class Backend(ABC):
    """What every backend defines."""

    name: ClassVar[str]
    """The file's name, the word a user types."""
    packages: ClassVar[tuple[str, ...]] = ()
    """What has to be installed beside bertie."""
    extra: ClassVar[str] = ""
    """The extras of ours that bring it."""

    def missing(self) -> str:
        """Name the first package that isn't installed; empty when all are."""
        return next((package for package in self.packages if find_spec(package) is None), "")

    def require(self) -> None:
        """Refuse to go on without the packages.

        Raises:
            SettingsError: one of them isn't installed.
        """
        if package := self.missing():
            raise SettingsError(
                f"--backend {self.name} needs {package}; install it with: pip install 'bertie[{self.extra}]'"
            )

    @abstractmethod
    def refusal(self, bundle: Bundle, precision: Precision) -> str:
        """Say why this model can't be run here in this class, as a clause; empty when it can."""

    def admit(self, bundle: Bundle, precision: Precision) -> None:
        """Refuse what can't be run.

        Raises:
            SettingsError: a package is missing, or the model can't be run in this class.
        """
        self.require()
        if reason := self.refusal(bundle, precision):
            raise SettingsError(f"--backend {self.name} --precision {precision}: {reason}")

    @abstractmethod
    def freeze(self, bundle: Bundle, path: Path, precision: Precision) -> None:
        """Write what `open` reads into the folder `path`, which is there.

        Raises:
            SettingsError: the model can't be frozen.
        """

    @abstractmethod
    def open(self, bundle: Bundle, path: Path, precision: Precision) -> TaskModel:
        """Put the frozen encoder of the folder `path` under the bundle's head; it runs on as many threads as torch.

        Args:
            bundle: its head and its config are used, its encoder is not.
            path: where `freeze` wrote.
            precision: what it was frozen for.
        """

    def prepare(self, bundle: Bundle, precision: Precision) -> TaskModel:
        """Freeze and open at once; nothing stays on disk.

        Raises:
            SettingsError: a package is missing, or the model can't be run.
        """
        self.admit(bundle, precision)
        with TemporaryDirectory(prefix="bertie-frozen-") as folder:
            self.freeze(bundle, Path(folder), precision)
            return self.open(bundle, Path(folder), precision)


def stored_graph(file: Path) -> bytes:
    """Read an ONNX graph that was stored, whole and without pointers to other files.

    Raises:
        SettingsError: there is none.
        DataError: it keeps weights in other files, which have no checksums.
    """
    content = read_bytes(file, limit=2**31)
    if _ELSEWHERE in content:
        raise DataError(
            f"{file} keeps its weights in other files, which bertie's exports don't; export the model again"
        )
    return content


def check_hidden(hidden: NDArray[Any], shape: tuple[int, ...], file: Path) -> None:
    """Refuse what a stored graph gave where it isn't hidden states of the right shape.

    Raises:
        DataError: another shape or type.
    """
    if hidden.shape != shape or hidden.dtype != np.float32:
        raise DataError(
            f"{file} gave {hidden.dtype} of shape {hidden.shape} where float32 of shape {shape} was expected; it is "
            "another model's graph: export the model again"
        )


class FrozenEncoder(nn.Module):
    """An encoder that another program runs on padded batches.

    Args:
        config: of the encoder that was frozen.
        run: the program.
        digest: SHA-256 of what is run, in hexadecimal digits.
    """

    def __init__(self, config: Any, run: Padded, digest: str) -> None:
        super().__init__()
        self.config, self._run = config, run
        # As its only parameter: it tells vectors of other weights apart, and on which device the encoder is.
        self.digest = nn.Parameter(torch.tensor(list(bytes.fromhex(digest)), dtype=torch.uint8), requires_grad=False)

    def forward(self, batch: Batch, noise: None = None) -> Tensor:
        """Map a packed batch to (T, H)."""
        del noise  # nothing is dropped in use
        if batch.causal:
            raise SettingsError("a frozen encoder sees whole texts; use --backend eager to read from left to right")
        if batch.max_length > self.config.max_positions:
            raise ValueError(
                f"a sequence has {batch.max_length} tokens, the model takes at most {self.config.max_positions}"
            )
        groups = like_lengths(batch.lengths.numpy())
        if len(groups) == 1 and len(groups[0]) == len(batch):
            return self._padded(batch)
        hidden = torch.empty(batch.num_tokens, self.config.hidden_size)
        places = torch.arange(batch.num_tokens)
        for group in groups:
            part = replace(batch, targets={"token.place": places}, target=None).select(torch.from_numpy(group))
            hidden[part.targets["token.place"]] = self._padded(part)
        return hidden

    def _padded(self, batch: Batch) -> Tensor:
        mask = batch.unpack(torch.ones_like(batch.tokens))
        given = (batch.unpack(batch.tokens).numpy(), mask.numpy(), batch.unpack(batch.segments).numpy())
        return torch.from_numpy(self._run(*given))[mask.bool()]


def like_lengths(lengths: Ids) -> list[Ids]:
    """Part sequences into groups that lose little to padding: places in order of falling length."""
    order = np.argsort(-lengths, kind="stable")
    groups: list[Ids] = []
    start = lost = 0
    for end, place in enumerate(order.tolist()):
        lost += int(lengths[order[start]] - lengths[place])
        # Another call costs about as much as a hundred tokens; padding is worth less than that in all.
        if lost > _CALL_TOKENS + (end - start) * int(lengths[order[start]]) // 16:
            groups.append(order[start:end])
            start, lost = end, 0
    return [*groups, order[start:]]


_CALL_TOKENS = 96


def under_head(encoder: nn.Module, bundle: Bundle) -> TaskModel:
    """Put an encoder under the bundle's head."""
    return TaskModel(encoder, bundle.model.head).eval()


def sha256(*parts: bytes) -> str:
    """Return the SHA-256 of bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
