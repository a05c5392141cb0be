"""A later file is read as the training file was, or the difference is said; what the model needs must be there."""

import json
from pathlib import Path

import pytest

from bertie.errors import DataError, SettingsError
from bertie.items.text import Text
from bertie.readers.reading import Reading, Table
from bertie.readers.sources import read_sources
from bertie.readers.table import read_table
from bertie.tasks.regression import Regression


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def plan_of(table: Table[Text]) -> Reading:
    """Return the plan as a model brings it: by way of JSON."""
    assert table.reading is not None
    return Reading.from_dict(json.loads(json.dumps(table.reading.as_dict())))


@pytest.fixture
def plan(tmp_path: Path) -> Reading:
    path = write(tmp_path, "train.csv", "mood,body,note\nfine,it was a good day,old\nbad,it was a bad day,new\n")
    return plan_of(read_table(path, columns={"text": "body", "label": "mood"}, labelled=True))


def test_columns_that_the_user_named_once_are_read_again(
    tmp_path: Path, plan: Reading, capsys: pytest.CaptureFixture[str]
) -> None:
    later = write(tmp_path, "later.tsv", "text\tnote\tbody\nx y\tz\ta later day\n")
    assert [item.text for item in read_table(later, like=plan).items] == ["a later day"]
    rows = write(tmp_path, "later.jsonl", '{"note": "a b", "body": "one more day", "mood": "fine"}\n')
    assert read_table(rows, like=plan, labelled=True).items == [Text("one more day", None, "fine", 1)]
    assert "warning" not in capsys.readouterr().err


def test_other_columns_are_read_with_a_warning(
    tmp_path: Path, plan: Reading, capsys: pytest.CaptureFixture[str]
) -> None:
    later = write(tmp_path, "later.csv", "text,label\nit was a day,fine\n")
    assert read_table(later, like=plan, labelled=True).items[0].text == "it was a day"
    said = capsys.readouterr().err
    assert "text is read from column 'text'; the model learned from column 'body'" in said
    assert "label is read from column 'label'; the model learned from column 'mood'" in said


def test_what_is_missing_is_refused(tmp_path: Path, plan: Reading) -> None:
    with pytest.raises(SettingsError, match="has no column 'mood'; it has body, label"):
        read_table(write(tmp_path, "a.csv", "body,label\na day,fine\n"), like=plan, labelled=True)
    with pytest.raises(DataError, match=r"both read like texts|can't tell whether"):
        read_table(
            write(tmp_path, "b.csv", "left,right\na day of it,b day of it\nc day of it,d day of it\n"), like=plan
        )


def test_a_doubtful_header_is_settled_by_the_training_file(tmp_path: Path) -> None:
    rows = "".join(f"the {word} was good and warm\t{number % 2}\n" for number, word in enumerate(["tea", "soup"] * 9))
    bare = plan_of(read_table(write(tmp_path, "bare.tsv", rows), labelled=True))
    assert bare.header is False
    words = "dog\tchien\ncat\tchat\nhorse\tcheval\n"
    with pytest.raises(DataError, match="can't tell whether the first line"):
        read_table(write(tmp_path, "a.tsv", words))
    assert len(read_table(tmp_path / "a.tsv", like=bare).items) == 3
    named = plan_of(read_table(write(tmp_path, "c.tsv", words), columns={"text": "dog", "label": "chien"}))
    assert [item.text for item in read_table(tmp_path / "c.tsv", like=named).items] == ["cat", "horse"]


def test_forms_of_labels_are_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = '{"text": "a", "labels": [0, 1]}\n{"text": "b", "labels": [1, 1]}\n'
    path = write(tmp_path, "a.jsonl", rows)
    plan = plan_of(read_table(path, columns={"text": "text", "label": "labels", "names": "x+y"}, labelled=True))
    assert [item.label for item in read_table(path, like=plan, labelled=True).items] == [("y",), ("x", "y")]
    assert "warning" not in capsys.readouterr().err
    single = write(tmp_path, "b.jsonl", '{"text": "a", "labels": "x"}\n')
    read_table(single, like=plan, labelled=True)
    assert "labels: one a row; the model learned from any number of labels each" in capsys.readouterr().err


def test_pairs_and_single_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = write(tmp_path, "a.csv", "text,pair,label\na b,c d,1\n")
    plan = plan_of(read_table(pairs, labelled=True))
    read_table(write(tmp_path, "b.csv", "text,label\na b,1\n"), like=plan, labelled=True)
    assert (
        "the model learned from pairs (second texts in column 'pair'), but this file has single texts"
        in capsys.readouterr().err
    )


def test_sources_are_followed_too(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "long,short\nthe cat sat,a cat\n")
    plan = plan_of(read_sources(path, columns={"source": "long", "target": "short"}, labelled=True))
    later = write(tmp_path, "b.csv", "nr,long\n1,the dog ran\n")
    assert [item.text for item in read_sources(later, like=plan).items] == ["the dog ran"]


def test_regression_reads_decimal_commas(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "text;score\nGut, aber teuer;1,5\nSchlecht;0,5\nOk;2\n")
    table = Regression.read(path, labelled=True)
    assert [item.label for item in table.items] == ["1.5", "0.5", "2"]
    assert table.reading is not None and table.reading.labels == "numbers with decimal commas"
    with pytest.raises(DataError, match=r"b\.csv:3 has label '2\.5', but others have a decimal comma"):
        Regression.read(write(tmp_path, "b.csv", "text;score\na;1,5\nb;2.5\n"), labelled=True)


def test_rows_without_content_keep_their_place_where_nothing_is_learned(tmp_path: Path) -> None:
    path = write(tmp_path, "a.csv", "text,label\na b,x\n,\n\nc d,y\n\n")
    assert [(item.line, item.text) for item in read_table(path).items] == [(2, "a b"), (3, ""), (5, "c d")]
    table = read_table(path, labelled=True)
    assert [item.line for item in table.items] == [2, 5]
    assert table.reading is not None and table.reading.left_out[0].count == 3


def test_columns_in_another_order_without_header_are_asked(tmp_path: Path) -> None:
    rows = [(("sport", "politics")[n % 2], f"a text about thing {n}") for n in range(20)]
    train, other = tmp_path / "train.csv", tmp_path / "other.csv"
    train.write_text("".join(f"{label},{text}\n" for label, text in rows))
    other.write_text("".join(f"{text},{label}\n" for label, text in rows))
    like = read_table(train, labelled=True).reading
    assert read_table(train, like=like).items[0].text == rows[0][1]
    with pytest.raises(DataError, match=r"learned its text from column 1, but here column 0 .* --columns text=0 or"):
        read_table(other, like=like)
    assert read_table(other, like=like, columns={"text": "0"}).items[0].text == rows[0][1]
