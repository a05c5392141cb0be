"""From what inference found to what a report shows."""

from collections.abc import Sequence

from bertie.inference.cloze import Cloze
from bertie.inference.evaluate import Evaluation
from bertie.reports.classifier import ClassifierReport
from bertie.reports.masked import MaskedSentence
from bertie.tokenizer.tokenizer import Tokenizer

Guesses = Sequence[tuple[str, float]]


def masked_sentences(
    clozes: Sequence[Cloze], before: Sequence[Guesses], after: Sequence[Guesses], tokenizer: Tokenizer
) -> list[MaskedSentence]:
    """Put sentences with a hole beside what two models, or one at two times, put into it."""
    tokens = tokenizer.tokens
    return [
        MaskedSentence([tokens[piece] for piece in cloze.ids], cloze.place, tokens[cloze.answer], first, second)
        for cloze, first, second in zip(clozes, before, after, strict=True)
    ]


def classifier(found: Evaluation) -> ClassifierReport | None:
    """Show an evaluation with labels; None for one without."""
    if not found.labels:
        return None
    worst = [(_text(wrong.item), wrong.gold, wrong.guess, wrong.score) for wrong in found.worst]
    return ClassifierReport(list(found.labels), found.confusion, found.per_class, worst)


def _text(item: object) -> str:
    text, pair = str(getattr(item, "text", item)), getattr(item, "pair", None)
    return text if pair is None else f"{text}  |  {pair}"
