"""What counting alone reaches at the tokens a masked LM has to guess: yardsticks that take no network.

Two of them, both in nats and as a share of right guesses, so that they stand beside a model's figures:

* unigram: how often each token occurs, whatever stands around it. A network on the plateau says the same.
* two neighbours: naive Bayes, p(w | left) x p(right | w), both by absolute discounting with Kneser and Ney's lower
  order. A network above it uses more than the tokens side by side.

The neighbours are those that the model sees when every chosen token is shown as [MASK]: a neighbour that is masked or
special says nothing. Special tokens are never chosen, so they are never guessed either.

Shapes: M chosen tokens, V vocabulary, P different pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertie.batch import Batch
from bertie.corpus.pairs import PairCounts
from bertie.tokenizer.tokenizer import Tokenizer

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

NOTHING = -1
"""In place of a neighbour that says nothing."""
_DISCOUNT = 0.75  # taken from every pair that was met; the best of several on English news and on Wikipedia
_UNSEEN = 0.5  # added to the counts of single tokens, so that none is impossible
_AT_ONCE = 64  # places of one left neighbour scored at a time: bounds the memory


@dataclass(frozen=True, eq=False)
class Places:
    """M chosen tokens with what stands beside them."""

    tokens: Integers
    """(M,) the tokens to guess."""
    left: Integers
    """(M,) the token before, or NOTHING."""
    right: Integers
    """(M,) the token behind, or NOTHING."""


@dataclass(frozen=True)
class Yardsticks:
    """Mean loss in nats and share of right guesses."""

    unigram_loss: float
    unigram_accuracy: float
    neighbours_loss: float
    neighbours_accuracy: float

    def figures(self) -> dict[str, float]:
        """Return the figures by the names they have in run.json."""
        return {f"yardstick_{name}": round(value, 4) for name, value in vars(self).items()}


def places_of(batches: Sequence[Batch], tokenizer: Tokenizer) -> Places:
    """Collect the chosen tokens of batches in which every one of them is shown as [MASK]."""
    silent = np.array(sorted({tokenizer.mask, tokenizer.start, tokenizer.separator, tokenizer.pad}))
    found = []
    for batch in batches:
        tokens, within = batch.tokens.numpy(), batch.positions.numpy()
        slots = batch.targets["slot.position"].numpy()
        behind = np.minimum(slots + 1, len(tokens) - 1)
        left, right = tokens[slots - 1], tokens[behind]
        left = np.where((within[slots] == 0) | np.isin(left, silent), NOTHING, left)
        right = np.where((within[behind] <= within[slots]) | np.isin(right, silent), NOTHING, right)
        found.append((batch.targets["slot.token"].numpy(), left, right))
    return Places(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def measure(pairs: PairCounts, places: Places, special_ids: Sequence[int]) -> Yardsticks:
    """Guess chosen tokens by counts.

    Args:
        pairs: counted in a corpus.
        places: at least one.
        special_ids: tokens that are never chosen.
    """
    model = _Counted(pairs, special_ids)
    unigram = model.unigram
    right, loss = np.zeros(len(places.tokens), bool), np.zeros(len(places.tokens))
    order = np.argsort(places.left, kind="stable")
    groups = np.flatnonzero(np.diff(places.left[order], prepend=NOTHING - 1))
    for members in np.split(order, groups[1:]):
        row = model.after(int(places.left[members[0]]))
        for first in range(0, len(members), _AT_ONCE):
            some = members[first : first + _AT_ONCE]
            chance, guess = row.score(places.tokens[some], places.right[some])
            loss[some], right[some] = -np.log(chance), guess == places.tokens[some]
        row.clear()
    return Yardsticks(
        unigram_loss=float(-np.log(unigram[places.tokens]).mean()),
        unigram_accuracy=float((places.tokens == unigram.argmax()).mean()),
        neighbours_loss=float(loss.mean()),
        neighbours_accuracy=float(right.mean()),
    )


class _Counted:
    """Smoothed probabilities from counts.

    p(b | a) = (max(count(a, b) - d, 0) + (d x kinds(a) + 1) x base(b)) / (count(a) + 1), where `kinds` counts the
    different tokens met behind a, and base(b) is the share of the different pairs that end with b.
    """

    def __init__(self, pairs: PairCounts, special_ids: Sequence[int]) -> None:
        size, self.pairs = pairs.vocab_size, pairs
        allowed = np.ones(size, bool)
        allowed[list(special_ids)] = False
        self.allowed = allowed
        self.unigram = _shares(pairs.tokens, allowed)
        kinds_before = np.bincount(pairs.right, minlength=size)
        self.base_right = _shares(kinds_before, np.ones(size, bool))
        self.base_left = _shares(kinds_before, allowed)
        # What p(right | w) is made of, for every w: what it leaves to the base, and what its counts are divided by.
        self.divisor = np.bincount(pairs.left, pairs.counts, minlength=size) + 1.0
        self.rest = (_DISCOUNT * np.bincount(pairs.left, minlength=size) + 1.0) / self.divisor
        self.extra = np.zeros(size)

    def after(self, left: int) -> "_Row":
        """Return p(w | left) for all w, or the unigram where there is no left neighbour."""
        if left == NOTHING:
            return _Row(self, np.zeros(0, np.int64), np.zeros(0), self.unigram, 1.0)
        some = slice(*self.pairs.by_left[left : left + 2])
        words, counts = self.pairs.right[some], self.pairs.counts[some]
        words, counts = words[self.allowed[words]], counts[self.allowed[words]]
        total = counts.sum() + 1.0
        return _Row(self, words, (counts - _DISCOUNT) / total, self.base_left, (_DISCOUNT * len(words) + 1.0) / total)


class _Row:
    """p(w | left) = share x base(w) + extra(w), with `extra` above zero for the words met behind `left`."""

    def __init__(self, model: _Counted, words: Integers, extra: Floats, base: Floats, share: float) -> None:
        self.model, self.words, self.base, self.share = model, words, base, share
        model.extra[words] = extra  # scratch of the size of the vocabulary, cleared again by `clear`
        # For a right neighbour nobody met behind a word: its chance is p(w | left) x rest(w) x base_right.
        common = base * model.rest
        self.total = share * common.sum() + (extra * model.rest[words]).sum()
        ends = np.append(words, common.argmax())
        values = (share * base[ends] + model.extra[ends]) * model.rest[ends]
        self.most = values.max()
        self.best = int(ends[values == self.most].min())

    def clear(self) -> None:
        """Put the scratch back to zeros."""
        self.model.extra[self.words] = 0.0

    def prior(self, words: Integers) -> Floats:
        """Return p(w | left) of some words."""
        values: Floats = self.share * self.base[words] + self.model.extra[words]
        return values

    def score(self, tokens: Integers, right: Integers) -> tuple[Floats, Integers]:
        """Return the probability of the right token at each place, and the guess."""
        chance, guess = np.empty(len(tokens)), np.empty(len(tokens), np.int64)
        open_ = right == NOTHING
        if open_.any():
            ends = np.append(self.words, self.base.argmax())
            values = self.prior(ends)
            chance[open_], guess[open_] = self.prior(tokens[open_]), ends[values == values.max()].min()
        if not open_.all():
            chance[~open_], guess[~open_] = self._between(tokens[~open_], right[~open_])
        return chance, guess

    def _between(self, tokens: Integers, right: Integers) -> tuple[Floats, Integers]:
        model, pairs = self.model, self.model.pairs
        starts, stops = pairs.by_right[right], pairs.by_right[right + 1]
        lengths = stops - starts
        owner = np.repeat(np.arange(len(right)), lengths)
        flat = pairs.order[np.arange(lengths.sum()) + np.repeat(stops - np.cumsum(lengths), lengths)]
        words = pairs.left[flat]
        prior = np.where(model.allowed[words], self.prior(words), 0.0)
        gains = prior * (pairs.counts[flat] - _DISCOUNT) / model.divisor[words]
        base = model.base_right[right]
        totals = base * self.total + np.bincount(owner, gains, minlength=len(right))
        scores = base[owner] * prior * model.rest[words] + gains
        most = base * self.most
        np.maximum.at(most, owner, scores)
        guess = np.where(most > base * self.most, model.pairs.vocab_size, self.best)
        top = scores == most[owner]
        np.minimum.at(guess, owner[top], words[top])
        own = self.prior(tokens)
        met = np.maximum(pairs.of(tokens, right) - _DISCOUNT, 0.0)
        own = own * (base * model.rest[tokens] + met / model.divisor[tokens])
        return own / totals, guess


def _shares(counts: Integers, allowed: NDArray[np.bool_]) -> Floats:
    """Turn counts into probabilities above zero of what is allowed."""
    raised = np.where(allowed, counts + _UNSEEN, 0.0)
    return raised / raised.sum()
