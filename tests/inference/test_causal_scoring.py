"""Scores from the left: equal to reading one beginning after another, in any batches; what can't be scored so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertie.batch import Batch
from bertie.cli import main
from bertie.errors import SettingsError
from bertie.formats import huggingface
from bertie.formats.format import Bundle, new
from bertie.inference import suite
from bertie.inference.likelihood import pseudo_log_likelihood, score_from_left
from bertie.inference.predictor import Predictor
from bertie.models.bert import BertConfig
from bertie.nn.initialize import initialize
from bertie.readers.minimal_pairs import MinimalPair, read_suite
from bertie.tasks.causal_lm import CausalLM
from bertie.tasks.hybrid import Hybrid
from bertie.tasks.masked_lm import MaskedLM

WORDS = ("the", "a", "cats", "film", "sat", "slept", "in", "is", "greatest", "very", "not", "京", "猫", "zebras")


def predictor(tokenizer: Any, task: Any, **more: Any) -> Predictor:
    shape = BertConfig(
        tokenizer.vocab_size, hidden_size=32, num_layers=2, num_heads=2, intermediate_size=64, max_positions=64
    )
    made = new(shape, task, tokenizer, 0)
    initialize(made.model, deviation=0.3, generator=torch.Generator().manual_seed(0))
    return Predictor(made, device="cpu", **more)


def some_pairs(count: int) -> list[MinimalPair]:
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(WORDS, draw.integers(1, 9))) for _ in range(2 * count)]
    both = zip(texts[::2], texts[1::2], strict=True)
    return [MinimalPair(*pair, "paradigm", "phenomenon", "memory", place + 1) for place, pair in enumerate(both)]


def naive(predictor: Predictor, text: str) -> float:
    """Read one beginning after another, and nothing else, and ask what comes next."""
    tokens = predictor.tokenizer.pack([text], max_length=60).tokens
    total = 0.0
    for length in range(1, len(tokens) - 1):
        batch = Batch.pack(tokens[:length], np.zeros(length, np.int64), [0, length])
        with torch.inference_mode():
            hidden = predictor.model.encoder(batch)
            logits = predictor.model.head.token_logits(hidden[-1:]).materialise().double()
        total += float(logits.log_softmax(1)[0, int(tokens[length])])
    return total


@pytest.mark.parametrize("kind", ["causal_lm", "hybrid"])
def test_agrees_with_one_beginning_at_a_time(tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(suite, "_WINDOW", 7)
    plain = predictor(tiny_tokenizer, CausalLM(max_length=64))
    scored = plain
    if kind == "hybrid":
        scored = predictor(tiny_tokenizer, Hybrid(max_length=64), max_tokens=100)
        scored.model.load_state_dict(plain.model.state_dict())
    pairs = some_pairs(15)
    expected = np.array([[naive(plain, pair.good), naive(plain, pair.bad)] for pair in pairs])
    pieces = scored.tokenizer.pack([pair.good for pair in pairs], max_length=64)
    np.testing.assert_allclose(suite.sentence_scores(scored, pieces, "causal"), expected[:, 0], atol=1e-4)
    found = suite.measure(scored, pairs, scoring="causal")
    assert found.scoring == "causal" and found.figures()["scoring"] == "causal"
    assert found.accuracy == pytest.approx((expected[:, 0] > expected[:, 1]).mean()) and 0 < found.accuracy < 1
    likely = pseudo_log_likelihood(scored, [pair.bad for pair in pairs], scoring="causal")
    np.testing.assert_allclose([one.sum for one in likely], expected[:, 1], atol=1e-4)


def test_each_model_has_a_way_of_its_own(tiny_tokenizer: Any) -> None:
    pairs = some_pairs(4)
    ways = {CausalLM: "causal", Hybrid: "masked", MaskedLM: "masked"}
    for kind, way in ways.items():
        assert suite.measure(predictor(tiny_tokenizer, kind(max_length=64)), pairs).scoring == way
    for kind, other in {CausalLM: "masked", MaskedLM: "causal"}.items():
        with pytest.raises(SettingsError, match=f"{kind.name} models can't do {other} scoring"):
            suite.measure(predictor(tiny_tokenizer, kind(max_length=64)), pairs, scoring=other)  # type: ignore[arg-type]


@pytest.mark.parametrize("max_tokens", [1, 9, 4096])
def test_batches_change_nothing_and_specials_score_nothing(tiny_tokenizer: Any, max_tokens: int) -> None:
    model = predictor(tiny_tokenizer, CausalLM(max_length=64)).model.eval()
    pieces = tiny_tokenizer.pack(["the cat sat", "", "a", "very good"], ["not bad", None, None, None], max_length=64)
    scores = score_from_left(model, pieces, tiny_tokenizer, max_tokens=max_tokens)
    np.testing.assert_allclose(scores, score_from_left(model, pieces, tiny_tokenizer), atol=1e-5)
    special = np.isin(pieces.tokens, tiny_tokenizer.special_ids)
    assert (scores[special] == 0).all() and (scores[~special] < 0).all()


def test_the_commands(tiny_tokenizer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle: Bundle = predictor(tiny_tokenizer, Hybrid(max_length=64)).bundle
    huggingface.write(bundle, tmp_path / "model")
    rows = [
        {"sentence_good": f"the cat {n}", "sentence_bad": f"cat {n} the", "UID": "x", "linguistics_term": "y"}
        for n in range(5)
    ]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["evaluate", str(tmp_path / "model"), "--suite", "blimp", "--data", str(tmp_path), "--json", "--quiet"]
    for scoring in ("masked", "causal"):
        assert main([*words, "--scoring", scoring]) == 0
        found = json.loads(capsys.readouterr().out)
        expected = suite.measure(Predictor(bundle, device="cpu"), read_suite("blimp", tmp_path), scoring=scoring)  # type: ignore[arg-type]
        assert found["scoring"] == scoring and found["scores"] == {"accuracy": expected.accuracy}
    likely = ["predict", str(tmp_path / "model"), "the cat sat", "--likelihood", "--json", "--quiet"]
    sums = []
    for more in ([], ["--scoring", "masked"], ["--scoring", "causal"]):
        assert main([*likely, *more]) == 0
        sums.append(json.loads(capsys.readouterr().out)["sum"])
    assert sums[0] == sums[1] != sums[2]
    assert main(["predict", str(tmp_path / "model"), "the [MASK]", "--scoring", "causal", "--quiet"]) == 2
    assert "requires --likelihood; add it" in capsys.readouterr().err
    assert main(["predict", str(tmp_path / "model"), "the", "--task", "causal_lm", "--json", "--quiet"]) == 0
    assert {"text", "target", "score", "ended", "others"} == json.loads(capsys.readouterr().out).keys()
