"""Read and write a file as a stream of bytes, compressed according to its suffix: .gz, .xz, .zst or none.

Damaged or truncated compressed data raises an error that names the file; it never ends the text silently. Archives of
several files (zip, tar) are not accepted.
"""

import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from bertie.errors import DataError, SettingsError, missing_extra
from bertie.untrusted import check_regular

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

COMPRESSIONS = (".gz", ".xz", ".zst")
# zstandard does not limit the output of one decompression call: up to 32 MiB for an input of this size.
_ZSTD_INPUT_BYTES = 1024


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


class ByteStream(io.RawIOBase):
    """The decompressed bytes of one file, from beginning to end."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        """The file on disk."""
        check_regular(path)  # reading a pipe without a writer would hang
        try:
            self._file = self.path.open("rb")
        except FileNotFoundError as error:
            raise SettingsError(f"{path}: no such file") from error
        except (IsADirectoryError, PermissionError) as error:
            raise SettingsError(f"can't read {path}: {error.strerror}") from error
        self._compression = self.path.suffix.lower() if self.path.suffix.lower() in COMPRESSIONS else ""
        self._reader, self._broken = _decompressor(self._file, self._compression)

    @property
    def position(self) -> int:
        """Bytes of the file on disk, compressed or not, read so far."""
        return self._file.tell()

    def readable(self) -> bool:
        """Return True: the stream can be read."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Fill a buffer from the stream.

        Raises:
            DataError: the compressed data is damaged or truncated.
        """
        view = memoryview(buffer).cast("B")
        try:
            data = self._reader.read(len(view))
        except self._broken as error:
            compression = self._compression.removeprefix(".") or "file"
            raise DataError(
                f"{self.path}: broken {compression} data near byte {self.position} of the file ({error}); "
                "the file is damaged or was not copied completely"
            ) from error
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file."""
        # The garbage collector also closes an object whose constructor failed before it set `_file`.
        if hasattr(self, "_file"):
            self._file.close()
        super().close()


def format_suffix(path: str | Path) -> str:
    """Return the suffix of a file's format, in lower case and without the compression.

    >>> format_suffix("a.TXT.gz")
    '.txt'
    """
    path = Path(path)
    if path.suffix.lower() in COMPRESSIONS:
        path = path.with_suffix("")
    return path.suffix.lower()


@contextmanager
def written(path: Path, compression: str) -> Iterator[IO[bytes]]:
    """Open a new file to write; the same content gives the same bytes.

    Args:
        path: the file.
        compression: one of `COMPRESSIONS`, or "" for none.

    Yields:
        A stream to write uncompressed bytes to.

    Raises:
        SettingsError: the package zstandard isn't installed.
    """
    with path.open("wb") as file:
        if compression == ".gz":
            stream: Any = gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0)
        elif compression == ".xz":
            stream = lzma.LZMAFile(file, "wb")  # noqa: SIM115 (closed below)
        elif compression == ".zst":
            stream = _zstandard("to write .zst files").ZstdCompressor().stream_writer(file, closefd=False)
        else:
            yield file
            return
        with stream:
            yield stream


def _decompressor(file: io.BufferedReader, compression: str) -> tuple[_Reader, tuple[type[Exception], ...]]:
    """Return the reader for a compression, and the errors that it raises for damaged data."""
    if compression == ".gz":
        return gzip.GzipFile(fileobj=file), (EOFError, zlib.error, gzip.BadGzipFile)
    if compression == ".xz":
        return lzma.LZMAFile(file), (EOFError, lzma.LZMAError)
    if compression == ".zst":
        zstandard = _zstandard("to read .zst files")
        return _ZstdReader(file, zstandard.ZstdDecompressor()), (EOFError, zstandard.ZstdError)
    return file, ()


def _zstandard(purpose: str) -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise missing_extra("zstandard", "data", purpose) from error
    return zstandard


class _ZstdReader:
    """Read all Zstandard frames of a file, and detect a truncated end, unlike zstandard's own stream reader."""

    def __init__(self, file: io.BufferedReader, decompressor: Any) -> None:
        self._file = file
        self._decompressor = decompressor
        self._frame: Any = None
        self._input = b""
        self._ready = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; b"" at the end of the file."""
        while not self._ready:
            data = self._input or self._file.read(_ZSTD_INPUT_BYTES)
            self._input = b""
            if not data:
                if self._frame is not None:
                    raise EOFError("the last frame is cut off")
                return b""
            frame = self._frame or self._decompressor.decompressobj()
            self._ready = memoryview(frame.decompress(data))
            self._input = frame.unused_data if frame.eof else b""
            self._frame = None if frame.eof else frame
        piece = bytes(self._ready[:size])
        self._ready = self._ready[size:]
        return piece
