"""Schemes of tags: found over a whole file, read as IOB2, refused with the place of the tag that fits none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.errors import DataError
from bertie.metrics.entities import Entity, entities
from bertie.readers.entities import Tags, iob2, read_scheme

# Two entities that touch, one of them of a single word, and another of several.
MEANT = [("B-P", "I-P", "I-P", "B-P", "O", "B-L", "I-L"), ("O", "B-L")]
FORMS = {
    "IOB2": ["B-P I-P I-P B-P O B-L I-L", "O B-L"],
    "IOB1": ["I-P I-P I-P B-P O I-L I-L", "O I-L"],
    "BIOES": ["B-P I-P E-P S-P O B-L E-L", "O S-L"],
    "BMES": ["B-P M-P E-P S-P O B-L E-L", "O S-L"],
    "BILOU": ["B-P I-P L-P U-P O B-L L-L", "O U-L"],
}


def read(lines: list[str]) -> tuple[str, list[Tags], str]:
    return read_scheme([tuple(line.split()) for line in lines], lambda row, word: f"f:{row}.{word}")


@pytest.mark.parametrize("name", FORMS)
def test_every_scheme_means_the_same(name: str) -> None:
    assert read(FORMS[name]) == (name, MEANT, "")


@given(st.lists(st.lists(st.sampled_from(["O", "B-P", "I-P", "B-L", "I-L"]), min_size=1), min_size=1))
def test_reading_keeps_the_entities_of_any_tags(rows: list[list[str]]) -> None:
    _, tags, _ = read([" ".join(row) for row in rows])
    assert [entities(row) for row in tags] == [entities(row) for row in rows]
    assert read([" ".join(row) for row in tags]) == ("IOB2", tags, "")


def test_types_without_positions() -> None:
    assert read(["PER PER O LOC", "LOC PER"]) == (
        "plain types",
        [("B-PER", "I-PER", "O", "B-LOC"), ("B-LOC", "B-PER")],
        "",
    )


def test_positions_without_types() -> None:
    assert read(["B I O B"]) == ("IOB2", [("B-entity", "I-entity", "O", "B-entity")], "")


def test_labels_of_words_stay() -> None:
    assert read(["DT NN VBZ ."]) == ("labels of words", [("DT", "NN", "VBZ", ".")], "")


def test_nothing_but_o() -> None:
    assert read(["O O", "O"]) == ("IOB2", [("O", "O"), ("O",)], "")


def test_few_odd_tags_are_said() -> None:
    name, tags, remark = read(["B-P I-P O B-L", "O I-L I-L", "B-P O B-P"])
    assert name == "IOB2" and tags[1] == ("O", "B-L", "I-L")
    assert remark.startswith("1 tags break the rules of IOB2, first 'I-L' at f:1.1")
    name, tags, remark = read(["S-P O B-P I-P", "B-L E-L"])
    assert name == "BIOES" and tags[0] == ("B-P", "O", "B-P", "I-P") and "'I-P' at f:0.3" in remark


def test_tags_that_fit_no_scheme() -> None:
    with pytest.raises(DataError, match=r"f:1\.1: tag 'PER' fits no scheme: it has no position, but 'B-PER' has one"):
        read(["B-PER O B-PER", "O PER"])
    with pytest.raises(DataError, match=r"f:1\.0: tag 'U-P' fits no scheme: the file has the positions B, E, I, U"):
        read(["B-P I-P E-P B-P I-P E-P", "U-P"])


def test_writing() -> None:
    assert iob2([Entity("P", 1, 3), Entity("L", 3, 4)], 5) == ("O", "B-P", "I-P", "B-L", "O")
    assert iob2([], 2) == ("O", "O")


@pytest.mark.parametrize("form", ["b-p", "b_p", "B_P", "P-B", "P_B"])
def test_positions_in_another_form_are_read(form: str) -> None:
    mark = "_" if "_" in form else "-"

    def written(tag: str) -> str:
        place, _, kind = tag.replace("-L", "-Loc").partition("-")
        parts = [kind, place] if form.endswith("B") else [place, kind]
        return (mark.join(parts) if kind else tag).lower() if form.islower() else mark.join(parts) if kind else tag

    name, tags, odd = read([" ".join(map(written, row)) for row in MEANT])
    assert name.startswith("IOB2 written as ") and not odd
    assert [[(one.start, one.end) for one in entities(row)] for row in tags] == [
        [(one.start, one.end) for one in entities(row)] for row in MEANT
    ]
    assert {tag[0] for row in tags for tag in row} == set("BIO")


def test_types_that_only_look_like_positions_stay_types() -> None:
    assert read(["S_x E_y O"])[0] == "plain types"
    assert read(["I_d E_mail"])[0] == "labels of words"
