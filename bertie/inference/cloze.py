"""Ten sentences of a corpus with one hidden word each, to compare a masked LM's predictions before and after training.

Shapes: V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from bertie.batch import Batch
from bertie.corpus.shards import Corpus
from bertie.nn.logits import Logits
from bertie.sampling.random import permutation
from bertie.tasks._rows import rule_out
from bertie.tokenizer.tokenizer import Tokenizer

_SHORTEST, _LONGEST = 10, 32


@dataclass(frozen=True)
class Cloze:
    """One sentence with a hidden word."""

    ids: tuple[int, ...]
    """Pieces between [CLS] and [SEP], one of them [MASK]."""
    place: int
    """Index of the [MASK] in `ids`."""
    answer: int
    """The piece that is hidden."""


def choose(corpus: Corpus, tokenizer: Tokenizer, *, seed: int, count: int = 10) -> list[Cloze]:
    """Choose random sentences of 10 to 32 pieces, and hide one word in each.

    The word is one piece of at least three letters. A word in another script than ASCII may be shorter.

    Args:
        corpus: prepared text.
        tokenizer: of the corpus.
        seed: of the choice.
        count: number of sentences; a small corpus may have fewer.
    """
    lengths = np.asarray(corpus.sentence_lengths)
    fitting = np.flatnonzero((lengths >= _SHORTEST) & (lengths <= _LONGEST))
    clozes: list[Cloze] = []
    for number in permutation(seed, 0, len(fitting)):
        sentence = int(fitting[number])
        start, length = int(corpus.sentence_starts[sentence]), int(lengths[sentence])
        ids = corpus.gather(np.array([start]), np.array([length])).tolist()
        words, starts = [tokenizer.shown[token].strip() for token in ids], [*tokenizer.word_starts(ids), True]
        suitable = [
            index
            for index, word in enumerate(words)
            if word.isalpha() and (len(word) > 2 or not word.isascii()) and starts[index] and starts[index + 1]
        ]
        if suitable:
            index = suitable[sentence % len(suitable)]
            masked = (*ids[:index], tokenizer.mask, *ids[index + 1 :])
            clozes.append(Cloze(masked, index, ids[index]))
        if len(clozes) == count:
            break
    return clozes


@torch.inference_mode()
def guess(
    model: nn.Module, clozes: Sequence[Cloze], tokenizer: Tokenizer, *, device: torch.device, top_k: int = 5
) -> list[list[tuple[str, float]]]:
    """Predict every hidden word.

    Args:
        model: with a masked-LM head; it may have other heads too.
        clozes: as `choose` returns them.
        tokenizer: of the model.
        device: of the model.
        top_k: number of predictions for each hidden word.

    Returns:
        For each hidden word the best predictions, best first, as (piece, probability).
    """
    if not clozes:
        return []
    sequences = [[tokenizer.start, *cloze.ids, tokenizer.separator] for cloze in clozes]
    offsets = np.cumsum([0, *(len(sequence) for sequence in sequences)])
    tokens = np.concatenate([np.asarray(sequence) for sequence in sequences])
    positions = offsets[:-1] + 1 + np.asarray([cloze.place for cloze in clozes])
    targets = {"slot.position": positions, "slot.token": np.asarray([cloze.answer for cloze in clozes])}
    batch = Batch.pack(tokens, np.zeros_like(tokens), offsets, targets=targets).to(device)
    model.eval()
    outputs: Any = model(batch)
    logits: Logits = outputs if isinstance(outputs, Logits) else outputs.tokens
    probabilities = logits.materialise().float().softmax(-1)  # (number of masks, V)
    scores, ids = probabilities.topk(min(top_k, rule_out(probabilities, tokenizer, -1.0)), dim=1)
    return [
        [(tokenizer.shown[token], score) for token, score in zip(row, values, strict=True)]
        for row, values in zip(ids.tolist(), scores.tolist(), strict=True)
    ]
