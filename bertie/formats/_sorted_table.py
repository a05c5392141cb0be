"""Read and write TensorFlow's sorted tables: a file of keys in order, each with a value. It is LevelDB's format.

A file has blocks of entries, an index block with the place of each, and a footer with the place of the index. An entry
stores how many bytes its key shares with the one before. A block may be compressed with snappy, and ends with a
checksum. Everything is checked: lengths, order, checksums.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from bertie.errors import DataError
from bertie.formats._crc32c import crc32c, masked

MAX_BYTES = 64 << 20
"""Limit for a file, and for a block after decompression."""
_MAX_ENTRIES = 1 << 20
_MAGIC = 0xDB4775248B80FB57
_FOOTER, _TRAILER = 48, 5
_PLAIN, _SNAPPY = 0, 1
_RESTART_EVERY = 16
_BLOCK_BYTES = 256 << 10  # of TensorFlow; larger blocks would be cut there


class _Place(NamedTuple):
    """Where a block is in the file."""

    offset: int
    size: int


def read(content: bytes, place: str) -> list[tuple[bytes, bytes]]:
    """Return the entries of a table, in order.

    Args:
        content: the whole file.
        place: the file, for messages.

    Raises:
        DataError: this is no such table, or it is damaged.
    """
    if len(content) < _FOOTER or struct.unpack_from("<Q", content, len(content) - 8)[0] != _MAGIC:
        raise DataError(f"{place}: this is not the index of a TensorFlow checkpoint, or it is cut off")
    footer = content[-_FOOTER:-8]
    start, size, position = _handle(footer, 0, place)
    _block(content, _Place(start, size), place)  # names filters, which nothing here reads
    offset, size, position = _handle(footer, position, place)
    if any(footer[position:]):
        raise DataError(f"{place}: damaged: the footer has bytes that it shouldn't have")
    entries: list[tuple[bytes, bytes]] = []
    end = 0
    for last, handle in _entries(_block(content, _Place(offset, size), place), place):
        start, size, _ = _handle(handle, 0, place)
        if start < end:
            raise DataError(f"{place}: damaged: two blocks overlap at byte {start:,}")
        end = start + size + _TRAILER
        entries += _entries(_block(content, _Place(start, size), place), place)
        if len(entries) > _MAX_ENTRIES or not entries or entries[-1][0] > last:
            raise DataError(f"{place}: damaged: the block at byte {start:,} doesn't fit the table's index")
    for (before, _), (after, _) in pairwise(entries):
        if before >= after:
            raise DataError(f"{place}: damaged: {_shown(after)} is out of order or there twice")
    return entries


def write(entries: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Return the file of a table, as TensorFlow writes it.

    Args:
        entries: at least one, sorted by key.

    Raises:
        DataError: there are too many for one block.
    """
    data = _packed(entries, _RESTART_EVERY)
    if len(data) > _BLOCK_BYTES:
        raise DataError(f"{len(entries):,} tensors are too many for a checkpoint of TensorFlow")
    blocks = [data, _packed([], 1)]
    last = entries[-1][0]
    successor = bytes([last[0] + 1]) if last else b""  # the shortest key after the last one, as TensorFlow chooses it
    blocks.append(_packed([(successor, varint(0) + varint(len(data)))], 1))
    content, places = b"", []
    for block in blocks:
        places.append(_Place(len(content), len(block)))
        sealed = block + bytes([_PLAIN])
        content += sealed + struct.pack("<I", masked(crc32c(sealed)))
    footer = b"".join(varint(number) for place in places[1:] for number in place)
    return content + footer.ljust(_FOOTER - 8, b"\0") + struct.pack("<Q", _MAGIC)


def varint(number: int) -> bytes:
    """Return a number in 7-bit groups, the lowest first."""
    groups = bytearray()
    while number > 127:
        groups.append(number & 127 | 128)
        number >>= 7
    return bytes([*groups, number])


def _packed(entries: Sequence[tuple[bytes, bytes]], every: int) -> bytes:
    """Return a block of entries; every so many of them, a key is written in full."""
    content, restarts, before = bytearray(), [0], b""
    for number, (key, value) in enumerate(entries):
        if number % every == 0:
            before = b""
            restarts[number // every :] = [len(content)]
        shared = next((place for place, (a, b) in enumerate(zip(before, key, strict=False)) if a != b), None)
        shared = min(len(before), len(key)) if shared is None else shared
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    return bytes(content) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def _handle(data: bytes, position: int, place: str) -> tuple[int, int, int]:
    offset, position = _number(data, position, place)
    size, position = _number(data, position, place)
    return offset, size, position


def _number(data: bytes, position: int, place: str) -> tuple[int, int]:
    """Return the number at a position of at most 5 groups, which a file within the limit never exceeds."""
    value = 0
    for shift in range(0, 35, 7):
        if position >= len(data):
            break
        byte = data[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise DataError(f"{place}: damaged: a number is cut off or too large")


def _block(content: bytes, where: _Place, place: str) -> bytes:
    """Return the content of a block, checked and decompressed."""
    end = where.offset + where.size
    if end + _TRAILER > len(content) - _FOOTER:
        raise DataError(f"{place}: cut off, or damaged: the block at byte {where.offset:,} ends beyond the file")
    form = content[end]
    if struct.unpack_from("<I", content, end + 1)[0] != masked(crc32c(content[where.offset : end + 1])):
        raise DataError(f"{place}: damaged: the checksum of the block at byte {where.offset:,} is wrong")
    if form == _PLAIN:
        return content[where.offset : end]
    if form != _SNAPPY:
        raise DataError(f"{place}: the block at byte {where.offset:,} is compressed in an unknown way ({form})")
    return unsnapped(content[where.offset : end], f"{place}: the block at byte {where.offset:,}")


def _entries(block: bytes, place: str) -> list[tuple[bytes, bytes]]:
    """Return the entries of a block."""
    count = struct.unpack_from("<I", block, len(block) - 4)[0] if len(block) >= 4 else 0
    end = len(block) - 4 * (count + 1)
    if not count or end < 0:
        raise DataError(f"{place}: damaged: a block has no list of restarts")
    entries, position, key = [], 0, b""
    while position < end:
        shared, position = _number(block, position, place)
        more, position = _number(block, position, place)
        length, position = _number(block, position, place)
        if shared > len(key) or position + more + length > end:
            raise DataError(f"{place}: damaged: an entry after {_shown(key)} ends beyond its block")
        key = key[:shared] + block[position : position + more]
        entries.append((key, block[position + more : position + more + length]))
        position += more + length
        if len(entries) > _MAX_ENTRIES:
            raise DataError(f"{place}: more than {_MAX_ENTRIES:,} entries")
    return entries


def unsnapped(data: bytes, place: str) -> bytes:
    """Decompress snappy's format.

    Raises:
        DataError: the data are damaged, or longer than the limit.
    """
    size, position = _number(data, 0, place)
    if size > MAX_BYTES:
        raise DataError(f"{place} has {size:,} bytes; at most {MAX_BYTES:,} are allowed")
    out = bytearray()
    while position < len(data) and len(out) <= size:
        tag = data[position]
        position += 1
        if tag & 3 == 0:  # bytes as they are
            length, extra = tag >> 2, max(0, (tag >> 2) - 59)
            if extra:
                length = int.from_bytes(data[position : position + extra], "little")
            position += extra + length + 1
            out += data[position - length - 1 : position]
            if position > len(data):
                break
            continue
        extra = (1, 2, 4)[(tag & 3) - 1]
        back = int.from_bytes(data[position : position + extra], "little")
        length = (tag >> 2) + 1
        if extra == 1:
            length, back = (tag >> 2 & 7) + 4, tag >> 5 << 8 | back
        position += extra
        if position > len(data) or not 0 < back <= len(out):
            raise DataError(f"{place} is damaged: a repetition reaches before its begin")
        for _ in range(length):
            out.append(out[-back])
    if position != len(data) or len(out) != size:
        raise DataError(f"{place} is damaged: it has another length than it says")
    return bytes(out)


def _shown(key: bytes) -> str:
    return repr(key[:80].decode("utf-8", "backslashreplace"))
