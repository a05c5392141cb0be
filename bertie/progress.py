"""Progress, notes and warnings on stderr: bars on a terminal, plain lines elsewhere, only warnings when quiet.

Results don't pass through here: ``bertie.cli`` prints them on stdout.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING

from bertie import addresses
from bertie.terminal import fit

if TYPE_CHECKING:
    from rich.progress import Progress

LINE_INTERVAL_SECONDS = 5.0
_quiet = False
_has_notes = True
_display: "Progress | None" = None  # rich's display while a bar is open on the terminal; inner bars share it
_collected: list[str] | None = None  # receives the warnings instead of stderr
_open_bars = 0
_aliases: dict[str, str] = {}  # replacements in every line written, see `renamed`


def set_quiet(quiet: bool) -> None:
    """Switch bars and notes off or on for the whole process; warnings always appear."""
    global _quiet
    _quiet = quiet


def note(line: str) -> None:
    """Write a note to stderr, unless quiet."""
    if _has_notes and not _quiet:
        _write(line)


def warn(line: str) -> None:
    """Write a warning to stderr, even when quiet: the user should know it, but the command can continue."""
    if _collected is None:
        _write(f"warning: {line}")
    else:
        _collected.append(line)


@contextmanager
def without_notes() -> Iterator[None]:
    """Suppress notes while the context lasts, for a command that runs others and writes notes of its own."""
    global _has_notes
    before, _has_notes = _has_notes, False
    try:
        yield
    finally:
        _has_notes = before


@contextmanager
def silence() -> Iterator[None]:
    """Suppress bars and notes while the context lasts; warnings appear."""
    before = _quiet
    set_quiet(True)
    try:
        yield
    finally:
        set_quiet(before)


@contextmanager
def collected() -> Iterator[list[str]]:
    """Collect warnings in a list while the context lasts, instead of writing them to stderr."""
    global _collected
    before, _collected = _collected, []
    try:
        yield _collected
    finally:
        _collected = before


@contextmanager
def renamed(what: str, name: str) -> Iterator[None]:
    """Write `name` in place of `what` while the context lasts, for example for a temporary file."""
    _aliases[what] = name
    try:
        yield
    finally:
        _aliases.pop(what, None)


class Bar:
    """The progress of a task; made by ``bar``. This base class shows nothing."""

    def __init__(self, title: str, *, total: float | None, unit: str) -> None:
        self.title = title
        self.total = total
        self.unit = unit
        self.done: float = 0
        self.begun: float = 0
        """Work done before the bar started."""
        self.figures: dict[str, str] = {}

    def begin(self, done: float) -> None:
        """Count work done earlier, for example before a run was resumed; the time left doesn't depend on it."""
        self.begun = done
        self.advance(done - self.done)

    def advance(self, amount: float = 1, **figures: str) -> None:
        """Count work done, and show figures next to it, such as ``loss="2.31"``."""
        self.done += amount
        self.figures.update(figures)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: there is no display to close."""


class _LineBar(Bar):
    """Write a plain line every few seconds and one at the end, for logs and pipes."""

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
        """Return the estimated time left at the pace so far, as text; "" if unknown."""
        done = self.done - self.begun
        if self.total is None or done <= 0 or self.done >= self.total:
            return ""
        left = seconds * (self.total - self.done) / done
        hours, minutes = divmod(round(left / 60), 60)
        duration = f"{hours} h {minutes} min" if hours else f"{minutes} min" if left >= 90 else f"{left:.0f} s"
        return f"  about {duration} left"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.monotonic() - self._started
        state = "done" if kind is None else "stopped"
        _write(f"{self.title}: {_amount(self)}{_figures(self)} ({state} after {seconds:.1f} s)")


class _TerminalBar(Bar):
    """Show a bar of the package rich; a bar opened inside another appears below it and disappears when done."""

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
    """Show the progress of a task while the context lasts.

    Args:
        title: the activity as a participle, such as "Reading".
        total: the amount of work in units; None when unknown.
        unit: the unit of work, such as "MB" or "steps".

    Yields:
        A bar to ``advance``.
    """
    global _open_bars
    bar_class: type[Bar] = Bar
    if not _quiet and sys.stderr is not None:
        bar_class = _TerminalBar if sys.stderr.isatty() else _LineBar
    with bar_class(title, total=total, unit=unit) as shown:
        _open_bars += 1
        try:
            yield shown
        finally:
            _open_bars -= 1


@contextmanager
def late_bar(title: str, *, total: float | None = None, unit: str = "") -> Iterator[Bar]:
    """Show a bar, as `bar` does, only if the task takes longer than `LINE_INTERVAL_SECONDS`.

    Other threads than the main one show none, and neither does a task inside another that shows one.
    """
    if _open_bars or threading.current_thread() is not threading.main_thread():
        yield Bar(title, total=total, unit=unit)
        return
    with ExitStack() as stack:
        yield _LateBar(stack, title, total=total, unit=unit)


class _LateBar(Bar):
    """Open a bar at the first progress after some seconds."""

    def __init__(self, stack: ExitStack, title: str, *, total: float | None, unit: str) -> None:
        super().__init__(title, total=total, unit=unit)
        self._stack = stack
        self._shown: Bar | None = None
        self._due = time.monotonic() + LINE_INTERVAL_SECONDS

    def advance(self, amount: float = 1, **figures: str) -> None:
        super().advance(amount, **figures)
        if self._shown is not None:
            self._shown.advance(amount, **figures)
        elif time.monotonic() >= self._due:
            self._shown = self._stack.enter_context(bar(self.title, total=self.total, unit=self.unit))
            self._shown.begin(self.done)


def _start_display() -> "Progress":
    # Imported here, because commands whose stderr is a file don't need it.
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
    for text, name in _aliases.items():
        line = line.replace(text, name)
    line = addresses.shown(line)
    if sys.stderr is None:  # the parent process closed it; print would write to stdout instead
        return
    # If the reader of stderr closes the pipe, a run of hours must continue.
    try:
        print(fit(line), file=sys.stderr, flush=True)
    except BrokenPipeError:
        set_quiet(True)
