"""Whole answers for a mask: equal to hiding their pieces one at a time; searched ones are whole words."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bertie import progress
from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.inference import answers
from bertie.inference.answers import ScoredAnswer, find_answers, rank_targets
from bertie.inference.predictor import Predictor
from bertie.tasks.classification import Classification
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.task import TaskModel, Text

Make = Callable[..., Predictor]
TARGETS = ["cat", "dogs", "old house", "北京", "cats", "greatest film"]
TEXTS: list[Any] = ["the [MASK] sat .", ("it is", "a [MASK]"), "[MASK]"]


@pytest.fixture(scope="module")
def masked(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> Make:
    def predictor(task: Any = None, **more: Any) -> Predictor:
        task = task or MaskedLM(max_length=32, top_k=3)
        bundle: Any = SimpleNamespace(model=build_model(task, deviation=0.3), task=task, tokenizer=tiny_tokenizer)
        return Predictor(bundle, device="cpu", **more)

    return predictor


def one_at_a_time(predictor: Predictor, item: Any, target: str) -> list[float]:
    """Put a target into a text as text, and guess each of its pieces in a batch of its own."""
    tokenizer = predictor.tokenizer
    sides = (item,) if isinstance(item, str) else item
    filled = [side.replace("[MASK]", f" {target} ") for side in sides]
    pieces = tokenizer.pack([filled[0]], filled[1:] or None, max_length=48)
    holed = tokenizer.pack([sides[0]], list(sides[1:]) or None, max_length=48)
    begin = int(np.flatnonzero(holed.tokens == tokenizer.mask)[0])
    scores = []
    for place in range(begin, begin + len(tokenizer.encode_batch([target])[0])):
        hidden, after = pieces.tokens.copy(), place + 1
        hidden[place] = tokenizer.mask
        while tokenizer.tokens[int(pieces.tokens[after])].startswith("##"):
            hidden[after] = tokenizer.mask
            after += 1
        batch = Batch.pack(hidden, pieces.segments, pieces.offsets, targets={"slot.position": [place]})
        with torch.inference_mode():
            logits = predictor.model(batch).materialise()[0].double()
        scores.append(float(logits.log_softmax(0)[int(pieces.tokens[place])]))
    return scores


@pytest.mark.parametrize("max_tokens", [8192, 10])
def test_targets_are_scored_piece_by_piece(masked: Make, max_tokens: int) -> None:
    predictor = masked(max_tokens=max_tokens)
    found = rank_targets(predictor, TEXTS, TARGETS)
    for item, own in zip(TEXTS, found, strict=True):
        assert sorted(answer.answer for answer in own) == sorted(TARGETS)
        assert sum(answer.score for answer in own) == pytest.approx(1.0)
        assert [answer.sum for answer in own] == sorted((answer.sum for answer in own), reverse=True)
        for answer in own:
            expected = one_at_a_time(predictor, item, answer.answer)
            assert answer.sum == pytest.approx(sum(expected), abs=1e-4)
            assert answer.per_piece == pytest.approx(np.mean(expected), abs=1e-4)
        ratio = own[0].score / own[1].score
        assert ratio == pytest.approx(np.exp(own[0].sum - own[1].sum), rel=1e-4)
    by_name = {answer.answer: answer for answer in found[0]}
    assert by_name["dogs"].pieces == ("dog", "##s") and by_name["北京"].pieces == ("北", "京")


def test_words_of_one_piece_cost_one_pass(masked: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, sizes = masked(), []
    monkeypatch.setattr(answers, "pack", lambda sequences, places: sizes.append(len(places)) or PACK(sequences, places))
    rank_targets(predictor, ["the [MASK] sat"], ["cat", "dog", "bird", "fish"])
    rank_targets(predictor, ["the [MASK] sat"], ["cats", "dogs", "fish"])
    assert sizes == [1, 4]  # ? ; ? for fish, ? ? for both first pieces, cat ? and dog ? for the second ones


PACK = answers.pack


def test_a_single_piece_has_the_probability_of_a_filling(masked: Make) -> None:
    predictor = masked(MaskedLM(max_length=32, top_k=200))
    fills = {fill.token: fill.score for fill in predictor.predict("the [MASK] sat")}
    (found,) = rank_targets(predictor, ["the [MASK] sat"], ["cat", "dog"])
    for answer in found:
        assert np.exp(answer.sum) == pytest.approx(fills[answer.answer], rel=1e-4)


def test_answers_found_are_whole_and_ranked_as_targets(masked: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = masked(MaskedLM(max_length=32, top_k=8))
    found = find_answers(predictor, TEXTS, max_pieces=3, beams=40)
    for item, own in zip(TEXTS, found, strict=True):
        assert 0 < len(own) <= 8 and len({answer.answer for answer in own}) == len(own)
        assert all(tuple(predictor.tokenizer.encode_batch([one.answer])[0]) == ids(predictor, one) for one in own)
        assert all(1 <= len(answer.pieces) <= 3 and not answer.pieces[0].startswith("##") for answer in own)
        again = {one.answer: one for one in rank_targets(predictor, [item], [answer.answer for answer in own])[0]}
        assert [answer.sum for answer in own] == pytest.approx([again[one.answer].sum for one in own], abs=1e-4)
    assert max(len(answer.pieces) for own in found for answer in own) > 1
    monkeypatch.setattr(answers, "_WINDOW", 1)
    apart = find_answers(predictor, TEXTS, max_pieces=3, beams=40)
    assert [[one.answer for one in own] for own in apart] == [[one.answer for one in own] for own in found]


def ids(predictor: Predictor, answer: ScoredAnswer) -> tuple[int, ...]:
    return tuple(predictor.tokenizer.token_id(piece) for piece in answer.pieces)


def test_what_the_vocabulary_lacks_is_said(masked: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(progress, "warn", said.append)
    (found,) = rank_targets(masked(), ["[MASK]"], ["cat", "☃"])
    assert said == ["target '☃' has text that the vocabulary can't write; it is scored as [UNK]"]
    assert {answer.answer: answer.pieces for answer in found}["☃"] == ("[UNK]",)


@pytest.mark.parametrize(
    ("texts", "targets", "error", "match"),
    [
        (["[MASK]"], [], SettingsError, "there is no target"),
        (["[MASK]"], ["cat", " "], SettingsError, "target 2 is ' ', which has no pieces"),
        (["[MASK]"], ["cat", "Cat"], SettingsError, "targets 'cat' and 'Cat' have the same pieces"),
        (["[MASK]"], ["cat " * 40], SettingsError, "an answer of 40 pieces leaves no room for a text in 32 tokens"),
        (["[MASK]", "a [MASK] [MASK]"], ["cat"], DataError, r"text 2 has 2 .MASK.; an answer replaces"),
        (["[MASK]", Text("cat", line=7)], ["cat"], DataError, r"text 2 \(line 7\) has no .MASK. to fill"),
        (["[MASK]" + " a" * 28], ["old dog and cat"], DataError, "text 1 has 31 tokens, more than 28"),
    ],
)
def test_wrong_wishes(masked: Make, texts: list[Any], targets: list[str], error: Any, match: str) -> None:
    with pytest.raises(error, match=match):
        rank_targets(masked(), texts, targets)


def test_wrong_models_and_numbers(masked: Make) -> None:
    assert rank_targets(masked(), [], ["cat"]) == [] == find_answers(masked(), [], max_pieces=2)
    with pytest.raises(SettingsError, match="ranking targets needs a masked language model"):
        rank_targets(masked(Classification(labels=("a", "b"))), ["[MASK]"], ["cat"])
    with pytest.raises(SettingsError, match=r"at least 1 piece.*got 0, 3 and 10"):
        find_answers(masked(), ["[MASK]"], max_pieces=0)
