"""What a pre-training run is expected to reach, by the size of its encoder and the tokens it reads: pure functions.

The curve was fitted to runs of BERT on the English Wikipedia that begin at neighbours (docs/measured/studies.md; the
runs are in docs/studies/scaling.json, docs/scaling.py fits the curve). It gives a share of the unigram's loss, so that
it can be asked about other text and other vocabularies. Beyond the sizes and lengths of those runs it is a guess.

Text that is read again and again teaches less each time. The formula is that of Muennighoff et al. (2023, "Scaling
data-constrained language models", 3.1), who found 15 passes for decoders where it is 4 here.
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
_MOST_WEIGHTS = 4.0  # a token of the corpus; a larger encoder learns the text by heart
_MANY_PASSES, _DROPOUT = 10.0, 0.1  # 18 passes are better with it, one is better without (docs/measured/studies.md)
_LASTING = 4.0  # R* of that paper: some more passes than that teach next to nothing (docs/measured/studies.md)


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A size of encoder, and how much of which text it reads."""

    size: str
    weights: int
    """In its blocks, as BERT has them."""
    tokens: float
    corpus_tokens: int

    @property
    def left(self) -> float:
        """Expected share of the unigram's loss at the end."""
        return loss_left(self.weights, worth(self.tokens, self.corpus_tokens))

    @property
    def passes(self) -> float:
        """Over the corpus."""
        return self.tokens / max(1, self.corpus_tokens)


def weights_of(layers: int, width: int) -> int:
    """Count the weights of BERT's blocks, whatever parts an architecture shares among them."""
    return 12 * layers * width * width


def worth(tokens: float, corpus_tokens: int) -> float:
    """Count tokens that are read again and again as the fewer fresh ones that would teach as much."""
    again = tokens / max(1, corpus_tokens) - 1.0
    if again <= 0.0:
        return tokens
    return corpus_tokens * (1.0 + _LASTING * (1.0 - math.exp(-again / _LASTING)))


def loss_left(weights: int, tokens: float) -> float:
    """Work out the expected held-out loss at [MASK] as a share of the unigram's, at most all of it."""
    left: float = FLOOR + OF_SIZE * _millions(weights) ** -SIZE_POWER + OF_TOKENS * _millions(tokens) ** -TOKENS_POWER
    return min(1.0, left)


def _millions(count: float) -> float:
    return max(1.0, count) / 1e6


def fitting(sizes: Iterable[tuple[str, int]], corpus_tokens: int) -> list[tuple[str, int]]:
    """Return the sizes, smallest first, that a text of so many tokens is enough for; the first one in any case."""
    first, *larger = sizes
    return [first, *((size, weights) for size, weights in larger if weights <= _MOST_WEIGHTS * corpus_tokens)]


def for_time(sizes: Sequence[tuple[str, int]], tokens_of: Callable[[str], float], corpus_tokens: int) -> list[Rung]:
    """Look at sizes from the smallest up, until one is expected to do worse than the one before it.

    Args:
        sizes: names and weights.
        tokens_of: says what a size reads in the time; it may take a while to find out. 0 stops the search.
        corpus_tokens: of the text.

    Returns:
        Those looked at.
    """
    found: list[Rung] = []
    for size, weights in sizes:
        if (tokens := tokens_of(size)) <= 0.0:
            break
        found.append(Rung(size=size, weights=weights, tokens=tokens, corpus_tokens=corpus_tokens))
        if len(found) > 1 and found[-1].left >= found[-2].left:
            break
    return found


def for_tokens(sizes: Sequence[tuple[str, int]], tokens: float, corpus_tokens: int, output_weights: int) -> Rung:
    """Choose the largest size for which these tokens are enough.

    They are too few for a size if the next smaller one would get further with the same work, on more tokens.

    Args:
        sizes: names and weights, smallest first.
        tokens: of the run.
        corpus_tokens: of the text.
        output_weights: weights that guessing takes for each token of the text, the same for all sizes.
    """

    def rung(place: int, amount: float) -> Rung:
        size, weights = sizes[place]
        return Rung(size=size, weights=weights, tokens=amount, corpus_tokens=corpus_tokens)

    best = 0
    for place in range(1, len(sizes)):
        work = (sizes[place][1] + output_weights) / (sizes[place - 1][1] + output_weights)
        if rung(place - 1, tokens * work).left <= rung(place, tokens).left:
            break
        best = place
    return rung(best, tokens)


def best(rungs: Iterable[Rung]) -> Rung:
    """Return the size with the lowest expected loss, the smallest of equals."""
    return min(rungs, key=lambda rung: (rung.left, rung.weights))


def batch_of(tokens: float, weights: int, *, whole_batch: bool) -> int:
    """Choose the tokens of an update: fewer where a small encoder would have few updates.

    Args:
        tokens: of the run.
        weights: in the encoder's blocks. Larger encoders gain nothing by small updates, and are slower with them.
        whole_batch: whether the objective compares the sequences of a batch with one another, and so needs many.
    """
    is_small = tokens < _FEW_STEPS * USUAL_BATCH and weights < _SMALL_ENCODER and not whole_batch
    return _SMALL_BATCH if is_small else USUAL_BATCH


def dropout_of(passes: float) -> float:
    """Choose the rate of dropout: none, unless the text is read so often that it would be learned by heart."""
    return _DROPOUT if passes > _MANY_PASSES else 0.0
