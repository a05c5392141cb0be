"""Extractive question answering: where in a context the answer stands, or that there is none (BERT, 4.2 and 4.3).

One linear layer scores every token as start and as end of the answer. A long context is seen through windows; in those
that don't show the answer [CLS] is right, as it is for questions without an answer. Answers are runs of the context's
own characters, from the first of one piece to the last of another: where the original code rebuilds a text from pieces
and looks for it in the context again, nothing is rebuilt here, so that Chinese needs no spaces and no sign is lost. An
answer may begin or end inside a word, where the model says so.

Shapes: T tokens, B sequences (windows), I items, H hidden.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bertie import progress
from bertie.batch import Batch
from bertie.data.following import read_alike, warn_of_differences
from bertie.data.items import Question, Table, Text
from bertie.data.questions import read_questions
from bertie.data.reading import Reading
from bertie.data.windows import Truncation, Windows, lay_out
from bertie.errors import DataError, SettingsError
from bertie.metrics.question_answering import Marks, answer_scores, best_threshold, cmrc, squad
from bertie.nn.dropout import Noise
from bertie.tasks._answers import Reply, find_candidates, reply
from bertie.tasks.task import Judgement, Keys, Loss, Task, Term, check_length
from bertie.tokenizer.tokenizer import Tokenizer

NO_ANSWER = "(no answer)"
_CHINESE_SHARE = 0.3  # of a text's characters, from which on it counts as Chinese; English has next to none


@dataclass(frozen=True)
class QuestionAnswering(Task):
    """Find the answer of each question in its context."""

    max_length: int = 384
    """Tokens of the longest sequence."""
    truncation: Truncation = "window"
    """What to do with a longer context: slide a window over it, cut it (counted and reported), or stop (error)."""
    stride: int | None = 128
    """Pieces from one window to the next; half a window when None."""
    max_query: int = 64
    """Pieces of the longest question; longer ones are cut at the end, and counted."""
    max_answer: int = 30
    """Pieces of the longest answer."""
    n_best: int = 20
    """Starts and ends tried in each window, and answers kept of each question."""
    null_threshold: float | None = None
    """Score of "there is no answer" above which that is the answer, chosen on the dev table; None: always answer."""
    language: Literal["auto", "en", "zh"] = "auto"
    """Whose scores count, SQuAD's for en or CMRC 2018's for zh; auto looks at the contexts."""

    name: ClassVar[str] = "question_answering"
    architecture: ClassVar[str] = "{}ForQuestionAnswering"
    criterion: ClassVar[str] = "f1"

    def __post_init__(self) -> None:
        check_length(self.max_length)
        for name in ("stride", "max_query", "max_answer", "n_best"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name} must be at least 1; got {value}")
        if self.language not in ("auto", "en", "zh"):
            raise SettingsError(f"language must be auto, en or zh; got {self.language!r}")

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        labelled: bool = False,
        like: Reading | None = None,
    ) -> Table[Question]:
        """Read questions: SQuAD and CMRC files, or tables with question, context and answers."""
        table = read_alike(lambda said: read_questions(path, columns=said, labelled=labelled), columns, like)
        warn_of_differences(like, table.reading, labelled=labelled)
        return table

    @classmethod
    def learn(cls, items: Sequence[Question], settings: Mapping[str, Any]) -> dict[str, Any]:
        """See whether the model must be able to say that there is no answer, and which language it learns.

        Raises:
            DataError: no question has an answer that stands in its context.
        """
        if not any(answer.start >= 0 for item in items for answer in item.label or ()):
            raise DataError(f"none of {len(items)} questions has an answer in its context; there is nothing to learn")
        learned: dict[str, Any] = {}
        if "null_threshold" not in settings and any(item.label == () for item in items):
            learned["null_threshold"] = 0.0
        if settings.get("language", "auto") == "auto":
            learned["language"] = language_of(items)
        return learned

    def admit(self, items: Sequence[Question], path: Path) -> None:
        """Say so when a table has questions without an answer and the model always answers."""
        without = sum(item.label == () for item in items)
        if without and self.null_threshold is None:
            progress.warn(
                f"{path}: {without:,} of {len(items):,} questions have no answer, and this model always gives one; "
                "set null_threshold to a number, such as 0, to let it say that there is none"
            )

    def encode(self, items: Sequence[Any], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Pack questions and windows of their contexts.

        Targets that decoding needs: `token.begin` and `token.finish` (T,), the characters of the context that a piece
        stands for, -1 elsewhere; `token.owned` (T,), whether no other window shows the piece with more context. When
        every item is labelled also `sequence.start` and `sequence.end` (B,), the places of the answer's first and last
        piece, 0 where the window doesn't show it whole, -1 where nothing is known of its place. Of several answers the
        first that has a place counts.

        Raises:
            DataError: an item that is no question with a context.
        """
        questions = [as_question(item, number) for number, item in enumerate(items, 1)]
        asked = tokenizer.encode_batch([question.text for question in questions])
        contexts = list(dict.fromkeys(question.context for question in questions))
        try:
            aligned = tokenizer.encode_batch_aligned(contexts)
        except DataError:
            tokenizer.encode_batch([question.context for question in questions])  # names the item, not its context
            raise
        numbers = {context: number for number, context in enumerate(contexts)}
        which = np.array([numbers[question.context] for question in questions], np.int64)  # (I,)
        laid = lay_out(
            [ids[: self.max_query] for ids in asked],
            [aligned[number][0] for number in which],
            tokenizer,
            max_length=self.max_length,
            truncation=self.truncation,
            stride=self.stride,
            slide="second",
        )
        edges = [np.array(offsets, np.int32).reshape(-1, 2) for _, offsets in aligned]
        targets = _alignment(laid, which, edges)
        targets["sequence.cut"] = laid.pieces.truncated + _questions_cut(laid, asked, self.max_query)
        if all(question.label is not None for question in questions):
            targets |= _answers(
                laid, [_places(item, edges[number]) for item, number in zip(questions, which, strict=True)]
            )
        return Batch.pack(
            laid.pieces.tokens, laid.pieces.segments, laid.pieces.offsets, rows=laid.rows, targets=targets
        )

    def head(self, encoder: Any) -> SpanHead:
        """Make the layer that scores starts and ends."""
        return SpanHead(encoder.token_stem("answers"), encoder.config.hidden_size)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the windows whose answer is known."""
        return {self.name: float((batch.targets["sequence.start"] >= 0).sum())}

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        """Mean of the cross-entropies of start and end, each over all tokens of a window."""
        gold = torch.stack([batch.targets["sequence.start"], batch.targets["sequence.end"]], 1)  # (B, 2)
        known = gold[:, 0] >= 0
        logits = batch.unpack(outputs.float(), padding=-torch.inf)  # (B, S, 2)
        right = logits.gather(1, gold.clamp(min=0)[:, None]).squeeze(1)
        losses = (logits.logsumexp(1) - right).mean(1)
        hits = (logits.argmax(1) == gold).all(1)
        count = self.counts(batch)[self.name]
        return Loss({self.name: Term(1.0, losses[known].sum(), count)}, {"span_accuracy": (hits.sum(), count)})

    def decode(self, outputs: Tensor, batch: Batch, items: Sequence[Any], tokenizer: Tokenizer) -> list[Reply]:
        """Answer each question from all of its windows."""
        always = self.null_threshold is None
        found = find_candidates(outputs, batch, n_best=self.n_best, max_answer=self.max_answer, always=always)
        contexts = [as_question(item, number).context for number, item in enumerate(items, 1)]
        return [
            reply(found, number, context, n_best=self.n_best, threshold=self.null_threshold)
            for number, context in enumerate(contexts)
        ]

    def score(self, predictions: Sequence[Reply], items: Sequence[Question]) -> dict[str, float]:
        """Work out exact match and F1, of tables with unanswerable questions also F1 apart for these and the others."""
        scores: dict[str, float] = self.rescorer(predictions, items)(np.arange(len(items)))
        return scores

    def rescorer(self, predictions: Sequence[Reply], items: Sequence[Question]) -> Any:
        """Return what `score` says of the questions at some places, which may come several times."""
        marks = self._marks([guess.text for guess in predictions], items)
        there = np.array([bool(item.label) for item in items])
        names = ("exact_match", "f1", "has_answer_f1", "no_answer_f1")

        def score(places: NDArray[np.int64]) -> dict[str, float]:
            scores = answer_scores(marks[places], there[places].tolist())
            return {name: scores[name] for name in names if name in scores}

        return score

    def tune(self, predictions: Sequence[Reply], items: Sequence[Question]) -> dict[str, Any]:
        """Choose the threshold of the best F1 on the dev table, where some of its questions have no answer."""
        there = [bool(item.label) for item in items]
        if all(there) or not any(there):
            return {}
        texts = [next((span.text for span in guess.n_best if span.text), "") for guess in predictions]
        nulls = [guess.null_score for guess in predictions]
        marks, said = self._marks(texts, items)[:, 1], [bool(text) for text in texts]
        _, threshold = best_threshold(marks, said, there, nulls, nothing=min(nulls) - 1.0)
        # Half-way to the next score, so that a last digit that comes out otherwise elsewhere turns no answer over.
        above = [null for null in nulls if threshold < null < np.inf]
        return {"null_threshold": (threshold + min(above)) / 2 if above else threshold}

    def revise(self, predictions: Sequence[Reply]) -> list[Reply] | None:
        """Choose again by the threshold as it is now; None where "no answer" was not among the answers kept."""
        revised = [guess.under(self.null_threshold) for guess in predictions]
        return None if any(guess is None for guess in revised) else revised  # type: ignore[return-value]

    def judge(self, prediction: Reply, item: Question) -> Judgement:
        """Give the answer's F1 as credit."""
        gold = " | ".join(dict.fromkeys(answer.text for answer in item.label or ())) or NO_ANSWER
        credit = float(self._marks([prediction.text], [item])[0, 1])
        return Judgement(gold, prediction.text or NO_ANSWER, credit, prediction.score)

    def _marks(self, texts: Sequence[str], items: Sequence[Question]) -> Marks:
        """Return exact match and F1 (I, 2): CMRC's for Chinese, SQuAD's else, 2.0 where a question has no answer."""
        gold = [[answer.text for answer in item.label or ()] for item in items]
        if self._language(items) == "zh":
            pairs = [cmrc(*both) for both in zip(texts, gold, strict=True)]
        else:
            version: Literal[1, 2] = 1 if all(gold) else 2
            pairs = [squad(text, answers, version=version) for text, answers in zip(texts, gold, strict=True)]
        return np.array(pairs, np.float64).reshape(-1, 2)

    def _language(self, items: Sequence[Question]) -> str:
        return language_of(items) if self.language == "auto" else self.language


def as_question(item: Any, number: int) -> Question:
    """Return an item of any form that is a question with its context.

    Raises:
        DataError: something else, by its number.
    """
    if isinstance(item, Question):
        return item
    if isinstance(item, Text) and item.pair is not None and item.label is None:
        return Question(item.text, item.pair)
    if isinstance(item, tuple) and len(item) == 2:
        return Question(*item)
    raise DataError(
        f"text {number} is {item!r:.60}; give a question with its context: a tuple of both, a Text with a pair, or a "
        "Question, which alone may have answers"
    )


def language_of(items: Sequence[Question]) -> Literal["en", "zh"]:
    """Tell by the share of Chinese characters in the contexts which language's scores count."""
    letters = chinese = 0
    for context in dict.fromkeys(item.context for item in items):
        letters += sum(not character.isspace() for character in context)
        chinese += sum("\u4e00" <= character <= "\u9fff" for character in context)
    return "zh" if chinese > _CHINESE_SHARE * letters else "en"


def _alignment(laid: Windows, which: NDArray[np.int64], edges: Sequence[NDArray[np.int32]]) -> dict[str, Any]:
    """Say of every token which characters it stands for and whether this window owns it.

    Args:
        laid: B windows of I items.
        which: (I,) the number of each item's context.
        edges: first character of each piece and the one after its last, context by context.
    """
    before = np.concatenate([[0], np.cumsum([len(part) for part in edges])])
    shift = before[which[laid.rows]] + laid.starts - (np.cumsum(laid.counts) - laid.counts)  # (B,)
    shown, source = laid.shown, np.repeat(shift, laid.counts) + np.arange(int(laid.counts.sum()))
    characters = np.concatenate(edges)[source]
    length = len(laid.pieces.tokens)
    begin, finish = np.full(length, -1, np.int32), np.full(length, -1, np.int32)
    owned = np.zeros(length, np.bool_)
    begin[shown], finish[shown], owned[shown] = characters[:, 0], characters[:, 1], laid.owned()
    return {"token.begin": begin, "token.finish": finish, "token.owned": owned}


def _questions_cut(laid: Windows, asked: Sequence[Sequence[int]], max_query: int) -> NDArray[np.int64]:
    """Count on each item's first window what its question lost, (B,)."""
    lost = np.array([max(0, len(ids) - max_query) for ids in asked], np.int64)
    return np.where(np.diff(laid.rows, prepend=-1) != 0, lost[laid.rows], 0)


def _places(item: Question, edges: NDArray[np.int32]) -> tuple[int, int]:
    """Return the first and the last piece of a question's answer within its context.

    (-1, -1) for one without an answer, (-2, -2) where no answer has a place.
    """
    for answer in item.label or ():
        if answer.start >= 0:
            first = int(np.searchsorted(edges[:, 1], answer.start, side="right"))
            last = int(np.searchsorted(edges[:, 0], answer.start + len(answer.text), side="left")) - 1
            if first <= last:  # an answer of mere spaces has no piece
                return first, last
    return (-2, -2) if item.label else (-1, -1)


def _answers(laid: Windows, places: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Turn places in contexts (I) into places in windows (B)."""
    first, last = np.array(places, np.int64)[laid.rows].T  # (B,)
    inside = (first >= laid.starts) & (last < laid.starts + laid.counts)
    nothing = np.where(first == -2, -1, 0)
    return {
        "sequence.start": np.where(inside, laid.places + first - laid.starts, nothing),
        "sequence.end": np.where(inside, laid.places + last - laid.starts, nothing),
    }


class SpanHead(nn.Module):
    """Two scores a token: how well an answer starts there, and how well it ends there.

    Args:
        stem: what the encoder has before it.
        hidden_size: H.
    """

    token_by_token = True
    """Every output depends on its own token's hidden state alone."""

    def __init__(self, stem: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.stem = stem
        self.qa_outputs = nn.Linear(hidden_size, 2)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (T, 2)."""
        logits: Tensor = self.qa_outputs(self.stem(hidden, noise))
        return logits


TASK = QuestionAnswering
