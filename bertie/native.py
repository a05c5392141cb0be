"""The seam to packages of compiled code: whatever comes out of them becomes an error of ours that names the place.

A panic in Rust arrives as an exception that is no ``Exception``, so ``except Exception`` lets it through; errors of
C++ arrive as ``RuntimeError`` and the like, which say nothing of the file. What the user's own hand or the machine
asks for (Ctrl-C, an exit, no memory) passes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bertie.errors import BertieError, DataError

_THROUGH = (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, BertieError)
_LONGEST = 300


@contextmanager
def native(place: str | Callable[[BaseException], BertieError]) -> Iterator[None]:
    """Turn what a package of compiled code raises into an error of ours.

    Args:
        place: what opens the message, such as a file's name; or what makes the whole error.

    Raises:
        DataError: something was raised.
    """
    try:
        yield
    except _THROUGH:
        raise
    except BaseException as error:  # a Rust panic is not an Exception
        raise DataError(f"{place}: {said(error)}") if isinstance(place, str) else place(error) from error


def failed(error: BaseException) -> bool:
    """Tell whether an exception is a failure that work can go on after, panics included."""
    return not isinstance(error, _THROUGH)


def said(error: BaseException) -> str:
    """Return the first line of what an exception says, or its kind."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return first[:_LONGEST] or type(error).__name__
