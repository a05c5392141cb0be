"""Word vectors from counts: a singular value decomposition of positive pointwise mutual information.

Levy, Goldberg and Dagan 2015: contexts to the power of 0.75, singular values to that of 0.5. Half of the columns come
from what stands within five places, half from the left and the right neighbour apart.

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
_SPARE = 16  # columns that the random search has beyond those wanted
_ROUNDS = 4
_ROWS = 1024


def word_vectors(corpus: Corpus, pieces: Pieces, width: int, *, generator: torch.Generator) -> Tensor:
    """Make vectors of the pieces that occur often enough.

    Args:
        corpus: prepared text.
        pieces: of it.
        width: E.
        generator: of the search for singular vectors.

    Returns:
        (R, E) of mean 0 and standard deviation 1, from the columns that say most to those that say least. Where counts
        give fewer columns the others are 0.
    """
    vectors = torch.zeros(len(pieces.rows), width)
    if len(pieces.rows) < 2:
        return vectors
    for side, beside in enumerate((False, True)):
        # The tables of the first kind are given back before those of the second are made.
        found = _decompose(
            [_ppmi(table) for table in count_pairs(corpus, pieces, beside=beside)], width // 2, generator
        )
        found -= found.mean(0)
        found /= found.square().mean().sqrt().clamp_min(1e-12)
        vectors[:, side : 2 * found.shape[1] : 2] = found
    return vectors


def _ppmi(table: Tensor) -> Tensor:
    """Turn counts (R, C) into positive pointwise mutual information, in the same memory."""
    parts = [slice(start, start + _ROWS) for start in range(0, len(table), _ROWS)]  # a whole sum would copy the table
    shares = torch.stack([table[part].sum(0) for part in parts]).sum(0).double().pow(_SMOOTHED)
    shares = (shares / shares.sum().clamp_min(1e-9)).clamp_min_(1e-12)
    result = table.view(torch.float32)
    for part in parts:
        some = table[part].double()
        ratio = some.div_(some.sum(1, keepdim=True).clamp_min_(1e-9)).div_(shares)
        result[part] = ratio.clamp_min_(1.0).log_().float()
    return result


def _decompose(tables: Sequence[Tensor], width: int, generator: torch.Generator) -> Tensor:
    """Find the left singular vectors of tables side by side, each times its singular value to a power.

    A randomised subspace iteration (Halko, Martinsson and Tropp 2011).

    Returns:
        (R, K), K at most `width`, fewer where the tables have fewer rows or columns.
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
    found: Tensor = (search @ left)[:, :width] * values[:width].pow(_POWER)
    return found
