"""Which column of a table has which role (text, pair, label, id), by name, by what a model learned, or by content.

One column has one role. Where two columns serve equally well nothing is guessed: the error lists them and says what to
type. What the contents say is `columns.py`'s affair.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertie.data.columns import Guess, guess, reads_like_language
from bertie.data.label_forms import switch
from bertie.errors import DataError, SettingsError
from bertie.files.delimited import OPTIONS
from bertie.registry import did_you_mean

# Names that say what a column holds, the likeliest first; compared in lower case.
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
# Beside a pair: texts that its second one must be told from.
NEGATIVES = ("negative", *(f"negative_{number}" for number in range(1, 10)))
# Names of one line mean the same; those of a later line are looked for where there is none of an earlier.
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
# What tells rows apart; looked for by name only, and never a text or a label.
IDS = (
    *("id", "idx", "guid", "uid", "uuid", "_id", "row_id", "rowid", "example_id", "sample_id", "item_id", "pairid"),
    *("text_id", "doc_id", "document_id", "sentence_id", "tweet_id", "review_id", "comment_id", "message_id", "index"),
)
ROLES = ("text", "pair", "label", "id", *NEGATIVES)
LABEL_OPTIONS = ("names", "separator")
"""What a user can say about labels beside their column."""
_WAYS = "say which by --columns text=NAME,label=NAME, or by number from 0"
_LIKE_LENGTH = 1 / 3
_FEWEST_SWITCHES = 2
_SHOWN = 12  # columns that a message lists


@dataclass(frozen=True)
class Sample:
    """The columns of a table and some of its rows."""

    names: Sequence[str]
    rows: Sequence[Sequence[Any]]
    numbered: bool
    """Whether the names are numbers, in place of a header."""

    def column(self, name: str) -> list[Any]:
        """Return what a column holds."""
        place = list(self.names).index(name)
        return [row[place] for row in self.rows]


def split_options(columns: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """Separate what columns hold from how they are read.

    Returns:
        Roles to columns, and options.

    Raises:
        SettingsError: a role that isn't known, or one column with two roles.
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
    """Refuse a column that a user gives two roles.

    Raises:
        SettingsError: it has two.
    """
    for role, name in roles.items():
        if other := next((one for one, column in roles.items() if column == name and one != role), None):
            raise SettingsError(
                f"--columns {role}={name},{other}={name}: one column has one role; name another for one"
            )


def named_roles(file: Any, names: Sequence[str], roles: Mapping[str, str]) -> dict[str, str]:
    """Look up the columns that the user named; several 0/1 columns of labels are joined by "+".

    Raises:
        SettingsError: a column that isn't there, or no text.
    """
    for role, name in roles.items():
        for part in parts_of(role, name, names):
            if part not in names:
                raise no_column(file, part, names)
    if "text" not in roles:
        raise SettingsError("--columns must say where the text is: text=NAME")
    refuse_doubles(file, names, roles)
    return dict(roles)


def parts_of(role: str, name: str, names: Sequence[str]) -> list[str]:
    """Return the columns of a role: one, or several of labels, joined by "+"."""
    return [name] if role != "label" or name in names else [part.strip() for part in name.split("+")]


def refuse_doubles(file: Any, names: Sequence[str], roles: Mapping[str, str]) -> None:
    """Refuse a chosen name that two columns have.

    Raises:
        DataError: which one.
    """
    if double := next((name for name in roles.values() if list(names).count(name) > 1), None):
        raise DataError(f"{file}: several columns are named {double!r}; rename them, or say --columns text=0,label=2")


def no_column(file: Any, name: str, names: Sequence[str]) -> SettingsError:
    """Say that a column isn't there."""
    return SettingsError(f"{file} has no column {name!r}; it has {', '.join(names)}; {did_you_mean(name, names)}")


def find_roles(file: Any, sample: Sample, *, labelled: bool) -> dict[str, str]:
    """Find text, pair, label and id by the names of the columns, or by what is in them.

    Args:
        file: for messages.
        sample: the table's first rows.
        labelled: whether a label is needed.

    Raises:
        DataError: no column, or several of similar merit.
    """
    lower = {name.lower(): name for name in reversed(sample.names)}
    found: dict[str, str] = {}
    for first, second in PAIRS:
        if first in lower and second in lower:
            found = {"text": lower[first], "pair": lower[second]}
            found |= {name: lower[name] for name in NEGATIVES if name in lower}
            break
    if "text" not in found and (text := _text_by_name(file, sample, lower, labelled=labelled)):
        found["text"] = text
    label = _label_by_name(file, sample, lower, found, labelled=labelled)
    own = next((lower[name] for name in IDS if name in lower and lower[name] not in (*found.values(), label)), None)
    if "text" not in found or (labelled and label is None):
        taken = [name for name in (label, own) if name is not None]
        found = _by_content(file, sample, found, taken=taken, label=label is None, labelled=labelled)
    if label is not None:
        found["label"] = label
    if own is not None:
        found["id"] = own
    refuse_doubles(file, sample.names, found)
    return found


def _text_by_name(file: Any, sample: Sample, lower: Mapping[str, str], *, labelled: bool) -> str | None:
    """Find the text by its name; refuse where two names that mean the same stand over texts of similar length."""
    for line in TEXTS:
        known = [lower[name] for name in line if name in lower]
        if not known:
            continue
        lengths = {name: sum(len(str(value or "")) for value in sample.column(name)) for name in known}
        alike = [name for name in known if lengths[name] > _LIKE_LENGTH * max(lengths.values())]
        if len(alike) > 1:
            raise DataError(
                f"{file}: the columns {' and '.join(map(repr, alike))} may both hold the text; say which: --columns "
                f"text={alike[0]}"
            )
        text = max(known, key=lengths.__getitem__)
        if text.lower() == "title" and (longer := _longer_texts(sample, text)):
            raise DataError(
                f"{file}: the columns {', '.join(map(repr, [text, *longer]))} may all hold the text; say which: "
                f"--columns text={longer[0]}{_label_said(lower) if labelled else ''}"
            )
        return text
    return None


def _longer_texts(sample: Sample, text: str) -> list[str]:
    """List the columns that read like language and hold more of it than a title does."""
    columns = {name: [[_as_text(value)] for value in sample.column(name)] for name in sample.names}
    size = {name: sum(len(one) for (one,) in rows) for name, rows in columns.items()}
    return [
        name
        for name, rows in columns.items()
        if size[name] > size[text] and len({one for (one,) in rows}) > len(rows) / 2 and reads_like_language(rows, 0)
    ]


def _label_said(lower: Mapping[str, str]) -> str:
    """Return the rest of what to type: --columns must name the label too."""
    known = [lower[name] for line in LABELS for name in line if name in lower]
    return f",label={known[0]}" if known else ",label=NAME"


def _label_by_name(
    file: Any, sample: Sample, lower: Mapping[str, str], found: Mapping[str, str], *, labelled: bool
) -> str | None:
    """Find the label by its name; refuse where several may hold it, if one is needed."""
    used, text = set(found.values()), found.get("text", "NAME")
    for line in LABELS:
        known = [lower[name] for name in line if name in lower and lower[name] not in used]
        if not known:
            continue
        if labelled and len(known) > 1:
            raise DataError(
                f"{file}: the columns {' and '.join(map(repr, known))} may both hold the label; say which: --columns "
                f"text={text},label={known[0]}"
            )
        switches = [name for name in _switches(sample) if name not in used]
        if labelled and known[0] in switches and len(switches) > _FEWEST_SWITCHES:
            raise DataError(
                f"{file}: the columns {', '.join(switches)} all hold 0 and 1; say --columns "
                f"text={text},label={'+'.join(switches)} if each is a label of its own, label={known[0]} if it is the "
                "only one"
            )
        return known[0] if labelled or len(known) == 1 else None
    return None


def _switches(sample: Sample) -> list[str]:
    """List the columns that hold 0 and 1 only."""
    found = []
    for name in sample.names:
        values = {switch(value) for value in sample.column(name)}
        if values and None not in values and name.lower() not in IDS and len(sample.rows) > 1:
            found.append(name)
    return found


def _by_content(
    file: Any, sample: Sample, found: Mapping[str, str], *, taken: Sequence[str], label: bool, labelled: bool
) -> dict[str, str]:
    """Find by content the columns that names leave open; labels that aren't needed only where that is sure."""
    known = dict(found)
    free = [name for name in dict.fromkeys(sample.names) if name not in (*taken, *known.values())]
    plain = [name for name in free if not any(isinstance(value, list | dict) for value in sample.column(name))]
    text_free = plain if "text" not in known else [known["text"], *plain]
    columns = {name: [_as_text(value) for value in sample.column(name)] for name in text_free}
    rows = [(number, list(values)) for number, values in enumerate(zip(*columns.values(), strict=True), 1)]
    guessed: Guess = guess(rows, text_free, lone="text" not in known)
    if "text" not in known:
        if guessed.text_doubt:
            raise DataError(f"{file}: {guessed.text_doubt}; {_WAYS}")
        if "text" not in guessed.mapping:
            shown = [f"{name} (lists or objects)" if name in free else name for name in sample.names[:_SHOWN]]
            more = len(sample.names) - len(shown)
            listed = ", ".join([*shown, *([f"and {more} more"] if more else [])])
            raise DataError(f"{file}: can't tell which column holds the text ({listed}); say --columns text=NAME")
        known["text"] = text_free[guessed.mapping["text"]]
        if "pair" in guessed.mapping:
            pair = text_free[guessed.mapping["pair"]]
            if not sample.numbered:
                raise DataError(
                    f"{file}: the columns {known['text']!r} and {pair!r} both read like texts; say --columns "
                    f"text={known['text']},pair={pair} for pairs, or text= and the one that is meant"
                )
            known["pair"] = pair
    if label and labelled:
        known |= _label_by_content(file, sample, known, guessed, text_free)
    elif label and "label" in guessed.mapping and text_free[guessed.mapping["label"]] not in known.values():
        known["label"] = text_free[guessed.mapping["label"]]
    return known


def _label_by_content(
    file: Any, sample: Sample, known: Mapping[str, str], guessed: Guess, names: Sequence[str]
) -> dict[str, str]:
    """Find the label by what is in the columns that have no role yet."""
    switches = [name for name in _switches(sample) if name in names and name not in known.values()]
    if len(switches) >= _FEWEST_SWITCHES:
        raise DataError(
            f"{file}: the columns {', '.join(switches)} all hold 0 and 1; say --columns "
            f"text={known['text']},label={'+'.join(switches)} if each is a label of its own, or which is the only one"
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
    """Tell whether values are numbers that count nothing, such as 3.75."""
    texts = [str(value).replace(",", ".") for value in values]
    try:
        numbers = [float(text) for text in texts]
    except ValueError:
        return False
    return bool(numbers) and any("." in text for text in texts) and max(map(abs, numbers)) < 1e30


def _as_text(value: Any) -> str:
    return "" if value is None else str(value)
