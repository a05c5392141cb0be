"""Private helper of `span_classification`: the candidates of a batch, and the vector of each.

A candidate is a run of up to L words in one sequence. It is stored at its first word, in the row of its length less 1.
If several windows of a long text show a run, it is a candidate in the one that gives it most context, by the rule of
`tokenizer/windows.py`. A word without pieces begins and ends no candidate, but may lie within one.

Shapes: T tokens, P pieces of all texts, B sequences, M words with all pieces in a sequence, W words of all texts, L
longest candidate, K candidates, G most gold spans that begin at one word, H hidden, C labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from bertie.batch import Batch
from bertie.items.words import Words
from bertie.ops.dropout.op import Noise
from bertie.ops.linear.op import Linear
from bertie.tasks._word_pieces import NOTHING, WordPieces, shown_pieces
from bertie.tokenizer.windows import Windows

Places = NDArray[np.int64]


def word_slots(sentences: Sequence[Words], encoded: WordPieces, laid: Windows, max_span: int) -> dict[str, Any]:
    """Return the targets that describe the candidates.

    `slot.position` (M,) is the first piece of each word, `slot.pieces` (M,) the number of its pieces, `slot.word` (M,)
    its index in its text, `slot.reach` (M,) the last word that its pieces overlap, and `slot.span` (M, L) whether the
    run of 1, 2, ... L words from here on is a candidate.

    Args:
        sentences: texts split into words.
        encoded: their pieces.
        laid: the sequences.
        max_span: L.
    """
    shown = shown_pieces(encoded.ids, laid)  # (P',) pieces in all windows
    sequences = np.repeat(np.arange(len(laid.counts)), laid.counts)
    index = np.arange(len(shown)) - np.repeat(np.cumsum(laid.counts) - laid.counts, laid.counts)  # in the window
    numbers = encoded.numbers[shown]
    owned = np.flatnonzero(numbers != NOTHING)
    num_words = sum(len(sentence.words) for sentence in sentences)
    keys = sequences[owned] * max(1, num_words) + numbers[owned]
    _, firsts, pieces = np.unique(keys, return_index=True, return_counts=True)
    firsts = owned[firsts]
    totals = np.bincount(encoded.numbers[encoded.numbers != NOTHING], minlength=num_words)
    whole = pieces == totals[numbers[firsts]]  # a window may show a part of a word
    firsts, pieces = firsts[whole], pieces[whole]
    sequences = sequences[firsts]
    return {
        "slot.position": laid.shown[firsts],
        "slot.pieces": pieces,
        "slot.word": encoded.words[shown[firsts]],
        "slot.reach": encoded.reach[shown[firsts]],
        "slot.span": _spans(numbers[firsts], sequences, index[firsts], pieces, laid, max_span),
    }


def _spans(
    numbers: Places, sequences: Places, index: Places, pieces: Places, laid: Windows, max_span: int
) -> NDArray[np.bool_]:
    """Return which runs of words are candidates, (M, L).

    Args:
        numbers: (M,) index of the word among the words of all texts.
        sequences: (M,) sequence of the word.
        index: (M,) place of its first piece among the pieces that its window shows.
        pieces: (M,) number of its pieces.
        laid: the sequences.
        max_span: L.
    """
    spans = np.zeros((len(numbers), max_span), np.bool_)
    in_windows = laid.rows[-1] + 1 < len(laid.rows)
    for more in range(min(max_span, len(numbers))):
        starts = np.flatnonzero(sequences[: len(sequences) - more] == sequences[more:])
        if in_windows:
            count = laid.counts[sequences[starts]]
            right = count - (index + pieces)[starts + more]
            context = np.minimum(index[starts], right) + 0.01 * count
            order = np.argsort(-context, kind="stable")
            starts = starts[order[np.unique(numbers[starts][order], return_index=True)[1]]]
        spans[starts, more] = True
    return spans


def gold_codes(
    sentences: Sequence[Words], encoded: WordPieces, targets: dict[str, Any], owners: Places, labels: Sequence[str]
) -> Places:
    """Return the gold spans that begin at each word as numbers (length - 1) x C + label, filled with -1: (M, G).

    A span that is no candidate, or whose label the model doesn't have, is left out.

    Args:
        sentences: texts split into words, with labels.
        encoded: their pieces.
        targets: those of `word_slots`.
        owners: (M,) text of each word.
        labels: the model's.
    """
    number_of = {label: number for number, label in enumerate(labels)}
    counts = np.array([len(sentence.words) for sentence in sentences], np.int64)
    base = np.cumsum(counts) - counts  # the number of each text's first word among the words of all texts
    gold = np.array(
        [
            (begin + span.start, begin + span.end, number_of[span.label])
            for begin, sentence in zip(base.tolist(), sentences, strict=True)
            for span in sentence.labelled_spans() or ()
            if span.label in number_of
        ],
        np.int64,
    ).reshape(-1, 3)
    slot, more = targets["slot.span"].nonzero()
    if not len(slot) or not len(gold):
        return np.full((len(owners), 1), NOTHING, np.int64)
    names = encoded.numbers[encoded.is_first]  # of the words with pieces
    reach = names + (encoded.reach - encoded.words)[encoded.is_first]
    first, last = np.searchsorted(reach, gold[:, 0]), np.searchsorted(names, gold[:, 1]) - 1
    fits = first <= last
    numbers, width = base[owners] + targets["slot.word"], int(counts.sum())
    wanted = names[first[fits]] * width + names[last[fits]]
    keys = numbers[slot] * width + numbers[slot + more]
    order = np.argsort(keys)
    place = order[np.searchsorted(keys[order], wanted).clip(max=len(keys) - 1)]
    found = keys[place] == wanted
    slot, code = slot[place[found]], more[place[found]] * len(labels) + gold[fits, 2][found]
    by_slot = np.argsort(slot, kind="stable")
    slot, code = slot[by_slot], code[by_slot]
    column = np.arange(len(slot)) - np.searchsorted(slot, slot)
    codes = np.full((len(owners), 1 + int(column.max(initial=0))), NOTHING, np.int64)
    codes[slot, column] = code
    return codes


def candidates(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the first word of each candidate, an index of (M,), and its number of words less 1: (K,) each."""
    more, first = batch.targets["slot.span"].T.nonzero(as_tuple=True)
    return first, more


def gold_table(batch: Batch, num_labels: int) -> Tensor:
    """Return which candidate has which label: (K, C) booleans.

    Raises:
        KeyError: not every item has a label.
    """
    codes, spans = batch.targets["slot.gold"], batch.targets["slot.span"]
    table = torch.zeros(len(spans), spans.shape[1] * num_labels + 1, dtype=torch.bool, device=codes.device)
    table.scatter_(1, torch.where(codes == NOTHING, table.shape[1] - 1, codes), True)
    first, more = candidates(batch)
    return table[:, :-1].reshape(*spans.shape, num_labels)[first, more]


class SpanHead(nn.Module):
    """A hidden layer on first piece, last piece, mean of the pieces and length of each candidate, then its logits.

    A layer on these vectors side by side is a sum of layers on each. These run once a word, not once a candidate.

    Args:
        stem: the encoder's layer below it, with its dropout.
        hidden_size: H.
        max_span: L.
        num_labels: C.
    """

    def __init__(self, stem: nn.Module, hidden_size: int, max_span: int, num_labels: int) -> None:
        super().__init__()
        self.stem = stem
        self.first = Linear(hidden_size, hidden_size)
        self.last = Linear(hidden_size, hidden_size, bias=False)
        self.mean = Linear(hidden_size, hidden_size, bias=False)
        self.length = nn.Embedding(max_span, hidden_size)
        self.classifier = Linear(hidden_size, num_labels)

    def forward(self, hidden: Tensor, batch: Batch, noise: Noise | None) -> Tensor:
        """Map (T, H) to (K, C)."""
        hidden = self.stem(hidden, noise)
        position, pieces = batch.targets["slot.position"], batch.targets["slot.pieces"]
        first, last = self.first(hidden[position]), self.last(hidden[position + pieces - 1])  # (M, H)
        words = torch.repeat_interleave(torch.arange(len(pieces), device=pieces.device), pieces)
        before = torch.cumsum(pieces, 0) - pieces
        tokens = torch.arange(len(words), device=pieces.device) + (position - before)[words]
        sums = hidden.new_zeros(len(pieces), hidden.shape[1]).index_add(0, words, hidden[tokens])
        added, counts = self.mean(sums), pieces[:, None]
        inner, sizes, rows = added, counts, []  # of the run of words from each word on
        for more, is_candidate in enumerate(batch.targets["slot.span"].T):
            if more:
                inner = inner + pad(added[more:], (0, 0, 0, min(more, len(added))))
                sizes = sizes + pad(counts[more:], (0, 0, 0, min(more, len(added))))
            start = is_candidate.nonzero().flatten()
            rows.append(first[start] + last[start + more] + inner[start] / sizes[start] + self.length.weight[more])
        logits: Tensor = self.classifier(gelu(torch.cat(rows)))
        return logits
