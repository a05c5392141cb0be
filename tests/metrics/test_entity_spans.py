"""Entities by the CoNLL rules: equal to a plain rendering of the shared tasks' script on any tags."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bertie.metrics.entities import Entity, entities, entity_scores, entity_scores_by_type

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-X-Y", "I-X-Y")
SENTENCES = st.lists(st.lists(st.tuples(st.sampled_from(TAGS), st.sampled_from(TAGS)), max_size=8), max_size=6)


class Script:
    """Counts as the script does: one line after another, remembering the line before and whether both sides agree.

    It keeps no spans. An entity is counted as right when it ends on both sides at once, having begun on both sides at
    once with one type.
    """

    def __init__(self) -> None:
        self.right: Counter[str] = Counter()
        self.said: Counter[str] = Counter()
        self.there: Counter[str] = Counter()
        self.agreeing = False
        self.before = (("O", ""), ("O", ""))
        self.num_words = self.num_equal = 0

    @staticmethod
    def parted(tag: str) -> tuple[str, str]:
        position, dash, kind = tag.partition("-")
        return (position, kind) if dash else (tag, "")

    @staticmethod
    def begins(before: tuple[str, str], now: tuple[str, str]) -> bool:
        if now[0] == "O":
            return False
        pairs = {("B", "B"), ("I", "B"), ("O", "B"), ("O", "I")}
        return (before[0], now[0]) in pairs or before[1] != now[1]

    @staticmethod
    def ends(before: tuple[str, str], now: tuple[str, str]) -> bool:
        if before[0] == "O":
            return False
        pairs = {("B", "B"), ("B", "O"), ("I", "B"), ("I", "O")}
        return (before[0], now[0]) in pairs or before[1] != now[1]

    def line(self, gold: str, guess: str, *, counts: bool = True) -> None:
        true, said = self.parted(gold), self.parted(guess)
        ended = (self.ends(self.before[0], true), self.ends(self.before[1], said))
        if self.agreeing:
            if all(ended) and self.before[0][1] == self.before[1][1]:
                self.agreeing = False
                self.right[self.before[0][1]] += 1
            elif ended[0] != ended[1] or true[1] != said[1]:
                self.agreeing = False
        begun = (self.begins(self.before[0], true), self.begins(self.before[1], said))
        if all(begun) and true[1] == said[1]:
            self.agreeing = True
        self.there[true[1]] += begun[0]
        self.said[said[1]] += begun[1]
        if counts:
            self.num_words += 1
            self.num_equal += true == said
        self.before = (true, said)

    def run(self, sentences: list[list[tuple[str, str]]]) -> dict[str, float]:
        for sentence in sentences:
            for gold, guess in sentence:
                self.line(gold, guess)
            self.line("O", "O", counts=False)  # the blank line
        right, said, there = self.right.total(), self.said.total(), self.there.total()
        precision, recall = right / said if said else 0.0, right / there if there else 0.0
        return {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
            "accuracy": self.num_equal / self.num_words if self.num_words else 0.0,
        }


def assert_as_the_script(sentences: list[list[tuple[str, str]]]) -> None:
    gold = [[true for true, _ in sentence] for sentence in sentences]
    guesses = [[said for _, said in sentence] for sentence in sentences]
    script = Script()
    assert entity_scores(gold, guesses) == pytest.approx(script.run(sentences), abs=1e-12)
    found = entity_scores_by_type(gold, guesses)
    assert set(found) == {label for label in script.said | script.there if label}
    for label, scores in found.items():
        right, said, there = script.right[label], script.said[label], script.there[label]
        assert scores["support"] == there
        assert scores["precision"] == pytest.approx(right / said if said else 0.0)
        assert scores["recall"] == pytest.approx(right / there if there else 0.0)
        assert scores["f1"] == pytest.approx(2 * right / (said + there))


def test_a_thousand_random_prediction_sets() -> None:
    random = Random(0)
    for _ in range(1000):
        noise = random.random()
        sentences = []
        for _ in range(random.randint(1, 12)):
            gold = [random.choice(TAGS) for _ in range(random.randint(1, 20))]
            sentences.append([(tag, random.choice(TAGS) if random.random() < noise else tag) for tag in gold])
        assert_as_the_script(sentences)


@given(SENTENCES)
def test_any_tags(sentences: list[list[tuple[str, str]]]) -> None:
    assert_as_the_script(sentences)


def test_i_without_b_begins_and_another_type_ends() -> None:
    tags = ["I-PER", "I-PER", "B-PER", "I-LOC", "O", "I-LOC"]
    assert entities(tags) == [Entity("PER", 0, 2), Entity("PER", 2, 3), Entity("LOC", 3, 4), Entity("LOC", 5, 6)]
    assert entities([]) == [] == entities(["O", "NN", "X-PER"])


def test_further_positions() -> None:
    expected = [Entity("P", 0, 3), Entity("P", 3, 4), Entity("P", 4, 5), Entity("L", 6, 8)]
    assert entities(["B-P", "I-P", "E-P", "S-P", "S-P", "O", "B-L", "E-L"]) == expected
    assert entities(["B-P", "I-P", "L-P", "U-P", "U-P", "O", "B-L", "L-L"]) == expected
    assert entities(["B-P", "M-P", "E-P", "S-P", "S-P", "O", "B-L", "E-L"]) == expected


def test_scores_by_hand() -> None:
    gold = [["B-PER", "I-PER", "O", "B-LOC"], ["B-ORG", "O"]]
    guesses = [["B-PER", "I-PER", "O", "B-ORG"], ["O", "O"]]
    assert entity_scores(gold, guesses) == {"f1": 0.4, "precision": 0.5, "recall": 1 / 3, "accuracy": 4 / 6}
    nothing = {"f1": 0.0, "precision": 0.0, "recall": 0.0}
    assert entity_scores_by_type(gold, guesses) == {
        "LOC": {**nothing, "support": 1.0},
        "ORG": {**nothing, "support": 1.0},
        "PER": {"f1": 1.0, "precision": 1.0, "recall": 1.0, "support": 1.0},
    }
    assert entity_scores([], []) == {**nothing, "accuracy": 0.0}
    with pytest.raises(ValueError):
        entity_scores([["O"]], [["O", "O"]])
