"""Tell trackers of a run's figures: those that `--track` names and the callbacks of a Python call.

A tracker that fails is left out from then on, with one warning. No tracker changes a run: it gets copies of the
figures, and torch's random numbers are as if it hadn't been called.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import torch

from bertie import progress
from bertie.errors import SettingsError
from bertie.trackers.tracker import TrackedRun, Tracker, tracker
from bertie.training.runfolder import RunFolder

_KEPT = "trackers"
_PLACES = frozenset({"kind", "step"})
_callbacks: ContextVar[tuple[Tracker, ...]] = ContextVar("callbacks", default=())


@contextmanager
def with_callbacks(callbacks: Sequence[Any]) -> Iterator[None]:
    """Let trackers follow all runs that this thread begins while the context lasts.

    Raises:
        SettingsError: one of them is no tracker.
    """
    for each in callbacks:
        if not isinstance(each, Tracker):
            raise SettingsError(f"callbacks has {each!r:.80}; give objects of a class that derives from bertie.Tracker")
    token = _callbacks.set((*_callbacks.get(), *callbacks))
    try:
        yield
    finally:
        _callbacks.reset(token)


class Followers:
    """The trackers of a run."""

    def __init__(self, trackers: Mapping[str, Tracker], run: TrackedRun, known_as: Mapping[str, str]) -> None:
        self._trackers = dict(trackers)
        self.names: dict[str, str] = dict(known_as)
        """What each tracker calls the run."""
        for name in list(self._trackers):
            own = TrackedRun(run.folder, run.command, dict(run.settings), run.step, known_as.get(name, ""))
            if called := self._call(name, "begin", own):
                self.names[name] = str(called)

    def log(self, record: Mapping[str, Any]) -> None:
        """Give a line of metrics.jsonl to every tracker."""
        figures = {name: value for name, value in record.items() if name not in _PLACES and _is_finite(value)}
        for name in list(self._trackers):
            self._call(name, "log", str(record["kind"]), int(record["step"]), dict(figures))

    def end(self, *, finished: bool) -> None:
        """Tell every tracker that the training has ended."""
        for name in list(self._trackers):
            self._call(name, "end", finished=finished)

    def _call(self, name: str, method: str, *arguments: Any, **named: Any) -> Any:
        """Call a method of a tracker; if it fails, warn and leave the tracker out from now on."""
        try:
            with torch.random.fork_rng(devices=[]):
                return getattr(self._trackers[name], method)(*arguments, **named)
        except Exception as error:
            del self._trackers[name]
            reason = f"{type(error).__name__}: {error!s:.200}".rstrip(": ")
            progress.warn(f"{name} doesn't follow the run any more, because its {method} failed ({reason})")
            return None


@contextmanager
def tracked(folder: RunFolder, step: int) -> Iterator[Followers]:
    """Follow a run while the context lasts.

    Args:
        folder: the run's folder.
        step: the last step that the run has done; 0 if it begins.
    """
    names = folder.settings.get("track") or ()
    trackers = {name: tracker(name) for name in names}
    for number, each in enumerate(_callbacks.get(), 1):
        trackers[f"{type(each).__name__} (callback {number})"] = each
    earlier = (folder.kept(_KEPT) or {}) if step else {}
    followers = Followers(trackers, TrackedRun(folder.path, folder.command, folder.settings, step), earlier)
    if followers.names and followers.names != earlier:
        folder.keep(_KEPT, followers.names)
    finished = False
    with ExitStack() as stack:
        stack.callback(lambda: followers.end(finished=finished))
        yield followers
        finished = True


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
