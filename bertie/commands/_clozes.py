"""Ten sentences with a hidden token, which a pre-training run predicts before its first step and at its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from bertie.corpus.shards import Corpus
    from bertie.formats.format import Bundle
    from bertie.reports.masked import MaskedSentence


def guesses(
    bundle: Bundle, corpus: Corpus, dev: Path | None, device: torch.device, *, seed: int
) -> tuple[list[Any], list[Any]]:
    """Predict the hidden tokens with the current model, in sentences of the dev corpus or else of the corpus.

    Returns:
        Sentences with a hidden token, and the predictions for each; empty for a model that doesn't fill masks.
    """
    from bertie.corpus.shards import Corpus
    from bertie.inference.cloze import choose, guess

    if not bundle.task.fills_masks:
        return [], []
    clozes = choose(corpus if dev is None else Corpus.open(dev), bundle.tokenizer, seed=seed)
    return clozes, guess(bundle.model.to(device), clozes, bundle.tokenizer, device=device)


def side_by_side(
    before: Sequence[Any], bundle: Bundle, corpus: Corpus, dev: Path | None, device: torch.device, *, seed: int
) -> list[MaskedSentence]:
    """Return the sentences with the predictions before the first step and those of the finished model."""
    from bertie.reports.parts import masked_sentences

    clozes, after = guesses(bundle, corpus, dev, device, seed=seed)
    return masked_sentences(clozes, before, after, bundle.tokenizer)
