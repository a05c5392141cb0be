"""Tagging: a tag for each word of a text, such as its entity type or its part of speech (BERT, 5.3).

The head applies dropout and one linear layer to every token. A word's first piece decides its tag, as in the paper, in
the window where this piece has most context. The CoNLL rules turn tags into entities, which are returned with their
positions in the text.

Shapes: T tokens, B sequences, W words of all items, P pieces of all words, C tags, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.items.labels import tell_unseen
from bertie.items.words import Words
from bertie.metrics.classification import accuracy, macro_f1, per_class, tag_rescorer
from bertie.metrics.entities import entities, entity_rescorer, entity_scores, entity_scores_by_type
from bertie.ops.dropout.op import Noise
from bertie.ops.linear.op import Linear
from bertie.readers.entities import OUTSIDE, Scheme, iob2, is_positioned, own_tag, positioned, scheme_of
from bertie.readers.reading import Reading, Table
from bertie.tasks._card import CardText
from bertie.tasks._encoding import check_length
from bertie.tasks._lines import heading, printable
from bertie.tasks._prediction import Prediction, Span, span_lines
from bertie.tasks._word_pieces import NOTHING, WordsLike, as_words, encode_words, shown_pieces
from bertie.tasks.task import Judgement, Keys, Loss, Task, Term
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.windows import Truncation, Windows


@dataclass(frozen=True)
class Tagged(Prediction):
    """The prediction for one text."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    """One tag for each word. Entities are always in IOB2."""
    spans: tuple[Span, ...]
    """The entities; empty if the tags don't mark entities."""
    score: float
    """Mean probability of the tags of all words."""

    def lines(self, item: Any, width: int) -> list[str]:
        """Return the item, and one line for each entity; without entities the words that have a tag."""
        tagged = [f"{word}/{tag}" for word, tag in zip(self.words, self.tags, strict=True) if tag != OUTSIDE]
        if tagged and not self.spans:
            return [heading(item), f"  {printable(' '.join(tagged))}"]
        return [heading(item), *span_lines(self.spans)]


@dataclass(frozen=True)
class Tagging(Task[Words, Tensor, Tagged]):
    """Predict one of several tags for each word of a text."""

    labels: tuple[str, ...] = ()
    """Tags in the order of the logits."""
    max_length: int = 128
    """Tokens of the longest sequence."""
    truncation: Truncation = "window"
    """What to do with longer text: refuse it (error), cut it (truncate; cut words get O), or read windows (window)."""
    stride: int | None = None
    """Pieces from the start of one window to the next. None: half a window."""
    label_all_pieces: bool = False
    """Whether all pieces of a word learn its tag. Its first piece alone decides the predicted tag."""
    label_smoothing: float = 0.0
    """Share of the target probability that is spread over all tags."""

    name: ClassVar[str] = "tagging"
    architecture: ClassVar[str] = "{}ForTokenClassification"
    labels_words: ClassVar[bool] = True
    criterion: ClassVar[str] = "f1"
    card: ClassVar[CardText] = CardText(
        title="A BERT model that tags words",
        pipeline="token-classification",
        loader="AutoModelForTokenClassification",
        output="logits",
        limits=("It knows no tags but its own.", "The tag of a word is the one predicted for its first piece."),
    )

    def __post_init__(self) -> None:
        check_length(self.max_length)
        if not 0.0 <= self.label_smoothing < 1.0:
            raise SettingsError(f"label_smoothing must be from 0 to below 1; got {self.label_smoothing}")

    @property
    def scheme(self) -> Scheme:
        """How the model's tags mark entities."""
        return scheme_of(self.labels)

    @property
    def finds_entities(self) -> bool:
        """Whether the tags mark entities, by positions or types. Otherwise they are labels of single words."""
        return self.scheme != "words"

    @classmethod
    def read(cls, path: str | Path, *, labelled: bool = False, like: Reading | None = None, **how: Any) -> Table[Words]:
        """Read CoNLL columns, lists of words and tags, or texts with spans."""
        from bertie.readers.following import read_alike, warn_of_differences
        from bertie.readers.words import read_words

        columns = how.pop("columns", None)
        table = read_alike(lambda names: read_words(path, columns=names, labelled=labelled, **how), columns, like)
        warn_of_differences(like, table.reading, labelled=labelled)
        return table

    @classmethod
    def learn(cls, items: Sequence[Words], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the tags: O, then B and I of every type, in alphabetical order; without entities, all tags.

        Raises:
            DataError: all words have the same tag.
        """
        names = {tag for item in items for tag in _tags(item)}
        inside = names - {OUTSIDE}
        if inside and all(is_positioned(tag) for tag in inside):
            types = sorted({entity.label for item in items for entity in entities(_tags(item))})
            return {"labels": (OUTSIDE, *(f"{position}-{label}" for label in types for position in "BI"))}
        if len(names) < 2:
            raise DataError(f"every word has the tag {min(names, default=OUTSIDE)!r}; there is nothing to learn")
        return {"labels": tuple(sorted(names, key=lambda tag: (tag != OUTSIDE, tag)))}

    def check_items(self, items: Sequence[Words], path: Path) -> None:
        """Warn of tags that the model doesn't have: each of them counts as a mistake.

        Raises:
            DataError: the model has none of the table's tags.
        """
        known = {tag for item in items for tag in _tags(item) if own_tag(tag, self.labels) is not None}
        occurrences = ((tag, item.line) for item in items for tag in _tags(item) if tag != OUTSIDE)
        tell_unseen(occurrences, [*self.labels, *sorted(known - {*self.labels})], path, what="tag")

    def encode(self, items: Sequence[WordsLike], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Pack texts.

        The first piece of a word holds its targets: `token.word` (T,), the index of the word in its item, and, if every
        item has tags, `token.tag` (T,), the number of its tag. With `label_all_pieces` the later pieces hold
        `token.tag` as well. Both are -1 for other tokens, and in all windows that show a piece but one, so that every
        word is predicted and learned once. A tag that the model doesn't have is -1, so that no loss comes from it.
        `token.reach` (T,) is present if a piece overlaps several words: the last word that the word's pieces overlap.

        Raises:
            DataError: an item is not a text, or its numbers of tags and words differ.
        """
        sentences, encoded, laid = encode_words(
            items,
            tokenizer,
            task=self.name,
            max_length=self.max_length,
            truncation=self.truncation,
            stride=self.stride,
        )
        words = np.where(encoded.is_first, encoded.words, NOTHING)  # (P,)
        targets = {"sequence.cut": laid.pieces.truncated, "token.word": _along_tokens(words, encoded.ids, laid)}
        if (encoded.reach > encoded.words).any():
            targets["token.reach"] = _along_tokens(encoded.reach, encoded.ids, laid)
        if all(sentence.label is not None for sentence in sentences):
            first, later = (np.append(tags, NOTHING) for tags in self._numbers(sentences))  # (W+1,), the last is -1
            rest = later[encoded.numbers] if self.label_all_pieces else NOTHING
            tags = np.where(encoded.is_first, first[encoded.numbers], rest)
            targets["token.tag"] = _along_tokens(tags, encoded.ids, laid)
        return Batch.pack(
            laid.pieces.tokens, laid.pieces.segments, laid.pieces.offsets, rows=laid.rows, targets=targets
        )

    def _numbers(self, sentences: Sequence[Words]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the tag numbers of all words' first pieces and of their later pieces: I-X after B-X."""
        number_of = {label: number for number, label in enumerate(self.labels)}
        distinct = {tag for sentence in sentences for tag in sentence.label or ()}
        names = {tag: own_tag(tag, self.labels) for tag in distinct}
        numbers = {tag: NOTHING if name is None else number_of[name] for tag, name in names.items()}
        inner = {tag: number_of.get(f"I-{tag[2:]}", number) for tag, number in numbers.items() if tag.startswith("B-")}
        tags = [tag for sentence in sentences for tag in sentence.label or ()]
        first, later = [numbers[tag] for tag in tags], [inner.get(tag, numbers[tag]) for tag in tags]
        return np.array(first, np.int64), np.array(later, np.int64)

    def head(self, encoder: Any) -> TaggingHead:
        """Make the head, which has no pooler."""
        return TaggingHead(encoder.token_layers("tags"), encoder.config.hidden_size, len(self.labels))

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the tokens that have a tag."""
        return {"tagging": float((batch.targets["token.tag"] != NOTHING).sum())}

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        """Return the cross-entropy of the tokens that have a tag."""
        gold, scores = batch.targets["token.tag"], outputs.float()
        total = cross_entropy(scores, gold, reduction="sum", ignore_index=NOTHING, label_smoothing=self.label_smoothing)
        count = self.counts(batch)["tagging"]
        right = (scores.argmax(1) == gold).sum()  # never equal where gold is -1
        return Loss({"tagging": Term(1.0, total, count)}, {"accuracy": (right, count)})

    def logit_rows(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return the logits of the tokens that have a tag."""
        return outputs[batch.targets["token.tag"] != NOTHING]

    def num_logit_rows(self, batch: Batch) -> float:
        """Count the tokens that have a tag."""
        return self.counts(batch)["tagging"]

    def decode(self, outputs: Tensor, batch: Batch, items: Sequence[WordsLike], tokenizer: Tokenizer) -> list[Tagged]:
        """Return the tags and entities of each text. A word without pieces, or one that was cut off, gets O."""
        words = batch.targets["token.word"]
        picked = (words != NOTHING).nonzero().flatten()
        best = outputs[picked].float().softmax(1).max(1)
        rows = torch.repeat_interleave(batch.rows, batch.lengths)[picked].tolist()
        sentences = [as_words(item, number, self.name) for number, item in enumerate(items, 1)]
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
                    if not scores[row][inner]:  # its piece is that of the word before, so its tag continues that word's
                        tags[row][inner], scores[row][inner] = self._continued(tags[row][word]), scores[row][word]
        return [self._tagged(*parts) for parts in zip(sentences, tags, scores, strict=True)]

    def _continued(self, tag: str) -> str:
        """Return the tag that continues a tag: I-X for B-X, if the model has it, else the tag itself."""
        inner = f"I-{tag[2:]}" if tag.startswith("B-") else tag
        return inner if inner in self.labels else tag

    def _tagged(self, sentence: Words, tags: Sequence[str], scores: Sequence[float]) -> Tagged:
        known = [score for score in scores if score > 0.0]  # words without pieces have none
        confidence = sum(known) / len(known) if known else 1.0
        if not self.finds_entities:
            return Tagged(sentence.words, tuple(tags), (), confidence)
        text, offsets = sentence.whole_text(), sentence.word_offsets()
        predicted_entities = entities(positioned(tags, self.scheme))
        spans = []
        for label, first, end in predicted_entities:
            start, stop = offsets[first][0], offsets[end - 1][1]
            spans.append(Span(label, text[start:stop], start, stop, sum(scores[first:end]) / (end - first)))
        return Tagged(sentence.words, iob2(predicted_entities, len(tags)), tuple(spans), confidence)

    def score(self, predictions: Sequence[Tagged], items: Sequence[Words]) -> dict[str, float]:
        """Score entities by the CoNLL rules. Score other tags by accuracy and `f1`, the mean F1 of all tags."""
        gold, guesses = self._gold(items), [guess.tags for guess in predictions]
        if self.finds_entities:
            return entity_scores(gold, guesses)
        flat_gold, flat_guesses = _flat(gold), _flat(guesses)
        return {"f1": macro_f1(flat_gold, flat_guesses), "accuracy": accuracy(flat_gold, flat_guesses)}

    def rescorer(self, predictions: Sequence[Tagged], items: Sequence[Words]) -> Any:
        """Return a function that computes `score` for the texts at given indices, which may repeat."""
        rescorer = entity_rescorer if self.finds_entities else tag_rescorer
        return rescorer(self._gold(items), [guess.tags for guess in predictions])

    def _gold(self, items: Sequence[Words]) -> list[tuple[str, ...]]:
        """Return the items' tags, with positions added if the model's tags have none."""
        return [positioned(_tags(item), self.scheme) for item in items]

    def judge(self, prediction: Tagged, item: Words) -> Judgement:
        """Compare the entities of a text, with their F1 as credit, or its tags, with their accuracy as credit."""
        if self.finds_entities:
            (gold_tags,) = self._gold([item])
            any_entity = entities(gold_tags) or entities(prediction.tags)
            credit = entity_scores([gold_tags], [prediction.tags])["f1"] if any_entity else 1.0
            return Judgement(
                _entities_of(item, gold_tags), _entities_of(item, prediction.tags), credit, prediction.score
            )
        gold, guess = [], []
        for word, tag, predicted in zip(item.words, _tags(item), prediction.tags, strict=True):
            if tag != predicted:
                gold.append(f"{word}/{tag}")
                guess.append(f"{word}/{predicted}")
        credit = accuracy(_tags(item), prediction.tags) if item.words else 1.0
        return Judgement(", ".join(gold), ", ".join(guess), credit, prediction.score)

    def per_class(self, predictions: Sequence[Tagged], items: Sequence[Words]) -> dict[str, dict[str, float]]:
        """Measure each entity type, or each tag."""
        gold, guesses = self._gold(items), [guess.tags for guess in predictions]
        if self.finds_entities:
            return entity_scores_by_type(gold, guesses)
        flat_gold, flat_guesses = _flat(gold), _flat(guesses)
        return per_class(flat_gold, flat_guesses, sorted({*flat_gold, *flat_guesses}))


def _along_tokens(values: NDArray[np.int64], pieces: Sequence[Sequence[int]], laid: Windows) -> NDArray[np.int64]:
    """Return the value of each token's piece, (T,), from values of pieces (P,); -1 if another window owns the piece."""
    shown = shown_pieces(pieces, laid)
    owned = laid.owned()
    along = np.full(len(laid.pieces.tokens), NOTHING, np.int64)
    along[laid.shown[owned]] = values[shown[owned]]
    return along


def _tags(item: Words) -> tuple[str, ...]:
    """Return the tags of a labelled item."""
    assert item.label is not None
    return item.label


def _flat(rows: Sequence[Sequence[str]]) -> list[str]:
    return [tag for row in rows for tag in row]


def _entities_of(item: Words, tags: Sequence[str]) -> str:
    """Return a list of the entities, such as "PER Angela Merkel, LOC Paris"."""
    text, offsets = item.whole_text(), item.word_offsets()
    names = [f"{label} {text[offsets[first][0] : offsets[end - 1][1]]}" for label, first, end in entities(tags)]
    return ", ".join(names) or "no entities"


class TaggingHead(nn.Module):
    """The encoder's dropout and a linear layer.

    Args:
        stem: the encoder's layer below it, with its dropout.
        hidden_size: H.
        num_labels: C.
    """

    token_by_token = True

    def __init__(self, stem: nn.Module, hidden_size: int, num_labels: int) -> None:
        super().__init__()
        self.stem = stem
        self.classifier = Linear(hidden_size, num_labels)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (T, C)."""
        logits: Tensor = self.classifier(self.stem(hidden, noise))
        return logits


TASK = Tagging
