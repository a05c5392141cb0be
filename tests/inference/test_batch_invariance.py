"""With bertie's kernels an answer has the same bits alone and among any others, at any number of threads.

The texts that are compared are short, long, and longer than the model takes. They are asked alone on one thread first.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest
import torch

from bertie.formats.format import Bundle
from bertie.inference.predictor import Predictor
from bertie.items.choice import Choice
from bertie.models.bert import BertConfig
from bertie.models.electra import ElectraConfig
from bertie.nn.initialize import initialize
from bertie.ops.kernels import library
from bertie.tasks.classification import Classification
from bertie.tasks.embedding import Embedding
from bertie.tasks.features import FeaturesTask
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.multiple_choice import MultipleChoice
from bertie.tasks.next_sentence import NextSentence
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.regression import Regression
from bertie.tasks.replaced_token import ReplacedToken
from bertie.tasks.span_classification import SpanClassification
from bertie.tasks.tagging import Tagging
from bertie.tasks.task import TaskModel

pytestmark = pytest.mark.skipif(library.load("linear") is None, reason="no C++ compiler on this machine")

WORDS = (
    "the",
    "a",
    "film",
    "dog",
    "cat",
    "was",
    "sat",
    "good",
    "bad",
    "old",
    "new",
    "in",
    "by",
    "river",
    "never",
    "very",
)
LONG = {"max_length": 256}
WINDOWS = {"max_length": 64, "truncation": "window", "stride": 20}
TASKS: dict[str, tuple[Any, str]] = {
    "classes": (Classification(labels=("bad", "good", "so so"), **LONG), "text"),
    "classes, windows": (Classification(labels=("bad", "good"), **WINDOWS), "text"),
    "several labels": (Classification(labels=("bad", "good", "long"), multi_label=True, **LONG), "text"),
    "pairs": (Classification(labels=("bad", "good"), **LONG), "pair"),
    "vectors": (Embedding(objective="cosine", label_range=(0.0, 4.0), **WINDOWS), "text"),
    "largest": (Embedding(objective="cosine", label_range=(0.0, 4.0), pooling="max", **LONG), "text"),
    "tokens": (FeaturesTask(**LONG, truncation="truncate"), "text"),
    "masks": (MaskedLM(max_length=512, top_k=50), "masked"),
    "choices": (MultipleChoice(**WINDOWS), "choice"),
    "next sentence": (NextSentence(max_length=512, truncation="truncate"), "pair"),
    "answers": (QuestionAnswering(max_length=64, stride=20, max_query=10, n_best=4, null_threshold=0.0), "pair"),
    "number": (Regression(center=2.5, spread=2.0, **LONG), "text"),
    "replaced": (ReplacedToken(max_length=512, truncation="truncate"), "text"),
    "spans": (SpanClassification(labels=("LOC", "PER"), max_span=4, max_length=64, stride=20, threshold=0.0), "text"),
    "tags": (Tagging(labels=("O", "B-LOC", "I-LOC"), max_length=64, stride=20), "text"),
}
THREADS = (1, 2, 3)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def text(draw: random.Random) -> str:
    longest = draw.choice((2, 8, 8, 30, 30, 120, 600))
    return " ".join(draw.choices(WORDS, k=draw.randint(1, longest)))


def item(kind: str, draw: random.Random) -> Any:
    if kind == "pair":
        return text(draw)[:60], text(draw)
    if kind == "masked":
        words = text(draw).split()[:300]
        words[draw.randrange(len(words))] = "[MASK]"
        return " ".join(words)
    if kind == "choice":
        return Choice(text(draw), tuple(text(draw)[:80] for _ in range(draw.randint(2, 4))))
    return text(draw)


def bits(value: Any) -> Any:
    """Return a prediction as values that are equal only if all bits are."""
    if is_dataclass(value):
        return tuple(bits(getattr(value, part.name)) for part in fields(value))
    if isinstance(value, dict):
        return tuple((name, bits(part)) for name, part in value.items())
    if isinstance(value, str | bytes | int | None):
        return value
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, Sequence):
        return tuple(map(bits, value))
    return np.asarray(value).tobytes()


def make(task: Any, tokenizer: Any, **settings: Any) -> Predictor:
    config: Any = BertConfig(
        tokenizer.vocab_size, hidden_size=128, num_layers=2, num_heads=2, intermediate_size=192, max_positions=512
    )
    if task.name == "replaced_token":
        config = ElectraConfig(**{**vars(config), "embedding_size": 64})
    encoder: Any = config.build()
    model: TaskModel = task.network(TaskModel(encoder, task.head(encoder)), seed=0)
    initialize(model, deviation=0.1, generator=torch.Generator().manual_seed(0))
    settings = {"device": "cpu", "backend": "eager", **settings}
    return Predictor(Bundle(model, task, tokenizer, config), **settings)


def differences(
    predictor: Predictor, kind: str, seed: int, count: int, numbers_of_threads: Sequence[int] = THREADS
) -> list[str]:
    """Ask for the same items alone and in batches of any size, and describe those with other bits."""
    draw = random.Random(seed)
    items = [item(kind, draw) for _ in range(count)]
    watched = draw.sample(range(count), 8)
    torch.set_num_threads(1)
    alone = {number: bits(predictor.predict([items[number]])[0]) for number in watched}
    found = []
    for threads in numbers_of_threads:
        torch.set_num_threads(threads)
        for size in (2, 7, count) if threads in THREADS else (count,):
            predictor.max_tokens = draw.choice((50, 700, 4096, 20_000))
            chosen = watched[:1] + watched[1:][: size // 2]
            chosen += draw.sample([number for number in range(count) if number not in chosen], size - len(chosen))
            draw.shuffle(chosen)
            answers = predictor.predict([items[number] for number in chosen])
            for number, answer in zip(chosen, answers, strict=True):
                if number in alone and bits(answer) != alone[number]:
                    found.append(f"item {number} on {threads} threads among {size}, {predictor.max_tokens} tokens")
    return found


@pytest.mark.parametrize("name", TASKS)
def test_an_answer_has_the_same_bits_in_any_batch(tiny_tokenizer: Any, name: str) -> None:
    task, kind = TASKS[name]
    predictor, most = make(task, tiny_tokenizer), name == "classes"
    count, threads = (1000, (*THREADS, 8)) if most else (70, THREADS)
    assert differences(predictor, kind, len(name), count, threads) == []


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize("name", ["classes, windows", "masks", "answers"])
def test_it_has_in_lower_precisions(tiny_tokenizer: Any, name: str, precision: Any) -> None:
    task, kind = TASKS[name]
    assert differences(make(task, tiny_tokenizer, precision=precision), kind, seed=len(name), count=40) == []
