"""Read a later file as the model's training file was read, and warn about differences.

A model stores its reading plan. A later file takes over its columns, header and forms of labels where it can. A
difference that a user should know becomes a warning.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from bertie import progress
from bertie.errors import DataError, SettingsError
from bertie.readers.columns import reads_like_language
from bertie.readers.reading import Item, Reading, Table
from bertie.readers.roles import LABEL_OPTIONS, Sample
from bertie.tables.table import Hints

_GOLD = ("label", "tags", "spans", "answers", "start")


def hints(like: Reading | None) -> Hints | None:
    """Return the hints that decide how to read an ambiguous text table."""
    if like is None or like.header is None:
        return None
    return Hints(like.delimiter, like.header, tuple(name for role, name in like.columns.items() if role != "label"))


def followed(like: Reading | None) -> dict[str, str]:
    """Return the options of the training file that also apply to later files: how labels are written."""
    return {} if like is None else {name: value for name, value in like.options.items() if name in LABEL_OPTIONS}


def read_alike(
    read: Callable[[Mapping[str, str] | None], Table[Item]],
    columns: Mapping[str, str] | None,
    like: Reading | None,
) -> Table[Item]:
    """Read a file; if that fails, such as by ambiguous columns, read it with the columns of the training file.

    Args:
        read: function that reads the file, given the columns.
        columns: columns set by the user; the training file is then ignored.
        like: how the model's training file was read.

    Raises:
        SettingsError: the file doesn't have a named column.
        DataError: the file can't be read, either by itself or like the training file.
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
    """Check that the text of a file without header is in the same column as in the training file.

    Raises:
        DataError: the column of that number holds no text, but another one does.
    """
    values = {name: [["" if value is None else str(value)] for value in sample.column(name)] for name in sample.names}
    if not sample.rows or reads_like_language(values[roles["text"]], 0):
        return
    if other := next((name for name in sample.names if reads_like_language(values[name], 0)), None):
        raise DataError(
            f"{file}: the model learned its text from column {roles['text']}, but here column {other} reads like "
            f"text; name the right one: --columns text={other} or --columns text={roles['text']}"
        )


def warn_of_differences(like: Reading | None, reading: Reading | None, *, labelled: bool) -> None:
    """Warn about each way in which a file was read differently from the training file."""
    if like is None or reading is None or not like.columns or reading.form == "txt":
        return
    for difference in _differences(like, reading, labelled=labelled):
        progress.warn(f"{reading.file}: {difference}")


def _differences(like: Reading, reading: Reading, *, labelled: bool) -> list[str]:
    differences = []
    for role in dict.fromkeys((*like.columns, *reading.columns)):
        learned, now = like.columns.get(role), reading.columns.get(role)
        if role == "id" or (role in _GOLD and not labelled):
            continue
        if learned is not None and now is None and role == "pair":
            differences.append(
                f"the model learned from pairs (second texts in column {learned!r}), but this file has single texts"
            )
        elif learned is None and now is not None and role == "pair":
            differences.append(
                f"the model learned from single texts, but this file has pairs (second texts in column {now!r})"
            )
        elif learned is not None and now is not None and learned != now:
            differences.append(f"{role} is read from column {now!r}; the model learned from column {learned!r}")
    if labelled and "label" in reading.columns and like.labels != reading.labels:
        differences.append(
            f"labels: {reading.labels or 'one a row'}; the model learned from {like.labels or 'one a row'}"
        )
    return differences
