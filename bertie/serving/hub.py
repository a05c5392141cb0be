"""The models of a server: each with its predictor and its queue."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.errors import BertieError
from bertie.registry import did_you_mean
from bertie.serving.batcher import Batcher, Observer, refusal
from bertie.serving.limits import Limits, RequestError

if TYPE_CHECKING:
    from bertie.inference.predictor import Predictor

OTHER_TASKS = ("features", "embedding")
"""Tasks that every encoder can do besides its own."""
_PREPARING = 64  # requests of a model that may be encoded at the same time
_RECENT = 5.0  # seconds for which a batch proves that the worker computes


@dataclass
class Times:
    """Where the time of a request went, in seconds."""

    tokenization: float = 0.0
    queue: float = 0.0
    inference: float = 0.0


times: ContextVar[Times | None] = ContextVar("times", default=None)
"""The times of the request that is being answered; `Served.predict` adds to them."""


class Served:
    """A model that a server answers with.

    Args:
        name: its name in URLs.
        predictor: the model, or a function that loads it at the first request.
        limits: of the server.
        observe: makes what is called when something happens to the model of a name and a task.
    """

    def __init__(
        self,
        name: str,
        predictor: Predictor[Any] | Callable[[], Predictor[Any]],
        limits: Limits,
        *,
        observe: Callable[[str, str], Observer] | None = None,
    ) -> None:
        self.name, self.limits = name, limits
        self._loaded: Predictor[Any] | None = None if callable(predictor) else predictor
        self._open = predictor if callable(predictor) else None
        self._refusal: RequestError | None = None
        self.observe = observe
        self._lock = threading.RLock()
        self._batcher: Batcher | None = None
        self._preparing = 0
        self._others: dict[str, Served] = {}
        self._closing = False

    @property
    def predictor(self) -> Predictor[Any]:
        """The model. The first use of another task loads it, which takes seconds.

        Raises:
            RequestError: the model can't do the other task.
        """
        with self._lock:
            if self._refusal is not None:
                raise self._refusal
            if self._loaded is None:
                assert self._open is not None
                try:
                    self._loaded = self._open()
                except RequestError as error:
                    self._refusal = error  # the folder isn't read again for each request
                    raise
            return self._loaded

    @property
    def task(self) -> str:
        """The name of the model's task."""
        return self.predictor.task.name

    @property
    def batcher(self) -> Batcher:
        """The queue. The first use starts its threads."""
        with self._lock:
            if self._batcher is None:
                from bertie.serving.computing import compute

                predictor = self.predictor
                predictor.expect(None)  # choose the backend before any request
                observer = self.observe(self.name, self.task) if self.observe else Observer()
                self._batcher = Batcher(partial(compute, predictor), self.limits, observer=_logged(observer, self.name))
                if self._closing:
                    self._batcher.close(0.0)
            return self._batcher

    async def predict(self, items: Sequence[Any], **settings: Any) -> list[Any]:
        """Return one prediction for each item; see `predict_and_count`."""
        return (await self.predict_and_count(items, **settings))[0]

    async def predict_and_count(self, items: Sequence[Any], **settings: Any) -> tuple[list[Any], list[int]]:
        """Return one prediction for each item, and the number of tokens that the model read for it.

        Args:
            items: items of the model's task: strings, pairs of strings, or other items.
            **settings: of the task for this request alone, such as top_k=3. Also `targets`, words to rank for the mask
                of each text, and `logits=True`, to get the logits of the classes.

        Raises:
            RequestError: the request exceeds a limit, an item can't be used, or the server is busy.
        """
        if len(items) > self.limits.inputs:
            raise RequestError(
                413,
                "too_many_inputs",
                f"the request has {len(items):,} items, and the server takes at most {self.limits.inputs:,}; split it",
                limit="inputs",
                value=len(items),
            )
        if self._batcher is not None:
            self._batcher.check_room(1)  # a full queue refuses before a thread is asked and anything is encoded
        if self._preparing >= _PREPARING:
            raise RequestError(429, "busy", "too many requests at once; try again later", retry_after=1.0)
        self._preparing += 1
        begun = time.perf_counter()
        try:
            sizes, group = await asyncio.to_thread(self._prepare, list(items), settings)
        finally:
            self._preparing -= 1
        request = self.batcher.submit(list(items), sizes, group)
        answers = await asyncio.wrap_future(request.future)
        if (spent := times.get()) is not None and request.started is not None:
            done = time.perf_counter()
            queued = max(0.0, request.started - request.arrived)
            spent.inference += request.computing
            spent.queue += queued
            spent.tokenization += max(0.0, done - begun - request.computing - queued)
        return answers, sizes

    def _prepare(self, items: Sequence[Any], settings: dict[str, Any]) -> tuple[list[int], Hashable]:
        """Check the items, and count their tokens."""
        from bertie.serving.computing import group_of, sizes_of, too_long

        try:
            group = group_of(self.predictor, settings)
            number = too_long(items, self.limits.characters)
            if number is not None:
                raise RequestError(
                    413,
                    "too_long",
                    f"item {number + 1} has more than {self.limits.characters:,} characters; shorten it",
                    limit="characters",
                    value=number + 1,
                )
            return sizes_of(self.predictor, items, group) if items else [], group
        except BertieError as error:
            raise refusal(error) from error

    def as_task(self, task: str) -> Served:
        """Return the same model by another task, such as "embedding" or "features". Its first request loads it.

        Raises:
            RequestError: the model can't do this task.
        """
        if task == self.task:
            return self
        if task not in OTHER_TASKS:
            raise RequestError(422, "wrong_task", f"{self.name} is a model for {self.task} and can't do {task}")
        with self._lock:
            if task not in self._others:
                opened = partial(_opened, self.name, self.predictor, task)
                self._others[task] = Served(self.name, opened, self.limits, observe=self.observe)
            return self._others[task]

    @property
    def tokens(self) -> int:
        """Tokens that wait or are computed, by all tasks of the model."""
        return sum(batcher.tokens for batcher in self._batchers())

    @property
    def restarts(self) -> int:
        """Workers that died and were replaced."""
        return sum(batcher.restarts for batcher in self._batchers())

    def overload(self) -> RequestError | None:
        """Return the refusal that any request to the model would get now, or None."""
        errors = [batcher.overload() for batcher in self._batchers()]
        return errors[0] if errors and None not in errors else None

    def _batchers(self) -> list[Batcher]:
        with self._lock:
            everyone = [self._batcher, *(other._batcher for other in self._others.values())]
        return [batcher for batcher in everyone if batcher is not None]

    async def is_ready(self, seconds: float = 2.0) -> bool:
        """Tell whether the worker computes: it has just done so, or it now predicts for a tiny item."""
        batcher = await asyncio.to_thread(lambda: self.batcher)
        if not batcher.is_working:
            return False
        if time.monotonic() - batcher.last_answer < _RECENT:
            return True
        from bertie.serving.computing import probe

        with suppress(RequestError, TimeoutError):
            request = batcher.submit([probe(self.predictor)], [1])
            await asyncio.wait_for(asyncio.wrap_future(request.future), seconds + self.limits.window)
            return True
        return False

    def close(self, seconds: float) -> None:
        """Answer the requests that wait, and take no others."""
        with self._lock:
            for one in (self, *self._others.values()):
                one._closing = True
        for batcher in self._batchers():
            batcher.close(seconds)


class Hub:
    """All models of a server, by name.

    Args:
        models: the models, in the order in which the server lists them.
        limits: of the server.
    """

    def __init__(self, models: Sequence[Served], limits: Limits) -> None:
        self.models = {model.name: model for model in models}
        self.limits = limits

    def get(self, name: str) -> Served:
        """Return a model.

        Raises:
            RequestError: there is none of this name.
        """
        if name not in self.models:
            name = name[:100]
            raise RequestError(404, "no_such_model", f"no model {name!r}; {did_you_mean(name, self.models)}")
        return self.models[name]

    def overload(self) -> RequestError | None:
        """Return the refusal that a request to any model would get now, or None."""
        error = None
        for model in self.models.values():
            error = model.overload()
            if error is None:
                return None
        return error

    async def is_ready(self) -> dict[str, bool]:
        """Tell for each model whether its worker computes."""
        states = await asyncio.gather(*(model.is_ready() for model in self.models.values()))
        return dict(zip(self.models, states, strict=True))

    def close(self, seconds: float) -> None:
        """Close all models at once, within a number of seconds."""
        threads = [threading.Thread(target=model.close, args=(seconds,)) for model in self.models.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _opened(name: str, predictor: Predictor[Any], task: str) -> Predictor[Any]:
    """Load a model by another task.

    Raises:
        RequestError: the model can't do this task.
    """
    try:
        return predictor.by_task(task)
    except BertieError as error:
        progress.warn(f"{name} can't do {task}: {error}")
        raise RequestError(422, "wrong_task", f"{name} can't do {task}; the server's log says why") from error


def _logged(observer: Observer, name: str) -> Observer:
    """Return an observer that also writes failures to stderr."""

    def failure(error: BaseException) -> None:
        progress.warn(f"{name}: the prediction failed: {type(error).__name__}: {error}")
        observer.failure(error)

    return Observer(observer.batch, failure)
