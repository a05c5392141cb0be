"""A server's answers equal those of `Predictor.predict`, for each task on 500 real inputs."""

from __future__ import annotations

import gzip
import json
import os
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from bertie.items.question import Question
from bertie.tasks._prediction import plain


def assert_equal(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_equal(found[key], value)
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    else:
        assert found == (pytest.approx(expected, abs=1e-5) if isinstance(expected, float) else expected)


@pytest.mark.realdata
@pytest.mark.skipif("BERTIE_TEST_DATA" not in os.environ, reason="needs the folder named by BERTIE_TEST_DATA")
@pytest.mark.parametrize("name", ["films", "nli", "cloze", "names", "vectors", "answers"])
def test_answers_equal_predictions_on_real_inputs(client: Any, predictors: Any, name: str) -> None:
    with gzip.open(Path(os.environ["BERTIE_TEST_DATA"]) / "glue/sst2/dev.tsv.gz", "rt", encoding="utf-8") as lines:
        texts = [line.split("\t")[0] for line in islice(lines, 1, 501)]
    if name == "cloze":  # masked texts are never cut, and this model reads 32 tokens
        texts = [f"{text[:24]} [MASK]" for text in texts]
    rows: list[Any] = [{"text": text} for text in texts]
    items: list[Any] = list(texts)
    if name == "answers":
        rows = [{"question": text.split()[0], "context": text} for text in texts]
        items = [Question(row["question"], row["context"]) for row in rows]
    found: list[Any] = []
    for start in range(0, len(rows), 100):
        answer = client.post("/playground/predict", {"model": name, "items": rows[start : start + 100]})
        assert answer.status == 200, answer.content[:300]
        found += answer.json["predictions"]
    assert_equal(found, json.loads(json.dumps([plain(one) for one in predictors[name].predict(items)])))
