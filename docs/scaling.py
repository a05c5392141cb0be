"""Fit the curve of bertie/training/scaling.py to the runs of the study `scaling`.

    python docs/studies.py add scaling "tiny, 1.5 M" out/tiny-1.5     a finished run more
    python docs/scaling.py                                            the constants, to be written into the code

A run is `bertie pretrain --model.size SIZE --tokens N --corpus C --dev D`, everything else as it is chosen. The loss is
that at [MASK] on held-out text, as a share of the unigram's there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import least_squares

from bertie.models.bert import SIZES
from bertie.training import scaling
from bertie.training.scaling import weights_of

LEDGER = Path(__file__).parent / "studies" / "scaling.json"
NAMES = ("FLOOR", "OF_SIZE", "SIZE_POWER", "OF_TOKENS", "TOKENS_POWER")
_FIRST = (0.4, 0.1, 0.3, 0.3, 0.5)
_LEAST = (0.0, 0.0, 0.05, 0.0, 0.1)
_MOST = (0.6, 2.0, 2.0, 5.0, 2.0)


def points(entries: Sequence[Mapping[str, Any]]) -> list[tuple[int, int, float]]:
    """Return weights, tokens and the share of the unigram's loss of each run."""
    return [
        (
            weights_of(*SIZES[entry["settings"]["model.size"]]),
            entry["tokens"],
            entry["dev"]["mask_loss"] / entry["yardsticks"]["yardstick_unigram_loss"],
        )
        for entry in entries
    ]


def curve(constants: Sequence[float], weights: Any, tokens: Any) -> Any:
    """Work out the share of the unigram's loss, as `loss_left` does, of any number of runs."""
    floor, of_size, size_power, of_tokens, tokens_power = constants
    return floor + of_size * (weights / 1e6) ** -size_power + of_tokens * (tokens / 1e6) ** -tokens_power


def fit(found: Sequence[tuple[int, int, float]]) -> dict[str, float]:
    """Fit the curve by least squares of the relative errors; return its constants."""
    weights, tokens, left = (np.array(column, float) for column in zip(*found, strict=True))
    solved = least_squares(lambda given: np.log(curve(given, weights, tokens) / left), _FIRST, bounds=(_LEAST, _MOST))
    return {name: float(f"{value:.4g}") for name, value in zip(NAMES, solved.x, strict=True)}


def main() -> None:
    """Print the constants, and how far each run is from their curve."""
    entries = json.loads(LEDGER.read_text(encoding="utf-8"))
    found = points(entries)
    constants = fit(found)
    for name, value in constants.items():
        print(f"{name} = {value!r}   # in the code: {getattr(scaling, name)!r}")
    for entry, (weights, tokens, left) in zip(entries, found, strict=True):
        said = float(curve(list(constants.values()), weights, tokens))
        print(f"{entry['label']:28}  measured {left:.4f}  curve {said:.4f}  {said / left - 1.0:+.1%}")


if __name__ == "__main__":
    main()
