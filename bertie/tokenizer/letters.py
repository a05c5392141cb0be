"""The characters that stand for bytes in byte-level vocabularies."""


def _byte_letters() -> dict[str, int]:
    """Return the byte that each character of a byte-level vocabulary stands for.

    A byte that is printable in Latin-1 is written as that character. The others are written, in order, as U+0100,
    U+0101 and so on, so that the space becomes U+0120 (Ġ).
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(0x100 + number): byte for number, byte in enumerate(others)}


BYTES = _byte_letters()
"""The byte that each character of a byte-level vocabulary stands for."""
