"""The contract of `starts/`: where the weights of a new model begin, before the first step.

Each other file here is one start. It holds `READS_CORPUS`, whether it takes anything from the text that the model will
learn from, and `begin(network, task, corpus, tokenizer, seed=...)`, which changes the freshly drawn weights of a
network in place and tells in a `Begun` what it did. The same arguments give the same weights. A run that goes on from
a checkpoint has its weights from there and begins nothing.

What is particular to an architecture stands in its file of `models/`: an encoder whose heads can begin at neighbours
offers `begin_at_neighbours(offsets, generator)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bertie.corpus.shards import Corpus
from bertie.tasks.task import Task, TaskModel
from bertie.tokenizer.tokenizer import Tokenizer

DEFAULT = "neighbours"
"""What pre-training begins with when nothing is said."""


@dataclass(frozen=True)
class Begun:
    """What a start did, for the run's report and the model's card."""

    name: str
    """The file of `starts/`; empty for a trained encoder whose new head learned alone."""
    said: str = ""
    """One sentence with its full stop; empty when there is nothing to tell."""
    tokens: int = 0
    """Tokens of the corpus that were counted."""
    steps: int = 0
    """Steps that a new head learned alone."""
    seconds: float = 0.0
    """Time that they took."""


class Start(Protocol):
    """A file of this folder."""

    READS_CORPUS: bool
    """Whether `begin` reads the corpus."""

    def begin(self, network: TaskModel, task: Task, corpus: Corpus, tokenizer: Tokenizer, *, seed: int) -> Begun:
        """Change the weights of a freshly drawn network in place.

        Args:
            network: what learns, helpers included.
            task: what it learns.
            corpus: from what.
            tokenizer: of the corpus.
            seed: of the run.
        """
