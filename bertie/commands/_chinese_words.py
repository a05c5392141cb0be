"""Says before a run that masks whole words that a corpus of Chinese text doesn't know its words."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from bertie import progress

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.tasks.task import Task
    from bertie.tokenizer.tokenizer import Tokenizer

_LEAST_SHARE = 0.01  # of Chinese tokens; below, single characters as words make no difference
_SAMPLE_TOKENS = 1_000_000


def warn_of_single_characters(task: Task, tokenizer: Tokenizer, *corpora: Corpus | None) -> None:
    """Warn where words are asked for and a corpus of Chinese text has none.

    Args:
        task: what is learned.
        tokenizer: of the corpora.
        corpora: those of the run.
    """
    settings: Any = task
    masking = getattr(settings, "masking", "token")
    if masking == "token":
        return
    for corpus in corpora:
        if corpus is not None and not corpus.has_words and (share := chinese_share(corpus, tokenizer)) >= _LEAST_SHARE:
            progress.warn(
                f"masking={masking}: {corpus.path} doesn't say where its Chinese words are ({share:.0%} of its tokens "
                "are Chinese), so each Chinese character counts as a word; to hide whole words type: "
                f"pip install 'bertie[zh]', then: bertie prepare-corpus FILES --words jieba --tokenizer "
                f"{shlex.quote(str(corpus.tokenizer_path))} --out NEW"
            )


def chinese_share(corpus: Corpus, tokenizer: Tokenizer) -> float:
    """Return how much of a corpus is Chinese: a share of its tokens, or of evenly spread parts of a large one."""
    import numpy as np

    from bertie.corpus.spread import parts
    from bertie.tokenizer.edges import chinese_pieces

    spans = np.array(list(parts(corpus, most=_SAMPLE_TOKENS)))
    tokens = corpus.gather(spans[:, 0], spans[:, 1] - spans[:, 0])
    return float(chinese_pieces(tokenizer)[tokens].mean())
