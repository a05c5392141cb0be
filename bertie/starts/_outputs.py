"""Where the outputs that guess tokens begin: biases at the logarithm of frequencies, matrices at the word vectors.

Shapes: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bertie.nn.heads import TokenLogits
from bertie.nn.stem import TokenStemLogits
from bertie.starts._counts import Pieces
from bertie.tasks.task import Task, TaskModel
from bertie.tokenizer.tokenizer import Tokenizer


@torch.no_grad()
def set_outputs(
    models: Sequence[TaskModel],
    pieces: Pieces,
    task: Task,
    tokenizer: Tokenizer,
    *,
    only: Collection[nn.Parameter] | None = None,
) -> None:
    """Let output matrices of their own begin as the word vectors, and biases as the logarithm of frequencies.

    Args:
        models: encoders under heads that guess tokens; changed in place.
        pieces: of the corpus.
        task: what is learned.
        tokenizer: of the corpus.
        only: parameters that may change; all when None.
    """
    occurrences = pieces.occurrences.copy()
    if task.left_to_right:
        occurrences[tokenizer.separator] += pieces.documents  # it is guessed too: texts end with it
    new = None if only is None else {id(value) for value in only}
    for model in models:
        encoder: Any = model.encoder
        for part in model.head.modules():
            if not isinstance(part, TokenLogits | TokenStemLogits):
                continue
            words = encoder.embeddings.word.weight
            if part.embedding is not words and (new is None or id(part.embedding) in new):
                part.embedding.copy_(words)
            if new is None or id(part.bias) in new:
                part.bias.copy_(_log_frequencies(occurrences, len(part.bias)))


def _log_frequencies(occurrences: Any, size: int) -> Tensor:
    """Work out (V,) logarithms of the pieces' shares; each occurs half a time more than it was seen."""
    smoothed = np.full(size, 0.5)
    smoothed[: len(occurrences)] += occurrences
    return torch.from_numpy(np.log(smoothed / smoothed.sum()).astype(np.float32))
