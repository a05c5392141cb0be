"""Labels of a table: their order, and those that training didn't show."""

from pathlib import Path

import pytest

from bertie import progress
from bertie.data.items import Text
from bertie.data.labels import label_names, tell_unseen
from bertie.errors import DataError


def test_labels() -> None:
    assert label_names([Text("a", None, "10"), Text("b", None, "9")]) == ("9", "10")
    assert label_names([Text("a", None, "yes"), Text("b", None, "no")]) == ("no", "yes")


def test_labels_that_training_did_not_show() -> None:
    rows = [("yes", 3), ("maybe", 4), ("maybe", 5), ("perhaps", 6)]
    with progress.collected() as said:
        tell_unseen(rows, ("no", "yes"), Path("dev.tsv"))
    assert list(said) == [
        "dev.tsv:4: the label 'maybe' (2 times), 'perhaps' (1) is none of the model's, which has no, yes; "
        "each counts as a mistake"
    ]
    with progress.collected() as said:
        tell_unseen(rows[:1], ("no", "yes"), Path("dev.tsv"))
    assert not list(said)
    with pytest.raises(DataError, match=r"the tag 'a' \(2 times\), 'b' \(1\) is none .* has c; no tag of this table"):
        tell_unseen([("a", 1), ("b", 2), ("a", 3)], ("c",), Path("dev.tsv"), what="tag")


def test_a_label_that_is_only_written_otherwise_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for found, known, alike in (("1.0", "1", "1"), ("Bad", "bad", "bad")):
        tell_unseen([(found, 2), ("x", 3)], [known, "x"], tmp_path / "dev.csv")
        assert f"(written '{alike}' in training: write it alike)" in capsys.readouterr().err
