"""Find a task by the name that users type, name a task, and read a file of its items."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertie import registry
from bertie.errors import SettingsError
from bertie.readers.reading import Reading, Table
from bertie.tasks.task import Task


def read_items(
    kind: type[Task] | Task,
    path: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    labelled: bool = False,
    like: Reading | None = None,
) -> Table[Any]:
    """Read a file by `kind.read`, and pass `like` on if that method takes it."""
    parameters = inspect.signature(kind.read).parameters.values()
    takes_like = any(one.name == "like" or one.kind is one.VAR_KEYWORD for one in parameters)
    return kind.read(path, columns=columns, labelled=labelled, **({"like": like} if takes_like else {}))


def task_class(name: str) -> type[Task]:
    """Return a task's class by name: a file of `bertie/tasks`, or a third party's class as `package.module:Class`.

    Raises:
        SettingsError: no task has this name.
    """
    if ":" not in name:
        builtin: type[Task] = registry.load("tasks", name).TASK
        return builtin
    foreign = registry.load_foreign(name)
    if not (isinstance(foreign, type) and issubclass(foreign, Task)):
        raise SettingsError(f"{name} is not a task: a task is a class that derives from bertie.Task")
    return foreign


def task_name(task: Task) -> str:
    """Return the name under which `task_class` finds the task's class."""
    kind = type(task)
    is_builtin = kind.__module__ == f"bertie.tasks.{kind.name}"
    return kind.name if is_builtin else f"{kind.__module__}:{kind.__qualname__}"
