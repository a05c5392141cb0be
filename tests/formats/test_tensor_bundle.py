"""TensorFlow's checkpoint files: as its Saver writes them, byte for byte; and damaged ones, which are refused."""

import hashlib
import random
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bertie.errors import BertieError, DataError, SettingsError
from bertie.formats import _sorted_table as table
from bertie.formats._crc32c import crc32c, masked
from bertie.formats._tensor_bundle import Checkpoint, write

# Written by tensorflow.compat.v1.train.Saver of TensorFlow 2.21.
INDEX = bytes.fromhex(
    "00000608011a02080100160f626572742f706f6f6c65722f64656e73652f626961730801120412020803280c35c94aaae11206156b65726e656c"
    "080112081202080212020803200c281835c0db3d17000511656d70747908011206120012020804202435d8ea82a2000b0d676c6f62616c5f7374"
    "6570080912002024280835f2fe5b9d00041168616c66080e120412020802202c2804352e4a56f200000000010000000006822ee6000000000100"
    "000000c0f2a1b00001036900a301000000000100000000b6d12b5ca80108b5010f00000000000000000000000000000000000000000000000000"
    "00000000000000000057fb808b247547db"
)
DATA = bytes.fromhex("000080bf0000003f00000040000000000000803f0000004000004040000080400000a0402c01000000000000c03f00c0")
TENSORS = {
    "bert/pooler/dense/bias": torch.tensor([-1.0, 0.5, 2.0]),
    "bert/pooler/dense/kernel": torch.arange(6.0).reshape(2, 3),
    "empty": torch.empty(0, 4),
    "global_step": torch.tensor(300),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
}
FORTY = "655666847637746f78fd23dfdee73e4d6da59a6c41867a293fa4d434d216bff4"
IN_PARTS = bytes.fromhex(
    "00000608011a020801000d13007061727400010102808280820801120812020802120208022810357d5e1ef7090415828280820801120812"
    "0208021202080220102810358c678470000422706172740801120812020804120208023a080a0210020a0210023a0a0a04080210020a0210"
    "02000000000100000000ac36bd6a000000000100000000c0f2a1b00001027100790000000001000000001af2ac797e088b010e0000000000"
    "00000000000000000000000000000000000000000000000000000000000057fb808b247547db"
)
HEADER = b"\x08\x01\x1a\x02\x08\x01"


def stored(folder: Path, index: bytes = INDEX, data: bytes = DATA) -> Path:
    """Write the files of a checkpoint and return its index."""
    (folder / "t.ckpt.data-00000-of-00001").write_bytes(data)
    (folder / "t.ckpt.index").write_bytes(index)
    return folder / "t.ckpt.index"


def read_all(index: Path) -> dict[str, torch.Tensor]:
    checkpoint = Checkpoint(index)
    return {name: checkpoint.tensor(name) for name in checkpoint.entries}


def entry(size: int = 12, *, shape: tuple[int, ...] = (3,), offset: int = 0, kind: int = 1, shard: int = 0) -> bytes:
    """Return the message of a tensor of DATA."""
    sizes = b"".join(b"\x12" + bytes([1 + len(number)]) + b"\x08" + number for number in map(table.varint, shape))
    fields = {3: shard, 4: offset, 5: size}
    numbers = b"".join(bytes([number << 3]) + table.varint(value) for number, value in fields.items() if value)
    checksum = struct.pack("<I", masked(crc32c(DATA[offset : offset + size])))
    return b"\x08" + table.varint(kind) + b"\x12" + table.varint(len(sizes)) + sizes + numbers + b"\x35" + checksum


def test_a_savers_files_are_read_and_written_again(tmp_path: Path) -> None:
    found = read_all(stored(tmp_path))
    assert found.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert found[name].dtype == value.dtype
        assert torch.equal(found[name], value)
    write(found, tmp_path / "again")
    assert (tmp_path / "again.index").read_bytes() == INDEX
    assert (tmp_path / "again.data-00000-of-00001").read_bytes() == DATA


def test_many_names_share_their_beginnings_as_in_a_savers_index(tmp_path: Path) -> None:
    tensors = {f"v{number:03d}/kernel": torch.tensor(float(number)) for number in range(40)}
    write(tensors, tmp_path / "m")
    assert hashlib.sha256((tmp_path / "m.index").read_bytes()).hexdigest() == FORTY
    assert read_all(tmp_path / "m.index") == tensors


def test_partitioned_variables_are_named(tmp_path: Path) -> None:
    checkpoint = Checkpoint(stored(tmp_path, IN_PARTS, bytes(32)))
    assert list(checkpoint.entries) == ["part"]
    with pytest.raises(DataError, match=r"t\.ckpt\.index: part is stored in parts"):
        checkpoint.tensor("part")


def test_several_files_of_data(tmp_path: Path) -> None:
    header = b"\x08\x02\x1a\x02\x08\x01"
    content = table.write([(b"", header), (b"a", entry()), (b"b", entry(offset=12, size=12, shard=1))])
    (tmp_path / "t.index").write_bytes(content)
    (tmp_path / "t.data-00000-of-00002").write_bytes(DATA)
    with pytest.raises(SettingsError, match=r"t\.data-00001-of-00002: no such file"):
        Checkpoint(tmp_path / "t.index")
    (tmp_path / "t.data-00001-of-00002").write_bytes(DATA)
    assert read_all(tmp_path / "t.index")["b"].tolist() == [0.0, 1.0, 2.0]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"../a": entry()}, "'../a' is not the name of a tensor"),
        ({"a/../b": entry()}, "'a/../b' is not the name"),
        ({"/etc/passwd": entry()}, "'/etc/passwd' is not the name"),
        ({"a\n": entry()}, r"is not the name of a tensor"),
        ({"a" * 600: entry()}, "is not the name of a tensor"),
        ({"a": entry(), "b": entry(offset=8)}, "b overlaps a at byte 8"),
        ({"a": entry(offset=40)}, "is cut off: it has 48 bytes, and a ends at byte 52"),
        ({"a": entry(size=1 << 50)}, "a: damaged: a size is larger than any checkpoint"),
        ({"a": entry(shape=(1 << 40, 1 << 40))}, "a size is larger than any checkpoint"),
        ({"a": entry(shape=(1,) * 9)}, "a size is larger than any checkpoint"),
        ({"a": entry(shard=1)}, "a is in a file that doesn't exist"),
        ({"a": entry(shape=(4,))}, r"a: damaged: 12 bytes don't fit the shape \(4,\)"),
        ({"a": entry(kind=7)}, "a is of TensorFlow's type 7"),
        ({"a": b"\x08"}, "a: cut off, or damaged"),
        ({"a": entry()[:-1]}, "a: cut off, or damaged"),
        ({"a": b"\x12\x02\x18\x01"}, "a: its shape is unknown"),
        ({"": b"\x08\x01\x10\x01"}, "big-endian"),
        ({"": b"\x08\x00"}, "0 files of data"),
        ({"": b"\x08\xff\xff\x7f"}, "files of data"),
    ],
)
def test_entries_that_lie(tmp_path: Path, entries: Mapping[str, bytes], words: str) -> None:
    content = {"": HEADER, **entries}
    index = stored(tmp_path, table.write([(name.encode(), value) for name, value in sorted(content.items())]))
    with pytest.raises(DataError, match=words) as error:
        read_all(index)
    assert str(tmp_path) in str(error.value)


def test_a_wrong_byte_of_data_is_found(tmp_path: Path) -> None:
    for place in range(len(DATA)):
        index = stored(tmp_path, data=DATA[:place] + bytes([DATA[place] ^ 4]) + DATA[place + 1 :])
        with pytest.raises(DataError, match=r"the checksum of .* is wrong"):
            read_all(index)
    with pytest.raises(DataError, match="is cut off: it has 47 bytes, and half ends at byte 48"):
        read_all(stored(tmp_path, data=DATA[:-1]))


def test_an_index_that_is_cut_off_or_changed(tmp_path: Path) -> None:
    for length in range(len(INDEX)):
        with pytest.raises(DataError, match=r"t\.ckpt\.index"):
            read_all(stored(tmp_path, INDEX[:length]))
    for place in range(len(INDEX)):
        index = stored(tmp_path, INDEX[:place] + bytes([INDEX[place] ^ 1]) + INDEX[place + 1 :])
        try:
            found = read_all(index)
        except DataError:
            continue
        assert place >= len(INDEX) - 48  # the footer has no checksum, and bytes that nothing reads
        assert found.keys() == TENSORS.keys()


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_refused_in_words(content: bytes, sealed: bool) -> None:
    if sealed:
        content += INDEX[-8:]
    with pytest.raises(DataError):
        table.read(content, "the index")


@given(st.dictionaries(st.binary(min_size=1, max_size=12), st.binary(max_size=200), max_size=60))
def test_tables_are_read_as_they_were_written(values: dict[bytes, bytes]) -> None:
    entries = sorted({b"\0": b"", **{key: value for key, value in values.items() if key[0] < 255}}.items())
    assert table.read(table.write(entries), "the index") == entries


def test_keys_out_of_order() -> None:
    with pytest.raises(DataError, match="damaged: 'a' is out of order or there twice"):
        table.read(table.write([(b"b", b""), (b"a", b"")]), "the index")


@pytest.mark.parametrize(
    ("packed", "plain"),
    [
        ("00", b""),
        ("0510 6162636465", b"abcde"),
        ("0a 08 616263 0d03", b"abcabcabca"),
        ("08 04 6162 16 0200", b"abababab"),
        ("46 f045" + "61" * 70, b"a" * 70),
        ("46 f44500" + "61" * 70, b"a" * 70),
        ("05 00 61 0f 01000000", b"aaaaa"),
    ],
)
def test_snappy(packed: str, plain: bytes) -> None:
    assert table.unsnapped(bytes.fromhex(packed), "a block") == plain


@pytest.mark.parametrize(
    "packed",
    ["", "05", "0510 6162", "0510 616263646566", "05 00 61 0d 02", "05 00 61 0d 00", "ffffffff0f 00", "02 00 61 16"],
)
def test_damaged_snappy(packed: str) -> None:
    with pytest.raises(DataError):
        table.unsnapped(bytes.fromhex(packed), "a block")


def test_a_compressed_block(tmp_path: Path) -> None:
    block = INDEX[:163]  # up to its type
    packed = table.varint(len(block)) + bytes([61 << 2]) + struct.pack("<H", len(block) - 1) + block
    place = table.varint(0) + table.varint(len(packed))
    index = b"\0\1" + bytes([len(place)]) + b"i" + place + struct.pack("<II", 0, 1)
    content, footer = b"", b""
    for part, form in ((packed, 1), (struct.pack("<II", 0, 1), 0), (index, 0)):
        footer += table.varint(len(content)) + table.varint(len(part)) if content else b""
        sealed = part + bytes([form])
        content += sealed + struct.pack("<I", masked(crc32c(sealed)))
    content += footer.ljust(40, b"\0") + INDEX[-8:]
    assert torch.equal(read_all(stored(tmp_path, content))["bert/pooler/dense/bias"], TENSORS["bert/pooler/dense/bias"])


def test_what_is_not_written(tmp_path: Path) -> None:
    for tensors, words in (
        ({"../a": torch.zeros(1)}, "not the name"),
        ({"a": torch.zeros(1, dtype=torch.complex64)}, "complex64"),
        ({f"{number:04d}" * 60: torch.zeros(1) for number in range(9000)}, "too many"),
    ):
        with pytest.raises(BertieError, match=words):
            write(tensors, tmp_path / "bad")


def slowly(data: bytes) -> int:
    state = 0xFFFFFFFF
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@pytest.mark.parametrize("length", [0, 1, 9, 4095, 4096, 4097, 70_001])
def test_checksums(length: int) -> None:
    data = random.Random(length).randbytes(length)
    assert crc32c(data) == slowly(data)
    assert crc32c(b"123456789") == 0xE3069283


def test_checksums_of_long_data_are_joined_from_chunks() -> None:
    chunk = random.Random(1).randbytes(1 << 20)
    once: Any = crc32c(chunk + chunk[:5000])
    assert once == slowly(chunk + chunk[:5000])
    assert crc32c(bytes(3) + chunk * 2) != crc32c(chunk * 2)
