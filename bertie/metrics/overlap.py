"""Similarity of generated texts to references: exact match, chrF, and BLEU and ROUGE by other packages.

All scores are 0 to 1; other programs print chrF and BLEU times 100. Exact match and chrF need only Python.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]|[^\\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+|[^\\w\\s]"
)
_ORDERS = 6
_RECALL_WEIGHT = 2.0**2  # beta 2: recall counts twice as much as precision


def same_words(gold: str, guess: str) -> bool:
    """Return whether two texts have the same words, punctuation and Chinese characters, ignoring spaces and case."""
    return _WORD.findall(gold.casefold()) == _WORD.findall(guess.casefold())


def exact_match(gold: Sequence[str], guesses: Sequence[str]) -> float:
    """Return the share of predictions that have the `same_words` as the reference."""
    return sum(same_words(*both) for both in zip(gold, guesses, strict=True)) / len(gold)


def chrf(gold: Sequence[str], guesses: Sequence[str]) -> float:
    """Return the F-score of character n-grams of 1 to 6, counted over all texts (Popović 2015, chrF2)."""
    sums = [[0, 0, 0] for _ in range(_ORDERS)]  # n-grams of the predictions, of the references, of both
    for reference, prediction in zip(gold, guesses, strict=True):
        for order, counts in enumerate(sums, 1):
            wanted, written = _ngrams(reference, order), _ngrams(prediction, order)
            counts[0] += sum(written.values()) if wanted else 0
            counts[1] += sum(wanted.values())
            counts[2] += sum((wanted & written).values())
    known = [counts for counts in sums if counts[0] and counts[1]]
    if not known:
        return 0.0
    precision = sum(both / written for written, _, both in known) / len(known)
    recall = sum(both / wanted for _, wanted, both in known) / len(known)
    below = _RECALL_WEIGHT * precision + recall
    return (1.0 + _RECALL_WEIGHT) * precision * recall / below if below else 0.0


def _ngrams(text: str, order: int) -> Counter[str]:
    """Count the n-grams of `order` characters in a text without its spaces."""
    packed = "".join(text.split())
    return Counter(packed[start : start + order] for start in range(len(packed) - order + 1))


def further_scores(gold: Sequence[str], guesses: Sequence[str]) -> dict[str, float]:
    """Return BLEU by sacrebleu and ROUGE-L by rouge-score, each if its package is installed (bertie[generation])."""
    scores = {}
    try:
        import sacrebleu
    except ModuleNotFoundError:
        pass
    else:
        tokenize = "zh" if any("\u4e00" <= letter <= "\u9fff" for text in gold for letter in text) else "13a"
        scores["bleu"] = sacrebleu.corpus_bleu(list(guesses), [list(gold)], tokenize=tokenize).score / 100.0
    try:
        from rouge_score import rouge_scorer
    except ModuleNotFoundError:
        pass
    else:
        scorer = rouge_scorer.RougeScorer(["rougeL"])
        measured = [
            scorer.score(reference, prediction)["rougeL"].fmeasure
            for reference, prediction in zip(gold, guesses, strict=True)
        ]
        scores["rouge_l"] = sum(measured) / len(measured)
    return scores
