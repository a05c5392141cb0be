"""CRC-32C (Castagnoli), the checksum of TensorFlow's files, with numpy.

Long data is cut into lanes of equal length, and numpy advances the checksums of all lanes together, 8 bytes a step.
Checksums are linear: that of two parts is the first one's, advanced over as many zero bytes as the second part has,
xor the second one's. So the lanes are joined in pairs.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78
_LANES, _LANE_BYTES = 4096, 256
_CHUNK = _LANES * _LANE_BYTES
_ONES = 0xFFFFFFFF
_MASK_DELTA = 0xA282EAD8
Words = NDArray[np.uint32]


def crc32c(data: bytes | memoryview | NDArray[np.uint8]) -> int:
    """Return the checksum of bytes.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    array = np.frombuffer(data, np.uint8)
    head = len(array) % _CHUNK
    state = _short(array[:head], _ONES) if head < _LANES else _padded(array[:head])
    for start in range(head, len(array), _CHUNK):
        state = _advanced(state, _joining()[-1]) ^ _chunk(array[start : start + _CHUNK])
    return state ^ _ONES


def masked(checksum: int) -> int:
    """Return a checksum as TensorFlow stores it, so that data that holds its own checksum stays usable."""
    return (((checksum >> 15) | (checksum << 17)) + _MASK_DELTA) & _ONES


def _short(array: NDArray[np.uint8], state: int) -> int:
    """Advance a state over bytes, one by one."""
    table = _byte_table().tolist()
    for byte in array.tolist():
        state = (state >> 8) ^ table[(state ^ byte) & 0xFF]
    return state


def _padded(array: NDArray[np.uint8]) -> int:
    """Return the state after less than a chunk of bytes, at least 4: zeros before them don't change a state of 0."""
    chunk = np.zeros(_CHUNK, np.uint8)
    chunk[_CHUNK - len(array) :] = array
    chunk[_CHUNK - len(array) :][:4] ^= 0xFF  # the first state, all ones, is added to the first four bytes
    return _chunk(chunk)


def _chunk(array: NDArray[np.uint8]) -> int:
    """Return the state after a chunk of bytes, from the state 0."""
    first, second, third, fourth = _pair_tables()
    # (steps, 4 pairs of bytes, lanes), so that a step reads neighbours in memory.
    pairs = array.view("<u2").reshape(_LANES, _LANE_BYTES // 8, 4).transpose(1, 2, 0).astype(np.intp)
    states = np.zeros(_LANES, np.uint32)
    for step in pairs:
        states = (
            first[step[0] ^ (states & 0xFFFF)] ^ second[step[1] ^ (states >> 16)] ^ third[step[2]] ^ fourth[step[3]]
        )
    for tables in _joining()[:-1]:
        left = states[::2]
        parts = (tables[place][(left >> (8 * place)) & 0xFF] for place in range(4))
        states = np.bitwise_xor.reduce(list(parts)) ^ states[1::2]
    return int(states[0])


def _advanced(state: int, tables: Words) -> int:
    """Advance a state by one of `_joining`."""
    first, second, third, fourth = (int(tables[place, (state >> (8 * place)) & 0xFF]) for place in range(4))
    return first ^ second ^ third ^ fourth


@cache
def _byte_table() -> Words:
    """Return the state after each byte, from the state 0: (256,)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


def _over_zero(states: Words) -> Words:
    """Advance states over one zero byte."""
    advanced: Words = (states >> 8) ^ _byte_table()[states & 0xFF]
    return advanced


@cache
def _pair_tables() -> tuple[Words, Words, Words, Words]:
    """Return the states after two bytes and 6, 4, 2 or 0 zero bytes, from the state 0: (65536,) each."""
    table = np.arange(65536, dtype=np.uint32)
    for _ in range(2):
        table = _over_zero(table)
    tables = [table]
    for _ in range(3):
        tables.append(_over_zero(_over_zero(tables[-1])))
    first, second, third, fourth = reversed(tables)
    return first, second, third, fourth


@cache
def _joining() -> tuple[Words, ...]:
    """Return tables (4, 256) that advance a state over 1, 2, 4 ... lanes of zeros; the last over a whole chunk.

    Row i has the result for each value of the state's byte i. A state is advanced by the xor of four entries.
    """
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    for _ in range(_LANE_BYTES):
        bits = _over_zero(bits)
    every = []
    for _ in range(_LANES.bit_length()):
        tables = np.zeros((4, 256), np.uint32)
        for bit, image in enumerate(bits):
            row, place = divmod(bit, 8)
            tables[row, (np.arange(256) >> place) & 1 == 1] ^= image
        every.append(tables)
        bits = np.array([_advanced(int(image), tables) for image in bits], np.uint32)
    return tuple(every)
