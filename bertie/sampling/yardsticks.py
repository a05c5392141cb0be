"""Yardsticks for a masked LM: what counting alone reaches at the chosen tokens, without a network.

There are two. Both have a loss in nats and an accuracy, so that they compare with a model's figures:

* unigram: the frequency of each token, whatever its context. A network on the plateau predicts the same.
* two neighbours: naive Bayes, p(w | left) x p(right | w). Both factors use absolute discounting with the lower order of
  Kneser and Ney. A network that beats it uses more than the adjacent tokens.

The neighbours are those that the model sees if every chosen token is shown as [MASK]. A neighbour that is masked or
special is ignored. Special tokens are never chosen, so they are never guessed either.

Shapes: M chosen tokens, V vocabulary, P different pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bertie.batch import Batch
from bertie.corpus.pairs import PairCounts
from bertie.sampling.plan import Plan
from bertie.tokenizer.tokenizer import Tokenizer

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

NOTHING = -1
"""In place of a neighbour that is masked, special or outside the sequence."""
_DISCOUNT = 0.75  # subtracted from the count of every pair; the best of several on English news and on Wikipedia
_UNSEEN = 0.5  # added to the count of every token, so that none has probability 0


@dataclass(frozen=True, eq=False)
class Places:
    """M chosen tokens with their neighbours."""

    tokens: Integers
    """(M,) the tokens to guess."""
    left: Integers
    """(M,) the token before each, or NOTHING."""
    right: Integers
    """(M,) the token after each, or NOTHING."""


@dataclass(frozen=True)
class Yardsticks:
    """Mean loss in nats and accuracy of each yardstick."""

    unigram_loss: float
    unigram_accuracy: float
    neighbours_loss: float
    neighbours_accuracy: float

    def figures(self) -> dict[str, float]:
        """Return the figures by their names in run.json."""
        return {f"yardstick_{name}": round(value, 4) for name, value in vars(self).items()}


def places_of(batches: Sequence[Batch], tokenizer: Tokenizer) -> Places:
    """Collect the chosen tokens of batches that show every one of them as [MASK]."""
    silent = np.array(sorted({tokenizer.mask, tokenizer.start, tokenizer.separator, tokenizer.pad}))
    parts = []
    for batch in batches:
        tokens, within = batch.tokens.numpy(), batch.positions.numpy()
        slots = batch.targets["slot.position"].numpy()
        behind = np.minimum(slots + 1, len(tokens) - 1)
        left, right = tokens[slots - 1], tokens[behind]
        left = np.where((within[slots] == 0) | np.isin(left, silent), NOTHING, left)
        right = np.where((within[behind] <= within[slots]) | np.isin(right, silent), NOTHING, right)
        parts.append((batch.targets["slot.token"].numpy(), left, right))
    none = np.zeros((3, 0), np.int64)
    return Places(*(np.concatenate(columns) for columns in zip(none, *parts, strict=True)))


def measure(pairs: PairCounts, places: Places, special_ids: Sequence[int]) -> Yardsticks:
    """Guess the chosen tokens from counts.

    Args:
        pairs: pair counts of a corpus.
        places: chosen tokens, at least one.
        special_ids: ids of tokens that are never chosen.
    """
    model = _Counted(pairs, special_ids)
    unigram = model.unigram
    chance, guess = np.empty(len(places.tokens)), np.empty(len(places.tokens), np.int64)
    order = np.argsort(places.left, kind="stable")
    groups = np.flatnonzero(np.diff(places.left[order], prepend=NOTHING - 1))
    for members in np.split(order, groups[1:]):  # chosen tokens with the same left neighbour
        prior = model.after(int(places.left[members[0]]))
        chance[members], guess[members] = model.score(prior, places.tokens[members], places.right[members])
    return Yardsticks(
        unigram_loss=float(-np.log(unigram[places.tokens]).mean()),
        unigram_accuracy=float((places.tokens == unigram.argmax()).mean()),
        neighbours_loss=float(-np.log(chance).mean()),
        neighbours_accuracy=float((places.tokens == guess).mean()),
    )


class _Counted:
    """Smoothed probabilities from counts.

    p(b | a) = (max(count(a, b) - d, 0) + (d x kinds(a) + 1) x base(b)) / (count(a) + 1). Here kinds(a) is the number of
    different tokens seen after a, and base(b) is the share of the different pairs that end with b.
    """

    def __init__(self, pairs: PairCounts, special_ids: Sequence[int]) -> None:
        size, self.pairs = pairs.vocab_size, pairs
        self.allowed = np.ones(size, bool)
        self.allowed[[token for token in special_ids if token < size]] = False
        kinds_before = np.bincount(pairs.right, minlength=size)
        self.unigram = _shares(pairs.tokens, self.allowed)
        self.base_of_guess = _shares(kinds_before, self.allowed)
        self.base_of_right = _shares(kinds_before, np.ones(size, bool))
        # p(right | w) = rest(w) x base(right) + back(w, right), and back is 0 for most w.
        self.divisor = np.bincount(pairs.left, pairs.counts, minlength=size) + 1.0
        self.rest = (_DISCOUNT * np.bincount(pairs.left, minlength=size) + 1.0) / self.divisor
        self.words = pairs.left[pairs.order]
        self.back = (pairs.counts[pairs.order] - _DISCOUNT) / self.divisor[self.words]

    def after(self, left: int) -> Floats:
        """Return p(w | left) of every token (V,); the unigram without a left neighbour."""
        if left == NOTHING:
            return self.unigram
        some = slice(*self.pairs.by_left[left : left + 2])
        words, counts = self.pairs.right[some], self.pairs.counts[some]
        words, counts = words[self.allowed[words]], counts[self.allowed[words]]
        prior: Floats = (_DISCOUNT * len(words) + 1.0) * self.base_of_guess
        prior[words] += counts - _DISCOUNT
        prior /= counts.sum() + 1.0
        return prior

    def score(self, prior: Floats, tokens: Integers, right: Integers) -> tuple[Floats, Integers]:
        """Return the probability of each right token, and the guess for it, given p(w | left) (V,)."""
        left_over = prior * self.rest  # for a right neighbour that was never seen after w
        total, best = left_over.sum(), int(left_over.argmax())
        bases, alone = self.base_of_right[right], int(prior.argmax())
        met = np.maximum(self.pairs.of(tokens, right) - _DISCOUNT, 0.0)
        chance = bases * left_over[tokens] + prior[tokens] * met / self.divisor[tokens]
        guess = np.full(len(tokens), best)
        for index, token in enumerate(right.tolist()):
            if token == NOTHING:
                chance[index], guess[index] = prior[tokens[index]], alone
                continue
            some = slice(*self.pairs.by_right[token : token + 2])
            words = self.words[some]
            gains = prior[words] * self.back[some]
            chance[index] /= bases[index] * total + gains.sum()
            if len(words):
                scores = bases[index] * left_over[words] + gains
                first = int(scores.argmax())
                candidate, top = int(words[first]), bases[index] * left_over[best]
                if scores[first] > top or (scores[first] == top and candidate < best):
                    guess[index] = candidate
        return chance, guess


def _shares(counts: Integers, allowed: NDArray[np.bool_]) -> Floats:
    """Turn counts into probabilities: above zero for allowed tokens, zero for the others."""
    raised = np.where(allowed, counts + _UNSEEN, 0.0)
    shares: Floats = raised / raised.sum()
    return shares


def ranges_of(plan: Plan, chosen: Integers) -> tuple[Integers, Integers]:
    """Return the starts and lengths of the corpus ranges that these instances of a plan hold."""
    starts = np.concatenate([plan.a_start[chosen], plan.b_start[chosen]])
    lengths = np.concatenate([plan.a_length[chosen], plan.b_length[chosen]])
    return starts[lengths > 0], lengths[lengths > 0]
