"""SentencePiece files that are damaged, foreign, hostile or of another kind: refused in one sentence, never a panic."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bertie.errors import DataError, SettingsError
from bertie.tokenizer import protobuf, sentencepiece
from bertie.tokenizer.reading import load_tokenizer

Piece = tuple[str, float, int]
UNKNOWN, CONTROL = sentencepiece.UNKNOWN, sentencepiece.CONTROL
WORDS: list[Piece] = [(name, -float(place), 1) for place, name in enumerate(["▁the", "▁cat", "s", "▁", "a", "t", "一"])]
ALBERT: list[Piece] = [
    *(("<pad>", 0.0, CONTROL), ("<unk>", 0.0, UNKNOWN), ("[CLS]", 0.0, CONTROL), ("[SEP]", 0.0, CONTROL)),
    *(("[MASK]", 0.0, CONTROL), *WORDS),
]
TEXTS = ["the cats", "AAA", "\u00e9\u4e00\U0001f431", "".join(map(chr, range(0x180))), "京" * 50, ""]
FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def varint(number: int) -> bytes:
    number %= 2**64
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def entry(number: int, form: int, value: int | bytes) -> bytes:
    """Write a field: a number, or bytes with their length, or bytes as they are."""
    payload = varint(value) if isinstance(value, int) else varint(len(value)) + value if form == 2 else value
    return varint(number << 3 | form) + payload


def piece(name: str, score: float, kind: int) -> bytes:
    return entry(1, 2, entry(1, 2, name.encode()) + entry(2, 5, struct.pack("<f", score)) + entry(3, 0, kind))


def model(pieces: Sequence[Piece] = ALBERT, *, unk_id: int = 1, charsmap: bytes = b"", more: bytes = b"") -> bytes:
    """Write a model file; `more` belongs to its message of training."""
    trainer = entry(2, 2, entry(40, 0, unk_id) + more)
    return b"".join(piece(*one) for one in pieces) + trainer + entry(3, 2, entry(1, 2, b"own") + entry(2, 2, charsmap))


def charsmap(units: dict[int, int], blob: bytes = b"a\0", size: int = 1024) -> bytes:
    """Write a map of characters whose trie has these units."""
    trie = [units.get(place, 0) for place in range(256)]
    return struct.pack("<I", size) + struct.pack("<256I", *trie) + blob


# From the root (offset 1), A (0x41) leads to unit 0x40, which has a value at 0x40 ^ 0x80: offset 0 of the blob, "a".
LOWER = {0: 1 << 10, 0x40: 0x80 << 10 | 1 << 8 | 0x41, 0xC0: 1 << 31}


def folder_of(content: bytes, folder: Path) -> Path:
    (folder / "spiece.model").write_bytes(content)
    (folder / "config.json").write_text('{"model_type": "albert"}')
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    return folder


def refused(content: bytes, folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        load_tokenizer(folder_of(content, folder))
    assert str(folder / "spiece.model") in str(caught.value)
    return str(caught.value)


def test_a_small_model(tmp_path: Path) -> None:
    ours = load_tokenizer(folder_of(model(charsmap=charsmap(LOWER)), tmp_path))
    (ids,) = ours.encode_batch(["the cAts [MASK]"])
    assert [ours.tokens[number] for number in ids] == ["▁the", "▁cat", "s", "[MASK]"]
    read = sentencepiece.read(tmp_path / "spiece.model")
    assert (read.pieces[5], read.types[:2], read.unknown) == (("▁the", 0.0), [CONTROL, UNKNOWN], 1)


def test_unknown_fields_are_skipped_and_the_last_value_counts(tmp_path: Path) -> None:
    extra = entry(99, 0, 2**64 - 1) + entry(98, 1, b"8" * 8) + entry(97, 2, b"text") + entry(96, 5, b"4444")
    (tmp_path / "a.model").write_bytes(extra + model(more=entry(3, 0, 2) + extra + entry(3, 0, 1)) + extra)
    (tmp_path / "b.model").write_bytes(model())
    assert sentencepiece.read(tmp_path / "a.model") == sentencepiece.read(tmp_path / "b.model")
    (tmp_path / "c.model").write_bytes(model() + entry(2, 2, entry(40, 0, -1)))
    assert sentencepiece.read(tmp_path / "c.model").numbers["unk_id"] == -1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "there are no pieces in it"),
        (model()[:40], r"cut off, or damaged: a field at byte \d+ ends beyond byte 40"),
        (model() + b"\x80", "cut off, or damaged: a number at byte"),
        (model() + b"\xff" * 11, "a number has more than 10 bytes"),
        (model() + b"\x00\x00", "a field has the number 0"),
        (model() + b"\x0b", "a field has the form 3"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html>", "download it again"),
        (b"PK\x03\x04" + bytes(90), "download it again"),
        (model([*ALBERT, ("▁the", 0.0, 1)]), "the piece '▁the' appears twice"),
        (model([*ALBERT, ("", 0.0, 1)]), "piece 12 is empty"),
        (model([*ALBERT, ("x", float("nan"), 1)]), "piece 12, 'x', has the score nan"),
        (model([*ALBERT, ("x", float("-inf"), 1)]), "has the score -inf"),
        (model([*ALBERT, ("x", 0.0, 7)]), "and the type 7"),
        (model([*ALBERT, ("x", 0.0, UNKNOWN)]), "2 pieces are for unknown text"),
        (model(WORDS), "0 pieces are for unknown text"),
        (model([*ALBERT, ("x" * 5000, 0.0, 1)]), "piece 12 has more than 4,096 bytes"),
        (entry(1, 2, entry(1, 2, b"\xff")), "the text at byte 4 is not UTF-8"),
        (entry(1, 0, 3), "field 1 before byte 2 holds a number, not bytes with a length"),
        (entry(1, 2, entry(2, 0, 3)), "holds a number, not 4 bytes"),
        (model(more=entry(3, 5, b"1234")), "holds 4 bytes, not a number"),
        (model(more=entry(3, 0, 2)), "is a sentencepiece model of the type BPE; bertie reads unigram"),
        (model(more=entry(3, 0, 4)), "of the type character"),
        (model(more=entry(24, 0, 1)), "has treat_whitespace_as_suffix True"),
        (model() + entry(3, 2, entry(5, 0, 0)), "has escape_whitespaces False"),
    ],
)
def test_damaged_and_foreign_files(content: bytes, said: str, tmp_path: Path) -> None:
    message = refused(content, tmp_path)
    with pytest.raises(DataError, match=said):
        raise DataError(message)


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        (b"\x00\x04", "its trie can't have"),
        (charsmap(LOWER, size=1020), "its trie can't have 1,020 bytes"),
        (charsmap(LOWER, size=2**31), "its trie can't have 2,147,483,648 bytes"),
        (charsmap({**LOWER, 0: 1 << 31}), "a unit points beyond the trie"),
        (charsmap({**LOWER, 0: 300 << 10}), "a unit points beyond the trie"),
        (charsmap({**LOWER, 0x40: 1 << 10 | 1 << 9 | 0x41}), "a unit points beyond the trie"),
        (charsmap({**LOWER, 0xC0: 1 << 31 | 3}), "a value is not the offset of a replacement"),
        (charsmap({**LOWER, 0xC0: 1 << 31 | 1}, "é\0".encode()), "a value is not the offset of a replacement"),
        (charsmap(LOWER, b"\xff\0"), "its replacements are not UTF-8"),
        (charsmap(LOWER, b"a" * 5000), "a replacement of more than 4,096 bytes"),
    ],
)
def test_a_damaged_map_of_characters(damaged: bytes, said: str, tmp_path: Path) -> None:
    assert said in refused(model(charsmap=damaged), tmp_path)


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sentencepiece, "MAX_PIECES", 11)
    assert "there are more than 11 pieces" in refused(model(), tmp_path)
    monkeypatch.setattr(protobuf, "MAX_FIELDS", 10)
    assert "a message has more than 10 fields" in refused(model(), tmp_path)
    monkeypatch.setattr(sentencepiece, "MAX_BYTES", 100)
    assert "at most 100 are allowed" in refused(model(), tmp_path)


@FUZZ
@given(content=st.binary(max_size=200))
def test_any_bytes(content: bytes, tmp_path: Path) -> None:
    encodes_or_is_refused(content, tmp_path)


FIELDS = st.recursive(
    st.builds(entry, st.integers(1, 50), st.just(0), st.integers(0, 2**64 - 1))
    | st.builds(entry, st.integers(1, 50), st.just(5), st.binary(min_size=4, max_size=4))
    | st.builds(entry, st.integers(1, 50), st.just(2), st.binary(max_size=20)),
    lambda inner: st.builds(entry, st.integers(1, 5), st.just(2), st.lists(inner, max_size=4).map(b"".join)),
    max_leaves=12,
)


@FUZZ
@given(parts=st.lists(FIELDS, max_size=6), place=st.integers(0, 2**16))
def test_any_messages(parts: list[bytes], place: int, tmp_path: Path) -> None:
    whole = model()
    cut = place % (len(whole) + 1)
    for content in (b"".join(parts), whole + b"".join(parts), whole[:cut] + b"".join(parts) + whole[cut:]):
        encodes_or_is_refused(content, tmp_path)


@FUZZ
@given(
    changes=st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=4), end=st.booleans()
)
def test_changed_bytes(changes: list[tuple[int, int]], end: bool, tmp_path: Path) -> None:
    content = bytearray(model(charsmap=charsmap(LOWER)))
    for place, value in changes:
        content[place % len(content)] = value
    encodes_or_is_refused(bytes(content[: changes[0][0] % len(content)] if end else content), tmp_path)


@FUZZ
@given(units=st.dictionaries(st.integers(0, 255), st.integers(0, 2**32 - 1), max_size=8), blob=st.binary(max_size=12))
def test_any_map_of_characters(units: dict[int, int], blob: bytes, tmp_path: Path) -> None:
    encodes_or_is_refused(model(charsmap=charsmap({**LOWER, **units}, blob)), tmp_path)
    near = {place: unit & 0x8003FFFF for place, unit in units.items()}  # offsets within the trie, more of them valid
    encodes_or_is_refused(model(charsmap=charsmap({**LOWER, **near}, b"a\0bc\0\xc3\xa9\0")), tmp_path)


def encodes_or_is_refused(content: bytes, folder: Path) -> None:
    """Load a model; what loads encodes every text without an error."""
    try:
        ours = load_tokenizer(folder_of(content, folder))
    except DataError:
        return
    assert all(0 <= number < ours.vocab_size for ids in ours.encode_batch(TEXTS) for number in ids)


def test_what_does_not_fit_the_class_is_refused(tmp_path: Path) -> None:
    xlm = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL), *WORDS]
    names = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")
    deberta = [(name, 0.0, UNKNOWN if name == "[UNK]" else CONTROL) for name in names] + WORDS
    cases: list[tuple[str, list[Piece], dict[str, Any], str]] = [
        ("xlm-roberta", ALBERT, {}, "begins with the pieces <pad>, <unk>, .* Check the tokenizer_class"),
        ("xlm-roberta", [*xlm, ("<pad>", 0.0, 3)], {}, "has the piece <pad>, which an XLM-RoBERTa adds by itself"),
        ("deberta-v2", xlm, {}, r"lacks the special tokens '\[PAD\]'"),
        ("deberta-v2", deberta, {"unk_token": "the"}, "lacks the special tokens 'the'"),
        ("deberta-v2", deberta, {"unk_token": "a"}, "unk_token is 'a'; write .*\\[UNK\\]"),
        ("deberta-v2", deberta, {"split_by_punct": 1}, "split_by_punct must be true or false"),
        ("deberta-v2", deberta, {"tokenizer_class": "AlbertTokenizer"}, r"needs tokenizer\.json or spiece\.model"),
        ("deberta-v2", deberta, {"tokenizer_class": "T5Tokenizer"}, "but its tokenizer is a T5Tokenizer"),
        ("camembert", xlm, {}, "but its tokenizer is a tokenizer of model type camembert"),
    ]
    names_of_files = dict(zip(("albert", "deberta-v2", "xlm-roberta"), sentencepiece.NAMES, strict=True))
    for number, (kind, pieces, config, said) in enumerate(cases):
        folder = tmp_path / str(number)
        folder.mkdir()
        name = names_of_files.get(kind, "sentencepiece.bpe.model")
        (folder / name).write_bytes(model(pieces, unk_id=[one[2] for one in pieces].index(UNKNOWN)))
        (folder / "config.json").write_text(json.dumps({"model_type": kind}))
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        with pytest.raises(DataError, match=said):
            load_tokenizer(folder)
    (folder / "config.json").unlink()
    with pytest.raises(DataError, match=r"but no file names its class.*write its tokenizer_class into"):
        load_tokenizer(folder)
    with pytest.raises(SettingsError, match="no such tokenizer"):
        load_tokenizer(folder / "other.model")
