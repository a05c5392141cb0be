"""Questions: SQuAD and CMRC files, tables, answers at the wrong place, and errors that name file and place."""

from __future__ import annotations

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.errors import DataError, SettingsError
from bertie.items.question import Answer, Question
from bertie.readers.questions import locate, read_questions

CONTEXT = "The cat sat in the house. The dog ran to the house."


def asked(**parts: Any) -> dict[str, Any]:
    """Return a SQuAD file with one question."""
    entry = {"id": "q1", "question": "Who sat?", "answers": [{"text": "The cat", "answer_start": 0}], **parts}
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": CONTEXT, "qas": [entry]}]}]}


def written(folder: Path, value: Any, name: str = "a.json") -> Path:
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


def test_squad(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = read_questions(written(tmp_path, asked()), labelled=True)
    assert table.items == [Question("Who sat?", CONTEXT, (Answer("The cat", 0),), "q1")]
    assert "1 questions about 1 contexts, 0 without an answer" in capsys.readouterr().err


def test_questions_without_an_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    impossible = asked(answers=[], is_impossible=True, plausible_answers=[{"text": "dog", "answer_start": 30}])
    assert read_questions(written(tmp_path, impossible), labelled=True).items[0].label == ()
    assert "1 without an answer" in capsys.readouterr().err
    possible = asked(is_impossible=False)
    assert read_questions(written(tmp_path, possible), labelled=True).items[0].label == (Answer("The cat", 0),)
    bare = asked()
    del bare["data"][0]["paragraphs"][0]["qas"][0]["answers"]
    path = written(tmp_path, bare)
    assert read_questions(path).items[0].label is None
    with pytest.raises(DataError, match=r"a\.json: question q1: its answers are missing; give their texts"):
        read_questions(path, labelled=True)


def test_questions_of_one_context_share_its_text(tmp_path: Path) -> None:
    rows = [{"question": f"q{n}", "context": f"{CONTEXT}", "answers": {"text": [], "answer_start": []}} for n in "ab"]
    items = read_questions(written(tmp_path, "\n".join(map(json.dumps, rows)), "a.jsonl"), labelled=True).items
    assert items[0].context is items[1].context
    assert [item.label for item in items] == [(), ()]


def test_misplaced_answers_are_moved_or_lose_their_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [("The cat", 3), ("house", 0), ("bird", 5), ("dog", 30), ("ran", -1)]
    path = written(tmp_path, asked(answers=[{"text": text, "answer_start": start} for text, start in answers]))
    (item,) = read_questions(path, labelled=True).items
    assert item.label == (
        Answer("The cat", 0),
        Answer("house", -1),
        Answer("bird", -1),
        Answer("dog", 30),
        Answer("ran", 34),
    )
    said = capsys.readouterr().err
    assert "moved to the only occurrence of their text: 2 (q1, ...)" in said
    assert "nowhere or several times in the context: 2; scores use them, but models don't learn from them (q1" in said
    assert "left out of training" not in said
    read_questions(written(tmp_path, asked(answers=[{"text": "bird", "answer_start": 5}])), labelled=True)
    assert "questions with only such answers, which are left out of training: 1 (q1)" in capsys.readouterr().err


@given(context=st.text("ab", max_size=9), text=st.text("ab", min_size=1, max_size=3), start=st.integers(-2, 10))
def test_locate(context: str, text: str, start: int) -> None:
    places = [place for place in range(len(context)) if context[place : place + len(text)] == text]
    expected = start if start in places else places[0] if len(places) == 1 else -1
    assert locate(context, text, start) == expected


def test_cmrc_in_its_first_form(tmp_path: Path) -> None:
    value = [
        {
            "context_id": "TRAIN_1",
            "context_text": "北京的猫吃了鱼。",
            "qas": [{"query_id": "TRAIN_1_Q_0", "query_text": "谁吃了鱼？", "answers": ["北京的猫", "猫"]}],
        }
    ]
    (item,) = read_questions(written(tmp_path, value), labelled=True).items
    expected = (Answer("北京的猫", 0), Answer("猫", 3))
    assert item == Question("谁吃了鱼？", "北京的猫吃了鱼。", expected, "TRAIN_1_Q_0")


def test_flat_rows_in_json(tmp_path: Path) -> None:
    row = {"question": "Who ran?", "context": CONTEXT, "answers": {"text": ["The dog"], "answer_start": [26]}}
    for value in ([row], {"data": [row]}):
        (item,) = read_questions(written(tmp_path, value), labelled=True).items
        assert item.label == (Answer("The dog", 26),)


def test_tables(tmp_path: Path) -> None:
    head, row = "id,Question,passage,answer,answer_start", f'7,Who ran?,"{CONTEXT}",The dog,26'
    table = read_questions(written(tmp_path, f"{head}\n{row}\n8,Who?,{CONTEXT},,\n", "a.csv"), labelled=True)
    assert table.mapping == {
        "question": "Question",
        "context": "passage",
        "answers": "answer",
        "start": "answer_start",
        "id": "id",
    }
    assert table.items == [
        Question("Who ran?", CONTEXT, (Answer("The dog", 26),), "7", 2),
        Question("Who?", CONTEXT, (), "8", 3),
    ]
    rows = f"q\tc\ta\nWho ran?\t{CONTEXT}\t" + '{"text": ["The dog"], "answer_start": [26]}\n'
    path = written(tmp_path, rows, "a.tsv")
    columns = {"question": "q", "context": "c", "answers": "a"}
    assert read_questions(path, columns=columns, labelled=True).items[0].label == (Answer("The dog", 26),)
    assert read_questions(path, columns={"question": "q", "context": "c"}).items[0].label is None


def test_parquet_as_the_hub_has_it(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [
        {"id": "x", "question": "Who?", "context": CONTEXT, "answers": {"text": ["The dog"], "answer_start": [26]}},
        {"id": "y", "question": "What?", "context": CONTEXT, "answers": {"text": [], "answer_start": []}},
    ]
    parquet.write_table(arrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    items = read_questions(tmp_path / "a.parquet", labelled=True).items
    assert [(item.id, item.label, item.line) for item in items] == [("x", (Answer("The dog", 26),), 1), ("y", (), 2)]


def test_compressed(tmp_path: Path) -> None:
    data = json.dumps(asked()).encode("utf-8-sig")
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(data))
    (tmp_path / "a.json.xz").write_bytes(lzma.compress(data))
    for name in ("a.json.gz", "a.json.xz"):
        assert len(read_questions(tmp_path / name).items) == 1
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(data)[:-9])
    with pytest.raises(DataError, match="broken gz data"):
        read_questions(tmp_path / "cut.json.gz")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "is empty"),
        ({"data": []}, "holds no questions"),
        ("[1]", "article 1: expected an object; got 1"),
        ('{"rows": []}', "a list named data"),
        ('{"data": 3}', "a list named data"),
        ('{"a": 1}\n{"a": 2}', "can't tell which column holds the question (a)"),
        ("[" * 100_000, "nested too deeply"),
        (asked(question=None), "question q1: the question is missing"),
        (asked(question=7), "question q1: the question is 7, which is not text"),
        (asked(question="\ud800"), "question q1: the question holds half a character"),
        (asked(answers=[{"text": None}]), "question q1: the answer is missing"),
        (asked(answers=[{"text": "x", "answer_start": "far"}]), "offset is 'far', which is not a number"),
        (asked(answers=[{"text": "x", "answer_start": 1.5}]), "offset is 1.5, which is not a whole number"),
        (asked(answers={"text": ["x", "y"], "answer_start": [1]}), "2 answers need as many offsets"),
        ({"data": [{"paragraphs": [{"qas": [{"id": "q", "question": "x"}]}]}]}, "question q: the context is missing"),
        ({"data": [{"paragraphs": 3}]}, "article 1: paragraphs must be a list of objects"),
    ],
)
def test_what_is_no_file_of_questions(tmp_path: Path, value: Any, message: str) -> None:
    path = written(tmp_path, value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(DataError) as caught:
        read_questions(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_what_is_no_table_of_questions(tmp_path: Path) -> None:
    path = written(tmp_path, f"q,context\nWho?,{CONTEXT}\n", "a.csv")
    with pytest.raises(DataError, match=r"which column holds the question \(q, context\); set --columns question=NAME"):
        read_questions(path)
    with pytest.raises(SettingsError, match="has no column 'query'"):
        read_questions(path, columns={"question": "query", "context": "context"})
    with pytest.raises(SettingsError, match="--columns text=q: "):
        read_questions(path, columns={"text": "q"})
    with pytest.raises(SettingsError, match="leave --columns out"):
        read_questions(written(tmp_path, asked()), columns={"question": "q"})
    with pytest.raises(SettingsError, match=r"questions are read from \.json, \.csv"):
        read_questions(written(tmp_path, "x", "a.txt"))
    with pytest.raises(DataError, match="is empty"):
        read_questions(written(tmp_path, "", "a.jsonl"))
    with pytest.raises(DataError, match=r"a\.jsonl:1: its answers are missing"):
        read_questions(
            written(tmp_path, '{"question": "a", "context": "b", "answers": null}', "a.jsonl"), labelled=True
        )


def test_a_question_without_text_is_kept_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (item,) = read_questions(written(tmp_path, asked(question=" ")), labelled=True).items
    assert item.text == " "
    assert "questions without text: 1, kept as they are (q1)" in capsys.readouterr().err


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc{", max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "paragraphs", "qas", "context", "question", "answers", "text"]), inner
        )
    ),
    max_leaves=12,
)


@given(value=JSON)
def test_any_json_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = written(tmp_path_factory.getbasetemp(), json.dumps(value), "any.json")
    try:
        table = read_questions(path)
    except DataError as error:
        assert "any.json" in str(error)
    else:
        assert all(isinstance(item.text, str) and isinstance(item.context, str) for item in table.items)


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "count", "without"),
    [
        ("squad/squad1.1-part-dev.json.gz", 1054, 0),
        ("squad/squad2.0-part-dev.json.gz", 2239, 1224),
        ("zh/cmrc2018/dev.json.gz", 3219, 0),
        ("zh/cmrc2018/trial.json.gz", 1002, 0),
        ("zh/xquad/xquad.zh.json.gz", 1190, 0),
    ],
)
def test_real_files(test_data: Path, name: str, count: int, without: int) -> None:
    items = read_questions(test_data / name, labelled=True).items
    assert (len(items), sum(item.label == () for item in items)) == (count, without)
    placed = [(item, answer) for item in items for answer in item.label or () if answer.start >= 0]
    assert all(item.context.startswith(answer.text, answer.start) for item, answer in placed)
