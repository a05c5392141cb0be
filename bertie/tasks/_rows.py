"""Private helper: rows of a model's embedding table without a token, from rounding its size up or gaps between ids.

Such a row takes part in the softmax, as in other programs, but is never predicted.

Shapes: R rows, V vocabulary.
"""

from typing import Any

from bertie.tokenizer.tokenizer import Tokenizer


def rule_out(scores: Any, tokenizer: Tokenizer, value: float) -> int:
    """Set the scores (R, V), an array or a tensor, of ids without a token to `value`, in place.

    Args:
        scores: one column for each id of the model.
        tokenizer: of the model; it may have fewer tokens than the model has ids.
        value: below every other score.

    Returns:
        Number of ids that have a token.
    """
    size: int = min(tokenizer.vocab_size, scores.shape[1])
    scores[:, size:] = value
    if tokenizer.gaps:
        scores[:, list(tokenizer.gaps)] = value
    return size - len(tokenizer.gaps)
