"""The requests that wait for a model, and the rule by which their items form batches. No threads, and no clock.

Every method takes the time as an argument. The rule: a batch begins with the oldest item. It is filled with items of
the same settings from those that wait behind it, the most similar lengths first, up to a number of tokens. So no item
waits for more batches than there are older items.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from bertie.serving.limits import RequestError

_AHEAD = 4  # a batch is chosen from the oldest items with so many batches of tokens


@dataclass(eq=False)
class Request:
    """The items of one client that are answered together."""

    items: Sequence[Any]
    sizes: Sequence[int]
    """Tokens of each item."""
    group: Hashable
    """The settings. Items of different settings are never in one batch."""
    arrived: float
    deadline: float
    future: Future[list[Any]] = field(default_factory=Future)
    """Its answers, or the error. A client that leaves cancels it."""
    answers: dict[int, Any] = field(default_factory=dict)
    """The answers so far, by the item's number."""
    started: float | None = None
    """When the first of its items was computed."""
    computing: float = 0.0
    """Seconds of the batches with its items."""

    def finish(self, error: BaseException | None = None) -> None:
        """Answer it, with its answers or with an error. A request that has been answered stays as it is."""
        with suppress(InvalidStateError):
            if error is not None:
                self.future.set_exception(error)
            else:
                self.future.set_result([self.answers[number] for number in range(len(self.items))])


@dataclass(frozen=True, eq=False)
class Entry:
    """One item of a request."""

    request: Request
    number: int
    """Number of the item in its request."""
    order: int
    """Number of the item among all items that the model was ever given."""

    @property
    def item(self) -> Any:
        """The item itself."""
        return self.request.items[self.number]

    @property
    def size(self) -> int:
        """Its tokens."""
        return self.request.sizes[self.number]

    @property
    def is_open(self) -> bool:
        """Whether its request still needs an answer."""
        return not self.request.future.done()


class Waiting:
    """The items that wait, in groups of equal settings.

    Args:
        batch: tokens of a batch. An item with more is a batch by itself.
        window: seconds that a batch waits for further items.
    """

    def __init__(self, *, batch: int, window: float) -> None:
        self.batch, self.window = batch, window
        self.tokens = 0
        """Tokens of all items that wait."""
        self._groups: dict[Hashable, deque[Entry]] = {}
        self._requests: list[Request] = []
        self._orders = itertools.count()

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def add(self, request: Request) -> None:
        """Add the items of a request."""
        line = self._groups.setdefault(request.group, deque())
        line.extend(Entry(request, number, next(self._orders)) for number in range(len(request.items)))
        self._requests.append(request)
        self.tokens += sum(request.sizes)

    def sweep(self, now: float) -> None:
        """Give up requests whose deadline has passed, and drop the items of all requests that need no answer."""
        for request in self._requests:
            if request.deadline <= now and not request.future.done():
                request.finish(late(request, now))
        if any(request.future.done() for request in self._requests):
            self._keep([entry for entry in self._entries() if entry.is_open])

    def fail_all(self, error: RequestError) -> None:
        """Answer all requests that wait with an error."""
        for request in self._requests:
            request.finish(error)
        self._keep([])

    def take(self, now: float, *, hurry: bool = False) -> list[Entry]:
        """Remove the items of the next batch and return them. Empty: no batch is due.

        Args:
            now: the time.
            hurry: whether the batch doesn't wait for further items.
        """
        self.sweep(now)
        line = self._oldest()
        if line is None or not (hurry or self._is_due(line, now)):
            return []
        first, ahead, seen = line.popleft(), list[Entry](), 0
        while line and seen < _AHEAD * self.batch:
            ahead.append(line.popleft())
            seen += ahead[-1].size
        chosen, room = [first], self.batch - first.size
        for entry in sorted(ahead, key=lambda one: (abs(one.size - first.size), one.order)):
            if entry.size <= room:
                chosen.append(entry)
                room -= entry.size
        taken = {entry.order for entry in chosen}
        line.extendleft(entry for entry in reversed(ahead) if entry.order not in taken)
        if not line:
            del self._groups[first.request.group]
        self.tokens -= sum(entry.size for entry in chosen)
        left = {id(entry.request) for entry in self._entries()}
        self._requests = [request for request in self._requests if id(request) in left]
        return sorted(chosen, key=lambda entry: entry.order)

    def next_time(self, now: float) -> float | None:
        """Return when a batch is due or a deadline passes. None: nothing waits."""
        line = self._oldest()
        if line is None:
            return None
        due = now if self._is_due(line, now) else line[0].request.arrived + self.window
        return min(due, *(request.deadline for request in self._requests))

    def _is_due(self, line: deque[Entry], now: float) -> bool:
        if now >= line[0].request.arrived + self.window:
            return True
        seen = 0
        for entry in line:
            seen += entry.size
            if seen >= self.batch:
                return True
        return False

    def _oldest(self) -> deque[Entry] | None:
        return min(self._groups.values(), key=lambda line: line[0].order, default=None)

    def _entries(self) -> Iterator[Entry]:
        return itertools.chain.from_iterable(self._groups.values())

    def _keep(self, entries: Sequence[Entry]) -> None:
        self._groups, self.tokens = {}, sum(entry.size for entry in entries)
        for entry in entries:
            self._groups.setdefault(entry.request.group, deque()).append(entry)
        left = {id(entry.request) for entry in entries}
        self._requests = [request for request in self._requests if id(request) in left]


def late(request: Request, now: float) -> RequestError:
    """Return the error for a request whose deadline has passed."""
    seconds = request.deadline - request.arrived
    return RequestError(
        504,
        "deadline_exceeded",
        f"no answer within {seconds:g} seconds, because the server is busy; try again later, or send fewer items",
        limit="deadline",
        value=round(now - request.arrived, 3),
        retry_after=1.0,
    )
