"""Find text files and read them as streams of lines in constant memory: decompress, check UTF-8, convert line ends.

The callers decide what the lines mean: documents, rows of a table.
"""

import codecs
import glob
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.files.compression import COMPRESSIONS, ByteStream, format_suffix

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BadUtf8 = Literal["stop", "replace"]
MAX_LINE_BYTES = 64 * 1024 * 1024
BAD_UTF8_HINT = "with --bad-utf8 replace, prepare-corpus and train-tokenizer replace such characters"
_CHUNK_BYTES = 256 * 1024
_LOOKED_AT = 400  # bytes used to detect UTF-16 without a byte order mark
_MARKS = {
    b"\x1f\x8b": "gzip (add .gz to its name)",
    b"\xfd7zXZ\0": "xz (add .xz to its name)",
    b"\x28\xb5\x2f\xfd": "Zstandard (add .zst to its name)",
    b"PK\x03\x04": "a zip archive or an Excel .xlsx file (unpack it, or save the sheet as CSV UTF-8)",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file (save the sheet as CSV UTF-8)",
}
_GENUINE_REPLACEMENT = "\ufffd".encode()


def shorten(text: str, width: int) -> str:
    """Truncate a text to at most `width` characters, for a message.

    >>> shorten("a long sentence", 8)
    'a long …'
    """
    return text if len(text) <= width else f"{text[: width - 1]}…"


def expand(paths: str | Path | Iterable[str | Path], *, suffixes: Sequence[str]) -> list[Path]:
    """Expand folders and glob patterns into a list of files.

    A folder expands to all files below it with a known suffix. Hidden files are skipped; files with other suffixes are
    skipped with a warning. A file given by name or matched by a pattern must have a known suffix.

    Args:
        paths: files, folders, and patterns such as ``corpus/**/*.txt``.
        suffixes: the file types that the caller reads; each may also be compressed.

    Returns:
        The files without duplicates, sorted by name.

    Raises:
        SettingsError: a path doesn't exist, a pattern matches no file, or a suffix is unknown.
    """
    files: dict[Path, Path] = {}
    for pattern in [paths] if isinstance(paths, str | Path) else paths:
        for path in _expand_one(Path(pattern), suffixes):
            files.setdefault(path.resolve(), path)
    return sorted(files.values(), key=lambda path: path.as_posix())


def _expand_one(path: Path, suffixes: Sequence[str]) -> list[Path]:
    if path.is_dir():
        return _files_below(path, suffixes)
    files = [path]
    if not path.exists():
        # Path.glob does not accept absolute patterns.
        names = glob.glob(str(path), recursive=True)  # noqa: PTH207
        files = [Path(name) for name in names if Path(name).is_file()]
        if not files:
            pattern = any(character in str(path) for character in "*?[")
            raise SettingsError(f"no file matches {path}" if pattern else f"{path}: no such file or folder")
    for file in files:
        if format_suffix(file) not in suffixes:
            raise SettingsError(f"{file}: unknown suffix; {_known(suffixes)}")
    return files


def _files_below(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    files: list[Path] = []
    others: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(parent) / name for name in names if not name.startswith(".")):
            (files if format_suffix(path) in suffixes else others).append(path)
    if not files:
        raise SettingsError(f"the folder {folder} holds no file that bertie can read; {_known(suffixes)}")
    if others:
        progress.warn(f"{len(others)} files in {folder} skipped because of their suffix, such as {min(others)}")
    return files


def _known(suffixes: Sequence[str]) -> str:
    return f"known suffixes are {', '.join(suffixes)}, each also followed by {', '.join(COMPRESSIONS)}"


def open_text(path: str | Path, *, bad_utf8: BadUtf8 = "stop") -> "TextStream":
    r"""Open a UTF-8 text file, compressed or not, as a stream of lines.

    A byte order mark is dropped. ``\r\n`` and a lone ``\r`` become ``\n``, and only these three end a line. NUL and all
    other characters are kept.

    Args:
        path: a file; .gz, .xz and .zst are decompressed.
        bad_utf8: what to do with bytes that are not UTF-8: ``stop`` with an error, or ``replace`` each invalid sequence
            by U+FFFD and count it in ``num_replaced``.

    Returns:
        A text file, which is also a context manager.

    Raises:
        SettingsError: there is no such file, or its decompressor isn't installed.
        DataError: while reading: bytes that are not UTF-8, damaged compressed data, or a line over 64 MiB.
    """
    return TextStream(ByteStream(path), bad_utf8=bad_utf8)


class TextStream(io.TextIOWrapper):
    """An open text file; made by ``open_text``."""

    def __init__(self, source: ByteStream, *, bad_utf8: BadUtf8 = "stop") -> None:
        self._source = source
        self._checked = _CheckedUtf8(source, bad_utf8=bad_utf8)
        super().__init__(io.BufferedReader(self._checked, _CHUNK_BYTES), encoding="utf-8", newline=None)

    @property
    def num_replaced(self) -> int:
        """Invalid sequences replaced by U+FFFD so far; a U+FFFD in the file itself doesn't count."""
        return self._checked.num_replaced

    @property
    def position(self) -> int:
        """Bytes of the file on disk, compressed or not, read so far."""
        return self._source.position


class _CheckedUtf8(io.RawIOBase):
    """A stream of valid UTF-8 without a byte order mark, whose lines have a maximum length."""

    def __init__(self, source: ByteStream, *, bad_utf8: BadUtf8) -> None:
        self.num_replaced = 0
        self._source = source
        self._strict = bad_utf8 == "stop"
        self._pending = b""  # the first bytes of an incomplete character at the end of a chunk
        self._ready = memoryview(b"")
        self._offset = 0  # of the first pending byte
        self._num_ends = 0  # line ends before that offset
        self._line_offset = 0
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        while not self._ready and not self._ended:
            self._ready = memoryview(self._next_chunk())
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._ready))
        view[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def close(self) -> None:
        self._source.close()
        super().close()

    def _next_chunk(self) -> bytes:
        chunk = self._source.read(_CHUNK_BYTES) or b""
        self._ended = not chunk
        data = self._pending + chunk
        if self._offset == 0 and len(data) < len(codecs.BOM_UTF8) and not self._ended:
            self._pending = data
            return b""
        if self._strict and self._offset == 0 and (file_type := _binary_type(data)):
            raise DataError(f"{self._source.path}: despite its name, this is {file_type}")
        if self._offset == 0 and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise DataError(
                f"{self._source.path}: this is UTF-16, not UTF-8; convert it with: iconv -f UTF-16 -t UTF-8"
            )
        if self._offset == 0 and (name := _wide(data[:_LOOKED_AT])):
            raise DataError(
                f"{self._source.path}: this looks like {name}, not UTF-8, because every second byte is 0; convert it "
                f"with: iconv -f {name} -t UTF-8"
            )
        checked, consumed = self._check(data)
        if self._offset == 0:
            checked = checked.removeprefix(codecs.BOM_UTF8)
        self._pending = data[consumed:]
        self._check_line_length(data)
        self._num_ends += data.count(b"\n", 0, consumed)
        self._offset += consumed
        return checked

    def _check(self, data: bytes) -> tuple[bytes, int]:
        """Return valid UTF-8 and the number of bytes of `data` that it was made from."""
        if data.isascii():
            return data, len(data)
        try:
            _, consumed = codecs.utf_8_decode(data, "strict", self._ended)
        except UnicodeDecodeError as error:
            if self._strict:
                line = self._num_ends + data[: error.start].count(b"\n") + 1
                raise DataError(
                    f"{self._source.path}:{line}: byte {data[error.start]:#04x} at offset "
                    f"{self._offset + error.start} is not UTF-8 ({error.reason}); convert the file to UTF-8, for "
                    f"example with iconv -f CP1252 -t UTF-8 for Western European text (GB18030 for Chinese, CP1251 "
                    f"for Cyrillic, CP1256 for Arabic, SHIFT_JIS for Japanese) ({BAD_UTF8_HINT})"
                ) from error
        else:
            return data[:consumed], consumed
        text, consumed = codecs.utf_8_decode(data, "replace", self._ended)
        # The first byte of an encoded U+FFFD never continues another character, so its three bytes always mean a U+FFFD
        # of the file itself.
        self.num_replaced += text.count("\ufffd") - data[:consumed].count(_GENUINE_REPLACEMENT)
        return text.encode("utf-8"), consumed

    def _check_line_length(self, data: bytes) -> None:
        last = max(data.rfind(b"\n"), data.rfind(b"\r"))
        if last >= 0:
            self._line_offset = self._offset + last + 1
        elif self._offset + len(data) - self._line_offset > MAX_LINE_BYTES:
            raise DataError(
                f"{self._source.path}: the line at byte offset {self._line_offset} is longer than "
                f"{MAX_LINE_BYTES // 2**20} MiB; break it into lines, or check that this is a text file"
            )


def _binary_type(data: bytes) -> str:
    """Return the name of a binary file type by its first bytes, and what to do with it; "" for other data."""
    return next((file_type for mark, file_type in _MARKS.items() if data.startswith(mark)), "")


def _wide(data: bytes) -> str:
    """Return the variant of UTF-16 that the bytes look like, judged by their zero bytes; "" for other data."""
    if len(data) < 8:
        return ""
    even, odd = data[::2].count(0) / len(data[::2]), data[1::2].count(0) / len(data[1::2])
    return "UTF-16LE" if odd > 0.8 and even == 0.0 else "UTF-16BE" if even > 0.8 and odd == 0.0 else ""
