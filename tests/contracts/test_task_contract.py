"""What every task keeps, whatever it does: invariance to company and order, both roads alike, exact accumulation.

A new task needs an entry in `EXAMPLES`, nothing else here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie import registry
from bertie.batch import Batch
from bertie.formats.format import Bundle
from bertie.inference.forward import forward
from bertie.inference.predictor import Predictor
from bertie.items.choice import Choice
from bertie.items.question import Answer, Question
from bertie.items.words import Words
from bertie.metrics.entities import Entity
from bertie.sampling.instances import Instances
from bertie.sampling.random import stream
from bertie.serving.computing import compute, probe
from bertie.tasks.causal_lm import CausalLM
from bertie.tasks.classification import Classification
from bertie.tasks.embedding import Embedding
from bertie.tasks.features import FeaturesTask
from bertie.tasks.generation import Generation
from bertie.tasks.hybrid import Hybrid
from bertie.tasks.masked_lm import MaskedLM
from bertie.tasks.multiple_choice import MultipleChoice
from bertie.tasks.next_sentence import NextSentence
from bertie.tasks.passages import Passages
from bertie.tasks.pretraining import Pretraining
from bertie.tasks.question_answering import QuestionAnswering
from bertie.tasks.regression import Regression
from bertie.tasks.replaced_token import ReplacedToken
from bertie.tasks.sentence_order import SentenceOrder
from bertie.tasks.span_classification import SpanClassification
from bertie.tasks.tagging import Tagging
from bertie.tasks.task import Task, TaskModel, Text

TEXTS = (
    "the film was very good .",
    "a poor story",
    "",
    "the old dog ran in the city , and the cat saw it . the bird never sat in the new house by the river",
    "not bad !",
    "北京的猫",
    "three fish ate two red birds",
    "it is great",
)


@dataclass(frozen=True)
class Example:
    """How to try a task."""

    task: Any
    items: list[Any]
    """As a user gives them."""
    draw: Callable[[Any, Task, int], Batch] | None
    """(tokenizer, task, seed) -> a batch to learn from; None for a task that learns nothing."""


def learn_from_texts(tokenizer: Any, task: Task, seed: int) -> Batch:
    items = [Text(text, label=("bad", "good")[place % 2]) for place, text in enumerate(TEXTS)]
    return task.encode(items, tokenizer)


def learn_from_numbers(tokenizer: Any, task: Task, seed: int) -> Batch:
    return task.encode([Text(text, label=str(place % 5)) for place, text in enumerate(TEXTS)], tokenizer)


def learn_from_likeness(tokenizer: Any, task: Task, seed: int) -> Batch:
    return task.encode([Text(*pair, label=str(place % 5)) for place, pair in enumerate(PAIRS)], tokenizer)


def learn_from_words(tokenizer: Any, task: Task, seed: int) -> Batch:
    sentences = [tuple(text.split()) for text in TEXTS]
    tags = ("O", "B-LOC", "I-LOC")
    items = [Words(words, tuple(tags[len(word) % 3] for word in words)) for words in sentences]
    return task.encode(items, tokenizer)


def learn_from_spans(tokenizer: Any, task: Task, seed: int) -> Batch:
    sentences = [tuple(text.split()) for text in TEXTS]
    spans = [[Entity("PER" if size % 2 else "LOC", 0, size) for size in range(1, len(words), 2)] for words in sentences]
    items = [Words(words, spans=tuple(nested)) for words, nested in zip(sentences, spans, strict=True)]
    return task.encode(items, tokenizer)


def learn_from_answers(tokenizer: Any, task: Task, seed: int) -> Batch:
    answers = [(Answer(context.split()[-1], context.rfind(" ") + 1),) if context else () for _, context in PAIRS]
    return task.encode([Question(*pair, answer) for pair, answer in zip(PAIRS, answers, strict=True)], tokenizer)


def learn_from_choices(tokenizer: Any, task: Task, seed: int) -> Batch:
    # The right one is where the item's own text is: without that, texts and choices decide nothing.
    others = [TEXTS[place - 1] for place in range(len(TEXTS))]
    items = [
        Choice(text, (text, other) if place % 2 else (other, text), str(1 - place % 2))
        for place, (text, other) in enumerate(zip(TEXTS, others, strict=True))
    ]
    return task.encode(items, tokenizer)


def learn_from_targets(tokenizer: Any, task: Task, seed: int) -> Batch:
    return task.encode([Text(source, label=target) for source, target in PAIRS], tokenizer)


def learn_from_instances(tokenizer: Any, task: Task, seed: int) -> Batch:
    pieces = tokenizer.pack(TEXTS, TEXTS[::-1], max_length=48, truncation="truncate")
    labels, keys = np.arange(len(TEXTS)) % 2, stream(seed, np.arange(len(TEXTS)))
    documents = np.arange(len(TEXTS)) // 2
    instances = Instances(pieces.tokens, pieces.segments, pieces.offsets, labels, keys, documents=documents)
    return task.encode(instances, tokenizer, instances.keys)  # type: ignore[arg-type]


MASKED = [f"{text} [MASK]" if place % 3 else f"[MASK] {text} [MASK]" for place, text in enumerate(TEXTS)]
PAIRS = [(text, TEXTS[place - 3]) for place, text in enumerate(TEXTS)]
EXAMPLES = {
    "causal_lm": Example(
        CausalLM(max_length=64, max_new_tokens=5, num_beams=2, num_texts=2), [*TEXTS], learn_from_instances
    ),
    "classification": Example(
        Classification(labels=("bad", "good"), max_length=16), [*TEXTS[:4], *PAIRS[4:]], learn_from_texts
    ),
    "embedding": Example(
        Embedding(objective="cosine", label_range=(0.0, 4.0), max_length=16, truncation="window", stride=5),
        [*TEXTS[:4], *PAIRS[4:]],
        learn_from_likeness,
    ),
    "features": Example(FeaturesTask(max_length=40), [*TEXTS], None),
    "generation": Example(
        Generation(max_length=16, max_target=12, max_new_tokens=6, num_beams=2, num_texts=2),
        [*TEXTS[:4], *PAIRS[4:]],
        learn_from_targets,
    ),
    "hybrid": Example(Hybrid(max_length=64, top_k=1000), MASKED, learn_from_instances),
    "masked_lm": Example(MaskedLM(max_length=64, top_k=1000), MASKED, learn_from_instances),
    "multiple_choice": Example(
        MultipleChoice(max_length=14, truncation="window", stride=4),
        [Choice(text, TEXTS[: 2 + place % 3]) for place, text in enumerate(TEXTS)],
        learn_from_choices,
    ),
    "next_sentence": Example(NextSentence(max_length=64), PAIRS, learn_from_instances),
    "passages": Example(Passages(max_length=64, top_k=1000), MASKED, learn_from_instances),
    "question_answering": Example(
        QuestionAnswering(max_length=16, stride=3, max_query=5, max_answer=6, n_best=4, null_threshold=0.0),
        PAIRS,
        learn_from_answers,
    ),
    "regression": Example(
        Regression(center=2.5, spread=2.0, max_length=16, truncation="window", stride=5),
        [*TEXTS[:4], *PAIRS[4:]],
        learn_from_numbers,
    ),
    "replaced_token": Example(ReplacedToken(max_length=64), [text or "very" for text in TEXTS], learn_from_instances),
    "pretraining": Example(Pretraining(max_length=64, top_k=1000), MASKED, learn_from_instances),
    "sentence_order": Example(SentenceOrder(max_length=64, top_k=1000), MASKED, learn_from_instances),
    "span_classification": Example(
        SpanClassification(labels=("LOC", "PER"), max_span=4, max_length=16, stride=5, threshold=0.0),
        [*TEXTS],
        learn_from_spans,
    ),
    "tagging": Example(
        Tagging(labels=("O", "B-LOC", "I-LOC"), max_length=16, stride=5, label_all_pieces=True),
        [*TEXTS],
        learn_from_words,
    ),
}
LEARNING = [name for name, example in EXAMPLES.items() if example.draw is not None]


def predictor(build_model: Callable[..., TaskModel], tokenizer: Any, name: str, max_tokens: int = 8192) -> Predictor:
    task = EXAMPLES[name].task
    model = build_model(task, deviation=0.3)
    bundle = Bundle(model, task, tokenizer, model.encoder.config)
    return Predictor(bundle, max_tokens=max_tokens, device="cpu")


def figures(value: Any) -> list[float]:
    """Flatten a prediction to numbers; guesses of masks are put in the order of the vocabulary."""
    if isinstance(value, list) and value and hasattr(value[0], "token_id"):
        value = sorted(value, key=lambda fill: fill.token_id)
    if is_dataclass(value):
        return [figure for part in fields(value) for figure in figures(getattr(value, part.name))]
    if isinstance(value, dict):
        return [figure for part in value.values() for figure in figures(part)]
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [figure for part in value for figure in figures(part)]
    if isinstance(value, np.ndarray):
        return [float(figure) for figure in value.ravel()]
    return [float(value)] if isinstance(value, int | float) else []


def assert_alike(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert figures(other)
        np.testing.assert_allclose(figures(one), figures(other), rtol=0, atol=1e-5)


def test_every_task_has_an_example() -> None:
    assert sorted(EXAMPLES) == registry.choices("tasks")
    for name, example in EXAMPLES.items():
        assert registry.load("tasks", name).TASK is type(example.task)
        assert example.task.name == name and example.task.architecture.startswith("{}")
        assert is_dataclass(example.task) and type(example.task).__dataclass_params__.frozen


@pytest.mark.parametrize("name", EXAMPLES)
@settings(max_examples=12)
@given(random=st.randoms(use_true_random=False), max_tokens=st.integers(1, 200))
def test_an_item_comes_out_the_same_in_any_company_and_order(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, name: str, random: Random, max_tokens: int
) -> None:
    whole = predictor(build_model, tiny_tokenizer, name)
    items = EXAMPLES[name].items
    expected = whole.predict(items)
    order = random.sample(range(len(items)), random.randint(1, len(items)))
    found = predictor(build_model, tiny_tokenizer, name, max_tokens).predict([items[place] for place in order])
    assert_alike(found, [expected[place] for place in order])
    assert_alike([whole.predict(items[order[0]])], [expected[order[0]]])


@pytest.mark.parametrize("name", EXAMPLES)
def test_both_roads_build_bit_identical_batches(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, name: str
) -> None:
    """The batch of a request is the one that learning or evaluation would see of the same items."""
    example = EXAMPLES[name]
    model, shown = build_model(example.task), 0
    for part in forward(model.eval(), example.task, example.items, tiny_tokenizer, max_tokens=40):
        batch = example.task.encode(part.items, tiny_tokenizer)
        for field in ("tokens", "segments", "positions", "offsets", "rows"):
            assert torch.equal(getattr(part.batch, field), getattr(batch, field))
        assert part.batch.targets.keys() == batch.targets.keys()
        assert all(torch.equal(part.batch.targets[key], value) for key, value in batch.targets.items())
        shown += len(part.items)
    assert shown == len(example.items)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_server_can_ask_whether_a_model_computes(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, name: str
) -> None:
    whole = predictor(build_model, tiny_tokenizer, name)
    assert len(compute(whole, [probe(whole)], ())) == 1


@pytest.mark.parametrize("name", ["classification", "next_sentence"])
def test_labels_change_nothing_but_the_targets(tiny_tokenizer: Any, name: str) -> None:
    example = EXAMPLES[name]
    label = "good" if name == "classification" else "random"
    pairs = [item if isinstance(item, tuple) else (item, None) for item in example.items]
    bare = example.task.encode(example.items, tiny_tokenizer)
    labelled = example.task.encode([Text(*pair, label=label) for pair in pairs], tiny_tokenizer)
    for field in ("tokens", "segments", "positions", "offsets"):
        assert torch.equal(getattr(bare, field), getattr(labelled, field))
    axis = "item" if name == "classification" else "sequence"
    assert labelled.targets.keys() - bare.targets.keys() == {f"{axis}.label"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_padded_tensors_give_the_same_outputs(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, name: str
) -> None:
    example = EXAMPLES[name]
    model, batch = build_model(example.task).eval(), example.task.encode(example.items, tiny_tokenizer)
    padded = [torch.nn.functional.pad(batch.unpack(values), (0, 3)) for values in (batch.tokens, batch.segments)]
    mask = torch.arange(padded[0].shape[1])[None, :] < batch.lengths[:, None]
    again = replace(Batch.from_padded(padded[0], mask.long(), padded[1]), rows=batch.rows, targets=batch.targets)
    with torch.inference_mode():
        decoded = [example.task.decode(model(one), one, example.items, tiny_tokenizer) for one in (batch, again)]
    assert_alike(decoded[1], decoded[0])


@pytest.mark.parametrize("name", LEARNING)
def test_counts_are_those_of_the_loss(build_model: Callable[..., TaskModel], tiny_tokenizer: Any, name: str) -> None:
    example = EXAMPLES[name]
    assert example.draw is not None
    batch = example.draw(tiny_tokenizer, example.task, 1)
    loss = example.task.loss(build_model(example.task)(batch), batch)
    assert example.task.counts(batch) == {key: term.count for key, term in loss.terms.items()}
    for key, (value, count) in loss.figures.items():  # shares, and losses of a kind of batch
        assert float(value) >= 0 and (float(value) <= count or key.endswith("_loss"))


@pytest.mark.parametrize("name", [name for name in LEARNING if not EXAMPLES[name].task.compares_items])
@pytest.mark.parametrize("max_tokens", [1, 60])
def test_unequal_micro_batches_add_up_to_the_whole(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, name: str, max_tokens: int
) -> None:
    example = EXAMPLES[name]
    assert example.draw is not None
    batch, gradients = example.draw(tiny_tokenizer, example.task, 1), []
    for parts in ([batch], batch.split(max_tokens)):
        model = build_model(example.task)
        counts: dict[str, float] = {}
        for part in parts:
            for key, count in example.task.counts(part).items():
                counts[key] = counts.get(key, 0.0) + count
        total = 0.0
        for part in parts:
            loss = example.task.loss(model(part), part).total(counts)
            loss.backward()
            total += float(loss.detach())
        gradients.append((total, {key: value.grad for key, value in model.named_parameters()}))
    (whole, expected), (added, found) = gradients
    assert added == pytest.approx(whole, abs=1e-5)
    for key, value in expected.items():
        assert value is not None, f"{key} learns nothing"
        torch.testing.assert_close(found[key], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", LEARNING)
def test_a_small_batch_is_learned_by_heart(
    build_model: Callable[..., TaskModel], tiny_tokenizer: Any, name: str
) -> None:
    example = EXAMPLES[name]
    assert example.draw is not None
    batch, model = example.draw(tiny_tokenizer, example.task, 1), build_model(example.task, dropout=0.05)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    losses = []
    torch.manual_seed(0)
    for _ in range(40):
        loss = example.task.loss(model(batch), batch).total(example.task.counts(batch))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
