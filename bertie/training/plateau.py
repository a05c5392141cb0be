"""The plateau of masked language modelling: has a run left it, when, and what to change in one that has not.

A network that says the same at every [MASK], the commonest tokens by their frequency, has the loss of the unigram.
Every run begins near there, and some stay for millions of tokens. Pure functions on lines of metrics.jsonl, and one
watcher for a run that is under way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Records = Sequence[Mapping[str, Any]]

BELOW = 0.5
"""Nats below the unigram's loss at which the plateau counts as left: by then the network uses what stands around."""
_FEWEST_STEPS = 300  # before that a run is not yet to be judged
_FEWEST_TOKENS = 2_000_000  # a good beginning needs a quarter of that, and twice as many steps of a large vocabulary
_WARM = 0.2  # share of a run after which its learning rate has been high for a while
_LARGE_VOCABULARY = 16_384
_LOW_MUON = 3e-3
_ALIKE = 0.9  # on the plateau 0.94 was measured, beyond it 0.1


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings of a run that decide how soon it leaves the plateau."""

    task: str
    optimizer: str
    peak: float
    """Largest learning rate."""
    vocab_size: int
    start: str | None = None
    """Where random weights began; None: they are another model's, or there was nothing to choose."""
    random: bool = True
    """Whether the weights were random, and not another model's."""
    dropout: float = 0.0


def left(records: Records, unigram_loss: float) -> Mapping[str, Any] | None:
    """Find the line of a run from which on its loss with [MASK] alone is below the unigram's, by 0.5 nats, for good.

    Training lines are looked at where there are any, as they are close together; if dev was measured, its last line
    must be below as well.

    Returns:
        The line; None for a run that is on the plateau at its end, that began beyond it, or that has no such figures.
    """
    dev = [row for row in records if row.get("kind") == "dev" and _loss(row) is not None]
    lines = [row for row in records if row.get("kind") == "train" and _loss(row) is not None] or dev
    most = unigram_loss - BELOW
    if not lines or (dev and (_below(dev[0], most) or not _below(dev[-1], most))):
        return None
    above = [place for place, row in enumerate(lines) if not _below(row, most)]
    first = above[-1] + 1 if above else 0
    return lines[first] if first < len(lines) else None


def last_loss(records: Records) -> float | None:
    """Return the last loss with [MASK] alone, of dev where it was measured."""
    for kind in ("dev", "train"):
        for row in reversed(records):
            if row.get("kind") == kind and (loss := _loss(row)) is not None:
                return loss
    return None


def advice(recipe: Recipe) -> list[str]:
    """Say what a run on the plateau could change, each as what to type; only what it does not do already."""
    found = []
    if recipe.start == "paper":
        found.append("--model.start neighbours")
    if not recipe.random:
        found.append("random weights instead of --from")
    if recipe.random and recipe.optimizer != "muon":
        found.append("--optimizer.name muon")
    if recipe.optimizer == "muon" and recipe.peak < _LOW_MUON:
        found.append("--learning-rate 6e-3")
    if recipe.task in ("pretraining", "sentence_order"):
        found.append("--task masked_lm")
    if recipe.random and recipe.dropout > 0.0:
        found.append("--model.dropout 0")
    if recipe.vocab_size > _LARGE_VOCABULARY:
        found.append("a vocabulary of 8,192 pieces (train-tokenizer --vocab-size 8192)")
    return found


def remarks(records: Records, yardsticks: Mapping[str, float], recipe: Recipe) -> list[str]:
    """Remark on a finished run that is on the plateau, or that is worse than counting its tokens' neighbours.

    Args:
        records: lines of metrics.jsonl.
        yardsticks: as in run.json; empty for a task without masks.
        recipe: of the run.
    """
    loss, unigram = last_loss(records), yardsticks.get("yardstick_unigram_loss")
    trained = [row for row in records if row.get("kind") == "train"]
    if loss is None or unigram is None or not trained or not _is_long(trained[-1]):
        return []
    if loss > unigram - BELOW:
        cosine = next((row["mask_cosine"] for row in reversed(records) if "mask_cosine" in row), None)
        alike = ""
        if isinstance(cosine, float) and cosine > _ALIKE:
            alike = f", and it says nearly the same at every one (mean cosine {cosine:.2f})"
        return [f"the run ended on the plateau: {_on_it(loss, unigram)}{alike}. {_change(recipe)}"]
    neighbours = yardsticks.get("yardstick_neighbours_loss")
    if neighbours is not None and loss > neighbours:
        share = yardsticks.get("yardstick_neighbours_accuracy", 0.0)
        return [
            f"counting does better: with [MASK] alone the loss is {loss:.2f}, and the counts of both neighbouring "
            f"tokens reach {neighbours:.2f} ({share:.1%} right) without a network; train longer"
        ]
    return []


class Watch:
    """Tells a run that stays on the plateau what to change, once, as soon as it has had its chance to leave.

    Args:
        unigram_loss: the yardstick.
        recipe: of the run.
    """

    def __init__(self, unigram_loss: float, recipe: Recipe) -> None:
        self._unigram_loss, self._recipe, self._told = unigram_loss, recipe, False

    def __call__(self, record: Mapping[str, Any], done: float) -> str:
        """Look at a logged line of training; "" where there is nothing to say.

        Args:
            record: the line.
            done: share of the run that is done; at its end `remarks` speaks.
        """
        loss = _loss(record)
        if self._told or loss is None or not _WARM <= done < 1.0 or not _is_long(record):
            return ""
        if loss <= self._unigram_loss - BELOW:
            return ""
        self._told = True
        return (
            f"still on the plateau after {_tokens(record)} tokens: {_on_it(loss, self._unigram_loss)}. "
            f"{_change(self._recipe)}"
        )


def _on_it(loss: float, unigram: float) -> str:
    return (
        f"[MASK] is guessed by how often tokens occur and hardly by what stands around it (loss {loss:.2f}, the "
        f"unigram's {unigram:.2f})"
    )


def _change(recipe: Recipe) -> str:
    found = advice(recipe)
    if not found:
        return "Train longer, or at another --learning-rate"
    listed = ", ".join(found[:-1]) + (" and " if len(found) > 1 else "") + found[-1]
    return f"To leave it sooner: {listed}; or train longer"


def _is_long(row: Mapping[str, Any]) -> bool:
    """Tell whether a run has had enough steps and tokens at this line to be judged."""
    step, tokens = row.get("step"), row.get("tokens")
    return isinstance(step, int) and isinstance(tokens, int) and step >= _FEWEST_STEPS and tokens >= _FEWEST_TOKENS


def _loss(row: Mapping[str, Any]) -> float | None:
    value = row.get("mask_loss")
    return value if isinstance(value, int | float) and value == value else None


def _below(row: Mapping[str, Any], most: float) -> bool:
    loss = _loss(row)
    return loss is not None and loss <= most


def _tokens(row: Mapping[str, Any]) -> str:
    tokens = row.get("tokens", 0)
    return f"{tokens / 1e6:.1f} M" if tokens >= 50_000 else f"{tokens:,}"
