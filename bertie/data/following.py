"""Read a later file as a model's training file was read, and say what differs.

A model carries its reading plan. Columns, header and forms of labels of a later file follow it where they can; a
difference that a user should know of becomes a warning.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from bertie import progress
from bertie.data.columns import reads_like_language
from bertie.data.items import Item, Table
from bertie.data.reading import Reading
from bertie.data.roles import LABEL_OPTIONS, Sample
from bertie.errors import DataError, SettingsError
from bertie.files.dialect import Hints

_GOLD = ("label", "tags", "spans", "answers", "start")


def hints(like: Reading | None) -> Hints | None:
    """Return what decides where a text table could be read in two ways."""
    if like is None or like.header is None:
        return None
    return Hints(like.delimiter, like.header, tuple(name for role, name in like.columns.items() if role != "label"))


def followed(like: Reading | None) -> dict[str, str]:
    """Return the options that hold for later files too: how labels are written."""
    return {} if like is None else {name: value for name, value in like.options.items() if name in LABEL_OPTIONS}


def read_alike(
    read: Callable[[Mapping[str, str] | None], Table[Item]],
    columns: Mapping[str, str] | None,
    like: Reading | None,
) -> Table[Item]:
    """Read a file; where it can be read in several ways, read it as the training file was read.

    Args:
        read: reads the file by what is said of its columns.
        columns: what the user says; then nothing is followed.
        like: how the model's training file was read.

    Raises:
        SettingsError: a column that the file doesn't have.
        DataError: a file that can't be read, by itself or as the training file.
    """
    if columns or like is None or not like.columns:
        return read(columns)
    try:
        with progress.collected() as warnings:
            table = read(columns)
    except DataError as error:
        try:
            return read({**like.columns, **like.options})
        except (DataError, SettingsError):
            raise error from None
    for warning in warnings:
        progress.warn(warning)
    return table


def refuse_other_order(file: Path, sample: Sample, roles: Mapping[str, str]) -> None:
    """Refuse a file without header in which the text stands in another column than in the training file.

    Raises:
        DataError: the column by its number holds no language, and another one does.
    """
    held = {name: [["" if value is None else str(value)] for value in sample.column(name)] for name in sample.names}
    if not sample.rows or reads_like_language(held[roles["text"]], 0):
        return
    if other := next((name for name in sample.names if reads_like_language(held[name], 0)), None):
        raise DataError(
            f"{file}: the model learned its text from column {roles['text']}, but here column {other} reads like the "
            f"text; say which: --columns text={other} or --columns text={roles['text']}"
        )


def warn_of_differences(like: Reading | None, found: Reading | None, *, labelled: bool) -> None:
    """Warn where a file was read differently from the training file."""
    if like is None or found is None or not like.columns or found.form == "txt":
        return
    for said in _differences(like, found, labelled=labelled):
        progress.warn(f"{found.file}: {said}")


def _differences(like: Reading, found: Reading, *, labelled: bool) -> list[str]:
    said = []
    for role in dict.fromkeys((*like.columns, *found.columns)):
        learned, now = like.columns.get(role), found.columns.get(role)
        if role == "id" or (role in _GOLD and not labelled):
            continue
        if learned is not None and now is None and role == "pair":
            said.append(f"the model learned from pairs (second texts from column {learned!r}), and here are none")
        elif learned is None and now is not None and role == "pair":
            said.append(f"the model learned from single texts, and here are second ones from column {now!r}")
        elif learned is not None and now is not None and learned != now:
            said.append(f"{role} is read from column {now!r}; the model learned from column {learned!r}")
    if labelled and "label" in found.columns and like.labels != found.labels:
        said.append(f"labels: {found.labels or 'one a row'}; the model learned from {like.labels or 'one a row'}")
    return said
