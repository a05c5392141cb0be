"""Drawing ahead: same order, errors in their place, a thread that ends."""

import threading
from collections.abc import Iterator

import pytest

from bertie.sampling.loader import prefetch


def alive() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "bertie-prefetch"]


def test_order() -> None:
    assert list(prefetch(iter(range(100)), depth=3)) == list(range(100))
    assert not alive()


def test_an_error_comes_after_what_was_drawn_before_it() -> None:
    def source() -> Iterator[int]:
        yield 1
        yield 2
        raise ValueError("broken")

    drawn = prefetch(source())
    assert [next(drawn), next(drawn)] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(drawn)
    assert not alive()


def test_closing_stops_an_endless_source() -> None:
    def endless() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    drawn = prefetch(endless(), depth=2)
    assert next(drawn) == 0
    drawn.close()
    assert not alive()


def test_closing_closes_the_source() -> None:
    closed = []

    def source() -> Iterator[int]:
        try:
            yield from range(100)
        finally:
            closed.append(threading.current_thread().name)

    kept = source()  # a reference of our own, so that nothing but closing ends it
    drawn = prefetch(kept)
    assert next(drawn) == 0
    drawn.close()
    assert closed == ["bertie-prefetch"]
