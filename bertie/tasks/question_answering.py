"""Extractive question answering: find the answer in a context, or tell that it has none (BERT, 4.2 and 4.3).

One linear layer scores every token as start and as end of the answer. A long context is split into windows. In a window
without the answer [CLS] is the target, as it is for questions without an answer. An answer is a substring of the
context, from the first character of its first piece to the last character of its last piece, so it may begin or end
inside a word. The original code joins the pieces and searches the context for the result. Taking the substring instead
keeps all characters and works for Chinese, which has no spaces.

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
from bertie.errors import DataError, SettingsError
from bertie.items.question import Question
from bertie.items.text import Text
from bertie.metrics.question_answering import Marks, answer_scores, best_threshold, cmrc, squad
from bertie.ops.dropout.op import Noise
from bertie.ops.linear.op import Linear
from bertie.readers.reading import Reading, Table
from bertie.tasks._answers import Reply, find_candidates, reply
from bertie.tasks._card import CardText
from bertie.tasks._encoding import check_length
from bertie.tasks._question_windows import alignment, answer_pieces, answer_places, questions_cut
from bertie.tasks.task import Judgement, Keys, Loss, Task, Term
from bertie.tokenizer.tokenizer import Tokenizer
from bertie.tokenizer.windows import Truncation, lay_out

NO_ANSWER = "(no answer)"
_CHINESE_SHARE = 0.3  # a text with more Chinese characters than this share is Chinese; English has almost none


QuestionLike = tuple[str, str] | Text | Question
"""What the task takes: a question with its context, or a `Question`, the only form with answers."""


@dataclass(frozen=True)
class QuestionAnswering(Task[Question, Tensor, Reply]):
    """Find the answer of each question in its context."""

    max_length: int = 384
    """Tokens of the longest sequence."""
    truncation: Truncation = "window"
    """What to do with a longer item: read it in windows (window), cut and count it (truncate), or refuse it (error)."""
    stride: int | None = 128
    """Pieces from the start of one window to the next. None: half a window."""
    max_query: int = 64
    """Pieces of the longest question. The end of a longer one is cut, and counted."""
    max_answer: int = 30
    """Pieces of the longest answer."""
    n_best: int = 20
    """Number of starts and ends tried in each window, and of answers kept for each question."""
    null_threshold: float | None = None
    """Score of "no answer" above which it is the prediction. Chosen on the dev set. None: always predict an answer."""
    language: Literal["auto", "en", "zh"] = "auto"
    """Language of the scoring rules: those of SQuAD (en) or CMRC 2018 (zh). auto: by the contexts."""

    name: ClassVar[str] = "question_answering"
    architecture: ClassVar[str] = "{}ForQuestionAnswering"
    criterion: ClassVar[str] = "f1"
    card: ClassVar[CardText] = CardText(
        title="A BERT model that finds answers in a text",
        pipeline="question-answering",
        loader="AutoModelForQuestionAnswering",
        output="start_logits",
        limits=("An answer is a span of the given text; the model does not phrase answers of its own.",),
        item="question",
    )

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
        """Read questions from SQuAD and CMRC files, or from tables with question, context and answers."""
        from bertie.readers.following import read_alike, warn_of_differences
        from bertie.readers.questions import read_questions

        table = read_alike(lambda names: read_questions(path, columns=names, labelled=labelled), columns, like)
        warn_of_differences(like, table.reading, labelled=labelled)
        return table

    @classmethod
    def learn(cls, items: Sequence[Question], settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return a null threshold of 0 if some questions have no answer, and the language of the contexts.

        Raises:
            DataError: no question has an answer at a known position in its context.
        """
        if not any(answer.start >= 0 for item in items for answer in item.label or ()):
            raise DataError(f"none of {len(items)} questions has an answer in its context; there is nothing to learn")
        learned: dict[str, Any] = {}
        if "null_threshold" not in settings and any(item.label == () for item in items):
            learned["null_threshold"] = 0.0
        if settings.get("language", "auto") == "auto":
            learned["language"] = language_of(items)
        return learned

    def check_items(self, items: Sequence[Question], path: Path) -> None:
        """Warn if a table has questions without an answer and the model always predicts one."""
        without = sum(item.label == () for item in items)
        if without and self.null_threshold is None:
            progress.warn(
                f"{path}: {without:,} of {len(items):,} questions have no answer, but this model always predicts one; "
                'set null_threshold to a number, such as 0, so that it can predict "no answer"'
            )

    def encode(self, items: Sequence[QuestionLike], tokenizer: Tokenizer, keys: Keys | None = None) -> Batch:
        """Pack questions with windows of their contexts.

        Targets for decoding: `token.begin` and `token.finish` (T,), the first character of a piece in the context and
        the index after its last, -1 for other tokens; `token.owned` (T,), whether no other window shows the piece with
        more context. If every item has a label also `sequence.start` and `sequence.end` (B,), the positions of the
        first and the last piece of the answer: 0 if the window doesn't show it whole, -1 if its position in the context
        is unknown. If an item has several answers, the first one with a known position is used.

        Raises:
            DataError: an item is not a question with a context.
        """
        questions = [as_question(item, number) for number, item in enumerate(items, 1)]
        question_ids = tokenizer.encode_batch([question.text for question in questions])
        contexts = list(dict.fromkeys(question.context for question in questions))
        try:
            aligned = tokenizer.encode_batch_aligned(contexts)
        except DataError:
            tokenizer.encode_batch([question.context for question in questions])  # its error names the item
            raise
        numbers = {context: number for number, context in enumerate(contexts)}
        context_of = np.array([numbers[question.context] for question in questions], np.int64)  # (I,)
        laid = lay_out(
            [ids[: self.max_query] for ids in question_ids],
            [aligned[number][0] for number in context_of],
            tokenizer,
            max_length=self.max_length,
            truncation=self.truncation,
            stride=self.stride,
            slide="second",
        )
        edges = [np.array(offsets, np.int32).reshape(-1, 2) for _, offsets in aligned]
        targets = alignment(laid, context_of, edges)
        targets["sequence.cut"] = laid.pieces.truncated + questions_cut(laid, question_ids, self.max_query)
        if all(question.label is not None for question in questions):
            targets |= answer_places(
                laid, [answer_pieces(item, edges[number]) for item, number in zip(questions, context_of, strict=True)]
            )
        return Batch.pack(
            laid.pieces.tokens, laid.pieces.segments, laid.pieces.offsets, rows=laid.rows, targets=targets
        )

    def head(self, encoder: Any) -> SpanHead:
        """Make the layer that scores starts and ends."""
        return SpanHead(encoder.token_layers("answers"), encoder.config.hidden_size)

    def counts(self, batch: Batch) -> dict[str, float]:
        """Count the windows with a known target."""
        return {self.name: float((batch.targets["sequence.start"] >= 0).sum())}

    def loss(self, outputs: Tensor, batch: Batch) -> Loss:
        """Return the mean of the cross-entropies of start and end, each over all tokens of a window."""
        gold = torch.stack([batch.targets["sequence.start"], batch.targets["sequence.end"]], 1)  # (B, 2)
        known = gold[:, 0] >= 0
        logits = batch.unpack(outputs.float(), padding=-torch.inf)  # (B, S, 2)
        right = logits.gather(1, gold.clamp(min=0)[:, None]).squeeze(1)
        losses = (logits.logsumexp(1) - right).mean(1)
        hits = (logits.argmax(1) == gold).all(1)
        count = self.counts(batch)[self.name]
        return Loss({self.name: Term(1.0, losses[known].sum(), count)}, {"span_accuracy": (hits.sum(), count)})

    def logit_rows(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Return (2B, S) logits of an answer's first and last token, over the tokens of a window."""
        return batch.unpack(outputs.float(), padding=-torch.inf).transpose(1, 2).flatten(0, 1)

    def num_logit_rows(self, batch: Batch) -> float:
        """Count the first and last tokens, one each for a window."""
        return 2.0 * len(batch)

    def decode(self, outputs: Tensor, batch: Batch, items: Sequence[QuestionLike], tokenizer: Tokenizer) -> list[Reply]:
        """Return the best answer of each question over all of its windows."""
        always = self.null_threshold is None
        candidates = find_candidates(outputs, batch, n_best=self.n_best, max_answer=self.max_answer, always=always)
        contexts = [as_question(item, number).context for number, item in enumerate(items, 1)]
        return [
            reply(candidates, number, context, n_best=self.n_best, threshold=self.null_threshold)
            for number, context in enumerate(contexts)
        ]

    def score(self, predictions: Sequence[Reply], items: Sequence[Question]) -> dict[str, float]:
        """Compute exact match and F1. With unanswerable questions, also compute F1 of these and of the others."""
        scores: dict[str, float] = self.rescorer(predictions, items)(np.arange(len(items)))
        return scores

    def rescorer(self, predictions: Sequence[Reply], items: Sequence[Question]) -> Any:
        """Return a function that computes `score` for the questions at given indices, which may repeat."""
        marks = self._marks([guess.text for guess in predictions], items)
        has_answer = np.array([bool(item.label) for item in items])
        names = ("exact_match", "f1", "has_answer_f1", "no_answer_f1")

        def score(indices: NDArray[np.int64]) -> dict[str, float]:
            scores = answer_scores(marks[indices], has_answer[indices].tolist())
            return {name: scores[name] for name in names if name in scores}

        return score

    def tune(self, predictions: Sequence[Reply], items: Sequence[Question]) -> dict[str, Any]:
        """Choose the threshold of the best F1 on the dev set, if only some of its questions have an answer."""
        has_answer = [bool(item.label) for item in items]
        if all(has_answer) or not any(has_answer):
            return {}
        texts = [next((span.text for span in guess.n_best if span.text), "") for guess in predictions]
        nulls = [guess.null_score for guess in predictions]
        marks, answered = self._marks(texts, items)[:, 1], [bool(text) for text in texts]
        _, threshold = best_threshold(marks, answered, has_answer, nulls, nothing=min(nulls) - 1.0)
        # Half-way to the next score, so that rounding differences on another machine change no answer.
        above = [null for null in nulls if threshold < null < np.inf]
        return {"null_threshold": (threshold + min(above)) / 2 if above else threshold}

    def redecode(self, predictions: Sequence[Reply]) -> list[Reply] | None:
        """Choose again by the present threshold. None if the predictions lack an answer that it chooses."""
        revised = [guess.under(self.null_threshold) for guess in predictions]
        return None if any(guess is None for guess in revised) else revised  # type: ignore[return-value]

    def judge(self, prediction: Reply, item: Question) -> Judgement:
        """Compare answers. The credit is the F1."""
        gold = " | ".join(dict.fromkeys(answer.text for answer in item.label or ())) or NO_ANSWER
        credit = float(self._marks([prediction.text], [item])[0, 1])
        return Judgement(gold, prediction.text or NO_ANSWER, credit, prediction.score)

    def _marks(self, texts: Sequence[str], items: Sequence[Question]) -> Marks:
        """Return exact match and F1 (I, 2), by CMRC's rules for Chinese, else by SQuAD's.

        SQuAD's rules are those of version 2.0 if a question has no answer, else those of 1.1.
        """
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
    """Convert an item to a question with its context.

    Raises:
        DataError: the item is something else; the message names its number.
    """
    if isinstance(item, Question):
        return item
    if isinstance(item, Text) and item.pair is not None and item.label is None:
        return Question(item.text, item.pair)
    if isinstance(item, tuple) and len(item) == 2:
        return Question(*item)
    raise DataError(
        f"text {number} is {item!r:.60}; give a question with its context: a tuple of both, a Text with a pair, or a "
        "Question, the only form with answers"
    )


def language_of(items: Sequence[Question]) -> Literal["en", "zh"]:
    """Return the language of the contexts, decided by their share of Chinese characters."""
    letters = chinese = 0
    for context in dict.fromkeys(item.context for item in items):
        letters += sum(not character.isspace() for character in context)
        chinese += sum("\u4e00" <= character <= "\u9fff" for character in context)
    return "zh" if chinese > _CHINESE_SHARE * letters else "en"


class SpanHead(nn.Module):
    """A linear layer with two scores for each token: start and end of the answer.

    Args:
        stem: the encoder's layer below it.
        hidden_size: H.
    """

    token_by_token = True
    """Each output depends on its own token's hidden vector only."""

    def __init__(self, stem: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.stem = stem
        self.qa_outputs = Linear(hidden_size, 2)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (T, 2)."""
        logits: Tensor = self.qa_outputs(self.stem(hidden, noise))
        return logits


TASK = QuestionAnswering
