"""Turn the errors of the Rust package, panics included, into errors that name the file or the text."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenizers import Tokenizer as RustTokenizer

from bertie.native import native
from bertie.tokenizer.patterns import check_patterns
from bertie.untrusted import LARGE_BYTES, read_text


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Turn any error of the Rust package, panics included, into a DataError that names `what`."""
    with native(what):
        yield


def from_file(file: Path) -> RustTokenizer:
    """Read a tokenizer.json.

    Raises:
        DataError: the file is not a tokenizer.
    """
    text = read_text(file, limit=LARGE_BYTES)
    check_patterns(text, str(file))
    with readable(str(file)):
        return RustTokenizer.from_str(text)
