"""SIGTERM and SIGINT set a flag, a second SIGINT raises, and everything is as before afterwards."""

import os
import signal
import threading

import pytest

from bertie.training.interrupt import interrupts

SIGNALS = (signal.SIGTERM, signal.SIGINT)
pytestmark = pytest.mark.usefixtures("usual_handlers")


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_sets_the_flag(number: signal.Signals) -> None:
    with interrupts() as stop:
        assert stop.requested is None
        send(number)
        assert stop.requested == number.name
        send(signal.SIGTERM)
        assert stop.requested == number.name
    assert [signal.getsignal(each) for each in SIGNALS] == [signal.default_int_handler] * 2


@pytest.mark.parametrize("first", SIGNALS)
def test_sigint_after_a_signal_raises(first: int) -> None:
    with pytest.raises(KeyboardInterrupt), interrupts():
        send(first)
        send(signal.SIGINT)
        pytest.fail("went on")
    assert [signal.getsignal(each) for each in SIGNALS] == [signal.default_int_handler] * 2


def test_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts() as stop:
        send(signal.SIGINT)
        assert stop.requested is None
        send(signal.SIGTERM)
        assert stop.requested == "SIGTERM"
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_nested_use_ends_in_the_outer_one() -> None:
    with interrupts() as outer:
        with interrupts() as inner:
            send(signal.SIGTERM)
        assert (outer.requested, inner.requested) == (None, "SIGTERM")
        send(signal.SIGINT)
        assert outer.requested == "SIGINT"


def test_other_threads_catch_nothing() -> None:
    seen: list[object] = []

    def work() -> None:
        with interrupts() as stop:
            seen.extend([signal.getsignal(signal.SIGTERM), stop.requested])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler, None]
