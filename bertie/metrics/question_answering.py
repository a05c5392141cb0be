"""Scores of answers as pure functions: SQuAD 1.1 and 2.0, and CMRC 2018, each as its official script counts.

All scores are 0 to 1, the scripts' per cent. CMRC's script cuts English with NLTK's word tokenizer; the rules of the
Penn Treebank that it follows are written down here, so that nothing need be installed or downloaded.
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
    """Write an answer as SQuAD compares it: lower case, no ASCII punctuation, no articles, single spaces."""
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def squad(guess: str, answers: Sequence[str], *, version: Literal[1, 2] = 2) -> tuple[float, float]:
    """Compare an answer with the right ones: exact match, and F1 of their words, each the best over the right ones.

    Args:
        guess: the answer; empty for "there is none".
        answers: right answers; none for a question that has no answer, which only version 2 knows.
        version: of the official script. 1.1 gives an F1 of 0 to what is empty once normalized; 2.0 takes out right
            answers that are, and what is left empty matches an empty guess alone.
    """
    golds = [normalize(answer) for answer in answers]
    if version == 2:
        golds = [gold for gold in golds if gold] or [""]
    said = normalize(guess)
    return max(float(said == gold) for gold in golds), max(_word_f1(said, gold, version) for gold in golds)


def _word_f1(said: str, gold: str, version: int) -> float:
    ours, theirs = said.split(), gold.split()
    if version == 2 and not (ours and theirs):
        return float(ours == theirs)
    return _f1(sum((Counter(ours) & Counter(theirs)).values()), len(ours), len(theirs))


def _f1(shared: int, said: int, right: int) -> float:
    """Harmonic mean of precision and recall; 0 where nothing is shared."""
    if not shared:
        return 0.0
    precision, recall = shared / said, shared / right
    return 2 * precision * recall / (precision + recall)


def answer_scores(
    marks: Marks,
    has_answer: Sequence[bool],
    *,
    answered: Sequence[bool] | None = None,
    null_scores: Sequence[float] | None = None,
    threshold: float | None = None,
) -> dict[str, float]:
    """Average what answers are worth, as the script of SQuAD 2.0 does.

    Args:
        marks: (I, 2) exact match and F1 of each answer.
        has_answer: (I,) whether its question has one.
        answered: (I,) whether something was said, for the best thresholds.
        null_scores: (I,) how much rather the question has no answer.
        threshold: an answer whose null score is above it counts as "there is none"; None: all answers stay.

    Returns:
        `exact_match` and `f1`; the same of questions with (`has_answer_`) and without an answer (`no_answer_`), where
        there are such; with null scores also `best_exact_match`, `best_f1`, and at which `..._threshold`.
    """
    there, final = np.asarray(has_answer, np.bool_), np.asarray(marks, np.float64)
    if threshold is not None and null_scores is not None:
        final = np.where((np.asarray(null_scores) > threshold)[:, None], ~there[:, None], final)
    scores: dict[str, float] = {}
    for prefix, part in (("", np.ones_like(there)), ("has_answer_", there), ("no_answer_", ~there)):
        if part.any() and (not prefix or not there.all()):
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
    """Find the null score above which a question is best left without an answer, as the script of SQuAD 2.0 does.

    It goes through the questions by rising null score and answers one more each time.

    Args:
        marks: what each guess is worth, 0 to 1.
        answered: whether each guess says something.
        has_answer: whether each question has an answer.
        null_scores: how much rather each question has none.
        nothing: what is returned as threshold where it is best to answer nothing; the script says 0.

    Returns:
        The best mean credit, and its threshold.
    """
    current = best = float(sum(not there for there in has_answer))
    at = nothing
    for place in sorted(range(len(null_scores)), key=null_scores.__getitem__):
        current += float(marks[place]) if has_answer[place] else -float(answered[place])
        if current > best:
            best, at = current, float(null_scores[place])
    return best / max(1, len(null_scores)), at


# CMRC 2018. What its script leaves out as punctuation; other signs stay, such as the full stop of English, and the dots
# of an ellipsis, which it lists in pairs and so never finds.
_CMRC_PUNCTUATION = dict.fromkeys(map(ord, "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』"))
_CMRC_PARTS = re.compile("[\u4e00-\u9fa5]|[^\u4e00-\u9fa5]+")


def cmrc(guess: str, answers: Sequence[str]) -> tuple[float, float]:
    """Compare an answer with the right ones as the script of CMRC 2018 does: exact match and F1, each the best of all.

    F1 goes by the longest run that both share of Chinese characters and whole English words; punctuation is left out.
    A question without right answers, which that script doesn't know, is answered rightly by an empty guess.
    """
    if not answers:
        return float(not guess), float(not guess)
    exact = max(float(_without_punctuation(guess) == _without_punctuation(answer)) for answer in answers)
    said = cmrc_words(guess)
    return exact, max(_run_f1(said, cmrc_words(answer)) for answer in answers)


def _run_f1(said: Sequence[str], gold: Sequence[str]) -> float:
    return _f1(longest_common_run(said, gold), len(said), len(gold))


def _without_punctuation(text: str) -> str:
    return text.lower().strip().translate(_CMRC_PUNCTUATION)


def cmrc_words(text: str) -> list[str]:
    """Cut a text into Chinese characters and English words, punctuation left out."""
    words: list[str] = []
    for part in _CMRC_PARTS.findall(_without_punctuation(text)):
        words += [part] if "\u4e00" <= part <= "\u9fa5" and len(part) == 1 else english_words(part)
    return words


def longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
    """Count the words of the longest run of words that stands in both."""
    best, before = 0, [0] * (len(second) + 1)
    for word in first:
        row = [0] * (len(second) + 1)
        for place, other in enumerate(second, 1):
            if word == other:
                row[place] = before[place - 1] + 1
        best, before = max(best, *row), row
    return best


# English as NLTK's word tokenizer cuts it: the Penn Treebank's rules, in their order, for lower-case text without the
# signs that CMRC leaves out. A word before a full stop inside a text keeps it where it is one of these.
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
    """Cut lower-case English as NLTK's word tokenizer does.

    That one finds sentences first, by a trained model, for a full stop is a word of its own at their end. Here a full
    stop before a space ends one unless it belongs to a common abbreviation, to a single letter, or to a number before
    a small letter; where a rarer abbreviation stands inside an answer, the two differ.
    """
    text = _FULL_STOP.sub(_end_of_sentence, text.strip())
    for pattern, replacement in _BEFORE_PADDING:
        text = pattern.sub(replacement, text)
    text = f" {text} "
    for pattern, replacement in _AFTER_PADDING:
        text = pattern.sub(replacement, text)
    return text.split()


def _end_of_sentence(found: re.Match[str]) -> str:
    """Part a full stop from its word, unless it only shortens the word."""
    word = _AFTER_OPENING.search(found[1])[0]  # type: ignore[index]
    numbered = word.isdecimal() and (found[2] or "").isalpha()
    if numbered or (len(word) == 1 and word.isalpha()) or word in _ABBREVIATIONS:
        return found[0]
    return f"{found[1]} ."
