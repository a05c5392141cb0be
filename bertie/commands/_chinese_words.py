"""Warn before a run that masks whole words if the Chinese text of a corpus isn't segmented into words."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from bertie import progress

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.tasks.task import Task
    from bertie.tokenizer.tokenizer import Tokenizer

_MIN_CHINESE_SHARE = 0.01  # with a smaller share of Chinese tokens, words don't matter
_SAMPLE_TOKENS = 1_000_000


def warn_of_single_characters(task: Task, tokenizer: Tokenizer, *corpora: Corpus | None) -> None:
    """Warn if the task masks words and a corpus of Chinese text isn't segmented into words.

    Args:
        task: the objective.
        tokenizer: the corpora's tokenizer.
        corpora: the run's corpora.
    """
    settings: Any = task
    masking = getattr(settings, "masking", "token")
    if masking == "token":
        return
    for corpus in corpora:
        if (
            corpus is not None
            and not corpus.has_words
            and (share := chinese_share(corpus, tokenizer)) >= _MIN_CHINESE_SHARE
        ):
            progress.warn(
                f"masking={masking}: the Chinese text of {corpus.path} ({share:.0%} of its tokens) isn't segmented "
                "into words, so each Chinese character counts as a word; to mask whole words run: "
                f"pip install 'bertie[zh]', then: bertie prepare-corpus FILES --words jieba --tokenizer "
                f"{shlex.quote(str(corpus.tokenizer_path))} --out NEW"
            )


def chinese_share(corpus: Corpus, tokenizer: Tokenizer) -> float:
    """Return the share of Chinese tokens in a corpus, measured on evenly spread parts of a large one."""
    import numpy as np

    from bertie.corpus.spread import parts
    from bertie.tokenizer.edges import chinese_pieces

    spans = np.array(list(parts(corpus, most=_SAMPLE_TOKENS)))
    tokens = corpus.gather(spans[:, 0], spans[:, 1] - spans[:, 0])
    return float(chinese_pieces(tokenizer)[tokens].mean())
