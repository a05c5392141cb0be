"""Items with choices from files: columns of well-known data sets, labels in every form, errors with their lines."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie.errors import DataError, SettingsError
from bertie.items.choice import Choice
from bertie.readers.choices import read_choices


def jsonl(folder: Path, *rows: dict[str, Any]) -> Path:
    file = folder / "items.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return file


SWAG = {
    "sent1": "She opens the door.",
    "sent2": "She",
    "startphrase": "She opens the door. She",
    "ending0": "leaves.",
    "ending1": "sings.",
    "ending2": "is a car.",
    "ending3": "swims.",
    "label": 2,
}
RACE = {"article": "A long story.", "question": "Who?", "options": ["He", "She"], "answer": "B", "example_id": "x"}
ARC = {"question": "Why?", "choices": {"text": ["because", "so"], "label": ["1", "2"]}, "answerKey": "2", "id": "a"}
COPA = {"premise": "It rained.", "choice1": "I got wet.", "choice2": "I got dry.", "question": "effect", "label": 0}
LETTERS = {"question": "What?", "A": "x", "B": "y", "C": "z", "D": "w", "answer": "D"}
CHINESE = {"context": "他走进房间。", "question": "他在哪里？", "choices": ["房间里", "外面"], "answer": "外面"}


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (SWAG, Choice("She opens the door.", ("leaves.", "sings.", "is a car.", "swims."), "2", 1, "She")),
        (RACE, Choice("A long story.", ("He", "She"), "1", 1, "Who?")),
        (ARC, Choice("Why?", ("because", "so"), "1", 1)),
        (COPA, Choice("It rained.", ("I got wet.", "I got dry."), "0", 1, "effect")),
        (LETTERS, Choice("What?", ("x", "y", "z", "w"), "3", 1)),
        (CHINESE, Choice("他走进房间。", ("房间里", "外面"), "1", 1, "他在哪里？")),
        ({"text": "a", "options": ["b", "c"]}, Choice("a", ("b", "c"), None, 1)),
        ({"context": "", "question": "q", "options": [1, 2.5], "label": -1}, Choice("q", ("1", "2.5"), None, 1)),
    ],
)
def test_well_known_columns(tmp_path: Path, row: dict[str, Any], expected: Choice) -> None:
    assert read_choices(jsonl(tmp_path, row)).items == [expected]


def test_a_row_of_several_questions(tmp_path: Path) -> None:
    row = {"article": "a", "questions": ["p", "q"], "options": [["b", "c"], ["d", "e", "f"]], "answers": ["B", "C"]}
    table = read_choices(jsonl(tmp_path, row), labelled=True)
    assert table.items == [Choice("a", ("b", "c"), "1", 1, "p"), Choice("a", ("d", "e", "f"), "2", 1, "q")]
    with pytest.raises(DataError, match=r"items.jsonl:1: 2 questions need as many lists of choices"):
        read_choices(jsonl(tmp_path, {**row, "answers": ["B"]}))


def test_tables(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.csv"
    file.write_text('context,option_a,option_b,option_c,label\n"a, b",c,d,,b\n"e",f,g,h,C\n', encoding="utf-8")
    table = read_choices(file, labelled=True)
    assert table.items == [Choice("a, b", ("c", "d"), "1", 2), Choice("e", ("f", "g", "h"), "2", 3)]
    assert table.mapping["choices"] == "option_a+option_b+option_c"
    assert "2 items of 2 to 3 choices, text from column 'context'" in capsys.readouterr().err
    file = tmp_path / "b.tsv"
    file.write_text('context\tchoices\tlabel\na\t["c", "d"]\td\n', encoding="utf-8")
    assert read_choices(file).items == [Choice("a", ("c", "d"), "1", 2)]


def test_parquet_and_splits_of_a_folder(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow.parquet import write_table

    columns = {
        "context": ["a", "e", "i"],
        "endings": [["b", "c"], ["f", "g", "h"], ["j", "k"]],
        "label": [1.0, None, 0.0],
    }
    write_table(pa.table(columns), tmp_path / "train.parquet")
    expected = [Choice("a", ("b", "c"), "1", 1), Choice("e", ("f", "g", "h"), None, 2), Choice("i", ("j", "k"), "0", 3)]
    assert read_choices(tmp_path / "train.parquet").items == expected
    assert read_choices(f"hub:{tmp_path}:train").items == expected


def test_columns_by_name(tmp_path: Path) -> None:
    file = jsonl(tmp_path, {"label": "x", "body": "a", "one": "b", "two": "c", "right": "A"})
    table = read_choices(file, columns={"text": "body", "choices": "one+two", "label": "right"})
    assert table.items == [Choice("a", ("b", "c"), "0", 1)]
    for columns, match in (
        ({"text": "body"}, "must name text and choices"),
        ({"text": "bodi", "choices": "one+two"}, "has no column 'bodi'.*did you mean 'body'"),
        ({"texts": "body", "choices": "one"}, "a part is one of text, question"),
        ({"text": "body+one", "choices": "one+two"}, "only choices may have several columns"),
    ):
        with pytest.raises(SettingsError, match=match):
            read_choices(file, columns=columns)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"label": 4}, r"items.jsonl:2: label '4' is none of the 4 choices"),
        ({"label": -2}, r"items.jsonl:2: label '-2' is none of the 4 choices"),
        ({"label": "E"}, r"items.jsonl:2: label 'E' is none of the 4 choices"),
        ({"label": True}, r"items.jsonl:2: label 'True' is none"),
        ({"label": None}, r"items.jsonl:2: no label"),
        ({"label": float("nan")}, r"items.jsonl:2: no label"),
        ({"ending1": ""}, r"items.jsonl:2: choice 1 is empty"),
        ({"ending1": "", "ending2": " ", "ending3": None}, r"items.jsonl:2: 1 choices; an item needs two or more"),
        ({"ending1": ["a"]}, r"items.jsonl:2: the choices are .*; they must be a list of strings"),
        ({"sent1": {}}, r"items.jsonl:2: the text is {}; it must be one string"),
        ({"ending0": "same", "ending1": "same", "label": "same"}, r"items.jsonl:2: label 'same' may mean choice 0"),
    ],
)
def test_bad_rows(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    with pytest.raises(DataError, match=match):
        read_choices(jsonl(tmp_path, SWAG, {**SWAG, **change}), labelled=True)


def test_labels_that_are_numbers_and_texts(tmp_path: Path) -> None:
    row = {**SWAG, "ending0": "1", "label": "1"}
    with pytest.raises(DataError, match=r"items.jsonl:1: label '1' may mean choice 0 \('1'\) or 1 \('sings.'\)"):
        read_choices(jsonl(tmp_path, row), labelled=True)
    assert [one.label for one in read_choices(jsonl(tmp_path, row, SWAG), labelled=True).items] == ["1", "2"]


def test_numbers_of_json_are_no_texts(tmp_path: Path) -> None:
    assert read_choices(jsonl(tmp_path, {**SWAG, "ending0": "1", "label": 1})).items[0].label == "1"


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("context,choices,label\na,b or c,0\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"a.csv:2: the choices are 'b or c'; they need a column each, or a JSON list"):
        read_choices(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("context,choices\n", encoding="utf-8")
    with pytest.raises(DataError, match="holds no rows"):
        read_choices(tmp_path / "b.csv")
    with pytest.raises(DataError, match=r"no column holds labels \(context, choices\)"):
        read_choices(tmp_path / "b.csv", labelled=True)
    with pytest.raises(DataError, match="can't tell which column holds the choices"):
        read_choices(jsonl(tmp_path, {"text": "a", "label": 0}))
    with pytest.raises(DataError, match="can't tell which column holds the text"):
        read_choices(jsonl(tmp_path, {"options": ["a", "b"]}))
    (tmp_path / "c.txt").write_text("a\n", encoding="utf-8")
    with pytest.raises(SettingsError, match="items with choices are read from"):
        read_choices(tmp_path / "c.txt")
    (tmp_path / "d.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="holds no rows"):
        read_choices(tmp_path / "d.jsonl")


WORDS = st.text(st.characters(codec="utf-8"), max_size=12)
FILLED = WORDS.filter(lambda text: bool(text.strip()))


@settings(max_examples=60)
@given(st.lists(st.tuples(WORDS, st.lists(FILLED, min_size=2, max_size=5), st.integers(0, 4)), min_size=1, max_size=5))
def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, list[str], int]]) -> None:
    folder = tmp_path_factory.mktemp("any")
    given_rows = [{"text": text, "choices": choices, "label": label % len(choices)} for text, choices, label in rows]
    path = jsonl(folder, *given_rows)
    try:
        found = read_choices(path, labelled=True).items
    except DataError as error:
        assert "counted from 0 or from 1" in str(error)
        found = read_choices(path, columns={"numbered": "0"}, labelled=True).items
    assert [(one.text, list(one.choices), one.label) for one in found] == [
        (row["text"], row["choices"], str(row["label"])) for row in given_rows
    ]


def labels(path: Path, **columns: str) -> list[str | None]:
    return [item.label for item in read_choices(path, columns=columns or None, labelled=True).items]


def test_numbers_from_one_are_told_by_the_whole_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"sentence": "a", "option1": "b", "option2": "c", "answer": answer} for answer in ("1", "2", "1")]
    assert labels(jsonl(tmp_path, *rows)) == ["0", "1", "0"]
    assert "labels numbered from 1" in capsys.readouterr().err
    assert labels(jsonl(tmp_path, *({**row, "answer": int(row["answer"]) - 1} for row in rows))) == ["0", "1", "0"]
    assert "labels numbered from 0" in capsys.readouterr().err
    lists = [{"text": "a", "choices": ["b", "c", "d"], "label": label} for label in (1, 2)]
    path = jsonl(tmp_path, *lists)
    with pytest.raises(
        DataError, match=r"counted from 0 or from 1 \(.*jsonl:1: 1\); set --columns numbered=0 or numbered=1"
    ):
        labels(path)
    assert labels(path, numbered="0") == ["1", "2"] and labels(path, numbered="1") == ["0", "1"]
    assert [item.label for item in read_choices(path).items] == [None, None]
    assert "no labels are read" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="numbered=2: labels are numbered from 0 or from 1"):
        labels(path, numbered="2")
    mixed = jsonl(tmp_path, *lists, {**lists[0], "label": 0}, {**lists[0], "label": 3})
    with pytest.raises(
        DataError, match=r"jsonl:4: label '3' is none of the 3 choices, if it is read like the others; num"
    ):
        labels(mixed)
    with pytest.raises(
        DataError, match=r"jsonl:3: label 'b' .* the earlier labels are read numbered from 0 or numbered"
    ):
        labels(jsonl(tmp_path, *lists, {**lists[0], "label": "b"}))


NAMED = {"text": ["x", "y"], "label": ["A", "B"]}


@pytest.mark.parametrize(
    "row",
    [
        {
            "question": {"stem": "q", "choices": [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}]},
            "answerKey": "B",
        },
        {"question_stem": "q", "choices": NAMED, "answerKey": "B"},
        {"question": "q", "choices": repr(NAMED), "answerKey": "B"},
        {
            "question": "q",
            "choices": "{'text': array(['x', 'y'], dtype=object), 'label': array(['A', 'B'])}",
            "label": "B",
        },
        {"question": "q", "options": {"A": "x", "B": "y"}, "answer_idx": "B"},
        {"query": "q", "options": "['x', 'y']", "correct_option": 1.0, "x": 0},
        {"question": "q", "options": "['x' 'y']", "answer": "y"},
        {"context": "", "question": "q", "answers": ["x", "y"], "label": "B"},
        {"question": "q", "optionA": "x", "optionB": "y", "answer": "b"},
    ],
)
def test_forms_of_other_data_sets(tmp_path: Path, row: dict[str, Any]) -> None:
    first = {**row, **({"correct_option": 0} if "correct_option" in row else {})}
    array = tmp_path / "a.json"
    array.write_text(json.dumps([first, row], indent=1))
    assert read_choices(array, labelled=True).items[1] == Choice("q", ("x", "y"), "1", 2)
    if not isinstance(row.get("question"), dict) and all(
        isinstance(value, str | float | int) for value in row.values()
    ):
        with (tmp_path / "a.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            writer.writeheader()
            writer.writerows([first, row])
        assert read_choices(tmp_path / "a.csv", labelled=True).items[1] == Choice("q", ("x", "y"), "1", 3)


def test_names_that_do_not_part_the_choices(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"jsonl:1: 2 choices with the names A, A; give each a different name"):
        labels(jsonl(tmp_path, {**ARC, "choices": {"text": ["x", "y"], "label": ["A", "A"]}, "answerKey": "A"}))
    (tmp_path / "a.csv").write_text("text,choices,label\na,['b' ... 'c'],0\n")
    with pytest.raises(DataError, match=r"a.csv:2: .* JSON list of strings \(values are replaced"):
        labels(tmp_path / "a.csv")
