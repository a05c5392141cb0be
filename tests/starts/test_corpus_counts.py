"""Counts of a corpus: those of a plain loop, within documents, whatever the parts; and word vectors made of them."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bertie.corpus import shards, spread
from bertie.corpus.shards import Corpus, CorpusWriter, TokenBlock
from bertie.starts import _counts as counts
from bertie.starts._vectors import word_vectors

ENTRIES = 30


def written(folder: Path, documents: list[list[list[int]]], *, vocab_size: int = ENTRIES) -> Corpus:
    """Write documents of sentences of ids as a corpus."""
    folder.mkdir()
    writer = CorpusWriter(folder, vocab_size=vocab_size)
    sentences = [sentence for document in documents for sentence in document]
    writer.append(
        TokenBlock(
            tokens=np.concatenate([np.asarray(sentence, np.int64) for sentence in sentences]),
            sentence_lengths=np.array([len(sentence) for sentence in sentences]),
            num_sentences=np.array([len(document) for document in documents]),
            continues=np.zeros(len(documents), np.bool_),
        )
    )
    writer.finish({"tokenizer_fingerprint": "x"})
    return Corpus.open(folder)


def drawn(count: int, *, seed: int = 0, entries: int = ENTRIES) -> list[list[list[int]]]:
    draw = random.Random(seed)
    return [
        [[draw.randrange(entries) for _ in range(draw.randint(1, 9))] for _ in range(draw.randint(1, 4))]
        for _ in range(count)
    ]


def plain(documents: list[list[list[int]]], reach: int) -> Counter[tuple[int, int, int]]:
    """Count (piece, context, distance) by a loop; a context on the left has a distance below 0."""
    found: Counter[tuple[int, int, int]] = Counter()
    for document in documents:
        ids = [piece for sentence in document for piece in sentence]
        for place, piece in enumerate(ids):
            for distance in range(-reach, reach + 1):
                if distance and 0 <= place + distance < len(ids):
                    found[piece, ids[place + distance], distance] += 1
    return found


@pytest.mark.parametrize("part", [7, 64, 1 << 16])
def test_counts_are_those_of_a_loop(part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = drawn(80)
    corpus = written(tmp_path / "corpus", documents)
    monkeypatch.setattr(spread, "_PART", part)
    pieces = counts.count_pieces(corpus)
    ids = Counter(piece for document in documents for sentence in document for piece in sentence)
    assert pieces.occurrences.tolist() == [ids[piece] for piece in range(ENTRIES)]
    assert (pieces.tokens, pieces.documents) == (sum(ids.values()), len(documents))
    assert pieces.rows.tolist() == [piece for piece in range(ENTRIES) if ids[piece] > 5]
    expected = plain(documents, counts.REACH)
    left, right = counts.count_pairs(corpus, pieces, beside=True)
    (near,) = counts.count_pairs(corpus, pieces, beside=False)
    assert left.shape == right.shape == near.shape == (len(pieces.rows), len(pieces.contexts(1)))
    for row, piece in enumerate(pieces.rows.tolist()):
        for column, context in enumerate(pieces.contexts(1).tolist()):
            assert int(left[row, column]) == expected[piece, context, -1]
            assert int(right[row, column]) == expected[piece, context, 1]
            both = sum(
                60 // abs(distance) * expected[piece, context, distance] for distance in range(-5, 6) if distance
            )
            assert int(near[row, column]) == both


def test_a_large_corpus_is_read_in_evenly_spread_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    documents = [[[number % ENTRIES] * 10] for number in range(300)]
    corpus = written(tmp_path / "corpus", documents)
    monkeypatch.setattr(spread, "_PART", 10)
    monkeypatch.setattr(spread, "MOST_TOKENS", 600)
    pieces = counts.count_pieces(corpus)
    assert (pieces.tokens, pieces.documents) == (600, 60)
    assert int((pieces.occurrences > 0).sum()) >= ENTRIES // 5 and pieces.occurrences.max() < 300
    monkeypatch.setattr(spread, "MOST_TOKENS", 1)
    assert counts.count_pieces(corpus).tokens == 10


def test_contexts_are_the_commonest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = written(tmp_path / "corpus", [[[piece] * (2 * piece) for piece in range(1, ENTRIES)]])
    pieces = counts.count_pieces(corpus)
    monkeypatch.setattr(counts, "_FEWEST_CONTEXTS", 1)
    monkeypatch.setattr(counts, "_CELLS", 8 * len(pieces.rows))
    assert len(pieces.contexts(1)) == 8 and len(pieces.contexts(2)) == 4
    monkeypatch.setattr(counts, "_MOST_CONTEXTS", 4)
    assert pieces.contexts(1).tolist() == [29, 28, 27, 26]
    assert counts.count_pairs(corpus, pieces, beside=False)[0].shape == (len(pieces.rows), 4)


def test_words_used_alike_have_vectors_alike(tmp_path: Path) -> None:
    draw = random.Random(1)
    # Pieces 10 to 14 stand between two of 0 to 4, pieces 15 to 19 between two of 5 to 9.
    kinds = [((0, 5), (10, 15)), ((5, 10), (15, 20))]
    documents = []
    for _ in range(600):
        frame, words = draw.choice(kinds)
        documents.append([[draw.randrange(*frame), draw.randrange(*words), draw.randrange(*frame)] * 2])
    corpus = written(tmp_path / "corpus", documents)
    pieces = counts.count_pieces(corpus)
    vectors = word_vectors(corpus, pieces, 16, generator=torch.Generator().manual_seed(0))
    assert abs(float(vectors.mean())) < 0.05 and abs(float(vectors.std()) - 1.0) < 0.05
    unit = torch.nn.functional.normalize(vectors, dim=1)
    near = unit[10:20] @ unit[10:20].T
    alike = torch.block_diag(torch.ones(5, 5), torch.ones(5, 5)) - torch.eye(10)
    apart = 1.0 - alike - torch.eye(10)
    assert float((near * alike).sum() / alike.sum()) > float((near * apart).sum() / apart.sum()) + 0.5
    again = word_vectors(corpus, pieces, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(vectors, again)


@pytest.mark.parametrize("width", [1, 2, 16, 700])
def test_any_corpus_gives_finite_vectors(width: int, tmp_path: Path) -> None:
    few: list[Any] = [drawn(3), [[[7] * 40]], [[[1], [2]]], drawn(60, entries=3)]
    for number, documents in enumerate(few):
        corpus = written(tmp_path / str(number), documents, vocab_size=900)
        pieces = counts.count_pieces(corpus)
        vectors = word_vectors(corpus, pieces, width, generator=torch.Generator().manual_seed(0))
        assert vectors.shape == (len(pieces.rows), width) and torch.isfinite(vectors).all()


def test_ids_that_no_vocabulary_has_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = written(tmp_path / "corpus", drawn(5))
    monkeypatch.setattr(corpus, "vocab_size", 3)
    with pytest.raises(shards.DataError, match="damaged corpus"):
        counts.count_pieces(corpus)
