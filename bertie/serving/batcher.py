"""Compute the items of many clients in batches: a bounded queue, a worker thread, and a watchdog for both.

A batcher knows neither HTTP nor torch: it is given a function that predicts and the number of tokens of each item. A
request is answered exactly once, with its own answers or with one error. `waiting.py` decides what is computed next.
"""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bertie.errors import BertieError, ResourceError
from bertie.serving.limits import Limits, RequestError
from bertie.serving.waiting import Entry, Request, Waiting, late

Predict = Callable[[list[Any], Hashable], Sequence[Any]]
"""Maps items and the settings of their group to one answer for each item."""
_WATCH = 0.1  # seconds between two looks of the watchdog
_MEMORY = 0.8  # weight of the past in the speed
_MANY = 512  # tokens of a batch that shows how fast the model is
_BETWEEN_SWEEPS = 0.05  # seconds between two sweeps of a full queue for requests that nobody waits for any more


@dataclass
class Batched:
    """What happened to a batch, for metrics."""

    tokens: int
    items: int
    waited: list[float]
    """Seconds from the arrival of each item to its batch."""
    seconds: float
    """Seconds of the prediction."""


@dataclass
class Observer:
    """What a batcher calls when something happens; by default nothing."""

    batch: Callable[[Batched], None] = field(default=lambda batched: None)
    failure: Callable[[BaseException], None] = field(default=lambda error: None)
    """An error that is no fault of the input: a bug, or a device that fails."""


class Batcher:
    """A queue of requests for one model.

    Args:
        predict: predicts for a list of items. Only one thread calls it at a time.
        limits: of the queue, the batch, the window and the deadline.
        observer: what to call when something happens.
        clock: returns the time in seconds.
        threads: whether worker and watchdog run. Without them, the caller calls `step`.
    """

    def __init__(
        self,
        predict: Predict,
        limits: Limits,
        *,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
        threads: bool = True,
    ) -> None:
        self._predict, self.limits, self._clock = predict, limits, clock
        self._observer = observer or Observer()
        self._waiting = Waiting(batch=limits.batch, window=limits.window)
        self._computing: list[Entry] = []
        self._computed = 0  # their tokens
        self._changed = threading.Condition(threading.RLock())
        self._closing = self._closed = self._is_overloaded = False
        self._credit = 0.0  # tokens of requests that may try in an overload
        self._mean = 0.0  # tokens of a request, over the last ones
        self._swept = -math.inf
        self._speed = 0.0  # tokens a second, over the last batches that were large or fast
        self.last_answer = -math.inf
        """When a batch was last computed without an error of the model."""
        self.restarts = 0
        """How often the watchdog has replaced a worker that died."""
        self._worker = threading.Thread(target=self._work, name="bertie-worker", daemon=True)
        self._watchdog = threading.Thread(target=self._watch, name="bertie-watchdog", daemon=True)
        if threads:
            self._worker.start()
            self._watchdog.start()

    @property
    def tokens(self) -> int:
        """Tokens that wait or are computed."""
        with self._changed:
            # Items are answered in order, so the last one tells whether the batch is still computed.
            is_computing = bool(self._computing) and self._computing[-1].is_open
            return self._waiting.tokens + (self._computed if is_computing else 0)

    @property
    def is_working(self) -> bool:
        """Whether the worker lives and takes requests."""
        return self._worker.is_alive() and not self._closing

    def check_room(self, tokens: int) -> None:
        """Check that a request of so many tokens may join the queue now.

        Raises:
            RequestError: it never fits (413), the queue is full (429), or the server is closing (503).
        """
        if tokens > self.limits.queue:
            raise RequestError(
                413,
                "too_many_tokens",
                f"the request has {tokens:,} tokens, and the server takes at most {self.limits.queue:,}; split it",
                limit="queue",
                value=tokens,
            )
        if self._closing:
            raise RequestError(503, "closing", "the server is shutting down; ask another one", retry_after=5.0)
        with self._changed:
            now = self._clock()
            # A sweep reads all that wait, so it is not done for each of thousands of refusals a second.
            if not self._has_room(tokens) and not 0.0 <= now - self._swept < _BETWEEN_SWEEPS:
                self._waiting.sweep(now)
                self._swept = now
            if self._has_room(tokens):
                return
            if not self._is_overloaded:
                self._is_overloaded, self._credit = True, 0.0
            waiting = self.tokens
        raise self._busy(waiting, tokens)

    def _has_room(self, tokens: int) -> bool:
        waiting = self.tokens
        return waiting + tokens <= self.limits.queue and waiting < self._most()

    def overload(self) -> RequestError | None:
        """Return the refusal of a request before it is read, or None if it may try.

        After a request found no room, as many may try as the model has computed since. So in an overload most requests
        are refused before anything is parsed or encoded, which would take the processor from those that get answers.
        """
        if not self._is_overloaded:
            return None
        with self._changed:
            waiting = self.tokens
            self._is_overloaded = waiting > self._most() // 2
            if not self._is_overloaded:
                return None
            if self._credit >= self._mean:
                self._credit -= self._mean
                return None
        return self._busy(waiting, 1)

    def _most(self) -> int:
        """Return the tokens that may wait before a further request; at most `limits.wait` seconds of work."""
        in_time = int(self.limits.wait * self._speed) if self._speed else self.limits.queue
        return min(self.limits.queue, max(self.limits.batch, in_time))

    def _busy(self, waiting: int, tokens: int) -> RequestError:
        """Return the refusal of a request of so many tokens."""
        if waiting + tokens > self.limits.queue or self._most() == self.limits.queue:
            said, limit, value = f"the server lets at most {self.limits.queue:,} wait", "queue", float(waiting + tokens)
        else:
            value = round(waiting / self._speed, 1)
            said, limit = f"which takes about {value:g} seconds, more than the server's {self.limits.wait:g}", "wait"
        return RequestError(
            429,
            "busy",
            f"{waiting:,} tokens wait, {said}; try again later",
            limit=limit,
            value=value,
            retry_after=self._seconds(waiting),
        )

    def submit(self, items: Sequence[Any], sizes: Sequence[int], group: Hashable = ()) -> Request:
        """Add a request to the queue. Its `future` will hold one answer for each item.

        Args:
            items: the items.
            sizes: tokens of each item, at least 1.
            group: their settings.

        Raises:
            RequestError: as `check_room`.
        """
        now = self._clock()
        request = Request(items, [max(1, size) for size in sizes], group, now, now + self.limits.deadline)
        if not items:
            request.finish()
            return request
        with self._changed:
            size = sum(request.sizes)
            self.check_room(size)
            self._waiting.add(request)
            self._mean = _MEMORY * self._mean + (1.0 - _MEMORY) * size if self._mean else size
            self._changed.notify_all()
        return request

    def step(self) -> bool:
        """Compute one batch if one is due, and tell whether there was one."""
        with self._changed:
            self._computing = self._waiting.take(self._clock(), hurry=self._closing)
            entries = self._computing
            tokens = self._computed = sum(entry.size for entry in entries)
        if not entries:
            return False
        begun = self._clock()
        for entry in entries:
            entry.request.started = entry.request.started or begun
        self._answer(entries)
        seconds = self._clock() - begun
        with self._changed:
            self._computing, self._computed = [], 0
            self._changed.notify_all()
        self._credit = min(self._credit, self.limits.batch) + tokens
        if seconds > 0:
            speed = tokens / seconds
            # Small batches are slow, and a full queue gives large ones.
            if tokens >= _MANY or 0.0 < self._speed < speed:
                self._speed = _MEMORY * self._speed + (1.0 - _MEMORY) * speed if self._speed else speed
        waited = [begun - entry.request.arrived for entry in entries]
        self._observer.batch(Batched(tokens, len(entries), waited, seconds))
        return True

    def close(self, seconds: float = 30.0) -> None:
        """Take no further requests, answer those that wait, and stop.

        Args:
            seconds: after which the requests that still wait are refused.
        """
        end = time.monotonic() + seconds
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            while self._worker.is_alive() and (self._computing or len(self._waiting)) and time.monotonic() < end:
                self._changed.wait(min(_WATCH, max(0.0, end - time.monotonic())))
            self._closed = True
            error = RequestError(503, "closing", "the server was shut down before the answer; ask another one")
            self._waiting.fail_all(error)
            for entry in self._computing:
                entry.request.finish(error)
            self._changed.notify_all()

    def _answer(self, entries: Sequence[Entry]) -> None:
        """Answer items; if the prediction fails, each half by itself, so that one bad item fails alone."""
        entries = [entry for entry in entries if entry.is_open]
        if not entries:
            return
        begun = self._clock()
        try:
            answers = self._predict([entry.item for entry in entries], entries[0].request.group)
            if len(answers) != len(entries):
                raise AssertionError(f"{len(answers)} answers for {len(entries)} items")
        except Exception as error:
            if len(entries) > 1:
                half = len(entries) // 2
                self._answer(entries[:half])
                self._answer(entries[half:])
                return
            if not isinstance(error, BertieError):
                self._observer.failure(error)
            entries[0].request.finish(refusal(error, entries[0]))
            return
        self.last_answer = self._clock()
        for request in {id(entry.request): entry.request for entry in entries}.values():
            request.computing += self.last_answer - begun
        for entry, answer in zip(entries, answers, strict=True):
            entry.request.answers[entry.number] = answer
            if len(entry.request.answers) == len(entry.request.items):
                entry.request.finish()

    def _work(self) -> None:
        """Compute batches until the batcher is closed."""
        try:
            while not self._closed:
                if self.step():
                    continue
                with self._changed:
                    now = self._clock()
                    following = self._waiting.next_time(now)
                    if not self._closed and not (self._closing and len(self._waiting)):
                        self._changed.wait(None if following is None else max(0.0, following - now))
        except BaseException as error:  # the thread ends here; the watchdog sees it and starts another
            self._observer.failure(error)

    def _watch(self) -> None:
        """Give up requests whose deadline passes while they are computed, and replace a worker that has died."""
        while True:
            with self._changed:
                if self._closed:
                    return
                now = self._clock()
                for entry in self._computing:
                    if entry.request.deadline <= now:
                        entry.request.finish(late(entry.request, now))
                self._waiting.sweep(now)
                if not self._worker.is_alive():
                    self._restart()
            time.sleep(_WATCH)

    def _restart(self) -> None:
        error = RequestError(503, "worker_died", "the prediction broke off; try again", retry_after=1.0)
        for entry in self._computing:
            entry.request.finish(error)
        self._computing, self._computed = [], 0
        self.restarts += 1
        self._worker = threading.Thread(target=self._work, name="bertie-worker", daemon=True)
        self._worker.start()

    def _seconds(self, tokens: int) -> float:
        """Estimate after how many seconds a quarter of the queue is free, from 1 to 60."""
        return min(60.0, max(1.0, tokens / 4 / self._speed)) if self._speed else 1.0


def refusal(error: Exception, entry: Entry | None = None) -> RequestError:
    """Return the error that a client gets for an exception of a prediction. Only errors of bertie show their message.

    Args:
        error: the exception.
        entry: the item; its number in its request replaces "text 1" of the message.
    """
    message = str(error)
    if entry is not None:
        message = re.sub(r"^text 1\b", f"text {entry.number + 1}", message)
    if isinstance(error, ResourceError | MemoryError) or "OutOfMemory" in type(error).__name__:
        return RequestError(503, "out_of_memory", "there is not enough memory for this item; shorten it")
    if isinstance(error, BertieError):
        return RequestError(422, "wrong_input", message)
    return RequestError(500, "prediction_failed", "the model can't compute this item; the server's log says why")
