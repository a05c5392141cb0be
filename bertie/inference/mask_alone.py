"""[MASK] alone: a masked LM measured where every chosen token is hidden, and whether it says the same everywhere.

Training shows a tenth of the chosen tokens as they are, and those are easily guessed. A network that has learned
nothing but that seems to be right at a seventh of all places; with every one of them hidden it guesses the commonest
token. So a dev corpus is measured a second time, at the same places, each shown as [MASK].

Shapes: M chosen tokens, H hidden.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import normalize

from bertie.batch import Batch
from bertie.inference.evaluate import resting
from bertie.nn.projection import Logits
from bertie.tasks.task import Task
from bertie.tokenizer.tokenizer import Tokenizer


def hidden(batches: Iterable[Batch], task: Task, tokenizer: Tokenizer) -> list[Batch]:
    """Take the batches of a task whose masks are filled, every chosen token hidden; none of a task without masks."""
    return [hide(batch, tokenizer.mask) for batch in batches if not batch.causal] if task.fills_masks else []


def hide(batch: Batch, mask_id: int) -> Batch:
    """Show every chosen token of a batch as [MASK]."""
    targets = {name: values for name, values in batch.targets.items() if name != "slot.as_mask"}  # here all of them are
    return replace(batch, tokens=batch.tokens.index_fill(0, batch.targets["slot.position"], mask_id), targets=targets)


def measure_masks(model: nn.Module, batches: Iterable[Batch], *, device: torch.device) -> dict[str, float]:
    """Measure a network on batches that `hide` made, under a task that fills masks.

    Args:
        model: put into evaluation mode and back.
        batches: with chosen tokens.
        device: where the batches go.

    Returns:
        `mask_loss` and `mask_accuracy`, means over all chosen tokens; and `mask_cosine`, the mean cosine between what
        the network makes of two different places, just before the output matrix: near 1 it says the same everywhere.
        Nothing where no token was chosen.
    """
    loss, right = (torch.zeros((), dtype=torch.float64, device=device) for _ in range(2))
    direction, count = torch.zeros((), dtype=torch.float64, device=device), 0
    with resting(model), torch.inference_mode():
        for batch in batches:
            moved = batch.to(device)
            outputs = model(moved)
            logits = outputs if isinstance(outputs, Logits) else outputs.tokens
            total, _, hits = logits.cross_entropy_of_rows(moved.targets["slot.token"])
            loss, right = loss + total.double(), right + hits.sum().double()
            direction = direction + normalize(logits.hidden.float(), dim=1).double().sum(0)
            count += len(hits)
    if count == 0:  # a text of nothing but special tokens
        return {}
    # Of unit vectors the squared length of the sum is M, from each with itself, and the cosines of all other pairs.
    pairs = max(1, count * (count - 1))
    cosine = (float(direction.square().sum()) - count) / pairs
    return {"mask_loss": float(loss) / count, "mask_accuracy": float(right) / count, "mask_cosine": cosine}
