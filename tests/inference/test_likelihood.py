"""Pseudo-log-likelihood: equal to hiding one piece at a time, whatever the batches; the within-word rule; bad texts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie import progress
from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.formats.format import Bundle
from bertie.inference import likelihood
from bertie.inference.likelihood import pseudo_log_likelihood, score_pieces
from bertie.inference.predictor import Predictor
from bertie.tasks.classification import Classification
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.pretraining import Pretraining
from bertie.tasks.task import TaskModel, Text

Make = Callable[..., Predictor]
TEXTS = ["the cats slept in houses", "a film", ("not bad", "it was greatest"), "北京的猫", "cat"]


@pytest.fixture(scope="module")
def masked(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> Make:
    def predictor(task: Any = None, **more: Any) -> Predictor:
        task = task or MaskedLM(max_length=48)
        model = build_model(task, deviation=0.3)
        return Predictor(Bundle(model, task, tiny_tokenizer, model.encoder.config), device="cpu", **more)

    return predictor


def one_at_a_time(predictor: Predictor, item: Any, *, within_word: bool) -> list[float]:
    """Hide one piece after another, each in a batch of its own, and look its probability up."""
    tokenizer = predictor.tokenizer
    first, second = (item, None) if isinstance(item, str) else item
    pieces = tokenizer.pack([first], None if second is None else [second], max_length=48)
    scores = []
    for place, token in enumerate(pieces.tokens.tolist()):
        if token in (tokenizer.start, tokenizer.separator):
            continue
        hidden = pieces.tokens.copy()
        hidden[place] = tokenizer.mask
        after = place + 1
        while within_word and tokenizer.tokens[int(pieces.tokens[after])].startswith("##"):
            hidden[after] = tokenizer.mask
            after += 1
        batch = Batch.pack(hidden, pieces.segments, pieces.offsets, targets={"slot.position": [place]})
        with torch.inference_mode():
            outputs = predictor.model(batch)
            logits = getattr(outputs, "tokens", outputs).materialise()
        scores.append(float(logits[0].double().log_softmax(0)[token]))
    return scores


@pytest.mark.parametrize("within_word", [True, False])
@pytest.mark.parametrize("task", [MaskedLM(max_length=48), Pretraining(max_length=48)])
def test_equal_to_one_copy_at_a_time(masked: Make, task: Any, within_word: bool) -> None:
    predictor = masked(task, max_tokens=30)
    found = pseudo_log_likelihood(predictor, TEXTS, within_word=within_word)
    for item, one in zip(TEXTS, found, strict=True):
        expected = one_at_a_time(predictor, item, within_word=within_word)
        assert len(one.pieces) == len(one.scores) == len(expected)
        np.testing.assert_allclose(one.scores, expected, atol=1e-4)
        assert one.sum == pytest.approx(sum(expected), abs=1e-3)
        assert one.per_piece == pytest.approx(one.sum / len(expected))
        assert one.perplexity == pytest.approx(math.exp(-one.per_piece))


@settings(max_examples=20)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=1, max_size=5), st.integers(1, 90))
def test_batches_change_nothing(masked: Make, tiny_tokenizer: Any, texts: list[str], max_tokens: int) -> None:
    pieces = tiny_tokenizer.pack(texts, max_length=48, truncation="truncate")
    model = masked().model
    whole = score_pieces(model, pieces, tiny_tokenizer)
    np.testing.assert_allclose(score_pieces(model, pieces, tiny_tokenizer, max_tokens=max_tokens), whole, atol=1e-4)
    special = np.isin(pieces.tokens, [tiny_tokenizer.start, tiny_tokenizer.separator])
    assert (whole[special] == 0).all() and (whole[~special & (pieces.tokens > 4)] < 0).all()


def test_the_rule_matters_within_words_only(masked: Make) -> None:
    predictor = masked()
    (rule,) = pseudo_log_likelihood(predictor, ["the cats sat"])
    (plain,) = pseudo_log_likelihood(predictor, ["the cats sat"], within_word=False)
    assert rule.pieces == ("the", "cat", "##s", "sat")
    same = [abs(a - b) < 1e-5 for a, b in zip(rule.scores, plain.scores, strict=True)]
    assert same == [True, False, True, True]


def test_windows_of_texts_and_labels(masked: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(likelihood, "_WINDOW", 2)
    predictor = masked()
    found = pseudo_log_likelihood(predictor, [Text("the cat", label="x"), "a", "the cat"])
    assert found[0].scores == pytest.approx(found[2].scores, abs=1e-5)
    with pytest.raises(DataError, match=r"text 4 \(line 9\) holds .MASK.; a likelihood needs"):
        pseudo_log_likelihood(predictor, ["a", "b", "c", Text("the [MASK]", line=9)])


def test_a_text_without_pieces(masked: Make) -> None:
    (found,) = pseudo_log_likelihood(masked(), [""])
    assert found.sum == 0.0 and math.isnan(found.per_piece) and found.pieces == ()
    assert pseudo_log_likelihood(masked(), []) == []


def test_what_is_missing_or_cut_is_said(masked: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(progress, "warn", said.append)
    predictor = masked(MaskedLM(max_length=6, truncation="truncate"))
    found = pseudo_log_likelihood(predictor, ["☃ cat", "the cat sat in the house"])
    assert found[0].pieces == ("[UNK]", "cat") and found[1].pieces == ("the", "cat", "sat", "in")
    assert "longer than 6 tokens are cut" in said[0] and predictor.num_cut == 1
    assert said[1].startswith("1 of 2 texts have words that the vocabulary can't write")
    with pytest.raises(DataError, match="text 2 has 6 tokens, more than 5"):
        pseudo_log_likelihood(masked(MaskedLM(max_length=5)), ["cat", "the cat sat ."])


def test_another_kind_of_model(masked: Make) -> None:
    with pytest.raises(SettingsError, match=r"a likelihood needs a masked language model, .* for classification"):
        pseudo_log_likelihood(masked(Classification(labels=("a", "b"))), ["cat"])
