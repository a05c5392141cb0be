"""A tagging model says the same before saving, after loading, and in transformers' class for token classification."""

from __future__ import annotations

import json
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tokenizers import Tokenizer as RustTokenizer
from tokenizers import models, pre_tokenizers, processors

from bertie.formats import huggingface
from bertie.formats.format import Bundle
from bertie.inference.predictor import Predictor, load
from bertie.items.words import Words
from bertie.metrics.entities import entities
from bertie.readers.entities import iob2
from bertie.readers.spans import cut_words
from bertie.tasks.tagging import Tagging
from bertie.tasks.task import TaskModel
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.writing import save_tokenizer

LABELS = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
TEXTS = ["the old dog ran in the city , and the cat saw it .", "北京的猫", "", "a dogged bird !"]


def test_round_trip(build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path) -> None:
    task = Tagging(labels=LABELS, max_length=64)
    model = build_model(task, deviation=0.5)
    bundle = Bundle(model, task, tiny_tokenizer, model.encoder.config)
    before = Predictor(bundle, device="cpu").predict(TEXTS)
    huggingface.write(bundle, tmp_path / "model")
    after = load(tmp_path / "model", device="cpu")
    assert after.task == task and after.predict(TEXTS) == before
    assert {tag for told in before for tag in told.tags} > {"O"}

    theirs, report = transformers.AutoModelForTokenClassification.from_pretrained(
        tmp_path / "model", output_loading_info=True
    )
    assert not report["missing_keys"] and not report["unexpected_keys"]
    assert type(theirs) is transformers.BertForTokenClassification
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    for told in (told for told in before if told.words):
        encoded = tokenizer([list(told.words)], is_split_into_words=True, return_tensors="pt")
        with torch.inference_mode():
            chosen = theirs.eval()(**encoded).logits[0].argmax(1).tolist()
        words = encoded.word_ids(0)
        tags = [theirs.config.id2label[chosen[words.index(word)]] for word in range(len(told.words))]
        assert iob2(entities(tags), len(tags)) == told.tags


def test_a_foreign_model_is_inferred(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path
) -> None:
    """Labels of another scheme, as many models on the hub have them, come out as IOB2."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=tiny_tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        id2label={0: "O", 1: "I-PER", 2: "S-LOC"},
        initializer_range=1.0,
    )
    transformers.BertForTokenClassification(config).save_pretrained(tmp_path)
    save_tokenizer(tiny_tokenizer, tmp_path)
    predictor = load(tmp_path, device="cpu")
    assert isinstance(predictor.task, Tagging) and predictor.task.labels == ("O", "I-PER", "S-LOC")
    told = predictor.predict(Words(tuple(TEXTS[0].split())))
    assert set(told.tags) <= {"O", "B-PER", "I-PER", "B-LOC"} and told.spans


@pytest.mark.parametrize("kind", ["byte-level", "prefixed", "unigram", "hand-built", "no-chinese"])
def test_raw_text_is_seen_as_by_a_pipeline(kind: str, tmp_path: Path) -> None:
    """Tokenizers that look beyond a word get the whole text, and each word its own first piece."""
    texts = [
        "the old dog's  café, (Paris)!! 北京的猫",
        " a cat\tsat.",
        "cat",
        "",
        "new york is in New York",
    ]
    corpus = [*texts, string.printable] * 3
    if kind in ("byte-level", "prefixed"):
        learned = transformers.RobertaTokenizer(add_prefix_space=kind == "prefixed")
        tokenizer = learned.train_new_from_iterator(corpus, 300, show_progress=False)
    elif kind == "no-chinese":
        learned = transformers.BertTokenizer(tokenize_chinese_chars=False)
        tokenizer = learned.train_new_from_iterator(corpus, 200, show_progress=False)
        tokenizer.add_tokens(["new york"])
    else:
        unigram = kind == "unigram"
        rust = RustTokenizer(models.Unigram() if unigram else models.WordPiece(unk_token="[UNK]"))
        rust.pre_tokenizer = pre_tokenizers.Metaspace() if unigram else pre_tokenizers.WhitespaceSplit()
        names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        options = {"special_tokens": names, "show_progress": False, **({"unk_token": "[UNK]"} if unigram else {})}
        rust.train_from_iterator(corpus, rust.model.get_trainer().__class__(**options))
        rust.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
        roles = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), names, strict=True))
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=rust, **roles)
    tokenizer.save_pretrained(tmp_path)
    ours = load_tokenizer(tmp_path)
    batch = Tagging(labels=LABELS, max_length=64).encode(texts, ours)
    edges = batch.offsets.tolist()
    for number, text in enumerate(texts):
        part = slice(edges[number], edges[number + 1])
        given = tokenizer(text, return_offsets_mapping=True)
        assert batch.tokens[part].tolist() == given["input_ids"], text
        words = cut_words(text)
        owned = batch.targets["token.word"][part].tolist()
        for (start, end), word in zip(given["offset_mapping"], owned, strict=True):
            if word >= 0:
                first, _ = words.offsets[word]
                assert start <= first < max(end, start + 1), (text, words.words[word])
        covered = {word for word in owned if word >= 0}
        assert kind in ("hand-built", "no-chinese") or len(covered) >= 0.7 * len(words.words)


def test_words_inside_one_piece_go_on_with_the_first(tiny_tokenizer: Any, tmp_path: Path) -> None:
    save_tokenizer(tiny_tokenizer, tmp_path)
    added = {"old city": tiny_tokenizer.vocab_size}
    (tmp_path / "tokenizer.json").unlink()
    (tmp_path / "added_tokens.json").write_text(json.dumps(added), encoding="utf-8")
    tokenizer = load_tokenizer(tmp_path)
    task = Tagging(labels=LABELS, max_length=64)
    item = "the old city ran"
    batch = task.encode([item], tokenizer)
    assert batch.targets["token.word"].tolist() == [-1, 0, 1, 3, -1]
    outputs = torch.zeros(batch.num_tokens, len(LABELS))
    outputs[[0, 1, 3, 4], 0] = outputs[2, 1] = 9.0
    (said,) = task.decode(outputs, batch, [item], tokenizer)
    assert said.tags == ("O", "B-LOC", "I-LOC", "O")
    assert [(span.text, span.label) for span in said.spans] == [("old city", "LOC")]
    words = task.encode([Words(("the", "old", "city"), ("O", "B-LOC", "I-LOC"))], tokenizer)
    assert words.targets["token.tag"].tolist() == [-1, 0, 1, -1]
