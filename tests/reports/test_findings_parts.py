"""From an evaluation to what its report shows: spans, answers and numbers, each beside what is right."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from bertie.inference.evaluate import Evaluation, Mistake
from bertie.items.question import Answer, Question
from bertie.items.text import Text
from bertie.items.words import Words
from bertie.metrics.entities import Entity
from bertie.reports.parts import findings
from bertie.reports.passages import Mark
from bertie.tasks.regression import Estimate, Regression
from bertie.tasks.task import Judgement


class Judge:
    """A task that compares words, for what findings asks a task."""

    def judge(self, prediction: Any, item: Any) -> Judgement:
        gold, guess = str(item.label), str(prediction)
        return Judgement(gold, guess, float(getattr(prediction, "right", gold == guess)), 0.9)


def evaluation(items: list[Any], predictions: list[Any], wrong: tuple[int, ...] = ()) -> Evaluation:
    worst = [Mistake(place, items[place], predictions[place], "g", "h", 0.8, 0.5) for place in wrong]
    return Evaluation(
        {"f1": 0.5}, None, len(items), predictions=predictions, worst=worst, calibration=[(0.8, 0.5, len(items))]
    )


def span(start: int, end: int, label: str) -> Any:
    return SimpleNamespace(start=start, end=end, label=label)


def test_spans_that_nest() -> None:
    item = Words(("Bank", "of", "Rome"), spans=(Entity("ORG", 0, 3), Entity("LOC", 2, 3)))
    predicted = SimpleNamespace(spans=(span(0, 12, "ORG"), span(0, 4, "ORG")))
    missed = SimpleNamespace(spans=())
    found = findings(evaluation([item, item], [predicted, missed], wrong=(0,)), Judge(), [item, item])  # type: ignore[arg-type]
    assert found is not None
    assert found.worst_drawn[0].marks == [
        Mark(0, 4, "wrong", "ORG"),
        Mark(0, 12, "right", "ORG"),
        Mark(8, 12, "missed", "LOC"),
    ]
    assert found.examples[0].marks == [Mark(0, 12, "missed", "ORG"), Mark(8, 12, "missed", "LOC")]


def test_spans_of_a_sentence() -> None:
    item = Words(("Anna", "Schmidt", "left", "Berlin"), ("B-PER", "I-PER", "O", "B-LOC"))
    tagged = SimpleNamespace(spans=(span(0, 12, "PER"), span(13, 17, "ORG")), tags=("B-PER", "I-PER", "B-ORG", "O"))
    found = findings(evaluation([item], [tagged], wrong=(0,)), Judge(), [item])  # type: ignore[arg-type]
    assert found is not None
    assert found.worst_drawn[0].text == "Anna Schmidt left Berlin" and not found.examples
    assert found.worst_drawn[0].marks == [
        Mark(0, 12, "right", "PER"),
        Mark(13, 17, "wrong", "ORG"),
        Mark(18, 24, "missed", "LOC"),
    ]


def test_right_ends_of_a_wrong_type_are_not_right() -> None:
    item = Words(("Berlin",), ("B-LOC",))
    tagged = SimpleNamespace(spans=(span(0, 6, "PER"),), tags=("B-PER",))
    found = findings(evaluation([item], [tagged]), Judge(), [item])  # type: ignore[arg-type]
    assert found is not None
    assert found.examples[0].marks == [Mark(0, 6, "missed", "LOC"), Mark(0, 6, "wrong", "PER")]


def test_words_stand_where_their_text_has_them() -> None:
    item = Words(("北", "京"), ("B-LOC", "I-LOC"), text="在北京。", offsets=((1, 2), (2, 3)))
    found = findings(evaluation([item], [SimpleNamespace(spans=(), tags=("O", "O"))]), Judge(), [item])  # type: ignore[arg-type]
    assert found is not None and found.examples[0].marks == [Mark(1, 3, "missed", "LOC")]


def test_tags_that_are_no_entities_are_marked_where_they_are_wrong() -> None:
    item = Words(("a", "run"), ("DET", "NOUN"))
    found = findings(evaluation([item], [SimpleNamespace(spans=(), tags=("DET", "VERB"))]), Judge(), [item])  # type: ignore[arg-type]
    assert found is not None
    assert found.examples[0].marks == [Mark(2, 5, "missed", "NOUN"), Mark(2, 5, "wrong", "VERB")]


def test_answers_in_their_context() -> None:
    context = "He was born in Ulm and died in Princeton."
    ulm, city = Answer("Ulm", 15), Answer("in Ulm", 12)
    items = [
        Question("Where?", context, (city, ulm, ulm)),
        Question("Who?", context, ()),
        Question("Where?", context, (ulm,)),
    ]
    replies = [
        SimpleNamespace(text="Princeton", start=31, end=40, right=0.0),
        SimpleNamespace(text="", start=-1, end=-1, right=1.0),
        SimpleNamespace(text="in Ulm", start=12, end=18, right=1.0),
    ]
    found = findings(evaluation(items, replies, wrong=(0,)), Judge(), items)  # type: ignore[arg-type]
    assert found is not None
    (worst,) = found.worst_drawn
    assert worst.question == "Where?" and (worst.gold, worst.guess, worst.right) == ("g", "h", False)
    assert worst.marks == [Mark(31, 40, "wrong"), Mark(15, 18, "missed")], "the answer most annotators gave"
    (example,) = found.examples
    assert example.marks == [Mark(12, 18, "right")] and example.right, "as good as gold is right, whatever its ends"


def test_an_answer_that_is_nowhere_is_said_and_not_drawn() -> None:
    item = Question("Where?", "He was born.", (Answer("Ulm", -1),))
    reply = SimpleNamespace(text="", start=-1, end=-1, right=0.0)
    found = findings(evaluation([item], [reply], wrong=(0,)), Judge(), [item])  # type: ignore[arg-type]
    assert found is not None and found.worst_drawn[0].marks == [] and found.worst_drawn[0].gold == "g"


def test_numbers_are_drawn_beside_the_right_ones() -> None:
    items = [Text("a", "b", "4.5", 1), Text("c", "d", "0", 2)]
    found = findings(evaluation(items, [Estimate(4.0), Estimate(1.0)], wrong=(1,)), Regression(), items)
    assert found is not None
    assert found.estimates == [(4.5, 4.0), (0.0, 1.0)]
    assert found.worst[0].text == "c  |  d"


def test_examples_are_spread_over_the_data() -> None:
    items = [Words((f"w{place}",), ("B-X",) if place % 3 == 0 else ("O",)) for place in range(80)]
    nothing = SimpleNamespace(spans=(), tags=("O",))
    found = findings(evaluation(items, [nothing] * 80, wrong=(0,)), Judge(), items)  # type: ignore[arg-type]
    assert found is not None
    places = [int(example.text[1:]) for example in found.examples]
    assert len(places) == 8 and places[0] == 3 and places[-1] >= 70 and all(place % 3 == 0 for place in places)


def test_nothing_is_said_of_items_without_labels() -> None:
    assert findings(Evaluation({"mlm_accuracy": 0.4}, 2.0, 10), Judge(), []) is None  # type: ignore[arg-type]


def test_numbers_without_a_right_one_are_not_drawn() -> None:
    items = [Text("a", "b"), Text("c", "d")]
    found = findings(evaluation(items, [Estimate(0.5), Estimate(1.0)]), Judge(), items)  # type: ignore[arg-type]
    assert found is not None and not found.estimates
