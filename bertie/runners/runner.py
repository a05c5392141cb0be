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

from typing import Protocol, TypeVar

Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Work(Protocol[Item_contra, Result_co]):
    """A function that is applied to each item. Its result depends on the item alone."""

    def __call__(self, item: Item_contra, /) -> Result_co:
        """Return the result for one item."""
        ...
