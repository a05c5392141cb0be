"""The contract of ``runners/``: a job is work on a stream of numbered items whose results come back in order.

Every other file of this folder offers a function of this form::

    def run(work: Work[Item, Result], items: Iterable[Item], *, num_processes: int) -> Iterator[Result]: ...

What it promises: the result of item k depends on item k alone, each item is worked on exactly once, results come in
the order of the items, no more than a bounded number of items is held, an error of the work reaches the caller as it
is, and a process that dies is an error, never a wait without end. So the output of a job doesn't depend on the runner
or on the number of processes.

``work`` and the items travel between processes: they are importable functions, or small frozen dataclasses with
``__call__``, and plain data. What a process needs once, such as a tokenizer, the work keeps for itself at first use.
"""

from typing import Protocol, TypeVar

Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Work(Protocol[Item_contra, Result_co]):
    """What is done to each item; a function of the item alone."""

    def __call__(self, item: Item_contra, /) -> Result_co:
        """Return the result for one item."""
        ...
