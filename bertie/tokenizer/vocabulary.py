"""Read a vocab.txt as transformers does: one piece a line, the line's number its id.

White space at the end of a line is no part of the piece, and of a piece that is there twice the last line counts; the
ids of the other lines, and of empty ones, stand for nothing.
"""

from pathlib import Path

from bertie import progress
from bertie.errors import DataError
from bertie.untrusted import LARGE_BYTES, read_text

# What the Rust package takes for white space; Python's own list has four control characters more.
_WHITE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


def read(file: Path) -> dict[str, int]:
    """Read pieces and their ids.

    Raises:
        DataError: it is not UTF-8, or each piece has something else on its line.
    """
    # Only "\n" ends a line here: the Chinese vocabulary holds U+2028 as a piece, which splitlines would cut at.
    lines = read_text(file, limit=LARGE_BYTES).split("\n")
    pieces = [line.rstrip(_WHITE) for line in lines]
    while pieces and not pieces[-1]:
        pieces.pop()
    if pieces and sum("\t" in piece for piece in pieces) * 2 > len(pieces):
        raise DataError(
            f"{file} has a second column on most lines (line 1: {pieces[0]!r}); a vocab.txt holds one piece a line, "
            f"which cut -f1 {file.name} writes"
        )
    vocabulary: dict[str, int] = {}
    double: list[tuple[str, int, int]] = []
    for number, piece in enumerate(pieces):
        if piece and piece in vocabulary:
            double.append((piece, vocabulary[piece] + 1, number + 1))
        vocabulary[piece] = number
    if double:
        piece, first, second = double[0]
        others = f", and {len(double) - 1:,} others" if len(double) > 1 else ""
        progress.warn(
            f"{file} has {piece!r} twice, on lines {first} and {second}{others}; the last counts, as in transformers"
        )
    return vocabulary


def fits(tokens: list[str]) -> bool:
    """Tell whether a vocab.txt can hold these pieces, each at the place of its id."""
    return all(
        token and "\n" not in token and (token == token.rstrip(_WHITE) or not token.strip(_WHITE)) for token in tokens
    )
