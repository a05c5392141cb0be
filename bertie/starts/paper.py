"""The start `paper`: truncated normal values for matrices and tables, 0 for biases (Devlin et al. 2018)."""

from __future__ import annotations

from bertie.corpus.shards import Corpus
from bertie.starts.start import StartReport
from bertie.tasks.task import Task, TaskModel
from bertie.tokenizer.tokenizer import Tokenizer

READS_CORPUS = False


def begin(network: TaskModel, task: Task, corpus: Corpus, tokenizer: Tokenizer, *, seed: int) -> StartReport:
    """Leave the weights as the architecture drew them."""
    del network, task, corpus, tokenizer, seed
    return StartReport("paper")
