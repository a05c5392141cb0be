"""SentencePiece models of ALBERT, DeBERTa and XLM-RoBERTa: the ids of transformers' conversion of the same file."""

from __future__ import annotations

import io
import json
import random
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import sentencepiece
import transformers
from sentencepiece import sentencepiece_model_pb2 as schema
from transformers.convert_slow_tokenizer import AlbertConverter, DebertaV2Converter, XLMRobertaConverter

from bertie.errors import DataError
from bertie.formats import huggingface
from bertie.formats.format import new
from bertie.models.deberta_v2 import DebertaV2Config
from bertie.tasks.masked_lm import MaskedLM
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.sentencepiece import NAMES
from bertie.tokenizer.writing import save_tokenizer

TEXT = [
    "The old dog ran in the city, and the cat saw it. The bird never sat in the new house by the river!",
    "It's a café; naïve Über-cats didn't cost $12.50 in 2024, in 2025, or in 1999, but 9, 19, 29, or 39,",
    "``He said'' (so) that the cats were 100, 200, 300, and more than 400, in all of the houses of 2024,",
    "北京的猫在2024年吃了三条鱼，很好。上海的猫在2023年吃了两条鱼，也很好。",
    "한국어 かな Ελληνικά русский язык",
]
SPECIALS = ("[PAD]", "[CLS]", "[SEP]", "[UNK]")
MODELS = dict(zip(("albert", "deberta-v2", "xlm-roberta"), NAMES, strict=True))
CLASSES = {"albert": "AlbertTokenizer", "deberta-v2": "DebertaV2Tokenizer", "xlm-roberta": "XLMRobertaTokenizer"}
CONVERTERS = {"albert": AlbertConverter, "deberta-v2": DebertaV2Converter, "xlm-roberta": XLMRobertaConverter}
TRAINED: dict[str, dict[str, Any]] = {
    "albert": {
        **dict(zip(("pad_id", "unk_id", "bos_id", "eos_id"), (0, 1, -1, -1), strict=True)),
        "pad_piece": "<pad>",
        "control_symbols": ["[CLS]", "[SEP]", "[MASK]"],
        "user_defined_symbols": ["(", ")", "–", "£"],
    },
    "deberta-v2": {
        **dict(zip(("pad_id", "bos_id", "eos_id", "unk_id"), range(4), strict=True)),
        **dict(zip(("pad_piece", "bos_piece", "eos_piece", "unk_piece"), SPECIALS, strict=False)),
    },
    "xlm-roberta": {"user_defined_symbols": ["<ent>"]},
}
NAMED = {
    "albert": {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "[CLS]", "sep_token": "[SEP]"},
    "deberta-v2": {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
    "xlm-roberta": {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>"},
}
MASKS: dict[str, Any] = {
    "albert": "[MASK]",
    "deberta-v2": "[MASK]",
    "xlm-roberta": {"content": "<mask>", "lstrip": True, "__type": "AddedToken"},
}
PARTS = [
    "[MASK]",
    "<mask>",
    "[CLS]",
    "</s>",
    "<unk>",
    "[UNK]",
    "<ent>",
    "<0x41>",
    "▁",
    " ▁ ",
    "  ",
    "\n",
    "\t\t",
    "``",
    "''",
]
PARTS += [
    "9,",
    "2024,",
    "¼",
    "ﬁ",
    "ＡＢＣ",
    "，",
    "…",
    "\u00a0",
    "\u3000",
    "\u200b",
    "\u2028",
    "\x00",
    "\x7f",
    "\ufeff",
]
PARTS += [
    "e\u0301\u0300\u0327",
    "\u0130",
    "ß",
    "👩\u200d👩\u200d👧",
    "🏳️\u200d🌈",
    "\U0010ffff",
    "\ufdfa",
    "각",
    "ᄀ",
    "(",
    ")",
    "£",
]


def hostile(draw: random.Random) -> str:
    parts = []
    for _ in range(draw.randint(1, 9)):
        kind = draw.random()
        if kind < 0.35:
            parts.append(draw.choice(PARTS))
        elif kind < 0.7:
            text = draw.choice(TEXT)
            start = draw.randrange(len(text))
            parts.append(text[start : start + draw.randint(1, 25)])
        else:
            low, high = draw.choice([(0x0, 0x7F), (0x80, 0x24F), (0x300, 0x36F), (0x4E00, 0x9FFF), (0x1F300, 0x1FAFF)])
            parts.append("".join(chr(draw.randint(low, high)) for _ in range(draw.randint(1, 8))))
    return "".join(parts)


LONG = ["the cats " * 1000, "京" * 3000, "x" * 5000, "\u0301" * 1000, " " * 3000]
STRINGS = ["", " ", "\x00", *TEXT, *LONG, *(hostile(random.Random(seed)) for seed in range(700))]


def trained(kind: str, **options: Any) -> bytes:
    """Train a small model as that of a family was."""
    out = io.BytesIO()
    usual = {"vocab_size": 420 if options.get("byte_fallback") else 200, "hard_vocab_limit": False, "minloglevel": 2}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT * 30), model_writer=out, **{**usual, **TRAINED[kind], **options}
    )
    return out.getvalue()


@pytest.fixture(scope="module")
def files() -> dict[tuple[str, str], bytes]:
    return {(kind, form): trained(kind, **options) for kind in MODELS for form, options in FORMS.items()}


FORMS: dict[str, dict[str, Any]] = {
    "usual": {},
    "bytes": {"byte_fallback": True},
    "folded": {"normalization_rule_name": "nmt_nfkc_cf"},
    "identity": {"normalization_rule_name": "identity"},
}
SETTINGS: dict[str, list[dict[str, Any]]] = {
    "albert": [{}, {"do_lower_case": False}, {"keep_accents": True}],
    "deberta-v2": [{}, {"do_lower_case": True}, {"split_by_punct": True}],
    "xlm-roberta": [{}],
}


def fill(folder: Path, kind: str, content: bytes, **settings: Any) -> Path:
    """Write a folder as published ones are: the model file, config.json, and a tokenizer_config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODELS[kind]).write_bytes(content)
    (folder / "config.json").write_text(json.dumps({"model_type": kind}), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def theirs_of(folder: Path, kind: str, settings: dict[str, Any], out: Path) -> Any:
    """Convert a model file by transformers' converter, and read the tokenizer.json by the class or as it stands."""
    defaults = {"keep_accents": False, "do_lower_case": kind == "albert", "split_by_punct": False}
    slow = SimpleNamespace(vocab_file=str(folder / MODELS[kind]), **{**defaults, **settings})
    processor = schema.ModelProto.FromString((folder / MODELS[kind]).read_bytes())
    names = [piece.piece for piece in processor.pieces]
    slow.convert_tokens_to_ids = {"<s>": 0, "</s>": 2}.get if kind == "xlm-roberta" else names.index
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns that it ignores byte_fallback
        rust = CONVERTERS[kind](slow).converted()
    out.mkdir()
    rust.save(str(out / "tokenizer.json"))
    config = {**NAMED[kind], "mask_token": MASKS[kind], "tokenizer_class": "PreTrainedTokenizerFast"}
    if kind == "albert":
        config |= {"tokenizer_class": "AlbertTokenizer", **settings}
    (out / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return transformers.AutoTokenizer.from_pretrained(out)


CASES = [
    (kind, form, settings)
    for kind in MODELS
    for form in FORMS
    for settings in (SETTINGS[kind] if form == "usual" else [{}])
]


@pytest.mark.parametrize(("kind", "form", "settings"), CASES)
def test_ids_of_the_conversion(
    kind: str, form: str, settings: dict[str, Any], files: dict[tuple[str, str], bytes], tmp_path: Path
) -> None:
    folder = fill(tmp_path / "a", kind, files[kind, form], **settings)
    ours, theirs = load_tokenizer(folder), theirs_of(folder, kind, settings, tmp_path / "b")
    for text, ids, expected in zip(
        STRINGS, ours.encode_batch(STRINGS), theirs(STRINGS, add_special_tokens=False)["input_ids"], strict=True
    ):
        assert ids == expected, text
    assert len(ours.tokens) == len(theirs)
    assert ours.tokens == theirs.convert_ids_to_tokens(range(len(theirs)))
    packed = ours.pack(STRINGS[:30], STRINGS[30:60], max_length=10**6)
    expected = theirs(STRINGS[:30], STRINGS[30:60])["input_ids"]
    assert packed.tokens.tolist() == [token for ids in expected for token in ids]
    assert [ours.pad, ours.unknown, ours.start, ours.separator, ours.mask] == [
        *(theirs.pad_token_id, theirs.unk_token_id, theirs.cls_token_id, theirs.sep_token_id, theirs.mask_token_id)
    ]


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_written_is_read_by_either_side(kind: str, files: dict[tuple[str, str], bytes], tmp_path: Path) -> None:
    folder = fill(tmp_path / "a", kind, files[kind, "usual"])
    ours = load_tokenizer(folder)
    save_tokenizer(ours, tmp_path / "once")
    again = load_tokenizer(tmp_path / "once")
    assert (again.fingerprint, again.tokens, again.num_between) == (ours.fingerprint, ours.tokens, ours.num_between)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "once")
    expected = ours.encode_batch(STRINGS)
    assert theirs(STRINGS, add_special_tokens=False)["input_ids"] == again.encode_batch(STRINGS) == expected
    assert not (tmp_path / "once" / MODELS[kind]).exists()
    save_tokenizer(again, tmp_path / "twice")
    for file in (tmp_path / "once").iterdir():
        assert file.read_bytes() == (tmp_path / "twice" / file.name).read_bytes(), file.name
    (folder / MODELS[kind]).rename(tmp_path / "other.model")  # one file by its name, with a class and no config.json
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": CLASSES[kind] + "Fast"}))
    assert load_tokenizer(tmp_path / "other.model").fingerprint == ours.fingerprint


@pytest.mark.parametrize("kind", ["deberta-v2", "xlm-roberta"])
@pytest.mark.parametrize("form", ["usual", "folded"])
def test_plain_text_has_the_pieces_of_sentencepiece(
    kind: str, form: str, files: dict[tuple[str, str], bytes], tmp_path: Path
) -> None:
    ours = load_tokenizer(fill(tmp_path, kind, files[kind, form]))
    processor = sentencepiece.SentencePieceProcessor(model_proto=files[kind, form])
    texts = [*TEXT, *TEXT[0].split(), "  two  spaces\n", "ＡＢＣ，① ﬁ…", "1990\u00a0km", "ǅ Ｐẞ"]
    for text, ids in zip(texts, ours.encode_batch(texts), strict=True):
        assert [ours.tokens[piece] for piece in ids] == [
            processor.id_to_piece(piece) for piece in processor.encode(text)
        ], text


def test_xlm_roberta_is_that_of_transformers_5(files: dict[tuple[str, str], bytes], tmp_path: Path) -> None:
    mask = {"content": "<mask>", "lstrip": True, "__type": "AddedToken"}
    folder = fill(tmp_path, "xlm-roberta", files["xlm-roberta", "usual"], mask_token=mask)
    ours, theirs = load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder)
    texts = [*TEXT, "The <mask> sat", "  a  b ", "ＡＢＣ", "<ent> cat", "🐱"]
    assert ours.encode_batch(texts) == theirs(texts, add_special_tokens=False)["input_ids"]
    assert ours.tokens == theirs.convert_ids_to_tokens(range(len(theirs))) and ours.remarks == ()
    assert (ours.num_between, ours.tells_segments) == (2, False)
    assert ours.tokens[:5] == ["<s>", "<pad>", "</s>", "<unk>", "<ent>"] and ours.mask == len(ours.tokens) - 1


def test_deberta_appends_its_mask(files: dict[tuple[str, str], bytes], tmp_path: Path) -> None:
    folder = fill(tmp_path, "deberta-v2", files["deberta-v2", "bytes"])
    ours = load_tokenizer(folder)
    size = len(schema.ModelProto.FromString(files["deberta-v2", "bytes"]).pieces)
    assert (ours.pad, ours.start, ours.separator, ours.unknown, ours.mask) == (0, 1, 2, 3, size)
    assert (ours.num_between, ours.tells_segments, ours.lowercase) == (1, True, False)
    assert ["byte_fallback" in ours.remarks[0], "a map of characters" in ours.remarks[1]] == [True, True]
    (folder / "added_tokens.json").write_text(json.dumps({"[MASK]": size}))
    assert load_tokenizer(folder).tokens == ours.tokens
    (folder / "added_tokens.json").write_text(json.dumps({"[MASK]": size + 1}))
    with pytest.raises(DataError, match=r"'\[MASK\]' has the id"):
        load_tokenizer(folder)


def test_albert_cuts_the_comma_from_a_number(files: dict[tuple[str, str], bytes], tmp_path: Path) -> None:
    ours = load_tokenizer(fill(tmp_path, "albert", files["albert", "usual"]))
    assert "▁2024," in ours.tokens and "a number with a comma" in ours.remarks[0]
    (ids,) = ours.encode_batch(["It cost 2024, and the CAFÉ"])
    assert "".join(ours.shown[piece] for piece in ids) == " it cost 2024, and the cafe" and ours.lowercase
    assert "," in [ours.tokens[piece] for piece in ids] and ours.token_id("▁2024,") not in ids


def changed(content: bytes, **changes: Any) -> bytes:
    """Change values of the message of training or normalization, by their names."""
    proto = schema.ModelProto.FromString(content)
    for name, value in changes.items():
        setattr(proto.normalizer_spec if hasattr(proto.normalizer_spec, name) else proto.trainer_spec, name, value)
    return bytes(proto.SerializeToString())


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("deberta-v2", {"unk_id": 1}, "names the id 1 for unknown text, but its piece for it has the id 3"),
        ("xlm-roberta", {"add_dummy_prefix": False}, "has add_dummy_prefix false, which transformers doesn't follow"),
        ("xlm-roberta", {"remove_extra_whitespaces": False}, "has remove_extra_whitespaces false"),
    ],
)
def test_settings_that_nobody_follows_are_said(
    kind: str, changes: dict[str, Any], said: str, files: dict[tuple[str, str], bytes], tmp_path: Path
) -> None:
    usual = load_tokenizer(fill(tmp_path / "a", kind, files[kind, "usual"]))
    ours = load_tokenizer(fill(tmp_path / "b", kind, changed(files[kind, "usual"], **changes)))
    assert ours.fingerprint == usual.fingerprint
    assert any(said in remark for remark in ours.remarks) and not any(said in remark for remark in usual.remarks)


def test_a_tokenizer_json_comes_first(files: dict[tuple[str, str], bytes], tmp_path: Path) -> None:
    folder = fill(tmp_path / "a", "deberta-v2", files["deberta-v2", "usual"])
    ours = load_tokenizer(folder)
    save_tokenizer(ours, folder)
    (folder / "spm.model").write_bytes(b"broken")
    assert load_tokenizer(folder).fingerprint == ours.fingerprint
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "DebertaV2TokenizerFast"}')
    again = load_tokenizer(folder)
    assert again.encode_batch(STRINGS) == ours.encode_batch(STRINGS)
    assert any("is followed, as transformers 4 did" in remark for remark in again.remarks)


def test_a_model_folder_as_deberta_v3_has_it(files: dict[tuple[str, str], bytes], tmp_path: Path) -> None:
    folder = fill(tmp_path / "a", "deberta-v2", files["deberta-v2", "bytes"])
    tokenizer = load_tokenizer(folder)
    config = DebertaV2Config.sized("1/16", vocab_size=tokenizer.vocab_size + 90)  # theirs has rows to spare too
    huggingface.write(new(config, MaskedLM(max_length=32), tokenizer, 1, architecture="deberta_v2"), tmp_path / "made")
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "made" / name).rename(folder / name)
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "vocab_type": "spm"}')
    read = huggingface.read(folder)
    assert read.tokenizer.fingerprint == tokenizer.fingerprint and read.tokenizer.mask == tokenizer.vocab_size - 1
    huggingface.write(read, tmp_path / "again")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "again")
    assert theirs(TEXT, add_special_tokens=False)["input_ids"] == tokenizer.encode_batch(TEXT)


def test_the_hub_is_asked_for_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def download(_: str, *, allow_patterns: list[str]) -> str:
        asked.extend(allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.chdir(tmp_path)
    assert huggingface.resolve("someone/small") == tmp_path
    assert set(NAMES) <= set(asked)
