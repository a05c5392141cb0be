"""The dev corpus of a pre-training run, evaluated at the length of the longest stage and at that of the current stage.

For a task that fills masks it is evaluated twice: as the objective shows it, and with every chosen token as [MASK].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.errors import DataError

if TYPE_CHECKING:
    import torch

    from bertie.batch import Batch
    from bertie.corpus.shards import Corpus
    from bertie.formats.format import Bundle
    from bertie.tasks.task import TaskModel
    from bertie.training.schedule import Stage

_MAX_DOCUMENTS = 1000


def is_held_out(document: int, *, every: int) -> bool:
    """Check whether a document is held out: every n-th one, up to a thousand in all.

    Args:
        document: its number, counted from 0.
        every: n.

    >>> [number for number in range(9) if is_held_out(number, every=4)]
    [3, 7]
    """
    return document % every == every - 1 and document < every * _MAX_DOCUMENTS


class DevCorpus:
    """Batches of the dev corpus with fixed pairs and masks, drawn once for each length.

    They are drawn with the task's settings at the end of the run, so that all evaluations of a run are comparable.

    Args:
        path: a prepared corpus.
        bundle: the model with the run's task and tokenizer.
        network: the network to evaluate.
        stages: the run's stages.
        num_tokens: tokens that an evaluation reads, at each length.
        device: the network's device.

    Raises:
        DataError: the corpus has another tokenizer, or no text that the objective can use.
    """

    def __init__(
        self,
        path: Path,
        bundle: Bundle,
        network: TaskModel,
        stages: Sequence[Stage],
        num_tokens: int,
        device: torch.device,
    ) -> None:
        from bertie.corpus.shards import Corpus

        self.corpus = Corpus.open(path)
        if self.corpus.tokenizer_fingerprint != bundle.tokenizer.fingerprint:
            raise DataError(f"{path} was prepared with another tokenizer than the training corpus; prepare it again")
        self._tokenizer, self._task, self._network = bundle.tokenizer, bundle.task.at(1.0), network
        self._lengths, self._num_tokens, self._device = [each.length for each in stages], num_tokens, device
        try:
            self._batches = {length: self._cut(length) for length in set(self._lengths)}
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        self._alone = {length: self._hidden(batches) for length, batches in self._batches.items()}

    @property
    def alone(self) -> Sequence[Batch]:
        """The batches of the longest length with every chosen token as [MASK]; empty for a task without masks."""
        return self._alone[max(self._lengths)]

    def holds(self, corpus: Corpus) -> bool:
        """Check whether the training corpus is this very corpus, so that no text is held out."""
        return self.corpus.fingerprint == corpus.fingerprint

    def figures(self, feed: Mapping[str, Any]) -> dict[str, float]:
        """Evaluate the network.

        Args:
            feed: the feed's state, with the current stage.

        Returns:
            Figures at the longest length, and those at the current stage's length with names like `loss_at_64_tokens`.
        """
        longest, length = max(self._lengths), self._lengths[feed.get("stage", 0)]
        figures = self._at(longest)
        if length != longest:
            figures |= {f"{name}_at_{length}_tokens": value for name, value in self._at(length).items()}
        return figures

    def _at(self, length: int) -> dict[str, float]:
        from bertie.inference.evaluate import evaluate_batches
        from bertie.inference.mask_alone import measure_masks

        figures = evaluate_batches(self._network, self._task, self._batches[length], device=self._device)
        if self._alone[length]:
            figures |= measure_masks(self._network, self._alone[length], device=self._device)
        return figures

    def _hidden(self, batches: Sequence[Batch]) -> list[Batch]:
        from bertie.inference.mask_alone import hidden

        return hidden(batches, self._task, self._tokenizer)

    def _cut(self, length: int) -> list[Batch]:
        from bertie.sampling.instances import draw_instances
        from bertie.sampling.sampler import Sampler

        plan = self._task.corpus_plan()
        sampler = Sampler(self.corpus, seed=0, length=length, batch_tokens=max(8192, length), plan=plan)
        count = min(sampler.num_batches(0), max(1, self._num_tokens // 8192))
        drawn = [draw_instances(sampler, step, self._tokenizer) for step in range(count)]
        return [
            aspect.encode(instances, self._tokenizer, instances.keys)
            for aspect in self._task.objectives()
            for instances in drawn
        ]


def opened(
    path: Path | None,
    bundle: Bundle,
    network: TaskModel,
    stages: Sequence[Stage],
    num_tokens: int,
    device: torch.device,
    *,
    named: bool,
) -> tuple[DevCorpus | None, Path | None]:
    """Open a dev corpus, and return it with its path; None for both without one.

    Args:
        path: the prepared corpus, if there is one.
        bundle: see `DevCorpus`.
        network: see `DevCorpus`.
        stages: see `DevCorpus`.
        num_tokens: see `DevCorpus`.
        device: see `DevCorpus`.
        named: whether the user named the corpus. A corpus held out from the user's text may be too small for the
            objective, and then the run has no dev corpus.

    Raises:
        DataError: the corpus that the user named can't be used.
    """
    if path is None:
        return None, None
    try:
        return DevCorpus(path, bundle, network, stages, num_tokens, device), path
    except DataError as error:
        if named:
            raise
        progress.note(f"no dev figures, because the held-out documents can't be used: {error}")
        return None, None
