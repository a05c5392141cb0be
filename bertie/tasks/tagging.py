"""Tagging: a tag for each word of a text, such as the entity it belongs to or its part of speech (BERT, 5.3).

Dropout and one linear layer stand on every token. A word is decided by its first piece, as in the paper, in the window
where that has most context; entities are read off the tags by the CoNLL rules and come out with their characters.

Shapes: T tokens, B sequences, W words of all items, P pieces of all words, C tags, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bertie.batch import Batch
from bertie.data.entities import OUTSIDE, Scheme, iob2, is_positioned, own_tag, positioned, scheme_of
from bertie.data.following import read_alike, warn_of_differences
from bertie.data.items import Table, Text, Words, whole_text, word_offsets
from bertie.data.labels import tell_unseen
from bertie.data.reading import Reading
from bertie.data.spans import cut_words
from bertie.data.windows import Truncation, Windows, lay_out
from bertie.data.words import read_words
from bertie.errors import DataError, SettingsError
from bertie.metrics.classification import accuracy, macro_f1, per_class, tag_rescorer
from bertie.metrics.entities import entities, entity_rescorer, entity_scores, entity_scores_by_type
from bertie.nn.dropout import Noise
from bertie.tasks._prediction import Prediction
from bertie.tasks._word_pieces import NOTHING, encode
from bertie.tasks.task import Judgement, Keys, Loss, Task, Term, check_length
from bertie.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class Span(Prediction):
    """An entity in a text."""

    label: str
    """Its type."""
    text: str
    start: int
    """First character in the whole text."""
    end: int
    """The character after its last."""
    score: float
    """Mean probability of its words' tags."""


@dataclass(frozen=True)
class Tagged(Prediction):
    """What was said of one text."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    """One a word; of entities always as IOB2 has them."""
    spans: tuple[Span, ...]
    """The entities; empty where tags are no entities."""
    score: float
    """Mean probability of all words' tags."""


@dataclass(frozen=True)
class Tagging(Task):
    """Give each word of a text one of several tags."""

    labels: tuple[str, ...] = ()
    """Tags in the order of the logits."""
    max_length: int = 128
    """Tokens of the longest sequence."""
    truncation: Truncation = "window"
    """What to do with a longer text: stop (error), cut it (its last words are O; counted), or slide a window on it."""
    stride: int | None = None
    """Pieces from one window to the next; half a window when None."""
    label_all_pieces: bool = False
    """Whether the pieces of a word after its first learn its tag too; what a word gets is decided by the first."""
    label_smoothing: float = 0.0
    """Share of the target probability that is spread over all tags."""

    name: ClassVar[str] = "tagging"
    architecture: ClassVar[str] = "{}ForTokenClassification"
    criterion: ClassVar[str] = "f1"

    def __post_init__(self) -> None:
        check_length(self.max_length)
        if not 0.0 <= self.label_smoothing < 1.0:
            raise SettingsError(f"label_smoothing must be from 0 to below 1; got {self.label_smoothing}")

    @property
    def scheme(self) -> Scheme:
        """How tags say where entities are."""
        return scheme_of(self.labels)

    @property
    def finds_entities(self) -> bool:
        """Whether the tags are positions in entities or their types, not labels of single words."""
        return self.scheme != "words"

    @classmethod
    def read(cls, path: str | Path, *, labelled: bool = False, like: Reading | None = None, **how: Any) -> Table[Words]:
        """Read CoNLL columns, lists of words and tags, or texts with spans."""
        columns = how.pop("columns", None)
        table = read_alike(lambda said: read_words(path, columns=said, labelled=labelled, **how), columns, like)
        warn_of_differences(like, table.reading, labelled=labelled)
        return table

    @classmethod
    def learn(cls, items: Sequence[Any], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Name the tags: O, then B and I of every type by the alphabet; or, without entities, all that occur.

        Raises:
            DataError: no word has a tag that tells it from others.
        """
        names = {tag for item in items for tag in item.label}
        inside = names - {OUTSIDE}
        if inside and all(is_positioned(tag) for tag in inside):
            types = sorted({entity.label for item in items for entity in entities(item.label)})
            return {"labels": (OUTSIDE, *(f"{position}-{label}" for label in types for position in "BI"))}
        if len(names) < 2:
            raise DataError(f"every word has the tag {min(names, default=OUTSIDE)!r}; there is nothing to learn")
        return {"labels": tuple(sorted(names, key=lambda tag: (tag != OUTSIDE, tag)))}

    def admit(self, items: Sequence[Any], path: Path) -> None:
        """Count tags that the model was not trained on, which it can only get wrong.

        Raises:
            DataError: it was trained on none of them.
        """
        known = {tag for item in items for tag in item.label if own_tag(tag, self.labels) is not None}
        found = ((tag, item.line) for item in items for tag in item.label if tag != OUTSIDE)
        tell_unseen(found, [*self.labels, *sorted(known - {*self.labels})], path, what="tag")

    def encode(self, items: Sequence[Any], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Pack texts, with `token.word` (T,), the place in its item of the word whose first piece a token is.

        `token.tag` (T,), its number, is there when every item has tags; both are -1 elsewhere, and in all windows but
        one of those that show a piece, so that every word is decided and learned once.

        A tag that the model doesn't know is -1 too: nothing is learned from it.

        Raises:
            DataError: an item that is no text, or another number of tags than of words.
        """
        sentences = [_as_words(item, number) for number, item in enumerate(items, 1)]
        found = encode(sentences, tokenizer)
        laid = lay_out(
            found.ids,
            [None] * len(found.ids),
            tokenizer,
            max_length=self.max_length,
            truncation=self.truncation,
            stride=self.stride,
        )
        words = np.where(found.is_first, found.words, NOTHING)  # (P,)
        targets = {"sequence.cut": laid.pieces.truncated, "token.word": _along_tokens(words, found.ids, laid)}
        if (found.reach > found.words).any():
            targets["token.reach"] = _along_tokens(found.reach, found.ids, laid)
        if all(sentence.label is not None for sentence in sentences):
            first, later = (np.append(tags, NOTHING) for tags in self._numbers(sentences))  # (W+1,), -1 the last
            rest = later[found.numbers] if self.label_all_pieces else NOTHING
            tags = np.where(found.is_first, first[found.numbers], rest)
            targets["token.tag"] = _along_tokens(tags, found.ids, laid)
        return Batch.pack(
            laid.pieces.tokens, laid.pieces.segments, laid.pieces.offsets, rows=laid.rows, targets=targets
        )

    def _numbers(self, sentences: Sequence[Words]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the numbers of all words' tags, and of the tags that go on within these words: I-X after B-X."""
        place = {label: number for number, label in enumerate(self.labels)}
        given = {tag for sentence in sentences for tag in sentence.label or ()}
        own = {tag: own_tag(tag, self.labels) for tag in given}
        numbers = {tag: NOTHING if name is None else place[name] for tag, name in own.items()}
        inner = {tag: place.get(f"I-{tag[2:]}", number) for tag, number in numbers.items() if tag.startswith("B-")}
        tags = [tag for sentence in sentences for tag in sentence.label or ()]
        first, later = [numbers[tag] for tag in tags], [inner.get(tag, numbers[tag]) for tag in tags]
        return np.array(first, np.int64), np.array(later, np.int64)

    def head(self, encoder: Any) -> TaggingHead:
        """Make the head; it has no pooler."""
        return TaggingHead(encoder.token_stem("tags"), encoder.config.hidden_size, len(self.labels))

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the tokens with a tag."""
        return {"tagging": float((batch.targets["token.tag"] != NOTHING).sum())}

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        """Cross-entropy over the tags of the tokens that have one."""
        gold, scores = batch.targets["token.tag"], outputs.float()
        total = cross_entropy(scores, gold, reduction="sum", ignore_index=NOTHING, label_smoothing=self.label_smoothing)
        count = self.counts(batch)["tagging"]
        right = (scores.argmax(1) == gold).sum()  # no argmax is -1
        return Loss({"tagging": Term(1.0, total, count)}, {"accuracy": (right, count)})

    def decode(self, outputs: Tensor, batch: Batch, items: Sequence[Any], tokenizer: Tokenizer) -> list[Tagged]:
        """Tag every word, and read the entities off. A word without pieces, or one that was cut off, is O."""
        words = batch.targets["token.word"]
        picked = (words != NOTHING).nonzero().flatten()
        best = outputs[picked].float().softmax(1).max(1)
        rows = torch.repeat_interleave(batch.rows, batch.lengths)[picked].tolist()
        sentences = [_as_words(item, number) for number, item in enumerate(items, 1)]
        tags = [[OUTSIDE] * len(sentence.words) for sentence in sentences]
        scores = [[0.0] * len(sentence.words) for sentence in sentences]
        for row, word, label, score in zip(
            rows, words[picked].tolist(), best.indices.tolist(), best.values.tolist(), strict=True
        ):
            tags[row][word], scores[row][word] = self.labels[label], score
        if "token.reach" in batch.targets:
            reach = batch.targets["token.reach"][picked].tolist()
            for row, word, last in zip(rows, words[picked].tolist(), reach, strict=True):
                for inner in range(word + 1, last + 1):
                    if not scores[row][inner]:  # a word without a piece of its own goes on with the one before
                        tags[row][inner], scores[row][inner] = self._going_on(tags[row][word]), scores[row][word]
        return [self._tagged(*parts) for parts in zip(sentences, tags, scores, strict=True)]

    def _going_on(self, tag: str) -> str:
        """Return the tag of what stands inside a word of this tag."""
        inner = f"I-{tag[2:]}" if tag.startswith("B-") else tag
        return inner if inner in self.labels else tag

    def _tagged(self, sentence: Words, tags: Sequence[str], scores: Sequence[float]) -> Tagged:
        decided = [score for score in scores if score > 0.0]
        certainty = sum(decided) / len(decided) if decided else 1.0
        if not self.finds_entities:
            return Tagged(sentence.words, tuple(tags), (), certainty)
        text, offsets = whole_text(sentence), word_offsets(sentence)
        found = entities(positioned(tags, self.scheme))
        spans = []
        for label, first, end in found:
            start, stop = offsets[first][0], offsets[end - 1][1]
            spans.append(Span(label, text[start:stop], start, stop, sum(scores[first:end]) / (end - first)))
        return Tagged(sentence.words, iob2(found, len(tags)), tuple(spans), certainty)

    def score(self, predictions: Sequence[Tagged], items: Sequence[Any]) -> dict[str, float]:
        """Score entities by the CoNLL rules; other tags by accuracy and `f1`, the mean F1 of all tags."""
        gold, guesses = self._gold(items), [guess.tags for guess in predictions]
        if self.finds_entities:
            return entity_scores(gold, guesses)
        flat_gold, flat_guesses = _flat(gold), _flat(guesses)
        return {"f1": macro_f1(flat_gold, flat_guesses), "accuracy": accuracy(flat_gold, flat_guesses)}

    def rescorer(self, predictions: Sequence[Tagged], items: Sequence[Any]) -> Any:
        """Return what `score` says of the texts at some places, which may come several times."""
        count = entity_rescorer if self.finds_entities else tag_rescorer
        return count(self._gold(items), [guess.tags for guess in predictions])

    def _gold(self, items: Sequence[Any]) -> list[tuple[str, ...]]:
        """Return the right tags, with positions where the model's own lack them."""
        return [positioned(item.label, self.scheme) for item in items]

    def judge(self, prediction: Tagged, item: Any) -> Judgement:
        """Compare the entities of a text, by their F1; or its tags, by the share of right ones."""
        if self.finds_entities:
            (said,) = self._gold([item])
            there = set(entities(said)) | set(entities(prediction.tags))
            credit = entity_scores([said], [prediction.tags])["f1"] if there else 1.0
            return Judgement(_entities_of(item, said), _entities_of(item, prediction.tags), credit, prediction.score)
        gold, guess = [], []
        for word, tag, guessed in zip(item.words, item.label, prediction.tags, strict=True):
            if tag != guessed:
                gold.append(f"{word}/{tag}")
                guess.append(f"{word}/{guessed}")
        credit = accuracy(item.label, prediction.tags) if item.words else 1.0
        return Judgement(", ".join(gold), ", ".join(guess), credit, prediction.score)

    def per_class(self, predictions: Sequence[Tagged], items: Sequence[Any]) -> dict[str, dict[str, float]]:
        """Measure every type of entity, or every tag."""
        gold, guesses = self._gold(items), [guess.tags for guess in predictions]
        if self.finds_entities:
            return entity_scores_by_type(gold, guesses)
        flat_gold, flat_guesses = _flat(gold), _flat(guesses)
        return per_class(flat_gold, flat_guesses, sorted({*flat_gold, *flat_guesses}))


def _as_words(item: Any, number: int) -> Words:
    """Take an item's words, or cut a text into words."""
    if isinstance(item, str):
        return cut_words(item)
    if isinstance(item, Text) and item.pair is None and item.label is None:
        return replace(cut_words(item.text), line=item.line)
    if not isinstance(item, Words):
        raise DataError(f"text {number} is {item!r:.60}; tagging takes one string, or Words with one tag a word")
    if item.label is not None and len(item.label) != len(item.words):
        raise DataError(f"text {number} has {len(item.label)} tags for {len(item.words)} words")
    if item.offsets and len(item.offsets) != len(item.words):
        raise DataError(f"text {number} has {len(item.offsets)} offsets for {len(item.words)} words")
    return item


def _along_tokens(values: NDArray[np.int64], pieces: Sequence[Sequence[int]], laid: Windows) -> NDArray[np.int64]:
    """Put the value of each piece (P,) at the token that it is in the window that it belongs to: (T,)."""
    edges = np.concatenate([[0], np.cumsum([len(ids) for ids in pieces])])
    before = np.cumsum(laid.counts) - laid.counts
    shown = np.repeat(edges[laid.rows] + laid.starts - before, laid.counts) + np.arange(int(laid.counts.sum()))
    owned = laid.owned()
    along = np.full(len(laid.pieces.tokens), NOTHING, np.int64)
    along[laid.shown[owned]] = values[shown[owned]]
    return along


def _flat(rows: Sequence[Sequence[str]]) -> list[str]:
    return [tag for row in rows for tag in row]


def _entities_of(item: Words, tags: Sequence[str]) -> str:
    """Write entities for people: "PER Angela Merkel, LOC Paris"."""
    text, offsets = whole_text(item), word_offsets(item)
    found = [f"{label} {text[offsets[first][0] : offsets[end - 1][1]]}" for label, first, end in entities(tags)]
    return ", ".join(found) or "nothing"


class TaggingHead(nn.Module):
    """Drop, project.

    Args:
        stem: the encoder's, with its dropout.
        hidden_size: H.
        num_labels: C.
    """

    token_by_token = True

    def __init__(self, stem: nn.Module, hidden_size: int, num_labels: int) -> None:
        super().__init__()
        self.stem = stem
        self.classifier = nn.Linear(hidden_size, num_labels)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (T, C)."""
        logits: Tensor = self.classifier(self.stem(hidden, noise))
        return logits


TASK = Tagging
