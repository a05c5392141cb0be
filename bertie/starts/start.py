"""The contract of `starts/`: a start sets the first weights of a new model, before the first step.

Each other file here is one start. It has `READS_CORPUS`, which says whether it reads the training corpus, and
`begin(network, task, corpus, tokenizer, seed=...)`, which changes a network's random weights in place and returns a
`StartReport`. The same arguments give the same weights. A resumed run takes its weights from a checkpoint and calls no
start.

Code for one architecture is in that architecture's file in `models/`: an encoder whose attention heads can start at
neighbours has a method `start_at_neighbours(offsets, generator)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bertie.corpus.shards import Corpus
from bertie.tasks.task import Task, TaskModel
from bertie.tokenizer.tokenizer import Tokenizer

DEFAULT = "neighbours"
"""The start of pre-training when none is given."""


@dataclass(frozen=True)
class StartReport:
    """What a start did, for the run's report and the model card."""

    name: str
    """The start's file in `starts/`; empty for a trained encoder with a new head that was trained alone."""
    said: str = ""
    """A sentence for the report, with its full stop; empty for none."""
    tokens: int = 0
    """Tokens of the corpus that were counted."""
    steps: int = 0
    """Steps for which a new head was trained alone."""
    seconds: float = 0.0
    """Time of these steps."""


class Start(Protocol):
    """A file of this folder."""

    READS_CORPUS: bool
    """Whether `begin` reads the corpus."""

    def begin(self, network: TaskModel, task: Task, corpus: Corpus, tokenizer: Tokenizer, *, seed: int) -> StartReport:
        """Change the random weights of a network in place.

        Args:
            network: the network to train, including its helpers.
            task: the task that it learns.
            corpus: the corpus that it learns from.
            tokenizer: the corpus's.
            seed: the run's.
        """
