"""Each benchmark: what it compares, on which inputs; and one that really runs, for `pytest -m bench`."""

from __future__ import annotations

import importlib
import re
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import evaluation_memory, gpu, inputs, predict, pretrain, rounds
from benchmarks.contest import Case

NAMES = (
    "roofline",
    "startup",
    "tokenization",
    "generation",
    "prepare",
    "predict",
    "finetune",
    "pretrain",
    "architectures",
    "gpu",
    "evaluation_memory",
    "scaling",
    "neighbours",
    "serving",
)
WORDS = {"evaluation_memory": ["--model", "m", "--data", "d"]}


def cases(name: str, *words: str) -> list[Case]:
    module: Any = importlib.import_module(f"benchmarks.{name}")
    options = rounds.parse(module, [*WORDS.get(name, []), *words], rounds=5, repeats=1)
    found: list[Case] = module.cases(options)
    return found


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("words", [(), ("--smoke",)])
def test_cases_are_whole(name: str, words: tuple[str, ...]) -> None:
    found = cases(name, *words)
    names = [case.name for case in found]
    assert names and len(set(names)) == len(names)
    for case in found:
        own = [contestant.name for contestant in case.contestants]
        assert len(set(own)) == len(own)
        assert name == "roofline" or own[0].startswith("bertie")
        assert not case.contestants[0].may_differ and not case.contestants[0].needs
        if case.proof_of:
            proving = next(other for other in found if other.name == case.proof_of)
            assert set(own) <= {contestant.name for contestant in proving.contestants}


def test_peers_stand_in_their_default_and_in_their_best() -> None:
    names = {contestant.name for case in cases("predict") for contestant in case.contestants}
    assert {
        "transformers exact, in order of arrival",
        "sentence-transformers exact, as called",
        "transformers exact",
    } <= names
    assert {"onnxruntime int8", "openvino int8", "ctranslate2 int8", "openvino bf16", "onnxruntime exact"} <= names
    ours = {
        "bertie",
        "bertie (exact)",
        "bertie int8",
        "bertie bf16 by eager",
        "bertie int8 by onnx",
        "bertie exact by openvino",
    }
    assert ours <= names
    trainers = [each.name for each in cases("finetune")[0].contestants if "Trainer" in each.name]
    assert (
        len(trainers) == 2
        and any("default" in name for name in trainers)
        and any("grouped" in name for name in trainers)
    )


def test_model_flops() -> None:
    shown = [
        (size, length, round(pretrain.flops_per_token(size, length) / 1e6, 1))
        for size in ("mini", "base")
        for length in (128, 512)
    ]
    assert shown == [("mini", 128, 27.5), ("mini", 512, 32.3), ("base", 128, 545.4), ("base", 512, 587.9)]


def test_no_gpu_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as stopped:
        gpu.main([])
    assert stopped.value.code == 2 and "needs a CUDA GPU" in capsys.readouterr().err


def test_generated_text_is_the_same_every_time_and_has_realistic_lengths() -> None:
    first, again = inputs.generated(2000), inputs.generated(2000)
    assert first == again != inputs.generated(2000, seed=1)
    lengths = np.array([len(text.split()) for text in first])
    assert 18 < lengths.mean() < 28 and lengths.max() > 60 and lengths.min() < 8
    assert inputs.generated(500, inputs.SST2) != first[:500]


def test_sentences_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "text.txt"
    file.write_text(
        "One sentence is here. Another one\nstands here! Too short. The third one is here.\n\nA last line of it",
        "utf-8",
    )
    found = inputs.sentences(4, str(file))
    assert sorted(found) == [
        "A last line of it",
        "Another one stands here!",
        "One sentence is here.",
        "The third one is here.",
    ]
    assert inputs.sentences(4, str(file)) == found
    with pytest.raises(SystemExit, match=r"4 sentences .* 9 are needed"):
        inputs.sentences(9, str(file))
    assert inputs.document_text(12, str(file)) == "One sentence"
    documents = inputs.document_text(20_000, None).split("\n\n")
    assert len(documents) > 5 and re.match(r"[A-Z]\w*", documents[0])


def test_batches_hold_every_text_once_and_keep_to_their_places() -> None:
    lengths = np.random.default_rng(0).integers(3, 129, 500).tolist()
    for by_length in (True, False):
        found = predict.batches(lengths, by_length=by_length)
        assert sorted(place for batch in found for place in batch) == list(range(500))
        sizes = [len(batch) * max(lengths[place] for place in batch) for batch in found]
        assert max(sizes) <= predict.PLACES if by_length else {len(batch) for batch in found} == {32, 500 % 32}


def test_answers_of_qamr_become_characters() -> None:
    answer = evaluation_memory._answer(["the", "old", "cat", "sat"], "1 2")
    assert answer == ("old cat", 4) and evaluation_memory._answer(["a"], "") is None


@pytest.mark.bench
def test_a_real_one_runs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "bench" not in str(request.config.getoption("markexpr")):
        pytest.skip("measures; ask for it with -m bench")
    for variable in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
        monkeypatch.setenv(variable, "1")
    module: Any = importlib.import_module("benchmarks.tokenization")
    words = ["--megabytes", "0.05", "--only", "tokenizers", "--threads", "1", "--out", str(tmp_path)]
    module.main(words)
    result = importlib.import_module("benchmarks.ledger").read(tmp_path / "tokenization.json")
    assert isinstance(Namespace(**result["inputs"]).sha256, str)
    for case in result["cases"]:
        assert set(case["agreement"]["values"].values()) == {0.0} and len(case["rows"]) >= 3
