"""Scores of answers as in the official scripts of SQuAD 1.1, SQuAD 2.0 and CMRC 2018: pure functions.

All scores are 0 to 1, where the scripts print per cent. CMRC's script splits English with NLTK's word tokenizer. The
Penn Treebank rules of that tokenizer are implemented here, so NLTK and its data are not needed.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Marks = NDArray[np.float64]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize(text: str) -> str:
    """Return an answer as SQuAD compares it: lower case, no ASCII punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def squad(guess: str, answers: Sequence[str], *, version: Literal[1, 2] = 2) -> tuple[float, float]:
    """Return exact match and F1 of the words of an answer, each the best over the right answers.

    Args:
        guess: the predicted answer; empty if the model predicts that there is none.
        answers: the right answers; empty for a question without an answer, which only version 2 has.
        version: version of the official script. In 1.1, an answer that is empty after normalization has an F1 of 0.
            2.0 drops right answers that are empty after normalization. If none is left, only an empty prediction is
            right.
    """
    golds = [normalize(answer) for answer in answers]
    if version == 2:
        golds = [gold for gold in golds if gold] or [""]
    predicted = normalize(guess)
    return max(float(predicted == gold) for gold in golds), max(_word_f1(predicted, gold, version) for gold in golds)


def _word_f1(predicted: str, gold: str, version: int) -> float:
    ours, theirs = predicted.split(), gold.split()
    if version == 2 and not (ours and theirs):
        return float(ours == theirs)
    return _f1(sum((Counter(ours) & Counter(theirs)).values()), len(ours), len(theirs))


def _f1(shared: int, predicted: int, gold: int) -> float:
    """Return the harmonic mean of precision and recall, from numbers of words; 0 if no word is shared."""
    if not shared:
        return 0.0
    precision, recall = shared / predicted, shared / gold
    return 2 * precision * recall / (precision + recall)


def answer_scores(
    marks: Marks,
    has_answer: Sequence[bool],
    *,
    answered: Sequence[bool] | None = None,
    null_scores: Sequence[float] | None = None,
    threshold: float | None = None,
) -> dict[str, float]:
    """Average the marks of answers as the script of SQuAD 2.0 does.

    Args:
        marks: (I, 2) exact match and F1 of each predicted answer.
        has_answer: (I,) whether the question has an answer.
        answered: (I,) whether an answer was predicted; needed for the best thresholds.
        null_scores: (I,) score of "no answer" minus the score of the best answer.
        threshold: an answer with a null score above it counts as "no answer". None: all answers count.

    Returns:
        `exact_match` and `f1`. If there are questions without an answer, also the same for questions with
        (`has_answer_`) and without one (`no_answer_`). With null scores, also `best_exact_match`, `best_f1`, and the
        `..._threshold` of each.
    """
    answerable, final = np.asarray(has_answer, np.bool_), np.asarray(marks, np.float64)
    if threshold is not None and null_scores is not None:
        final = np.where((np.asarray(null_scores) > threshold)[:, None], ~answerable[:, None], final)
    scores: dict[str, float] = {}
    for prefix, part in (("", np.ones_like(answerable)), ("has_answer_", answerable), ("no_answer_", ~answerable)):
        if part.any() and (not prefix or not answerable.all()):
            exact, f1 = final[part].mean(0)
            scores |= {f"{prefix}exact_match": float(exact), f"{prefix}f1": float(f1)}
    if null_scores is not None and answered is not None:
        for name, column in (("best_exact_match", 0), ("best_f1", 1)):
            best, at = best_threshold(np.asarray(marks)[:, column], answered, has_answer, null_scores)
            scores |= {name: best, f"{name}_threshold": at}
    return scores


def best_threshold(
    marks: Marks,
    answered: Sequence[bool],
    has_answer: Sequence[bool],
    null_scores: Sequence[float],
    *,
    nothing: float = 0.0,
) -> tuple[float, float]:
    """Return the best mean mark and the null score above which questions should stay unanswered for it.

    As in the script of SQuAD 2.0, one more question is answered at a time, in the order of rising null scores.

    Args:
        marks: mark of each predicted answer, 0 to 1.
        answered: whether an answer was predicted for each question.
        has_answer: whether each question has an answer.
        null_scores: score of "no answer" minus the score of the best answer.
        nothing: the threshold to return if it is best to answer no question; the script returns 0.

    Returns:
        The best mean mark, and its threshold.
    """
    current = best = float(sum(not answerable for answerable in has_answer))
    at = nothing
    for index in sorted(range(len(null_scores)), key=null_scores.__getitem__):
        current += float(marks[index]) if has_answer[index] else -float(answered[index])
        if current > best:
            best, at = current, float(null_scores[index])
    return best / max(1, len(null_scores)), at


# CMRC 2018. The punctuation that its script removes. Other marks stay, such as the English full stop. So do the dots
# of an ellipsis: the script lists them in pairs and compares single characters.
_CMRC_PUNCTUATION = dict.fromkeys(map(ord, "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』"))
_CMRC_PARTS = re.compile("[\u4e00-\u9fa5]|[^\u4e00-\u9fa5]+")


def cmrc(guess: str, answers: Sequence[str]) -> tuple[float, float]:
    """Return exact match and F1 of an answer as in the script of CMRC 2018, each the best over the right answers.

    F1 is computed from the longest common run of Chinese characters and whole English words, without punctuation. For a
    question without answers, which that script doesn't have, only an empty prediction is right.
    """
    if not answers:
        return float(not guess), float(not guess)
    exact = max(float(_without_punctuation(guess) == _without_punctuation(answer)) for answer in answers)
    predicted = cmrc_words(guess)
    return exact, max(_run_f1(predicted, cmrc_words(answer)) for answer in answers)


def _run_f1(predicted: Sequence[str], gold: Sequence[str]) -> float:
    return _f1(longest_common_run(predicted, gold), len(predicted), len(gold))


def _without_punctuation(text: str) -> str:
    return text.lower().strip().translate(_CMRC_PUNCTUATION)


def cmrc_words(text: str) -> list[str]:
    """Split a text into Chinese characters and English words, without punctuation."""
    words: list[str] = []
    for part in _CMRC_PARTS.findall(_without_punctuation(text)):
        words += [part] if "\u4e00" <= part <= "\u9fa5" and len(part) == 1 else english_words(part)
    return words


def longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest run of words that occurs in both.

    >>> longest_common_run(["the", "old", "city", "wall"], ["an", "old", "city"])
    2
    """
    best, before = 0, [0] * (len(second) + 1)
    for word in first:
        row = [0] * (len(second) + 1)
        for column, other in enumerate(second, 1):
            if word == other:
                row[column] = before[column - 1] + 1
        best, before = max(best, *row), row
    return best


# English as NLTK's word tokenizer splits it: the rules of the Penn Treebank, in order, for lower-case text without the
# punctuation that CMRC removes. Inside a text, these words keep a full stop that follows them.
_ABBREVIATIONS = frozenset(
    """adm ala ariz aug ave bros calif co col colo conn corp dec dr feb fla fri ft ga gen ill inc jan jr kan ky lt ltd
    maj messrs mg mich minn mr mrs ms nev nov oct okla ore pa ph.d prof rep reps sen sep sept sr st tenn tues va vs vt
    wash wed wis a.c a.d a.m b.v c.v d.c l.a l.p m.b.a n.c n.h n.j n.m n.v n.y p.m r.i s.a s.c u.k u.n u.s u.s.a u.s.s.r
    w.va""".split()  # noqa: SIM905 - words to be read, not a table
)
_FULL_STOP = re.compile(r"""(\S*[^\s.])\.(?=[])}>"'»]*\s+(\S)|[])};:@"'([{!?])""")
_AFTER_OPENING = re.compile(r"""[^([{<"«]*$""")
_BEFORE_PADDING = (
    (re.compile("[«‘„]"), r" \g<0> "),
    (re.compile('^"'), " `` "),
    (re.compile(r"""(?<=[ ([{<])("|'')"""), " `` "),
    (re.compile(r"(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)"), "' "),
    (re.compile(r"""([^.])\.([])}>"'» ]*)\s*$"""), r"\1 . \2 "),
    (re.compile(r",(?=\D)|,$"), " , "),
    (re.compile(r"\.{2,}|[;@#$%&?!]|[\u2012-\u2015]"), r" \g<0> "),
    (re.compile(r"(?<=[^'])' "), " ' "),
    (re.compile(r"[][(){}<>]"), r" \g<0> "),
)
_AFTER_PADDING = (
    (re.compile("»"), " » "),
    (re.compile("''|\""), " '' "),
    (re.compile(r"\s+"), " "),
    (re.compile(r"(?<=[^' ])('[smd]|') "), r" \1 "),
    (re.compile(r"(?<=[^' ])('ll|'re|'ve|n't) "), r" \1 "),
    (re.compile(r"\b(can)(not)\b"), r" \1 \2 "),
    (
        re.compile(r"\b(d(?='ye\b)|(?:gim|lem)(?=me\b)|gon(?=na\b)|got(?=ta\b)|wan(?=na )|more(?='n\b))('?\w+)"),
        r" \1 \2 ",
    ),
    (re.compile(r" ('t)(is|was)\b"), r" \1 \2 "),
)


def english_words(text: str) -> list[str]:
    """Split lower-case English as NLTK's word tokenizer does.

    NLTK first finds sentences with a trained model, because a full stop is a separate word only at the end of a
    sentence. Here a full stop before a space ends a sentence, unless it follows a common abbreviation, a single letter,
    or a number that a lower-case letter follows. The results differ for rarer abbreviations inside an answer.
    """
    text = _FULL_STOP.sub(_end_of_sentence, text.strip())
    for pattern, replacement in _BEFORE_PADDING:
        text = pattern.sub(replacement, text)
    text = f" {text} "
    for pattern, replacement in _AFTER_PADDING:
        text = pattern.sub(replacement, text)
    return text.split()


def _end_of_sentence(match: re.Match[str]) -> str:
    """Separate a full stop from its word, unless the word is an abbreviation, a letter or an ordinal number."""
    word = _AFTER_OPENING.search(match[1])[0]  # type: ignore[index]
    numbered = word.isdecimal() and (match[2] or "").isalpha()
    if numbered or (len(word) == 1 and word.isalpha()) or word in _ABBREVIATIONS:
        return match[0]
    return f"{match[1]} ."
