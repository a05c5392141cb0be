"""A header is told by how well its cells fit the columns, whatever the language; in doubt the user is asked."""

from pathlib import Path

import pytest

from bertie.errors import DataError
from bertie.tables._header import has_header
from bertie.tables.table import open_rows

ROWS = [
    ["the service was slow and nobody said sorry", "bad"],
    ["we had a wonderful evening on the terrace", "good"],
    ["the soup came cold and the bread was old", "bad"],
    ["I will come back with all of my friends", "good"],
    ["a bit loud but the food makes up for it", "good"],
]


@pytest.mark.parametrize(
    "first",
    [
        ["utterance", "intent"],
        ["Nachricht", "Stimmung"],
        ["texte_client", "avis"],
        ["отзыв", "оценка"],
        ["评论", "情感"],
        ["comentario_del_cliente", "sentimiento"],
        ["v1", "v2"],
    ],
)
def test_names_in_any_language(first: list[str]) -> None:
    assert has_header(first, ROWS, prior=4.0) is True
    # A class of which there is one example may make it doubtful, but never turns it into a row.
    assert has_header(first, [*ROWS, ["thank you and goodbye to everyone here", "farewell"]], prior=4.0) is not False


@pytest.mark.parametrize("number", range(len(ROWS)))
def test_a_row_is_no_header(number: int) -> None:
    rest = [row for place, row in enumerate(ROWS) if place != number]
    assert has_header(ROWS[number], rest, prior=4.0) is False


def test_a_short_text_is_no_header_and_hides_none() -> None:
    assert has_header(["ok", "good"], ROWS * 4, prior=4.0) is False  # its label is one of the others'
    assert has_header(["message", "mood"], [*ROWS, ["ok", "good"]], prior=4.0) is True


def test_numbers_and_dates_tell_a_header() -> None:
    rows = [[str(number), f"we came on day {number} and saw it", f"{number % 2}"] for number in range(4)]
    assert has_header(["nr", "nachricht", "stand"], rows, prior=4.0) is True
    assert has_header(["4", "it was the last day of all", "1"], rows, prior=4.0) is False


def test_without_labels() -> None:
    rows = [[f"q{number}", f"where is the room number {number} please"] for number in range(3)]
    assert has_header(["id", "comment_text"], rows, prior=4.0) is True
    assert has_header(["q9", "where is the exit of this house"], rows, prior=4.0) is False


def test_what_may_be_either_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "words.csv"
    path.write_text("dog,chien\ncat,chat\nhorse,cheval\n")
    with pytest.raises(DataError, match=r"can't tell whether the first line \('dog', 'chien'\).*text='dog'.*text=0"):
        open_rows(path)
    for columns, names, count in (
        ({"text": "dog"}, ["dog", "chien"], 2),
        ({"text": "0"}, ["0", "1"], 3),
        ({"header": "no"}, ["0", "1"], 3),
        ({"header": "yes"}, ["dog", "chien"], 2),
    ):
        with open_rows(path, columns=columns) as table:
            assert table.columns == names and len(list(table.rows(names))) == count


def test_a_spreadsheet_ends_in_empty_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "".join(",".join([*row, "", ""]) + "\n" for row in [["kind", "says"], *[row[::-1] for row in ROWS]])
    )
    with open_rows(path) as table:
        assert table.columns == ["kind", "says", "", ""]


def test_very_long_cells_are_judged_by_their_beginning() -> None:
    for long in ("x" * 70_000, "9" * 70_000 + "x", "a" * 70_000 + "1" * 70_000, "aB" * 40_000):
        has_header(
            [long, "label"], [[long, "1"]] * 20, prior=1.0
        )  # patterns whose time grows with the square took minutes
