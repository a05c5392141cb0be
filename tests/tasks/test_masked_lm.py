"""Masked LM: what is corrupted, what the loss compares with, how masks are filled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from bertie.errors import DataError
from bertie.nn.logits import Logits
from bertie.sampling.instances import Instances
from bertie.sampling.random import stream
from bertie.tasks import masked_lm
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.task import TaskModel, Text

TEXTS = ["the old cat sat in the house by the river .", "good", "the dog ran and ran and ran"]


def instances(tokenizer: Any, *, seed: int = 0) -> Instances:
    pieces = tokenizer.pack(TEXTS, max_length=64)
    count = len(TEXTS)
    return Instances(pieces.tokens, pieces.segments, pieces.offsets, np.full(count, -1), stream(seed, np.arange(count)))


def test_keys_corrupt_and_the_originals_are_the_targets(tiny_tokenizer: Any) -> None:
    drawn = instances(tiny_tokenizer)
    batch = MaskedLM().encode(drawn, tiny_tokenizer, drawn.keys)
    positions, tokens = batch.targets["slot.position"].numpy(), batch.targets["slot.token"].numpy()
    assert np.array_equal(drawn.tokens[positions], tokens)
    untouched = np.setdiff1d(np.arange(len(drawn.tokens)), positions)
    assert np.array_equal(batch.tokens.numpy()[untouched], drawn.tokens[untouched])
    per_text = np.histogram(positions, drawn.offsets)[0].tolist()
    assert per_text == [max(1, round(0.15 * length)) for length in np.diff(drawn.offsets)]
    assert not np.isin(tokens, tiny_tokenizer.special_ids).any()


def test_a_cap_and_a_rate(tiny_tokenizer: Any) -> None:
    drawn = instances(tiny_tokenizer)
    batch = MaskedLM(mask_rate=0.5, max_masked=2).encode(drawn, tiny_tokenizer, drawn.keys)
    assert np.histogram(batch.targets["slot.position"].numpy(), drawn.offsets)[0].tolist() == [2, 1, 2]


def test_texts_and_instances_are_corrupted_alike(tiny_tokenizer: Any) -> None:
    drawn = instances(tiny_tokenizer)
    one = MaskedLM().encode(drawn, tiny_tokenizer, drawn.keys)
    other = MaskedLM().encode(TEXTS, tiny_tokenizer, drawn.keys)
    assert torch.equal(one.tokens, other.tokens)
    assert torch.equal(one.targets["slot.position"], other.targets["slot.position"])


def test_without_keys_nothing_is_corrupted(tiny_tokenizer: Any) -> None:
    drawn = instances(tiny_tokenizer)
    batch = MaskedLM().encode(drawn, tiny_tokenizer)
    assert np.array_equal(batch.tokens.numpy(), drawn.tokens) and batch.targets["slot.position"].numel() == 0


def test_masks_of_texts_are_slots_and_labels_what_they_hide(tiny_tokenizer: Any) -> None:
    items = [Text("the [MASK] sat", label="Cat"), Text("[MASK] [MASK] .", label="sats")]
    batch = MaskedLM().encode(items, tiny_tokenizer)
    assert batch.targets["slot.position"].tolist() == [2, 6, 7]
    expected = [tiny_tokenizer.token_id(piece) for piece in ("cat", "sat", "##s")]
    assert batch.targets["slot.token"].tolist() == expected
    assert "slot.token" not in MaskedLM().encode(["the [MASK] sat"], tiny_tokenizer).targets


def test_a_label_that_does_not_fit_its_masks(tiny_tokenizer: Any) -> None:
    with pytest.raises(DataError, match=r"text 2 has 1 .MASK., but its label 'sats' has 2 pieces"):
        MaskedLM().encode([Text("[MASK]", label="cat"), Text("a [MASK]", label="sats")], tiny_tokenizer)


def test_cut_texts_are_counted(tiny_tokenizer: Any) -> None:
    batch = MaskedLM(max_length=6, truncation="truncate").encode(TEXTS, tiny_tokenizer)
    assert batch.targets["sequence.cut"].tolist() == [8, 0, 5]
    with pytest.raises(DataError, match="text 1 has 14 tokens, more than 6"):
        MaskedLM(max_length=6).encode(TEXTS, tiny_tokenizer)


def test_decode_fills_every_mask(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = MaskedLM(top_k=3)
    model = build_model(task).eval()
    items = ["[MASK] cat [MASK]", "the [MASK] ran"]
    batch = task.encode(items, tiny_tokenizer)
    with torch.inference_mode():
        outputs: Logits = model(batch)
        both, single = task.decode(outputs, batch, items, tiny_tokenizer)
        monkeypatch.setattr(masked_lm, "_ROWS", 2)
        again, _ = task.decode(outputs, batch, items, tiny_tokenizer)
        scores = outputs.materialise().softmax(1)
    assert len(both) == 2 and len(single) == 3
    assert [guess.token_id for guess in again[1]] == [guess.token_id for guess in both[1]]
    for guesses, row in zip([*both, single], scores, strict=True):
        values, ids = row.topk(3)
        assert [guess.token_id for guess in guesses] == ids.tolist()
        assert [guess.score for guess in guesses] == pytest.approx(values.tolist())
        assert [guess.token for guess in guesses] == [tiny_tokenizer.tokens[number] for number in ids.tolist()]


def test_decode_names_a_text_without_mask(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    task, items = MaskedLM(), ["[MASK]", "no hole"]
    batch = task.encode(items, tiny_tokenizer)
    with torch.inference_mode(), pytest.raises(DataError, match=r"text 2 has no .MASK. to fill: 'no hole'"):
        task.decode(build_model(task)(batch), batch, items, tiny_tokenizer)


def test_more_guesses_than_pieces(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    task = MaskedLM(top_k=10**6)
    batch = task.encode(["[MASK]"], tiny_tokenizer)
    with torch.inference_mode():
        (guesses,) = task.decode(build_model(task)(batch), batch, ["[MASK]"], tiny_tokenizer)
    assert len(guesses) == tiny_tokenizer.vocab_size
    assert sum(guess.score for guess in guesses) == pytest.approx(1.0, abs=1e-4)
