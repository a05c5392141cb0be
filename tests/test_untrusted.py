"""Strangers' JSON, TOML and small files: every limit ends in one sentence that begins with the place."""

import json
import math
import os
import socket
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie import config
from bertie.errors import BertieError, DataError, SettingsError
from bertie.untrusted import (
    MAX_DEPTH,
    MAX_DIGITS,
    check_regular,
    parse_json,
    parse_object,
    read_bytes,
    read_json,
    read_object,
    read_text,
    read_toml,
)

NESTED = "nested too deeply"
plain_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(plain_json)
def test_sound_json_is_read_as_python_reads_it(value: object) -> None:
    written = json.dumps(value)
    assert parse_json(written, "a.json") == json.loads(written)
    assert parse_json(json.dumps(value, ensure_ascii=False).encode("utf-8-sig"), "a.json") == value


@given(st.text() | st.binary())
def test_anything_else_is_an_error_of_ours(content: str | bytes) -> None:
    try:
        parse_json(content, "a.json")
    except DataError as error:
        assert str(error).startswith("a.json: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "it is empty"),
        (" \n", "it is empty"),
        ("[1,", "not valid JSON"),
        ("{'a': 1}", "not valid JSON"),
        ('{"a": 1} {"a": 2}', "Extra data"),
        ("[" * 100_000, NESTED),
        ('{"a":' * 100_000, NESTED),
        ("[" * 100_000 + "]" * 100_000, NESTED),
        ("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), NESTED),
        ('{"a":[' * MAX_DEPTH + "1" + "]}" * MAX_DEPTH, NESTED),
        ("9" * 5000, "more than 300 digits"),
        ('{"a": [-' + "1" * (MAX_DIGITS + 1) + "]}", "more than 300 digits"),
        ("1e999", "the number 1e999 is too large"),
        ('{"a": -' + "1" * 400 + ".0}", "is too large"),
        ("NaN", "JSON has no number NaN"),
        ('{"a": -Infinity}', "JSON has no number -Infinity"),
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' appears twice"),
        ('["\\ud83d"]', "half a character"),
        ('{"\\udc00": 1}', "half a character"),
        ('"\x01"', "not valid JSON"),
        (b"\xff\xfe{\x00}\x00", "UTF-16"),
        (b'{"a": "caf\xe9"}', "not UTF-8 text at byte 10 (0xe9)"),
    ],
)
def test_refused(content: str | bytes, message: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_json(content, "folder/a.json")
    assert str(caught.value).startswith("folder/a.json: ") and message in str(caught.value)
    assert len(str(caught.value)) < 200


def test_what_is_still_read() -> None:
    assert parse_json("[" * MAX_DEPTH + "]" * MAX_DEPTH, "a.json") is not None
    assert parse_json("-" + "9" * (MAX_DIGITS - 1), "a.json") == -int("9" * (MAX_DIGITS - 1))
    assert parse_json('"' + "[{" * 1000 + "1" * 1000 + '"', "a.json") == "[{" * 1000 + "1" * 1000
    assert parse_json('"\\ud83d\\ude00"', "a.json") == "😀"
    assert math.isnan(parse_json("[NaN]", "a.jsonl:1", data=True)[0])
    assert parse_json('"\\ud83d"', "a.jsonl:1", data=True) == "\ud83d"
    assert parse_json("-Infinity", "a.jsonl:1", data=True) == -math.inf


@pytest.mark.parametrize("content", ["[]", "1", "null", '"a"'])
def test_an_object_is_an_object(content: str) -> None:
    with pytest.raises(DataError, match=r"a\.json: a JSON object was expected here; this is"):
        parse_object(content, "a.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = ", "not valid TOML"),
        (b"a = " + b"[" * 100_000, NESTED),
        (b"a = " + b"{b=" * 50_000, NESTED),
        (b"a = " + b"[" * 150 + b"]" * 150, NESTED),
        (
            b".".join([b"a"] * 20_000) + b" = 1",
            ":1: this line has more than 1000 dots",
        ),  # tomllib alone takes ten seconds
        (b"a = " + b"7" * 5000, "more than 300 digits"),
        (b"a = '\xe9'", "not UTF-8 text at byte 5"),
        (b"\xff\xfea\x00", "UTF-16"),
        (b"#" * (2**18 + 1), "at most 262,144 are allowed"),
    ],
)
def test_settings_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(content)
    for read in (read_toml, config.read):
        with pytest.raises(SettingsError) as caught:
            read(file)
        assert str(caught.value).startswith(str(file)) and message in str(caught.value)


def test_settings_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("a = 1.5\n", encoding="utf-8-sig")
    assert read_toml(tmp_path / "a.toml") == {"a": 1.5}


READERS = (read_bytes, read_text, read_json, read_object, read_toml, check_regular)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.timeout(60)
def test_only_regular_files_are_opened(tmp_path: Path, read: object) -> None:
    assert callable(read)
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it: an ordinary open would wait for ever
    (tmp_path / "link").symlink_to("pipe")
    for name, kind in (("pipe", "a pipe"), ("link", "a pipe"), (".", "a folder")):
        with pytest.raises(SettingsError, match=f"is {kind}; a regular file is needed"):
            read(tmp_path / name)
    for missing in (tmp_path / "none", tmp_path / "none" / "below"):
        with pytest.raises(SettingsError, match="no such file"):
            read(missing)
    with pytest.raises(SettingsError, match="can't read"):
        read("a\0b")
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(SettingsError, match="can't read"):
        read(tmp_path / "round")


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/zero")
def test_devices_and_sockets_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="is a device"):
        read_bytes("/dev/zero")
    monkeypatch.chdir(tmp_path)  # a socket's name is short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s")
        with pytest.raises(BertieError):
            read_bytes("s")
        with pytest.raises(SettingsError, match="is a socket"):
            check_regular("s")


def test_a_file_that_claims_gigabytes_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    with file.open("wb") as stream:
        stream.truncate(5 * 2**30)  # sparse: it takes no space
    for read in (read_bytes, read_text, read_json, read_object):
        with pytest.raises(DataError, match="5,368,709,120 bytes; at most"):
            read(file)
    assert check_regular(file) == 5 * 2**30
    with pytest.raises(DataError, match="at most 10 are"):
        check_regular(file, limit=10)
