"""The letters by which byte-level vocabularies spell bytes."""


def _byte_letters() -> dict[str, int]:
    """Return the byte that each letter of a byte-level vocabulary stands for.

    Bytes that are printable in Latin-1 stand for themselves; the others, in their order, for U+0100 and onwards.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + place): byte for place, byte in enumerate(others)}


BYTES = _byte_letters()
"""The byte that each letter of a byte-level vocabulary stands for."""
