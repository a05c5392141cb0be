"""Byte-level BPE and Unigram: transformers' ids, roles of special tokens, pairs, files that go out and come back."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import (
    AddedToken,
    ByteLevelBPETokenizer,
    Regex,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from tokenizers import Tokenizer as RustTokenizer

from bertie.errors import DataError, SettingsError
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.task import Text
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer
from bertie.tokenizer.writing import save_tokenizer

ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
TEXT = [
    "The old dog ran in the city, and the cat saw it. The bird never sat in the new house by the river!",
    "It's a café; naïve Über-cats didn't cost $12.50 in 2024.  Two  spaces\nand lines\tand tabs.",
    "北京的猫在2024年吃了三条鱼，很好。 한국어 かな 🐱👩‍👩‍👧 Ελληνικά русский",
]
PARTS = [
    "<mask>",
    "<s>",
    "</s>",
    "[MASK]",
    "[CLS]",
    "[SEP]",
    " <mask> ",
    "  ",
    "\n\n",
    "\t",
    "'s",
    "'LL",
    "\u00a0",
    "\x00",
    "🐱",
]
COUNT = 3000


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with vocab.json and merges.txt, as RoBERTa's first files were."""
    folder = tmp_path_factory.mktemp("roberta")
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(TEXT * 3, vocab_size=400, min_frequency=2, special_tokens=ROBERTA, show_progress=False)
    trained.save_model(str(folder))
    return folder


@pytest.fixture(scope="module")
def modern(roberta: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tokenizer.json of ModernBERT's kind: byte-level, NFC, BERT's names, single separators."""
    folder = tmp_path_factory.mktemp("modern")
    rust = RustTokenizer(models.BPE.from_file(str(roberta / "vocab.json"), str(roberta / "merges.txt")))
    rust.normalizer = normalizers.NFC()
    rust.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    rust.decoder = decoders.ByteLevel()
    rust.add_special_tokens([AddedToken(name, special=True) for name in ("[UNK]", "[CLS]", "[SEP]", "[PAD]")])
    rust.add_special_tokens([AddedToken("[MASK]", special=True, lstrip=True)])
    rust.add_tokens([AddedToken("  ", normalized=False), AddedToken("|||EMAIL|||", normalized=True)])
    ends = [(name, rust.token_to_id(name) or 0) for name in ("[CLS]", "[SEP]")]
    rust.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
    )
    rust.save(str(folder / "tokenizer.json"))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIALS, strict=True))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 8192, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def hostile(draw: random.Random) -> str:
    parts = []
    for _ in range(draw.randint(1, 10)):
        kind = draw.random()
        if kind < 0.3:
            parts.append(draw.choice(PARTS))
        elif kind < 0.6:
            text = draw.choice(TEXT)
            start = draw.randrange(len(text))
            parts.append(text[start : start + draw.randint(1, 20)])
        else:
            low, high = draw.choice([(0x20, 0x7F), (0x80, 0x24F), (0x300, 0x36F), (0x4E00, 0x9FFF), (0x1F300, 0x1FAFF)])
            parts.append("".join(chr(draw.randint(low, high)) for _ in range(draw.randint(1, 8))))
    return "".join(parts)


STRINGS = ["", " ", *(hostile(random.Random(seed)) for seed in range(COUNT))]


def theirs_of(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(folder)


def assert_equal_ids(ours: Tokenizer, theirs: Any) -> None:
    assert ours.encode_batch(STRINGS) == theirs(STRINGS, add_special_tokens=False)["input_ids"]
    pairs = STRINGS[:200], STRINGS[200:400]
    packed = ours.pack(pairs[0], pairs[1], max_length=10_000)
    expected = theirs(*pairs)["input_ids"]
    assert packed.tokens.tolist() == [token for ids in expected for token in ids]
    single = ours.pack(pairs[0], max_length=10_000)
    assert single.tokens.tolist() == [token for ids in theirs(pairs[0])["input_ids"] for token in ids]


def test_ids_of_vocabulary_and_merges(roberta: Path) -> None:
    ours = load_tokenizer(roberta)
    assert_equal_ids(
        ours, transformers.RobertaTokenizer.from_pretrained(roberta, mask_token=AddedToken("<mask>", lstrip=True))
    )
    assert (ours.start, ours.pad, ours.separator, ours.unknown, ours.mask) == (0, 1, 2, 3, 4)
    assert ours.num_between == 2 and not ours.lowercase


@pytest.mark.parametrize("kind", ["roberta", "modern"])
def test_what_is_written_is_read_by_either_side(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    ours = load_tokenizer(request.getfixturevalue(kind))
    save_tokenizer(ours, tmp_path / "once")
    for place in (tmp_path / "once", tmp_path / "once" / "tokenizer.json"):
        again = load_tokenizer(place)
        assert (again.fingerprint, again.tokens) == (ours.fingerprint, ours.tokens)
        assert (again.special_ids, again.num_between) == (ours.special_ids, ours.num_between)
    theirs = theirs_of(tmp_path / "once")
    assert_equal_ids(again, theirs)
    assert [theirs.cls_token_id, theirs.sep_token_id, theirs.pad_token_id] == [ours.start, ours.separator, ours.pad]
    assert [theirs.mask_token_id, theirs.unk_token_id] == [ours.mask, ours.unknown]
    save_tokenizer(again, tmp_path / "twice")
    for file in (tmp_path / "once").iterdir():
        assert file.read_bytes() == (tmp_path / "twice" / file.name).read_bytes(), file.name


def test_ids_of_a_tokenizer_json(modern: Path) -> None:
    ours = load_tokenizer(modern)
    assert_equal_ids(ours, theirs_of(modern))
    assert ours.num_between == 1 and ours.tokens[ours.mask] == "[MASK]"


def test_a_pair_has_two_separators_between(roberta: Path) -> None:
    ours = load_tokenizer(roberta)
    a, b = ours.encode_batch(["the cat", "the dog"])
    found = ours.pack(["the cat"], ["the dog"], max_length=40)
    assert found.tokens.tolist() == [0, *a, 2, 2, *b, 2]
    assert found.segments.tolist() == [0] * (len(a) + 3) + [1] * (len(b) + 1)
    cut = ours.pack(["the cat"], ["the dog"], max_length=8, truncation="truncate")
    assert cut.tokens.tolist() == [0, *a[:2], 2, 2, *b[:2], 2]
    assert cut.truncated.tolist() == [len(a) + len(b) - 4]


@settings(max_examples=100)
@given(texts=st.lists(st.text(max_size=40), min_size=1, max_size=6))
def test_any_text_comes_back_with_its_characters(roberta: Path, texts: list[str]) -> None:
    ours = load_tokenizer(roberta)
    plain = [text for text in texts if not any(name in text for name in ROBERTA)]
    assert [ours.decode(ids) for ids in ours.encode_batch(plain)] == plain
    for text, (ids, spans) in zip(plain, ours.encode_batch_aligned(plain), strict=True):
        assert len(ids) == len(spans)
        for start, end in spans:
            piece = text[start:end]
            assert 0 <= start <= end <= len(text) and (piece == piece.strip() or not piece.strip())


@pytest.mark.parametrize("kind", ["roberta", "modern"])
def test_pieces_as_text(kind: str, request: pytest.FixtureRequest) -> None:
    ours = load_tokenizer(request.getfixturevalue(kind))
    (ids,) = ours.encode_batch(["The old dog's café"])
    assert "".join(ours.shown[piece] for piece in ids) == "The old dog's café"
    assert ours.shown[ours.mask] == ours.tokens[ours.mask] and ours.tokens[ours.mask] in ("<mask>", "[MASK]")
    whole = [ours.start, *ids, ours.mask, *ids, ours.separator]
    begins = [ours.shown[piece] for piece, start in zip(whole, ours.word_starts(whole), strict=True) if start]
    assert [len(begins), begins[1][:1], begins[2][:2]] == [1 + 4 + 1 + 4 + 1, "T", " o"]
    (spans,) = [spans for _, spans in ours.encode_batch_aligned(["a  cat"])]
    assert "".join("a  cat"[start:end].strip() for start, end in spans) == "acat"


def test_a_unigram_file(tmp_path: Path) -> None:
    """ALBERT's kind: its names are of both families, and text is lower-cased."""
    pieces = ["<pad>", "<unk>", "[CLS]", "[SEP]", "<mask>", "[MASK]", "\u2581the", "\u2581cat", "s", "\u2581", "a", "t"]
    rust = RustTokenizer(models.Unigram([(piece, -float(place)) for place, piece in enumerate(pieces)], 1))
    rust.normalizer = normalizers.Lowercase()
    rust.pre_tokenizer = pre_tokenizers.Metaspace()
    rust.decoder = decoders.Metaspace()
    rust.add_special_tokens(["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"])
    rust.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    rust.save(str(tmp_path / "tokenizer.json"))
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": {"content": "[MASK]", "lstrip": True}}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(names), encoding="utf-8")
    ours = load_tokenizer(tmp_path)
    found = ours.pack(["The cats [MASK]"], ["at"], max_length=20)
    assert [ours.tokens[piece] for piece in found.tokens] == [
        *("[CLS]", "\u2581the", "\u2581cat", "s", "\u2581", "[MASK]", "[SEP]", "\u2581", "a", "t", "[SEP]")
    ]
    assert ours.lowercase and ours.shown[7] == " cat" and ours.unknown == 1
    assert ours.word_starts([6, 7, 8]) == [True, True, False]
    save_tokenizer(ours, tmp_path / "again")
    again = load_tokenizer(tmp_path / "again")
    assert (again.fingerprint, again.special_ids) == (ours.fingerprint, ours.special_ids)


@pytest.mark.parametrize("cut", [True, False])
def test_an_albert_that_transformers_4_made_of_a_sentencepiece_file(cut: bool, tmp_path: Path) -> None:
    """It joins spaces before words are cut at them, which changes nothing; without that cut it would."""
    names = ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"]
    pieces = [*names, "\u2581the", "\u2581cat", "s", "\u2581", "a", "t"]
    rust = RustTokenizer(models.Unigram([(piece, -float(place)) for place, piece in enumerate(pieces)], 1))
    steps = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"'), normalizers.NFKD()]
    steps += [normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Replace(Regex(" {2,}"), " ")]
    rust.normalizer = normalizers.Sequence(steps)
    words = [pre_tokenizers.WhitespaceSplit()] if cut else []
    rust.pre_tokenizer = pre_tokenizers.Sequence([*words, pre_tokenizers.Metaspace()])
    rust.add_special_tokens(names)
    rust.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "config.json").write_text('{"model_type": "albert"}', encoding="utf-8")
    if not cut:
        said = r'normalizer \.\.\. .*"Lowercase"[}], .* [{]2,[}].* transformers 5 uses \.\.\. .*"Lowercase"}]}\. '
        with pytest.raises(DataError, match=said):
            load_tokenizer(tmp_path)
        return
    text = "The   cats \u3000 \u00e2t\t\n the"
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)(text, add_special_tokens=False)["input_ids"]
    assert load_tokenizer(tmp_path).encode_batch([text]) == [theirs]


def test_what_is_missing_is_named(roberta: Path, modern: Path, tmp_path: Path) -> None:
    (tmp_path / "own.model").write_bytes(b"\x0a")
    with pytest.raises(SettingsError, match=r"only own\.model; if it is a sentencepiece model, give its name"):
        load_tokenizer(tmp_path)
    (tmp_path / "vocab.json").write_bytes((roberta / "vocab.json").read_bytes())
    with pytest.raises(DataError, match=r"needs its merges\.txt"):
        load_tokenizer(tmp_path)
    (tmp_path / "merges.txt").write_bytes(b"\xff\n")
    with pytest.raises(DataError, match=r"vocab\.json and merges\.txt"):
        load_tokenizer(tmp_path)
    (tmp_path / "merges.txt").write_bytes((roberta / "merges.txt").read_bytes())
    (tmp_path / "special_tokens_map.json").write_text('{"mask_token": "<hole>"}')
    with pytest.raises(DataError, match="'<hole>'"):
        load_tokenizer(tmp_path)
    (tmp_path / "special_tokens_map.json").write_text("[1]")
    with pytest.raises(DataError, match=r"special_tokens_map\.json: a JSON object was expected"):
        load_tokenizer(tmp_path)
    state = json.loads((modern / "tokenizer.json").read_text(encoding="utf-8"))
    (tmp_path / "tokenizer.json").write_text(json.dumps({**state, "post_processor": None}), encoding="utf-8")
    (tmp_path / "special_tokens_map.json").unlink()
    with pytest.raises(DataError, match="has no post_processor"):
        load_tokenizer(tmp_path)


def test_two_tokenizers_have_two_fingerprints(roberta: Path, modern: Path, tmp_path: Path) -> None:
    merges = (roberta / "merges.txt").read_text(encoding="utf-8").splitlines()
    (tmp_path / "merges.txt").write_text("\n".join(merges[:-1]) + "\n", encoding="utf-8")
    (tmp_path / "vocab.json").write_bytes((roberta / "vocab.json").read_bytes())
    prints = {load_tokenizer(folder).fingerprint for folder in (roberta, modern, tmp_path)}
    assert len(prints) == 3


def test_what_a_mask_hides_begins_with_the_space_before_it(roberta: Path) -> None:
    tokenizer = load_tokenizer(roberta)
    whole = tokenizer.pack(["The old dog ran", "dog"], max_length=32)
    gaps = [tokenizer.encode_batch([word])[0] for word in (" dog", "dog")]
    texts = [f"The old {'<mask>' * len(gaps[0])} ran", "<mask>" * len(gaps[1])]
    items = [Text(text, label="dog") for text in texts]
    targets = MaskedLM().encode(items, tokenizer).targets
    hidden = targets["slot.token"].tolist()
    assert hidden == whole.tokens[targets["slot.position"].numpy()].tolist() == gaps[0] + gaps[1]
