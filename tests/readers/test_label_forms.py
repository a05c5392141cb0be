"""Labels in every form are read as what they are, or refused with what to type; never half."""

from typing import Any

import pytest

from bertie.errors import DataError
from bertie.readers.label_forms import decimal_commas, hot_columns, read_labels


def where(number: int) -> str:
    return f"a.csv:{number + 2}"


def labels(*values: Any, **options: str) -> list[Any]:
    return read_labels(values, where, "labels", options).labels


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("['lift', 'noise']", "['noise']"),
        ('["lift", "noise"]', '["noise"]'),
        ("['lift' 'noise']", "['noise']"),  # numpy
        ("('lift', 'noise')", "('noise',)"),
        ("{'lift', 'noise'}", "{'noise'}"),
        ("[lift, noise]", "[noise]"),
        (["lift", "noise"], ["noise"]),
    ],
)
def test_lists_however_they_are_written(first: Any, second: Any) -> None:
    assert labels(first, second, first) == [("lift", "noise"), ("noise",), ("lift", "noise")]


def test_an_empty_list_is_no_label() -> None:
    assert labels("['a', 'b']", "[]") == [("a", "b"), ()]
    assert labels(["a", "b"], [], None) == [("a", "b"), (), ()]


def test_lists_that_cannot_be_read_are_refused() -> None:
    with pytest.raises(DataError, match=r"a\.csv:3: 'labels' holds .*can't be read; write it as JSON"):
        labels("['a', 'b']", "['a', ['b']]")
    with pytest.raises(DataError, match=r"a\.csv:4: 'labels' holds 'c', but other rows hold lists written as text"):
        labels("['a', 'b']", "['a']", "c")
    with pytest.raises(DataError, match="can't have a comma"):
        labels('["a, b", "c"]')


@pytest.mark.parametrize("row", [[0, 1, 1], [False, True, True], [0.0, 1.0, 1.0], "[0, 1, 1]", "0 1 1", "0,1,1"])
def test_vectors_of_0_and_1_need_names(row: Any) -> None:
    with pytest.raises(DataError, match=r"a\.csv:2: 'labels' holds .*3 values of 0 or 1.*label=labels,names=A\+B\+C"):
        labels(row, row)
    assert labels(row, row, names="lift+noise+heat") == [("noise", "heat")] * 2
    with pytest.raises(DataError, match=r"has 3 values in a row, but names=lift\+noise gives 2"):
        labels(row, row, names="lift+noise")


def test_signs_between_labels() -> None:
    assert labels("a|b", "b", "a") == [("a", "b"), ("b",), ("a",)]
    assert labels("a; b", "b; c", "c") == [("a", "b"), ("b", "c"), ("c",)]
    assert labels("TCP|IP", "UDP", "HTTP") == ["TCP|IP", "UDP", "HTTP"]  # nothing else has these parts
    with pytest.raises(DataError, match=r"one label or several\? Set --columns text=NAME,label=labels,separator=bar"):
        labels("sport|ball", "sport|run", "news|world", "news|home")
    assert labels("sport|ball", "sport|run", separator="none") == ["sport|ball", "sport|run"]
    assert labels("sport|ball", "run", separator="bar") == [("sport", "ball"), ("run",)]


def test_a_column_for_each_label() -> None:
    assert hot_columns([(1, "0"), ("1.0", True)], ["lift", "noise"], where).labels == [("lift",), ("lift", "noise")]
    with pytest.raises(DataError, match=r"a\.csv:3: 'noise' holds 2; it must be 0 or 1"):
        hot_columns([(1, 0), (1, 2)], ["lift", "noise"], where)


def test_decimal_commas() -> None:
    found = decimal_commas(["1,5", "2", "-0,25"], where)
    assert found is not None and found.labels == ["1.5", "2", "-0.25"]
    assert decimal_commas(["1.5", "2"], where) is None and decimal_commas(["a", "b"], where) is None
    with pytest.raises(DataError, match=r"a\.csv:3 has label '2\.5', but others have a decimal comma"):
        decimal_commas(["1,5", "2.5"], where)
    with pytest.raises(DataError, match="may separate thousands or decimals"):
        decimal_commas(["1,500", "2,500"], where)


def test_plain_labels_stay_as_they_are() -> None:
    assert labels("1.0", "2.0", " x ") == ["1.0", "2.0", "x"]
    assert labels(True, None, 3) == ["True", "", "3"]
