"""Several processes train one model: the only file that knows torch.distributed.

torchrun starts the processes. Each has all weights and the optimizer's state. A step's batch is drawn by every process
in the same way, each computes the gradients of its share, and one sum over all processes follows. The terms of the loss
are divided by the counts of the whole batch, so the result doesn't depend on the number of processes.

Process 0, the leader, alone writes files and messages. Small values travel as JSON, never as pickles.
"""

from __future__ import annotations

import json
import os
import socket
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from bertie.errors import DataError, ResourceError
from bertie.untrusted import parse_json

_FOR_EVER = timedelta(days=30)  # `Watch` ends a process that waits too long, and names the one it waits for
_FAILURE, _RUNNING, _FINISHED = "failure", "running", "finished"


class LostError(ResourceError):
    """The connection to another process broke."""


class Group:
    """The processes of a run. This class itself is a run of one process.

    Args:
        rank: number of this process.
        size: number of processes.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.phase, self.step, self.since = "preparation", 0, time.monotonic()
        self.waited = 0.0
        """Seconds in which this process has waited for others at the ends of steps."""

    @property
    def leads(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def enter(self, phase: str, step: int | None = None) -> None:
        """Note what this process does now, for `Watch`."""
        self.phase, self.since = phase, time.monotonic()
        self.step = self.step if step is None else step

    def sum_gradients(self, model: nn.Module) -> None:
        """Replace each gradient with its sum over all processes."""

    def exchange(self, value: Any, *, ends_step: bool = False) -> list[Any]:
        """Return what each process gives here, in order of rank. Values are those that JSON can hold.

        Args:
            value: of this process.
            ends_step: whether to count the time in `waited`.
        """
        return [value]

    def from_leader(self, value: Any) -> Any:
        """Return what the leader gives here."""
        return self.exchange(value if self.leads else None)[0]

    def copy_weights(self, model: nn.Module) -> None:
        """Give every process the leader's weights and buffers."""

    def agree(self, tensors: Mapping[str, Tensor], *, written: bool = True) -> bool:
        """Agree on a checkpoint. Every process calls this before the leader renames the checkpoint into place.

        Args:
            tensors: of the checkpoint, as this process has them.
            written: whether the leader has written the files.

        Returns:
            Whether the leader has.

        Raises:
            DataError: the tensors differ.
        """
        return written

    def announce(self, *, finished: bool = False) -> None:
        """Tell the other processes that the leader has prepared the run, or finished it."""

    def claim(self, message: str) -> bool:
        """Return whether this process is the first to report a failure, and should print it."""
        return True


class Connected(Group):
    """Processes that torchrun started, connected by gloo for values on the CPU and by NCCL for those on GPUs."""

    def __init__(self) -> None:
        from torch.distributed import init_process_group
        from torch.distributed.distributed_c10d import PrefixStore
        from torch.distributed.rendezvous import rendezvous

        super().__init__(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
        self.host, self.pid = socket.gethostname(), os.getpid()
        self._buffer: Tensor | None = None
        try:
            store, _, _ = next(rendezvous("env://", timeout=timedelta(minutes=10)))
            attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            self.store: Any = PrefixStore(f"bertie/{attempt}", store)
            backend = "gloo"
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
                backend = "cpu:gloo,cuda:nccl"
            init_process_group(backend, store=self.store, rank=self.rank, world_size=self.size, timeout=_FOR_EVER)
        except (RuntimeError, ValueError) as error:
            raise ResourceError(
                f"process {self.rank} of {self.size} on {self.host} can't connect to the others: {error!s:.300}; check "
                "MASTER_ADDR, MASTER_PORT and, with several networks, GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME"
            ) from error

    def sum_gradients(self, model: nn.Module) -> None:
        """Sum one flat buffer of all gradients, and count the processes that have each of them."""
        values = [value for value in model.parameters() if value.requires_grad]
        total = sum(value.numel() for value in values)
        if self._buffer is None or self._buffer.numel() != total + len(values):
            self._buffer = values[0].new_empty(total + len(values), dtype=torch.float32)
        flat, present = self._buffer[:total], self._buffer[total:]
        present.copy_(torch.tensor([value.grad is not None for value in values], dtype=torch.float32))
        parts = torch.split(flat, [value.numel() for value in values])
        for value, part in zip(values, parts, strict=True):
            if value.grad is None:
                part.zero_()
            else:
                part.copy_(value.grad.flatten())
        self._call("all_reduce", self._buffer)
        for value, part, many in zip(values, parts, present.tolist(), strict=True):
            value.grad = part.view_as(value).clone() if many else None

    def exchange(self, value: Any, *, ends_step: bool = False) -> list[Any]:
        """Gather the lengths of the JSON texts, then the texts."""
        content = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        started = time.monotonic()
        self._call("all_gather", lengths, torch.tensor([len(content)]))
        self.waited += time.monotonic() - started if ends_step else 0.0
        longest = max(int(each) for each in lengths)
        padded = torch.zeros(longest, dtype=torch.uint8)
        padded[: len(content)] = content
        texts = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
        self._call("all_gather", texts, padded)
        pairs = enumerate(zip(texts, lengths, strict=True))
        return [parse_json(bytes(text[: int(n)].tolist()), f"a message of process {rank}") for rank, (text, n) in pairs]

    def copy_weights(self, model: nn.Module) -> None:
        """Broadcast each tensor; tied weights count once."""
        for value in (*model.parameters(), *model.buffers()):
            self._call("broadcast", value.detach(), 0)

    def agree(self, tensors: Mapping[str, Tensor], *, written: bool = True) -> bool:
        """Compare a checksum of all tensors."""
        sums = self.exchange(_checksum(tensors) if written else None)
        if sums[0] is None:
            return False
        if odd := [rank for rank, each in enumerate(sums) if each != sums[0]]:
            hosts = self.exchange(self.host)
            raise DataError(
                f"the weights of process {odd[0]} on {hosts[odd[0]]} differ from those of process 0 on {hosts[0]}, so "
                "no checkpoint was written; use machines with the same processor, torch and number of threads, and run "
                "the command again with --resume"
            )
        return True

    def claim(self, message: str) -> bool:
        """Set a key in the store, which only the first process does."""
        try:
            mine = f"{self.rank}: {message}"
            return bool(self.store.compare_set(_FAILURE, "", mine).decode() == mine)
        except RuntimeError:  # torchrun has ended the store
            return self.leads

    def failed(self) -> bool:
        """Return whether a process has reported a failure."""
        try:
            return bool(self.store.check([_FAILURE]))
        except RuntimeError:  # torchrun has ended the store
            return True

    def announce(self, *, finished: bool = False) -> None:
        """Set a key in the store, if this is the leader."""
        if not self.leads:
            return
        self.store.set(_FINISHED if finished else _RUNNING, "1")

    def await_leader(self, *, finished: bool = False) -> None:
        """Wait until the leader has prepared or finished the run.

        Raises:
            LostError: the leader failed.
        """
        try:
            while not self.store.check([_FINISHED]) and (finished or not self.store.check([_RUNNING])):
                if self.failed():
                    raise LostError("the leader failed")
                time.sleep(0.05)
        except RuntimeError as error:
            raise LostError("the connection to the leader broke") from error

    def close(self) -> None:
        """End the connections. Processes that wait for this one get an error."""
        with suppress(RuntimeError):
            torch.distributed.destroy_process_group()

    def _call(self, name: str, *arguments: Any) -> None:
        phase, before = self.phase, self.since
        self.enter("waiting")
        try:
            getattr(torch.distributed, name)(*arguments)
        except RuntimeError as error:
            raise LostError(
                f"process {self.rank} lost its connection to another process, which was killed or failed, in step "
                f"{self.step + 1} ({str(error).partition(chr(10))[0]:.200}); torchrun begins again at the newest "
                "checkpoint if --max-restarts allows it, else run the command again with --resume"
            ) from error
        self.phase, self.since = phase, before


class Followed(BaseException):
    """The training is done, and this process isn't the leader, which alone writes the results."""


class Waiting:
    """The share of each process's time in which it waited for the others at the ends of steps.

    The process that waits least is the slowest. Make it in all processes at once.
    """

    def __init__(self, group: Group) -> None:
        self._hosts = group.exchange(socket.gethostname())
        self._seconds = [0.0] * group.size
        self._begin = time.monotonic()

    def add(self, notes: Sequence[Any]) -> None:
        """Take over what the processes said in a step: [clock, signal, seconds of waiting so far]."""
        self._seconds = [said[2] for said in notes]

    def facts(self) -> dict[str, Any]:
        """Return the shares for the run's figures; nothing for one process."""
        if len(self._hosts) == 1:
            return {}
        total = max(1e-9, time.monotonic() - self._begin)
        pairs = enumerate(zip(self._hosts, self._seconds, strict=True))
        shares = [f"{rank} ({host}) {seconds / total:.1%}" for rank, (host, seconds) in pairs]
        return {"processes": len(self._hosts), "waiting": ", ".join(shares)}


SOLO = Group()
_group: Group = SOLO


def group() -> Group:
    """Return the processes of this run."""
    return _group


def connect() -> Connected:
    """Connect to the other processes that torchrun started, for the rest of this process."""
    global _group
    if not isinstance(_group, Connected):
        _group = Connected()
    return _group


def merged(figures: Iterable[Mapping[str, Sequence[str]]]) -> dict[str, tuple[float, float]]:
    """Add the (sum, count) of each figure over the processes, in order of rank. Numbers are written as texts."""
    sums: dict[str, tuple[float, float]] = {}
    for each in figures:
        for name, (value, count) in each.items():
            before = sums.get(name, (0.0, 0.0))
            sums[name] = (before[0] + float(value), before[1] + float(count))
    return sums


def _checksum(tensors: Mapping[str, Tensor]) -> int:
    total = 0
    for name in sorted(tensors):
        total = zlib.crc32(tensors[name].detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data, total)
    return total
