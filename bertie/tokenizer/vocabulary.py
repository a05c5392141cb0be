"""Read a vocab.txt as transformers does: one piece a line, with the line's number as its id.

White space at the end of a line is not part of the piece. A piece on several lines gets the id of the last one. The
ids of its other lines, and of empty lines, stay unused.
"""

from pathlib import Path

from bertie import progress
from bertie.errors import DataError
from bertie.untrusted import LARGE_BYTES, read_text

# White space as the Rust package defines it; Python's definition has four more control characters.
_WHITE = "\t\n\x0b\x0c\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


def read(file: Path) -> dict[str, int]:
    """Read pieces and their ids.

    Raises:
        DataError: the file is not UTF-8, or most lines have a second column.
    """
    # Only "\n" ends a line: the Chinese vocabulary has U+2028 as a piece, where splitlines would cut.
    lines = read_text(file, limit=LARGE_BYTES).split("\n")
    pieces = [line.rstrip(_WHITE) for line in lines]
    while pieces and not pieces[-1]:
        pieces.pop()
    if pieces and sum("\t" in piece for piece in pieces) * 2 > len(pieces):
        raise DataError(
            f"{file} has a second column on most lines (line 1: {pieces[0]!r}); a vocab.txt holds one piece a line; "
            f"to keep the first column, run cut -f1 {file.name}"
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
            f"{file} has {piece!r} twice, on lines {first} and {second}{others}; the last is used, as in transformers"
        )
    return vocabulary


def fits(tokens: list[str]) -> bool:
    """Tell whether a vocab.txt can hold these pieces, each on the line of its id."""
    return all(
        token and "\n" not in token and (token == token.rstrip(_WHITE) or not token.strip(_WHITE)) for token in tokens
    )
