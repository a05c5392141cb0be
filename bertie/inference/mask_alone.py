"""Measure a masked LM with every chosen token shown as [MASK], and how similar its predictions are.

Training shows a tenth of the chosen tokens as they are, and these are easy to predict. A network that has learned only
to copy them seems to be right at a seventh of all slots. With every chosen token hidden it predicts the most frequent
token. So a dev corpus is measured a second time, with the same slots, each shown as [MASK].

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
from bertie.nn.logits import Logits
from bertie.tasks.task import Task
from bertie.tokenizer.tokenizer import Tokenizer


def hidden(batches: Iterable[Batch], task: Task, tokenizer: Tokenizer) -> list[Batch]:
    """Return the masked batches with every chosen token shown as [MASK]; an empty list for a task without masks."""
    return [hide(batch, tokenizer.mask) for batch in batches if not batch.causal] if task.fills_masks else []


def hide(batch: Batch, mask_id: int) -> Batch:
    """Show every chosen token of a batch as [MASK]."""
    targets = {name: values for name, values in batch.targets.items() if name != "slot.as_mask"}  # all are masked now
    return replace(batch, tokens=batch.tokens.index_fill(0, batch.targets["slot.position"], mask_id), targets=targets)


def measure_masks(model: nn.Module, batches: Iterable[Batch], *, device: torch.device) -> dict[str, float]:
    """Measure a network on batches from `hide`.

    Args:
        model: with a task that fills masks; put into evaluation mode, and back afterwards.
        batches: with chosen tokens.
        device: device for the batches.

    Returns:
        `mask_loss` and `mask_accuracy`, means over all chosen tokens, and `mask_cosine`, the mean cosine between the
        vectors of two slots before the output matrix. Near 1 means the same prediction everywhere. Empty without chosen
        tokens.
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
    if count == 0:  # the texts have special tokens only
        return {}
    # The squared length of a sum of M unit vectors is M plus the cosines of all ordered pairs of different vectors.
    pairs = max(1, count * (count - 1))
    cosine = (float(direction.square().sum()) - count) / pairs
    return {"mask_loss": float(loss) / count, "mask_accuracy": float(right) / count, "mask_cosine": cosine}
