"""Use a model: items in, predictions out in the same order, whatever the task.

What a prediction is and how texts become tensors is the task's affair; models come from `formats/`, and `backends/`
run them. Nothing here looks at labels (`evaluate.py`) or knows a terminal (`plain_text.py`).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any, Generic, overload

import torch
from typing_extensions import TypeVar

from bertie import progress
from bertie.backends._choice import MANY_ITEMS, Case, choose, load_backend
from bertie.backends._parity import hold
from bertie.backends.backend import LIMITS, Backend, Precision
from bertie.data.frames import as_texts, is_row, is_table, items_of
from bertie.data.items import Table
from bertie.data.reading import learned
from bertie.errors import SettingsError
from bertie.formats import exported
from bertie.formats.format import Bundle
from bertie.formats.huggingface import read, resolve
from bertie.inference.forward import MAX_TOKENS, forward, numbered
from bertie.nn.device import resolve_device, say_forked, set_threads
from bertie.tasks._prediction import Prediction
from bertie.tasks.task import TaskModel, read_items

P = TypeVar("P", default=Prediction)
"""Type of the predictions: that of the task."""


class Predictor(Generic[P]):
    """Apply a model to texts, pairs of texts, or whatever its task takes.

    Args:
        bundle: model, task and tokenizer.
        max_tokens: tokens of a batch at most; fewer need less memory.
        device: auto (the GPU if there is one), cpu, cuda, cuda:1.
        precision: how near the encoder's vectors come to fp32's: exact (1e-4), bf16 (a mean cosine of 0.9999) or int8
            (0.995); a lower class than exact is never taken unasked.
        backend: what runs the encoder; by the rule of `backends/` when auto.
        folder: where the frozen encoder of an exported bundle lies.

    Raises:
        SettingsError: a backend that isn't installed or can't run this model, or one that misses its class.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        max_tokens: int = MAX_TOKENS,
        device: str = "auto",
        precision: Precision = "exact",
        backend: str = "auto",
        folder: Path | None = None,
    ) -> None:
        if max_tokens < 1:
            raise SettingsError(f"max_tokens must be at least 1; got {max_tokens}")
        if precision not in LIMITS:
            raise SettingsError(f"--precision must be one of {', '.join(LIMITS)}; got {precision!r}")
        self.max_tokens, self.precision = max_tokens, precision
        self._network: TaskModel | None = None
        self._case: Case | None = None  # for which the network was chosen; None where it was named
        self._said = ""
        self._process = os.getpid()
        self._wishes: dict[str, Any] = {
            "max_tokens": max_tokens,
            "device": device,
            "precision": precision,
            "backend": backend,
            "folder": folder,
        }
        self._source: tuple[Path, dict[str, Any], int] | None = None  # set by `load`
        self.device = torch.device("cpu") if folder is not None else resolve_device(device)
        if folder is None:
            bundle.model.to(self.device).eval()
        self.bundle, self.task, self.tokenizer = bundle, bundle.task, bundle.tokenizer
        self._begin()
        self.num_cut = 0
        """Items that truncation made shorter so far."""

    def _begin(self) -> None:
        """Take the network that was asked for by name, if any was."""
        folder, backend = self._wishes["folder"], self._wishes["backend"]
        if folder is not None:
            model = _thaw(self.bundle, folder, self._wishes["device"], self.precision, backend)
            self.bundle = replace(self.bundle, model=model)
            self._take(model, f"{exported.facts(self.bundle)['backend']}, {self.precision}, as exported")
        elif backend != "auto":
            self._run_by(load_backend(backend), self.precision, "as asked")

    @property
    def model(self) -> TaskModel:
        """The network as it is run: the bundle's own, or its encoder by another backend or in another class."""
        return self.expect(1) if self._network is None or self._process != os.getpid() else self._network

    def expect(self, num_items: int | None) -> TaskModel:
        """Choose what runs the model by the number of items that come next, where no backend was named.

        What was chosen for many items stays for few.

        Args:
            num_items: how many; None when unknown, which counts as many.
        """
        if self._process != os.getpid():
            self._renew()
        case: Case = "few" if num_items is not None and num_items < MANY_ITEMS else "many"
        if self._network is None or (self._case == "few" and case == "many"):
            if self.device.type == "cpu":
                backend, row = choose(self.bundle, self.precision, case)
                self._run_by(backend, row.runs, row.reason)
            else:
                self._run_by(load_backend("eager"), self.precision, "the model is on a GPU")
            self._case = case
        assert self._network is not None
        return self._network

    def _renew(self) -> None:
        """Build the network again in a forked process, where the threads of another program's network are gone."""
        say_forked()
        # Taking the old network down would wait for threads that the fork left behind, so it is never taken down.
        for old in (self._network, self.bundle):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(old))
        self._process, self._network, self._case, self._said = os.getpid(), None, None, ""
        self._begin()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the model's folder and the settings; with its weights where they came from none, or changed."""
        kept = {"task": self.task, "num_cut": self.num_cut}
        if self._source is not None and self._source[2] == _version(self.bundle):
            return _opened, (self._source[0], {**self._source[1], "max_tokens": self.max_tokens}), kept
        return _remade, (self.bundle, {**self._wishes, "max_tokens": self.max_tokens}), kept

    def _run_by(self, backend: Backend, precision: Precision, reason: str) -> None:
        """Let a backend run the model, and hold what it does in a class below fp32 against fp32 itself."""
        if self.device.type != "cpu" and backend.name != "eager":
            raise SettingsError(f"--backend {backend.name} runs on the CPU; give --device cpu, or --backend eager")
        said = f"{backend.name}, {precision}"
        if said == self._said:
            return
        network = backend.prepare(self.bundle, precision)
        if precision != "exact":
            hold(self.bundle, network, precision)
        self._take(network, said, reason)

    def _take(self, network: TaskModel, said: str, reason: str = "") -> None:
        self._network, self._said = network, said
        progress.note(f"the encoder is run by {said}{f' ({reason})' if reason else ''}")

    @overload
    def predict(  # type: ignore[overload-overlap]  # a string is one text, and no sequence of letters
        self, items: str | tuple[Any, ...], *, columns: None = None, bar: progress.Bar | None = None
    ) -> P: ...
    @overload
    def predict(
        self, items: Mapping[str, Any], *, columns: Mapping[str, str] | None = None, bar: progress.Bar | None = None
    ) -> P | list[P]: ...
    @overload
    def predict(
        self, items: Iterable[Any], *, columns: Mapping[str, str] | None = None, bar: progress.Bar | None = None
    ) -> list[P]: ...
    def predict(self, items: Any, *, columns: Mapping[str, str] | None = None, bar: progress.Bar | None = None) -> Any:
        """Predict for one item, or for many.

        Args:
            items: a text, a pair of texts (a tuple) or another single item of the task, or a row with named parts such
                as {"question": ..., "context": ...}; or a list or stream of items; or a table (pandas, polars, Arrow,
                `datasets`, a list of dictionaries), whose columns are found as those of a file are.
            columns: what the columns of a table hold, such as {"text": "body"}; found out when None.
            bar: is advanced by the number of items done.

        Returns:
            The prediction of a single item; a list in the order of the items, or of the table's rows, for many.

        Raises:
            DataError: an item that can't be used, by its number.
        """
        if is_table(items):
            return list(self.stream(items_of(items, self._read, columns), bar=bar))
        if is_row(items):
            return next(self.stream(items_of([items], self._read, columns), bar=bar))
        if columns is not None:
            raise SettingsError("columns are those of a table; texts in a list have none")
        items = as_texts(items)
        # A tuple is a pair, that is one item; what can't be gone through is one item of some task's own kind.
        if isinstance(items, str | bytes | tuple | Mapping) or not isinstance(items, Iterable):
            return next(self.stream([items], bar=bar))
        return list(self.stream(items, bar=bar))

    def _read(self, path: Path, *, columns: Mapping[str, str] | None) -> Table[Any]:
        """Read a file as the model's training file was read."""
        return read_items(self.task, path, columns=columns, like=learned(self.bundle.extra))

    def stream(self, items: Iterable[Any], *, bar: progress.Bar | None = None) -> Iterator[P]:
        """Predict for a stream of any length in its order, holding some thousand items at a time.

        Args:
            items: as in `predict`.
            bar: is advanced by the number of items done.

        Yields:
            One prediction an item.

        Raises:
            DataError: an item that can't be used, by its number.
        """
        waiting: dict[int, Any] = {}
        following = 0
        self.expect(len(items) if isinstance(items, Sized) else None)
        bare = (_without_label(item) for item in items)
        for part in forward(self.model, self.task, bare, self.tokenizer, max_tokens=self.max_tokens):
            with torch.inference_mode(), numbered(part.numbers, part.items):
                decoded = self.task.decode(part.outputs, part.batch, part.items, self.tokenizer)
            self.count_cut(part.batch.targets.get("sequence.cut"))
            if bar is not None:
                bar.advance(len(part.items))
            waiting.update(zip(part.numbers, decoded, strict=True))
            while following in waiting:
                yield waiting.pop(following)
                following += 1

    def count_cut(self, cut: torch.Tensor | None) -> None:
        """Count cut items and warn of the first; a warning a call would drown a loop over single texts."""
        num_cut = 0 if cut is None else int((cut > 0).sum())
        if num_cut and not self.num_cut:
            progress.warn(
                f"texts longer than {getattr(self.task, 'max_length', 'the model takes')} tokens are cut; "
                "num_cut counts them, and truncation='error' stops instead"
            )
        self.num_cut += num_cut

    def __repr__(self) -> str:
        encoder = type(self.bundle.model.encoder).__name__
        millions = sum(value.numel() for value in self.bundle.model.parameters()) / 1e6
        settings = "".join(f", {name}={value!r}" for name, value in vars(self.task).items())
        return (
            f"Predictor({self.task.name} on {encoder} with {millions:.1f} million parameters, device={self.device}, "
            f"max_tokens={self.max_tokens}, "
            f"precision={self.precision}{settings})"
        )


def _opened(folder: Path, wishes: dict[str, Any]) -> Predictor[Any]:
    """Load a pickled predictor's model again."""
    return load(folder, **wishes)


def _remade(bundle: Bundle, wishes: dict[str, Any]) -> Predictor[Any]:
    """Make a predictor of a pickled model."""
    return Predictor(bundle, **wishes)


def _version(bundle: Bundle) -> int:
    """Count the changes in place that were made to the weights."""
    return sum(value._version for value in bundle.model.parameters())


def _without_label(item: Any) -> Any:
    """Take off the label that a table gave an item: predicting doesn't look at it."""
    return item if getattr(item, "label", None) is None else replace(item, label=None)


def _thaw(bundle: Bundle, folder: Path, device: str, precision: Precision, backend: str) -> TaskModel:
    """Open an exported folder's encoder, and refuse settings that differ from those of the export.

    Raises:
        SettingsError: another backend, class or device is asked for.
    """
    facts = exported.facts(bundle)
    for name, asked in (("backend", backend), ("precision", precision)):
        if asked not in ("auto", facts[name]):
            raise SettingsError(f"{folder} was exported with --{name} {facts[name]}, not {asked}; export it again")
    if device not in ("auto", "cpu"):
        raise SettingsError(f"{folder} was exported for the CPU; --device {device} needs the folder it was made from")
    own = load_backend(facts["backend"])
    own.require()
    return own.open(bundle, folder, precision)


def load(
    path: str | Path,
    *,
    task: str | None = None,
    device: str = "auto",
    threads: int | None = None,
    max_tokens: int = MAX_TOKENS,
    precision: Precision | None = None,
    backend: str = "auto",
    **settings: Any,
) -> Predictor[Any]:
    """Open a model folder or hub id, ready to predict.

    Args:
        path: a local model folder, or a hub id such as ``bert-base-uncased``.
        task: what to do with it; inferred from the model's own settings when None.
        device: auto, cpu, cuda, cuda:1.
        threads: CPU threads; torch's own number when None.
        max_tokens: tokens of a batch at most.
        precision: exact (within 1e-4 of fp32), bf16 or int8 (faster where the CPU has such products; mean cosines of
            0.9999 and 0.995 with fp32's vectors); when None exact, or what a folder was exported in.
        backend: eager (torch), onnx or openvino; the fastest that is installed, by a fixed rule, when auto.
        **settings: of the task, instead of those that the model brings (max_length, truncation, top_k, ...).

    Raises:
        SettingsError: no such folder or model, an unknown task or setting, a task that the model has no head for.
        DataError: the folder holds no model we can read.
    """
    resolve_device(device)  # a wrong name should not wait for a large model
    if backend != "auto":
        load_backend(backend).require()
    folder = resolve(path)
    frozen = exported.is_exported(folder)
    open_folder = exported.read if frozen else read
    bundle = open_folder(folder, task=task, settings=settings)  # text such as "32" gets its field's type there
    length = getattr(bundle.task, "max_length", 0)
    if length > bundle.config.max_positions:
        raise SettingsError(f"max_length {length} is more than the {bundle.config.max_positions} positions of {path}")
    for line in bundle.notes:
        progress.note(line)
    set_threads(threads)
    made = Predictor(
        bundle,
        max_tokens=max_tokens,
        device=device,
        precision=precision or exported.precision(bundle) or "exact",
        backend=backend,
        folder=folder if frozen else None,
    )
    wishes = {"task": task, "device": device, "threads": threads, "precision": precision, "backend": backend}
    made._source = folder.absolute(), {**wishes, **settings}, _version(made.bundle)
    return made
