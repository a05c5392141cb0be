"""The commands as Python functions."""

import functools
from collections.abc import Callable
from typing import Any

from bertie import registry
from bertie.config import checked
from bertie.errors import torch_error
from bertie.readers.frames import taking_tables


def python_function(name: str) -> Callable[..., Any]:
    """Return a command as a function whose arguments are checked, and that takes tables in memory for files."""
    command = taking_tables(checked(getattr(registry.load("commands", name), name)))

    @functools.wraps(command)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ModuleNotFoundError as error:
            if found := torch_error(error):
                raise found from error
            raise

    return call
