"""Find text files and read them as streams of lines, in constant memory: encoding, line ends and compression.

What the lines mean (documents, tables) is the business of those who read them.
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
SUFFIXES = (".txt", ".jsonl", ".csv", ".tsv", ".parquet")
MAX_LINE_BYTES = 64 * 1024 * 1024
BAD_UTF8_HINT = "prepare-corpus and train-tokenizer replace such characters with --bad-utf8 replace"
_CHUNK_BYTES = 256 * 1024
_LOOKED_AT = 400  # bytes that tell UTF-16 without a mark
_MARKS = {
    b"\x1f\x8b": "gzip (put .gz behind its name)",
    b"\xfd7zXZ\0": "xz (put .xz behind its name)",
    b"\x28\xb5\x2f\xfd": "Zstandard (put .zst behind its name)",
    b"PK\x03\x04": "a zip archive, as Excel's .xlsx is too (unpack it, or save the sheet as CSV UTF-8)",
    b"\xd0\xcf\x11\xe0": "an old Excel or Word file (save the sheet as CSV UTF-8)",
}
_GENUINE_REPLACEMENT = "\ufffd".encode()


def shorten(text: str, width: int) -> str:
    """Cut a text for a message."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def expand(paths: str | Path | Iterable[str | Path], *, suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """List the files that paths, folders and glob patterns stand for.

    A folder stands for every file below it with a known suffix; hidden files are left out, and files with other
    suffixes are left out with a warning. A file named outright, or matched by a pattern, must have a known suffix.

    Args:
        paths: files, folders, and patterns such as ``corpus/**/*.txt``.
        suffixes: the kinds of file the caller reads; each may also be compressed.

    Returns:
        The files, each once, sorted by name, whatever the order they were given in.

    Raises:
        SettingsError: a path doesn't exist, a pattern matches nothing, or a suffix is unknown.
    """
    found: dict[Path, Path] = {}
    for given in [paths] if isinstance(paths, str | Path) else paths:
        for path in _expand_one(Path(given), suffixes):
            found.setdefault(path.resolve(), path)
    return sorted(found.values(), key=lambda path: path.as_posix())


def _expand_one(path: Path, suffixes: Sequence[str]) -> list[Path]:
    if path.is_dir():
        return _files_below(path, suffixes)
    files = [path]
    if not path.exists():
        # Path.glob takes no absolute patterns.
        names = glob.glob(str(path), recursive=True)  # noqa: PTH207
        files = [Path(name) for name in names if Path(name).is_file()]
        if not files:
            pattern = any(character in str(path) for character in "*?[")
            raise SettingsError(f"no file matches {path}" if pattern else f"{path}: no such file or folder")
    for file in files:
        if format_suffix(file) not in suffixes:
            raise SettingsError(f"{file}: can't tell what is in a file with this suffix; {_known(suffixes)}")
    return files


def _files_below(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    files: list[Path] = []
    others: list[Path] = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in (Path(parent) / name for name in names if not name.startswith(".")):
            (files if format_suffix(path) in suffixes else others).append(path)
    if not files:
        raise SettingsError(f"no file in the folder {folder} can be read; {_known(suffixes)}")
    if others:
        progress.warn(f"{len(others)} files in {folder} left out for their suffix, such as {min(others)}")
    return files


def _known(suffixes: Sequence[str]) -> str:
    return f"known are {', '.join(suffixes)}, each also with {', '.join(COMPRESSIONS)} behind it"


def open_text(path: str | Path, *, bad_utf8: BadUtf8 = "stop") -> "TextStream":
    r"""Open a UTF-8 text file, compressed or not, as a stream of lines.

    A byte order mark is dropped. ``\r\n`` and a lone ``\r`` become ``\n``, and only these end a line. NUL and every
    other character pass through.

    Args:
        path: a file; .gz, .xz and .zst are decompressed.
        bad_utf8: what to do with bytes that are not UTF-8: ``stop`` with an error, or ``replace`` each broken sequence
            by U+FFFD and count it in ``num_replaced``.

    Returns:
        A text file to iterate over, ``read`` or close, and a context manager.

    Raises:
        SettingsError: there is no such file, or its decompressor isn't installed.
        DataError: while reading: bytes that are not UTF-8, broken compressed data, or a line over 64 MiB.
    """
    return TextStream(ByteStream(path), bad_utf8=bad_utf8)


class TextStream(io.TextIOWrapper):
    """A text file that is being read; see ``open_text``."""

    def __init__(self, source: ByteStream, *, bad_utf8: BadUtf8 = "stop") -> None:
        self._source = source
        self._checked = _CheckedUtf8(source, bad_utf8=bad_utf8)
        super().__init__(io.BufferedReader(self._checked, _CHUNK_BYTES), encoding="utf-8", newline=None)

    @property
    def num_replaced(self) -> int:
        """Broken sequences replaced by U+FFFD so far; a U+FFFD that stands in the file itself doesn't count."""
        return self._checked.num_replaced

    @property
    def position(self) -> int:
        """Bytes of the file, as it lies on disk, read so far."""
        return self._source.position


class _CheckedUtf8(io.RawIOBase):
    """Passes bytes on that are certainly UTF-8, without the byte order mark and with lines of bounded length."""

    def __init__(self, source: ByteStream, *, bad_utf8: BadUtf8) -> None:
        self.num_replaced = 0
        self._source = source
        self._strict = bad_utf8 == "stop"
        self._pending = b""  # the first bytes of a character whose rest is not read yet
        self._ready = memoryview(b"")
        self._offset = 0  # of the first pending byte
        self._num_ends = 0  # ends of line before it
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
        if self._strict and self._offset == 0 and (kind := _no_text(data)):
            raise DataError(f"{self._source.path}: this is {kind}, whatever its name says")
        if self._offset == 0 and data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise DataError(
                f"{self._source.path}: this is UTF-16, not UTF-8; convert it with: iconv -f UTF-16 -t UTF-8"
            )
        if self._offset == 0 and (name := _wide(data[:_LOOKED_AT])):
            raise DataError(
                f"{self._source.path}: every second byte is 0, as in {name} without a mark, and not UTF-8; convert it "
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
        """Return valid bytes and how many of the given ones they stand for."""
        if data.isascii():
            return data, len(data)
        try:
            _, consumed = codecs.utf_8_decode(data, "strict", self._ended)
        except UnicodeDecodeError as error:
            if self._strict:
                line = self._num_ends + data[: error.start].count(b"\n") + 1
                raise DataError(
                    f"{self._source.path}:{line}: byte {data[error.start]:#04x} at offset "
                    f"{self._offset + error.start} is not UTF-8 ({error.reason}); convert the file from what it "
                    f"was written in, by iconv -f CP1252 -t UTF-8 for Western European (GB18030 for Chinese, CP1251 "
                    f"for Cyrillic, CP1256 for Arabic, SHIFT_JIS for Japanese) ({BAD_UTF8_HINT})"
                ) from error
        else:
            return data[:consumed], consumed
        text, consumed = codecs.utf_8_decode(data, "replace", self._ended)
        # A genuine U+FFFD begins with a byte that never continues another character, so that its three bytes mean
        # U+FFFD wherever they stand.
        self.num_replaced += text.count("\ufffd") - data[:consumed].count(_GENUINE_REPLACEMENT)
        return text.encode("utf-8"), consumed

    def _check_line_length(self, data: bytes) -> None:
        last = max(data.rfind(b"\n"), data.rfind(b"\r"))
        if last >= 0:
            self._line_offset = self._offset + last + 1
        elif self._offset + len(data) - self._line_offset > MAX_LINE_BYTES:
            raise DataError(
                f"{self._source.path}: the line at byte offset {self._line_offset} is longer than "
                f"{MAX_LINE_BYTES // 2**20} MiB; break it into lines (or is this no text file?)"
            )


def _no_text(data: bytes) -> str:
    """Name what is no text by its first bytes, and what to do with it; empty for anything else."""
    return next((kind for mark, kind in _MARKS.items() if data.startswith(mark)), "")


def _wide(data: bytes) -> str:
    """Name the UTF-16 that bytes of plain letters look like; empty for anything else."""
    if len(data) < 8:
        return ""
    even, odd = data[::2].count(0) / len(data[::2]), data[1::2].count(0) / len(data[1::2])
    return "UTF-16LE" if odd > 0.8 and even == 0.0 else "UTF-16BE" if even > 0.8 and odd == 0.0 else ""
