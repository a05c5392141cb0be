"""Files of words, questions and choices in which something was changed at random: read, or refused in words."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from bertie import progress
from bertie.errors import BertieError
from bertie.readers.choices import read_choices
from bertie.readers.questions import read_questions
from bertie.readers.words import read_words

TEXT = "Ann 😀 saw Ulm"
SPAN = {"start": 0, "end": 3, "text": "Ann", "labels": ["PER"], "globalOffsets": {"start": 0, "end": 3}}
TOKENS = [{"orth": "a", "ner": "B-P", "tag": "NN"}, {"orth": "b", "ner": "O", "tag": "NN"}]
ENTRY = {"id": "a", "question": "q", "is_impossible": False, "answers": [{"text": "Ann", "answer_start": 0}]}
OPTIONS = [{"label": "A", "text": "x"}, {"label": "B", "text": "y"}]
JSON: list[Any] = [
    [
        {
            "data": {"text": TEXT},
            "annotations": [{"was_cancelled": False, "result": [{"type": "labels", "value": SPAN}]}],
        }
    ],
    [{"text": TEXT, "label": [SPAN], "annotation_id": 1}, {"text": TEXT, "annotation_id": 2}],
    [{"text": TEXT, "entities": [{"label": "PER", "start_offset": 0, "end_offset": 3}], "relations": []}],
    [{"text": TEXT, "spans": [{"start": 0, "end": 3, "label": "PER"}], "answer": "accept", "_input_hash": 3}],
    [[TEXT, {"entities": [[0, 3, "PER"]]}], [TEXT, {"entities": []}]],
    {"classes": ["PER"], "annotations": [[TEXT, {"entities": [[0, 3, "PER"]]}], None]},
    [{"id": 0, "paragraphs": [{"raw": "a b", "sentences": [{"tokens": TOKENS}]}]}],
    {"data": [{"title": "m", "paragraphs": [{"context": TEXT, "qas": [ENTRY]}]}]},
    [
        {
            "question": "q",
            "context": TEXT,
            "answers": {"text": ["Ann"], "answer_start": [0]},
            "is_impossible": 0,
            "id": 1,
        }
    ],
    [{"question": "q", "context": TEXT, "answer_start": 0, "answer_end": 3}],
    [{"question": {"stem": "q", "choices": OPTIONS}, "answerKey": "B"}],
    [{"article": "a", "questions": ["p", "q"], "options": [["b", "c"], ["d", "e"]], "answers": ["B", "A"]}],
    [{"tokens": ["a", "b"], "tags": ["O", "B-X"]}, {"tokens": ["a"], "tags": ["O"]}],
    [{"context": "x", "ending0": "a", "ending1": "b", "label": label} for label in (1, 0)],
]
LINES = [
    "#\thttps://e.org [2020]\n1\tBei\tO\tO\n2\tFC\tB-ORG\tO\n3\tUlm\tI-ORG\tB-LOC\n\n1\tEva\tB-PER\tO\n",
    "# text = x\n1-2\tCan't\t_\t_\t_\t_\t_\t_\t_\t_\n1\tCa\tcan\tAUX\tMD\t_\t3\taux\t_\tname=O\n"
    "2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\tname=B-X\n",
    "#begin document (x); part 000\nx 0 0 Ann NNP (NP* - - - s1 (PERSON* (A0* -\nx 0 1 Lee NNP *) - - - s1 *) *) -\n",
    'Sentence #,Word,POS,Tag\nSentence: 1,Ann,NNP,B-per\n,Meyer,NNP,I-per\nSentence: 2,",",.,O\n',
    "id,tokens,ner_tags\n0,\"['Ann', 'Meyer']\",\"['B-per', 'I-per']\"\n1,\"['Ann' 'Meyer']\",\"['B-per' 'I-per']\"\n",
    "id,question,context,answers\n1,q,Ann saw,\"{'text': array(['Ann'], dtype=object), 'answer_start': array([0])}\"\n",
    "text,labels\nAnn Meyer .,B-per I-per O\nYes .,O O\n",
    "context,choices,label\na,\"['x', 'y']\",0\nb,\"{'text': ['x'], 'label': ['A']}\",1\n",
]
VALUES: list[Any] = [None, True, 0, -1, 1.5, "", "x", [], {}, ["a"], {"a": 1}, "[", 10**12, [[1]], float("nan"), "1"]
MARKS = "\t ,;\n\"'[](){}#-_*=|0129abO\u200b😀\0\x1b\r"


def changed(value: Any, chance: random.Random) -> Any:
    """Take something out of a value, or put something else there."""
    whole, path = copy.deepcopy(value), []
    part = whole
    while isinstance(part, list | dict) and part:
        key = chance.choice(list(part)) if isinstance(part, dict) else chance.randrange(len(part))
        path.append((part, key))
        part = part[key]
        if chance.random() < 0.25:
            break
    if not path:
        return chance.choice(VALUES)
    holder, key = path[-1]
    if chance.random() < 0.3:
        del holder[key]
    else:
        holder[key] = copy.deepcopy(chance.choice(VALUES))
    return whole


def scratched(text: str, chance: random.Random) -> str:
    for _ in range(chance.randrange(1, 6)):
        place = chance.randrange(len(text))
        text = (
            text[:place] + (chance.choice(MARKS) if chance.random() < 0.6 else "") + text[place + chance.randrange(2) :]
        )
    return text


@pytest.mark.parametrize("seed", range(4))
def test_whatever_was_changed(tmp_path: Path, seed: int) -> None:
    chance, num_read = random.Random(seed), 0
    progress.set_quiet(True)
    for _ in range(120):
        if chance.random() < 0.6:
            value = changed(chance.choice(JSON), chance)
            lines = isinstance(value, list) and chance.random() < 0.5
            path = tmp_path / ("a.jsonl" if lines else "a.json")
            path.write_text("\n".join(map(json.dumps, value)) if lines else json.dumps(value))
        else:
            path = tmp_path / f"a{chance.choice(['.csv', '.tsv', '.conll', '.txt', ''])}"
            path.write_text(scratched(chance.choice(LINES), chance), encoding="utf-8")
        for read in (read_words, read_questions, read_choices):
            try:
                table = read(path, labelled=True)
            except BertieError as error:
                assert str(path) in str(error) or "--columns" in str(error)
            else:
                num_read += 1
                assert table.items and all(item.label is not None for item in table.items)
    assert num_read > 20
