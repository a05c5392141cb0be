"""Private helper: the precisions of a backend."""

from typing import Literal

Precision = Literal["exact", "bf16", "int8"]
"""The agreement of the vectors with those of fp32; see `LIMITS`."""
LIMITS: dict[str, float] = {"exact": 1e-4, "bf16": 0.9999, "int8": 0.995}
"""Limits on texts' mean vectors of length 1: for exact the largest difference, for others the lowest mean cosine."""
