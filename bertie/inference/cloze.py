"""Ten sentences of a corpus with one word hidden each: what a masked LM guesses, to look at before and after training.

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
from bertie.data.random import permutation
from bertie.nn.projection import Logits
from bertie.tasks._rows import rule_out
from bertie.tokenizer.tokenizer import Tokenizer

_SHORTEST, _LONGEST = 10, 32


@dataclass(frozen=True)
class Cloze:
    """One sentence with a hole."""

    ids: tuple[int, ...]
    """Pieces between [CLS] and [SEP], one of them [MASK]."""
    place: int
    """Index of the [MASK] in `ids`."""
    answer: int
    """The piece that was there."""


def choose(corpus: Corpus, tokenizer: Tokenizer, *, seed: int, count: int = 10) -> list[Cloze]:
    """Pick sentences of middling length from all over the corpus and hide one whole word of three letters or more.

    Args:
        corpus: prepared text.
        tokenizer: of the corpus.
        seed: of the choice.
        count: sentences wanted; fewer come back from a corpus that has fewer.
    """
    lengths = np.asarray(corpus.sentence_lengths)
    fitting = np.flatnonzero((lengths >= _SHORTEST) & (lengths <= _LONGEST))
    found: list[Cloze] = []
    for number in permutation(seed, 0, len(fitting)):
        sentence = int(fitting[number])
        start, length = int(corpus.sentence_starts[sentence]), int(lengths[sentence])
        ids = corpus.gather(np.array([start]), np.array([length])).tolist()
        words, starts = [tokenizer.shown[token].strip() for token in ids], [*tokenizer.word_starts(ids), True]
        places = [
            place
            for place, word in enumerate(words)
            if word.isalpha() and (len(word) > 2 or not word.isascii()) and starts[place] and starts[place + 1]
        ]
        if places:
            place = places[sentence % len(places)]
            holed = (*ids[:place], tokenizer.mask, *ids[place + 1 :])
            found.append(Cloze(holed, place, ids[place]))
        if len(found) == count:
            break
    return found


@torch.inference_mode()
def guess(
    model: nn.Module, clozes: Sequence[Cloze], tokenizer: Tokenizer, *, device: torch.device, top_k: int = 5
) -> list[list[tuple[str, float]]]:
    """Fill every hole.

    Args:
        model: with a masked-LM head, alone or beside others.
        clozes: what `choose` chose.
        tokenizer: of the model.
        device: where the model is.
        top_k: guesses a hole.

    Returns:
        For each hole its best guesses, best first, with their probabilities.
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
    shares = logits.materialise().float().softmax(-1)  # (number of holes, V)
    scores, ids = shares.topk(min(top_k, rule_out(shares, tokenizer, -1.0)), dim=1)
    return [
        [(tokenizer.shown[token], score) for token, score in zip(row, values, strict=True)]
        for row, values in zip(ids.tolist(), scores.tolist(), strict=True)
    ]
