"""A look at labelled items: each planted fault is found with its lines and severity; sound items are fine."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.batch import Batch
from bertie.checks.items import survey_copies, survey_overlap, survey_texts
from bertie.checks.labels import survey_labels, unseen
from bertie.checks.pieces import examples, survey_casing, survey_lengths
from bertie.findings import Finding, verdict
from bertie.items.choice import Choice
from bertie.items.question import Answer, Question
from bertie.items.text import Text, texts_of
from bertie.items.words import Words
from bertie.tasks.classification import Classification
from bertie.tokenizer.tokenizer import SPECIALS, Tokenizer

FILE, DEV = Path("a.tsv"), Path("dev.tsv")


def texts(*rows: tuple[str, str | None]) -> list[Text]:
    return [Text(text, None, label, line) for line, (text, label) in enumerate(rows, 2)]


def lines(findings: list[Finding]) -> list[str]:
    return [f"{found.severity}: {found.what} [{found.where}]" for found in findings]


def only(findings: list[Finding]) -> str:
    (line,) = lines(findings)
    return line


def test_texts() -> None:
    items = texts(("good", "1"), ("  ", "0"), ("a <br /> b", "1"), ("x" * 1_000_000, "0"))
    assert lines(survey_texts(items, FILE)) == [
        "warning: 1 of 4 items have an empty text [a.tsv: line 3]",
        "warning: 1 texts are longer than 100,000 characters, the longest has 1,000,000 [a.tsv: line 5]",
        "warning: 1 of 4 items contain tags such as <br />, which are kept [a.tsv: line 4]",
    ]
    assert survey_texts(texts(("1 < 2 and 3 > 2", "x"), ("<unk> <3", "y")), FILE) == []
    assert only(survey_texts(texts(("", "1"), (" ", "0")), FILE)).startswith("error: every text is empty")
    assert only(survey_texts([Text("a", "", "1", 7)], FILE)).startswith("error")
    assert only(survey_texts([Words((), (), 4), Words(("a",), ("O",), 6)], FILE)).endswith("[a.tsv: line 4]")


def test_copies_and_conflicts() -> None:
    items = texts(("one", "1"), ("two", "0"), ("one", "1"), ("two", "1"), ("One", "0"))
    values, found = survey_copies(items, FILE)
    assert values == {"copies": 2, "conflicting_copies": 1}
    assert lines(found) == [
        "warning: 1 items have the text of an earlier one, but another label [a.tsv: line 3/5]",
        "warning: 2 of 5 items (40.0%) are exact copies of earlier ones [a.tsv: lines 4, 5]",
    ]
    assert survey_copies([Text("a", "b"), Text("b", "a"), Text("a b")], FILE)[0]["copies"] == 0


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30))
def test_copies_are_what_a_set_leaves_over(words: list[str]) -> None:
    values, found = survey_copies([Text(word) for word in words], FILE)
    assert values["copies"] == len(words) - len(set(words)) and bool(found) == bool(values["copies"])


def test_overlap() -> None:
    train, dev = texts(("The  cat sat", "1"), ("a dog", "0")), texts(("the cat SAT", "0"), ("a bird", "1"))
    values, found = survey_overlap(train, dev, FILE, DEV)
    assert values == {"dev_items_in_train": 1}
    assert only(found) == "warning: 1 of 2 dev items (50.0%) are in a.tsv too [dev.tsv: line 2]"
    questions = [Question(text, "The context.", (), text) for text in ("who?", "what?")]
    values, found = survey_overlap(questions[:1], questions[1:], FILE, DEV)
    assert values["dev_questions_on_train_contexts"] == 1
    assert only(found) == "warning: 1 of 1 dev questions are about contexts that a.tsv has too [dev.tsv: item what?]"


def test_classes() -> None:
    items = texts(*[("a", "yes")] * 30, ("b", "no"), ("c", ""), ("d", "NaN"), ("e", "Yes"))
    values, found = survey_labels(items, FILE, classes=True)
    assert values["labels"][0] == {"label": "yes", "items": 30, "share": 30 / 32}
    assert lines(found) == [
        "error: 2 of 34 labels are empty or NaN [a.tsv: lines 33, 34]",
        "warning: 2 labels have only one example: 'no', 'Yes' [a.tsv: lines 32, 35]",
        "warning: 93.8% of the items have the label 'yes': always predicting it is that accurate [a.tsv]",
        "warning: labels differ only in case, invisible characters or form of a number: 'Yes' and 'yes' [a.tsv]",
    ]
    assert only(survey_labels(texts(("a", "x"), ("b", "x")), FILE, classes=True)[1]).startswith("error: every item has")
    ids = survey_labels(texts(*((f"text {n}", f"id {n // 2}") for n in range(20)), ("z", "id 99")), FILE, classes=True)[
        1
    ]
    assert "11 labels for 21 items: are these classes?" in "".join(lines(ids))
    assert survey_labels(texts(("a", None)), FILE, classes=True) == ({}, [])


def test_several_labels() -> None:
    items = [Text("a", None, "comedy, drama", 1), Text("b", None, ("drama",), 2), Text("c", None, "comedy", 3)]
    values, found = survey_labels(items, FILE, classes=True, many=True)
    assert {row["label"]: row["items"] for row in values["labels"]} == {"comedy": 2, "drama": 2} and found == []


def test_numbers() -> None:
    items = texts(("a", "0"), ("b", "4.5"), ("c", "high"), ("d", "5"), ("e", "nan"), ("f", "inf"))
    values, found = survey_labels(items, FILE, classes=False)
    assert values["label_values"]["max"] == 5 and sum(row["items"] for row in values["labels"]) == 3
    assert lines(found) == [
        "error: 1 of 6 labels are empty or NaN [a.tsv: line 6]",
        "error: 2 of 6 labels are not numbers, such as 'high' [a.tsv: lines 4, 7]",
    ]
    assert only(survey_labels(texts(("a", "2"), ("b", "2.0")), FILE, classes=False)[1]).startswith(
        "error: every label is 2"
    )


def test_tags() -> None:
    items = [
        Words(("EU", "rejects"), ("B-ORG", "O"), 3),
        Words(("Bonn",), ("B-LOC", "O"), 6),
        Words(("a",), ("B-ORG",), 8),
    ]
    values, found = survey_labels(items, FILE, classes=True)
    assert [(row["label"], row["items"]) for row in values["labels"]] == [("ORG", 2), ("LOC", 1)]
    assert values["words"] == 4 and values["words_outside"] == 2 / 5
    assert lines(found) == [
        "error: 1 texts have different numbers of words and tags (the first: 1 words, 2 tags) [a.tsv: line 6]",
        "warning: only one example of LOC [a.tsv]",
    ]
    assert "error: all tags are O" in lines(survey_labels([Words(("a",), ("O",))], FILE, classes=True)[1])[0]


def test_answers() -> None:
    context = "Bonn lies on the Rhine."
    items = [
        Question("Where?", context, (Answer("Rhine", 17), Answer("the Rhine", 13)), "q1"),
        Question("What?", context, (Answer("Bonn", 0), Answer("Köln", -1)), "q2"),
        Question("Who?", context, (Answer("lies", 0),), "q3"),
        Question("Why?", context, (), "q4"),
    ]
    values, found = survey_labels(items, FILE, classes=False)
    assert values["contexts"] == 1
    assert {row["label"]: row["items"] for row in values["labels"]} == {
        "one answer": 1,
        "several answers": 2,
        "no answer": 1,
    }
    assert "2 of 4 questions have answers that never occur" in only(found)
    assert "such as 'Köln'" in only(found) and only(found).endswith("[a.tsv: items q2, q3]")


def test_choices() -> None:
    items = [Choice("a", ("b", "c"), "1", 1), Choice("a", ("b", "c"), "2", 2), Choice("a", ("b",), "0", 3)]
    values, found = survey_labels(items, FILE, classes=False)
    assert values["choices"] == [1, 2]
    assert lines(found) == [
        "error: 1 labels are not the number of a choice, such as '2' [a.tsv: line 2]",
        "warning: 1 items have fewer than two choices [a.tsv: line 3]",
    ]


def test_labels_of_two_files() -> None:
    train, dev = texts(("a", "x"), ("b", "y")), texts(("c", "x"), ("d", "X"), ("e", "X"))
    assert lines(unseen(train, dev, DEV)) == [
        "error: label 'X' (2 items) is in no training item [dev.tsv: lines 3, 4]",
        "warning: no dev item has the label y [dev.tsv]",
    ]
    tagged = [Words(("a",), ("B-PER",), 1)], [Words(("a",), ("B-LOC",), 1), Words(("b",), ("B-PER",), 2)]
    assert "label 'LOC'" in only(unseen(*tagged, DEV))


def test_lengths_in_words() -> None:
    items = [Text("one two three"), Text("北京的猫 is", "good"), Text("a " * 40)]
    values, found = survey_lengths(items, FILE, tokenizer=None, limit=8)
    assert values["lengths"] == {"in": "words", "50%": 6, "90%": 40, "99%": 40, "longest": 40, "over 8": 1}
    assert only(found) == "warning: 1 of 3 items (33.3%) have more than 8 words [a.tsv: item 3]" or "line 3" in only(
        found
    )


def test_lengths_in_pieces(tiny_tokenizer: Tokenizer) -> None:
    items = [Text("the cat"), Text("the cat", "a dog ran"), Text("the cat " * 9), Text("the Ω Ж")]
    values, found = survey_lengths(items, FILE, tokenizer=tiny_tokenizer, limit=10)
    assert values["lengths"]["longest"] == 20 and values["lengths"]["50%"] == 8 and values["lengths"]["over 10"] == 1
    assert values["unknown_share"] == 2 / (2 + 5 + 18 + 3)
    assert lines(found) == [
        "warning: 2 pieces (7.14%) are [UNK], such as 'Ω', 'Ж' [a.tsv: line 4]",
        "warning: 1 of 4 items (25.0%) have more than 10 pieces [a.tsv: line 3]",
    ]
    assert found[1].remedy == "they are cut; --truncation window reads them to the end; --length 24 holds all"
    windows = survey_lengths(items, FILE, tokenizer=tiny_tokenizer, limit=10, truncation="window")[1]
    assert windows[1].severity == "note" and windows[1].remedy == "they are read in windows; --length 24 holds all"
    strict = {"truncation": "error", "choices": ("truncate", "error")}
    refused = survey_lengths(items, FILE, tokenizer=tiny_tokenizer, limit=10, **strict)[1][1]
    assert refused.severity == "error"
    assert refused.remedy == "they are refused; --truncation truncate cuts them; --length 24 holds all"
    apart = survey_lengths(items[:2], FILE, tokenizer=tiny_tokenizer, limit=10, apart=True)[0]
    assert apart["lengths"]["longest"] == 5
    choices = [Choice("the", ("cat", "cat ran in the house"), "0")]
    assert survey_lengths(choices, FILE, tokenizer=tiny_tokenizer, limit=99)[0]["lengths"]["longest"] == 9


def test_a_question_longer_than_the_window(tiny_tokenizer: Tokenizer) -> None:
    items = [Question("the cat " * 9, "the dog", (), "q1"), Question("the cat", "the dog " * 9, (), "q2")]
    found = survey_lengths(items, FILE, tokenizer=tiny_tokenizer, limit=19)[1]
    assert lines(found)[0].startswith("warning: 1 questions have more than 8 pieces") and "item q1" in found[0].where
    assert len(survey_lengths(items, FILE, tokenizer=tiny_tokenizer, limit=99)[1]) == 0
    assert (
        "more than 4 pieces" in survey_lengths(items, FILE, tokenizer=tiny_tokenizer, limit=99, max_query=4)[1][0].what
    )


def tokenizer(*pieces: str, lowercase: bool) -> Tokenizer:
    return Tokenizer.build([*SPECIALS, *pieces], lowercase=lowercase)


@pytest.mark.parametrize(
    ("text", "pieces", "lowercase", "said"),
    [
        ("the cat sat", ("the", "cat", "The"), False, "the text has no capitals, but the vocabulary is cased"),
        ("THE CAT SAT", ("the", "cat", "The"), False, "100% of the letters are capitals, but the vocabulary is cased"),
        ("The cat sat", ("the", "cat", "sat"), False, "keeps capitals, but no piece of its vocabulary has one"),
        ("The cat sat", ("the", "cat", "The"), False, ""),
        ("The cat sat", ("the", "cat", "sat"), True, ""),
        ("THE CAT SAT", ("the", "cat", "sat"), True, ""),
    ],
)
def test_casing(text: str, pieces: tuple[str, ...], lowercase: bool, said: str) -> None:
    values, found = survey_casing([Text(text)] * 200, FILE, tokenizer(*pieces, lowercase=lowercase))
    assert said in only(found) if said else found == []
    assert values["vocabulary"] == f"{'uncased' if lowercase else 'cased'}, 8 pieces"
    assert survey_casing([Text(text)], FILE, tokenizer(*pieces, lowercase=lowercase))[1] == []  # too little to tell


def test_names_lose_their_capitals() -> None:
    items = [Words(("The", "Bonn"), ("O", "B-LOC"))]
    found = survey_casing(items, FILE, tokenizer("the", lowercase=True))[1]
    assert only(found).startswith("note: the vocabulary is uncased")


def test_examples_are_what_the_model_gets(tiny_tokenizer: Tokenizer) -> None:
    task = Classification(labels=("bad", "good"), max_length=8)
    items = [Text(f"the cat sat {'in the house ' * n}", None, "good", n + 1) for n in range(40)]

    def encode(some: Any) -> Batch:
        return task.encode(some, tiny_tokenizer)

    shown = examples(items, encode, tiny_tokenizer)
    assert [row["line"] for row in shown] == [1, 5, 9, 13, 17, 21, 25, 29, 33, 37]
    assert shown[0] == {"line": 1, "label": "good", "cut": 0, "sequences": 1, "pieces": ["[CLS] the cat sat [SEP]"]}
    assert shown[1]["pieces"] == ["[CLS] the cat sat in the house [SEP]"] and shown[1]["cut"] == 9
    assert shown[1]["lost"].startswith("in the house in the house")
    assert len(examples(items[:3], encode, tiny_tokenizer)) == 3
    pair = examples([Text("the cat", "a dog " * 4, "bad", 1)], encode, tiny_tokenizer)[0]
    batch = task.encode([Text("the cat", "a dog " * 4)], tiny_tokenizer)
    assert pair["pieces"][0].split() == [tiny_tokenizer.tokens[piece] for piece in batch.tokens.tolist()]
    assert examples(items[:1], None, None)[0]["text"] == "the cat sat "


def test_labels_in_examples() -> None:
    items = [
        Words(("Mr", "Bean", "slept"), ("B-PER", "I-PER", "O"), 1),
        Question("Who?", "Bean.", (Answer("Bean", 0), Answer("Bean", 0)), "q"),
        Question("Who?", "Bean.", (), "q"),
        Choice("a", ("b", "c"), "1", 4),
        Text("a", None, ("x", "y"), 5),
    ]
    labels = ["PER: Mr Bean", "Bean", "(no answer)", "c", "x, y"]
    assert [examples([item], None, None)[0]["label"] for item in items] == labels


def test_every_kind_has_parts() -> None:
    assert texts_of("a") == ["a"] and texts_of(("a", "b")) == ["a", "b"] and texts_of(Text("a", "b")) == ["a", "b"]
    assert texts_of(Choice("a", ("b", "c"))) == ["a", "b", "c"] and texts_of(Words(("a", "b"))) == ["a b"]
    assert verdict(survey_texts([Text("a"), Question("b", "c")], FILE)) == "fine"


def test_tags_and_labels_that_may_be_one() -> None:
    words = [Words(("a", "b"), tags, n) for n, tags in enumerate((("B-PER", "O"), ("B-Per", "O")) * 2, 1)]
    _, found = survey_labels(words, FILE, classes=True)
    assert lines(found) == ["warning: tags differ only in case: 'PER' and 'Per' [a.tsv]"]
    _, found = survey_labels(texts(("a", "x"), ("b", "x"), ("c", "None"), ("d", "None")), FILE, classes=True)
    assert lines(found) == ["warning: 2 items have the label 'None' [a.tsv]"]


@pytest.mark.parametrize("text", ["caf\ufffd", "caf\u00c3\u00a9", "b'so good'", "you &amp; me", "#NAME?"])
def test_texts_that_were_wrongly_converted(text: str) -> None:
    found = survey_texts(texts((text, "x"), ("fine", "y")), FILE)
    assert [line for line in lines(found) if "1 of 2 items look wrongly converted" in line and "line 2" in line]
    assert not [one for one in survey_texts(texts(("S\u00c3O a & b; 'b'", "x")), FILE) if "wrongly" in one.what]
