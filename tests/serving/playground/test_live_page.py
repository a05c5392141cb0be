"""The live page as a file: its numbers are bertie's, what it refuses, what fits into it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertie.commands.show import show
from bertie.errors import DataError, SettingsError
from bertie.formats.format import Bundle, new
from bertie.formats.huggingface import write
from bertie.inference.attention import attention_of, tokens_of
from bertie.inference.predictor import Predictor
from bertie.models.bert import BertConfig
from bertie.models.roberta import RobertaConfig
from bertie.serving import live_page as pages
from bertie.serving.live_page import MAX_BYTES, MAX_TOKENS, live_page
from bertie.tasks.classification import Classification
from bertie.tasks.masked_lm import MaskedLM
from bertie.tokenizer.tokenizer import Tokenizer

ODD = (
    "The CAFÉ's Naïve 北京 [MASK]!? ($12.50) e\u0301 \u200b x\u0000y",
    "[MASK]",
    "[CLS] a [SEP] unknownワード ΑΣ [MASK].",
)
READ = """() => [...document.querySelectorAll(".cell")].map((cell) => {
  cell.click();
  const from = document.querySelectorAll(".bipartite .token:is(button)");
  return [...from].map((button) => {
    button.focus();
    return [...document.querySelectorAll(".bipartite li")].map((one) => Number(one.style.getPropertyValue("--share")));
  });
})"""


def sentences(predictor: Predictor[Any], language: str) -> list[str]:
    """Return 25 sentences with one or two masks, some of them odd."""
    least = 3 if language == "en" else 1
    words = [word for word in predictor.tokenizer.tokens[5:] if len(word) >= least and "#" not in word]
    draw = np.random.default_rng(7)
    made = []
    for number in range(25 - len(ODD)):
        chosen = [words[at] for at in draw.integers(len(words), size=4 + number % 6)]
        for place in draw.choice(len(chosen), 1 + number % 2, replace=False):
            chosen[place] = "[MASK]"
        made.append((" " if language == "en" else "").join(chosen))
    return [*made, *ODD]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_guesses_and_attention_are_berties(
    language: str, both: dict[str, Predictor[Any]], open_live: Callable[..., Any], ask: Callable[..., None]
) -> None:
    predictor = both[language]
    tab = open_live(predictor)
    assert tab.locator("html").get_attribute("lang") == ("en" if language == "en" else "zh-Hans")
    worst = [0.0, 0.0]
    for text in sentences(predictor, language):
        ask(tab, text)
        shown = tokens_of(predictor.tokenizer, text, max_length=MAX_TOKENS)
        tokens = tab.locator(".pieces bdi").all_text_contents()
        assert tokens == [token.token for token in shown.tokens], text
        seen = np.asarray(tab.evaluate(READ)).reshape(2, 2, len(tokens), len(tokens))
        worst[0] = max(worst[0], float(np.abs(seen - attention_of(predictor, shown.batch).numpy()).max()))
        found = predictor.predict([text])[0]
        expected = found if isinstance(found[0], list) else [found]
        columns = tab.locator("#result .columns > section")
        assert columns.count() == len(expected)
        for column, guesses in enumerate(expected):
            bars = columns.nth(column).locator(".bar")
            shares = bars.locator("i").evaluate_all(
                "all => all.map(one => Number(one.style.getPropertyValue('--share')))"
            )
            names = bars.locator("bdi").all_text_contents()
            np.testing.assert_allclose(shares, [guess.score for guess in guesses], atol=1e-3)
            worst[1] = max(worst[1], float(np.abs(np.subtract(shares, [guess.score for guess in guesses])).max()))
            clear = [a.token for a, b in pairwise(guesses) if a.score - b.score > 2e-3]
            assert [name for name in names if name in clear] == clear, text
    assert max(worst) < 1e-3, worst


def test_models_that_the_page_cannot_compute_are_refused(
    tmp_path: Path,
    build_model: Callable[..., Any],
    tiny_tokenizer: Tokenizer,
    make_live: Callable[..., Any],
    both: dict[str, Predictor[Any]],
) -> None:
    def folder(bundle: Bundle) -> Path:
        path = tmp_path / str(len(list(tmp_path.iterdir())))
        write(bundle, path)
        return path

    films = Classification(labels=("bad", "good"), max_length=64)
    model = build_model(films)
    config = RobertaConfig(
        tiny_tokenizer.vocab_size, 32, num_layers=1, num_heads=2, intermediate_size=64, max_positions=64
    )
    for bundle, message in (
        (Bundle(model, films, tiny_tokenizer, model.encoder.config), "is a model for classification, which guesses no"),
        (
            new(config, MaskedLM(max_length=64), tiny_tokenizer, 0, architecture="roberta"),
            "architecture roberta; .*BERT alone",
        ),
    ):
        with pytest.raises(SettingsError, match=message):
            show(folder(bundle), live=True, out=tmp_path / "a.html")
    large = BertConfig(
        tiny_tokenizer.vocab_size, 512, num_layers=3, num_heads=8, intermediate_size=2048, max_positions=64
    )
    with pytest.raises(SettingsError, match="million weights, too many for a page of 5 MB"):
        live_page(Predictor(new(large, MaskedLM(max_length=64), tiny_tokenizer, 0)), "large")
    broken = make_live(4, ["a", "b"])
    with torch.no_grad():
        broken.bundle.model.encoder.blocks[0].feedforward.up.weight[0, 0] = math.nan
    with pytest.raises(DataError, match="not a finite number"):
        live_page(broken, "broken")
    for more in ({"attention": "a"}, {"accept_changes": True}, {"attention_pair": "a"}):
        with pytest.raises(SettingsError, match="--live can be combined with --out alone"):
            show(folder(both["en"].bundle), live=True, **more)
    assert not (tmp_path / "a.html").exists()


def test_a_run_with_checkpoints_gives_a_page_below_5_mb(
    both: dict[str, Predictor[Any]], stages_of: Callable[..., Any], tmp_path: Path
) -> None:
    from bertie.training.checkpoint import save

    run, predictor = tmp_path / "run", both["en"]
    write(predictor.bundle, run / "model")
    for stage in stages_of(predictor, 3):
        tensors = {f"model.{key}": value.clone() for key, value in stage.state.items()}
        save(run / "checkpoints", step=stage.step, tensors=tensors, state={}, keep=9)
    (run / "checkpoints" / "step-00000020" / "state.json").write_text("damaged")
    lines = [{"kind": "train", "step": step, "loss": 5.0 / step} for step in (1, 20, 40)]
    (run / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    report = show(run, live=True, out=tmp_path / "a.html")
    assert report.values["checkpoints"] == [10, 30] and report.values["bytes"] < MAX_BYTES
    assert report.values["rounding_changes_guesses_by"] < 1e-3 > report.values["rounding_changes_attention_by"]
    content = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert not re.search(
        r"https?:|//[a-z]+\.|@import| src=|<link rel=.style", content.replace("http://www.w3.org/", "")
    )
    again = show(run / "model", live=True, out=tmp_path / "a.html")  # the model folder stands for its run
    assert again.values["checkpoints"] == [10, 30]


def test_checkpoints_that_do_not_fit_are_left_out(
    both: dict[str, Predictor[Any]], stages_of: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = both["en"]
    stages = stages_of(predictor, 12)
    full = live_page(predictor, "model", stages=stages, last_step=130)
    assert full.steps == tuple(stage.step for stage in stages) and full.stage_bits == [12, 8]
    monkeypatch.setattr(pages, "MAX_BYTES", 600_000)
    few = live_page(predictor, "model", stages=stages, last_step=130)
    assert 1 <= len(few.steps) < 12 and few.steps[0] == 10 and few.stage_bits == [11, 5]
    assert len(few.content.encode()) < 600_000


def test_the_lines_of_python_are_those_of_the_source() -> None:
    for file, start in pages._LINES.values():
        line = pages._line(file, start)
        assert line["code"].startswith(start) and re.fullmatch(r"bertie/\w+/.*\.py:\d+", line["place"])
