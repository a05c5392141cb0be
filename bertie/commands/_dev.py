"""The dev table of a fine-tuning run: measured along the way and, for the report, at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from bertie.formats.format import Bundle
from bertie.inference.evaluate import Evaluation, evaluate, rejudge


@dataclass
class DevTable:
    """Items to measure on, and what the last measurement found."""

    bundle: Bundle
    items: Sequence[Any]
    final: bool
    """Whether a run's last measurement is of the model that it writes: not of other weights, nor in bf16."""
    found: Evaluation | None = field(default=None, init=False)

    def figures(self) -> dict[str, float]:
        """Measure the model as it is; loss, where the items allow one, and scores."""
        self.found = evaluate(self.bundle.model, self.bundle.task, self.items, self.bundle.tokenizer)
        return {**({} if self.found.loss is None else {"loss": self.found.loss}), **self.found.scores}

    def answers(self) -> tuple[list[str | None], list[str | None]]:
        """Return what was said of each item in the last measurement and what would have been right, in words."""
        if self.found is None or not self.found.predictions:
            return [], []
        both = [self.bundle.task.judge(*each) for each in zip(self.found.predictions, self.items, strict=True)]
        return [one.guess if one else None for one in both], [one.gold if one else None for one in both]

    def conclude(self) -> tuple[Evaluation, dict[str, Any]]:
        """Measure the finished model, where that isn't done yet, and let the task choose what it chooses on dev.

        Returns:
            What was found, and the settings that were chosen on these very items: `bundle` has them from now on.
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
