"""Progress and remarks on stderr: a bar on a terminal, plain lines elsewhere, nothing when quiet.

Results never pass through here: they go to stdout, and only ``bertie.cli`` prints them.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from bertie.terminal import fit

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_INTERVAL_SECONDS = 5.0
_quiet = False
_has_notes = True
_display: "Progress | None" = None  # what shows the bars now on the terminal; bars inside a bar join it
_collected: list[str] | None = None  # where warnings go in place of stderr
_names: dict[str, str] = {}  # what is called otherwise in all that is said


def set_quiet(quiet: bool) -> None:
    """Turn bars and notes off or on for the whole process; warnings always show."""
    global _quiet
    _quiet = quiet


def note(line: str) -> None:
    """Write one remark to stderr, unless quiet."""
    if _has_notes and not _quiet:
        _write(line)


def warn(line: str) -> None:
    """Write one warning to stderr, quiet or not: something the user should know but need not stop for."""
    if _collected is None:
        _write(f"warning: {line}")
    else:
        _collected.append(line)


@contextmanager
def without_notes() -> Iterator[None]:
    """Leave notes out while the context lasts, for a command that runs others and says itself what they do."""
    global _has_notes
    before, _has_notes = _has_notes, False
    try:
        yield
    finally:
        _has_notes = before


@contextmanager
def collected() -> Iterator[list[str]]:
    """Gather warnings in a list while the context lasts, for callers that report them elsewhere than on stderr."""
    global _collected
    before, _collected = _collected, []
    try:
        yield _collected
    finally:
        _collected = before


@contextmanager
def renamed(what: str, name: str) -> Iterator[None]:
    """Say `name` in place of `what` while the context lasts, such as for a file that the user never named."""
    _names[what] = name
    try:
        yield
    finally:
        _names.pop(what, None)


class Bar:
    """Progress of one piece of work; made by ``bar``, and advanced by whoever does the work."""

    def __init__(self, title: str, *, total: float | None, unit: str) -> None:
        self.title = title
        self.total = total
        self.unit = unit
        self.done: float = 0
        self.begun: float = 0
        """Work that was done before the bar was made."""
        self.figures: dict[str, str] = {}

    def begin(self, done: float) -> None:
        """Count work done earlier, such as by a run that goes on, which says nothing of how long the rest takes."""
        self.begun = done
        self.advance(done - self.done)

    def advance(self, amount: float = 1, **figures: str) -> None:
        """Count work done, and show figures beside it, such as ``loss="2.31"``."""
        self.done += amount
        self.figures.update(figures)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to clean up when nothing is shown."""


class _LineBar(Bar):
    """A plain line every few seconds, for logs and pipes, and one at the end."""

    def __enter__(self) -> "Bar":
        self._started = self._last = time.monotonic()
        return self

    def advance(self, amount: float = 1, **figures: str) -> None:
        super().advance(amount, **figures)
        now = time.monotonic()
        if now - self._last >= LINE_INTERVAL_SECONDS:
            self._last = now
            _write(f"{self.title}: {_amount(self)}{_figures(self)}{self._left(now - self._started)}")

    def _left(self, seconds: float) -> str:
        """Say how long the rest will take at the pace so far."""
        done = self.done - self.begun
        if self.total is None or done <= 0 or self.done >= self.total:
            return ""
        left = seconds * (self.total - self.done) / done
        hours, minutes = divmod(round(left / 60), 60)
        said = f"{hours} h {minutes} min" if hours else f"{minutes} min" if left >= 90 else f"{left:.0f} s"
        return f"  about {said} left"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.monotonic() - self._started
        state = "done" if kind is None else "stopped"
        _write(f"{self.title}: {_amount(self)}{_figures(self)} ({state} after {seconds:.1f} s)")


class _TerminalBar(Bar):
    """A rich progress bar; a bar opened inside another one appears below it and goes when it is done."""

    def __enter__(self) -> "Bar":
        global _display
        self._owns_display = _display is None
        self._display = _display = _display or _start_display()
        self._task = self._display.add_task(fit(self.title), total=self.total, state=_amount(self))
        return self

    def advance(self, amount: float = 1, **figures: str) -> None:
        super().advance(amount, **figures)
        self._display.update(self._task, completed=self.done, state=fit(_amount(self) + _figures(self)))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        global _display
        if self._owns_display:
            self._display.stop()
            _display = None
        else:
            self._display.remove_task(self._task)


@contextmanager
def bar(title: str, *, total: float | None = None, unit: str = "") -> Iterator[Bar]:
    """Show progress of one piece of work while the context lasts.

    Args:
        title: what is being done, as a participle: "Reading".
        total: how much there is; None when unknown.
        unit: what is counted: "MB", "steps".

    Yields:
        A bar to ``advance``.
    """
    kind: type[Bar] = Bar
    if not _quiet and sys.stderr is not None:
        kind = _TerminalBar if sys.stderr.isatty() else _LineBar
    with kind(title, total=total, unit=unit) as shown:
        yield shown


def _start_display() -> "Progress":
    # Imported here, so that commands whose stderr is a file never pay for it.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    display = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[state]}", markup=False),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    display.start()
    return display


def _amount(bar: Bar) -> str:
    done = f"{bar.done:,.0f}" if float(bar.done).is_integer() else f"{bar.done:,.1f}"
    total = "" if bar.total is None else f"/{bar.total:,.0f}"
    return f"{done}{total} {bar.unit}".rstrip()


def _figures(bar: Bar) -> str:
    return "".join(f"  {name.replace('_', ' ')} {value}" for name, value in bar.figures.items())


def _write(line: str) -> None:
    for what, name in _names.items():
        line = line.replace(what, name)
    if sys.stderr is None:  # closed by whoever started us; print would take stdout in its place
        return
    # A reader of stderr that went away must not end a run of hours.
    try:
        print(fit(line), file=sys.stderr, flush=True)
    except BrokenPipeError:
        set_quiet(True)
