"""Span classification: candidates, windows, exact characters, nested spans that are learned, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy_with_logits

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.formats import huggingface
from bertie.formats.format import Bundle
from bertie.inference.evaluate import evaluate
from bertie.inference.predictor import Predictor, load
from bertie.inference.render import record, show
from bertie.items.words import Words
from bertie.metrics.entities import Entity
from bertie.tasks._candidates import candidates, gold_table
from bertie.tasks.span_classification import FoundSpans, Span, SpanClassification
from bertie.tasks.task import TaskModel, Text

TASK = SpanClassification(labels=("LOC", "ORG", "PER"), max_span=3, max_length=16)
# "cats" is two pieces, "dogged" many, the soft hyphen none.
ITEM = Words(
    ("the", "cats", "\u00ad", "dogged"),
    spans=(Entity("ORG", 0, 2), Entity("LOC", 1, 2), Entity("PER", 1, 2), Entity("PER", 0, 4)),
)


def places(batch: Any) -> list[tuple[int, int, int]]:
    """Return (item, first word, last word) of every candidate."""
    first, more = candidates(batch)
    owners = torch.repeat_interleave(batch.rows, batch.lengths)[batch.targets["slot.position"]]
    ends = batch.targets["slot.reach"][first + more]
    return list(zip(owners[first].tolist(), batch.targets["slot.word"][first].tolist(), ends.tolist(), strict=True))


def logits(batch: Any, wanted: set[tuple[int, int, int, int]], num_labels: int, sure: float = 4.0) -> torch.Tensor:
    """Outputs that are sure of the candidates in `wanted`, (item, first word, last word, label)."""
    rows = [[sure if (*place, label) in wanted else -sure for label in range(num_labels)] for place in places(batch)]
    return torch.tensor(rows).view(-1, num_labels)


def test_candidates_are_the_runs_of_words_with_pieces(tiny_tokenizer: Any) -> None:
    batch = TASK.encode([ITEM, "北京 cat", ""], tiny_tokenizer)
    assert sorted(places(batch)) == [
        *((0, 0, 0), (0, 0, 1), (0, 0, 3), (0, 1, 1), (0, 1, 3), (0, 3, 3)),
        *((1, 0, 0), (1, 0, 1), (1, 0, 2), (1, 1, 1), (1, 1, 2), (1, 2, 2)),
    ]
    assert TASK.counts(batch) == {"span_classification": 12.0}
    assert "slot.gold" not in batch.targets
    with pytest.raises(KeyError):
        TASK.loss(torch.zeros(12, 3), batch)


def test_gold_spans_have_their_candidates(tiny_tokenizer: Any) -> None:
    batch = TASK.encode([ITEM, Words(("a", "cat"), ("B-LOC", "O"))], tiny_tokenizer)
    first, label = gold_table(batch, 3).nonzero(as_tuple=True)
    gold = {(*places(batch)[row], number) for row, number in zip(first.tolist(), label.tolist(), strict=True)}
    assert gold == {(0, 0, 1, 1), (0, 1, 1, 0), (0, 1, 1, 2), (0, 0, 3, 2), (1, 0, 0, 0)}


WORDS = st.lists(st.sampled_from(["the", "cats", "dogged", "\u00ad", "北"]), max_size=20)


@given(st.lists(WORDS, min_size=1, max_size=4), st.integers(5, 12), st.randoms(use_true_random=False))
def test_every_span_is_decided_in_one_window(
    tiny_tokenizer: Any, rows: list[list[str]], length: int, random: Any
) -> None:
    task = SpanClassification(labels=("A",), max_span=4, max_length=length, stride=2)
    sizes = [[len(ids) for ids in tiny_tokenizer.encode_batch(words)] for words in rows]
    shown = [[place for place, size in enumerate(counts) if size] for counts in sizes]
    runs = [
        (row, words[start], words[end])
        for row, words in enumerate(shown)
        for start in range(len(words))
        for end in range(start, min(start + 4, len(words)))
    ]
    chosen = {run for run in runs if random.random() < 0.2}
    items = [
        Words(tuple(words), spans=tuple(Entity("A", start, end + 1) for one, start, end in chosen if one == row))
        for row, words in enumerate(rows)
    ]
    batch = task.encode(items, tiny_tokenizer)
    found = places(batch)
    assert len(set(found)) == len(found) and set(found) <= set(runs)
    # A window moves by two pieces, so that each span of up to room - 1 pieces is wholly in one.
    surely = {(row, start, end) for row, start, end in runs if sum(sizes[row][start : end + 1]) < length - 2}
    assert surely <= set(found)
    gold = {place for place, has in zip(found, gold_table(batch, 1)[:, 0].tolist(), strict=True) if has}
    assert gold == chosen & set(found)


def test_a_span_is_decided_where_it_has_most_context(tiny_tokenizer: Any) -> None:
    task = SpanClassification(labels=("A",), max_span=2, max_length=8, stride=3)
    batch = task.encode([Words(("the",) * 9)], tiny_tokenizer)  # windows of the words 0-5, 3-8
    first, more = candidates(batch)
    window = torch.searchsorted(batch.offsets.long(), batch.targets["slot.position"][first], right=True) - 1
    words = batch.targets["slot.word"][first]
    by_place = dict(zip(zip(words.tolist(), more.tolist(), strict=True), window.tolist(), strict=True))
    assert [by_place[word, 0] for word in range(9)] == [0, 0, 0, 0, 0, 1, 1, 1, 1]
    assert [by_place[word, 1] for word in range(8)] == [0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize("text", ["the 😀 cats, in北京", "👩‍👩‍👧 cats 𠮷北", "cats\u3000北😀京"])
def test_predicted_spans_have_the_characters_of_the_text(tiny_tokenizer: Any, text: str) -> None:
    batch = TASK.encode([text], tiny_tokenizer)
    every = {(*place, 2) for place in places(batch)}
    (found,) = SpanClassification(**{**vars(TASK), "threshold": 0.9}).decode(
        logits(batch, every, 3), batch, [text], tiny_tokenizer
    )
    assert found.spans and all(text[span.start : span.end] == span.text for span in found.spans)
    assert {"cats", "北"} <= {span.text for span in found.spans}


def test_nested_spans_come_out_together(tiny_tokenizer: Any) -> None:
    items = ["the cats of the dog", ""]
    batch = TASK.encode(items, tiny_tokenizer)
    wanted = {(0, 0, 1, 1), (0, 1, 1, 0), (0, 1, 1, 2), (0, 1, 3, 1)}
    found, empty = TASK.decode(logits(batch, wanted, 3), batch, items, tiny_tokenizer)
    sure = float(torch.tensor(4.0).sigmoid())
    assert [(span.label, span.text, span.start, span.end) for span in found.spans] == [
        ("ORG", "the cats", 0, 8),
        ("ORG", "cats of the", 4, 15),
        ("LOC", "cats", 4, 8),
        ("PER", "cats", 4, 8),
    ]
    assert [span.score for span in found.spans] == pytest.approx([sure] * 4) and found.score == pytest.approx(sure)
    assert empty == FoundSpans((), 1.0, (), "")
    nothing = TASK.decode(logits(batch, set(), 3, 1.0), batch, items, tiny_tokenizer)[0]
    assert nothing.spans == () and nothing.score == pytest.approx(float(torch.tensor(1.0).sigmoid()))
    assert len(nothing.candidates) == 4 * 5  # at most four a word


def test_the_loss_weighs_labelled_candidates(tiny_tokenizer: Any) -> None:
    task = SpanClassification(labels=TASK.labels, max_span=3, max_length=16, positive_weight=3.0)
    batch = task.encode([ITEM, Words(("cat",), ("B-LOC",))], tiny_tokenizer)
    outputs = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    gold = gold_table(batch, 3).float()
    terms = binary_cross_entropy_with_logits(outputs, gold, reduction="none") * (1.0 + 2.0 * gold)
    assert float(task.loss(outputs, batch).total(task.counts(batch))) == pytest.approx(float(terms.sum()) / 7.0)


CORPUS_PARTS = ("the cat", "a dog", "the old bird")


def nested(number: int) -> Words:
    """A sentence whose animal is within a group: [the cat of [the river]] sat."""
    animal, place = CORPUS_PARTS[number % 3].split(), ("the river", "a city", "the new house")[number // 3 % 3].split()
    lead = ("it saw", "", "this was not", "very bad :")[number // 9 % 4].split()
    start, middle = len(lead), len(lead) + len(animal) + 1
    words = (*lead, *animal, "of", *place, "sat")
    spans = (
        Entity("GROUP", start, middle + len(place)),
        Entity("ANIMAL", start, middle - 1),
        Entity("PLACE", middle, middle + len(place)),
    )
    return Words(words, spans=spans)


def test_nested_spans_are_learned(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    items = [nested(number) for number in range(36)]
    train, dev = [item for place, item in enumerate(items) if place % 4], items[::4]
    task = SpanClassification(**SpanClassification.learn(train, {}), max_length=32)
    assert task.labels == ("ANIMAL", "GROUP", "PLACE") and task.max_span == 7
    model = build_model(task)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    batch = task.encode(train, tiny_tokenizer)
    for _ in range(80):
        task.loss(model(batch), batch).total(task.counts(batch)).backward()
        optimizer.step()
        optimizer.zero_grad()
    found = evaluate(model, task, dev, tiny_tokenizer)
    tuned = task.adjusted(task.tune(found.predictions, dev))
    assert tuned.score(tuned.redecode(found.predictions), dev)["f1"] > 0.95


def test_the_threshold_of_the_best_f1() -> None:
    item = Words(("a", "b", "c"), spans=(Entity("LOC", 0, 1), Entity("PER", 2, 3)))
    right, wrong = Entity("LOC", 0, 1), Entity("LOC", 4, 5)
    prediction = FoundSpans((), 0.7, ((0.3, right), (0.2, wrong)), "a b c")
    assert TASK.tune([prediction], [item]) == {"threshold": pytest.approx(0.25)}
    (again,) = TASK.adjusted({"threshold": 0.25}).redecode([prediction])
    assert again.spans == (Span("LOC", "a", 0, 1, 0.3),) and again.score == pytest.approx(0.3)
    assert TASK.tune([FoundSpans((), 1.0, (), "a b c")], [item]) == {"threshold": 0.5}
    sure_of_nothing = FoundSpans((), 0.9, ((0.021, wrong), (0.02, right)), "a b c")
    assert TASK.tune([sure_of_nothing], [item]) == {"threshold": 0.02}


def test_settings_are_learned() -> None:
    long = [Words(("a",) * 40, spans=(Entity("B", 0, 40), Entity("A", 0, 2)))]
    assert SpanClassification.learn(long, {}) == {"labels": ("A", "B"), "max_span": 16}
    assert SpanClassification.learn(long, {"max_span": 40, "labels": ("B", "A")}) == {
        "labels": ("B", "A"),
        "max_span": 40,
    }
    flat = [Words(("a",) * 3, ("B-X", "I-X", "O"))]
    assert SpanClassification.learn(flat, {}) == {"labels": ("X",), "max_span": 2}
    with pytest.raises(DataError, match="no text has a labelled span"):
        SpanClassification.learn([Words(("a",), ("O",))], {})
    with pytest.raises(DataError, match="the label 'X' is not among those of --settings, which are Y"):
        SpanClassification.learn(flat, {"labels": ("Y",)})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_span": 0}, "max_span must be from 1 to 64 words; got 0"),
        ({"max_span": 2.5}, "max_span must be from 1 to 64 words; got 2.5"),
        ({"positive_weight": 0}, "positive_weight must be above 0"),
        ({"labels": ("A", "A")}, "labels has 'A' twice"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        SpanClassification(**settings)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (Words(("a", "b"), spans=(Entity("X", 1, 3),)), "text 2 has a span of the words 1 to 3 of 2"),
        (Words(("a", "b"), None, 0, "a b", ((0, 1),)), "text 2 has 1 offsets for 2 words"),
        (("a", "b"), "text 2 is .*span_classification takes a string, or Words"),
        (Text("a", label="x"), "text 2 is "),
    ],
)
def test_items_that_have_no_spans(tiny_tokenizer: Any, item: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TASK.encode([Words(("the", "cat", "sat")), item], tiny_tokenizer)


def test_labels_that_training_did_not_show_are_mistakes() -> None:
    strange = Words(("a", "b"), spans=(Entity("NEW", 0, 1),), line=7)
    with pytest.raises(DataError, match=r"dev\.txt:7: the label 'NEW' \(1 times\) is unknown"):
        TASK.check_items([strange], Path("dev.txt"))
    with progress.collected() as said:
        TASK.check_items([strange, Words(("a",), ("B-LOC",), 3)], Path("dev.txt"))
    assert "each counts as a mistake" in next(iter(said))


def test_scores_of_spans() -> None:
    item = Words(("Ann", "of", "Rome"), spans=(Entity("PER", 0, 3), Entity("LOC", 2, 3), Entity("PER", 0, 1)))
    told = FoundSpans((Span("PER", "Ann of Rome", 0, 11, 0.9), Span("LOC", "Ann", 0, 3, 0.7)), 0.8, (), "Ann of Rome")
    nothing = FoundSpans((), 0.9, (), "hm")
    items = [item, Words(("hm",), ("O",))]
    assert TASK.score([told, nothing], items) == {"f1": 0.4, "precision": 0.5, "recall": pytest.approx(1 / 3)}
    again = TASK.rescorer([told, nothing], items)
    assert again(torch.tensor([0, 1]).numpy()) == TASK.score([told, nothing], items)
    assert TASK.per_class([told, nothing], items)["PER"] == {
        "precision": 1.0,
        "recall": 0.5,
        "f1": pytest.approx(2 / 3),
        "support": 2,
    }
    judged = TASK.judge(told, item)
    assert judged.gold == "PER Ann of Rome, PER Ann, LOC Rome"
    assert (judged.guess, judged.credit, judged.confidence) == ("PER Ann of Rome, LOC Ann", 0.4, 0.8)
    assert TASK.judge(nothing, items[1]).credit == 1.0 and TASK.judge(nothing, items[1]).gold == "no spans"
    assert TASK.has_gold(item) and not TASK.has_gold(Words(("a",))) and not TASK.has_gold("a")


def test_predictions_for_people_and_programs() -> None:
    spans = (
        Span("ORG", "bank of 北京", 0, 10, 0.9),
        Span("LOC", "of 北京 and", 5, 14, 0.8),
        Span("LOC", "北京", 8, 10, 0.75),
        Span("PER", "北京", 8, 10, 0.7),
    )
    told = FoundSpans(spans, 0.8, (), "bank of 北京 and")
    assert show(["bank of 北京 and", "hm"], [told, FoundSpans((), 0.5, (), "hm")], 80).splitlines() == [
        "bank of 北京 and",
        "  ORG  bank of 北京  0-10  0.9000",
        "  LOC  of 北京 and   5-14  0.8000",
        "  LOC      北京      8-10  0.7500",
        "  PER      北京      8-10  0.7000",
        "",
        "hm",
        "  nothing found",
    ]
    assert record("bank of 北京 and", told) == {
        "text": "bank of 北京 and",
        "spans": [vars(span) for span in spans],
        "score": 0.8,
    }
    assert json.loads(json.dumps(told)).keys() == {"spans", "score"}


def test_a_folder_keeps_the_model(build_model: Callable[..., TaskModel], tiny_tokenizer: Any, tmp_path: Path) -> None:
    task = SpanClassification(labels=("LOC", "PER"), max_span=3, max_length=16, threshold=0.4)
    model = build_model(task, deviation=0.3)
    made = Bundle(model, task, tiny_tokenizer, model.encoder.config)
    huggingface.write(made, tmp_path / "model")
    values = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    assert values["architectures"] == ["BertModel"] and values["id2label"] == {"0": "LOC", "1": "PER"}
    loaded = load(tmp_path / "model", device="cpu")
    assert loaded.task == task
    texts = ["the cats of the dog", "北京 is 😀"]
    expected = Predictor(made, device="cpu").predict(texts)
    assert any(one.spans for one in expected) and loaded.predict(texts) == expected
    with pytest.raises(SettingsError, match="was trained with max_span 3, which a trained model can't change"):
        load(tmp_path / "model", device="cpu", max_span=2)


def test_its_logits_are_not_distilled() -> None:
    with pytest.raises(SettingsError, match="span_classification has none; set it to 0"):
        TASK.check_logits()
