"""Mark the flags that a command's short help shows; `--help-all` shows all of them.

A parameter or a field of a group is marked where it is defined: ``dev: Basic[Path | None] = None``.
"""

import typing
from typing import Annotated, Any, TypeVar

T = TypeVar("T")


class BasicMarker:
    """Mark a flag; see ``Basic``."""


Basic = Annotated[T, BasicMarker()]
"""``dev: Basic[Path | None]`` appears in the short help."""


def hints(place: Any) -> dict[str, Any]:
    """Return the types of a function's parameters or a class's fields, without the marks.

    Args:
        place: a function or a class.
    """
    return {name: _without_mark(kind) for name, kind in typing.get_type_hints(place, include_extras=True).items()}


def marked(place: Any) -> set[str]:
    """Return the names of a function's parameters or a class's fields that are marked."""
    return {name for name, kind in typing.get_type_hints(place, include_extras=True).items() if _is_marked(kind)}


def _is_marked(kind: Any) -> bool:
    return any(isinstance(mark, BasicMarker) for mark in getattr(kind, "__metadata__", ()))


def _without_mark(kind: Any) -> Any:
    if not _is_marked(kind):
        return kind
    bare, *marks = typing.get_args(kind)
    for mark in marks:
        if not isinstance(mark, BasicMarker):
            bare = Annotated[bare, mark]
    return bare
