"""The parts of a benchmark: cases, contestants, and how closely their results must agree. `rounds.py` runs them."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks import machine


@dataclass(frozen=True)
class Work:
    """The input of a contestant."""

    folder: Path
    """Folder that all contestants of a run share, for prepared inputs and converted models."""
    options: argparse.Namespace
    """The parsed command line."""


@dataclass(frozen=True)
class Ready:
    """A contestant that is loaded and ready to run."""

    prove: Callable[[], Any]
    """Return the proof: the array or number on which all contestants of the case must agree."""
    repeat: Callable[[], float]
    """Do the work once and return the figure, in the case's unit."""
    warmups: int = 1
    """Repeats that are not counted; the first one may compile."""
    derive: Callable[[float], dict[str, float]] = lambda figure: {}
    """Return further figures that follow from the median."""
    peak_mb: Callable[[], float] = machine.peak_mb
    """Return the peak memory, in MB."""


@dataclass(frozen=True)
class Contestant:
    """One way to do the work."""

    name: str
    make: Callable[[Work], Ready]
    needs: tuple[str, ...] = ()
    """Packages that it needs, by their names for pip."""
    may_differ: bool = False
    """Whether a contestant with another result is left out and listed; otherwise the run stops."""
    timed: bool = True
    """Whether it is timed; if not, only its proof is used."""


@dataclass(frozen=True)
class Agreement:
    """How closely two proofs must agree."""

    name: str
    measure: Callable[[Any, Any], float]
    limit: float
    at_most: bool = True

    def holds(self, value: float) -> bool:
        """Tell whether a measured value is within the limit; NaN never is."""
        return value <= self.limit if self.at_most else value >= self.limit


def largest_difference(limit: float) -> Agreement:
    """Return an agreement in which no number differs by more than `limit`."""
    return Agreement("largest difference", lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), limit)


def mean_cosine(limit: float) -> Agreement:
    """Return an agreement in which the vectors, one a row, have a mean cosine of at least `limit`."""

    def measure(a: Any, b: Any) -> float:
        return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean())

    return Agreement("mean cosine", measure, limit, at_most=False)


@dataclass(frozen=True)
class Case:
    """One table of results: contestants with the same inputs, whose proofs must agree with the first one's."""

    name: str
    unit: str
    contestants: tuple[Contestant, ...]
    agreement: Agreement
    better: Literal["higher", "lower"] = "higher"
    settings: dict[str, Any] = field(default_factory=dict)
    repeats: int | None = None
    """Repeats in a process; None for the benchmark's number."""
    proof_of: str = ""
    """The name of an earlier case whose proofs also count for this one: the same programs on other shapes."""

    @property
    def reference(self) -> str:
        """Name of the contestant with whose speed the others are compared: the first timed one."""
        return next(each.name for each in self.contestants if each.timed)
