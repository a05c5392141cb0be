"""Read the wire format of Protocol Buffers: a message is a sequence of fields, each with a number, a form and a value.

This file knows no message. The caller says which form it expects for a number, and skips numbers that it doesn't know.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from bertie.errors import DataError

MAX_FIELDS = 2**21
"""Fields of one message."""
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""Forms of a value: a number of 1 to 10 bytes, 8 bytes, bytes after their length, 4 bytes."""
_FIXED = {FIXED64: 8, FIXED32: 4}
_VARINT_BITS = 70
_FORMS = {VARINT: "a number", FIXED64: "8 bytes", LENGTH: "bytes with a length", FIXED32: "4 bytes"}


class Field(NamedTuple):
    """One field of a message."""

    number: int
    form: int
    value: int
    """The number; for other forms, the offset of the first byte."""
    end: int
    """The offset after the last byte."""


def fields(data: bytes, place: str, begin: int = 0, end: int | None = None) -> Iterator[Field]:
    """Iterate over the fields of the message `data[begin:end]`.

    Args:
        data: the whole file, so that messages can name offsets in it.
        place: the start of every message, such as the file.
        begin: the offset of the message.
        end: the offset after it; None for the end of `data`.

    Raises:
        DataError: this is not a message, it is cut off, or it has too many fields.
    """
    position, end, count = begin, len(data) if end is None else end, 0
    while position < end:
        key, value = _varint(data, position, end, place) if data[position] > 127 else (data[position], position + 1)
        number, form = key >> 3, key & 7
        if form == VARINT:
            start, after = _varint(data, value, end, place)
        elif form == LENGTH:
            short = value < end and data[value] < 128  # the usual case, without a call
            length, start = (data[value], value + 1) if short else _varint(data, value, end, place)
            after = start + length
        elif form in _FIXED:
            start, after = value, value + _FIXED[form]
        else:
            raise DataError(f"{place}: no protobuf message at byte {position:,}: a field has the form {form}")
        if after > end:
            raise DataError(f"{place}: cut off, or damaged: a field at byte {position:,} ends beyond byte {end:,}")
        count += 1
        if not number or count > MAX_FIELDS:
            limit = f"a message has more than {MAX_FIELDS:,} fields" if number else "a field has the number 0"
            raise DataError(f"{place}: no protobuf message at byte {position:,}: {limit}")
        yield Field(number, form, start, after)
        position = after


def expect(field: Field, form: int, place: str) -> None:
    """Check the form of a field.

    Raises:
        DataError: it has another form.
    """
    if field.form != form:
        raise DataError(
            f"{place}: field {field.number} before byte {field.end:,} holds {_FORMS[field.form]}, not {_FORMS[form]}"
        )


def signed(field: Field) -> int:
    """Return a number that may be negative: those are stored as 64 bits in two's complement."""
    return field.value - 2**64 if field.value >= 2**63 else field.value


def text(data: bytes, field: Field, place: str) -> str:
    """Return the text of a field.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        return data[field.value : field.end].decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: the text at byte {field.value + error.start:,} is not UTF-8") from error


def float32(data: bytes, field: Field) -> float:
    """Return the number of a field of 4 bytes."""
    (value,) = struct.unpack_from("<f", data, field.value)
    return float(value)


def _varint(data: bytes, position: int, end: int, place: str) -> tuple[int, int]:
    """Return the number at an offset, and the offset after it.

    Raises:
        DataError: the message ends within the number, or the number has more than 10 bytes.
    """
    start, value = position, 0
    for shift in range(0, _VARINT_BITS, 7):
        if position >= end:
            raise DataError(f"{place}: cut off, or damaged: a number at byte {start:,} ends beyond byte {end:,}")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), position
    raise DataError(f"{place}: no protobuf message at byte {start:,}: a number has more than 10 bytes")
