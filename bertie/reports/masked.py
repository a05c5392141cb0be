"""Show sentences with a masked word and the model's predictions for it before and after training."""

from collections.abc import Sequence
from dataclasses import dataclass

from bertie.reports.page import section
from bertie.reports.text import is_wide, safe, spaced


@dataclass(frozen=True)
class MaskedSentence:
    """A sentence with a masked word, and the model's predictions for it before and after training."""

    pieces: Sequence[str]
    place: int
    """Index of the masked word in `pieces`."""
    answer: str
    """The masked word, one piece."""
    before: Sequence[tuple[str, float]]
    """(piece, probability), best first."""
    after: Sequence[tuple[str, float]]


def masked_section(sentences: Sequence[MaskedSentence]) -> str:
    """Return a section with every sentence and its predictions, under a remark that counts the right ones."""
    if not sentences:
        return ""
    cells = "".join(_sentence(sentence) for sentence in sentences)
    title = "Masked words before and after training"
    return section(title, f'<div class="clozes">{cells}</div>', remark=_score(sentences))


def _score(sentences: Sequence[MaskedSentence]) -> str:
    """Return a remark on how often the masked word is the first prediction, and how often among the first ones."""
    first = [sum(_rank(sentence.answer, guesses) == 1 for sentence, guesses in part) for part in _parts(sentences)]
    among = [sum(_rank(sentence.answer, guesses) > 0 for sentence, guesses in part) for part in _parts(sentences)]
    depth = max((len(sentence.after) for sentence in sentences), default=0)
    hidden = "character" if all(_is_chinese(sentence.answer) for sentence in sentences) else "word"
    return (
        f"One {hidden} of each sentence is masked. It is the first prediction in {first[0]} of {len(sentences)} "
        f"sentences before training and in {first[1]} after; it is among the first {depth} in {among[0]} before and in "
        f"{among[1]} after."
    )


def _is_chinese(piece: str) -> bool:
    return len(piece) == 1 and is_wide(piece)


def _parts(
    sentences: Sequence[MaskedSentence],
) -> tuple[list[tuple[MaskedSentence, Sequence[tuple[str, float]]]], ...]:
    return [(one, one.before) for one in sentences], [(one, one.after) for one in sentences]


def _rank(answer: str, guesses: Sequence[tuple[str, float]]) -> int:
    """Return the rank of the answer among the predictions, from 1; 0 if it is not among them."""
    return next((rank for rank, (piece, _) in enumerate(guesses, 1) if piece == answer), 0)


def _sentence(sentence: MaskedSentence) -> str:
    pieces = list(sentence.pieces)
    pieces[sentence.place] = sentence.answer
    words = ""
    for index, (word, space) in enumerate(spaced(pieces)):
        mark = f'<mark title="the masked word">{safe(word)}</mark>' if index == sentence.place else safe(word)
        words += f"{' ' if space else ''}{mark}"
    lists = "".join(
        f'<div><h3>{name}</h3><ol class="guesses">{_guesses(sentence.answer, guesses)}</ol></div>'
        for name, guesses in (("before", sentence.before), ("after", sentence.after))
        if guesses
    )
    return f'<article class="cloze"><p dir="auto">{words}</p><div class="two">{lists}</div></article>'


def _guesses(answer: str, guesses: Sequence[tuple[str, float]]) -> str:
    rows = ""
    for piece, score in guesses:
        share = min(1.0, max(0.0, score)) if score == score else 0.0  # NaN counts as 0
        hit = ' class="hit"' if piece == answer else ""
        right = '<span class="unseen"> (right)</span>' if hit else ""
        shown = f"{share:.0%}" if share >= 0.005 or share == 0 else "<1%"
        rows += (
            f'<li{hit}><i style="width:{100 * share:.1f}%"></i><bdi>{safe(piece)}</bdi>{right}'
            f"<small>{safe(shown)}</small></li>"
        )
    return rows
