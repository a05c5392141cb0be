"""Progress and remarks on stderr: a bar on a terminal, plain lines elsewhere, nothing when quiet.

Results never pass through here: they go to stdout, and only ``bertie.cli`` prints them.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

LINE_INTERVAL_SECONDS = 5.0
_quiet = False


def set_quiet(quiet: bool) -> None:
    """Turn bars and notes off or on for the whole process; warnings always show."""
    global _quiet
    _quiet = quiet


def note(line: str) -> None:
    """Write one remark to stderr, unless quiet."""
    if not _quiet:
        _write(line)


def warn(line: str) -> None:
    """Write one warning to stderr, quiet or not: something the user should know but need not stop for."""
    _write(f"warning: {line}")


class Bar:
    """Progress of one piece of work; made by ``bar``, and advanced by whoever does the work."""

    def __init__(self, title: str, *, total: float | None, unit: str) -> None:
        self.title = title
        self.total = total
        self.unit = unit
        self.done: float = 0
        self.figures: dict[str, str] = {}

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
            _write(f"{self.title}: {_amount(self)}{_figures(self)}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        seconds = time.monotonic() - self._started
        state = "done" if kind is None else "stopped"
        _write(f"{self.title}: {_amount(self)}{_figures(self)} ({state} after {seconds:.1f} s)")


class _TerminalBar(Bar):
    """A rich progress bar."""

    def __enter__(self) -> "Bar":
        columns: tuple[ProgressColumn, ...] = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            _StateColumn(self),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._progress.start()
        self._task = self._progress.add_task(self.title, total=self.total)
        return self

    def advance(self, amount: float = 1, **figures: str) -> None:
        super().advance(amount, **figures)
        self._progress.update(self._task, completed=self.done)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()


class _StateColumn(ProgressColumn):
    """Amount done and the figures beside it."""

    def __init__(self, bar: Bar) -> None:
        super().__init__()
        self._bar = bar

    def render(self, task: Task) -> Text:
        """Draw the column."""
        return Text(_amount(self._bar) + _figures(self._bar))


@contextmanager
def bar(title: str, *, total: float | None = None, unit: str = "") -> Iterator[Bar]:
    """Show progress of one piece of work while the context lasts.

    Args:
        title: what is being done, as a participle: "Reading".
        total: how much there is; None when nobody knows.
        unit: what is counted: "MB", "steps".

    Yields:
        A bar to ``advance``.
    """
    kind: type[Bar] = Bar
    if not _quiet:
        kind = _TerminalBar if sys.stderr.isatty() else _LineBar
    with kind(title, total=total, unit=unit) as shown:
        yield shown


def _amount(bar: Bar) -> str:
    done = f"{bar.done:,.0f}" if float(bar.done).is_integer() else f"{bar.done:,.1f}"
    total = "" if bar.total is None else f"/{bar.total:,.0f}"
    return f"{done}{total} {bar.unit}".rstrip()


def _figures(bar: Bar) -> str:
    return "".join(f"  {name.replace('_', ' ')} {value}" for name, value in bar.figures.items())


def _write(line: str) -> None:
    # A reader of stderr that went away must not end a run of hours.
    try:
        print(line, file=sys.stderr, flush=True)
    except BrokenPipeError:
        set_quiet(True)
