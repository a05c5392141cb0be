"""The first weights of output layers that predict tokens: biases from log frequencies, matrices from word vectors.

Shapes: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bertie.nn.heads import TokenLogits
from bertie.nn.modernbert_heads import PredictionHeadLogits
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
    """Set output biases to the log frequencies, and output matrices that aren't tied to the word vectors.

    Args:
        models: encoders with heads that predict tokens; changed in place.
        pieces: counts of the corpus.
        task: the task of the run.
        tokenizer: the corpus's.
        only: the parameters that may change; None for all.
    """
    occurrences = pieces.occurrences.copy()
    if task.left_to_right:
        occurrences[tokenizer.separator] += pieces.documents  # it is predicted too, at the end of each text
    new = None if only is None else {id(value) for value in only}
    for model in models:
        encoder: Any = model.encoder
        for part in model.head.modules():
            if not isinstance(part, TokenLogits | PredictionHeadLogits):
                continue
            words = encoder.embeddings.word.weight
            if part.embedding is not words and (new is None or id(part.embedding) in new):
                part.embedding.copy_(words)
            if new is None or id(part.bias) in new:
                part.bias.copy_(_log_frequencies(occurrences, len(part.bias)))


def _log_frequencies(occurrences: Any, size: int) -> Tensor:
    """Return the (V,) log frequencies, with 0.5 added to each count."""
    smoothed = np.full(size, 0.5)
    smoothed[: len(occurrences)] += occurrences
    return torch.from_numpy(np.log(smoothed / smoothed.sum()).astype(np.float32))
