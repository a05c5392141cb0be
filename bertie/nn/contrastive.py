"""The contrastive loss: find the second text of each pair among those of the batch (InfoNCE, van den Oord et al. 2018).

Shapes: I pairs, C candidates (the second texts of the I pairs, then hard negatives), B sequences, P pairs of passages,
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
    """Sum the cross-entropy of finding each text's partner among the candidates by cosine similarity.

    Candidates that are also right are not used as negatives: copies of the partner, copies of the text itself, and the
    partners of equal texts in this batch.

    Args:
        texts: (I, H).
        candidates: (C, H), the partners in the order of their texts, then all hard negatives.
        text_names: (I,), equal for equal texts.
        candidate_names: (C,), equal for equal texts.
        scale: factor of the cosines, an inverse temperature.
        symmetric: whether partners must also find their texts, among the texts alone; the result is then the mean of
            both sums.

    Returns:
        The sum, a scalar in fp32, and the number of texts that find their partner.
    """
    count = len(texts)
    partners = torch.arange(count, device=texts.device)
    # Autocast leaves float64 alone. In bf16, cosines would have steps of 0.004. The product is small.
    cosines = normalize(texts, dim=1).double() @ normalize(candidates, dim=1).double().t()  # (I, C)
    same_text = text_names[:, None] == text_names  # (I, I)
    same_pair = candidate_names[:count, None] == candidate_names  # (I, C)
    right = (same_text.double() @ same_pair.double() > 0) | (text_names[:, None] == candidate_names)
    right[partners, partners] = False
    scores = (scale * cosines.float()).masked_fill(right, -math.inf)
    total = cross_entropy(scores, partners, reduction="sum")
    if symmetric:
        total = (total + cross_entropy(scores[:, :count].t(), partners, reduction="sum")) / 2
    return total, (scores.argmax(1) == partners).sum()


def contrast_of_passages(
    vectors: Tensor, documents: Tensor, *, scale: float, symmetric: bool
) -> tuple[Tensor, Tensor, float]:
    """Sum the cross-entropy of finding the second passage of each pair among those of all pairs in the batch.

    Args:
        vectors: (B, H), one a passage.
        documents: (B,) number of the document of each passage; the passages of a pair are adjacent.
        scale: factor of the cosines.
        symmetric: whether second passages must also find the first ones.

    Returns:
        The sum, a scalar in fp32, the number of passages that find their partner, and the number of pairs.
    """
    first = first_of_pairs(documents)
    if not len(first):  # the cross-entropy of no rows is undefined
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
    """Return the indices (P,) of the sequences that are the first passage of a pair; the second follows it.

    >>> first_of_pairs(torch.tensor([4, 7, 7, 9, 9, 2])).tolist()
    [1, 3]

    Args:
        documents: (B,); the passages of a pair are adjacent. A batch that starts or ends inside a pair has a single
            passage there.
    """
    same = documents[1:] == documents[:-1]
    begins = torch.cat([same.new_ones(1), ~same])  # (B,) whether a new document starts
    number = torch.arange(len(documents), device=documents.device)
    start = torch.where(begins, number, 0).cummax(0).values
    return ((number - start)[:-1].remainder(2).eq(0) & same).nonzero().flatten()
