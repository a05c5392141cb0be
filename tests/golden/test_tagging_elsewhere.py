"""A tagging model says the same before saving, after loading, and in transformers' class for token classification."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers

from bertie.data.entities import iob2
from bertie.data.items import Words
from bertie.formats import huggingface
from bertie.formats.format import Bundle
from bertie.inference.predictor import Predictor, load
from bertie.metrics.entities import entities
from bertie.tasks.tagging import Tagging
from bertie.tasks.task import TaskModel

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
    tiny_tokenizer.save(tmp_path)
    predictor = load(tmp_path, device="cpu")
    assert isinstance(predictor.task, Tagging) and predictor.task.labels == ("O", "I-PER", "S-LOC")
    told = predictor.predict(Words(tuple(TEXTS[0].split())))
    assert set(told.tags) <= {"O", "B-PER", "I-PER", "B-LOC"} and told.spans
