"""1 / (1 + e^-x) of predictions, with the same bits for a number wherever it stands in a tensor.

torch's own sigmoid has one method for whole vectors and another for the last few numbers of a thread's part.
"""

from torch import Tensor


def sigmoid(logits: Tensor) -> Tensor:
    """Return 1 / (1 + e^-x) of each number."""
    return ((-logits).exp() + 1.0).reciprocal()
