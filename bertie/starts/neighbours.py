"""Heads that look at neighbours, word vectors and output bias from the corpus' counts: learning starts at once.

A masked language model that begins as in the paper first learns the frequencies of words, then stays for millions of
tokens where it says the commonest word everywhere, until its attention finds the tokens beside a hole. Here it begins
with all of that: heads of the lowest layers look at the tokens beside their own, word vectors are those of counts, and
the output's bias is the logarithm of frequencies. The architecture stays as it is.

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
from bertie.starts.start import Begun
from bertie.tasks.task import Task, TaskModel
from bertie.tokenizer.tokenizer import Tokenizer

READS_CORPUS = True
_FEWEST_TOKENS = 5_000  # below, counts of neighbours are chance
_STRONGER = 5.0
_STREAM = 4  # the seeds before it are those of encoder, head, LoRA and helpers


def begin(network: TaskModel, task: Task, corpus: Corpus, tokenizer: Tokenizer, *, seed: int) -> Begun:
    """Let heads begin at neighbours, and tables and biases at what the corpus counts."""
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
        encoder.begin_at_neighbours(offsets_of(task, encoder), generator)
    if len(models) > len(tables):
        _strengthen(network.encoder)
    set_outputs(models, pieces, task, tokenizer)
    share = "" if pieces.tokens == corpus.num_tokens else f" of {corpus.num_tokens:,}"
    progress.note(
        f"first weights from counts of {pieces.tokens:,}{share} tokens, in {time.monotonic() - started:.1f} s"
    )
    said = f"Heads began at neighbours, word vectors and output bias at counts of {pieces.tokens:,}{share} tokens."
    return Begun("neighbours", said, pieces.tokens)


def offsets_of(task: Task, encoder: Any) -> tuple[int, ...]:
    """Say what heads look at, in places to the right, seen from where a token is guessed; 0 for a free head.

    Args:
        task: a masked language model guesses a token at its own place. One that reads from the left guesses it at the
            place before, and one that does both has the right neighbour two places away.
        encoder: one that always reads from the left has nothing on the right.
    """
    if getattr(encoder, "left_to_right", False) or (task.left_to_right and not task.fills_masks):
        return (-1, -2, -3, 0)
    if task.left_to_right:
        return (-1, 2, -2, 3, 0, 0)
    return (-1, 1, -2, 2, -3, 3, 0, 0)


@torch.no_grad()
def _strengthen(encoder: Any) -> None:
    """Enlarge tables that several models learn on; the LayerNorm behind them takes the size away again.

    A discriminator's gradients are fifty times as large as those of its generator, and say little at first. At Muon's
    rates they washed out small tables, neighbours and all, in some dozens of steps.
    """
    for table in (encoder.embeddings.word, getattr(encoder.embeddings, "position", None)):
        if table is not None:
            table.weight *= _STRONGER


def _fill(table: Tensor, corpus: Corpus, pieces: Pieces, deviation: float, generator: torch.Generator) -> None:
    """Put the vectors of counts into the table (V, E); pieces that occur too seldom keep those that were drawn."""
    if pieces.tokens < _FEWEST_TOKENS:
        return
    vectors = word_vectors(corpus, pieces, table.shape[1], generator=generator)
    with torch.no_grad():
        said = vectors.square().sum(0) > 0.0  # columns
        rows = torch.from_numpy(pieces.rows)
        table[rows] = torch.where(said, vectors * deviation, table[rows])
