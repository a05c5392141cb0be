"""Logits over a vocabulary that are not yet computed: hidden vectors, the output matrix and its bias.

A table of T x V logits would be by far the largest tensor of BERT pre-training. A head therefore returns `Logits`, and
`cross_entropy` multiplies some rows at a time and overwrites them with their gradient. Only decoding and export
compute the whole table (`materialise`).

Shapes: M rows (chosen tokens), H hidden, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bertie.ops.cross_entropy.op import cross_entropy
from bertie.ops.linear.op import linear
from bertie.ops.lookup import lookup


@dataclass(frozen=True, eq=False)
class Logits:
    """The product hidden @ weight.T + bias, computed on demand."""

    hidden: Tensor
    """(M, H)."""
    weight: Tensor
    """(V, H), for BERT the word embeddings."""
    bias: Tensor
    """(V,)."""

    def materialise(self) -> Tensor:
        """Return the table of logits, (M, V)."""
        return linear(self.hidden, self.weight, self.bias)

    def cross_entropy(self, targets: Tensor, *, label_smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
        """Sum the cross-entropy of the rows against `targets` (M,).

        Args:
            targets: the right tokens.
            label_smoothing: share of the target probability that is spread over all V tokens.

        Returns:
            The sum, a scalar in fp32 with gradients, and the number of rows with the highest logit at the target.
        """
        total, _, right = self.cross_entropy_of_rows(targets)
        if label_smoothing > 0.0:
            # Moving a share s of the target from token y to all tokens adds s (logit_y - mean logit). The mean logit of
            # a row is the row's product with the mean of the matrix, so this needs no table.
            offset = lookup(self.weight, targets) - self.weight.mean(0)  # (M, H)
            added = (self.hidden.float() * offset).sum() + (self.bias.index_select(0, targets) - self.bias.mean()).sum()
            total = total + label_smoothing * added
        return total, right.sum()

    def cross_entropy_of_rows(self, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Sum the cross-entropy of the rows against `targets` (M,), and return the loss of each row.

        Returns:
            The sum, a scalar in fp32 with gradients; the losses of the rows (M,), without gradients; and (M,) 1 for
            each row with the highest logit at the target, 0 for the others.
        """
        weight = self.weight.to(self.hidden.dtype)
        return cross_entropy(self.hidden, weight, self.bias, targets)
