"""How near written texts come to those that were wanted: exact match, chrF, and other packages' BLEU and ROUGE.

All scores are from 0 to 1; other programs print chrF and BLEU times 100. Exact match and chrF need nothing but Python.
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
    """Tell whether two texts have the same words, signs and Chinese characters, whatever their spaces and case."""
    return _WORD.findall(gold.casefold()) == _WORD.findall(guess.casefold())


def exact_match(gold: Sequence[str], guesses: Sequence[str]) -> float:
    """Share of guesses that have the `same_words` as they should."""
    return sum(same_words(*both) for both in zip(gold, guesses, strict=True)) / len(gold)


def chrf(gold: Sequence[str], guesses: Sequence[str]) -> float:
    """F-score of character n-grams of 1 to 6, counted over all texts (Popović 2015, chrF2)."""
    sums = [[0, 0, 0] for _ in range(_ORDERS)]  # of the guesses, of the gold texts, of both
    for right, said in zip(gold, guesses, strict=True):
        for order, counts in enumerate(sums, 1):
            wanted, found = _ngrams(right, order), _ngrams(said, order)
            counts[0] += sum(found.values()) if wanted else 0
            counts[1] += sum(wanted.values())
            counts[2] += sum((wanted & found).values())
    known = [counts for counts in sums if counts[0] and counts[1]]
    if not known:
        return 0.0
    precision = sum(both / found for found, _, both in known) / len(known)
    recall = sum(both / wanted for _, wanted, both in known) / len(known)
    below = _RECALL_WEIGHT * precision + recall
    return (1.0 + _RECALL_WEIGHT) * precision * recall / below if below else 0.0


def _ngrams(text: str, order: int) -> Counter[str]:
    """Count a text's runs of so many characters, spaces left out."""
    packed = "".join(text.split())
    return Counter(packed[place : place + order] for place in range(len(packed) - order + 1))


def further_scores(gold: Sequence[str], guesses: Sequence[str]) -> dict[str, float]:
    """Return BLEU by sacrebleu and ROUGE-L by rouge-score, whichever of them is installed (bertie[generation])."""
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
        measured = [scorer.score(right, said)["rougeL"].fmeasure for right, said in zip(gold, guesses, strict=True)]
        scores["rouge_l"] = sum(measured) / len(measured)
    return scores
