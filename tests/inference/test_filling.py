"""Joint filling: exact against every filling there is, the same in any company; bad texts named."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.inference import filling
from bertie.inference.filling import Filling, fill_jointly
from bertie.inference.predictor import Predictor
from bertie.tasks.features import FeaturesTask
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.pretraining import Pretraining
from bertie.tasks.task import TaskModel

Make = Callable[..., Predictor]
TWO, THREE = "the [MASK] sat in the [MASK] .", "[MASK] dog [MASK] and [MASK]"


@pytest.fixture(scope="module")
def masked(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> Make:
    def predictor(task: Any = None, **more: Any) -> Predictor:
        task = task or MaskedLM(max_length=48, top_k=4)
        bundle: Any = SimpleNamespace(model=build_model(task, deviation=0.3), task=task, tokenizer=tiny_tokenizer)
        return Predictor(bundle, device="cpu", **more)

    return predictor


def conditionals(predictor: Predictor, text: str, filled: dict[int, int]) -> tuple[list[int], Any]:
    """Return the open masks (their numbers) and the probabilities of every piece at each, one text at a time."""
    tokenizer = predictor.tokenizer
    pieces = tokenizer.pack([text], max_length=48)
    masks = np.flatnonzero(pieces.tokens == tokenizer.mask)
    tokens = pieces.tokens.copy()
    for number, piece in filled.items():
        tokens[masks[number]] = piece
    still = [number for number in range(len(masks)) if number not in filled]
    batch = Batch.pack(tokens, pieces.segments, pieces.offsets, targets={"slot.position": masks[still]})
    with torch.inference_mode():
        outputs = predictor.model(batch)
        shares = getattr(outputs, "tokens", outputs).materialise().double().softmax(1).numpy()
    shares[:, list(tokenizer.special_ids)] = 0.0
    return still, shares


def every_filling(predictor: Predictor, text: str) -> dict[tuple[int, ...], float]:
    """Work out the probability of every pair of pieces by the rule: the surest mask first, then the other one."""
    found = {}
    still, shares = conditionals(predictor, text, {})
    first = still[int(shares.max(1).argmax())]
    for piece, share in enumerate(shares[first]):
        if share:
            (second,), rest = conditionals(predictor, text, {first: piece})
            for other, part in enumerate(rest[0]):
                found[(piece, other) if first < second else (other, piece)] = share * part
    return found


def test_a_wide_beam_finds_the_best_of_all(masked: Make) -> None:
    predictor = masked()
    expected = every_filling(predictor, TWO)
    assert 0.5 < sum(expected.values()) < 1.0  # special tokens have the rest
    (found,) = fill_jointly(predictor, [TWO], beams=200, top_k=20)
    best = sorted(expected, key=lambda pair: -expected[pair])[:20]
    assert [one.token_ids for one in found] == best
    assert [one.score for one in found] == pytest.approx([expected[pair] for pair in best], rel=1e-3)
    names = predictor.tokenizer.tokens
    assert all(one.tokens == tuple(names[piece] for piece in one.token_ids) for one in found)


def test_all_fillings_add_up(masked: Make) -> None:
    """No filling is found twice and none is lost when nothing is pruned."""
    predictor = masked()
    (found,) = fill_jointly(predictor, ["[MASK] [MASK]"], beams=200, top_k=200**2)
    pieces = [n for n in range(predictor.tokenizer.vocab_size) if n not in predictor.tokenizer.special_ids]
    assert len(found) == len(pieces) ** 2
    assert {one.token_ids for one in found} == set(itertools.product(pieces, pieces))
    assert sum(one.score for one in found) == pytest.approx(sum(every_filling(predictor, "[MASK] [MASK]").values()))


@pytest.mark.parametrize("task", [MaskedLM(max_length=48, top_k=4), Pretraining(max_length=48, top_k=4)])
def test_a_greedy_search_takes_one_step_after_another(masked: Make, task: Any) -> None:
    predictor, filled, score = masked(task), {}, 1.0
    for _ in range(3):
        still, shares = conditionals(predictor, THREE, filled)
        surest = int(shares.max(1).argmax())
        filled[still[surest]] = int(shares[surest].argmax())
        score *= float(shares[surest].max())
    (found,) = fill_jointly(predictor, [THREE], beams=1, top_k=1)
    assert found[0].token_ids == tuple(filled[number] for number in range(3))
    assert found[0].score == pytest.approx(score, rel=1e-3)


def test_company_changes_nothing(masked: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[Any] = [TWO, "[MASK]", THREE, ("the [MASK]", "[MASK] ran")]
    together = fill_jointly(masked(), texts)
    assert [len(own) for own in together] == [4, 4, 4, 4]
    monkeypatch.setattr(filling, "_WINDOW", 1)
    apart = fill_jointly(masked(max_tokens=20), texts)
    for one, other in zip(together, apart, strict=True):
        assert [way.token_ids for way in one] == [way.token_ids for way in other]
        assert [way.score for way in one] == pytest.approx([way.score for way in other], rel=1e-3)
        assert [way.score for way in one] == sorted((way.score for way in one), reverse=True)


def test_one_mask_is_filled_as_ever(masked: Make) -> None:
    predictor = masked()
    (joint,) = fill_jointly(predictor, ["the [MASK] sat"])
    special = predictor.tokenizer.special_ids
    alone = [fill for fill in predictor.predict("the [MASK] sat") if fill.token_id not in special]
    expected = [Filling((fill.token,), pytest.approx(fill.score, abs=1e-6), (fill.token_id,)) for fill in alone]
    assert joint[: len(alone)] == expected and alone


def test_wrong_wishes(masked: Make) -> None:
    assert fill_jointly(masked(), []) == []
    with pytest.raises(DataError, match=r"text 2 has no .MASK. to fill: 'the cat'"):
        fill_jointly(masked(), ["[MASK]", "the cat"])
    with pytest.raises(SettingsError, match="at least 1; got 0 and 10"):
        fill_jointly(masked(), ["[MASK]"], top_k=0)
    with pytest.raises(SettingsError, match="filling masks needs a masked language model"):
        fill_jointly(masked(FeaturesTask()), ["[MASK]"])
