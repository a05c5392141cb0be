"""Predicting: one item or many, in order, of any number; what is cut is said; a model opened from its folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write
from bertie.inference import forward as room
from bertie.inference.predictor import Predictor, load
from bertie.tasks.classification import Classification, Verdict
from bertie.tasks.features import Features, FeaturesTask
from bertie.tasks.masked_lm import Fill, MaskedLM
from bertie.tasks.task import TaskModel, Text

Make = Callable[..., Predictor]
SIMPLE = Classification(labels=("bad", "good"), max_length=16)


@pytest.fixture(scope="session")
def make(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> Make:
    def predictor(task: Any = SIMPLE, **settings: Any) -> Predictor:
        model = build_model(task, deviation=0.3)
        return Predictor(Bundle(model, task, tiny_tokenizer, model.encoder.config), device="cpu", **settings)

    return predictor


def test_one_item_gives_one_prediction_and_many_a_list(make: Make) -> None:
    predictor = make()
    single = predictor.predict("the cat")
    assert isinstance(single, Verdict)
    assert predictor.predict(["the cat"]) == [single]
    assert isinstance(predictor.predict(("the cat", "sat")), Verdict)
    assert isinstance(predictor.predict(Text("the cat")), Verdict)
    assert predictor.predict([]) == []
    assert len(predictor.predict(text for text in ("a", "b", "c"))) == 3
    assert len(predictor.predict(np.array(["the cat", "a dog"]))) == 2


@settings(max_examples=30)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=40), min_size=1, max_size=12), st.integers(1, 60))
def test_any_text_is_taken_and_order_kept(make: Make, texts: list[str], max_tokens: int) -> None:
    predictor = make(FeaturesTask(max_length=24, truncation="truncate"), max_tokens=max_tokens)
    tokenizer = predictor.tokenizer
    found: list[Features] = predictor.predict(texts)
    pieces = tokenizer.encode_batch(texts)
    for features, ids in zip(found, pieces, strict=True):
        assert features.tokens == ["[CLS]", *(tokenizer.tokens[number] for number in ids[:22]), "[SEP]"]
        assert np.isfinite(features.hidden).all() and features.hidden.shape == (len(features.tokens), 32)


def test_a_stream_comes_out_as_it_goes_in(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "WINDOW_ITEMS", 5)
    predictor, taken = make(), []

    def endless() -> Iterator[str]:
        while True:
            taken.append(len(taken))
            yield "the cat sat " * (len(taken) % 4)

    stream = predictor.stream(endless())
    found = [next(stream) for _ in range(12)]
    assert len(taken) == 15  # three windows
    assert found[0].label in ("bad", "good")
    expected = [predictor.predict("the cat sat " * (number % 4)) for number in range(1, 13)]
    for one, other in zip(found, expected, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-5)


@pytest.mark.parametrize("item", [{0: "the cat"}, b"the cat", None, 3])
def test_what_is_no_item_is_refused(make: Make, item: Any) -> None:
    with pytest.raises(DataError, match=r"^text 1 is .*give a string, a tuple of two strings, or a Text"):
        make().predict(item)


def test_labels_are_not_looked_at(make: Make) -> None:
    predictor = make()
    expected = predictor.predict("the cat")
    assert predictor.predict([Text("the cat", label="unheard of")]) == [expected]


def test_no_gradients_and_no_dropout(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    model = build_model(SIMPLE, dropout=0.5).train()
    predictor = Predictor(Bundle(model, SIMPLE, tiny_tokenizer, model.encoder.config), device="cpu")
    assert predictor.predict("the cat") == predictor.predict("the cat")
    assert not model.training and all(value.grad is None for value in model.parameters())


def test_threads_share_a_predictor(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [f"the cat sat in the house {'of the old dog ' * (number % 4)}" for number in range(60)]
    expected = make().predict(texts)
    predictor = make()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(predictor.predict, texts * 3))
    for one, other in zip(found, expected * 3, strict=True):
        assert one.label == other.label and one.score == pytest.approx(other.score, abs=1e-5)
    alone = make()
    alone.predict(texts)
    assert predictor.num_cut == 3 * alone.num_cut > 0
    assert capsys.readouterr().err.count("the encoder is run by") == 3  # once for each predictor


def test_cut_texts_are_counted_and_said_once(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    predictor = make()
    long = "the cat sat in the house of the old dog " * 3
    predictor.predict([long, "short", long])
    predictor.predict(long)
    assert predictor.num_cut == 3
    said = capsys.readouterr().err
    assert said.count("warning: texts longer than 16 tokens are cut") == 1


def test_too_long_under_error_names_text_length_and_remedy(make: Make) -> None:
    predictor = make(FeaturesTask(max_length=6))
    with pytest.raises(DataError, match=r"^text 2 has 12 tokens, more than 6; shorten it, raise the length "):
        predictor.predict(["the cat", "the cat " * 5])


def test_a_missing_mask_is_named_by_its_place_among_all(make: Make) -> None:
    with pytest.raises(DataError, match=r"^text 3 has no .MASK. to fill: 'the dog'"):
        make(MaskedLM(max_length=32), max_tokens=8).predict(["[MASK]", "the [MASK]", "the dog", "a [MASK]"])


def test_masks_are_filled(make: Make) -> None:
    predictor = make(MaskedLM(max_length=32, top_k=2))
    single, both = predictor.predict(["the [MASK] sat", "[MASK] cat [MASK]"])
    assert len(single) == 2 and isinstance(single[0], Fill)
    assert len(both) == 2 and isinstance(both[0][0], Fill)


def test_a_bar_counts_items(make: Make) -> None:
    bar = progress.Bar("Predicting", total=5, unit="texts")
    make(max_tokens=8).predict(["the cat sat"] * 5, bar=bar)
    assert bar.done == 5


def test_settings_that_make_no_sense(make: Make) -> None:
    with pytest.raises(SettingsError, match="max_tokens must be at least 1; got 0"):
        make(max_tokens=0)
    with pytest.raises(SettingsError, match="not a device"):
        Predictor(SimpleNamespace(task=SIMPLE, model=None, tokenizer=None), device="tpux")  # type: ignore[arg-type]


def test_it_says_what_it_is(make: Make) -> None:
    shown = repr(make())
    assert shown.startswith("Predictor(classification on Bert with 0.0 million parameters, device=cpu")
    assert "labels=('bad', 'good')" in shown and "max_length=16" in shown


@pytest.fixture(scope="module")
def folder(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("predictor") / "model"
    write(make(MaskedLM(max_length=20, top_k=3)).bundle, path)
    return path


def test_load_opens_what_was_written(make: Make, folder: Path) -> None:
    expected = make(MaskedLM(max_length=20, top_k=3)).predict("the [MASK] sat")
    found = load(folder).predict("the [MASK] sat")
    assert [fill.token for fill in found] == [fill.token for fill in expected]
    assert [fill.score for fill in found] == pytest.approx([fill.score for fill in expected], abs=1e-6)


def test_predicting_loads_no_compiler(folder: Path) -> None:
    """It would take longer than everything else that one prediction takes."""
    script = (
        f"import sys\nfrom bertie.inference.predictor import load\nload({str(folder)!r}).predict('[MASK]')\n"
        "print(sorted({'torch._dynamo', 'torch._inductor', 'sympy', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_load_takes_another_task_and_settings(folder: Path) -> None:
    assert len(load(folder, top_k=7).predict("[MASK]")) == 7
    features = load(str(folder), task="features", max_length=30).predict("the cat")
    assert features.hidden.shape == (4, 32) and features.pooled is None


def test_load_refuses_what_can_not_be(folder: Path) -> None:
    with pytest.raises(SettingsError, match="did you mean 'top_k'"):
        load(folder, top_q=7)
    with pytest.raises(SettingsError, match="max_length 500 is more than the 64 positions"):
        load(folder, max_length=500)
    with pytest.raises(SettingsError, match="unknown task"):
        load(folder, task="telling")
    with pytest.raises(SettingsError, match="fine-tune the model first"):
        load(folder, task="classification")
    with pytest.raises(SettingsError, match="no such model folder"):
        load(folder / "nowhere")


def test_load_sets_threads(folder: Path) -> None:
    before = torch.get_num_threads()
    try:
        load(folder, threads=1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
