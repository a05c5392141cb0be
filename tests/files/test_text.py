"""Text is read as UTF-8 lines from any compression, and hostile bytes are met with errors that name their place."""

import gzip
import io
import lzma
import tracemalloc
from functools import partial
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.errors import DataError, SettingsError
from bertie.files import text
from bertie.files.compression import ByteStream, format_suffix
from bertie.files.text import expand as expand_to
from bertie.files.text import open_text

COMPRESS = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


expand = partial(expand_to, suffixes=(".txt", ".jsonl", ".parquet"))


def write(folder: Path, data: bytes, suffix: str = "") -> Path:
    path = folder / f"a.txt{suffix}"
    path.write_bytes(COMPRESS[suffix](data))
    return path


def read(path: Path, **settings: str) -> tuple[str, int]:
    with open_text(path, **settings) as stream:  # type: ignore[arg-type]
        return "".join(stream), stream.num_replaced


@pytest.mark.parametrize("suffix", COMPRESS)
def test_compressions(tmp_path: Path, suffix: str) -> None:
    content = "".join(f"line {number} 第{number}行\n" for number in range(30_000))
    path = write(tmp_path, content.encode(), suffix)
    assert read(path) == (content, 0)
    with open_text(path) as stream:
        assert next(stream) == "line 0 第0行\n"
        assert 0 < stream.position <= path.stat().st_size
        for _ in stream:
            pass
        assert stream.position == path.stat().st_size


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
def test_several_streams_in_one_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(COMPRESS[suffix](b"one\n") + COMPRESS[suffix](b"two\n"))
    assert read(path) == ("one\ntwo\n", 0)


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
@pytest.mark.parametrize("damage", ["cut", "cut in the head", "changed", "not compressed"])
def test_broken_compression(tmp_path: Path, suffix: str, damage: str) -> None:
    content = "".join(f"line {number * 7919 % 10_007}\n" for number in range(20_000)).encode()
    data = bytearray(COMPRESS[suffix](content))
    if damage == "cut":
        del data[-100:]
    elif damage == "cut in the head":
        del data[5:]
    elif damage == "changed":
        data[10:40] = bytes(30)
    else:
        data = bytearray(b"just text\n")
    path = tmp_path / f"a.txt{suffix}"
    path.write_bytes(data)
    with pytest.raises(DataError, match=rf"a\.txt\{suffix}: broken {suffix[1:]} data"):
        read(path)


def test_missing_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no such file"):
        open_text(tmp_path / "a.txt")
    with pytest.raises(SettingsError, match="is a folder; a regular file"):
        open_text(tmp_path)


def test_line_ends_and_marks(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbfone\r\ntwo\rthree\n\r\nnul\x00 \x0b \x0c \x1c " + "\u2028\u0085\ufeff\n".encode()
    assert read(write(tmp_path, data)) == ("one\ntwo\nthree\n\nnul\x00 \x0b \x0c \x1c \u2028\u0085\ufeff\n", 0)
    with open_text(write(tmp_path, data)) as stream:
        assert len(list(stream)) == 5


@pytest.mark.parametrize("data", [b"", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n", b"a", b"\n"])
def test_tiny_files(tmp_path: Path, data: bytes) -> None:
    assert read(write(tmp_path, data)) == (data.decode("utf-8-sig"), 0)


def test_stops_at_the_exact_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "_CHUNK_BYTES", 1000)
    for offset in (0, 5, 998, 999, 1000, 1001, 54_321):
        data = bytearray("ä".encode() * 30_000)
        data[offset] = 0xFF
        first_bad = offset - (offset % 2)  # the first byte of the broken character
        with pytest.raises(
            DataError, match=rf"a\.txt\.gz:1: byte .* at offset {first_bad} is not UTF-8.*--bad-utf8 replace"
        ):
            read(write(tmp_path, bytes(data), ".gz"))


def test_replaces_and_counts(tmp_path: Path) -> None:
    data = b"\xff ok \xef\xbf\xbd \xe4\xb8 \xed\xa0\x80 \xc3"
    content, num_replaced = read(write(tmp_path, data), bad_utf8="replace")
    assert content == data.decode("utf-8", "replace")
    assert num_replaced == content.count("\ufffd") - 1


def test_utf_16_is_named(tmp_path: Path) -> None:
    for encoding in ("utf-16-le", "utf-16-be"):
        with pytest.raises(DataError, match=r"UTF-16.*iconv"):
            read(write(tmp_path, "\ufeffhello".encode(encoding)), bad_utf8="replace")


@settings(max_examples=200, deadline=None)
@given(
    pieces=st.lists(st.one_of(st.binary(max_size=6), st.text(max_size=6).map(lambda t: t.encode("utf-8", "replace")))),
    chunk=st.integers(1, 20),
)
def test_replace_equals_python(pieces: list[bytes], chunk: int) -> None:
    data = b"".join(pieces)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return

    class Source(io.BytesIO):
        path = Path("a.txt")

        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(chunk)

    checked = text._CheckedUtf8(Source(data), bad_utf8="replace")  # type: ignore[arg-type]
    result = checked.readall()
    expected = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    assert result is not None
    assert result.decode("utf-8") == expected
    genuine = data.removeprefix(b"\xef\xbb\xbf").count("\ufffd".encode())
    assert checked.num_replaced == expected.count("\ufffd") - genuine


def test_long_lines(tmp_path: Path) -> None:
    line = "wörter " * 150_000
    assert read(write(tmp_path, f"{line}\n{line}".encode(), ".zst")) == (f"{line}\n{line}", 0)


def test_endless_line_is_refused_in_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_LINE_BYTES", 2_000_000)
    path = write(tmp_path, b"first\n" + b"x" * 30_000_000, ".gz")
    tracemalloc.start()
    with pytest.raises(DataError, match="line at byte offset 6 is longer than 1 MiB"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < 12_000_000
    tracemalloc.stop()


def test_format_suffix() -> None:
    assert [format_suffix(name) for name in ("a.txt", "a.TXT.GZ", "b.c.jsonl.zst", "a", "a.xz", ".hidden")] == [
        *(".txt", ".txt", ".jsonl", "", "", "")
    ]


def test_expand_is_sorted_and_whole(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt.gz", "sub/c.jsonl", "sub/.hidden.txt", ".git/d.txt", "sub/deep/e.parquet.zst"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    everything = [tmp_path / name for name in ("a.txt.gz", "b.txt", "sub/c.jsonl", "sub/deep/e.parquet.zst")]
    assert expand([tmp_path]) == everything
    assert expand([tmp_path / "sub", tmp_path / "b.txt", str(tmp_path / "*.txt*")]) == everything
    assert expand(tmp_path / "**" / "*.jsonl") == [tmp_path / "sub" / "c.jsonl"]
    assert expand([tmp_path / "b.txt", tmp_path / "sub" / ".." / "b.txt"]) == [tmp_path / "b.txt"]


def test_expand_takes_names_that_look_like_patterns(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").touch()
    assert expand(tmp_path / "a[1].txt") == [tmp_path / "a[1].txt"]


def test_expand_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.pdf").touch()
    with pytest.raises(SettingsError, match=r"a\.pdf: .*\.txt, \.jsonl, \.parquet, each also followed by \.gz, \.xz"):
        expand(tmp_path / "a.pdf")
    with pytest.raises(SettingsError, match=r"the folder .* holds no file that bertie can read"):
        expand(tmp_path)
    with pytest.raises(SettingsError, match="no file matches"):
        expand(tmp_path / "*.txt")
    with pytest.raises(SettingsError, match="no such file or folder"):
        expand(tmp_path / "b.txt")
    (tmp_path / "a.txt").touch()
    assert expand(tmp_path) == [tmp_path / "a.txt"]
    assert "1 files in" in capsys.readouterr().err


def test_byte_stream_is_bounded(tmp_path: Path) -> None:
    """A small file that grows enormously is read bite by bite."""
    path = tmp_path / "a.txt.zst"
    compressor = zstandard.ZstdCompressor(level=3).compressobj()
    path.write_bytes(b"".join([*(compressor.compress(bytes(1 << 20)) for _ in range(200)), compressor.flush()]))
    assert path.stat().st_size < 50_000
    tracemalloc.start()
    total = 0
    with ByteStream(path) as stream:
        while data := stream.read(1 << 16):
            total += len(data)
    assert total == 200 << 20
    assert tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(("name", "told"), [("a.csv", r"this is gzip \(add .gz to its name\)"), ("a.txt", "gzip")])
def test_compressed_bytes_under_another_name_are_named(tmp_path: Path, name: str, told: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"text,label\n"))
    with pytest.raises(DataError, match=told), open_text(tmp_path / name) as stream:
        stream.read()
