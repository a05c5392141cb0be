"""CoNLL-U and CoNLL-2012: formats with fixed columns, and how they write entities."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bertie.data.entities import OUTSIDE, Tags, iob2, is_positioned
from bertie.data.word_columns import Choice, Row
from bertie.errors import DataError
from bertie.metrics.entities import Entity

CONLL_U: Final = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
CONLL_2012: Final = (
    *("document", "part", "number", "word", "pos", "parse", "lemma", "frameset", "sense", "speaker", "ner"),
)
_OPENED = re.compile(r"\(([^()*\s]+)")


def conll_u_roles(sentences: Sequence[Sequence[Row]]) -> Choice:
    """Take the tags from UPOS, from XPOS where UPOS is empty, or from entities in MISC where both are."""
    filled = {
        name: any(fields[CONLL_U.index(name)] != "_" for rows in sentences for _, fields in rows)
        for name in ("upos", "xpos")
    }
    keys = entity_keys(sentences)
    words, misc = CONLL_U.index("form"), CONLL_U.index("misc")
    able = [name for name in ("upos", "xpos") if filled[name]] + [f"misc.{key}" for key in keys]
    if keys and len(able) > 1:
        said = " or ".join(f"--columns words=form,tags={name}" for name in able)
        return Choice(words, doubt=f"this CoNLL-U has parts of speech or entities in several columns; say {said}")
    if keys:
        return Choice(words, misc, key=able[0])
    if not able:
        return Choice(words)
    others = "tags from XPOS, dependencies or features are read by --columns tags=xpos and the like"
    return Choice(words, CONLL_U.index(able[0]), left_out=others if len(able) > 1 else "")


def conll_2012_roles(sentences: Sequence[Sequence[Row]]) -> Choice:
    """Take the tags from the column of entities, or, where it is empty, from the parts of speech."""
    words, pos, ner = (CONLL_2012.index(name) for name in ("word", "pos", "ner"))
    filled = any(fields[ner] not in ("*", "-") for rows in sentences for _, fields in rows)
    return Choice(words, ner if filled else pos)


def _features(value: str) -> dict[str, str]:
    return {key: said for key, mark, said in (part.partition("=") for part in value.split("|")) if mark}


def entity_keys(sentences: Sequence[Sequence[Row]]) -> list[str]:
    """Name the features of MISC that hold a tag of an entity, or O, wherever they stand."""
    values: dict[str, set[str]] = {}
    for rows in sentences:
        for _, fields in rows:
            for key, said in _features(fields[-1]).items():
                values.setdefault(key, set()).add(said)
    return [
        key
        for key, said in values.items()
        if any(map(is_positioned, said)) and all(tag == OUTSIDE or is_positioned(tag) for tag in said)
    ]


def read_misc(rows: Sequence[Tags], key: str) -> list[Tags]:
    """Return the tags under a name in MISC; O for words that don't have it."""
    return [tuple(_features(value).get(key, OUTSIDE) for value in values) for values in rows]


def read_brackets(file: Path, lines: Sequence[int], rows: Sequence[Tags]) -> tuple[list[Tags], int]:
    """Read entities in brackets as IOB2; those within others are left out.

    Args:
        file: for messages.
        lines: of each sentence.
        rows: (PERSON*, *, *), (GPE) of each.

    Returns:
        The tags, and how many entities were left out.

    Raises:
        DataError: brackets that don't match.
    """
    found, num_nested = [], 0
    for line, tags in zip(lines, rows, strict=True):
        opened: list[tuple[str, int]] = []
        spans: list[Entity] = []
        for place, tag in enumerate(tags):
            opened += [(label, place) for label in _OPENED.findall(tag)]
            for _ in range(tag.count(")")):
                if not opened:
                    raise DataError(f"{file}:{line + place}: {tag!r} closes an entity that was not opened")
                label, start = opened.pop()
                if opened:
                    num_nested += 1
                else:
                    spans.append(Entity(label, start, place + 1))
        if opened:
            label, start = opened[0]
            raise DataError(f"{file}:{line + start}: the entity ({label} is not closed in its sentence")
        found.append(iob2(spans, len(tags)))
    return found, num_nested
