"""Compute axes: their ends, their round tick values, and the position of a value on them."""

import math
from dataclasses import dataclass

# Beyond these limits a difference overflows; no useful figure is that large.
LARGEST = 1e150
SMALLEST_POSITIVE = 1e-150
_STEPS = (1, 2, 2.5, 5, 10)


def drawable(value: float | None, *, log: bool = False) -> bool:
    """Return whether a value can be placed on an axis; other values become gaps."""
    if value is None or not math.isfinite(value) or abs(value) > LARGEST:
        return False
    return value >= SMALLEST_POSITIVE if log else True


@dataclass(frozen=True)
class Scale:
    """A linear or logarithmic axis."""

    low: float
    high: float
    """The ends of the axis; `low` is smaller than `high`."""
    ticks: tuple[float, ...]
    """Round values within the ends."""
    log: bool = False
    """Whether the axis is logarithmic; both ends are then positive."""

    def share(self, value: float) -> float:
        """Return the position of a value on the axis: 0 at the low end, 1 at the high end."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        return ((math.log10(value) if self.log else value) - low) / (high - low)


def fitting(low: float, high: float) -> Scale:
    """Return an axis that ends where the data end, with ticks in between."""
    low, high = _apart(low, high)
    step = _step(low, high, 5)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return Scale(low, high, tuple(_round(number * step, step) for number in range(first, last + 1)))


def enclosing(low: float, high: float, *, num_steps: int = 4) -> Scale:
    """Return an axis that begins and ends with a tick and contains the data.

    >>> enclosing(0.3, 3.7).ticks
    (0.0, 1.0, 2.0, 3.0, 4.0)
    """
    low, high = _apart(low, high)
    step = _step(low, high, num_steps)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(_round(number * step, step) for number in range(first, max(last, first + 1) + 1))
    return Scale(ticks[0], ticks[-1], ticks)


def logarithmic(low: float, high: float) -> Scale:
    """Return a logarithmic axis for positive data; its ends are 1, 2 or 5 times a power of ten."""
    low, high = max(low, SMALLEST_POSITIVE), max(high, SMALLEST_POSITIVE)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    round_values = [float(f"{digit}e{power}") for power in powers for digit in (1, 2, 5)]
    bottom = max(value for value in round_values if value <= low * (1 + 1e-9))
    top = min(value for value in round_values if value >= high * (1 - 1e-9) and value > bottom)
    within = [value for value in round_values if bottom <= value <= top]
    tens = [float(f"1e{power}") for power in powers if bottom <= float(f"1e{power}") <= top]
    if len(within) > 7:
        within = tens[:: -(-len(tens) // 6)]
    return Scale(bottom, top, tuple(within), log=True)


def _apart(low: float, high: float) -> tuple[float, float]:
    """Widen a range that is a single point or too narrow for the precision of a float."""
    size = max(abs(low), abs(high))
    if high - low > max(size * 1e-9, 1e-200):
        return low, high
    spread = size * 0.1 if size > 1e-190 else 1.0
    return low - spread, high + spread


def _step(low: float, high: float, num_steps: int) -> float:
    """Choose a round distance between ticks so that about `num_steps` fit."""
    rough = (high - low) / num_steps
    power = math.floor(math.log10(rough))
    # Not 10.0**power: 10.0**-7 isn't exactly 1e-7, and the labels would show the difference.
    return next(step for factor in _STEPS if (step := float(f"{factor}e{power}")) >= rough * 0.999)


def _round(value: float, step: float) -> float:
    """Remove the digits that rounding errors of the multiplication added."""
    digits = 3 - math.floor(math.log10(step))
    return round(value, digits) + 0.0 if abs(digits) < 300 else value
