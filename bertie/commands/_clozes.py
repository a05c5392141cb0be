"""Ten holes in sentences that a pre-training run fills before its first step and at its end; no command."""

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
    """Let the model, as it is now, fill the holes: in sentences of the dev corpus, or of the corpus without one.

    Returns:
        Sentences with a hole and the guesses for each; none of a model that guesses no hidden tokens.
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
    """Put the guesses from before the first step beside those of the finished model."""
    from bertie.reports.parts import masked_sentences

    clozes, after = guesses(bundle, corpus, dev, device, seed=seed)
    return masked_sentences(clozes, before, after, bundle.tokenizer)
