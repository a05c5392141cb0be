"""The dev corpus of a pre-training run: measured at the longest stage's length, and at the running stage's own.

Of a task that fills masks it is measured twice, as the objective shows it and with every chosen token as [MASK].
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

_MOST_DOCUMENTS = 1000


def is_held_out(document: int, *, every: int) -> bool:
    """Tell whether a document, counted from 0, is kept from training to be measured on.

    Args:
        document: its number.
        every: one of so many documents is, up to a thousand in all.
    """
    return document % every == every - 1 and document < every * _MOST_DOCUMENTS


class DevCorpus:
    """Batches with fixed pairs and masks, cut once for each length.

    They are drawn as the task is at the end of the run, so that all figures of a run are of the same thing.

    Args:
        path: a prepared corpus.
        bundle: says the task and the tokenizer.
        network: what is measured.
        stages: of the run.
        num_tokens: tokens that an evaluation reads, at each length.
        device: where the network is.

    Raises:
        DataError: another tokenizer's corpus, or one that the objective finds nothing in.
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
        """The batches of the longest length with every chosen token as [MASK]; none for a task without masks."""
        return self._alone[max(self._lengths)]

    def holds(self, corpus: Corpus) -> bool:
        """Tell whether a training corpus is this one, so that nothing is held out."""
        return self.corpus.fingerprint == corpus.fingerprint

    def figures(self, feed: Mapping[str, Any]) -> dict[str, float]:
        """Measure the network as it is.

        Args:
            feed: where the feed stands; it says which stage runs.

        Returns:
            Figures at the longest length, and behind them those at the stage's own, named as `loss_at_64_tokens`.
        """
        longest, own = max(self._lengths), self._lengths[feed.get("stage", 0)]
        figures = self._at(longest)
        if own != longest:
            figures |= {f"{name}_at_{own}_tokens": value for name, value in self._at(own).items()}
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
        from bertie.data.instances import draw_instances
        from bertie.data.sampler import Sampler

        plan = self._task.corpus_plan()
        sampler = Sampler(self.corpus, seed=0, length=length, batch_tokens=max(8192, length), plan=plan)
        count = min(sampler.num_batches(0), max(1, self._num_tokens // 8192))
        drawn = [draw_instances(sampler, step, self._tokenizer) for step in range(count)]
        return [
            aspect.encode(instances, self._tokenizer, instances.keys)
            for aspect in self._task.aspects()
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
    """Open a dev corpus, and return it with its path; neither if there is none.

    Args:
        path: of the prepared corpus, if any.
        bundle: as for `DevCorpus`.
        network: as there.
        stages: as there.
        num_tokens: as there.
        device: as there.
        named: whether the user named it. If it was held out of the user's text, it may be too small for the objective,
            and the run does without.

    Raises:
        DataError: one that the user named can't be measured on.
    """
    if path is None:
        return None, None
    try:
        return DevCorpus(path, bundle, network, stages, num_tokens, device), path
    except DataError as error:
        if named:
            raise
        progress.note(f"nothing is measured on the documents that were held out: {error}")
        return None, None
