"""Embedding tables: word + position + segment, then LayerNorm and dropout (BERT, section 3).

Shapes: T tokens, H hidden, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bertie.batch import Batch
from bertie.errors import DataError
from bertie.ops.dropout.op import Dropout, Noise
from bertie.ops.linear.op import Linear
from bertie.ops.lookup import lookup
from bertie.ops.rounding import pad_rows


class EmbeddingTable(nn.Module):
    """A learned table of vectors, without the padding row of `nn.Embedding`.

    Args:
        num_rows: number of vectors.
        size: H, width of a vector.
    """

    def __init__(self, num_rows: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_rows, size))

    def forward(self, indices: Tensor) -> Tensor:
        """Look up (T,) indices: (T, H)."""
        rows: Tensor = lookup(self.weight, indices)
        return rows


class Embeddings(nn.Module):
    """The sum of word, position and segment vectors, then LayerNorm, dropout and, for narrow tables, a projection to H.

    Args:
        vocab_size: V.
        hidden_size: H.
        max_positions: tokens of the longest sequence.
        num_segments: number of segment ids; 0 for no segment table.
        layer_norm_eps: epsilon of the LayerNorm.
        dropout: rate.
        site: number of this dropout in the network.
        embedding_size: width of the tables, which are then projected to H; None for width H without projection.
        first_position: row of a sequence's first token in the position table; earlier rows are unused.
        tells_segments: whether the two texts of a pair get different segment vectors.
        learns_positions: whether there is a position table; rotary positions need none.
    """

    def __init__(
        self,
        vocab_size: int,
        hidden_size: int,
        *,
        max_positions: int,
        num_segments: int,
        layer_norm_eps: float,
        dropout: float,
        site: int,
        embedding_size: int | None = None,
        first_position: int = 0,
        tells_segments: bool = True,
        learns_positions: bool = True,
    ) -> None:
        super().__init__()
        size = hidden_size if embedding_size is None else embedding_size
        self.max_positions, self.first_position, self.tells_segments = max_positions, first_position, tells_segments
        self.word = EmbeddingTable(vocab_size, size)
        self.position = EmbeddingTable(first_position + max_positions, size) if learns_positions else None
        self.segment = EmbeddingTable(num_segments, size) if num_segments else None
        self.norm = nn.LayerNorm(size, eps=layer_norm_eps)
        self.dropout = Dropout(dropout, site=site)
        self.project = None if embedding_size is None else Linear(size, hidden_size)

    def forward(self, batch: Batch, noise: Noise | None) -> Tensor:
        """Embed a batch.

        Returns:
            (T, H).

        Raises:
            ValueError: a sequence is longer than the position table.
            DataError: a token id or segment id is outside its table.
        """
        _check_length(batch, self.max_positions)
        try:
            embedded = self.embed(batch, noise)
        except IndexError as error:
            raise _out_of_range(batch, self.word, self.segment if self.tells_segments else None) from error
        if self.project is not None:
            embedded = self.project(pad_rows(embedded, step=128))[: batch.num_tokens]
        return embedded

    def embed(self, batch: Batch, noise: Noise | None) -> Tensor:
        """Sum, normalise and drop: (T, width of the tables).

        Raises:
            IndexError: a token id or segment id is outside its table.
        """
        summed = self.word(batch.tokens)
        if self.position is not None:
            rows = _position_rows(batch, self.first_position) if self.first_position else batch.positions
            summed = summed + self.position(rows)
        if self.segment is not None:
            summed = summed + (self.segment(batch.segments) if self.tells_segments else self.segment.weight[0])
        embedded: Tensor = self.dropout(self.norm(summed), noise)
        return embedded


class WordEmbeddings(nn.Module):
    """Word vectors, LayerNorm without bias and dropout, for rotary positions.

    Args:
        vocab_size: V.
        hidden_size: H.
        max_positions: tokens of the longest sequence.
        layer_norm_eps: epsilon of the LayerNorm.
        dropout: rate.
        site: number of this dropout in the network.
    """

    def __init__(
        self, vocab_size: int, hidden_size: int, *, max_positions: int, layer_norm_eps: float, dropout: float, site: int
    ) -> None:
        super().__init__()
        self.max_positions = max_positions
        self.word = EmbeddingTable(vocab_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=layer_norm_eps, bias=False)
        self.dropout = Dropout(dropout, site=site)

    def forward(self, batch: Batch, noise: Noise | None) -> Tensor:
        """Embed a batch.

        Returns:
            (T, H).

        Raises:
            ValueError: a sequence is longer than the model allows.
            DataError: a token id is outside the table.
        """
        _check_length(batch, self.max_positions)
        try:
            embedded: Tensor = self.dropout(self.norm(self.word(batch.tokens)), noise)
        except IndexError as error:
            raise _out_of_range(batch, self.word, None) from error
        return embedded


def _position_rows(batch: Batch, first: int) -> Tensor:
    """Return the row of each token in the position table, (T,), as RoBERTa counts: from `first` on.

    A padding token takes row `first - 1`, which is also its token id, and is not counted. It occurs only where a text
    spells it out.
    """
    padding = batch.tokens == first - 1
    if padding.device.type == "cpu" and not padding.any():
        return batch.positions + first
    before = torch.cumsum(padding, 0) - padding.long()  # padding tokens before each token in the batch
    earlier = before - torch.repeat_interleave(before[batch.offsets[:-1].long()], batch.lengths)  # in its sequence
    return torch.where(padding, first - 1, batch.positions - earlier + first)


def _out_of_range(batch: Batch, words: EmbeddingTable, segments: EmbeddingTable | None) -> DataError:
    """Return the error for a batch with ids outside the tables."""
    rows = words.weight.shape[0]
    if unknown := sorted({number for number in batch.tokens.tolist() if not 0 <= number < rows}):
        return DataError(f"the model has no token ids {unknown[:5]}; its ids are 0 to {rows - 1}")
    num_segments = 0 if segments is None else segments.weight.shape[0]
    if num_segments == 1:
        return DataError(
            "the model has a single segment id (type_vocab_size 1), so it can't distinguish the two texts of a pair; "
            "join each pair into one text"
        )
    highest = int(batch.segments.max())
    return DataError(f"the model has no segment id {highest}; its ids are 0 to {num_segments - 1}")


def _check_length(batch: Batch, max_positions: int) -> None:
    if batch.max_length > max_positions:
        raise ValueError(
            f"a sequence has {batch.max_length} tokens, the model takes at most {max_positions}; "
            "cut the texts or set a smaller length"
        )
