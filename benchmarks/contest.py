"""What a benchmark says: its cases, their contestants, and how alike results must be. Run by `rounds.py`."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks import machine


@dataclass(frozen=True)
class Work:
    """What a contestant is given."""

    folder: Path
    """Shared by all contestants of a run: prepared inputs, converted models."""
    options: argparse.Namespace
    """Of the command line."""


@dataclass(frozen=True)
class Ready:
    """A contestant, loaded."""

    prove: Callable[[], Any]
    """Compute what all contestants of the case must agree on, an array or a number."""
    repeat: Callable[[], float]
    """Do the work once and return the figure, in the case's unit."""
    warmups: int = 1
    """Repeats that don't count; the first one may compile."""
    derive: Callable[[float], dict[str, float]] = lambda figure: {}
    """Further figures that follow from the median."""
    peak_mb: Callable[[], float] = machine.peak_mb
    """Memory at its most."""


@dataclass(frozen=True)
class Contestant:
    """One way to do the work."""

    name: str
    make: Callable[[Work], Ready]
    needs: tuple[str, ...] = ()
    """Packages by the names that pip knows."""
    may_differ: bool = False
    """Whether it is left out, and said to be, where it differs; otherwise the run stops."""
    timed: bool = True
    """Whether it races; one that doesn't is there for what it computes."""


@dataclass(frozen=True)
class Agreement:
    """How alike two proofs must be."""

    name: str
    measure: Callable[[Any, Any], float]
    limit: float
    at_most: bool = True

    def holds(self, value: float) -> bool:
        """Tell whether a measured value is within the limit; what isn't a number never is."""
        return value <= self.limit if self.at_most else value >= self.limit


def largest_difference(limit: float) -> Agreement:
    """Ask that no number differs by more than `limit`."""
    return Agreement("largest difference", lambda a, b: float(np.abs(np.asarray(a) - np.asarray(b)).max()), limit)


def mean_cosine(limit: float) -> Agreement:
    """Ask that the vectors, one a row, have at least that mean cosine."""

    def measure(a: Any, b: Any) -> float:
        return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).mean())

    return Agreement("mean cosine", measure, limit, at_most=False)


@dataclass(frozen=True)
class Case:
    """One table: the same inputs for all; what the first contestant computes, all must."""

    name: str
    unit: str
    contestants: tuple[Contestant, ...]
    agreement: Agreement
    better: Literal["higher", "lower"] = "higher"
    settings: dict[str, Any] = field(default_factory=dict)
    repeats: int | None = None
    """In a process, where it isn't what the benchmark says."""
    proof_of: str = ""
    """Another case, earlier proven, of the same programs on other shapes: it speaks for this one."""

    @property
    def reference(self) -> str:
        """Name of the contestant whose speed the others' are compared with."""
        return next(each.name for each in self.contestants if each.timed)
