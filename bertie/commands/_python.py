"""The commands as Python functions."""

from collections.abc import Callable
from typing import Any

from bertie import registry
from bertie.config import checked
from bertie.readers.frames import taking_tables


def python_function(name: str) -> Callable[..., Any]:
    """Return a command as a function whose arguments are checked, and that takes tables in memory for files."""
    return taking_tables(checked(getattr(registry.load("commands", name), name)))
