"""Word vectors from counts: a singular value decomposition of positive pointwise mutual information (PPMI).

As in Levy, Goldberg and Dagan 2015, context frequencies have the power 0.75 and singular values the power 0.5. Half of
the columns come from pieces within five tokens. The other half come from direct neighbours, with separate counts for
the left and the right one.

Shapes: R rows, C contexts, E width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bertie.corpus.shards import Corpus
from bertie.starts._counts import Pieces, count_pairs

_SMOOTHED = 0.75
_POWER = 0.5
_SPARE = 16  # extra columns of the randomized search
_ROUNDS = 4
_ROWS = 1024


def word_vectors(corpus: Corpus, pieces: Pieces, width: int, *, generator: torch.Generator) -> Tensor:
    """Return vectors of the pieces that occur often enough.

    Args:
        corpus: prepared text.
        pieces: counts of its pieces.
        width: E.
        generator: for the randomized search of singular vectors.

    Returns:
        (R, E) with mean 0 and standard deviation 1, the most informative columns first. If the counts give fewer than E
        columns, the others are 0.
    """
    vectors = torch.zeros(len(pieces.rows), width)
    if len(pieces.rows) < 2:
        return vectors
    for side, beside in enumerate((False, True)):
        # The first table is freed before the second ones are made.
        columns = _decompose(
            [_ppmi(table) for table in count_pairs(corpus, pieces, beside=beside)], width // 2, generator
        )
        columns -= columns.mean(0)
        columns /= columns.square().mean().sqrt().clamp_min(1e-12)
        vectors[:, side : 2 * columns.shape[1] : 2] = columns
    return vectors


def _ppmi(table: Tensor) -> Tensor:
    """Turn counts (R, C) into positive pointwise mutual information, in the same memory."""
    parts = [slice(start, start + _ROWS) for start in range(0, len(table), _ROWS)]  # one sum would copy the table
    shares = torch.stack([table[part].sum(0) for part in parts]).sum(0).double().pow(_SMOOTHED)
    shares = (shares / shares.sum().clamp_min(1e-9)).clamp_min_(1e-12)
    result = table.view(torch.float32)
    for part in parts:
        some = table[part].double()
        ratio = some.div_(some.sum(1, keepdim=True).clamp_min_(1e-9)).div_(shares)
        result[part] = ratio.clamp_min_(1.0).log_().float()
    return result


def _decompose(tables: Sequence[Tensor], width: int, generator: torch.Generator) -> Tensor:
    """Return the left singular vectors of tables joined column-wise, each times its singular value to a power.

    The method is randomized subspace iteration (Halko, Martinsson and Tropp 2011).

    Returns:
        (R, K). K is `width`, or less if the tables have fewer rows or columns.
    """
    rows, columns = len(tables[0]), sum(table.shape[1] for table in tables)
    width = min(width, rows, columns)
    search = torch.randn(rows, min(width + _SPARE, rows, columns), generator=generator)
    for _ in range(_ROUNDS):
        product = torch.zeros_like(search)
        for table in tables:
            product += table @ (table.T @ search)
        search = torch.linalg.qr(product)[0]
    small = torch.cat([table.T @ search for table in tables]).T  # (searched, columns)
    left, values, _ = torch.linalg.svd(small, full_matrices=False)
    scaled: Tensor = (search @ left)[:, :width] * values[:width].pow(_POWER)
    return scaled
