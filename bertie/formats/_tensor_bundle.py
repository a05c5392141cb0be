"""Read and write TensorFlow's checkpoints: PREFIX.index, a sorted table of entries, and PREFIX.data-*, raw tensors.

An entry is a protobuf message: the tensor's type, shape, place in the data and checksum. Nothing of TensorFlow runs.
A helper of `google.py`. It knows no model.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bertie.errors import DataError
from bertie.formats import _sorted_table
from bertie.formats._crc32c import crc32c, masked
from bertie.formats._sorted_table import varint
from bertie.tokenizer.protobuf import FIXED32, LENGTH, VARINT, Field, expect, fields
from bertie.untrusted import check_regular, read_bytes

_TYPES = {1: torch.float32, 2: torch.float64, 3: torch.int32, 9: torch.int64, 14: torch.bfloat16, 19: torch.float16}
"""Types of tensors by TensorFlow's numbers."""
_NUMBERS = {kind: number for number, kind in _TYPES.items()}
_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.\-/]{0,511}")
_MAX_DIMENSIONS, _MAX_SIZE, _MAX_SHARDS = 8, 1 << 48, 1000
_HEADER = b"\x08\x01\x1a\x02\x08\x01"  # one shard, little-endian, version 1


@dataclass(frozen=True)
class Entry:
    """A tensor of a checkpoint."""

    kind: int
    """TensorFlow's number of its type."""
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    checksum: int
    sliced: bool
    """Whether it is stored in parts, under other keys."""


class Checkpoint:
    """The tensors of a checkpoint; each is read when it is asked for.

    Args:
        index: PREFIX.index.

    Raises:
        SettingsError: a file doesn't exist.
        DataError: the index is damaged, or doesn't fit the files of data.
    """

    def __init__(self, index: Path) -> None:
        self._index = index
        table = _sorted_table.read(read_bytes(index, limit=_sorted_table.MAX_BYTES), str(index))
        if not table or table[0][0] != b"":
            raise DataError(f"{index}: damaged: it has no header")
        shards = _shards(table[0][1], str(index))
        prefix = index.name.removesuffix(".index")
        self._files = [index.with_name(f"{prefix}.data-{number:05d}-of-{shards:05d}") for number in range(shards)]
        self.entries: dict[str, Entry] = {}
        for key, value in table[1:]:
            if key.startswith(b"\0"):
                continue  # a part of a tensor that `tensor` refuses
            name = _name(key, str(index))
            self.entries[name] = _entry(value, f"{index}: {name}")
        self._check_places()

    def _check_places(self) -> None:
        """Check that all tensors are within their files and apart from each other."""
        for number, file in enumerate(self._files):
            length = check_regular(file)
            inside = sorted((one.offset, one.size, name) for name, one in self.entries.items() if one.shard == number)
            end, before = 0, ""
            for offset, size, name in inside:
                if offset + size > length:
                    raise DataError(
                        f"{file} is cut off: it has {length:,} bytes, and {name} ends at byte {offset + size:,}; "
                        "download it again"
                    )
                if offset < end:
                    raise DataError(f"{self._index}: damaged: {name} overlaps {before} at byte {offset:,}")
                end, before = offset + size, name
        if strays := [name for name, one in self.entries.items() if one.shard >= len(self._files)]:
            raise DataError(f"{self._index}: damaged: {strays[0]} is in a file that doesn't exist")

    def tensor(self, name: str) -> Tensor:
        """Read a tensor and check it.

        Raises:
            DataError: it is stored in parts, of a type that bertie doesn't read, or damaged.
        """
        entry, place = self.entries[name], f"{self._index}: {name}"
        if entry.sliced:
            raise DataError(f"{place} is stored in parts, as partitioned variables are; save it as one variable")
        if entry.kind not in _TYPES:
            raise DataError(f"{place} is of TensorFlow's type {entry.kind}, which bertie doesn't read")
        kind = _TYPES[entry.kind]
        if entry.size != math.prod(entry.shape) * kind.itemsize:
            raise DataError(f"{place}: damaged: {entry.size:,} bytes don't fit the shape {entry.shape}")
        file = self._files[entry.shard]
        if not entry.size:
            return torch.empty(entry.shape, dtype=kind)
        data = np.fromfile(file, np.uint8, entry.size, offset=entry.offset)
        if len(data) != entry.size or masked(crc32c(data)) != entry.checksum:
            raise DataError(f"{file} is damaged: the checksum of {name} is wrong; download it again")
        return torch.from_numpy(data).view(kind).reshape(entry.shape)


def write(tensors: Mapping[str, Tensor], prefix: Path) -> None:
    """Write a checkpoint of one file of data, as TensorFlow's Saver does: tensors in the order of their names.

    Args:
        tensors: by name.
        prefix: start of the names of its files.

    Raises:
        DataError: a name or a type is none of TensorFlow's.
    """
    table, offset = [(b"", _HEADER)], 0
    with prefix.with_name(f"{prefix.name}.data-00000-of-00001").open("wb") as file:
        for name in sorted(tensors):
            tensor = tensors[name].detach().cpu().contiguous()
            _name(name.encode(), str(prefix))
            if tensor.dtype not in _NUMBERS:
                raise DataError(f"{prefix}: {name} is of the type {tensor.dtype}, which such checkpoints don't have")
            data = tensor.reshape(-1).view(torch.uint8).numpy() if tensor.numel() else np.empty(0, np.uint8)
            file.write(data.data)
            shape = b"".join(_bytes(2, _number(1, size)) for size in tensor.shape)
            places = _number(4, offset) + _number(5, len(data)) + b"\x35" + struct.pack("<I", masked(crc32c(data)))
            table.append((name.encode(), _number(1, _NUMBERS[tensor.dtype]) + _bytes(2, shape) + places))
            offset += len(data)
    prefix.with_name(f"{prefix.name}.index").write_bytes(_sorted_table.write(table))


def _number(number: int, value: int) -> bytes:
    """Return a field of a message with a number, which is left out if it is 0."""
    return varint(number << 3 | VARINT) + varint(value) if value else b""


def _bytes(number: int, value: bytes) -> bytes:
    return varint(number << 3 | LENGTH) + varint(len(value)) + value


def _name(key: bytes, place: str) -> str:
    """Return the name of a tensor.

    Raises:
        DataError: TensorFlow allows no such name.
    """
    name = key.decode("utf-8", "backslashreplace")
    if not _NAME.fullmatch(name) or ".." in name.split("/"):
        raise DataError(f"{place}: {name[:80]!r} is not the name of a tensor")
    return name


def _shards(header: bytes, place: str) -> int:
    """Return the number of files of data that the header names."""
    values = dict.fromkeys((1, 2), 0)
    for field in fields(header, f"{place}: the header"):
        if field.number in values:
            expect(field, VARINT, f"{place}: the header")
            values[field.number] = field.value
    if values[2]:
        raise DataError(f"{place} was written on a big-endian machine; bertie doesn't read such checkpoints")
    if not 1 <= values[1] <= _MAX_SHARDS:
        raise DataError(f"{place}: damaged: {values[1]:,} files of data")
    return values[1]


def _entry(value: bytes, place: str) -> Entry:
    """Return the entry of a message.

    Raises:
        DataError: it is damaged, or a number is beyond its limit.
    """
    numbers, checksum, sliced = {1: 0, 3: 0, 4: 0, 5: 0}, 0, False
    shape: tuple[int, ...] = ()
    for field in fields(value, place):
        if field.number in numbers:
            expect(field, VARINT, place)
            numbers[field.number] = field.value
        elif field.number == 2:
            expect(field, LENGTH, place)
            shape = tuple(_sizes(value, field, place))
        elif field.number == 6:
            expect(field, FIXED32, place)
            checksum = int.from_bytes(value[field.value : field.end], "little")
        elif field.number == 7:
            sliced = True
    if max(numbers.values()) > _MAX_SIZE or math.prod(shape) > _MAX_SIZE or len(shape) > _MAX_DIMENSIONS:
        raise DataError(f"{place}: damaged: a size is larger than any checkpoint")
    return Entry(numbers[1], shape, numbers[3], numbers[4], numbers[5], checksum, sliced)


def _sizes(value: bytes, field: Field, place: str) -> Iterator[int]:
    """Yield the sizes of a shape."""
    for part in fields(value, place, field.value, field.end):
        if part.number == 2:
            expect(part, LENGTH, place)
            sizes = [one.value for one in fields(value, place, part.value, part.end) if one.number == 1]
            yield sizes[-1] if sizes else 0
        elif part.number == 3:
            raise DataError(f"{place}: its shape is unknown")
