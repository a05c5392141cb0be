"""Question answering: targets in windows, decoding against a plain search, thresholds, and hostile texts."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.inference.evaluate import evaluate, rejudge
from bertie.inference.predictor import Predictor
from bertie.inference.render import record, show
from bertie.items.question import Answer, Question
from bertie.items.text import Text
from bertie.tasks.question_answering import QuestionAnswering, Reply
from bertie.tasks.task import TaskModel, parse_settings

CONTEXT = "the old dog ran in the city , and the cat saw it . the bird never sat in the new house by the river"
TASK = QuestionAnswering(max_length=16, stride=4, max_query=4, max_answer=5, n_best=6)


def question(answer: str | None, context: str = CONTEXT, text: str = "who ran") -> Question:
    """Return a question whose answer stands where its text is found first; None for one without."""
    return Question(text, context, () if answer is None else (Answer(answer, context.find(answer)),))


def shown(batch: Batch, sequence: int, context: str) -> str:
    """Return the characters of the context that a window's targets point at."""
    first, last = (int(batch.starts[sequence] + batch.targets[f"sequence.{end}"][sequence]) for end in ("start", "end"))
    return context[int(batch.targets["token.begin"][first]) : int(batch.targets["token.finish"][last])]


def test_targets_point_at_the_answer_in_every_window_that_shows_it(tiny_tokenizer: Any) -> None:
    batch = TASK.encode([question("the cat saw")], tiny_tokenizer)
    starts = batch.targets["sequence.start"].tolist()
    pieces = tiny_tokenizer.encode_batch([CONTEXT])[0]
    first = pieces.index(tiny_tokenizer.token_id("cat")) - 1
    room = 16 - 3 - 4  # the question has four pieces
    assert len(batch) == 1 + math.ceil((len(pieces) - room) / 4)
    for window, start in enumerate(starts):
        begin = 4 * window
        inside = begin <= first and first + 2 < begin + min(room, len(pieces) - begin)
        assert (start > 0) == inside
        if inside:
            assert shown(batch, window, CONTEXT) == "the cat saw"
        else:
            assert batch.targets["sequence.end"][window] == 0


@pytest.mark.parametrize(
    ("answer", "found"), [("old", "old"), ("ld do", "old dog"), (" dog ", "dog"), ("xyzzy", "xyzzy"), ("zz", "zz")]
)
def test_an_answer_is_widened_to_whole_pieces(tiny_tokenizer: Any, answer: str, found: str) -> None:
    context = "the old dog xyzzy"  # xyzzy is five pieces
    batch = TASK.encode([question(answer, context)], tiny_tokenizer)
    assert shown(batch, 0, context) == found


def test_an_answer_without_place_teaches_nothing(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    lost = Question("who ran", "the cat", (Answer("a fish", -1),))
    spaces = Question("who ran", "the  cat", (Answer(" ", 3),))
    batch = TASK.encode([lost, question(None, "the cat"), question("cat", "the cat"), spaces], tiny_tokenizer)
    assert batch.targets["sequence.start"].tolist() == [-1, 0, 7, -1]
    assert TASK.counts(batch) == {"question_answering": 2.0}
    outputs = build_model(TASK).eval()(batch)
    both = sum(
        TASK.loss(outputs_of, part).terms["question_answering"].sum
        for outputs_of, part in [
            (outputs[int(batch.offsets[n]) : int(batch.offsets[n + 1])], batch.select([n])) for n in (1, 2)
        ]
    )
    torch.testing.assert_close(TASK.loss(outputs, batch).terms["question_answering"].sum, both)
    alone = TASK.loss(outputs[: batch.offsets[1]], batch.select([0]))
    assert alone.terms["question_answering"].count == 0.0
    assert float(alone.total({"question_answering": 0.0}).detach()) == 0.0


def test_the_loss_is_the_mean_of_two_cross_entropies(tiny_tokenizer: Any) -> None:
    batch = TASK.encode([question("dog", "the dog"), question(None, "a cat in the house")], tiny_tokenizer)
    outputs = torch.randn(batch.num_tokens, 2, generator=torch.Generator().manual_seed(0))
    expected = 0.0
    for number in range(2):
        window = outputs[int(batch.offsets[number]) : int(batch.offsets[number + 1])]
        for column, name in enumerate(("start", "end")):
            gold = int(batch.targets[f"sequence.{name}"][number])
            expected -= float(window[:, column].log_softmax(0)[gold]) / 2
    loss = TASK.loss(outputs, batch)
    assert float(loss.terms["question_answering"].sum) == pytest.approx(expected, abs=1e-5)


def plain_search(outputs: torch.Tensor, batch: Batch, context: str, task: QuestionAnswering) -> list[tuple[float, str]]:
    """Try every pair of the best starts and ends, as the rules say, with loops; one context, no ties."""
    found: dict[str, float] = {}
    for window in range(len(batch)):
        first, end = int(batch.offsets[window]), int(batch.offsets[window + 1])
        starts, ends = (
            sorted(range(first, end), key=lambda token: -float(outputs[token, column]))[: task.n_best]
            for column in (0, 1)
        )
        for start in starts:
            for stop in ends:
                begin, finish = int(batch.targets["token.begin"][start]), int(batch.targets["token.finish"][stop])
                if begin < 0 or finish < 0 or not 0 <= stop - start < task.max_answer:
                    continue
                if batch.targets["token.owned"][start]:
                    score = float(outputs[start, 0] + outputs[stop, 1])
                    text = context[begin:finish]
                    found[text] = max(score, found.get(text, -math.inf))
    return sorted(((score, text) for text, score in found.items()), reverse=True)[: task.n_best]


def single_pieces(
    outputs: torch.Tensor, batch: Batch, context: str, task: QuestionAnswering
) -> list[tuple[float, str]]:
    """Score every piece of the context alone; no ties."""
    found: dict[str, float] = {}
    for window in range(len(batch)):
        scored = []
        for token in range(int(batch.offsets[window]), int(batch.offsets[window + 1])):
            begin, finish = int(batch.targets["token.begin"][token]), int(batch.targets["token.finish"][token])
            if begin >= 0 and batch.targets["token.owned"][token]:
                scored.append((float(outputs[token].sum()), context[begin:finish]))
        for score, text in sorted(scored, reverse=True)[: task.n_best]:
            found[text] = max(score, found.get(text, -math.inf))
    return sorted(((score, text) for text, score in found.items()), reverse=True)[: task.n_best]


@settings(max_examples=60)
@given(seed=st.integers(0, 10**6), n_best=st.integers(1, 8), max_answer=st.integers(1, 12), words=st.integers(1, 24))
def test_decoding_is_the_plain_search(tiny_tokenizer: Any, seed: int, n_best: int, max_answer: int, words: int) -> None:
    task = QuestionAnswering(max_length=14, stride=3, max_query=4, max_answer=max_answer, n_best=n_best)
    context = " ".join(CONTEXT.split()[:words])
    batch = task.encode([("who ran", context)], tiny_tokenizer)
    outputs = torch.randn(batch.num_tokens, 2, generator=torch.Generator().manual_seed(seed))
    expected = plain_search(outputs, batch, context, task)
    (reply,) = task.decode(outputs, batch, [("who ran", context)], tiny_tokenizer)
    if not expected:  # then an answer is one piece of the context: a model that always answers says something
        expected = single_pieces(outputs, batch, context, task)
    assert [span.text for span in reply.n_best] == [text for _, text in expected]
    null = min(float(outputs[start].sum()) for start in batch.starts.tolist())
    assert reply.text == expected[0][1] == context[reply.start : reply.end]
    assert reply.null_score == pytest.approx(null - expected[0][0], abs=1e-5)
    shares = torch.tensor([score for score, _ in expected], dtype=torch.float64).softmax(0).tolist()
    assert [span.score for span in reply.n_best] == pytest.approx(shares, abs=1e-5)


@given(seed=st.integers(0, 10**6), threshold=st.floats(-4, 4))
def test_the_threshold_decides_for_no_answer(tiny_tokenizer: Any, seed: int, threshold: float) -> None:
    task = QuestionAnswering(max_length=14, stride=3, max_query=4, null_threshold=threshold)
    item = ("who ran", CONTEXT)
    batch = task.encode([item], tiny_tokenizer)
    outputs = torch.randn(batch.num_tokens, 2, generator=torch.Generator().manual_seed(seed))
    (reply,) = task.decode(outputs, batch, [item], tiny_tokenizer)
    assert (reply.text == "") == (reply.null_score > threshold)
    assert sum(span.score for span in reply.n_best) == pytest.approx(1.0)
    assert [span.text for span in reply.n_best].count("") == 1
    chosen = next(span for span in reply.n_best if span.text == reply.text)
    assert (reply.score, reply.start, reply.end) == (chosen.score, chosen.start, chosen.end)


def test_every_answer_null_is_no_crash(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    for threshold, score in ((0.0, 1.0), (None, 0.0)):
        task = QuestionAnswering(max_length=16, stride=4, null_threshold=threshold)
        model = Predictor(bundle(build_model(task), task, tiny_tokenizer), device="cpu")
        reply = model.predict(("who ran", ""))
        assert (reply.text, reply.score, reply.start, reply.null_score) == ("", score, -1, math.inf)
        assert show([("who ran", "")], [reply], 80) == f"who ran\n  (no answer)  {score:.4f}"


def bundle(model: TaskModel, task: Any, tokenizer: Any) -> Any:
    return SimpleNamespace(model=model, task=task, tokenizer=tokenizer)


def test_hostile_texts(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    model = Predictor(bundle(build_model(TASK), TASK, tiny_tokenizer), device="cpu", max_tokens=512)
    long_question = " ".join(["who ran in the city"] * 50)
    items = [
        (long_question, CONTEXT),
        (long_question, ""),
        ("", CONTEXT),
        ("", ""),
        ("谁", "北京的猫"),
        ("who\x00", "\u200b\x01 \t"),
        ("who", "cat " * 2000),
    ]
    replies = model.predict(items)
    assert all(
        reply.text == context[max(reply.start, 0) : max(reply.end, 0)]
        for reply, (_, context) in zip(replies, items, strict=True)
    )
    assert model.num_cut == 2
    assert TASK.encode(items[:1], tiny_tokenizer).targets["sequence.cut"].tolist()[:2] == [346, 0]
    with pytest.raises(DataError, match="text 3 holds a lone surrogate"):
        model.predict([("a", "b"), ("a", "b"), ("a", "\ud800")])
    with pytest.raises(DataError, match="text 2 is 'who'; give a question with its context"):
        model.predict([("a", "b"), "who"])
    with pytest.raises(DataError, match="a Question, the only form with answers"):
        TASK.encode([Text("a", "b", "c")], tiny_tokenizer)


def test_a_question_of_any_form(tiny_tokenizer: Any) -> None:
    forms = [("who ran", CONTEXT), Text("who ran", CONTEXT), Question("who ran", CONTEXT)]
    batches = [TASK.encode([form], tiny_tokenizer) for form in forms]
    assert all(torch.equal(batch.tokens, batches[0].tokens) for batch in batches)
    assert all("sequence.start" not in batch.targets for batch in batches)


def test_truncation(tiny_tokenizer: Any) -> None:
    cut = QuestionAnswering(max_length=16, truncation="truncate")
    batch = cut.encode([question("the old dog"), question("river")], tiny_tokenizer)
    assert len(batch) == 2
    assert shown(batch, 0, CONTEXT) == "the old dog"
    assert batch.targets["sequence.start"].tolist()[1] == 0
    assert batch.targets["sequence.cut"].tolist() == [4 + len(tiny_tokenizer.encode_batch([CONTEXT])[0]) - 13] * 2
    with pytest.raises(DataError, match="text 1 has"):
        QuestionAnswering(max_length=16, truncation="error").encode([question("river")], tiny_tokenizer)


def test_what_a_table_decides() -> None:
    answered, without = question("dog"), question(None)
    assert QuestionAnswering.learn([answered], {}) == {"language": "en"}
    assert QuestionAnswering.learn([answered, without], {}) == {"null_threshold": 0.0, "language": "en"}
    assert QuestionAnswering.learn([answered, without], {"null_threshold": None, "language": "zh"}) == {}
    chinese = question("猫", "北京的猫，ok", "谁")
    assert QuestionAnswering.learn([chinese], {"language": "auto"}) == {"language": "zh"}
    with pytest.raises(DataError, match="none of 2 questions has an answer in its context"):
        QuestionAnswering.learn([without, Question("a", "b", (Answer("c", -1),))], {})


def test_a_model_that_always_answers_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    TASK.check_items([question("dog"), question(None)], Path("dev.json"))
    assert "dev.json: 1 of 2 questions have no answer, but this model always predicts one" in capsys.readouterr().err
    QuestionAnswering(null_threshold=0.0).check_items([question(None)], Path("dev.json"))
    assert capsys.readouterr().err == ""


def said(text: str, null: float = -1.0, other: str = "") -> Reply:
    spans = [SimpleNamespace(text=part) for part in (text, other)]
    return Reply(text, 0.5, 0, len(text), null, spans)  # type: ignore[arg-type]


def test_scores() -> None:
    items = [question("the cat"), question("dog"), question(None)]
    replies = [said("cat"), said("old dog"), said("city")]
    assert TASK.score(replies[:2], items[:2]) == pytest.approx({"exact_match": 0.5, "f1": (1 + 2 / 3) / 2})
    scores = TASK.score(replies, items)
    assert scores == pytest.approx(
        {"exact_match": 1 / 3, "f1": (1 + 2 / 3) / 3, "has_answer_f1": (1 + 2 / 3) / 2, "no_answer_f1": 0.0}
    )
    judged = TASK.judge(replies[1], items[1])
    assert (judged.gold, judged.guess, judged.credit) == ("dog", "old dog", pytest.approx(2 / 3))
    assert TASK.judge(said(""), items[2]).credit == 1.0
    chinese = question("北京的猫", "北京的猫", "谁")
    assert TASK.score([said("的猫")], [chinese]) == pytest.approx({"exact_match": 0.0, "f1": 2 / 3})
    assert QuestionAnswering(language="en").score([said("的猫")], [chinese]) == {"exact_match": 0.0, "f1": 0.0}


def test_tuning_finds_the_threshold() -> None:
    task = QuestionAnswering(null_threshold=0.0)
    items = [question("dog"), question("cat"), question(None), question(None)]
    replies = [said("dog", -3.0), said("", 1.0, other="cat"), said("city", 2.0), said("it", 5.0)]
    tuned = task.tune(replies, items)
    assert tuned == {"null_threshold": 1.5}
    assert task.tune(replies[:2], items[:2]) == {}
    assert task.tune(replies[2:], items[2:]) == {}
    never = task.tune([said("ran", -3.0), said("city", -4.0), said("x", math.inf)], [items[0], items[2], items[2]])
    assert never == {"null_threshold": -4.5}


def test_settings() -> None:
    given = parse_settings(QuestionAnswering, {"null_threshold": "-1.5", "stride": "64", "language": "zh"})
    assert given == {"null_threshold": -1.5, "stride": 64, "language": "zh"}
    for wrong in ({"stride": 0}, {"max_answer": 0}, {"n_best": 0}, {"max_query": 0}, {"language": "fr"}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            QuestionAnswering(**wrong)  # type: ignore[arg-type]


def test_evaluation(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    task = QuestionAnswering(max_length=16, stride=4, null_threshold=0.0)
    items = [question("dog"), question(None), question("river"), Question("a", "the cat", (Answer("x", -1),))]
    found = evaluate(build_model(task), task, items, tiny_tokenizer, max_tokens=40)
    assert found.scores.keys() == {"exact_match", "f1", "has_answer_f1", "no_answer_f1"}
    assert found.loss is not None
    assert math.isfinite(found.loss)
    assert {wrong.gold for wrong in found.worst} <= {"dog", "(no answer)", "river", "x"}


def test_another_threshold_needs_no_second_look(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    task = QuestionAnswering(max_length=16, stride=4, null_threshold=0.0)
    items = [question("dog"), question(None), question("river"), question("cat"), question("city")]
    model = build_model(task)
    found = evaluate(model, task, items, tiny_tokenizer)
    nulls = sorted(guess.null_score for guess in found.predictions)
    for threshold in (nulls[0] - 1.0, (nulls[1] + nulls[2]) / 2, nulls[-1] + 1.0):
        moved = task.adjusted({"null_threshold": threshold})
        again = evaluate(model, moved, items, tiny_tokenizer)
        revised = rejudge(found, moved, items)
        assert revised is not None and (revised.scores, revised.calibration) == (again.scores, again.calibration)
        assert [record(*both) for both in zip(items, revised.predictions, strict=True)] == [
            record(*both) for both in zip(items, again.predictions, strict=True)
        ]
        assert revised.loss == again.loss
    always = evaluate(model, QuestionAnswering(max_length=16, stride=4), items, tiny_tokenizer)
    assert rejudge(always, task.adjusted({"null_threshold": -99.0}), items) is None  # "no answer" was not kept


def test_what_people_and_programs_see() -> None:
    item = ("who ran", CONTEXT)
    reply = Reply("dog", 0.5, 8, 11, -1.0, [])
    assert show([item], [reply], 40).splitlines() == [
        "who ran",
        "  dog  0.5000  characters 8-11",
        "  the old «dog» ran in the ci…",
    ]
    assert record(item, reply) == {
        "question": "who ran",
        "context": CONTEXT,
        "text": "dog",
        "score": 0.5,
        "start": 8,
        "end": 11,
        "null_score": -1.0,
        "n_best": [],
    }
