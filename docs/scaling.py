"""Fit the curve of bertie/training/scaling.py to the runs of the study `scaling`.

    python docs/studies.py add scaling "tiny, 1.5 M" out/tiny-1.5     add a finished run
    python docs/scaling.py                                            print the constants for the code

A run is `bertie pretrain --model.size SIZE --tokens N --corpus C --dev D`, with defaults for all other settings. The
loss is that at [MASK] on held-out text, as a share of the unigram's loss there.
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
    """Return the weights, the tokens and the share of the unigram's loss for each run."""
    return [
        (
            weights_of(*SIZES[entry["settings"]["model.size"]]),
            entry["tokens"],
            entry["dev"]["mask_loss"] / entry["yardsticks"]["yardstick_unigram_loss"],
        )
        for entry in entries
    ]


def curve(constants: Sequence[float], weights: Any, tokens: Any) -> Any:
    """Compute the share of the unigram's loss for any number of runs, by the formula of `loss_left`."""
    floor, of_size, size_power, of_tokens, tokens_power = constants
    return floor + of_size * (weights / 1e6) ** -size_power + of_tokens * (tokens / 1e6) ** -tokens_power


def fit(runs: Sequence[tuple[int, int, float]]) -> dict[str, float]:
    """Fit the curve by least squares of the relative errors, and return its constants."""
    weights, tokens, left = (np.array(column, float) for column in zip(*runs, strict=True))
    solved = least_squares(lambda given: np.log(curve(given, weights, tokens) / left), _FIRST, bounds=(_LEAST, _MOST))
    return {name: float(f"{value:.4g}") for name, value in zip(NAMES, solved.x, strict=True)}


def main() -> None:
    """Print the constants, and the distance of each run from the curve."""
    entries = json.loads(LEDGER.read_text(encoding="utf-8"))
    runs = points(entries)
    constants = fit(runs)
    for name, value in constants.items():
        print(f"{name} = {value!r}   # in the code: {getattr(scaling, name)!r}")
    for entry, (weights, tokens, left) in zip(entries, runs, strict=True):
        fitted = float(curve(list(constants.values()), weights, tokens))
        print(f"{entry['label']:28}  measured {left:.4f}  curve {fitted:.4f}  {fitted / left - 1.0:+.1%}")


if __name__ == "__main__":
    main()
