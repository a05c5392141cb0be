"""Draw a part of a table at random."""

from collections.abc import Sequence
from typing import TypeVar

from bertie.errors import SettingsError
from bertie.sampling.random import permutation

Item = TypeVar("Item")


def part(items: Sequence[Item], count: int, *, seed: int = 0) -> list[Item]:
    """Draw `count` items at random and return them in their order; with one seed, a larger part holds the smaller ones.

    Raises:
        SettingsError: the count is below 1.
    """
    if count < 1:
        raise SettingsError(f"a part of a table (--train-limit, --dev-limit) needs at least 1 item; got {count}")
    return [items[number] for number in sorted(permutation(seed, 0, len(items))[:count].tolist())]
