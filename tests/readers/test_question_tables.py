"""Questions in flat tables and from other tools: every spelling of "no answer", of answers and of their places."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie import progress
from bertie.errors import BertieError, DataError
from bertie.items.question import Answer
from bertie.readers.questions import read_questions

CONTEXT = "Die Mühle in Ulm 😀 wurde 1812 gebaut. Sie brannte (ganz) ab."
YEAR = Answer("1812", CONTEXT.index("1812"))


@pytest.fixture(autouse=True)
def notes_show() -> None:
    progress.set_quiet(False)


def table(folder: Path, *rows: dict[str, Any], name: str = "a.csv") -> Path:
    text = io.StringIO()
    if name.endswith((".jsonl", ".json")):
        text.write(json.dumps(list(rows)) if name.endswith(".json") else "".join(json.dumps(r) + "\n" for r in rows))
    else:
        writer = csv.DictWriter(
            text, list(rows[0]), delimiter="\t" if name.endswith(".tsv") else ",", lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(rows)
    (folder / name).write_text(text.getvalue(), encoding="utf-8")
    return folder / name


def row(**parts: Any) -> dict[str, Any]:
    return {"question": "Wann?", "context": CONTEXT, "answer": "1812", **parts}


def labels(path: Path, **columns: str) -> list[Any]:
    return [item.label for item in read_questions(path, columns=columns or None, labelled=True).items]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.json", "squad.json", "a.parquet"])
@pytest.mark.parametrize(
    ("yes", "no"),
    [(True, False), ("true", "FALSE"), (1, 0), ("1", "0"), ("yes", "No"), ("impossible", "possible"), (1.0, 0.0)],
)
def test_impossible_in_every_spelling(
    tmp_path: Path, name: str, yes: Any, no: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(id=f"q{place}", is_impossible=value) for place, value in enumerate((yes, no))]
    path = tmp_path / name
    if name == "squad.json":
        entries = [{**one, "answers": [{"text": one["answer"], "answer_start": YEAR.start}]} for one in rows]
        path.write_text(json.dumps({"data": [{"paragraphs": [{"context": CONTEXT, "qas": entries}]}]}))
    elif name == "a.parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.Table.from_pylist(rows), path)
    else:
        table(tmp_path, *rows, name=name)
    assert labels(path) == [(), (YEAR,)]
    assert "these are only plausible and are not learned: 1 (q0)" in capsys.readouterr().err


def test_other_values_and_contradictions(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match=r"a\.csv:3: 'is_impossible' is 'maybe'; it must be true or false"):
        labels(table(tmp_path, row(is_impossible=""), row(is_impossible="maybe")))
    assert labels(table(tmp_path, row(answerable="no"), row(answerable="yes"), row(answerable=""))) == [
        (),
        (YEAR,),
        (YEAR,),
    ]
    with pytest.raises(DataError, match=r"a\.csv:2: this question is marked both as answerable and as unanswerable"):
        labels(table(tmp_path, row(answerable=1, is_impossible=1)))
    assert labels(table(tmp_path, row(is_impossible=0, answer=""), row(is_impossible=0))) == [(YEAR,)]
    assert "1 row is left out: marked as answerable, but without an answer\n  line 2:" in capsys.readouterr().err


ANSWERS = {"text": ["1812", "Ulm"], "answer_start": [YEAR.start, CONTEXT.index("Ulm")]}


@pytest.mark.parametrize(
    "cells",
    [
        {"answers": repr(ANSWERS)},
        {"answers": json.dumps(ANSWERS)},
        {
            "answers": repr(
                {"text": np.array(ANSWERS["text"], object), "answer_start": np.array(ANSWERS["answer_start"])}
            )
        },
        {"answers": repr([{"text": text, "answer_start": at} for text, at in zip(*ANSWERS.values(), strict=True)])},
        {"answer": repr(ANSWERS["text"]), "answer_start": repr(ANSWERS["answer_start"])},
        {"answers.text": str(np.array(ANSWERS["text"], object)), "answers.answer_start": str(ANSWERS["answer_start"])},
        {"answer": repr(ANSWERS["text"])},
    ],
)
def test_several_answers_in_cells(tmp_path: Path, cells: dict[str, Any]) -> None:
    expected = [(YEAR, Answer("Ulm", CONTEXT.index("Ulm")))]
    assert labels(table(tmp_path, {"question": "Was?", "context": CONTEXT, **cells})) == expected
    lists = {name: json.loads(value) for name, value in cells.items() if value[:2] == '["' or '{"' in value[:3]}
    if lists:
        assert labels(table(tmp_path, {"question": "Was?", "context": CONTEXT, **lists}, name="a.jsonl")) == expected


def test_texts_in_brackets_are_answers_where_the_context_has_them(tmp_path: Path) -> None:
    assert labels(table(tmp_path, row(answer="(ganz)"))) == [(Answer("(ganz)", CONTEXT.index("(ganz)")),)]
    with pytest.raises(DataError, match=r"a\.csv:2: the answers can't be read, .*: \"\['1812"):
        labels(table(tmp_path, row(answer="['1812' 'x', 'y']")))


def test_label_studio_has_places_and_texts(tmp_path: Path) -> None:
    spans = [{"start": YEAR.start, "end": YEAR.start + 4, "text": "1812", "labels": ["answer"]}]
    assert labels(table(tmp_path, row(answer=spans), name="a.json")) == [(YEAR,)]


@pytest.mark.parametrize("past", [0, 1])
def test_places_alone(tmp_path: Path, past: int, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"question": "Was?", "context": CONTEXT, "answer_start": start, "answer_end": start + len(text) - past}
        for text in ("1812", "Mühle", "gebaut")
        for start in [CONTEXT.index(text)]
    ]
    found = read_questions(table(tmp_path, *rows), labelled=True)
    assert [answer.text for item in found.items for answer in item.label or ()] == ["1812", "Mühle", "gebaut"]
    assert found.reading is not None and ("inclusive" in found.reading.remarks[0]) == bool(past)
    with pytest.raises(DataError, match="can't tell whether ends are inclusive"):
        labels(table(tmp_path, {"question": "谁？", "context": "北京的猫吃了鱼", "answer_start": 3, "answer_end": 4}))


def test_places_in_other_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    units = (len(CONTEXT[: YEAR.start].encode("utf-16-le")) // 2, len(CONTEXT[: YEAR.start].encode()))
    twice = f"{CONTEXT} 1812!"  # the text alone would not show the place
    rows = [row(context=twice, answer_start=start) for start in (YEAR.start, *units)]
    assert labels(table(tmp_path, *rows)) == [(YEAR,)] * 3
    assert "was converted to characters: 2 (line 3, line 4)" in capsys.readouterr().err
    lines = "Erst 1812.\r\nDann\r\nnoch 1812."
    assert labels(table(tmp_path, row(context=lines, answer_start=lines.rindex("1812") - 2), name="a.jsonl")) == [
        (Answer("1812", lines.rindex("1812")),)
    ]


def test_no_answer_in_other_words(tmp_path: Path) -> None:
    context = f"{CONTEXT} CANNOTANSWER"
    cells = [{"text": ["CANNOTANSWER"], "answer_start": [len(CONTEXT) + 1]}, {"text": [""], "answer_start": [-1]}, []]
    rows = [{"question": "Wer?", "context": context, "answers": cell} for cell in cells]
    assert labels(table(tmp_path, *rows, name="a.jsonl")) == [(), (), ()]


def test_rows_of_one_question_are_joined(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row(id=7), row(id=7, answer="wurde 1812"), row(id=8), row(id=8, question="Wo?", answer="Ulm")]
    path = table(tmp_path, *rows)
    assert [len(label) for label in labels(path)] == [2, 1, 1]
    said = capsys.readouterr().err
    assert "read as further answers to it: 1 (7)" in said and "with the id of an earlier one: 1 (8)" in said
    assert len(read_questions(path).items) == 4  # what is predicted has an answer for every row


def test_a_table_without_header_and_with_semicolons(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"Wann?;{CONTEXT};1812\nWo?;{CONTEXT};Ulm\n", encoding="utf-8")
    given = {"question": "0", "context": "1", "answers": "2", "delimiter": "semicolon"}
    assert [label[0].text for label in labels(tmp_path / "a.csv", **given)] == ["1812", "Ulm"]
    assert len(labels(tmp_path / "a.csv", **given, header="no")) == 2


def test_nested_lines(tmp_path: Path) -> None:
    qas = [{"qid": "a", "question": "Wann?", "answers": ["1812"]}]
    rows = [{"header": {"dataset": "x"}}, {"context": CONTEXT, "qas": qas}, {"context": CONTEXT, "qas": qas * 2}]
    assert labels(table(tmp_path, *rows, name="a.jsonl")) == [(YEAR,)] * 3


def test_columns_that_may_both_be_the_answers(tmp_path: Path) -> None:
    both = row(answers="Ulm")
    with pytest.raises(DataError, match=r"columns 'answers' and 'answer' may both hold the answers; choose one"):
        labels(table(tmp_path, both))
    assert labels(table(tmp_path, both), question="question", context="context", answers="answer") == [(YEAR,)]
    assert labels(table(tmp_path, row(answers="1812"))) == [(YEAR,)]
    missing = [row(), {"question": "Wer?", "context": CONTEXT, "answer": "Sie"}]
    del missing[0]["answer"]
    with pytest.raises(DataError, match=r"a\.jsonl:1: its answers are missing"):
        labels(table(tmp_path, *missing, name="a.jsonl"))


WORDS = st.text(
    st.characters(categories=["L", "N", "P", "Z"], exclude_characters="\r\u2028\u2029\x85"), min_size=1, max_size=5
)


@settings(max_examples=80, deadline=None)
@given(
    words=st.lists(WORDS.filter(str.strip), min_size=3, max_size=8),
    picks=st.lists(st.integers(0, 2), max_size=2, unique=True),
    form=st.sampled_from(["dict", "json", "lists", "objects", "squad"]),
)
def test_whatever_is_written_is_read_back_or_refused(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], picks: list[int], form: str
) -> None:
    folder = tmp_path_factory.mktemp("any")
    progress.set_quiet(True)
    context = " ".join(words)
    starts = [len(" ".join(words[:place])) + (place > 0) for place in picks]
    texts = [words[place] for place in picks]
    both = {"text": texts, "answer_start": starts}
    listed = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    base: dict[str, Any] = {"question": "q", "context": context}
    if form == "squad":
        entry = {"question": "q", "id": "1", "answers": listed, "is_impossible": not picks}
        path = table(folder, {"context": context, "qas": [entry]}, name="a.json")
    else:
        cells = {
            "dict": {"answers": repr(both)},
            "json": {"answers": json.dumps(both)},
            "objects": {"answers": repr(listed)},
        }
        path = table(folder, {**base, **cells.get(form, {"answer": repr(texts), "answer_start": repr(starts)})})
    try:
        (label,) = labels(path)
    except BertieError:
        return
    assert label == tuple(Answer(text, start) for text, start in zip(texts, starts, strict=True))
