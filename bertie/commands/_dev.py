"""The dev table of a fine-tuning run: evaluated during the run and, for the report, at its end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bertie.formats.format import Bundle
from bertie.inference.evaluate import Evaluation, evaluate, rejudge


@dataclass
class DevTable:
    """Items to measure on, and the result of the last evaluation."""

    bundle: Bundle
    items: Sequence[Any]
    final: bool
    """Whether the run's last evaluation is of exactly the model that it writes: the same weights, in fp32."""
    found: Evaluation | None = field(default=None, init=False)

    def figures(self) -> dict[str, float]:
        """Evaluate the current model; return its scores and, if the items allow it, its loss."""
        self.found = evaluate(self.bundle.model, self.bundle.task, self.items, self.bundle.tokenizer)
        return {**({} if self.found.loss is None else {"loss": self.found.loss}), **self.found.scores}

    def answers(self) -> tuple[list[str | None], list[str | None]]:
        """Return the predictions and the labels of all items in the last evaluation, as text."""
        if self.found is None or not self.found.predictions:
            return [], []
        judged = [self.bundle.task.judge(*each) for each in zip(self.found.predictions, self.items, strict=True)]
        return [one.guess if one else None for one in judged], [one.gold if one else None for one in judged]

    def conclude(self) -> tuple[Evaluation, dict[str, Any]]:
        """Evaluate the finished model, if that isn't done yet, and let the task tune its settings on the dev items.

        Returns:
            The evaluation, and the tuned settings such as thresholds; `bundle` contains them from now on.
        """
        if not self.final or self.found is None:
            self.figures()
        assert self.found is not None
        tuned = self.bundle.task.tune(self.found.predictions, self.items)
        if tuned:
            self.bundle = replace(self.bundle, task=self.bundle.task.adjusted(tuned))
            revised = rejudge(self.found, self.bundle.task, self.items)
            if revised is None:
                self.figures()
            else:
                self.found = revised
        return self.found, tuned
