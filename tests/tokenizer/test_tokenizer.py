"""Loading, encoding, packing and saving."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.errors import DataError, SettingsError
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer
from bertie.tokenizer.writing import save_tokenizer

WORDS = ["the", "cat", "sat", "##s", "on", "mat", "un", "##able", ",", ".", "é", "猫", "a", "##a"]


def make(*, lowercase: bool = True) -> Tokenizer:
    return Tokenizer.build([*SPECIALS, *WORDS], lowercase=lowercase)


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.tokens[number] for number in tokenizer.encode_batch([text])[0]]


def test_pieces() -> None:
    assert pieces(make(), "The cats sat, unable.") == ["the", "cat", "##s", "sat", ",", "un", "##able", "."]
    assert pieces(make(), "CAT 猫cat é") == ["cat", "猫", "cat", "[UNK]"]  # lower-casing drops the accent: no e here
    assert pieces(make(lowercase=False), "CAT cat é") == ["[UNK]", "cat", "é"]
    assert pieces(make(), "the [MASK] sat [SEP]") == ["the", "[MASK]", "sat", "[SEP]"]


def test_special_ids() -> None:
    tokenizer = make()
    found = (tokenizer.pad, tokenizer.unknown, tokenizer.start, tokenizer.separator, tokenizer.mask)
    assert found == (0, 1, 2, 3, 4)
    assert tokenizer.special_ids == (0, 1, 2, 3, 4)
    assert tokenizer.token_id("cat") == 6
    with pytest.raises(DataError, match="'dog'"):
        tokenizer.token_id("dog")


def test_pack() -> None:
    found = make().pack(["cat", ""], ["the mat", "sat"], max_length=8)
    assert found.tokens.tolist() == [2, 6, 3, 5, 10, 3, 2, 3, 7, 3]
    assert found.segments.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 1, 1]
    assert found.offsets.tolist() == [0, 6, 10]
    assert found.truncated.tolist() == [0, 0]


@settings(max_examples=200, deadline=None)
@given(a=st.integers(0, 40), b=st.integers(0, 40), most=st.integers(3, 50))
def test_a_pair_loses_the_end_of_its_longer_text(a: int, b: int, most: int) -> None:
    found = make().pack([" ".join(["cat"] * a)], [" ".join(["mat"] * b)], max_length=most, truncation="truncate")
    keep_a, keep_b = a, b
    while keep_a + keep_b > most - 3:
        if keep_a > keep_b:
            keep_a -= 1
        else:
            keep_b -= 1
    assert found.tokens.tolist() == [2, *[6] * keep_a, 3, *[10] * keep_b, 3]
    assert found.truncated.tolist() == [a + b - keep_a - keep_b]


def test_too_long_is_an_error_that_counts() -> None:
    with pytest.raises(DataError, match=r"text 2.* 12 tokens.* 10"):
        make().pack(["cat", "cat " * 10], max_length=10)


def test_a_million_characters() -> None:
    text = "the cat sat on the mat. " * 41_667
    found = make().pack([text], max_length=512, truncation="truncate")
    assert len(found.tokens) == 512
    assert found.truncated[0] == 41_667 * 7 - 510
    assert pieces(make(), "x" * 1_000_000) == ["[UNK]"]


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.text(max_size=60), min_size=1, max_size=8))
def test_any_text(texts: list[str]) -> None:
    tokenizer = make()
    found = tokenizer.pack(texts, max_length=400)
    alone = [tokenizer.pack([text], max_length=400).tokens for text in texts]
    assert np.array_equal(found.tokens, np.concatenate(alone))
    assert np.array_equal(found.lengths, [len(part) for part in alone])


def test_what_is_no_text_is_named() -> None:
    with pytest.raises(DataError, match="text 2 holds a lone surrogate"):
        make().encode_batch(["fine", "bro\ud800ken"])


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_vocabulary_file(tmp_path: Path, newline: str) -> None:
    file = tmp_path / "vocab.txt"
    file.write_bytes(("\ufeff" + newline.join([*SPECIALS, *WORDS]) + newline).encode())
    assert load_tokenizer(tmp_path).tokens == [*SPECIALS, *WORDS]
    assert load_tokenizer(file).lowercase
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": False}))
    assert not load_tokenizer(file).lowercase


def test_broken_vocabularies(tmp_path: Path) -> None:
    file = tmp_path / "vocab.txt"
    file.write_text("\n".join(["[PAD]", "[UNK]", "cat"]))
    with pytest.raises(DataError, match=r"'\[CLS\]', '\[SEP\]', '\[MASK\]'"):
        load_tokenizer(file)
    file.write_bytes(b"[PAD]\n\xff\n")
    with pytest.raises(DataError, match="byte 6"):
        load_tokenizer(file)
    with pytest.raises(SettingsError, match="neither"):
        load_tokenizer(tmp_path.parent / tmp_path.name / "..")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[1]",
        '{"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}}',
        "\x00\x01",
        "{" * 2000,
    ],
)
def test_files_that_are_no_tokenizer(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(DataError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_padding_and_truncation_of_a_file_stay_out(tmp_path: Path) -> None:
    tokenizer = make()
    save_tokenizer(tokenizer, tmp_path / "a")
    content = json.loads((tmp_path / "a" / "tokenizer.json").read_text(encoding="utf-8"))
    content["truncation"] = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    content["padding"] = {
        "strategy": {"Fixed": 20},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "[PAD]",
    }
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert load_tokenizer(tmp_path).encode_batch(["the cat sat on the mat"]) == [[5, 6, 7, 9, 5, 10]]


@pytest.mark.parametrize("lowercase", [True, False])
def test_saved_and_loaded(tmp_path: Path, lowercase: bool) -> None:
    tokenizer = make(lowercase=lowercase)
    save_tokenizer(tokenizer, tmp_path)
    names = ["special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for place in (tmp_path, tmp_path / "vocab.txt", tmp_path / "tokenizer.json"):
        again = load_tokenizer(place)
        assert again.golden_ids() == tokenizer.golden_ids()
        assert again.tokens == tokenizer.tokens
        assert again.lowercase == lowercase
        assert again.fingerprint == tokenizer.fingerprint


def test_the_fingerprint_knows_pieces_and_case() -> None:
    prints = {
        make().fingerprint,
        make(lowercase=False).fingerprint,
        Tokenizer.build([*SPECIALS, *WORDS[::-1]], lowercase=True).fingerprint,
    }
    assert len(prints) == 3


def test_characters_of_pieces() -> None:
    ((ids, spans),) = make().encode_batch_aligned(["Cats, unable"])
    assert len(ids) == len(spans)
    assert [("Cats, unable"[start:end]) for start, end in spans] == ["Cat", "s", ",", "un", "able"]
