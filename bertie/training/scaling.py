"""The expected loss of a pre-training run, by the size of its encoder and the tokens it reads: pure functions.

The curve was fitted to runs of BERT on the English Wikipedia with the start `neighbours` (docs/measured/studies.md; the
runs are in docs/studies/scaling.json, docs/scaling.py fits the curve). It gives the loss as a share of the unigram's
loss, so it can be used for other text and other vocabularies. Beyond the sizes and lengths of those runs it is an
extrapolation.

Repeated text teaches less each time. The formula is that of Muennighoff et al. (2023, "Scaling data-constrained
language models", 3.1). Its constant R* is 15 passes for their decoders and 4 here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

# share of the unigram's loss = FLOOR + OF_SIZE / weights^SIZE_POWER + OF_TOKENS / tokens^TOKENS_POWER, both in millions
FLOOR, OF_SIZE, SIZE_POWER, OF_TOKENS, TOKENS_POWER = 0.2565, 0.05117, 0.4829, 0.4323, 0.242
LADDER = ("tiny", "mini", "small", "medium", "base")
"""Sizes to choose from, smallest first."""
USUAL_BATCH = 8192
"""Tokens of an update."""
_SMALL_BATCH = 4096
_FEW_STEPS, _SMALL_ENCODER = 300, 1_000_000
_MOST_WEIGHTS = 4.0  # per token of the corpus; a larger encoder memorizes the text
_MANY_PASSES, _DROPOUT = 10.0, 0.1  # 18 passes are better with it, one is better without (docs/measured/studies.md)
# R* of that paper: after some more passes than this, text teaches almost nothing (docs/measured/studies.md).
_LASTING = 4.0


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A size of encoder, the number of tokens it reads, and the size of the corpus."""

    size: str
    weights: int
    """Weights in its blocks, counted as for BERT."""
    tokens: float
    corpus_tokens: int

    @property
    def left(self) -> float:
        """Expected loss at the end, as a share of the unigram's loss."""
        return loss_left(self.weights, worth(self.tokens, self.corpus_tokens))

    @property
    def passes(self) -> float:
        """Passes over the corpus."""
        return self.tokens / max(1, self.corpus_tokens)


def weights_of(layers: int, width: int) -> int:
    """Count the weights of BERT's blocks. Weights that an architecture shares among blocks count for each block."""
    return 12 * layers * width * width


def worth(tokens: float, corpus_tokens: int) -> float:
    """Return the number of tokens without repetition that would teach as much as these."""
    again = tokens / max(1, corpus_tokens) - 1.0
    if again <= 0.0:
        return tokens
    return corpus_tokens * (1.0 + _LASTING * (1.0 - math.exp(-again / _LASTING)))


def loss_left(weights: int, tokens: float) -> float:
    """Return the expected held-out loss at [MASK] as a share of the unigram's, at most 1."""
    left: float = FLOOR + OF_SIZE * _millions(weights) ** -SIZE_POWER + OF_TOKENS * _millions(tokens) ** -TOKENS_POWER
    return min(1.0, left)


def _millions(count: float) -> float:
    return max(1.0, count) / 1e6


def fitting(sizes: Iterable[tuple[str, int]], corpus_tokens: int) -> list[tuple[str, int]]:
    """Return the sizes, smallest first, for which a corpus is large enough, and the first one in any case."""
    first, *larger = sizes
    return [first, *((size, weights) for size, weights in larger if weights <= _MOST_WEIGHTS * corpus_tokens)]


def for_time(sizes: Sequence[tuple[str, int]], tokens_of: Callable[[str], float], corpus_tokens: int) -> list[Rung]:
    """Try sizes from the smallest up, until one is expected to do no better than the one before it.

    Args:
        sizes: names and weights, smallest first.
        tokens_of: returns the tokens that a size reads in the time, and may measure them. 0 ends the search.
        corpus_tokens: tokens of the corpus.

    Returns:
        The sizes that were tried.
    """
    rungs: list[Rung] = []
    for size, weights in sizes:
        if (tokens := tokens_of(size)) <= 0.0:
            break
        rungs.append(Rung(size=size, weights=weights, tokens=tokens, corpus_tokens=corpus_tokens))
        if len(rungs) > 1 and rungs[-1].left >= rungs[-2].left:
            break
    return rungs


def for_tokens(sizes: Sequence[tuple[str, int]], tokens: float, corpus_tokens: int, output_weights: int) -> Rung:
    """Choose the largest size for which these tokens are enough.

    They are too few for a size if the next smaller size would reach a lower loss with the same computation, which is
    enough for more tokens.

    Args:
        sizes: names and weights, smallest first.
        tokens: tokens of the run.
        corpus_tokens: tokens of the corpus.
        output_weights: weights that the output layer uses per token of the text, the same for all sizes.
    """

    def rung(index: int, amount: float) -> Rung:
        size, weights = sizes[index]
        return Rung(size=size, weights=weights, tokens=amount, corpus_tokens=corpus_tokens)

    best = 0
    for index in range(1, len(sizes)):
        work = (sizes[index][1] + output_weights) / (sizes[index - 1][1] + output_weights)
        if rung(index - 1, tokens * work).left <= rung(index, tokens).left:
            break
        best = index
    return rung(best, tokens)


def best(rungs: Iterable[Rung]) -> Rung:
    """Return the size with the lowest expected loss; of equal ones the smallest."""
    return min(rungs, key=lambda rung: (rung.left, rung.weights))


def batch_of(tokens: float, weights: int, *, compares_items: bool) -> int:
    """Choose the tokens of an update: fewer if a small encoder would have few updates.

    Args:
        tokens: tokens of the run.
        weights: weights in the encoder's blocks. Larger encoders don't gain by small updates, and are slower.
        compares_items: whether the objective compares the sequences of a batch with one another, and so needs many.
    """
    is_small = tokens < _FEW_STEPS * USUAL_BATCH and weights < _SMALL_ENCODER and not compares_items
    return _SMALL_BATCH if is_small else USUAL_BATCH


def dropout_of(passes: float) -> float:
    """Choose the dropout rate: 0, unless the corpus is read so often that the model would memorize it."""
    return _DROPOUT if passes > _MANY_PASSES else 0.0
