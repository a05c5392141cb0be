"""Exports of label tools: what they hold is read, what people rejected or skipped is left out and said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bertie import progress
from bertie.errors import DataError
from bertie.readers.offsets import UNITS, to_characters
from bertie.readers.words import read_words

TEXT = "Ann 😀 saw Ulm"
PLACES = [(0, 3, "PER"), (10, 13, "LOC")]
TAGS = ("B-PER", "O", "O", "B-LOC")


@pytest.fixture(autouse=True)
def notes_show() -> None:
    progress.set_quiet(False)


def written(folder: Path, value: Any, *, lines: bool = False) -> Path:
    path = folder / ("a.jsonl" if lines else "a.json")
    path.write_text("".join(json.dumps(row) + "\n" for row in value) if lines else json.dumps(value), encoding="utf-8")
    return path


def tags(path: Path, **columns: str) -> list[Any]:
    return [item.label for item in read_words(path, columns=columns or None, labelled=True).items]


def annotated(*places: tuple[int, int, str], **parts: Any) -> dict[str, Any]:
    results = [
        {"type": "labels", "value": {"start": start, "end": end, "text": TEXT[start:end], "labels": [label]}}
        for start, end, label in places
    ]
    return {"result": [*results, {"type": "relation", "from_id": "a", "to_id": "b"}], **parts}


def task(*annotations: dict[str, Any], **data: Any) -> dict[str, Any]:
    return {"id": 1, "data": data or {"text": TEXT}, "annotations": list(annotations), "predictions": []}


def test_label_studio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = [
        task(annotated(*PLACES)),
        task(annotated()),
        task(annotated(PLACES[0], was_cancelled=True)),
        task(annotated(PLACES[0]), annotated(PLACES[1])),
        task(annotated(PLACES[0]), annotated(PLACES[1], ground_truth=True)),
        task(),
    ]
    path = written(tmp_path, whole)
    assert tags(path) == [TAGS, ("O",) * 4, ("O", "O", "O", "B-LOC")]
    said = capsys.readouterr().err
    assert "1 row is left out: skipped by the annotator\n  line 3: Ann" in said
    assert "1 row is left out: labelled differently by several annotators\n  line 4" in said
    assert "1 row is left out: not labelled\n  line 6" in said and "export of Label Studio" in said
    table = read_words(path, labelled=True)
    assert table.reading is not None and [left.count for left in table.reading.left_out] == [1, 1, 1]
    assert [item.label is None for item in read_words(path).items] == [False, False, False, True]
    named = [task(annotated(*PLACES), review=TEXT, source="web")]
    with pytest.raises(
        DataError, match=r"which part of a task's data is the text \(review, source\); set --columns text"
    ):
        tags(written(tmp_path, named))
    assert tags(written(tmp_path, named), text="review") == [TAGS]


def test_label_studio_in_short(tmp_path: Path) -> None:
    spans = [{"start": start, "end": end, "text": TEXT[start:end], "labels": [label]} for start, end, label in PLACES]
    rows = [{"id": 1, "text": TEXT, "annotation_id": 1}, {"id": 2, "text": TEXT, "ner": spans, "annotation_id": 2}]
    for lines in (False, True):
        assert tags(written(tmp_path, rows, lines=lines)) == [("O",) * 4, TAGS]
    with pytest.raises(DataError, match=r"a\.json:2: a span must have one label; got \['A', 'B'\]"):
        tags(written(tmp_path, [rows[0], {**rows[1], "ner": [{**spans[0], "labels": ["A", "B"]}]}]))
    with pytest.raises(DataError, match="'ner' and 'other' may both be the spans"):
        tags(written(tmp_path, [{**rows[1], "other": spans}]))


def test_doccano(tmp_path: Path) -> None:
    new = [{"id": n, "label": label, "start_offset": a, "end_offset": b} for n, (a, b, label) in enumerate(PLACES)]
    for name, spans in (("entities", new), ("label", PLACES), ("labels", PLACES)):
        rows = [
            {"id": 1, "text": TEXT, name: spans, "relations": [], "Comments": []},
            {"id": 2, "text": TEXT, name: []},
        ]
        assert tags(written(tmp_path, rows, lines=True)) == [TAGS, ("O",) * 4]
        assert tags(written(tmp_path, rows)) == [TAGS, ("O",) * 4]


def test_prodigy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spans = [{"start": a, "end": b, "label": label, "token_start": 0, "token_end": 0} for a, b, label in PLACES]
    tokens = [{"text": "Ann", "start": 0, "end": 3, "id": 0}]
    rows = [
        {"text": TEXT, "tokens": tokens, "spans": spans, "answer": "accept", "_input_hash": 1},
        {"text": TEXT, "tokens": tokens, "answer": "accept", "_input_hash": 2},
        *(
            {"text": TEXT, "spans": spans, "answer": answer, "_input_hash": 3}
            for answer in ("reject", "ignore", "reject")
        ),
    ]
    assert tags(written(tmp_path, rows, lines=True)) == [TAGS, ("O",) * 4]
    said = capsys.readouterr().err
    assert (
        "2 rows are left out: answer is 'reject'\n  line 3: Ann" in said
        and "1 row is left out: answer is 'ignore'" in said
    )


def test_spacy(tmp_path: Path) -> None:
    pairs = [[TEXT, {"entities": PLACES}], [TEXT, {"entities": []}]]
    for value, lines in ((pairs, False), (pairs, True), ({"classes": ["PER"], "annotations": [*pairs, None]}, False)):
        assert tags(written(tmp_path, value, lines=lines)) == [TAGS, ("O",) * 4]
    tokens = [
        {"orth": word, "ner": tag, "tag": "NN"} for word, tag in zip("abcd", ["B-P", "L-P", "O", "U-L"], strict=True)
    ]
    document = {"id": 0, "paragraphs": [{"raw": "a b c d", "sentences": [{"tokens": tokens}, {"tokens": tokens[2:]}]}]}
    assert tags(written(tmp_path, [document])) == [("B-P", "I-P", "O", "B-L"), ("O", "B-L")]
    ents = {
        "text": TEXT,
        "ents": [{"start": a, "end": b, "label": label} for a, b, label in PLACES],
        "tokens": [{"id": 0}],
    }
    assert tags(written(tmp_path, [ents], lines=True)) == [TAGS]


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("said", [True, False])
def test_places_in_other_units(tmp_path: Path, unit: str, said: bool, capsys: pytest.CaptureFixture[str]) -> None:
    size = {"characters": len, "UTF-16 units": lambda text: len(text.encode("utf-16-le")) // 2}.get(
        unit, lambda text: len(text.encode())
    )
    spans = [
        {"start": size(TEXT[:a]), "end": size(TEXT[:b]), "label": label, **({"text": TEXT[a:b]} if said else {})}
        for a, b, label in PLACES
    ]
    assert tags(written(tmp_path, [{"text": TEXT, "spans": spans}], lines=True)) == [TAGS]
    assert ("offsets in UTF-16 units or bytes" in capsys.readouterr().err) == (unit != "characters")


@given(st.text(st.characters(codec="utf-8"), max_size=8), st.sampled_from(UNITS))
def test_every_character_is_found_in_every_unit(text: str, unit: str) -> None:
    coding = {"characters": "utf-32-le", "UTF-16 units": "utf-16-le"}.get(unit, "utf-8")
    width = {"utf-32-le": 4, "utf-16-le": 2}.get(coding, 1)
    places = [len(text[:place].encode(coding)) // width for place in range(len(text) + 1)]
    assert [to_characters(text, place, unit) for place in places] == list(range(len(text) + 1))
    assert to_characters(text, places[-1] + 1, unit) == -1 == to_characters(text, -1, unit)


SPANS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["PER", "LOC"])), max_size=4, unique_by=lambda one: one[0]
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from(["Ann", "Ü", "北", "😀", "x"]), min_size=4, max_size=4), SPANS), min_size=1
    )
)
def test_all_tools_say_the_same(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("any")
    progress.set_quiet(True)
    texts, places, expected = [], [], []
    for words, spans in rows:
        starts = [len(" ".join(words[:place])) + (place > 0) for place in range(4)]
        texts.append(" ".join(words))
        places.append([(starts[n], starts[n] + len(words[n]), label) for n, label in spans])
        chosen = dict(spans)
        expected.append(tuple(f"B-{chosen[n]}" if n in chosen else "O" for n in range(4)))
    pairs = list(zip(texts, places, strict=True))

    def named(text: str, spans: list[Any], start: str, end: str, label: str) -> list[dict[str, Any]]:
        return [
            {start: a, end: b, label: [tag] if label == "labels" else tag, "text": text[a:b]} for a, b, tag in spans
        ]

    exports: list[Any] = [
        [{"text": text, "label": spans} for text, spans in pairs],
        [
            {"text": text, "entities": named(text, spans, "start_offset", "end_offset", "label")}
            for text, spans in pairs
        ],
        [
            {"text": text, "spans": named(text, spans, "start", "end", "label"), "answer": "accept"}
            for text, spans in pairs
        ],
        [
            {
                "data": {"text": text},
                "annotations": [{"result": [{"value": one} for one in named(text, spans, "start", "end", "labels")]}],
            }
            for text, spans in pairs
        ],
        [[text, {"entities": spans}] for text, spans in pairs],
    ]
    for number, export in enumerate(exports):
        for lines in (False, True):
            path = written(folder, export, lines=lines)
            assert (number, lines, tags(path)) == (number, lines, expected)
