"""The contract of ``runners/``: a job applies work to a stream of items and yields the results in order.

``local`` and ``ray`` have a function of this form::

    def run(work: Work[Item, Result], items: Iterable[Item], ...) -> Iterator[Result]: ...

``slice`` doesn't run anything itself: it stores the results of some numbered items, which a ``run`` yields, in files,
and reads the stored results of all slices in order. All three guarantee:

- Work is applied to each item exactly once, and the results come in the order of the items.
- Only a bounded number of items is in memory.
- An exception of the work reaches the caller unchanged.
- A process that dies causes an error and never an endless wait.

The result of an item depends on that item alone. So the output of a job doesn't depend on the runner or on the number
of processes.

Work and items are sent to other processes. Work is an importable function or a small frozen dataclass with
``__call__``, and items are plain data. Work creates what a process needs once, such as a tokenizer, at first use and
keeps it.
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from bertie.errors import SettingsError

RunnerName = Literal["local", "slice", "ray"]

Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Work(Protocol[Item_contra, Result_co]):
    """A function that is applied to each item. Its result depends on the item alone."""

    def __call__(self, item: Item_contra, /) -> Result_co:
        """Return the result for one item."""
        ...


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a job runs: the flags that ``prepare-corpus`` and ``predict`` share."""

    runner: RunnerName = "local"
    """local: processes of this machine. slice: one of several parts of the job, see `index`. ray: a Ray cluster."""
    index: int | None = None
    """Which slice, from 0; by default as the job array of Slurm or Kubernetes numbers it."""
    of: int | None = None
    """Number of slices."""
    address: str | None = None
    """The Ray cluster; a new one on this machine if None."""

    def check(self) -> None:
        """Refuse flags that have no effect.

        Raises:
            SettingsError: a flag belongs to another runner.
        """
        if self.runner != "slice" and (self.index is not None or self.of is not None):
            raise SettingsError("--index and --of require --runner slice; add it, or leave them out")
        if self.runner != "ray" and self.address is not None:
            raise SettingsError("--address requires --runner ray; add it, or leave it out")

    def run(self, work: Work[Any, Any], items: Iterable[Any], *, num_processes: int) -> Generator[Any]:
        """Apply work to items by the runner, and yield the results in the order of the items.

        Args:
            work: see above.
            items: read in this process.
            num_processes: number of processes on this machine; without effect on a Ray cluster.
        """
        if self.runner == "ray":
            from bertie.runners import ray

            return ray.run(work, items, address=self.address)
        from bertie.runners import local

        return local.run(work, items, num_processes=num_processes)
