"""The start `neighbours`: attention heads that look at neighbours, and word vectors and output bias from counts.

With the start `paper`, a masked language model first learns the token frequencies. Then it predicts the most frequent
token everywhere for millions of tokens, until its attention finds the neighbours of a masked token. With this start it
has all of that from the first step. Attention heads of the lowest layers look at the neighbours of their token, word
vectors come from counts, and the output bias is the log frequencies. The architecture stays the same.

Shapes: V vocabulary, E width of the word vectors.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from bertie import progress
from bertie.corpus.shards import Corpus
from bertie.starts._counts import Pieces, count_pieces
from bertie.starts._outputs import set_outputs
from bertie.starts._vectors import word_vectors
from bertie.starts.start import StartReport
from bertie.tasks.task import Task, TaskModel
from bertie.tokenizer.tokenizer import Tokenizer

READS_CORPUS = True
_FEWEST_TOKENS = 5_000  # with fewer, counts of neighbours are chance
_STRONGER = 5.0
_STREAM = 4  # added to the run's seed; encoder, head, LoRA and helpers use smaller numbers


def begin(network: TaskModel, task: Task, corpus: Corpus, tokenizer: Tokenizer, *, seed: int) -> StartReport:
    """Point attention heads at neighbours, and set word vectors and output biases from the corpus's counts."""
    started = time.monotonic()
    pieces = count_pieces(corpus)
    generator = torch.Generator().manual_seed(seed + _STREAM)
    models = [network, *(model for model, _ in network.companions().values())]
    tables: dict[int, Tensor] = {}
    for model in models:
        encoder: Any = model.encoder
        table = encoder.embeddings.word.weight
        if id(table) not in tables:
            tables[id(table)] = table
            _fill(table, corpus, pieces, encoder.config.initializer_range, generator)
        encoder.start_at_neighbours(offsets_of(task, encoder), generator)
    if len(models) > len(tables):
        _strengthen(network.encoder)
    set_outputs(models, pieces, task, tokenizer)
    share = "" if pieces.tokens == corpus.num_tokens else f" of {corpus.num_tokens:,}"
    progress.note(
        f"first weights from counts of {pieces.tokens:,}{share} tokens, in {time.monotonic() - started:.1f} s"
    )
    summary = (
        "Attention heads start at neighbours, word vectors and output bias at counts of "
        f"{pieces.tokens:,}{share} tokens."
    )
    return StartReport("neighbours", summary, pieces.tokens)


def offsets_of(task: Task, encoder: Any) -> tuple[int, ...]:
    """Return the offset from the position of a prediction to the token that each attention head looks at.

    Positive offsets are to the right. 0 leaves a head free.

    Args:
        task: a masked language model predicts a token at its own position. A left-to-right model predicts it one
            position earlier. For a model that does both, the right neighbour is two positions away.
        encoder: one that always reads from left to right sees no tokens on the right.
    """
    if getattr(encoder, "left_to_right", False) or (task.left_to_right and not task.fills_masks):
        return (-1, -2, -3, 0)
    if task.left_to_right:
        return (-1, 2, -2, 3, 0, 0)
    return (-1, 1, -2, 2, -3, 3, 0, 0)


@torch.no_grad()
def _strengthen(encoder: Any) -> None:
    """Enlarge tables that several models share and train. The LayerNorm after them removes the scale again.

    The gradients of a discriminator are fifty times as large as those of its generator, and carry little information at
    first. At Muon's rates they erased small tables, and the neighbours with them, within a few dozen steps.
    """
    for table in (encoder.embeddings.word, getattr(encoder.embeddings, "position", None)):
        if table is not None:
            table.weight *= _STRONGER


def _fill(table: Tensor, corpus: Corpus, pieces: Pieces, deviation: float, generator: torch.Generator) -> None:
    """Copy the word vectors from counts into the table (V, E). Rarer pieces keep their random vectors."""
    if pieces.tokens < _FEWEST_TOKENS:
        return
    vectors = word_vectors(corpus, pieces, table.shape[1], generator=generator)
    with torch.no_grad():
        filled = vectors.square().sum(0) > 0.0  # (E,) columns
        rows = torch.from_numpy(pieces.rows)
        table[rows] = torch.where(filled, vectors * deviation, table[rows])
