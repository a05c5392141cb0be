"""Whatever compiled packages raise becomes an error of ours, and what the user or the machine asks for passes."""

import pytest

from bertie.errors import DataError, Interrupted, ResourceError
from bertie.native import failed, native, said


class PanicException(BaseException):
    """Like a panic of Rust, which is no Exception."""


@pytest.mark.parametrize(
    "error", [PanicException("byte 3"), RuntimeError("a\nb"), OSError(), ValueError(""), KeyError(1)]
)
def test_becomes_ours(error: BaseException) -> None:
    with pytest.raises(DataError, match=r"^a\.bin: ") as caught, native("a.bin"):
        raise error
    assert caught.value.__cause__ is error and "\n" not in str(caught.value) and failed(error)
    with pytest.raises(ResourceError, match="made"), native(lambda _: ResourceError("made")):
        raise error


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, MemoryError, GeneratorExit, Interrupted, DataError])
def test_passes(kind: type[BaseException]) -> None:
    with pytest.raises(kind), native("a.bin"):
        raise kind
    assert not failed(kind())


def test_said_is_one_short_line() -> None:
    assert said(ValueError("\n\n  first\nsecond")) == "first"
    assert said(ValueError("x" * 10_000)) == "x" * 300
    assert said(PanicException()) == "PanicException"
