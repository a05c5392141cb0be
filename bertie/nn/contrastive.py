"""The contrastive loss: tell each text's own pair from all others of the batch (InfoNCE, van den Oord et al. 2018).

Shapes: I pairs, C candidates (the I pairs' second texts, then hard negatives), B sequences, P pairs of passages,
H hidden.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


def contrastive(
    texts: Tensor,
    candidates: Tensor,
    *,
    text_names: Tensor,
    candidate_names: Tensor,
    scale: float,
    symmetric: bool,
) -> tuple[Tensor, Tensor]:
    """Sum the cross-entropy of finding one's own among the candidates by the cosine.

    A candidate that is right as well is no negative: one equal to the own pair, one equal to the text itself, and any
    pair that an equal text has in this batch.

    Args:
        texts: (I, H).
        candidates: (C, H), in the order of their texts, then the hard negatives of all of them.
        text_names: (I,), equal for equal texts.
        candidate_names: (C,).
        scale: what cosines are multiplied with, an inverse temperature.
        symmetric: whether pairs must find their texts as well (among the texts alone); then both sums are halved.

    Returns:
        The sum, a scalar in fp32, and the number of texts that find their pair.
    """
    count = len(texts)
    own = torch.arange(count, device=texts.device)
    # In float64 autocast leaves the product alone; bf16 cosines would be 0.004 apart, and the product is a small one.
    cosines = normalize(texts, dim=1).double() @ normalize(candidates, dim=1).double().t()  # (I, C)
    same_text = text_names[:, None] == text_names  # (I, I)
    same_pair = candidate_names[:count, None] == candidate_names  # (I, C)
    right = (same_text.double() @ same_pair.double() > 0) | (text_names[:, None] == candidate_names)
    right[own, own] = False
    scores = (scale * cosines.float()).masked_fill(right, -math.inf)
    total = cross_entropy(scores, own, reduction="sum")
    if symmetric:
        total = (total + cross_entropy(scores[:, :count].t(), own, reduction="sum")) / 2
    return total, (scores.argmax(1) == own).sum()


def contrast_of_passages(
    vectors: Tensor, documents: Tensor, *, scale: float, symmetric: bool
) -> tuple[Tensor, Tensor, float]:
    """Sum the cross-entropy of finding the other passage of one's document among those of all pairs of the batch.

    Args:
        vectors: (B, H), one a passage.
        documents: (B,) what each passage is from, the passages of a pair behind one another.
        scale: what cosines are multiplied with.
        symmetric: whether second passages must find the first ones as well.

    Returns:
        The sum, a scalar in fp32, the number of passages that find theirs, and the number of pairs.
    """
    first = first_of_pairs(documents)
    if not len(first):  # of which there is no cross-entropy
        return vectors.float().sum() * 0.0, torch.zeros((), device=vectors.device), 0.0
    total, right = contrastive(
        vectors[first],
        vectors[first + 1],
        text_names=documents[first],
        candidate_names=documents[first],
        scale=scale,
        symmetric=symmetric,
    )
    return total, right, float(len(first))


def first_of_pairs(documents: Tensor) -> Tensor:
    """Return the sequences (P,) whose follower is the other passage of their pair.

    Args:
        documents: (B,), where the passages of a pair stand behind one another. Where a batch begins or ends within a
            pair, that passage stands alone.
    """
    same = documents[1:] == documents[:-1]
    begins = torch.cat([same.new_ones(1), ~same])  # (B,) whether a run of one document begins
    number = torch.arange(len(documents), device=documents.device)
    start = torch.where(begins, number, 0).cummax(0).values
    return ((number - start)[:-1].remainder(2).eq(0) & same).nonzero().flatten()
