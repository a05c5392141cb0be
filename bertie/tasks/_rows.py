"""Rows of a model's vocabulary that have no piece: padding up to a round number, and gaps between the ids.

Such a row takes part in the softmax, as in other programs, and is never the answer. It is no choice among the tasks.

Shapes: R rows, V vocabulary.
"""

from torch import Tensor

from bertie.tokenizer.tokenizer import Tokenizer


def rule_out(scores: Tensor, tokenizer: Tokenizer, value: float) -> int:
    """Give what has no piece in (R, V) scores the worst value, in place.

    Args:
        scores: of each entry of the model's vocabulary.
        tokenizer: of the model, perhaps of fewer pieces than the model has rows.
        value: what nothing else is below.

    Returns:
        How many entries have a piece.
    """
    size = min(tokenizer.vocab_size, scores.shape[1])
    scores[:, size:] = value
    if tokenizer.gaps:
        scores[:, list(tokenizer.gaps)] = value
    return size - len(tokenizer.gaps)
