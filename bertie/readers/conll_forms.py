"""CoNLL-U and CoNLL-2012: formats with fixed columns, and their notation of entities."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bertie.errors import DataError
from bertie.metrics.entities import Entity
from bertie.readers.entities import OUTSIDE, Tags, iob2, is_positioned
from bertie.readers.word_columns import ColumnChoice, Row

CONLL_U: Final = ("id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc")
CONLL_2012: Final = (
    *("document", "part", "number", "word", "pos", "parse", "lemma", "frameset", "sense", "speaker", "ner"),
)
_OPENED = re.compile(r"\(([^()*\s]+)")


def conll_u_roles(sentences: Sequence[Sequence[Row]]) -> ColumnChoice:
    """Take the tags from UPOS, from XPOS if UPOS is empty, or from entities in MISC if both are."""
    filled = {
        name: any(fields[CONLL_U.index(name)] != "_" for rows in sentences for _, fields in rows)
        for name in ("upos", "xpos")
    }
    keys = entity_keys(sentences)
    words, misc = CONLL_U.index("form"), CONLL_U.index("misc")
    candidates = [name for name in ("upos", "xpos") if filled[name]] + [f"misc.{key}" for key in keys]
    if keys and len(candidates) > 1:
        flags = " or ".join(f"--columns words=form,tags={name}" for name in candidates)
        return ColumnChoice(words, doubt=f"this CoNLL-U has tags in several columns; choose one: {flags}")
    if keys:
        return ColumnChoice(words, misc, key=candidates[0])
    if not candidates:
        return ColumnChoice(words)
    others = "XPOS, dependencies and features can be tags too: --columns tags=xpos and so on"
    return ColumnChoice(words, CONLL_U.index(candidates[0]), left_out=others if len(candidates) > 1 else "")


def conll_2012_roles(sentences: Sequence[Sequence[Row]]) -> ColumnChoice:
    """Take the tags from the entity column, or from the parts of speech if it is empty."""
    words, pos, ner = (CONLL_2012.index(name) for name in ("word", "pos", "ner"))
    filled = any(fields[ner] not in ("*", "-") for rows in sentences for _, fields in rows)
    return ColumnChoice(words, ner if filled else pos)


def _features(value: str) -> dict[str, str]:
    return {key: value for key, mark, value in (part.partition("=") for part in value.split("|")) if mark}


def entity_keys(sentences: Sequence[Sequence[Row]]) -> list[str]:
    """List the features of MISC whose values are entity tags or O."""
    values: dict[str, set[str]] = {}
    for rows in sentences:
        for _, fields in rows:
            for key, value in _features(fields[-1]).items():
                values.setdefault(key, set()).add(value)
    return [
        key
        for key, tags in values.items()
        if any(map(is_positioned, tags)) and all(tag == OUTSIDE or is_positioned(tag) for tag in tags)
    ]


def read_misc(rows: Sequence[Tags], key: str) -> list[Tags]:
    """Return the tags of a feature in MISC; O for words without it."""
    return [tuple(_features(value).get(key, OUTSIDE) for value in values) for values in rows]


def read_brackets(file: Path, lines: Sequence[int], rows: Sequence[Tags]) -> tuple[list[Tags], int]:
    """Read entities in brackets as IOB2; leave nested ones out.

    Args:
        file: file name for messages.
        lines: first line of each sentence.
        rows: tags of each sentence, such as (PERSON*, *, *), (GPE).

    Returns:
        The tags, and the number of entities left out.

    Raises:
        DataError: brackets don't match.
    """
    tagged, num_nested = [], 0
    for line, tags in zip(lines, rows, strict=True):
        opened: list[tuple[str, int]] = []
        spans: list[Entity] = []
        for index, tag in enumerate(tags):
            opened += [(label, index) for label in _OPENED.findall(tag)]
            for _ in range(tag.count(")")):
                if not opened:
                    raise DataError(f"{file}:{line + index}: {tag!r} closes an entity that was not opened")
                label, start = opened.pop()
                if opened:
                    num_nested += 1
                else:
                    spans.append(Entity(label, start, index + 1))
        if opened:
            label, start = opened[0]
            raise DataError(f"{file}:{line + start}: the entity ({label} is not closed in its sentence")
        tagged.append(iob2(spans, len(tags)))
    return tagged, num_nested
