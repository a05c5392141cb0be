"""Run a job on a Ray cluster: on the machines of a running cluster, or on a new one of this machine.

If a machine of the cluster dies, Ray applies the work that was lost with it again, on another machine. Every machine
needs bertie, with the same version of Python and Ray, and the files of the job under the same paths.

Source: Moritz et al. 2018, Ray: A Distributed Framework for Emerging AI Applications, arXiv:1712.05889.
"""

import os
from collections import deque
from collections.abc import Generator, Iterable
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

from bertie.errors import ResourceError, SettingsError
from bertie.runners.runner import Work

Item = TypeVar("Item")
Result = TypeVar("Result")

# Enough that no processor waits while results are written, and few enough that memory stays small.
_ITEMS_IN_FLIGHT_PER_PROCESSOR = 3
_MOST_RETRIES = 20  # of one item, each after the death of a process or a machine
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Anybody who reaches the port of a cluster without a token can run programs on it.
    "RAY_AUTH_MODE": "token",
}


def run(work: Work[Item, Result], items: Iterable[Item], *, address: str | None) -> Generator[Result]:
    """Apply work to items on a cluster and yield the results in the order of the items.

    Args:
        work: see ``runners.runner``.
        items: read in this process, as fast as they are worked on.
        address: the cluster, as for ``ray.init``: ``auto`` or HOST:PORT; None for a new one of this machine.

    Yields:
        The result of each item.

    Raises:
        SettingsError: Ray isn't installed, or the cluster can't be reached.
        ResourceError: an item was lost again and again with the processes that worked on it.
        Exception: any exception of the work or the items, unchanged.
    """
    ray = _connected(address)
    try:
        apply = ray.remote(num_cpus=1, max_retries=_MOST_RETRIES)(_apply)
        sent, folder = [ray.put(work)], str(Path.cwd())
        waiting: deque[Any] = deque()
        for item in items:
            while len(waiting) >= _ITEMS_IN_FLIGHT_PER_PROCESSOR * _num_processors(ray):
                yield _result(ray, waiting.popleft())
            waiting.append(apply.remote(sent, item, folder))
        while waiting:
            yield _result(ray, waiting.popleft())
    finally:
        ray.shutdown()


def _apply(sent: list[Any], item: Any, folder: str) -> Any:
    """Apply the work to an item, in a process of the cluster."""
    os.chdir(folder)  # relative paths mean the same files as in the command
    # The processes already use all processors; the Rust tokenizer would start as many threads in each of them.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    return _work(sent[0])(item)


@lru_cache(maxsize=1)
def _work(reference: Any) -> Any:
    # Kept, because work may hold a model, which takes seconds to load.
    return import_module("ray").get(reference)


def _connected(address: str | None) -> Any:
    """Return the package, connected to the cluster."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        ray = import_module("ray")
    except ImportError:
        raise SettingsError("--runner ray needs Ray; install it with: pip install 'bertie[ray]'") from None
    if ray.is_initialized():
        raise SettingsError("this process is connected to a Ray cluster already; call ray.shutdown() first")
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            configure_logging=False,
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, ray.exceptions.RayError) as error:
        raise SettingsError(
            f"can't reach the Ray cluster {address or 'of this machine'}: {error}; start one with: "
            "RAY_AUTH_MODE=token ray start --head"
        ) from error
    return ray


def _num_processors(ray: Any) -> int:
    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _result(ray: Any, reference: Any) -> Any:
    """Wait for a result.

    Raises:
        ResourceError: it was lost too often.
        Exception: the exception of the work, unchanged.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise ResourceError(
            f"the Ray cluster lost a part of the job {_MOST_RETRIES} times, most likely because memory ran out: "
            f"{str(error).splitlines()[0]}"
        ) from error
