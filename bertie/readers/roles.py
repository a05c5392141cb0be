"""Find the role of each table column (text, pair, label, id): by name, by the training file, or by content.

A column has one role. If two columns fit equally well, the error lists them and states what to type. `columns.py`
guesses from contents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertie.errors import DataError, SettingsError
from bertie.readers.columns import GuessedColumns, guess, reads_like_language
from bertie.readers.label_forms import switch
from bertie.registry import did_you_mean
from bertie.tables.delimited import OPTIONS

# Typical column names, the most likely first. Names are compared in lower case.
PAIRS = (
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text_a", "text_b"),
    ("text1", "text2"),
    ("#1 string", "#2 string"),
    ("question", "sentence"),
    ("text", "pair"),
    ("anchor", "positive"),
    ("query", "positive"),
)
# In tables of pairs: texts that must be distinguished from the second text.
NEGATIVES = ("negative", *(f"negative_{number}" for number in range(1, 10)))
# Names on one line are equivalent. A line is tried only if no column has a name of an earlier line.
TEXTS = (
    ("text", "sentence"),
    ("content", "review", "body", "comment", "tweet", "message", "utterance"),
    ("question",),
    ("title", "premise", "sentence1"),
)
LABELS = (
    ("label", "labels", "gold_label"),
    (
        "target",
        "class",
        "category",
        "quality",
        "sentiment",
        "is_duplicate",
        "tag",
        "score",
        "similarity",
        "similarity_score",
    ),
)
# Names of columns that identify rows. They are recognised by name only, and are never a text or a label.
IDS = (
    *("id", "idx", "guid", "uid", "uuid", "_id", "row_id", "rowid", "example_id", "sample_id", "item_id", "pairid"),
    *("text_id", "doc_id", "document_id", "sentence_id", "tweet_id", "review_id", "comment_id", "message_id", "index"),
)
ROLES = ("text", "pair", "label", "id", *NEGATIVES)
LABEL_OPTIONS = ("names", "separator")
"""Options that a user can set for labels besides their column."""
_WAYS = "choose with --columns text=NAME,label=NAME, or with numbers from 0"
_LIKE_LENGTH = 1 / 3
_FEWEST_SWITCHES = 2
_SHOWN = 12  # columns that a message lists


@dataclass(frozen=True)
class Sample:
    """The columns of a table, and some of its rows."""

    names: Sequence[str]
    rows: Sequence[Sequence[Any]]
    numbered: bool
    """Whether the columns have numbers as names because there is no header."""

    def column(self, name: str) -> list[Any]:
        """Return the values of a column."""
        index = list(self.names).index(name)
        return [row[index] for row in self.rows]


def split_options(columns: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Separate the roles of columns from the options that say how to read them.

    Returns:
        Roles to columns, and options.

    Raises:
        SettingsError: a role is unknown, or one column has two roles.
    """
    options = {name: value for name, value in columns.items() if name in (*OPTIONS, *LABEL_OPTIONS)}
    roles = {name: value for name, value in columns.items() if name not in options}
    for role, name in roles.items():
        if role not in ROLES:
            raise SettingsError(
                f"--columns {role}={name}: a column is text, pair, label, id or negative; "
                f"{did_you_mean(role, (*ROLES, *OPTIONS, *LABEL_OPTIONS))}"
            )
    check_one_role(roles)
    return roles, options


def check_one_role(roles: Mapping[str, str]) -> None:
    """Check that the user gives each column at most one role.

    Raises:
        SettingsError: a column has two roles.
    """
    for role, name in roles.items():
        if other := next((one for one, column in roles.items() if column == name and one != role), None):
            raise SettingsError(
                f"--columns {role}={name},{other}={name}: one column has one role; choose another for one of them"
            )


def named_roles(file: Any, names: Sequence[str], roles: Mapping[str, str]) -> dict[str, str]:
    """Look up the columns that the user named; several 0/1 columns of labels are joined by "+".

    Raises:
        SettingsError: a column doesn't exist, or the text column is not named.
    """
    for role, name in roles.items():
        for part in parts_of(role, name, names):
            if part not in names:
                raise no_column(file, part, names)
    if "text" not in roles:
        raise SettingsError("--columns must name the text column: text=NAME")
    refuse_doubles(file, names, roles)
    return dict(roles)


def parts_of(role: str, name: str, names: Sequence[str]) -> list[str]:
    """Return the columns of a role: one, or for labels several joined by "+"."""
    return [name] if role != "label" or name in names else [part.strip() for part in name.split("+")]


def refuse_doubles(file: Any, names: Sequence[str], roles: Mapping[str, str]) -> None:
    """Check that no chosen column name occurs twice in the table.

    Raises:
        DataError: two columns have the same name.
    """
    if double := next((name for name in roles.values() if list(names).count(name) > 1), None):
        raise DataError(
            f"{file}: several columns are named {double!r}; rename them, or choose by number: --columns text=0,label=2"
        )


def no_column(file: Any, name: str, names: Sequence[str]) -> SettingsError:
    """Build the error for a column that doesn't exist."""
    return SettingsError(f"{file} has no column {name!r}; it has {', '.join(names)}; {did_you_mean(name, names)}")


def find_roles(file: Any, sample: Sample, *, labelled: bool) -> dict[str, str]:
    """Find text, pair, label and id by the names of the columns, or by their contents.

    Args:
        file: file name for messages.
        sample: first rows of the table.
        labelled: whether a label is needed.

    Raises:
        DataError: no column fits, or several fit equally well.
    """
    lower = {name.lower(): name for name in reversed(sample.names)}
    roles: dict[str, str] = {}
    for first, second in PAIRS:
        if first in lower and second in lower:
            roles = {"text": lower[first], "pair": lower[second]}
            roles |= {name: lower[name] for name in NEGATIVES if name in lower}
            break
    if "text" not in roles and (text := _text_by_name(file, sample, lower, labelled=labelled)):
        roles["text"] = text
    label = _label_by_name(file, sample, lower, roles, labelled=labelled)
    id_column = next(
        (lower[name] for name in IDS if name in lower and lower[name] not in (*roles.values(), label)), None
    )
    if "text" not in roles or (labelled and label is None):
        taken = [name for name in (label, id_column) if name is not None]
        roles = _by_content(file, sample, roles, taken=taken, label=label is None, labelled=labelled)
    if label is not None:
        roles["label"] = label
    if id_column is not None:
        roles["id"] = id_column
    refuse_doubles(file, sample.names, roles)
    return roles


def _text_by_name(file: Any, sample: Sample, lower: Mapping[str, str], *, labelled: bool) -> str | None:
    """Find the text by its name; refuse if two equivalent names have texts of similar length."""
    for line in TEXTS:
        known = [lower[name] for name in line if name in lower]
        if not known:
            continue
        lengths = {name: sum(len(str(value or "")) for value in sample.column(name)) for name in known}
        similar = [name for name in known if lengths[name] > _LIKE_LENGTH * max(lengths.values())]
        if len(similar) > 1:
            raise DataError(
                f"{file}: the columns {' and '.join(map(repr, similar))} may both hold the text; choose one: --columns "
                f"text={similar[0]}"
            )
        text = max(known, key=lengths.__getitem__)
        if text.lower() == "title" and (longer := _longer_texts(sample, text)):
            raise DataError(
                f"{file}: the columns {', '.join(map(repr, [text, *longer]))} may all hold the text; choose one: "
                f"--columns text={longer[0]}{_label_argument(lower) if labelled else ''}"
            )
        return text
    return None


def _longer_texts(sample: Sample, text: str) -> list[str]:
    """List the columns that read like language and are longer than the title column."""
    columns = {name: [[_as_text(value)] for value in sample.column(name)] for name in sample.names}
    size = {name: sum(len(one) for (one,) in rows) for name, rows in columns.items()}
    return [
        name
        for name, rows in columns.items()
        if size[name] > size[text] and len({one for (one,) in rows}) > len(rows) / 2 and reads_like_language(rows, 0)
    ]


def _label_argument(lower: Mapping[str, str]) -> str:
    """Return the label part of a --columns argument, which must then name the label too."""
    known = [lower[name] for line in LABELS for name in line if name in lower]
    return f",label={known[0]}" if known else ",label=NAME"


def _label_by_name(
    file: Any, sample: Sample, lower: Mapping[str, str], roles: Mapping[str, str], *, labelled: bool
) -> str | None:
    """Find the label by its name; if one is needed, refuse when several columns may hold it."""
    used, text = set(roles.values()), roles.get("text", "NAME")
    for line in LABELS:
        known = [lower[name] for name in line if name in lower and lower[name] not in used]
        if not known:
            continue
        if labelled and len(known) > 1:
            raise DataError(
                f"{file}: the columns {' and '.join(map(repr, known))} may both hold the label; choose one: --columns "
                f"text={text},label={known[0]}"
            )
        switches = [name for name in _switches(sample) if name not in used]
        if labelled and known[0] in switches and len(switches) > _FEWEST_SWITCHES:
            raise DataError(
                f"{file}: the columns {', '.join(switches)} all hold 0 and 1; set --columns "
                f"text={text},label={'+'.join(switches)} if each is a label, or label={known[0]} if it is the only one"
            )
        return known[0] if labelled or len(known) == 1 else None
    return None


def _switches(sample: Sample) -> list[str]:
    """List the columns that hold only 0 and 1."""
    switches = []
    for name in sample.names:
        values = {switch(value) for value in sample.column(name)}
        if values and None not in values and name.lower() not in IDS and len(sample.rows) > 1:
            switches.append(name)
    return switches


def _by_content(
    file: Any, sample: Sample, roles: Mapping[str, str], *, taken: Sequence[str], label: bool, labelled: bool
) -> dict[str, str]:
    """Find by content the columns without a recognised name; find labels that aren't needed only if unambiguous."""
    known = dict(roles)
    free = [name for name in dict.fromkeys(sample.names) if name not in (*taken, *known.values())]
    plain = [name for name in free if not any(isinstance(value, list | dict) for value in sample.column(name))]
    text_free = plain if "text" not in known else [known["text"], *plain]
    columns = {name: [_as_text(value) for value in sample.column(name)] for name in text_free}
    rows = [(number, list(values)) for number, values in enumerate(zip(*columns.values(), strict=True), 1)]
    guessed: GuessedColumns = guess(rows, text_free, lone="text" not in known)
    if "text" not in known:
        if guessed.text_doubt:
            raise DataError(f"{file}: {guessed.text_doubt}; {_WAYS}")
        if "text" not in guessed.mapping:
            shown = [f"{name} (lists or objects)" if name in free else name for name in sample.names[:_SHOWN]]
            more = len(sample.names) - len(shown)
            listed = ", ".join([*shown, *([f"and {more} more"] if more else [])])
            raise DataError(f"{file}: can't tell which column holds the text ({listed}); set --columns text=NAME")
        known["text"] = text_free[guessed.mapping["text"]]
        if "pair" in guessed.mapping:
            pair = text_free[guessed.mapping["pair"]]
            if not sample.numbered:
                raise DataError(
                    f"{file}: the columns {known['text']!r} and {pair!r} both read like texts; set --columns "
                    f"text={known['text']},pair={pair} for pairs, or text=NAME with the right one of them"
                )
            known["pair"] = pair
    if label and labelled:
        known |= _label_by_content(file, sample, known, guessed, text_free)
    elif label and "label" in guessed.mapping and text_free[guessed.mapping["label"]] not in known.values():
        known["label"] = text_free[guessed.mapping["label"]]
    return known


def _label_by_content(
    file: Any, sample: Sample, known: Mapping[str, str], guessed: GuessedColumns, names: Sequence[str]
) -> dict[str, str]:
    """Find the label by content among the columns that have no role yet."""
    switches = [name for name in _switches(sample) if name in names and name not in known.values()]
    if len(switches) >= _FEWEST_SWITCHES:
        raise DataError(
            f"{file}: the columns {', '.join(switches)} all hold 0 and 1; set --columns "
            f"text={known['text']},label={'+'.join(switches)} if each is a label, or label=NAME with the only one"
        )
    if guessed.label_doubt:
        raise DataError(f"{file}: {guessed.label_doubt}; {_WAYS}")
    if "label" in guessed.mapping and names[guessed.mapping["label"]] not in known.values():
        return {"label": names[guessed.mapping["label"]]}
    rest = [name for name in names if name not in known.values() and name.lower() not in IDS]
    lists = [
        name
        for name in sample.names
        if name not in known.values() and any(isinstance(value, list) for value in sample.column(name))
    ]
    if len(rest) + len(lists) == 1:
        (only,) = rest + lists
        values = sample.column(only)
        filled = [value for value in values if value not in ("", None)]
        if lists or (len(set(map(str, filled))) < len(filled) == len(values)) or _are_measures(filled):
            return {"label": only}
    return {}


def _are_measures(values: Sequence[Any]) -> bool:
    """Check whether values are measurements such as 3.75: numbers, not all of them whole."""
    texts = [str(value).replace(",", ".") for value in values]
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return False
    return bool(numbers) and any("." in text for text in texts) and max(map(abs, numbers)) < 1e30


def _as_text(value: Any) -> str:
    return "" if value is None else str(value)
