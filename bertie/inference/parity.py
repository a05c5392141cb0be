"""Private helper: measure the parity of a backend with the model in fp32 on real texts.

It compares the mean hidden vector of each text, scaled to length 1.

Shapes: T tokens, B sequences, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bertie.backends.backend import LIMITS, Precision
from bertie.batch import Batch
from bertie.errors import SettingsError
from bertie.formats.format import Bundle
from bertie.tasks.task import TaskModel

TEXTS = (
    "Thank you, that is very kind.",
    "The train was late again.",
    "What time does the museum open on Sundays?",
    "She closed the letter, looked out of the window for a while, and did not answer.",
    "Prices rose by 3.5 percent in the second quarter, faster than most economists had expected.",
    "A slow first hour gives way to an ending that is funny, sad and entirely earned.",
    "Water boils at a lower temperature on high mountains, because the air there presses on it less than at sea level.",
    "The committee met on Tuesday; it heard both sides, asked few questions, and put the decision off until spring, to "
    "nobody's surprise and the mayor's relief.",
    "In 1869 Mendeleev arranged the elements that were known by their weight and their kinship, left gaps where none "
    "fitted, and foretold what would be found there. Within two decades three of the gaps were filled, by metals whose "
    "weights and densities were close to the ones he had written down.",
    "雨已经停了，我们走吧。",
    "他每天早上六点起床，先喝一杯热水，再去公园散步。",
    "这座城市有两千多年的历史，城墙、钟楼和老街都保存得很好，每年春天有许多人从各地来看花。",
)
"""Texts of bertie's own, of six to sixty words, in English and Chinese.

The limits hold for sentences. A single word may differ more: in int8 on MiniLM-L6, "Yes." has a cosine of 0.976.
"""


@dataclass(frozen=True)
class Parity:
    """The agreement of two encoders."""

    num_texts: int
    largest_difference: float
    """Largest difference of a coordinate of a text's vector."""
    mean_cosine: float
    least_cosine: float

    def within(self, precision: Precision) -> bool:
        """Return whether this is within the limit of a precision."""
        if precision == "exact":
            return self.largest_difference <= LIMITS["exact"]
        return self.mean_cosine >= LIMITS[precision]

    def __str__(self) -> str:
        return (
            f"largest difference {self.largest_difference:.1e}, mean cosine {self.mean_cosine:.5f} "
            f"(least {self.least_cosine:.5f}) over {self.num_texts} texts"
        )


def compare(bundle: Bundle, network: TaskModel, texts: Sequence[str] = TEXTS, *, max_tokens: int = 4096) -> Parity:
    """Compare the bundle's encoder with that of another model on texts.

    Args:
        bundle: in fp32.
        network: the same model under a backend.
        texts: any texts; long ones are cut.
        max_tokens: of a batch.
    """
    length = min(bundle.config.max_positions, 512)
    pieces = bundle.tokenizer.pack(list(texts), None, max_length=length, truncation="truncate")
    whole = Batch.pack(pieces.tokens, pieces.segments, pieces.offsets)
    device = next(bundle.model.parameters()).device
    pairs: list[tuple[Tensor, Tensor]] = []
    with torch.inference_mode():
        for part in whole.split(max_tokens):
            batch = part.to(device)
            pairs.append((_vectors(bundle.model.encoder, batch), _vectors(network.encoder, batch)))
    exact, other = (torch.cat(side) for side in zip(*pairs, strict=True))  # (B, H)
    cosines = (exact * other).sum(1)
    return Parity(len(cosines), float((exact - other).abs().max()), float(cosines.mean()), float(cosines.min()))


def _vectors(encoder: Any, batch: Batch) -> Tensor:
    """Return the mean hidden vector of each sequence, scaled to length 1, in fp64: (B, H)."""
    means = torch.segment_reduce(encoder(batch).double(), "mean", lengths=batch.lengths)
    return torch.nn.functional.normalize(means, dim=1)


def hold(bundle: Bundle, network: TaskModel, precision: Precision, texts: Sequence[str] = TEXTS) -> Parity:
    """Check that a model is within the limit of a precision, and return its parity.

    Raises:
        SettingsError: it is not.
    """
    parity = compare(bundle, network, texts)
    if not parity.within(precision):
        raise SettingsError(
            f"this model is not within the limit of --precision {precision}, {LIMITS[precision]:g} ({parity}); use a "
            "stricter one"
        )
    return parity
