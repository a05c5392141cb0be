"""Turn exceptions of compiled packages into bertie's errors, which name the file or text at fault.

A panic in Rust is a ``BaseException`` but no ``Exception``, so ``except Exception`` doesn't catch it. C++ code raises
``RuntimeError`` and similar, whose messages don't name the file. Ctrl-C, exits and a lack of memory pass unchanged.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bertie.errors import BertieError, DataError

_THROUGH = (KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, BertieError)
_LONGEST = 300


@contextmanager
def native(place: str | Callable[[BaseException], BertieError]) -> Iterator[None]:
    """Turn an exception of a compiled package into one of bertie's errors.

    Args:
        place: the start of the message, such as a file name; or a function that returns the whole error.

    Raises:
        DataError: the package raised an exception. With a function as `place`, the error that it returns.
    """
    try:
        yield
    except _THROUGH:
        raise
    except BaseException as error:  # a Rust panic is not an Exception
        raise DataError(f"{place}: {said(error)}") if isinstance(place, str) else place(error) from error


def failed(error: BaseException) -> bool:
    """Check whether work can continue after an exception; true for panics, false for Ctrl-C and a lack of memory."""
    return not isinstance(error, _THROUGH)


def said(error: BaseException) -> str:
    """Return the first line of an exception's message, or its type's name if there is no message."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return first[:_LONGEST] or type(error).__name__
