"""Labels of a table: their order, and those that training didn't show."""

from pathlib import Path

import pytest

from bertie.data.items import Text
from bertie.data.labels import label_names, refuse_unseen
from bertie.errors import DataError


def test_labels() -> None:
    assert label_names([Text("a", None, "10"), Text("b", None, "9")]) == ("9", "10")
    assert label_names([Text("a", None, "yes"), Text("b", None, "no")]) == ("no", "yes")
    with pytest.raises(DataError, match=r"dev\.tsv:4: label 'maybe' \(2 rows\)"):
        items = [Text("a", None, "yes", 3), Text("b", None, "maybe", 4), Text("c", None, "maybe", 5)]
        refuse_unseen(items, ("no", "yes"), Path("dev.tsv"))
    with pytest.raises(DataError, match=r"label 'a' \(2 rows\), 'b' \(1\) does not occur.*which has c;"):
        refuse_unseen([Text("", None, name) for name in "abca"], ("c",), Path("dev.tsv"))
