"""The contract of `backends/`: another program runs a model, and torch the parts that it can't run.

A backend freezes encoder and head into the files of one graph and opens them as a network from packed batches to the
head's outputs. The network is a `TaskModel` like any other, so prediction, evaluation and search need no changes. A
head that has no form in a graph (`_heads.py`) stays in torch and in fp32, over a graph of the encoder.

Shapes: T tokens, B sequences, H hidden.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from bertie.backends._frozen import INPUTS, Frozen, Output, open_frozen
from bertie.backends._frozen import Facts as Facts
from bertie.backends._heads import HIDDEN, fits, has_form, hidden_of, restore
from bertie.backends._precision import LIMITS as LIMITS
from bertie.backends._precision import Precision as Precision
from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.files.atomic import sha256_file
from bertie.formats.format import Bundle
from bertie.tasks.task import TaskModel
from bertie.version import VERSION


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

    def versions(self) -> dict[str, str]:
        """Return the versions of bertie, torch and the packages of this backend."""
        return {"bertie": VERSION, **{package: version(package) for package in (*self.packages, "torch")}}

    def freezes_head(self, bundle: Bundle) -> bool:
        """Tell whether the files hold the head of a model too; by default it stays in torch, over the encoder."""
        return False

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
    def freeze(self, bundle: Bundle, path: Path, precision: Precision, *, hidden: bool = False) -> Facts:
        """Write the files that `open` reads into the existing folder `path`.

        Args:
            bundle: the model.
            path: the folder.
            precision: of the graph.
            hidden: whether the graph returns the hidden vectors too, if it has no such output anyway.

        Returns:
            What `open` needs to know.

        Raises:
            SettingsError: the model can't be frozen.
        """

    def open(self, bundle: Bundle, path: Path, facts: Facts) -> TaskModel:
        """Return the frozen model in `path`; it uses as many threads as torch.

        Args:
            bundle: its head and config are used. Weights of the head are needed only if the graph lacks it.
            path: folder that `freeze` wrote.
            facts: what `freeze` returned.

        Raises:
            SettingsError: the runtime isn't installed, a file is missing, or the graph is that of another task.
            DataError: a file is broken or has changed.
        """
        return frozen_network(bundle, open_frozen(path, facts, threads=torch.get_num_threads()))

    def prepare(self, bundle: Bundle, precision: Precision) -> TaskModel:
        """Freeze and open, with the hidden vectors as an output; no file stays on disk.

        Raises:
            SettingsError: a package is missing, or the model can't be run.
        """
        self.admit(bundle, precision)
        with TemporaryDirectory(prefix="bertie-frozen-") as folder:
            facts = self.freeze(bundle, Path(folder), precision, hidden=True)
            return self.open(bundle, Path(folder), facts)


def frozen_network(bundle: Bundle, frozen: Frozen) -> TaskModel:
    """Return the network of a graph, with the bundle's head in torch if the graph doesn't have it.

    Raises:
        SettingsError: the graph is that of another task.
    """
    head = bundle.model.head
    network: TaskModel
    if has_form(head):
        if not fits(head, frozen.facts.outputs):
            raise SettingsError(
                f"the model was exported for another task than {bundle.task.name}, so its graph lacks outputs that "
                f"this task needs; export it with --task {bundle.task.name}"
            )
        network = FrozenNetwork(bundle.config, frozen, head)
    else:
        network = TaskModel(FrozenEncoder(bundle.config, frozen), head)
    return network.eval()


class FrozenEncoder(nn.Module):
    """The hidden vectors of a graph.

    Args:
        config: of the frozen encoder.
        frozen: the graph.
    """

    def __init__(self, config: Any, frozen: Frozen) -> None:
        super().__init__()
        self.config, self._frozen = config, frozen
        # Stored as a parameter, so that fingerprints differ between weights and `.device` can be found.
        digest = torch.tensor(list(bytes.fromhex(frozen.digest)), dtype=torch.uint8)
        self.digest = nn.Parameter(digest, requires_grad=False)

    def forward(self, batch: Batch, noise: None = None) -> Tensor:
        """Map a packed batch to (T, H).

        Raises:
            SettingsError: the graph doesn't return hidden vectors.
        """
        del noise  # there is no dropout in inference
        found: Tensor | None = hidden_of(self.run(batch))
        if found is None:
            raise SettingsError("the exported graph returns no hidden vectors; use the original model folder")
        return found

    def run(self, batch: Batch) -> dict[str, Tensor]:
        """Return the outputs of the graph for a packed batch."""
        if batch.causal:
            raise SettingsError("a frozen encoder can't run causal attention; use --backend eager")
        arrays = batch.arrays
        slots = arrays.targets.get("slot.position")
        found = self._frozen.packed(arrays.tokens, arrays.segments, arrays.offsets, slots=slots)
        return {name: torch.from_numpy(values) for name, values in found.items()}


class FrozenNetwork(TaskModel):
    """A graph with encoder and head.

    Args:
        config: of the frozen encoder.
        frozen: the graph.
        head: the head that was frozen; its weights aren't used.
    """

    in_one = True

    def __init__(self, config: Any, frozen: Frozen, head: nn.Module) -> None:
        super().__init__(FrozenEncoder(config, frozen), nn.Identity())
        self._frozen_head = (head,)  # in a tuple, so that it doesn't count as a part of this module

    def forward(self, batch: Batch, noise: Any = None) -> Any:
        """Return what the head returns."""
        encoder: Any = self.encoder
        return restore(self._frozen_head[0], encoder.run(batch), batch)


def encoder_facts(backend: Backend, bundle: Bundle, path: Path, precision: Precision, *files: str) -> Facts:
    """Return what `freeze` returns for files that hold an encoder only.

    Args:
        backend: that wrote the files.
        bundle: the model.
        path: folder of the files.
        precision: of the encoder.
        *files: their names.
    """
    config: Any = bundle.config
    sums = {name: sha256_file(path / name) for name in files}
    outputs = {HIDDEN: Output("token", config.hidden_size)}
    return Facts(backend.name, precision, config.max_positions, INPUTS, outputs, sums)


def under_head(encoder: nn.Module, bundle: Bundle) -> TaskModel:
    """Return a model of an encoder and the bundle's head."""
    return TaskModel(encoder, bundle.model.head).eval()


def has_bf16() -> bool:
    """Return whether the CPU has instructions for products of bf16."""
    return _has("avx512_bf16") or _has("amx_bf16") or torch.cpu._is_amx_tile_supported()


def has_int8() -> bool:
    """Return whether the CPU has instructions for sums of products of 8-bit integers."""
    return _has("avx512_vnni") or _has("avx_vnni") or torch.cpu._is_vnni_supported()


def _has(flag: str) -> bool:
    return bool(torch.cpu.get_capabilities().get(flag, False))
