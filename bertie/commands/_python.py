"""The commands as Python functions."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from bertie import registry
from bertie.commands._storage import taking_addresses
from bertie.config import checked
from bertie.errors import torch_error
from bertie.readers.frames import taking_tables


def python_function(name: str) -> Callable[..., Any]:
    """Return a command as a function whose arguments are checked, and that takes tables in memory for files."""
    command = taking_tables(checked(taking_addresses(getattr(registry.load("commands", name), name))))

    @functools.wraps(command)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ModuleNotFoundError as error:
            if found := torch_error(error):
                raise found from error
            raise

    return _taking_callbacks(call) if "track" in inspect.signature(command).parameters else call


def _taking_callbacks(command: Callable[..., Any]) -> Callable[..., Any]:
    """Let a training command take `callbacks`: trackers that are objects, which no settings file can hold."""

    @functools.wraps(command)
    def call(*arguments: Any, callbacks: Sequence[Any] = (), **settings: Any) -> Any:
        if not callbacks:
            return command(*arguments, **settings)
        from bertie.training.tracking import with_callbacks

        with with_callbacks(callbacks):
            return command(*arguments, **settings)

    return call
