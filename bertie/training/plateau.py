"""The plateau of masked language modelling: whether a run has left it, when, and what to change if it has not.

A network that predicts the token frequencies at every [MASK] has the loss of the unigram. Every run begins near that
loss, and some stay there for millions of tokens. The functions here are pure and read lines of metrics.jsonl. `Watch`
follows a run in progress.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Records = Sequence[Mapping[str, Any]]

BELOW = 0.5
"""Nats below the unigram's loss at which the plateau counts as left: by then the network uses the context."""
_FEWEST_STEPS = 300  # earlier it is too soon to judge a run
_FEWEST_TOKENS = 2_000_000  # a good start needs a quarter of this; a large vocabulary takes twice as many steps
_WARM = 0.2  # share of a run after which its learning rate has been high for some time
_LARGE_VOCABULARY = 16_384
_LOW_MUON = 3e-3
_ALIKE = 0.9  # mean cosine of hidden vectors at [MASK]: 0.94 was measured on the plateau, 0.1 beyond it


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings that decide how soon a run leaves the plateau."""

    task: str
    optimizer: str
    peak: float
    """Largest learning rate."""
    vocab_size: int
    start: str | None = None
    """The start of random weights; None if the weights are another model's, or there was no choice of starts."""
    random: bool = True
    """Whether the run began with random weights; False if with another model's."""
    dropout: float = 0.0


def left(records: Records, unigram_loss: float) -> Mapping[str, Any] | None:
    """Return the line from which on the loss at [MASK] stays 0.5 nats or more below the unigram's.

    Training lines are used if they have that loss, because they are close together. If the dev set was measured, its
    last line must be below as well.

    Returns:
        The line. None if the run ended on the plateau, began beyond it, or has no loss at [MASK].
    """
    dev = [row for row in records if row.get("kind") == "dev" and _loss(row) is not None]
    lines = [row for row in records if row.get("kind") == "train" and _loss(row) is not None] or dev
    limit = unigram_loss - BELOW
    if not lines or (dev and (_below(dev[0], limit) or not _below(dev[-1], limit))):
        return None
    above = [index for index, row in enumerate(lines) if not _below(row, limit)]
    first = above[-1] + 1 if above else 0
    return lines[first] if first < len(lines) else None


def last_loss(records: Records) -> float | None:
    """Return the last loss at [MASK], on the dev set if it was measured there."""
    for kind in ("dev", "train"):
        for row in reversed(records):
            if row.get("kind") == kind and (loss := _loss(row)) is not None:
                return loss
    return None


def advice(recipe: Recipe) -> list[str]:
    """List what a run on the plateau could change, as flags where possible. Leave out what it does already."""
    # Optimizers load torch, and help texts are printed without it.
    from bertie.optimizers.optimizer import optimizer_class

    changes, for_matrices = [], optimizer_class(recipe.optimizer).for_matrices
    if recipe.start == "paper":
        changes.append("--model.start neighbours")
    if not recipe.random:
        changes.append("random weights instead of --from")
    if recipe.random and not for_matrices:
        changes.append("--optimizer.name muon")
    if for_matrices and recipe.peak < _LOW_MUON:
        changes.append("--learning-rate 6e-3")
    if recipe.task in ("pretraining", "sentence_order"):
        changes.append("--task masked_lm")
    if recipe.random and recipe.dropout > 0.0:
        changes.append("--model.dropout 0")
    if recipe.vocab_size > _LARGE_VOCABULARY:
        changes.append("a vocabulary of 8,192 pieces (train-tokenizer --vocab-size 8192)")
    return changes


def remarks(records: Records, yardsticks: Mapping[str, float], recipe: Recipe) -> list[str]:
    """Return warnings about a finished run that is on the plateau, or worse than counts of neighbouring tokens.

    Args:
        records: lines of metrics.jsonl.
        yardsticks: as in run.json; empty for a task without masks.
        recipe: the run's settings.
    """
    loss, unigram = last_loss(records), yardsticks.get("yardstick_unigram_loss")
    trained = [row for row in records if row.get("kind") == "train"]
    if loss is None or unigram is None or not trained or not _is_long(trained[-1]):
        return []
    if loss > unigram - BELOW:
        cosine = next((row["mask_cosine"] for row in reversed(records) if "mask_cosine" in row), None)
        alike = ""
        if isinstance(cosine, float) and cosine > _ALIKE:
            alike = f", and the predictions are nearly the same everywhere (mean cosine {cosine:.2f})"
        return [f"the run ended on the plateau: {_on_it(loss, unigram)}{alike}. {_change(recipe)}"]
    neighbours = yardsticks.get("yardstick_neighbours_loss")
    if neighbours is not None and loss > neighbours:
        share = yardsticks.get("yardstick_neighbours_accuracy", 0.0)
        return [
            f"counting does better: the loss at [MASK] is {loss:.2f}, and counts of the two neighbouring tokens reach "
            f"{neighbours:.2f} ({share:.1%} right) without a network; train longer"
        ]
    return []


class Watch:
    """Warns once if a run is still on the plateau when it has had enough steps to leave it, and says what to change.

    Args:
        unigram_loss: the unigram's loss on the run's corpus.
        recipe: the run's settings.
    """

    def __init__(self, unigram_loss: float, recipe: Recipe) -> None:
        self._unigram_loss, self._recipe, self._warned = unigram_loss, recipe, False

    def __call__(self, record: Mapping[str, Any], done: float) -> str:
        """Return a warning about a logged training line, or "".

        Args:
            record: the line.
            done: share of the run that is done. At the end there is no warning, because `remarks` gives it.
        """
        loss = _loss(record)
        if self._warned or loss is None or not _WARM <= done < 1.0 or not _is_long(record):
            return ""
        if loss <= self._unigram_loss - BELOW:
            return ""
        self._warned = True
        return (
            f"still on the plateau after {_tokens(record)} tokens: {_on_it(loss, self._unigram_loss)}. "
            f"{_change(self._recipe)}"
        )


def _on_it(loss: float, unigram: float) -> str:
    return (
        f"masked tokens are predicted by their frequency and hardly by their context (loss {loss:.2f}, the unigram's "
        f"{unigram:.2f})"
    )


def _change(recipe: Recipe) -> str:
    changes = advice(recipe)
    if not changes:
        return "Train longer, or at another --learning-rate"
    listed = ", ".join(changes[:-1]) + (" and " if len(changes) > 1 else "") + changes[-1]
    return f"To leave it sooner: {listed}; or train longer"


def _is_long(row: Mapping[str, Any]) -> bool:
    """Return whether a run has had enough steps and tokens at this line to be judged."""
    step, tokens = row.get("step"), row.get("tokens")
    return isinstance(step, int) and isinstance(tokens, int) and step >= _FEWEST_STEPS and tokens >= _FEWEST_TOKENS


def _loss(row: Mapping[str, Any]) -> float | None:
    value = row.get("mask_loss")
    return value if isinstance(value, int | float) and value == value else None


def _below(row: Mapping[str, Any], limit: float) -> bool:
    loss = _loss(row)
    return loss is not None and loss <= limit


def _tokens(row: Mapping[str, Any]) -> str:
    tokens = row.get("tokens", 0)
    return f"{tokens / 1e6:.1f} M" if tokens >= 50_000 else f"{tokens:,}"
