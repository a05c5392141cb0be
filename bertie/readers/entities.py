"""Detect the tagging scheme of entities, and read it as IOB2.

This module reads no files (`words.py`) and computes no scores (`metrics/entities.py`, whose rules define where an
entity begins).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import cache
from typing import Literal, NamedTuple

from bertie.errors import DataError
from bertie.metrics.entities import OUTSIDE as OUTSIDE
from bertie.metrics.entities import Entity, entities

Tags = tuple[str, ...]
Where = Callable[[int, int], str]
"""(sentence, word) to "file:line"."""

UNTYPED = "entity"
"""Type of entities whose tags are bare B and I."""
_POSITIONS = "BIMESLU"
Scheme = Literal["positions", "bare", "types", "words"]
"""How a model's tags mark entities: B-PER; B; PER; or not at all, as labels of single words."""
_POSITIONED = re.compile(r"[BIMESLU]-.+")
_OTHER_FORMS = (
    re.compile(r"(?P<position>[BIMESLU])[-_](?P<type>.+)", re.IGNORECASE),
    re.compile(r"(?P<type>.+)[-_](?P<position>[BIMESLU])"),
)
"""Positions in the notation of some tools: b-per, B_PER; PER-B."""


class _Scheme(NamedTuple):
    """The positions that a scheme writes for the words of an entity."""

    name: str
    begin: str
    inside: str
    end: str
    single: str


_IOB2 = _Scheme("IOB2", "B", "I", "I", "B")
_IOB1 = _Scheme("IOB1", "I", "I", "I", "I")  # but B at the start of an entity that follows one of its type
_SCHEMES = (
    _IOB2,
    _IOB1,
    _Scheme("BIOES", "B", "I", "E", "S"),
    _Scheme("BMES", "B", "M", "E", "S"),
    _Scheme("BILOU", "B", "I", "L", "U"),
)


def is_positioned(tag: str) -> bool:
    """Check whether a tag is a position and a type, such as B-PER."""
    return _POSITIONED.fullmatch(tag) is not None


@cache
def scheme_of(labels: Tags) -> Scheme:
    """Return how a model's tags mark entities.

    If most tags have a position, the others are outside of entities, such as X and [CLS] of old programs. If no tag has
    one, the tags are types of entities when O is among them, as in transformers and in tables.
    """
    inside = [label for label in labels if label != OUTSIDE]
    with_position = sum(map(is_positioned, inside))
    if inside and (with_position == len(inside) or (OUTSIDE in labels and 2 * with_position >= len(inside) > 0)):
        return "positions"
    if "B" in inside and {*inside} <= {*_POSITIONS}:
        return "bare"
    return "types" if inside and OUTSIDE in labels and not with_position else "words"


def positioned(tags: Sequence[str], scheme: Scheme) -> Tags:
    """Write a model's tags with positions and types; adjacent words of one type without position are one entity."""
    if scheme == "types":
        return tuple(tag if tag == OUTSIDE or is_positioned(tag) else f"I-{tag}" for tag in tags)
    if scheme == "bare":
        return tuple(f"{tag}-{UNTYPED}" if tag in _POSITIONS else tag for tag in tags)
    return tuple(tags)


def own_tag(tag: str, labels: Sequence[str]) -> str | None:
    """Return the model's tag for the tag of a table: B-PER may be I-PER or PER in the model; None if it has none."""
    first, _, kind = tag.partition("-")
    if tag in labels or not is_positioned(tag):
        return tag if tag in labels else None
    positions = "BISU" if first == "B" else "IMELBSU"
    names = [*(f"{position}-{kind}" for position in positions), kind, *(positions if kind == UNTYPED else ())]
    return next((name for name in names if name in labels), None)


def iob2(spans: Sequence[Entity], num_words: int) -> Tags:
    """Write entities that don't overlap as one tag for each word.

    >>> iob2([Entity("PER", 1, 3)], 4)
    ('O', 'B-PER', 'I-PER', 'O')
    """
    return _written(spans, num_words, _IOB2)


def _written(spans: Sequence[Entity], num_words: int, scheme: _Scheme) -> Tags:
    tags = [OUTSIDE] * num_words
    before = Entity("", 0, 0)
    for entity in spans:
        label, start, end = entity
        touches = scheme is _IOB1 and before.label == label and before.end == start
        tags[start:end] = [f"{scheme.inside}-{label}"] * (end - start)
        tags[end - 1] = f"{scheme.end}-{label}"
        tags[start] = f"{'B' if touches else scheme.single if end - start == 1 else scheme.begin}-{label}"
        before = entity
    return tuple(tags)


def read_scheme(sentences: Sequence[Tags], where: Where) -> tuple[str, list[Tags], str]:
    """Detect the scheme of a file's tags and read them as IOB2.

    The schemes of entities are IOB1, IOB2, BIOES, BMES and BILOU, also with bare positions (B I O), or with all tags
    written as b-per, B_PER or PER-B. Tags without positions are types of entities if O is among them; adjacent words
    of one type are then one entity. Otherwise they are labels of single words, such as parts of speech, and unchanged.

    Args:
        sentences: tags of all sentences in the file.
        where: function from (sentence, word) to "file:line", for messages.

    Returns:
        The name of the scheme, the tags, and a remark on tags that the scheme doesn't allow ("" if there are none).

    Raises:
        DataError: the tags fit no scheme.
    """
    counts = Counter(tag for tags in sentences for tag in tags)
    if forms := _usual_forms(counts.keys()):
        name, read, remark = read_scheme([tuple(forms[tag] for tag in tags) for tags in sentences], where)
        return f"{name} written as {min(forms, key=lambda tag: (forms[tag] == OUTSIDE, tag))!r}", read, remark
    inside = counts.keys() - {OUTSIDE}
    positioned = {tag for tag in inside if is_positioned(tag)}
    if positioned and positioned != inside:
        unusual = min(inside - positioned, key=lambda tag: (counts[tag], tag))
        usual = max(positioned, key=lambda tag: counts[tag])
        raise DataError(
            f"{_first(unusual, sentences, where)}: tag {unusual!r} fits no scheme: it has no position, but {usual!r} "
            "has one"
        )
    if not positioned and "B" in inside and inside <= set("BIMESLU"):
        sentences = [tuple(tag if tag == OUTSIDE else f"{tag}-{UNTYPED}" for tag in tags) for tags in sentences]
        positioned = inside
    if inside and not positioned:
        if OUTSIDE not in counts:
            return "labels of words", list(sentences), ""
        runs = [tuple(tag if tag == OUTSIDE else f"I-{tag}" for tag in tags) for tags in sentences]
        return "plain types", [iob2(entities(tags), len(tags)) for tags in runs], ""
    return _best_scheme(sentences, {tag[0] for tag in positioned}, where)


def _usual_forms(tags: Collection[str]) -> dict[str, str]:
    """Return B-PER for each b-per, B_PER or PER-B of a file; {} if tags have the usual form or are types."""
    inside = [tag for tag in tags if tag.upper() != OUTSIDE]
    if len(inside) == len(tags) or any(map(is_positioned, inside)):
        return {}
    for form in _OTHER_FORMS:
        matches = {tag: form.fullmatch(tag) for tag in inside}
        usual = {tag: f"{one['position'].upper()}-{one['type']}" for tag, one in matches.items() if one}
        if inside and len(usual) == len(inside) and any(tag.startswith("B-") for tag in usual.values()):
            return {**dict.fromkeys(tags, OUTSIDE), **usual}
    return {}


def _best_scheme(sentences: Sequence[Tags], positions: set[str], where: Where) -> tuple[str, list[Tags], str]:
    """Choose among the schemes with these positions the one that changes the fewest tags."""
    candidates = [scheme for scheme in _SCHEMES if positions <= {"B", *scheme[1:]}]
    if not candidates:
        known = ", ".join(f"{scheme.name} ({''.join(sorted({'B', *scheme[1:]}))})" for scheme in _SCHEMES[1:])
        counts = Counter(tag[0] for tags in sentences for tag in tags if tag != OUTSIDE)
        rare = min(positions, key=lambda position: (counts[position], position))
        tag = next(tag for tags in sentences for tag in tags if tag[0] == rare and tag != OUTSIDE)
        raise DataError(
            f"{_first(tag, sentences, where)}: tag {tag!r} fits no scheme: the file has the positions "
            f"{', '.join(sorted(positions))}; the schemes are {known}"
        )
    spans = [entities(tags) for tags in sentences]
    misfits = {scheme: _misfits(sentences, spans, scheme) for scheme in candidates}
    scheme = min(candidates, key=lambda one: len(misfits[one]))
    tags = [iob2(row, len(original)) for row, original in zip(spans, sentences, strict=True)]
    wrong = misfits[scheme]
    if not wrong:
        return scheme.name, tags, ""
    row, word = wrong[0]
    remark = (
        f"{len(wrong)} tags break the rules of {scheme.name}, first {sentences[row][word]!r} at {where(row, word)}; "
        "an entity begins at B, after O and where the type changes"
    )
    return scheme.name, tags, remark


def _misfits(sentences: Sequence[Tags], spans: Sequence[Sequence[Entity]], scheme: _Scheme) -> list[tuple[int, int]]:
    """List the (sentence, word) of each tag that differs from what the scheme writes for the entities."""
    wrong = []
    for row, (tags, row_spans) in enumerate(zip(sentences, spans, strict=True)):
        written = _written(row_spans, len(tags), scheme)
        if written != tags:
            wrong += [(row, word) for word, tag in enumerate(tags) if tag != written[word]]
    return wrong


def _first(tag: str, sentences: Sequence[Tags], where: Where) -> str:
    row = next(row for row, tags in enumerate(sentences) if tag in tags)
    return where(row, sentences[row].index(tag))
