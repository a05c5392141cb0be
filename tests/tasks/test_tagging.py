"""Tagging: first pieces, windows, spans with their characters, word labels, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.inference.render import record, show
from bertie.items.words import Words
from bertie.readers.entities import own_tag, positioned, scheme_of
from bertie.tasks.tagging import Span, Tagged, Tagging
from bertie.tasks.task import TaskModel, Text

TASK = Tagging(labels=("O", "B-LOC", "I-LOC", "B-PER", "I-PER"), max_length=16)
POS = Tagging(labels=("DT", "NN", "VB"), max_length=16)
# "cats" is two pieces, "dogged" many, the soft hyphen none.
ITEM = Words(("the", "cats", "\u00ad", "dogged"), ("O", "B-PER", "I-PER", "B-LOC"))


def logits(batch: Any, rows: list[list[str]], labels: tuple[str, ...], sure: float = 4.0) -> torch.Tensor:
    """Outputs that give each word of each item the tag in `rows`, and every other token the last label."""
    wanted = torch.full((batch.num_tokens,), len(labels) - 1)
    item = torch.repeat_interleave(batch.rows, batch.lengths)
    for token, word in enumerate(batch.targets["token.word"].tolist()):
        if word >= 0:
            wanted[token] = labels.index(rows[int(item[token])][word])
    return torch.nn.functional.one_hot(wanted, len(labels)).float() * sure


def test_the_first_piece_of_a_word_has_its_tag(tiny_tokenizer: Any) -> None:
    sizes = [len(ids) for ids in tiny_tokenizer.encode_batch(ITEM.words)]
    assert sizes[0] == 1 and sizes[1] == 2 and sizes[2] == 0 and sizes[3] > 2
    batch = TASK.encode([ITEM], tiny_tokenizer)
    rest = [-1] * (sizes[3] - 1)
    assert batch.targets["token.word"].tolist() == [-1, 0, 1, -1, 3, *rest, -1]
    assert batch.targets["token.tag"].tolist() == [-1, 0, 3, -1, 1, *rest, -1]
    every = Tagging(labels=TASK.labels, max_length=16, label_all_pieces=True).encode([ITEM], tiny_tokenizer)
    assert every.targets["token.word"].tolist() == batch.targets["token.word"].tolist()
    assert every.targets["token.tag"].tolist() == [-1, 0, 3, 4, 1, *[2] * (sizes[3] - 1), -1]
    words = Tagging(labels=("A", "B"), label_all_pieces=True).encode([Words(("cats",), ("B",))], tiny_tokenizer)
    assert words.targets["token.tag"].tolist() == [-1, 1, 1, -1]


def test_tags_are_there_when_every_item_has_them(tiny_tokenizer: Any) -> None:
    batch = TASK.encode([ITEM, "the cat"], tiny_tokenizer)
    assert "token.tag" not in batch.targets and "token.word" in batch.targets
    with pytest.raises(KeyError):
        TASK.loss(torch.zeros(batch.num_tokens, 5), batch)


WORDS = st.lists(st.sampled_from(["the", "cats", "dogged", "\u00ad", "北"]), max_size=30)


@given(st.lists(WORDS, min_size=1, max_size=4), st.integers(5, 12), st.booleans())
def test_every_word_is_decided_in_one_window(
    tiny_tokenizer: Any, rows: list[list[str]], length: int, every: bool
) -> None:
    task = Tagging(labels=("A", "B"), max_length=length, stride=2, label_all_pieces=every)
    batch = task.encode([Words(tuple(words), ("B",) * len(words)) for words in rows], tiny_tokenizer)
    item = torch.repeat_interleave(batch.rows, batch.lengths)
    decided = [(int(item[place]), word) for place, word in enumerate(batch.targets["token.word"].tolist()) if word >= 0]
    sizes = [[len(ids) for ids in tiny_tokenizer.encode_batch(words)] for words in rows]
    assert sorted(decided) == [
        (row, word) for row, counts in enumerate(sizes) for word, size in enumerate(counts) if size
    ]
    num_tagged = sum(map(sum, sizes)) if every else len(decided)
    assert task.counts(batch) == {"tagging": num_tagged}
    for place, word in enumerate(batch.targets["token.word"].tolist()):
        if word >= 0:
            assert int(batch.tokens[place]) == tiny_tokenizer.encode_batch([rows[int(item[place])][word]])[0][0]


def test_spans_have_the_characters_of_the_text(tiny_tokenizer: Any) -> None:
    text = "the cats  ran, in北京"
    batch = TASK.encode([text, ""], tiny_tokenizer)
    tags = ["I-PER", "I-PER", "B-PER", "O", "O", "B-LOC", "I-LOC"]
    told, empty = TASK.decode(logits(batch, [tags, []], TASK.labels), batch, [text, ""], tiny_tokenizer)
    assert told.words == ("the", "cats", "ran", ",", "in", "北", "京")
    assert told.tags == ("B-PER", "I-PER", "B-PER", "O", "O", "B-LOC", "I-LOC")
    score = float(torch.tensor([4.0, 0, 0, 0, 0]).softmax(0)[0])
    assert [(span.label, span.text, span.start, span.end) for span in told.spans] == [
        ("PER", "the cats", 0, 8),
        ("PER", "ran", 10, 13),
        ("LOC", "北京", 17, 19),
    ]
    assert [span.score for span in told.spans] == pytest.approx([score] * 3) and told.score == pytest.approx(score)
    assert empty == Tagged((), (), (), 1.0)


def test_a_span_is_as_sure_as_its_words_on_average(tiny_tokenizer: Any) -> None:
    batch = TASK.encode(["the cat"], tiny_tokenizer)
    outputs = torch.zeros(batch.num_tokens, 5)
    outputs[1, 3], outputs[2, 4] = 1.0, 3.0
    told = TASK.decode(outputs, batch, ["the cat"], tiny_tokenizer)[0]
    expected = [float(row.softmax(0).max()) for row in outputs[1:3]]
    assert told.spans[0].score == pytest.approx(np.mean(expected)) == told.score


def test_words_without_pieces_and_cut_ones_are_outside(tiny_tokenizer: Any) -> None:
    task = Tagging(labels=TASK.labels, max_length=5, truncation="truncate")
    items = [ITEM, Words(("the", "cat", "sat", "in", "it"), ("O",) * 5)]
    batch = task.encode(items, tiny_tokenizer)
    rows = [["I-PER"] * 4, ["I-LOC"] * 5]
    told = task.decode(logits(batch, rows, TASK.labels), batch, items, tiny_tokenizer)
    assert told[0].tags == ("B-PER", "I-PER", "O", "O") and told[1].tags == ("B-LOC", "I-LOC", "I-LOC", "O", "O")
    assert batch.targets["sequence.cut"].tolist()[1] == 2 and task.counts(batch) == {"tagging": 5.0}
    with pytest.raises(DataError, match="text 2 has 7 tokens"):
        Tagging(labels=TASK.labels, max_length=5, truncation="error").encode(
            ["cat", "the cat sat in it"], tiny_tokenizer
        )


def test_the_loss_is_the_mean_over_tagged_tokens(tiny_tokenizer: Any) -> None:
    task = Tagging(labels=TASK.labels, max_length=16, label_smoothing=0.1)
    batch = task.encode([ITEM, Words(("cat",), ("O",))], tiny_tokenizer)
    outputs = torch.randn(batch.num_tokens, 5, generator=torch.Generator().manual_seed(0))
    tagged = batch.targets["token.tag"] >= 0
    loss = task.loss(outputs, batch)
    assert float(loss.total(task.counts(batch))) == pytest.approx(
        float(cross_entropy(outputs[tagged], batch.targets["token.tag"][tagged], label_smoothing=0.1))
    )
    right, count = loss.figures["accuracy"]
    assert (int(right), count) == (int((outputs.argmax(1) == batch.targets["token.tag"])[tagged].sum()), 4.0)


def test_labels_are_learned() -> None:
    items = [Words(("a", "b"), ("I-PER", "O")), Words(("c",), ("B-A-X",))]
    assert Tagging.learn(items, {}) == {"labels": ("O", "B-A-X", "I-A-X", "B-PER", "I-PER")}
    assert Tagging.learn([Words(("a", "b"), ("NN", "DT"))], {}) == {"labels": ("DT", "NN")}
    with pytest.raises(DataError, match="every word has the tag 'O'"):
        Tagging.learn([Words(("a",), ("O",))], {})


def test_tags_that_training_did_not_show_are_mistakes(tiny_tokenizer: Any) -> None:
    TASK.check_items([Words(("a",), ("I-LOC",), 3)], Path("dev.txt"))
    strange = Words(("a", "b", "c"), ("B-ORG", "I-ORG", "B-ORG"), 7)
    with pytest.raises(DataError, match=r"dev\.txt:7: the tag 'B-ORG' \(2 times\), 'I-ORG' \(1\) is unknown"):
        TASK.check_items([Words(("a",), ("O",), 3), strange], Path("dev.txt"))
    with progress.collected() as said:
        TASK.check_items([Words(("a",), ("B-LOC",), 3), strange], Path("dev.txt"))
    assert "each counts as a mistake" in next(iter(said))
    items = [Words(("a", "b"), ("B-LOC", "O")), Words(("a",), ("B-ORG",))]
    batch = TASK.encode(items, tiny_tokenizer)
    assert batch.targets["token.tag"][batch.targets["token.word"] >= 0].tolist() == [1, 0, -1]
    outputs = logits(batch, [["B-LOC", "O"], ["O"]], TASK.labels)
    tagged = TASK.decode(outputs, batch, items, tiny_tokenizer)
    assert TASK.score(tagged, items)["recall"] == 0.5
    assert TASK.per_class(tagged, items)["ORG"]["support"] == 1


FORMS: dict[str, tuple[tuple[str, ...], list[str]]] = {
    "types": (("O", "PER", "LOC"), ["PER", "PER", "O", "LOC"]),
    "inside only": (("O", "I-PER", "I-LOC"), ["I-PER", "I-PER", "O", "I-LOC"]),
    "BIOES": (
        ("O", *(f"{place}-{kind}" for kind in ("PER", "LOC") for place in "BIES")),
        ["B-PER", "E-PER", "O", "S-LOC"],
    ),
    "with tags of the tokens around": (
        ("[PAD]", "O", "B-PER", "I-PER", "B-LOC", "I-LOC", "X", "[CLS]", "[SEP]"),
        ["B-PER", "I-PER", "X", "B-LOC"],
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_tags_that_other_programs_learn(form: str, tiny_tokenizer: Any) -> None:
    labels, said = FORMS[form]
    task = Tagging(labels=labels, max_length=16)
    items = [Words(("the", "cat", "sat", "dog"), ("B-PER", "I-PER", "O", "B-LOC"), 1)]
    with progress.collected() as warned:
        task.check_items(items, Path("dev.txt"))
    assert not list(warned)
    batch = task.encode(items, tiny_tokenizer)
    assert (batch.targets["token.tag"][batch.targets["token.word"] >= 0] >= 0).all()
    (tagged,) = task.decode(logits(batch, [said], labels), batch, items, tiny_tokenizer)
    assert tagged.tags == ("B-PER", "I-PER", "O", "B-LOC")
    assert [(span.label, span.text) for span in tagged.spans] == [("PER", "the cat"), ("LOC", "dog")]
    assert task.score([tagged], items)["f1"] == 1.0
    assert task.judge(tagged, items[0]).credit == 1.0
    assert set(task.per_class([tagged], items)) == {"PER", "LOC"}


def test_bare_positions() -> None:
    assert scheme_of(("O", "B", "I")) == "bare"
    assert positioned(("B", "I", "O"), "bare") == ("B-entity", "I-entity", "O")
    assert own_tag("B-entity", ("O", "B", "I")) == "B" and own_tag("I-entity", ("O", "B", "I")) == "I"
    assert scheme_of(("NN", "VB", "B-X", "O")) == "words" == scheme_of(("DT", "NN")) == scheme_of(())


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (Words(("a", "b"), ("O",)), "text 2 has 1 tags for 2 words"),
        (Words(("a", "b"), None, 0, "a b", ((0, 1),)), "text 2 has 1 offsets for 2 words"),
        (("a", "b"), "text 2 is .*tagging takes a string, or Words"),
        (Text("a", label="x"), "text 2 is "),
        (Words(("a", "\ud800")), "text 2 holds a lone surrogate"),
    ],
)
def test_items_that_cant_be_tagged(tiny_tokenizer: Any, item: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        TASK.encode([Words(("the", "cat", "sat")), item], tiny_tokenizer)


def test_settings() -> None:
    with pytest.raises(SettingsError, match="label_smoothing must be from 0 to below 1; got 1"):
        Tagging(label_smoothing=1.0)


def test_scores_of_entities() -> None:
    items = [Words(("Ann", "Lee", "left", "Rome"), ("B-PER", "I-PER", "O", "B-LOC")), Words(("hm",), ("O",))]
    told = [Tagged(items[0].words, ("B-PER", "I-PER", "O", "O"), (), 0.8), Tagged(("hm",), ("O",), (), 0.9)]
    assert TASK.score(told, items) == {"f1": pytest.approx(2 / 3), "precision": 1.0, "recall": 0.5, "accuracy": 0.8}
    assert TASK.per_class(told, items)["LOC"] == {"f1": 0.0, "precision": 0.0, "recall": 0.0, "support": 1.0}
    judged = TASK.judge(told[0], items[0])
    assert (judged.gold, judged.guess, judged.confidence) == ("PER Ann Lee, LOC Rome", "PER Ann Lee", 0.8)
    assert judged.credit == pytest.approx(2 / 3)
    nothing = TASK.judge(told[1], items[1])
    assert (nothing.gold, nothing.guess, nothing.credit) == ("no entities", "no entities", 1.0)


def test_labels_of_words(tiny_tokenizer: Any) -> None:
    items = [Words(("the", "cat", "ran"), ("DT", "NN", "VB")), Words(("cat",), ("NN",))]
    batch = POS.encode(items, tiny_tokenizer)
    rows = [["DT", "NN", "NN"], ["NN"]]
    told = POS.decode(logits(batch, rows, POS.labels), batch, items, tiny_tokenizer)
    assert [(one.tags, one.spans) for one in told] == [(tuple(row), ()) for row in rows]
    scores = POS.score(told, items)
    assert scores == {"f1": pytest.approx((1.0 + 0.8 + 0.0) / 3), "accuracy": 0.75}
    assert POS.per_class(told, items)["NN"]["recall"] == 1.0
    judged = POS.judge(told[0], items[0])
    assert (judged.gold, judged.guess, judged.credit) == ("ran/VB", "ran/NN", pytest.approx(2 / 3))
    assert show(["the cat ran"], told[:1], 80) == "the cat ran\n  the/DT cat/NN ran/NN"


def test_predictions_for_people_and_programs() -> None:
    spans = (Span("PER", "Ann", 0, 3, 0.9), Span("LOC", "北京", 8, 10, 0.75))
    told = Tagged(("Ann", "saw", "北", "京"), ("B-PER", "O", "B-LOC", "I-LOC"), spans, 0.8)
    assert show(["Ann saw 北京", "hm"], [told, Tagged(("hm",), ("O",), (), 0.5)], 80).splitlines() == [
        "Ann saw 北京",
        "  PER  Ann   0-3   0.9000",
        "  LOC  北京  8-10  0.7500",
        "",
        "hm",
        "  nothing found",
    ]
    assert record(Words(told.words), told) == {
        "text": "Ann saw 北京",
        "words": ["Ann", "saw", "北", "京"],
        "tags": ["B-PER", "O", "B-LOC", "I-LOC"],
        "spans": [vars(span) for span in spans],
        "score": 0.8,
    }


def test_dropout_stands_before_the_classifier(build_model: Callable[..., TaskModel], tiny_tokenizer: Any) -> None:
    model = build_model(TASK, dropout=0.5)
    batch = TASK.encode(["the cat"], tiny_tokenizer)
    assert {name for name, _ in model.head.named_parameters()} == {"classifier.weight", "classifier.bias"}
    hidden = model.encoder.eval()(batch)
    with torch.no_grad():
        plain = model.head.eval()(hidden, batch, None)
        dropped = torch.stack([model.head.train()(hidden, batch, None) for _ in range(2000)])
    assert plain.shape == (batch.num_tokens, 5) and dropped[0].ne(dropped[1]).any()
    torch.testing.assert_close(dropped.mean(0), plain, rtol=0, atol=0.1)
