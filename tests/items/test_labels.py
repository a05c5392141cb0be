"""Labels of a table: their order, and those that training didn't show."""

from pathlib import Path

import pytest

from bertie import progress
from bertie.errors import DataError
from bertie.items.labels import alike, is_no_label, tell_alike, tell_unseen
from bertie.items.text import Text, label_names


def test_labels() -> None:
    assert label_names([Text("a", None, "10"), Text("b", None, "9")]) == ("9", "10")
    assert label_names([Text("a", None, "yes"), Text("b", None, "no")]) == ("no", "yes")


def test_labels_that_training_did_not_show() -> None:
    rows = [("yes", 3), ("maybe", 4), ("maybe", 5), ("perhaps", 6)]
    with progress.collected() as said:
        tell_unseen(rows, ("no", "yes"), Path("dev.tsv"))
    assert list(said) == [
        "dev.tsv:4: the label 'maybe' (2 times), 'perhaps' (1) is unknown to the model, which has no, yes; "
        "each counts as a mistake"
    ]
    with progress.collected() as said:
        tell_unseen(rows[:1], ("no", "yes"), Path("dev.tsv"))
    assert not list(said)
    with pytest.raises(
        DataError, match=r"the tag 'a' \(2 times\), 'b' \(1\) is unknown .* has c; it knows no tag of this table"
    ):
        tell_unseen([("a", 1), ("b", 2), ("a", 3)], ("c",), Path("dev.tsv"), what="tag")


def test_a_label_that_is_only_written_otherwise_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for found, known, other in (("1.0", "1", "1"), ("Bad", "bad", "bad")):
        tell_unseen([(found, 2), ("x", 3)], [known, "x"], tmp_path / "dev.csv")
        assert f"(spelled '{other}' in training; use that spelling)" in capsys.readouterr().err


def test_one_label_in_several_forms_is_named() -> None:
    assert alike(["1", "1.0", "0", "Good", "good ", "bad"]) == [("1", "1.0"), ("Good", "good ")]
    with progress.collected() as said:
        tell_alike(["1", "1.0", "0"])
        tell_alike(["0", "1"])
    assert list(said) == [
        "labels that may be the same are learned as different: '1' and '1.0'; spell each label in one way"
    ]


@pytest.mark.parametrize("label", ["", "NaN", "\\N", "<NA>", "#N/A", None])
def test_what_programs_write_for_no_value_is_no_label(label: str | None) -> None:
    assert is_no_label(label)
    assert not is_no_label("None") and not is_no_label(("a",))


def test_labels_that_look_the_same_are_alike() -> None:
    assert alike(["caf\u00e9", "cafe\u0301"]) and alike(["good", "\u200bgood"]) and alike(["a b", "a\u00a0b"])
    assert not alike(["\u200b", "", "a"]) and not alike(["\U0001f600", "\U0001f621"])
