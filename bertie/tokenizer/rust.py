"""The one seam to the Rust package: what it raises, panics included, becomes an error that names the file or text."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenizers import Tokenizer as RustTokenizer

from bertie.errors import BertieError, DataError
from bertie.reading import LARGE_BYTES, read_text


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn whatever the Rust package raises, panics included, into a DataError that names `what`."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit, MemoryError, BertieError):
        raise
    except BaseException as error:  # a Rust panic is not an Exception
        raise DataError(f"{what}: {error}") from error


def from_file(file: Path) -> RustTokenizer:
    """Read a tokenizer.json.

    Raises:
        DataError: it is none.
    """
    with readable(str(file)):
        return RustTokenizer.from_str(read_text(file, limit=LARGE_BYTES))
