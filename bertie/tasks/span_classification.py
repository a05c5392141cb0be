"""Span classification: find and label runs of words that may overlap or nest, which one tag a word can't.

Every run of up to `max_span` words is a candidate. Its vector is made from the hidden vectors of its first and last
piece, the mean of its pieces, and its length. A hidden layer and one logit for each label decide whether it has the
label, separately for each label.

Shapes: T tokens, M words, L longest candidate, K candidates, C labels, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from bertie import progress
from bertie.batch import Batch
from bertie.errors import DataError, SettingsError
from bertie.items.labels import tell_alike, tell_unseen
from bertie.items.words import Words
from bertie.metrics.classification import best_threshold
from bertie.metrics.entities import Entity, span_rescorer, span_scores, span_scores_by_label
from bertie.ops.sigmoid import sigmoid
from bertie.readers.reading import Reading, Table
from bertie.tasks._candidates import SpanHead, candidates, gold_codes, gold_table, word_slots
from bertie.tasks._card import CardText
from bertie.tasks._encoding import check_length
from bertie.tasks._lines import heading
from bertie.tasks._prediction import Prediction, Span, span_lines
from bertie.tasks._word_pieces import WordsLike, as_words, encode_words
from bertie.tasks.task import Judgement, Keys, Loss, Task, Term
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.windows import Truncation

_SHARE = 0.99  # of the training table's spans that `max_span` allows
_LONGEST = 16  # words of the longest candidate that is learned from a table
_MOST = 64  # words of the longest candidate that a user may set
_KEPT = 4  # candidates that are kept for each word, at most
_FLOOR = 0.02  # candidates below are not kept, so that the threshold can't be lower


Candidate = tuple[float, Entity]
"""A probability, and the label and characters of a span."""


@dataclass(frozen=True)
class FoundSpans(Prediction):
    """The prediction for one text."""

    spans: tuple[Span, ...]
    """The spans that reach the threshold, by first character, the longer ones first."""
    score: float
    """Mean probability of the spans; without spans, 1 less the probability of the most probable candidate."""
    candidates: tuple[Candidate, ...] = field(repr=False)
    """The most probable candidates, at most four a word, in the order of `spans`; the threshold divides them."""
    text: str = field(repr=False)
    """The whole text."""

    def lines(self, item: Any, width: int) -> list[str]:
        """Return the item, and one line for each span."""
        return [heading(item), *span_lines(self.spans)]


@dataclass(frozen=True)
class SpanClassification(Task[Words, Tensor, FoundSpans]):
    """Find the labelled spans of a text, which may overlap or nest."""

    labels: tuple[str, ...] = ()
    """Names of the labels in the order of the logits."""
    max_span: int = 8
    """Words of the longest span. Learned from the training table: long enough for 99 % of its spans, at most 16."""
    max_length: int = 128
    """Tokens of the longest sequence."""
    truncation: Truncation = "window"
    """What to do with longer text: refuse it (error), cut it (truncate), or read windows (window)."""
    stride: int | None = None
    """Pieces from the start of one window to the next. None: half a window."""
    threshold: float = 0.5
    """Probability from which on a span is found. Chosen on the dev set after training."""
    positive_weight: float = 10.0
    """Factor of the labelled candidates in the loss, because they are rare. 1 learns them later, to the same F1."""

    name: ClassVar[str] = "span_classification"
    architecture: ClassVar[str] = "{}Model"
    labels_words: ClassVar[bool] = True
    criterion: ClassVar[str] = "f1"
    head_settings: ClassVar[tuple[str, ...]] = ("max_span",)
    card: ClassVar[CardText] = CardText(
        title="A BERT model that finds labelled spans, which may overlap",
        limits=(
            "It knows no labels but its own.",
            "It finds no span of more words than its setting `max_span` says.",
            "The class of transformers loads the encoder, without the head that finds the spans.",
        ),
    )

    def __post_init__(self) -> None:
        check_length(self.max_length)
        if type(self.max_span) is not int or not 1 <= self.max_span <= _MOST:
            raise SettingsError(f"max_span must be from 1 to {_MOST} words; got {self.max_span}")
        if not self.positive_weight > 0.0:
            raise SettingsError(f"positive_weight must be above 0; got {self.positive_weight}")
        if len(set(self.labels)) < len(self.labels):
            name = next(label for label in self.labels if self.labels.count(label) > 1)
            raise SettingsError(f"labels has {name!r} twice; give each label once")

    @classmethod
    def read(cls, path: str | Path, *, labelled: bool = False, like: Reading | None = None, **how: Any) -> Table[Words]:
        """Read texts or words with spans, or any other file of tagging, whose entities are then the spans."""
        from bertie.readers.following import read_alike, warn_of_differences
        from bertie.readers.words import read_words

        columns = how.pop("columns", None)
        table = read_alike(
            lambda names: read_words(path, columns=names, labelled=labelled, overlapping=True, **how), columns, like
        )
        warn_of_differences(like, table.reading, labelled=labelled)
        return table

    @classmethod
    def learn(cls, items: Sequence[Words], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the labels, in alphabetical order, and the longest span that is a candidate.

        Raises:
            DataError: no text has a span, or a label is not among those of `settings`.
        """
        spans = [span for item in items for span in item.labelled_spans() or ()]
        if not spans:
            raise DataError("no text has a labelled span; there is nothing to learn")
        names = sorted({span.label for span in spans})
        tell_alike(names)
        labels = tuple(settings.get("labels") or names)  # the user's labels keep the user's order
        if unknown := [name for name in names if name not in labels]:
            raise DataError(f"the label {unknown[0]!r} is not among those of --settings, which are {', '.join(labels)}")
        lengths = np.array([span.end - span.start for span in spans])
        usual = int(np.quantile(lengths, _SHARE, method="higher"))
        max_span = int(settings.get("max_span") or min(_LONGEST, usual))
        if too_long := int((lengths > max_span).sum()):
            progress.note(
                f"{too_long:,} of {len(spans):,} spans have more than {max_span} words, at most {lengths.max()}, and "
                f"are not learned; --settings max_span={min(_MOST, lengths.max())} allows longer ones"
            )
        return {"labels": labels, "max_span": max_span}

    def has_gold(self, item: Any) -> bool:
        """Tell whether an item has spans or tags."""
        return isinstance(item, Words) and item.labelled_spans() is not None

    def check_items(self, items: Sequence[Words], path: Path) -> None:
        """Warn of labels that the model doesn't have: each of them counts as a mistake.

        Raises:
            DataError: the model has none of the table's labels.
        """
        occurrences = ((span.label, item.line) for item in items for span in item.labelled_spans() or ())
        tell_unseen(occurrences, self.labels, path)

    def encode(self, items: Sequence[WordsLike], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Pack texts, with the targets of `_candidates.word_slots` and, if every item has a label, `slot.gold`.

        Raises:
            DataError: an item is not a text, or its parts don't fit.
        """
        sentences, encoded, laid = encode_words(
            items,
            tokenizer,
            task=self.name,
            max_length=self.max_length,
            truncation=self.truncation,
            stride=self.stride,
        )
        targets = word_slots(sentences, encoded, laid, self.max_span)
        if all(sentence.labelled_spans() is not None for sentence in sentences):
            sequences = np.searchsorted(laid.pieces.offsets, targets["slot.position"], side="right") - 1
            targets["slot.gold"] = gold_codes(sentences, encoded, targets, laid.rows[sequences], self.labels)
        targets["sequence.cut"] = laid.pieces.truncated
        return Batch.pack(
            laid.pieces.tokens, laid.pieces.segments, laid.pieces.offsets, rows=laid.rows, targets=targets
        )

    def head(self, encoder: Any) -> SpanHead:
        """Make the head, which has no pooler."""
        size = encoder.config.hidden_size
        return SpanHead(encoder.token_layers("tags"), size, self.max_span, len(self.labels))

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the candidates."""
        return {"span_classification": float(batch.targets["slot.span"].sum())}

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        """Return the binary cross-entropy, summed over the labels of each candidate."""
        gold, scores = gold_table(batch, len(self.labels)), outputs.float()
        weight = scores.new_tensor(self.positive_weight)
        total = binary_cross_entropy_with_logits(scores, gold.float(), reduction="sum", pos_weight=weight)
        found = (gold & (scores.sigmoid() >= self.threshold)).sum()
        terms = {"span_classification": Term(1.0, total, self.counts(batch)["span_classification"])}
        return Loss(terms, {"recall": (found, gold.sum())})

    def decode(
        self, outputs: Tensor, batch: Batch, items: Sequence[WordsLike], tokenizer: Tokenizer
    ) -> list[FoundSpans]:
        """Return the spans of each text that reach the threshold, with their characters."""
        sentences = [as_words(item, number, self.name) for number, item in enumerate(items, 1)]
        scores = sigmoid(outputs.float())
        row, label = (scores >= min(_FLOOR, self.threshold)).nonzero(as_tuple=True)
        first, more = (part[row] for part in candidates(batch))
        owners = torch.repeat_interleave(batch.rows, batch.lengths)[batch.targets["slot.position"]]
        starts, ends = batch.targets["slot.word"][first], batch.targets["slot.reach"][first + more]
        kept: list[list[tuple[float, int, int, int]]] = [[] for _ in items]
        for owner, *found in zip(
            *(part.tolist() for part in (owners[first], scores[row, label], starts, ends, label)), strict=True
        ):
            kept[owner].append(tuple(found))
        return [self._found(*both) for both in zip(sentences, kept, strict=True)]

    def _found(self, sentence: Words, kept: list[tuple[float, int, int, int]]) -> FoundSpans:
        offsets = sentence.word_offsets()
        probable = sorted(kept, key=lambda one: (-one[0], *one[1:]))[: _KEPT * len(sentence.words)]
        places = [
            (score, Entity(self.labels[label], offsets[start][0], offsets[end][1]))
            for score, start, end, label in sorted(probable, key=lambda one: (one[1], -one[2], one[3]))
        ]
        return self._divided(tuple(places), sentence.whole_text())

    def _divided(self, probable: tuple[Candidate, ...], text: str) -> FoundSpans:
        """Return the prediction with the candidates that reach the threshold."""
        spans = tuple(
            Span(label, text[start:end], start, end, score)
            for score, (label, start, end) in probable
            if score >= self.threshold
        )
        if spans:
            return FoundSpans(spans, sum(span.score for span in spans) / len(spans), probable, text)
        return FoundSpans((), 1.0 - max((score for score, _ in probable), default=0.0), probable, text)

    def score(self, predictions: Sequence[FoundSpans], items: Sequence[Words]) -> dict[str, float]:
        """Compute F1, precision and recall of exact spans: label, first and last word must be right."""
        return span_scores(*_compared(predictions, items))

    def rescorer(self, predictions: Sequence[FoundSpans], items: Sequence[Words]) -> Any:
        """Return a function that computes `score` for the texts at given indices, which may repeat."""
        return span_rescorer(*_compared(predictions, items))

    def tune(self, predictions: Sequence[FoundSpans], items: Sequence[Words]) -> dict[str, Any]:
        """Choose the threshold of the best F1 on the dev set."""
        right, scores, missed = [], [], 0
        for prediction, gold in zip(predictions, map(_gold, items), strict=True):
            right += [place in gold for _, place in prediction.candidates]
            scores += [score for score, _ in prediction.candidates]
            missed += len(gold - {place for _, place in prediction.candidates})
        chosen = best_threshold(np.array([right], np.bool_), np.array([scores], np.float64), missed=missed)
        return {"threshold": max(_FLOOR, chosen)}

    def redecode(self, predictions: Sequence[FoundSpans]) -> list[FoundSpans]:
        """Compare the candidates' probabilities with the new threshold."""
        return [self._divided(prediction.candidates, prediction.text) for prediction in predictions]

    def judge(self, prediction: FoundSpans, item: Words) -> Judgement:
        """Compare the spans of a text, with their F1 as credit."""
        gold, guess = sorted(_gold(item), key=_order), [_place(span) for span in prediction.spans]
        credit = span_scores([gold], [guess])["f1"] if gold or guess else 1.0
        text = item.whole_text()
        return Judgement(_listed(gold, text), _listed(guess, text), credit, prediction.score)

    def per_class(self, predictions: Sequence[FoundSpans], items: Sequence[Words]) -> dict[str, dict[str, float]]:
        """Measure each label, including those that the model doesn't have."""
        return span_scores_by_label(*_compared(predictions, items))


def _gold(item: Words) -> set[Entity]:
    """Return the labelled spans of an item, by their characters."""
    return {Entity(label, start, end) for start, end, label in item.places(item.labelled_spans() or ())}


def _place(span: Span) -> Entity:
    return Entity(span.label, span.start, span.end)


def _order(span: Entity) -> tuple[int, int, str]:
    return span.start, -span.end, span.label


def _compared(
    predictions: Sequence[FoundSpans], items: Sequence[Words]
) -> tuple[list[list[Entity]], list[list[Entity]]]:
    """Return the gold and the predicted spans of each text, by their characters."""
    return [[*_gold(item)] for item in items], [[*map(_place, guess.spans)] for guess in predictions]


def _listed(spans: Sequence[Entity], text: str) -> str:
    """Return a list of spans, such as "ORG Bank of China, LOC China"."""
    return ", ".join(f"{span.label} {text[span.start : span.end]}" for span in spans) or "no spans"


TASK = SpanClassification
