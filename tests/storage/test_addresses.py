"""Addresses: recognised as text and as paths, never with a password, and found again from the local copy."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie import addresses, config
from bertie.cli import main
from bertie.commands.show import show
from bertie.errors import SettingsError

PARTS = st.lists(st.text("abcXYZ019-_.=*", min_size=1).filter(lambda part: part not in (".", "..")), min_size=1)


@given(st.sampled_from(("s3", "gs", "memory")), PARTS)
def test_a_path_is_the_same_address_as_its_text(scheme: str, parts: list[str]) -> None:
    address = f"{scheme}://{'/'.join(parts)}"
    assert addresses.address_of(address) == addresses.address_of(Path(address)) == address


@pytest.mark.parametrize("text", ["out/corpus", "bert-base-uncased", "s3", "http://host/x", "see s3://b/k", "", "a:/b"])
def test_other_texts_are_none(text: str) -> None:
    assert addresses.address_of(text) is None
    addresses.check(text)


def test_files() -> None:
    assert addresses.address_of("file:///data/corpus") == addresses.address_of(Path("file:///data/corpus"))
    assert addresses.place("file:///data/corpus") == Path("/data/corpus")
    with pytest.raises(SettingsError, match="three slashes"):
        addresses.check("file://data/corpus")


@pytest.mark.parametrize("text", ["s3://b//k", "s3://b/../k", "gs://", "memory://b/./k"])
def test_names_that_no_path_has(text: str) -> None:
    with pytest.raises(SettingsError, match="no part of the name may be empty"):
        addresses.check(text)


@pytest.mark.parametrize("word", ["s3://me:hidden@bucket/m", "s3://hidden@bucket/m"])
def test_passwords_are_refused_and_not_repeated(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", word]) == 2
    assert main(["predict", "model", "text", f"--file={word}"]) == 2
    shown = capsys.readouterr().err
    assert shown.count("can't hold a user name or a password") == 2
    assert "hidden" not in shown
    with pytest.raises(SettingsError, match="password") as caught:
        config.validate(show, {"path": word})
    assert "hidden" not in str(caught.value)


def test_copies_are_shown_by_their_address(tmp_path: Path) -> None:
    addresses.set_folder(tmp_path)
    try:
        copy = addresses.place("s3://bucket/a b/c.txt")
        assert copy == tmp_path / "s3" / "bucket" / "a b" / "c.txt"
        assert (
            addresses.shown(f"{copy}:3: wrong; {tmp_path}/other") == f"s3://bucket/a b/c.txt:3: wrong; {tmp_path}/other"
        )
    finally:
        addresses.set_folder(None)
    assert addresses.shown(str(copy)) == str(copy)
