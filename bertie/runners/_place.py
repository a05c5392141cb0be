"""Where a job runs, as the flags of a command say."""

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from bertie.errors import SettingsError
from bertie.runners import local, ray
from bertie.runners.runner import Work


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a job runs: the flags that ``prepare-corpus`` and ``predict`` share."""

    runner: Literal["local", "slice", "ray"] = "local"
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
            return ray.run(work, items, address=self.address)
        return local.run(work, items, num_processes=num_processes)
