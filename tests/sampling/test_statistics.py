"""What is drawn over many instances of real text, against what the recipe says.

`python tests/sampling/test_statistics.py CORPUS 1000000` prints the same figures for any prepared corpus.
"""

import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bertie.corpus.prepare import prepare
from bertie.corpus.shards import Corpus
from bertie.sampling.instances import draw_instances
from bertie.sampling.masking import choose_masked
from bertie.sampling.plan import pair_plan
from bertie.sampling.sampler import Sampler
from bertie.tokenizer.reading import load_tokenizer
from bertie.tokenizer.tokenizer import Tokenizer

_CHARACTERS = 6_000_000


def measure(corpus: Corpus, tokenizer: Tokenizer, *, instances: int) -> dict[str, float]:
    """Draw so many instances of length 128 and count."""
    sampler = Sampler(corpus, seed=0, length=128, batch_tokens=65_536, plan="pairs")
    drawn = wrong = masked = kept = replaced = chosen = 0
    seen = np.zeros(tokenizer.vocab_size, np.int64)
    for step in itertools.count():
        batch = draw_instances(sampler, step, tokenizer)
        positions, original, shown = choose_masked(
            batch.tokens,
            batch.offsets,
            batch.keys,
            rate=0.15,
            cap=20,
            special_ids=tokenizer.special_ids,
            vocab_size=tokenizer.vocab_size,
            mask_id=tokenizer.mask,
        )
        counts = np.diff(np.searchsorted(positions, batch.offsets))
        wanted = [min(20, max(1, round(0.15 * length))) for length in np.diff(batch.offsets).tolist()]
        wrong += int((counts != wanted).sum())
        now = shown[positions]
        is_mask, same = now == tokenizer.mask, now == original
        seen += np.bincount(now[~is_mask & ~same], minlength=len(seen))
        chosen, masked, kept = chosen + len(now), masked + int(is_mask.sum()), kept + int(same.sum())
        replaced += int((~is_mask & ~same).sum())
        drawn += len(batch)
        if drawn >= instances:
            break
    epochs = range(sampler.locate(step)[0] + 1)
    plans = [pair_plan(corpus, seed=0, epoch=epoch, length=128) for epoch in epochs]
    labels = np.concatenate([plan.labels[plan.num_sentences > 1] for plan in plans])
    pieces = np.delete(seen, tokenizer.special_ids)
    expected = pieces.sum() / len(pieces)
    chi = float(((pieces - expected) ** 2 / expected).sum())
    return {
        "instances": drawn,
        "wrong_counts": wrong,
        "masked": masked / chosen,
        "kept": kept / chosen,
        "replaced": replaced / chosen,
        "specials_drawn": int(seen[list(tokenizer.special_ids)].sum()),
        "replacement_z": (chi - len(pieces)) / (2 * len(pieces)) ** 0.5,
        "random_next_of_longer_chunks": float(labels.mean()),
        "longer_chunks": len(labels),
        "random_next_overall": float(np.mean([plan.random_share for plan in plans])),
    }


def check(found: dict[str, Any]) -> None:
    """Hold the figures to the recipe."""
    assert found["wrong_counts"] == 0
    assert found["specials_drawn"] == 0
    assert abs(found["masked"] - 0.8) < 0.003
    assert abs(found["kept"] - 0.1) < 0.003
    assert abs(found["replaced"] - 0.1) < 0.003
    assert abs(found["replacement_z"]) < 5
    assert abs(found["random_next_of_longer_chunks"] - 0.5) < max(0.003, 2 / found["longer_chunks"] ** 0.5)


@pytest.mark.realdata
def test_real_text(test_data: Path, tmp_path: Path) -> None:
    import lzma

    with lzma.open(test_data / "enwiki" / "enwiki-00.txt.xz", "rt", encoding="utf-8") as stream:
        (tmp_path / "text.txt").write_text(stream.read(_CHARACTERS), encoding="utf-8")
    vocabulary = test_data / "vocab" / "bert-base-uncased-vocab.txt"
    corpus = prepare([tmp_path / "text.txt"], tokenizer=vocabulary, out=tmp_path / "corpus", num_processes=1)
    check(measure(corpus, load_tokenizer(corpus.tokenizer_path), instances=60_000))


if __name__ == "__main__":
    opened = Corpus.open(sys.argv[1])
    figures = measure(opened, load_tokenizer(opened.tokenizer_path), instances=int(sys.argv[2]))
    for name, value in figures.items():
        print(f"{name:32} {value:,.5f}")
    check(figures)
