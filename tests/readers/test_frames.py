"""Tables of Python: each library's, by what it can do; rows without text, columns of one name and the like refused."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bertie
from bertie.errors import DataError, SettingsError
from bertie.formats.format import Bundle
from bertie.formats.huggingface import write as write_model
from bertie.inference.predictor import Predictor
from bertie.items.text import Text
from bertie.readers.frames import as_file, as_texts, is_table, write
from bertie.tasks.classification import Classification
from bertie.tokenizer.writing import save_tokenizer

TEXTS = ["the film was good", "the cat sat", "an old house"]
COLUMNS = {"id": [7, 8, 9], "body": TEXTS, "stars": [1.5, 2.0, 3.0]}
ROWS = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*COLUMNS.values(), strict=True)]


class FakeDataset:
    """As `datasets.Dataset`: named columns, and rows when gone through."""

    column_names = tuple(COLUMNS)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(ROWS)

    def __len__(self) -> int:
        return len(ROWS)


class FakePandas:
    """As a pandas frame, which is gone through by its column names."""

    def __init__(self, columns: Any = tuple(COLUMNS), rows: Any = ROWS) -> None:
        self.columns, self._rows = columns, rows

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def to_dict(self, orient: str) -> Any:
        assert orient == "records"
        return self._rows


def pandas_frame() -> Any:
    return pytest.importorskip("pandas").DataFrame(COLUMNS)


def polars_frame() -> Any:
    return pytest.importorskip("polars").DataFrame(COLUMNS)


def arrow_table() -> Any:
    return pytest.importorskip("pyarrow").table(COLUMNS)


def arrow_stream() -> Any:
    table = arrow_table()

    class Stream:
        columns = None

        def __arrow_c_stream__(self, schema: Any = None) -> Any:
            return table.__arrow_c_stream__(schema)

    return Stream()


MAKERS = (
    pandas_frame, polars_frame, arrow_table, arrow_stream, FakeDataset, FakePandas,
    lambda: COLUMNS, lambda: ROWS, lambda: {"body": np.array(TEXTS), "id": np.array([7, 8, 9])},
)  # fmt: skip


@pytest.fixture
def film(build_model: Callable[..., Any], tiny_tokenizer: Any) -> Predictor:
    task = Classification(labels=("bad", "good"), max_length=16)
    model = build_model(task, deviation=0.3)
    return Predictor(Bundle(model, task, tiny_tokenizer, model.encoder.config))


@pytest.mark.parametrize("make", MAKERS)
def test_one_prediction_a_row_by_the_column_of_texts(make: Callable[[], Any], film: Predictor) -> None:
    value = make()
    assert is_table(value)
    expected = film.predict(TEXTS)
    assert film.predict(value) == expected
    assert film.predict(value, columns={"text": "body"}) == expected
    with pytest.raises(SettingsError, match=r"has no column 'bodi'"):
        film.predict(value, columns={"text": "bodi"})


def test_a_table_that_leaves_open_which_column_it_is(film: Predictor) -> None:
    rows = [{"first": f"{text} here", "second": f"{text} there", "third": f"{text} now"} for text in TEXTS]
    with pytest.raises((DataError, SettingsError)) as error:
        film.predict(rows)
    assert "table.jsonl" not in str(error.value) and "--columns" not in str(error.value)
    assert len(film.predict(rows, columns={"text": "second"})) == 3


def test_a_table_is_read_as_the_training_file_was(film: Predictor) -> None:
    rows = [{"first": f"{text} here", "second": text, "third": f"{text} now"} for text in TEXTS]
    plan = {"file": "train.csv", "form": "csv", "columns": {"text": "second"}}
    follows = Predictor(dataclasses.replace(film.bundle, extra={"reading": plan}))
    assert follows.predict(rows) == film.predict(TEXTS)


@pytest.mark.parametrize("missing", [None, float("nan"), "", "  "])
def test_rows_without_text_are_refused(film: Predictor, missing: Any) -> None:
    with pytest.raises(DataError, match="there is no text in row 2 of the table; fill or drop such rows"):
        film.predict([{"text": "the cat"}, {"text": missing}, {"text": "sat"}])


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.array(TEXTS),
        lambda: np.array(TEXTS, dtype=object),
        lambda: pytest.importorskip("pandas").Series(TEXTS),
        lambda: pytest.importorskip("polars").Series(TEXTS),
        lambda: pytest.importorskip("pyarrow").array(TEXTS),
        lambda: pytest.importorskip("pyarrow").chunked_array([TEXTS[:1], TEXTS[1:]]),
        lambda: tuple(TEXTS[:2]) and iter(TEXTS),
    ],
)
def test_a_single_column(make: Callable[[], Any], film: Predictor) -> None:
    assert film.predict(make()) == film.predict(TEXTS)


def test_a_single_column_with_holes(film: Predictor) -> None:
    for holes in (
        np.array(["a", None, float("nan")], dtype=object),
        np.array(["a", "b", None], dtype=object),
        np.array(["a", "b", " "]),
    ):
        with pytest.raises(DataError, match=r"there is no text in rows? .*3 \(empty, None or NaN\)"):
            film.predict(holes)
    with pytest.raises(DataError, match="text 2 is None"):
        film.predict(["the cat", None])
    with pytest.raises(DataError, match=r"texts are one column; got an array of shape \(1, 2\)"):
        film.predict(np.array([["a", "b"]]))
    with pytest.raises(SettingsError, match="columns need a table"):
        film.predict(TEXTS, columns={"text": "body"})
    assert as_texts("the cat") == "the cat"


def test_what_is_no_table(film: Predictor) -> None:
    assert not any(map(is_table, ("a", ["a"], [("a", "b")], {"text": "a"}, {}, [], np.array(["a"]), Path("a"), 3)))
    with pytest.raises(DataError, match="several columns have the same name: a, a"):
        film.predict(FakePandas(["a", "a"]))
    with pytest.raises(DataError, match="the columns differ in length: a 1, b 2"):
        film.predict({"a": ["x"], "b": ["y", "z"]})


def test_cells_of_many_kinds(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(
        {
            "text": ["a", pandas.NA, "c"],
            "label": pandas.Categorical(["x", "y", None]),
            "at": pandas.to_datetime(["2026-01-02", None, "2026-01-03"]),
            "count": pandas.array([1, None, 3], dtype="Int64"),
            "tags": [["p", "q"], np.array([1, 2]), None],
        }
    )
    assert write(frame, tmp_path / "t.jsonl") == 3
    first, second, third = (json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines())
    assert first == {"text": "a", "label": "x", "at": "2026-01-02T00:00:00", "count": 1, "tags": ["p", "q"]}
    assert second == {"text": None, "label": "y", "at": None, "count": None, "tags": [1, 2]}
    assert third["label"] is None and third["tags"] is None


def test_rows_as_tuples_texts_and_items(tmp_path: Path) -> None:
    def rows(value: Any, **how: Any) -> list[dict[str, Any]]:
        write(value, tmp_path / "t.jsonl", **how)
        return [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]

    assert rows([("a", "x"), ("b", 1)]) == [{"text": "a", "label": "x"}, {"text": "b", "label": 1}]
    assert rows([("a", "b"), ("c", 0.5)], pairs=True) == [{"text": "a", "pair": "b"}, {"text": "c", "label": 0.5}]
    assert rows([("a", "b", "x")]) == [{"text": "a", "pair": "b", "label": "x"}]
    assert rows(["a", Text("b", label="x")]) == [{"text": "a"}, {"text": "b", "label": "x"}]
    with pytest.raises(DataError, match="row 2 is int; a row is a dictionary, a text"):
        write(["a", 3], tmp_path / "t.jsonl")
    with pytest.raises(DataError, match="the table has no rows"), as_file([]):
        pass


LEARNED = [(f"the film was {word}", label) for word, label in (("good", "pos"), ("old", "neg"))] * 6


@pytest.mark.parametrize(
    "value",
    [
        LEARNED,
        [{"sentence": text, "label": label} for text, label in LEARNED],
        {"sentence": [text for text, _ in LEARNED], "label": [label for _, label in LEARNED]},
        pytest.param("pandas", id="pandas"),
        pytest.param("polars", id="polars"),
    ],
)
def test_finetune_on_a_table_can_be_repeated_from_its_folder(
    value: Any, tmp_path: Path, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    if isinstance(value, str):
        value = (
            pytest.importorskip(value).DataFrame(LEARNED, schema=None)
            if value == "polars"
            else (pytest.importorskip(value).DataFrame(LEARNED, columns=["text", "label"]))
        )
        if hasattr(value, "to_dicts"):
            value = type(value)([dict(zip(("text", "label"), row, strict=True)) for row in LEARNED])
    monkeypatch.chdir(tmp_path)
    save_tokenizer(tiny_tokenizer, "tokenizer")
    how: Any = {"steps": 2, "batch_size": 4, "threads": 1, "length": 16, "model": {"size": "2/32"}}
    report = bertie.finetune(train=value, dev=value, tokenizer="tokenizer", out="out/run", **how)
    assert set(report.scores) >= {"accuracy"}
    said = capsys.readouterr().err
    assert "train: 12 rows, text from column" in said and "bertie-" not in said
    assert "out/run/train.jsonl: a copy of the table" in said
    settings = (tmp_path / "out/run/config.toml").read_text()
    assert 'train = "out/run/train.jsonl"' in settings and 'dev = "out/run/dev.jsonl"' in settings
    again = bertie.run("out/run", out="out/again")
    assert again.scores == report.scores
    resumed = bertie.finetune(train=value, dev=value, tokenizer="tokenizer", out="out/run", resume=True, **how)
    assert resumed.scores == report.scores


def test_evaluate_on_a_table(
    tmp_path: Path, build_model: Callable[..., Any], tiny_tokenizer: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    task = Classification(labels=("neg", "pos"), max_length=16)
    model = build_model(task, deviation=0.3)
    write_model(Bundle(model, task, tiny_tokenizer, model.encoder.config), tmp_path / "film")
    file = tmp_path / "dev.tsv"
    file.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in LEARNED))
    expected = bertie.evaluate(tmp_path / "film", file)
    for value in (LEARNED, [{"text": text, "label": label} for text, label in LEARNED]):
        found = bertie.evaluate(tmp_path / "film", value)
        assert found.scores == expected.scores and found.values["file"] == "the table"
        assert "bertie-" not in found.title
    with pytest.raises(DataError, match=r"^file, row 2: the label is empty") as error:
        bertie.evaluate(tmp_path / "film", [{"text": "a", "label": "pos"}, {"text": "b", "label": ""}])
    assert "table.jsonl" not in str(error.value)


def test_predict_and_search_on_a_table(tmp_path: Path, build_model: Callable[..., Any], tiny_tokenizer: Any) -> None:
    task = Classification(labels=("neg", "pos"), max_length=16)
    model = build_model(task, deviation=0.3)
    folder = tmp_path / "film"
    write_model(Bundle(model, task, tiny_tokenizer, model.encoder.config), folder)
    expected = bertie.predict(folder, TEXTS).predictions
    (one,) = bertie.predict(folder, TEXTS[0]).predictions
    assert one is not None and one["score"] == pytest.approx(expected[0]["score"], abs=1e-6)
    assert bertie.predict(folder, ROWS).predictions == expected
    found = bertie.predict(folder, file=ROWS)
    assert found.predictions == expected
    assert [(one["line"], one["id"]) for one in found.as_dict()["predictions"]] == [(1, "7"), (2, "8"), (3, "9")]
    assert bertie.predict(folder, np.array(TEXTS)).predictions == expected
    with pytest.raises(SettingsError, match=r"files.*: can't use a value of type Table"):
        bertie.check((pytest.importorskip("pyarrow").table(COLUMNS),))
    nearest = bertie.search(folder, ROWS, ("cat",), top_k=1)
    assert nearest.hits[0][0]["id"] in ("7", "8", "9") and nearest.title.startswith("the table, searched by")
    with pytest.raises(SettingsError, match="unknown key 'fil'"):
        bertie.predict(folder, fil=ROWS)
    with pytest.raises(TypeError, match="multiple values"):
        bertie.predict(folder, ROWS, model="m")


def test_choices_carry_their_id(tmp_path: Path) -> None:
    from bertie.readers.choices import read_choices

    file = tmp_path / "a.jsonl"
    rows = [{"id": number, "context": "the cat", "endings": ["sat", "ran"], "label": 0} for number in (5, 6)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [(item.line, item.id) for item in read_choices(file).items] == [(1, "5"), (2, "6")]


def test_one_row_gives_one_prediction(film: Predictor) -> None:
    assert film.predict({"text": "good film"}) == film.predict(["good film"])[0]
    assert film.predict({"text": "good film", "id": 7}) == film.predict(["good film"])[0]
    with pytest.raises(DataError, match="text 1 is"):
        film.predict({0: "good film"})


def test_a_set_has_no_order(film: Predictor) -> None:
    with pytest.raises(DataError, match="a set has no order"):
        film.predict({"good film", "bad film"})


def test_rows_to_predict_for_may_lack_a_label(film: Predictor) -> None:
    rows = [{"text": "good film", "label": "yes"}, {"text": "bad film"}]
    assert film.predict(rows) == film.predict(["good film", "bad film"])
