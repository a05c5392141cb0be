"""Predict with a model of any task: one prediction for each item, in the same order.

The task encodes items and decodes predictions, `formats/` reads models, and `backends/` runs them. Labels are used in
`evaluate.py` only. `render.py` formats predictions for the terminal.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sized
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import TypeVar

from bertie import progress
from bertie.backends._precision import LIMITS, Precision
from bertie.errors import SettingsError
from bertie.formats import frozen
from bertie.formats._places import is_exported
from bertie.formats.format import Bundle
from bertie.inference.forward import MAX_TOKENS, forward, numbered
from bertie.inference.network import described, without_gradients
from bertie.inference.opening import open_graph, read_any
from bertie.inference.predictions import Predictions, shown
from bertie.inference.same_folder import check_same, mark_of, version_of
from bertie.items.text import unlabelled
from bertie.nn.device import check_threads, resolve_device, say_forked, set_threads
from bertie.readers.frames import as_texts, is_row, is_table, items_of
from bertie.readers.reading import Table, learned
from bertie.tasks._lookup import read_items
from bertie.tasks._prediction import Prediction

if TYPE_CHECKING:
    from bertie.backends.backend import Backend
    from bertie.inference.choose_backend import Case

P = TypeVar("P", default=Prediction)
"""Type of the predictions: that of the task."""
Shown = progress.Bar | Literal[False] | None
"""A bar to advance, False for none, or None for one of the call's own."""


class Predictor(Generic[P]):
    """Predict for texts, pairs of texts, or other items of the model's task. Several threads may share one.

    Args:
        bundle: model, task and tokenizer.
        max_tokens: maximum number of tokens in a batch. Fewer tokens need less memory.
        device: auto (the GPU if there is one), cpu, cuda, cuda:1.
        precision: agreement of the encoder's vectors with fp32: exact (to 1e-4), bf16 (mean cosine of 0.9999) or int8
            (0.995). The default is exact.
        backend: program that runs the encoder. auto: by the rules of `backends/`.
        folder: folder of an exported model, which runs as a graph.
        threads: number of threads of a graph; None for one a core.

    Raises:
        SettingsError: the backend isn't installed, can't run this model, or misses the precision.
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
        threads: int | None = None,
    ) -> None:
        if max_tokens < 1:
            raise SettingsError(f"max_tokens must be at least 1; got {max_tokens}")
        if precision not in LIMITS:
            raise SettingsError(f"--precision must be one of {', '.join(LIMITS)}; got {precision!r}")
        self.max_tokens, self.precision = max_tokens, precision
        self._network: Any = None
        self._case: Case | None = None  # the case that the network was chosen for; None if the user named the backend
        self._description = ""
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._settings: dict[str, Any] = {
            "max_tokens": max_tokens,
            "device": device,
            "precision": precision,
            "backend": backend,
            "folder": folder,
            "threads": threads,
        }
        self._source: tuple[Path, dict[str, Any], int, str] | None = None  # set by `load`
        self.device: Any = "cpu" if folder is not None else resolve_device(device)
        if folder is None:
            bundle.model.to(self.device).eval()
        self.bundle, self.task, self.tokenizer = bundle, bundle.task, bundle.tokenizer
        self._begin()
        self.num_cut = 0
        """Number of items truncated so far."""

    def _begin(self) -> None:
        """Set the network if the folder or the user names the backend."""
        folder, backend = self._settings["folder"], self._settings["backend"]
        if folder is not None:
            asked = (self._settings["device"], self.precision, backend)
            model = open_graph(self.bundle, folder, *asked, threads=self._settings["threads"])
            self.bundle = replace(self.bundle, model=model)
            self._set_network(model, f"{self.bundle.extra['export']['backend']}, {self.precision}, as exported")
        elif backend != "auto":
            from bertie.inference.choose_backend import load_backend

            self._run_by(load_backend(backend), self.precision, "as asked")

    @property
    def model(self) -> Any:
        """The network in use: the bundle's model, or one that another backend or precision runs."""
        return self.expect(1) if self._network is None or self._process != os.getpid() else self._network

    def expect(self, num_items: int | None) -> Any:
        """Choose the backend for the next items, unless the user named one.

        A backend chosen for many items is kept for few.

        Args:
            num_items: number of items. None: unknown, which counts as many.
        """
        if self._process != os.getpid():
            self._renew()
        with self._lock:
            return self._choose(num_items)

    def _choose(self, num_items: int | None) -> Any:
        if self._settings["folder"] is not None:
            return self._network
        from bertie.inference.choose_backend import MANY_ITEMS, choose, load_backend

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
        """Build the network again in a forked process, which doesn't have the threads of the old network."""
        say_forked()
        self._lock = threading.RLock()  # a thread that the fork left behind may hold the old one
        # Deleting the old network would wait for threads that the fork left behind, so its memory is never freed.
        for old in (self._network, self.bundle):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(old))
        self._process, self._network, self._case, self._description = os.getpid(), None, None, ""
        self._begin()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the settings with the model's folder, or with the weights if they have no folder or have changed."""
        state, changed = {"task": self.task, "num_cut": self.num_cut}, {"max_tokens": self.max_tokens}
        if self._source is not None and self._source[2] == version_of(self.bundle.model):
            folder, settings, _, mark = self._source
            return _opened, (folder, {**settings, **changed}, mark), state
        return partial(Predictor, self.bundle, **{**self._settings, **changed}), (), state

    def _run_by(self, backend: Backend, precision: Precision, reason: str) -> None:
        """Run the model by a backend. A precision below exact is checked against fp32."""
        if self.device.type != "cpu" and backend.name != "eager":
            raise SettingsError(f"--backend {backend.name} runs on the CPU; give --device cpu, or --backend eager")
        description = f"{backend.name}, {precision}"
        if description == self._description:
            return
        network = backend.prepare(self.bundle, precision)
        if precision != "exact":
            from bertie.inference.parity import hold

            hold(self.bundle, network, precision)
        self._set_network(network, description, reason)

    def _set_network(self, network: Any, description: str, reason: str = "") -> None:
        self._network, self._description = network, description
        progress.note(f"the encoder is run by {description}{f' ({reason})' if reason else ''}")

    @overload
    def predict(  # type: ignore[overload-overlap]  # a string is one text, and no sequence of letters
        self, items: str | tuple[Any, ...], *, columns: None = None, bar: Shown = None
    ) -> P: ...
    @overload
    def predict(
        self, items: Mapping[str, Any], *, columns: Mapping[str, str] | None = None, bar: Shown = None
    ) -> P | list[P]: ...
    @overload
    def predict(
        self, items: Iterable[Any], *, columns: Mapping[str, str] | None = None, bar: Shown = None
    ) -> list[P]: ...
    def predict(self, items: Any, *, columns: Mapping[str, str] | None = None, bar: Shown = None) -> Any:
        """Predict for one item, or for many.

        Args:
            items: one item: a text, a pair of texts (a tuple), another item of the task, or a row with named parts such
                as {"question": ..., "context": ...}. Or many: a list or stream of items, or a table (pandas, polars,
                Arrow, `datasets`, a list of dictionaries). The roles of a table's columns are detected as in a file.
            columns: column names of a table by role, such as {"text": "body"}. None: detect them.
            bar: advanced by the number of items done. None: its own, shown after five seconds. False: none.

        Returns:
            The prediction for one item, or a list in the order of the items or rows.

        Raises:
            DataError: an item can't be used; the message names its number.
        """
        if is_table(items):
            items = items_of(items, self._read, columns)
        elif is_row(items):
            item = items_of([items], self._read, columns)[0]
            return shown(item, next(self.stream([item], bar=bar or None)))
        elif columns is not None:
            raise SettingsError("columns need a table; a list of texts has no columns")
        items = as_texts(items)
        if isinstance(items, str | bytes | tuple | Mapping) or not isinstance(items, Iterable):  # a tuple is a pair
            return shown(items, next(self.stream([items], bar=bar or None)))
        total = len(items) if isinstance(items, Sized) else None
        with progress.late_bar("Predicting", total=total) if bar is None else nullcontext(bar or None) as advanced:
            return Predictions(self.stream(items, bar=advanced), items)

    def _read(self, path: Path, *, columns: Mapping[str, str] | None) -> Table[Any]:
        """Read a file in the same way as the model's training file."""
        return read_items(self.task, path, columns=columns, like=learned(self.bundle.extra))

    def stream(self, items: Iterable[Any], *, bar: progress.Bar | None = None) -> Iterator[P]:
        """Predict for a stream of any length, in order, with some thousand items in memory at a time.

        Args:
            items: as in `predict`.
            bar: advanced by the number of items done.

        Yields:
            One prediction for each item.

        Raises:
            DataError: an item can't be used; the message names its number.
        """
        waiting: dict[int, Any] = {}
        following = 0
        self.expect(len(items) if isinstance(items, Sized) else None)
        bare = (unlabelled(item) for item in items)
        for part in forward(self.model, self.task, bare, self.tokenizer, max_tokens=self.max_tokens):
            with without_gradients(self.model), numbered(part.numbers, part.items):
                decoded = self.task.decode(part.outputs, part.batch, part.items, self.tokenizer)
            self.count_cut(part.batch.arrays.targets.get("sequence.cut"))
            if bar is not None:
                bar.advance(len(part.items))
            waiting.update(zip(part.numbers, decoded, strict=True))
            while following in waiting:
                yield waiting.pop(following)
                following += 1

    def adjusted(self, **settings: Any) -> Predictor[Any]:
        """Return a predictor that shares this one's network, with other settings of the task such as top_k."""
        twin: Predictor[Any] = object.__new__(type(self))
        vars(twin).update(vars(self), task=self.task.adjusted(settings))
        return twin

    def by_task(self, task: str) -> Predictor[Any]:
        """Load the same folder again, for another task such as features.

        Raises:
            SettingsError: the model doesn't come from a folder, or it has no head for the task.
        """
        if self._source is None:
            raise SettingsError("this model was not loaded from a folder, so it can't be loaded again")
        same = {name: self._source[1][name] for name in ("device", "threads", "precision", "backend")}
        return load(self._source[0], task=task, max_tokens=self.max_tokens, **same)

    def count_cut(self, cut: NDArray[np.int64] | None) -> None:
        """Count truncated items, and warn at the first one only: a loop over single texts would warn each time."""
        num_cut = 0 if cut is None else int((cut > 0).sum())
        with self._lock:
            is_first = num_cut > 0 and self.num_cut == 0
            self.num_cut += num_cut
        if is_first:
            progress.warn(
                f"texts longer than {getattr(self.task, 'max_length', 'the model takes')} tokens are cut; "
                "num_cut counts them; set truncation='error' to refuse them instead"
            )

    def __repr__(self) -> str:
        settings = "".join(f", {name}={value!r}" for name, value in vars(self.task).items())
        return (
            f"Predictor({self.task.name} on {described(self.bundle.model)}, device={self.device}, "
            f"max_tokens={self.max_tokens}, precision={self.precision}{settings})"
        )


def _opened(folder: Path, settings: dict[str, Any], mark: str) -> Predictor[Any]:
    """Unpickle a predictor whose model is in a folder, which must not have changed."""
    check_same(folder, mark)
    return load(folder, **settings)


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
    """Open a model folder or hub id for prediction.

    Args:
        path: a local model folder, or a hub id such as ``bert-base-uncased``.
        task: name of the task. None: the task in the model's settings.
        device: auto, cpu, cuda, cuda:1.
        threads: number of CPU threads. None: torch's default.
        max_tokens: maximum number of tokens in a batch.
        precision: exact (within 1e-4 of fp32), bf16 or int8. The latter two are faster if the CPU has such products,
            with mean cosines to fp32's vectors of 0.9999 and 0.995. None: exact, or the precision of an export.
        backend: eager (torch), onnx or openvino. auto: the fastest installed one, by a fixed rule.
        **settings: of the task, in place of the model's (max_length, truncation, top_k, ...).

    Raises:
        SettingsError: there is no such folder, model, task or setting; the model has no head for the task; or it needs
            torch, which isn't installed.
        DataError: bertie can't read the folder's model.
    """
    check_threads(threads)
    folder, bundle = read_any(path, task=task, device=device, backend=backend, settings=settings)
    if not frozen.is_whole(folder):
        set_threads(threads)
    predictor = Predictor(
        bundle,
        max_tokens=max_tokens,
        device=device,
        precision=precision or bundle.extra.get("export", {}).get("precision") or "exact",
        backend=backend,
        folder=folder if is_exported(folder) else None,
        threads=threads,
    )
    settings |= {"task": task, "device": device, "threads": threads, "precision": precision, "backend": backend}
    predictor._source = folder.absolute(), settings, version_of(predictor.bundle.model), mark_of(folder)
    return predictor
