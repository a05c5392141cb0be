"""The batcher on a clock that only the tests move: every request is answered once, with its own answers."""

from __future__ import annotations

import os
import threading
from collections.abc import Hashable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.errors import DataError
from bertie.serving.batcher import Batched, Batcher, Observer
from bertie.serving.limits import Limits, RequestError

SCHEDULES = int(os.environ.get("BERTIE_SCHEDULES", "300"))  # 50,000 need -o faulthandler_timeout=0
LIMITS = Limits(queue=100, batch=20, window=1.0, deadline=50.0)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Model:
    """Answers an item by itself and its settings, and notes what it was asked."""

    def __init__(self, clock: Clock, seconds: float = 0.0) -> None:
        self.clock, self.seconds, self.calls = clock, seconds, list[list[Any]]()

    def __call__(self, items: list[Any], group: Hashable) -> list[Any]:
        self.calls.append(list(items))
        self.clock.now += self.seconds
        for item in items:
            if str(item).startswith("poison"):
                raise DataError("text 1 is poison") if len(items) == 1 else ValueError("the batch fails")
            if str(item).startswith("bug"):
                raise ZeroDivisionError("secret")
        return [(item, group) for item in items]


def make(limits: Limits = LIMITS, seconds: float = 0.0) -> tuple[Batcher, Model, Clock]:
    clock = Clock()
    model = Model(clock, seconds)
    return Batcher(model, limits, clock=clock, threads=False), model, clock


def error_of(request: Any) -> RequestError:
    error = request.future.exception(timeout=0)
    assert isinstance(error, RequestError)
    return error


def answers_of(request: Any) -> Any:
    return request.future.result(timeout=0)


moves = st.one_of(
    st.tuples(st.just("submit"), st.lists(st.integers(1, 25), min_size=1, max_size=5), st.integers(0, 1)),
    st.tuples(st.just("step"), st.just(None), st.just(0)),
    st.tuples(st.just("wait"), st.sampled_from([0.3, 1.0, 30.0]), st.just(0)),
    st.tuples(st.just("cancel"), st.integers(0, 30), st.just(0)),
)


@pytest.mark.timeout(0 if SCHEDULES > 300 else 240)
@settings(max_examples=SCHEDULES)
@given(st.lists(moves, max_size=40), st.floats(0.0, 3.0), st.sets(st.integers(0, 60), max_size=4))
def test_every_request_is_answered_once_with_its_own_answers(
    schedule: list[Any], seconds: float, poisons: set[int]
) -> None:
    batcher, model, clock = make(seconds=seconds)
    requests: list[Any] = []
    number = 0
    for move, value, group in schedule:
        if move == "submit":
            items = [
                f"{'poison' if number + each in poisons else 'item'} {number + each}" for each in range(len(value))
            ]
            number += len(items)
            try:
                requests.append(batcher.submit(items, value, group))
            except RequestError as error:
                assert (error.status, sum(value) > LIMITS.queue) in ((429, False), (413, True))
        elif move == "step":
            batcher.step()
        elif move == "wait":
            clock.now += value
        elif requests:
            requests[value % len(requests)].future.cancel()
        assert 0 <= batcher.tokens <= LIMITS.queue
    clock.now += LIMITS.window
    while batcher.step():
        pass
    assert batcher.tokens == 0
    sizes = {item: size for request in requests for item, size in zip(request.items, request.sizes, strict=True)}
    for call in model.calls:
        assert sum(sizes[item] for item in call) <= LIMITS.batch or len(call) == 1
    for request in requests:
        if request.future.cancelled():
            continue
        error = request.future.exception(timeout=0)
        if error is None:
            assert answers_of(request) == [(item, request.group) for item in request.items]
        else:
            assert isinstance(error, RequestError)
            bad = [place for place, item in enumerate(request.items, 1) if item.startswith("poison")]
            assert error.status == 504 or (
                error.status == 422 and error.message in [f"text {n} is poison" for n in bad]
            )


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 2)), min_size=1, max_size=40))
def test_no_item_starves(sizes_and_groups: list[tuple[int, int]]) -> None:
    """Every batch holds the oldest item that waits, however well others fit."""
    batcher, model, _ = make(Limits(queue=10**6, batch=20, window=0.0))
    for number, (size, group) in enumerate(sizes_and_groups):
        batcher.submit([number], [size], group)
    left = set(range(len(sizes_and_groups)))
    while batcher.step():
        call = model.calls[-1]
        assert min(left) in call and set(call) <= left
        assert len({sizes_and_groups[number][1] for number in call}) == 1
        left -= set(call)
    assert not left


def test_items_of_similar_length_share_a_batch() -> None:
    batcher, model, _ = make(Limits(queue=1000, batch=20, window=0.0))
    for number, size in enumerate([4, 16, 4, 15, 4, 4]):
        batcher.submit([number], [size])
    batcher.step()
    assert model.calls[0] == [0, 2, 4, 5]


def test_a_batch_waits_for_the_window_unless_it_is_full() -> None:
    batcher, model, clock = make()
    batcher.submit(["a"], [5])
    clock.now = 0.9
    assert not batcher.step()
    batcher.submit(["b"], [15])
    assert batcher.step() and model.calls == [["a", "b"]]
    batcher.submit(["c"], [5])
    clock.now = 1.9
    assert batcher.step() and model.calls[1:] == [["c"]]


def test_a_poisonous_item_fails_alone() -> None:
    batcher, model, _ = make(Limits(queue=10**6, batch=1000, window=0.0))
    requests = [batcher.submit([f"item {n}" if n != 617 else "poison"], [1]) for n in range(1000)]
    assert batcher.step()
    failed = [request for request in requests if request.future.exception(timeout=0)]
    assert failed == [requests[617]]
    assert (error_of(failed[0]).status, error_of(failed[0]).kind) == (422, "wrong_input")
    assert len(model.calls) < 25


def test_the_message_names_the_item_of_its_own_request() -> None:
    batcher, _, _ = make(Limits(window=0.0))
    request = batcher.submit(["a", "b", "poison"], [1, 1, 1])
    batcher.step()
    assert error_of(request).message == "text 3 is poison"


def test_a_bug_shows_nothing_of_itself() -> None:
    seen: list[BaseException] = []
    clock = Clock()
    batcher = Batcher(
        Model(clock), Limits(window=0.0), clock=clock, threads=False, observer=Observer(failure=seen.append)
    )
    request, other = batcher.submit(["bug"], [1]), batcher.submit(["fine"], [1])
    batcher.step()
    assert (error_of(request).status, error_of(request).kind) == (500, "prediction_failed")
    assert "secret" not in error_of(request).message and isinstance(seen[0], ZeroDivisionError)
    assert answers_of(other) == [("fine", ())]


def test_a_request_that_never_fits_is_told_so_and_a_full_queue_asks_to_wait() -> None:
    batcher, _, clock = make()
    batcher.submit(["a"], [60])
    batcher.submit(["b"], [40])  # exactly full
    for size, status, kind in ((1, 429, "busy"), (100, 429, "busy"), (101, 413, "too_many_tokens")):
        with pytest.raises(RequestError) as caught:
            batcher.submit(["c"], [size])
        error = caught.value
        assert (error.status, error.kind, error.limit) == (status, kind, "queue")
        assert (error.retry_after is not None and error.retry_after >= 1.0) == (status == 429)
    clock.now = 2.0
    batcher.step()
    assert batcher.submit(["c"], [60])


def test_cancelled_and_late_requests_are_not_computed() -> None:
    batcher, model, clock = make()
    left, late, fine = (batcher.submit([word], [5]) for word in ("left", "late", "fine"))
    left.future.cancel()
    late.deadline = 2.0
    clock.now = 3.0
    assert batcher.step() and model.calls == [["fine"]]
    assert (error_of(late).status, error_of(late).limit) == (504, "deadline")
    assert answers_of(fine) == [("fine", ())]


def test_closing_answers_what_waits_and_refuses_the_rest() -> None:
    clock_free = Limits(queue=100, batch=20, window=60.0)
    batcher = Batcher(lambda items, group: list(items), clock_free)
    waiting = [batcher.submit([number], [5]) for number in range(9)]
    batcher.close(10.0)
    assert [answers_of(request) for request in waiting] == [[number] for number in range(9)]
    with pytest.raises(RequestError) as caught:
        batcher.submit(["late"], [1])
    assert (caught.value.status, caught.value.kind) == (503, "closing")


def test_closing_gives_up_a_model_that_hangs() -> None:
    free = threading.Event()
    batcher = Batcher(lambda items, group: [free.wait(20)], Limits(window=0.0))
    hanging, waiting = batcher.submit(["a"], [4000]), batcher.submit(["b"], [4000])
    batcher.close(0.3)
    assert (error_of(hanging).kind, error_of(waiting).kind) == ("closing", "closing")
    free.set()


def test_a_worker_that_dies_is_replaced_and_its_requests_are_told() -> None:
    deaths: list[BaseException] = []

    def predict(items: list[Any], group: Hashable) -> list[Any]:
        if "die" in items:
            raise SystemExit("killed")
        return items

    batcher = Batcher(predict, Limits(window=0.0), observer=Observer(failure=deaths.append))
    for restarts in range(1, 4):
        dying = batcher.submit(["die"], [1])
        with pytest.raises(RequestError) as caught:
            dying.future.result(10)
        assert (caught.value.status, caught.value.kind) == (503, "worker_died")
        assert batcher.submit(["fine"], [1]).future.result(10) == ["fine"]
        assert batcher.is_working and batcher.restarts == restarts == len(deaths)
    batcher.close()


def test_a_deadline_that_passes_during_the_prediction_is_told_at_once() -> None:
    free = threading.Event()
    batcher = Batcher(lambda items, group: [free.wait(20)], Limits(window=0.0, deadline=0.3))
    request = batcher.submit(["a"], [1])
    with pytest.raises(RequestError) as caught:
        request.future.result(10)
    assert caught.value.status == 504
    free.set()
    batcher.close()


def test_many_threads_get_their_own_answers() -> None:
    seen: list[Batched] = []
    batcher = Batcher(
        lambda items, group: [(item, group) for item in items],
        Limits(window=0.001),
        observer=Observer(batch=seen.append),
    )

    def ask(thread: int) -> None:
        for turn in range(50):
            group = turn % 3
            items = [f"{thread} {turn} {number}" for number in range(turn % 4 + 1)]
            found = batcher.submit(items, [3] * len(items), group).future.result(20)
            answered.append(found == [(item, group) for item in items])

    answered: list[bool] = []
    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batcher.close()
    assert answered == [True] * 400 and sum(batched.items for batched in seen) == 8 * sum(n % 4 + 1 for n in range(50))
