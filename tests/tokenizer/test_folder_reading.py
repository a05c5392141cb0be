"""What a folder's files say together: classes, contradictions, added tokens, lines of vocab.txt; as transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors
from tokenizers import Tokenizer as RustTokenizer

from bertie.errors import DataError
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer
from bertie.tokenizer.writing import save_tokenizer

WORDS = ["the", "cat", "sat", "Paris", "par", "##is", "in", "a", "##a", "b", "##s", ".", ",", "#", "京", "[", "]"]
PIECES = [*SPECIALS, *WORDS]
TEXTS = ["The cats sat in Paris.", "[ent] paris [ent]", " covid", "Covid, aCOVIDb", "京cat 京", "x" * 120 + " a", "é"]
ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")


def fill(folder: Path, *, pieces: list[str] | None = PIECES, model: str | None = "bert", **files: Any) -> Path:
    """Write a folder: vocab.txt, config.json, and files by the names of their stems."""
    folder.mkdir(exist_ok=True)
    if pieces is not None:
        (folder / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces), encoding="utf-8")
    if model is not None:
        (folder / "config.json").write_text(json.dumps({"model_type": model}), encoding="utf-8")
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def built(pieces: list[str] = PIECES, **parts: Any) -> dict[str, Any]:
    """Return a tokenizer.json of BERT's kind, with other parts where they are given."""
    vocabulary = parts.pop("vocabulary", {piece: number for number, piece in enumerate(pieces)})
    model = parts.pop("model", {})
    rust = RustTokenizer(models.WordPiece(vocabulary, **{"unk_token": "[UNK]", **model}))
    rust.normalizer = normalizers.BertNormalizer(lowercase=parts.pop("lowercase", True))
    rust.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    rust.add_special_tokens([AddedToken(name, special=True) for name in SPECIALS if name in vocabulary])
    for name, part in parts.items():
        setattr(rust, name, part)
    state: dict[str, Any] = json.loads(rust.to_str())
    return state


def assert_as_theirs(folder: Path, out: Path) -> Tokenizer:
    """Compare ids with transformers', here and of what is written."""
    ours = load_tokenizer(folder)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    expected = [theirs(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    assert ours.encode_batch(TEXTS) == expected
    save_tokenizer(ours, out)
    fill(out, pieces=None, model=json.loads((folder / "config.json").read_text())["model_type"])
    again = transformers.AutoTokenizer.from_pretrained(out)
    assert [again(text, add_special_tokens=False)["input_ids"] for text in TEXTS] == expected
    for file in (out, *(out / name for name in ("tokenizer.json", "vocab.txt") if (out / name).exists())):
        assert load_tokenizer(file).encode_batch(TEXTS) == expected
    packed = ours.pack(TEXTS[:1], TEXTS[1:2], max_length=99)
    pair = again(TEXTS[0], TEXTS[1])
    assert (packed.tokens.tolist(), packed.segments.tolist()) == (pair["input_ids"], pair["token_type_ids"])
    assert load_tokenizer(out).fingerprint == ours.fingerprint or not ours.is_plain
    return ours


@pytest.mark.parametrize("where", ["added_tokens", "added_tokens_decoder", "special_tokens_map"])
def test_added_tokens_of_all_files(where: str, tmp_path: Path) -> None:
    number = len(PIECES)
    settings: dict[str, Any] = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    if where == "added_tokens":
        given = {"added_tokens": {"covid": number, "[ent]": number + 1}}
        given["special_tokens_map"] = {"additional_special_tokens": ["[ent]"]}
    elif where == "added_tokens_decoder":
        flags = {"lstrip": True, "rstrip": False, "single_word": True, "normalized": True, "special": False}
        settings["added_tokens_decoder"] = {
            str(number): {"content": "covid", **flags},
            str(number + 1): {"content": "[ent]", **flags, "special": True},
        }
        given = {}
    else:
        given = {"special_tokens_map": {"mask_token": {"content": "[MASK]", "lstrip": True}}}
        settings["additional_special_tokens"] = ["covid", "[ent]"]
    ours = assert_as_theirs(fill(tmp_path / "a", tokenizer_config=settings, **given), tmp_path / "b")
    assert ours.tokens[number:] == ["covid", "[ent]"] and ours.vocab_size == number + 2
    assert not (tmp_path / "b" / "vocab.txt").exists()


@pytest.mark.parametrize("setting", [{"do_lower_case": False}, {"do_lower_case": True, "strip_accents": False}])
def test_the_config_wins_over_tokenizer_json(setting: dict[str, Any], tmp_path: Path) -> None:
    settings = {"tokenizer_class": "BertTokenizer", **setting}
    for lowercase in (True, False):
        folder = fill(tmp_path / f"{lowercase}", tokenizer_config=settings)
        (folder / "tokenizer.json").write_text(json.dumps(built(lowercase=lowercase)))
        ours = assert_as_theirs(folder, tmp_path / f"out-{lowercase}")
        assert ours.lowercase == setting["do_lower_case"]


def test_what_only_tokenizer_json_says_is_asked_for(tmp_path: Path) -> None:
    folder = fill(tmp_path / "a", tokenizer=built(lowercase=False))
    with pytest.raises(DataError, match=r'lowercase false.*write "do_lower_case": false \(or true\)'):
        load_tokenizer(folder)
    fill(folder, tokenizer_config={"do_lower_case": False})
    assert not assert_as_theirs(folder, tmp_path / "out").lowercase


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"normalizer": normalizers.NFKC()}, "normalizer"),
        ({"pre_tokenizer": pre_tokenizers.WhitespaceSplit()}, "pre_tokenizer"),
        ({"model": {"max_input_chars_per_word": 7}}, "model"),
        ({"model": {"continuing_subword_prefix": "@@"}}, "model"),
        (
            {
                "post_processor": processors.TemplateProcessing(
                    single="[CLS] $A", pair="[CLS] $A $B", special_tokens=[("[CLS]", 2)]
                )
            },
            "encodes a text or a pair as",
        ),
    ],
)
def test_a_pipeline_that_the_class_would_not_build(parts: dict[str, Any], said: str, tmp_path: Path) -> None:
    folder = fill(tmp_path / "a", tokenizer=built(**parts), tokenizer_config={"tokenizer_class": "BertTokenizerFast"})
    with pytest.raises(DataError, match=f'{said}.*"tokenizer_class": "PreTrainedTokenizerFast"'):
        load_tokenizer(folder)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"}, "words by mecab"),
        ({"tokenizer_class": "BertJapaneseTokenizer", "subword_tokenizer_type": "character"}, "pieces by character"),
        ({"tokenizer_class": "TapasTokenizer"}, "is a TapasTokenizer, which bertie doesn't support"),
        ({"tokenizer_class": "BertTokenizer", "auto_map": {"AutoTokenizer": ["a.B", None]}}, "code in the folder"),
        ({"do_basic_tokenize": False}, "do_basic_tokenize is false"),
        ({"never_split": ["[drug]"]}, r"never_split names '\[drug\]'"),
        ({"tokenizer_class": "RobertaTokenizer"}, "needs tokenizer.json or vocab.json"),
        ({"do_lower_case": "no"}, "do_lower_case must be true or false"),
        ({"split_special_tokens": True}, "split_special_tokens"),
    ],
)
def test_other_tokenizers_are_refused_by_name(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    folder = fill(tmp_path / "a", tokenizer_config={"do_lower_case": True, **settings})
    with pytest.raises(DataError, match=said):
        load_tokenizer(folder)


def test_a_word_never_split_that_is_an_added_token(tmp_path: Path) -> None:
    settings = {"do_lower_case": True, "never_split": ["[ent]", "[MASK]"]}
    assert_as_theirs(
        fill(tmp_path / "a", tokenizer_config=settings, added_tokens={"[ent]": len(PIECES)}), tmp_path / "b"
    )


def test_lines_of_a_vocabulary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [*SPECIALS, "", "the", "cat \t", "\u2028", "sat", "", "the", "Paris\r", "##s", "."]
    folder = fill(tmp_path / "a", pieces=lines, tokenizer_config={"do_lower_case": False})
    ours = assert_as_theirs(folder, tmp_path / "out")
    assert "'the' twice, on lines 7 and 12" in capsys.readouterr().err
    assert ours.tokens == [*SPECIALS, "", "", "cat", "", "sat", "", "the", "Paris", "##s", "."]
    assert ours.vocab_size == len(lines)


def test_an_added_token_that_would_get_another_id(tmp_path: Path) -> None:
    settings = {"do_lower_case": False}
    twice = fill(tmp_path / "a", pieces=[*PIECES, "cat"], tokenizer_config=settings)
    fill(twice, pieces=None, added_tokens={"covid": len(PIECES) + 1})
    with pytest.raises(DataError, match=r"'covid' has the id 23 in its files.* 22;"):
        load_tokenizer(twice)
    two = fill(tmp_path / "b", tokenizer_config=settings, added_tokens={"covid": 30}, tokenizer=built())
    state = json.loads((two / "tokenizer.json").read_text())
    state["added_tokens"].append({**state["added_tokens"][0], "content": "covid", "id": 31})
    fill(two, pieces=None, tokenizer=state)
    with pytest.raises(DataError, match=r"'covid' has the id 31 in tokenizer\.json and 30 in added_tokens\.json"):
        load_tokenizer(two)


def test_a_vocabulary_with_counts(tmp_path: Path) -> None:
    folder = fill(tmp_path / "a", pieces=[f"{piece}\t{number}" for number, piece in enumerate(PIECES)])
    with pytest.raises(DataError, match=r"second column.*cut -f1"):
        load_tokenizer(folder)


def test_capitals_without_a_word_about_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match=r"capitals \('Paris'\).*\"do_lower_case\": false"):
        load_tokenizer(fill(tmp_path / "a"))
    assert not load_tokenizer(fill(tmp_path / "b", model=None)).lowercase
    assert "so texts keep their capitals" in capsys.readouterr().err
    lower = [piece.lower() if piece == "Paris" else piece for piece in PIECES]
    assert assert_as_theirs(fill(tmp_path / "c", pieces=lower), tmp_path / "d").lowercase


def test_ids_with_a_hole(tmp_path: Path) -> None:
    vocabulary = {piece: number + 3 * (number > 8) for number, piece in enumerate(PIECES)}
    folder = fill(tmp_path / "a", pieces=None, tokenizer=built(vocabulary=vocabulary))
    ours = assert_as_theirs(folder, tmp_path / "out")
    assert ours.vocab_size == len(PIECES) + 3 and ours.tokens[9:12] == ["", "", ""]
    assert [ours.tokens[piece] for piece in ours.encode_batch(["the par in"])[0]] == ["the", "par", "in"]


def test_two_vocabularies(tmp_path: Path) -> None:
    folder = fill(tmp_path / "a", pieces=[*PIECES[:-1], "dog"], tokenizer=built())
    assert "'dog' on line 22" in load_tokenizer(folder).remarks[0]


@pytest.mark.parametrize(("version", "told"), [("4.40.0", True), (None, True), ("5.23.0", False)])
def test_segments_as_the_version_gave_them(version: str | None, told: bool, tmp_path: Path) -> None:
    ends = [("[CLS]", 2), ("[SEP]", 3)]
    layout = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **dict(zip(ROLES, SPECIALS, strict=True))}
    folder = fill(tmp_path / "a", pieces=None, tokenizer=built(post_processor=layout), tokenizer_config=settings)
    fill(folder, pieces=None, model=None, config={"model_type": "bert", "transformers_version": version})
    ours = load_tokenizer(folder)
    assert ours.tells_segments is told and bool(ours.doubt) is told
    fill(folder, pieces=None, model=None, tokenizer_config={**settings, "model_input_names": ["input_ids"]})
    assert not load_tokenizer(folder).tells_segments


def test_parts_that_are_broken(tmp_path: Path) -> None:
    for name, content, said in (
        ("added_tokens", {"covid": "7"}, "must have a number"),
        ("tokenizer_config", {"added_tokens_decoder": {"x": {"content": "a"}}}, "no content or no id"),
        ("tokenizer_config", {"added_tokens_decoder": {"7": {"content": "a", "lstrip": 3}}}, "not true or false"),
        ("special_tokens_map", {"additional_special_tokens": [7]}, "is not a description of a token"),
        ("special_tokens_map", {"cls_token": "<start>"}, "lacks the special tokens '<start>'"),
        ("tokenizer", {"model": 7}, "model must be an object"),
    ):
        folder = fill(tmp_path / f"{name}{said[:4]}", **{"tokenizer_config": {}, name: content})
        (folder / "vocab.txt").write_text("\n".join(SPECIALS))
        with pytest.raises(DataError, match=said):
            load_tokenizer(folder)
