"""Tokenizers built by hand from the package's parts: usable from text to fine-tuned model, written as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import AddedToken, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Tokenizer as RustTokenizer

import bertie
from bertie.errors import DataError
from bertie.formats import huggingface
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.tokenizer import SPECIALS
from bertie.tokenizer.writing import save_tokenizer

ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")
TEXT = "the old dog ran in the city, it's a café! a bad film never ran. THE new bird saw one red fish"
TEXTS = [TEXT, "DOG_dog... “dog”", " new york", "x" * 30, "Éa"]
LAYOUT = {"single": "[CLS] $A [SEP]", "pair": "[CLS] $A [SEP] $B:1 [SEP]:1"}
COURSE = normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents()])
QUOTES = normalizers.Sequence([normalizers.Replace("“", '"'), normalizers.BertNormalizer(lowercase=True)])


def build(
    folder: Path, model: str, normalizer: Any = None, cut: Any = None, *, names: Any = SPECIALS, **options: Any
) -> Path:
    """Train a tokenizer on the text, and save it with the names of its special tokens."""
    rust = RustTokenizer(getattr(models, model)(unk_token=names[1]))
    rust.normalizer, rust.pre_tokenizer = normalizer, cut or pre_tokenizers.Whitespace()
    trainer = getattr(trainers, f"{model}Trainer")(
        special_tokens=list(names), vocab_size=120, show_progress=False, **options.get("trainer", {})
    )
    if "trainer" in options:
        rust.model.continuing_subword_prefix = options["trainer"]["continuing_subword_prefix"]
    if "longest" in options:
        rust.model.max_input_chars_per_word = options["longest"]
    rust.train_from_iterator([TEXT], trainer)
    if options.get("layout", True):
        ends = [(name, rust.token_to_id(name)) for name in (names[2], names[3])]
        layout = {key: value.replace("[CLS]", names[2]).replace("[SEP]", names[3]) for key, value in LAYOUT.items()}
        rust.post_processor = processors.TemplateProcessing(special_tokens=ends, **layout)
    if "added" in options:
        rust.add_tokens([AddedToken(name, normalized=True, lstrip=True) for name in options["added"]])
    if options.get("cuts"):
        rust.enable_truncation(3)
        rust.enable_padding(length=7)
    folder.mkdir()
    rust.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", **dict(zip(ROLES, names, strict=True))}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}), encoding="utf-8")
    return folder


PIPELINES: dict[str, dict[str, Any]] = {
    "course": {"model": "WordPiece", "normalizer": COURSE},
    "quotes": {"model": "WordPiece", "normalizer": QUOTES, "cut": pre_tokenizers.BertPreTokenizer()},
    "nothing": {"model": "WordPiece", "cut": pre_tokenizers.WhitespaceSplit(), "layout": False, "cuts": True},
    "added": {"model": "WordPiece", "normalizer": normalizers.BertNormalizer(), "added": ["new york", "Éa"]},
    "prefix": {"model": "WordPiece", "trainer": {"continuing_subword_prefix": "@@"}, "longest": 9},
    "names": {"model": "WordPiece", "names": ("<pad>", "<unk>", "<s>", "</s>", "<mask>")},
    "words": {"model": "WordLevel", "normalizer": COURSE},
}


@pytest.mark.parametrize("kind", PIPELINES)
def test_ids_here_and_there(kind: str, tmp_path: Path) -> None:
    folder = build(tmp_path / "own", **PIPELINES[kind])
    ours, theirs = load_tokenizer(folder), transformers.AutoTokenizer.from_pretrained(folder)
    expected = [theirs(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    assert ours.encode_batch(TEXTS) == expected
    save_tokenizer(ours, tmp_path / "out")
    (tmp_path / "out" / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    assert not (tmp_path / "out" / "vocab.txt").exists()
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    assert [again(text, add_special_tokens=False)["input_ids"] for text in TEXTS] == expected
    pair, packed = again(TEXTS[0], TEXTS[1]), ours.pack(TEXTS[:1], TEXTS[1:2], max_length=200)
    assert packed.tokens.tolist() == pair["input_ids"] and packed.segments.tolist() == pair["token_type_ids"]
    assert load_tokenizer(tmp_path / "out").tokens == ours.tokens
    inner = {"prefix": "@@", "words": ""}.get(kind, "##")
    assert ours.inner == inner
    starts = ours.word_starts(range(ours.vocab_size))
    assert starts == [not inner or not piece.startswith(inner) for piece in ours.tokens]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["course", "nothing", "names", "words"])
def test_from_text_to_a_model_that_predicts(kind: str, tmp_path: Path) -> None:
    own = build(tmp_path / "own", **PIPELINES[kind])
    (own / "config.json").unlink()
    (tmp_path / "text.txt").write_text("\n\n".join(f"{TEXT}\n{TEXT}" for _ in range(20)), encoding="utf-8")
    rows = "good\told dog\nbad\tnew dog\n" * 8
    (tmp_path / "table.tsv").write_text(f"label\ttext\n{rows}", encoding="utf-8")
    corpus, first = tmp_path / "corpus", tmp_path / "first"
    bertie.prepare_corpus([tmp_path / "text.txt"], tokenizer=own, out=corpus, sentences="line", processes=1)
    shape = {"size": "1/16", "max_positions": 64}
    bertie.pretrain(corpus=corpus, out=first, model=shape, steps=2, length=32, batch_tokens=128, device="cpu")
    bertie.convert(str(first / "model"), tmp_path / "again")
    table = tmp_path / "table.tsv"
    tuned = tmp_path / "tuned"
    bertie.finetune(
        str(tmp_path / "again"),
        task="classification",
        train=table,
        dev=table,
        out=tuned,
        steps=2,
        length=32,
        device="cpu",
    )
    ours, theirs = load_tokenizer(own), transformers.AutoTokenizer.from_pretrained(tuned / "model")
    assert [theirs(text, add_special_tokens=False)["input_ids"] for text in TEXTS] == ours.encode_batch(TEXTS)
    (said,) = bertie.load(tuned / "model", device="cpu").predict(["old dog"])
    scores = transformers.pipeline("text-classification", str(tuned / "model"), top_k=None)(["old dog"])[0]
    assert {score["label"]: pytest.approx(score["score"], abs=1e-4) for score in scores} == said.scores


def test_what_cannot_be_used_is_refused_when_it_is_read(tmp_path: Path) -> None:
    whole = build(tmp_path / "a", "WordPiece")
    state = json.loads((whole / "tokenizer.json").read_text(encoding="utf-8"))
    text = {"Sequence": {"id": "A", "type_id": 0}}
    pieces = {"type": "BPE", "vocab": state["model"]["vocab"], "merges": [], "unk_token": "[UNK]"}
    for name, change, said in (
        ("bpe", {"model": pieces}, "is a BPE tokenizer"),
        (
            "mask",
            {"added_tokens": [], "model": {**state["model"], "vocab": {"[UNK]": 0}}},
            "must have a special token for each",
        ),
        ("ends", {"post_processor": {**state["post_processor"], "single": [text]}}, "encodes a text as"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "tokenizer.json").write_text(json.dumps({**state, **change}), encoding="utf-8")
        with pytest.raises(DataError, match=said):
            load_tokenizer(folder)


def test_a_head_that_learned_without_special_tokens(tmp_path: Path) -> None:
    own = build(tmp_path / "own", **PIPELINES["nothing"])
    size = load_tokenizer(own).vocab_size
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.BertConfig(vocab_size=size, **shape)
    transformers.BertForSequenceClassification(config).save_pretrained(own)
    with pytest.raises(DataError, match="the head was trained without them"):
        huggingface.read(own)
    notes = huggingface.read(own, task="masked_lm", new_head=True).notes
    assert any("adds no special tokens" in note for note in notes)


def test_an_mpnet_has_the_ids_of_transformers(tmp_path: Path) -> None:
    words = [
        "the",
        "cat",
        "sat",
        "on",
        "mat",
        "hello",
        "##s",
        "##ing",
        "a",
        "b",
        "c",
        "d",
        "e",
        "##e",
        "!",
        ",",
        ".",
        "北",
        "京",
    ]
    vocabulary = {word: number for number, word in enumerate(["<s>", "<pad>", "</s>", "[UNK]", *words, "<mask>"])}
    theirs = transformers.MPNetTokenizer(vocab=vocabulary)
    theirs.save_pretrained(tmp_path)
    ours = load_tokenizer(tmp_path)
    texts = ["the cats sat, on", "", "  Hello  CATS!", "a<mask>b", "北京 the", "é the", "\u0301a", "the\x00cat " * 9]
    for text in texts:
        assert ours.pack([text], max_length=64).tokens.tolist() == theirs(text)["input_ids"], text
        pair = ours.pack([text], ["a mat"], max_length=64).tokens.tolist()
        assert pair == theirs(text, "a mat")["input_ids"]
    assert ours.tokens[ours.mask] == "<mask>" and ours.pad == 1
