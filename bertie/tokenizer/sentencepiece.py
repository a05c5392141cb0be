"""Read a model file of sentencepiece: pieces with scores, and how a text is prepared before it is cut into them.

The file is a protobuf message, `ModelProto` of sentencepiece_model.proto. Only the fields that decide ids are read.
Numbers of fields and default values are those of that file. What transformers makes of the pieces is in `unigram.py`.
"""

from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

import numpy as np

from bertie.errors import DataError
from bertie.tokenizer import protobuf
from bertie.tokenizer.protobuf import FIXED32, LENGTH, VARINT, Field, expect
from bertie.untrusted import read_bytes

NAMES = ("spiece.model", "spm.model", "sentencepiece.bpe.model")
"""Usual names of the file: of ALBERT, DeBERTa v2 and v3, XLM-RoBERTa."""
MAX_BYTES = 64 * 2**20
MAX_PIECES = 2**20
MAX_PIECE_BYTES = 2**12
"""Bytes of one piece, and of one replacement in the character map."""
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
"""Types of pieces."""
_ALGORITHMS = {1: "unigram", 2: "BPE", 3: "word", 4: "character"}
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_PIECE, _SCORE, _TYPE = 1, 2, 3
_CHARSMAP = 2
# The numbers of the message of training and of that of normalization: field, name and default.
_TRAINER_NUMBERS = {
    3: ("model_type", 1),
    24: ("treat_whitespace_as_suffix", 0),
    35: ("byte_fallback", 0),
    40: ("unk_id", 0),
}
_NORMALIZER_NUMBERS = {
    3: ("add_dummy_prefix", 1),
    4: ("remove_extra_whitespaces", 1),
    5: ("escape_whitespaces", 1),
}
_REPLACED, _FIRST, _LAST = ("<unk>", "<s>", "</s>"), ("<s>", "<pad>", "</s>", "<unk>"), "<mask>"
_BLOCK = 256  # of units in a trie: whatever the next byte of a text is, it leads to a unit of the same block
_VALUE, _HAS_VALUE, _FAR = np.uint32(1 << 31), np.uint32(1 << 8), np.uint32(1 << 9)


@dataclass
class Model:
    """The content of the file that decides how a text is cut."""

    pieces: list[tuple[str, float]] = field(default_factory=list)
    """Pieces and their scores; the index is the id."""
    types: list[int] = field(default_factory=list)
    """The type of each piece."""
    unknown: int = -1
    """The id of the piece for unknown text."""
    charsmap: bytes = b""
    """The compiled map of characters, such as that of NFKC; empty if characters stay as they are."""
    numbers: dict[str, int] = field(
        default_factory=lambda: dict([*_TRAINER_NUMBERS.values(), *_NORMALIZER_NUMBERS.values()])
    )
    """Numbers of the messages of training and of normalization."""


def read(file: Path) -> Model:
    """Read a model file whose pieces are chosen by the unigram method.

    Raises:
        SettingsError: there is no such file.
        DataError: the file is damaged, is not of sentencepiece, exceeds a limit, or uses another method.
    """
    data, place = read_bytes(file, limit=MAX_BYTES), str(file)
    if data.startswith(b"version https://git-lfs"):
        raise DataError(f"{file} is a Git LFS pointer, not the file itself; fetch it: git lfs pull")
    model = Model()
    try:
        for entry in protobuf.fields(data, place):
            if entry.number in (_PIECES, _TRAINER, _NORMALIZER):
                expect(entry, LENGTH, place)
                _READERS[entry.number](model, data, entry, place)
        _check(model, place)
    except DataError as error:
        raise DataError(f"{error}. If this should be a sentencepiece model, download it again") from error
    method = model.numbers["model_type"]
    if method != 1:
        raise DataError(
            f"{file} is a sentencepiece model of the type {_ALGORITHMS.get(method, method)}; bertie reads unigram"
        )
    for name, usual in (("escape_whitespaces", 1), ("treat_whitespace_as_suffix", 0)):
        if bool(model.numbers[name]) != usual:
            raise DataError(f"{file} has {name} {bool(model.numbers[name])}, which bertie doesn't support")
    return model


def fairseq(model: Model, place: str) -> list[tuple[str, float]]:
    """Return the pieces in the order of fairseq's ids, which XLM-RoBERTa has: four special tokens first, one last.

    Raises:
        DataError: the file doesn't begin with the three pieces that these tokens replace, or has one of them elsewhere.
    """
    first, rest = [name for name, _ in model.pieces[:3]], model.pieces[3:]
    if sorted(first) != sorted(_REPLACED) or first[model.unknown : model.unknown + 1] != ["<unk>"]:
        raise DataError(
            f"{place} begins with the pieces {', '.join(first)}; that of an XLM-RoBERTa begins with "
            f"{', '.join(_REPLACED)}. Check the tokenizer_class"
        )
    for name, _ in rest:
        if name in _FIRST or name == _LAST:
            raise DataError(
                f"{place} has the piece {name}, which an XLM-RoBERTa adds by itself. Check the tokenizer_class"
            )
    return [*((name, 0.0) for name in _FIRST), *rest, (_LAST, 0.0)]


def _add_piece(model: Model, data: bytes, message: Field, place: str) -> None:
    name, score, kind = "", 0.0, NORMAL
    for entry in protobuf.fields(data, place, message.value, message.end):
        if entry.number == _PIECE:
            expect(entry, LENGTH, place)
            if entry.end - entry.value > MAX_PIECE_BYTES:
                raise DataError(f"{place}: piece {len(model.pieces)} has more than {MAX_PIECE_BYTES:,} bytes")
            name = protobuf.text(data, entry, place)
        elif entry.number == _SCORE:
            expect(entry, FIXED32, place)
            score = protobuf.float32(data, entry)
        elif entry.number == _TYPE:
            expect(entry, VARINT, place)
            kind = entry.value
    number = len(model.pieces)
    if number >= MAX_PIECES:
        raise DataError(f"{place}: there are more than {MAX_PIECES:,} pieces")
    if not name:
        raise DataError(f"{place}: piece {number} is empty")
    if not isfinite(score) or not NORMAL <= kind <= BYTE:
        raise DataError(f"{place}: piece {number}, {name!r:.60}, has the score {score} and the type {kind}")
    model.pieces.append((name, score))
    model.types.append(kind)


def _add_trainer(model: Model, data: bytes, message: Field, place: str) -> None:
    for entry in protobuf.fields(data, place, message.value, message.end):
        if entry.number in _TRAINER_NUMBERS:
            expect(entry, VARINT, place)
            model.numbers[_TRAINER_NUMBERS[entry.number][0]] = protobuf.signed(entry)


def _add_normalizer(model: Model, data: bytes, message: Field, place: str) -> None:
    for entry in protobuf.fields(data, place, message.value, message.end):
        if entry.number in _NORMALIZER_NUMBERS:
            expect(entry, VARINT, place)
            model.numbers[_NORMALIZER_NUMBERS[entry.number][0]] = protobuf.signed(entry)
        elif entry.number == _CHARSMAP:
            expect(entry, LENGTH, place)
            model.charsmap = data[entry.value : entry.end]


_READERS = {_PIECES: _add_piece, _TRAINER: _add_trainer, _NORMALIZER: _add_normalizer}


def _check(model: Model, place: str) -> None:
    """Check the pieces as a whole, and the map of characters.

    Raises:
        DataError: there is no piece, a piece is repeated, not exactly one is for unknown text, or the map is damaged.
    """
    if not model.pieces:
        raise DataError(f"{place}: there are no pieces in it")
    if (count := model.types.count(UNKNOWN)) != 1:
        raise DataError(f"{place}: {count} pieces are for unknown text; exactly one is needed")
    model.unknown = model.types.index(UNKNOWN)
    names: set[str] = set()
    for name, _ in model.pieces:
        if name in names:
            raise DataError(f"{place}: the piece {name!r:.60} appears twice")
        names.add(name)
    if model.charsmap:
        _check_charsmap(model.charsmap, f"{place}: its precompiled_charsmap")


def _check_charsmap(charsmap: bytes, place: str) -> None:
    """Check that no text leads out of the map: the package would panic in the middle of encoding.

    The map holds the size of a trie, the trie, and replacements, each ended by a zero byte. The trie is an array of
    units of 32 bits. From a unit, the next byte of a text leads to another unit; a unit may have a value, which is the
    offset of a replacement.

    Raises:
        DataError: a size is wrong, a unit points beyond the trie, or a value isn't the offset of a replacement.
    """
    size = int.from_bytes(charsmap[:4], "little")
    blob = charsmap[4 + size :]
    if not size or size % (4 * _BLOCK) or 4 + size > len(charsmap):
        raise DataError(f"{place} is damaged: its trie can't have {size:,} bytes")
    try:
        blob.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{place} is damaged: its replacements are not UTF-8") from error
    if max(map(len, blob.split(b"\0"))) > MAX_PIECE_BYTES:
        raise DataError(f"{place} has a replacement of more than {MAX_PIECE_BYTES:,} bytes")
    units = np.frombuffer(charsmap, "<u4", size // 4, offset=4)
    inner = np.flatnonzero(units & _VALUE == 0)
    offsets = (units[inner] >> 10) << ((units[inner] & _FAR) >> 6)
    targets = inner ^ offsets.astype(np.int64)
    if units[0] & _VALUE or targets.max() >= len(units):
        raise DataError(f"{place} is damaged: a unit points beyond the trie")
    values = (units[targets[units[inner] & _HAS_VALUE != 0]] & ~_VALUE).astype(np.int64)
    letters = np.frombuffer(blob + b"\0", np.uint8)
    if values.max(initial=0) > len(blob) or (letters[values] & 0xC0 == 0x80).any():
        raise DataError(f"{place} is damaged: a value is not the offset of a replacement")
