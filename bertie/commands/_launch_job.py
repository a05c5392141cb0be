"""A job of `bertie launch`: what to run, on how many machines, and the command lines that its file contains.

The file for each engine is made from a Job by `_slurm_file` or `_kubernetes_file`.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from bertie.errors import SettingsError

TRAINING = ("pretrain", "finetune")
"""Commands that several processes run together."""
SLICED = ("prepare_corpus", "predict")
"""Commands that run as numbered slices, each by itself."""
_LAUNCH_SETS = ("--out", "--resume", "--runner", "--index", "--of", "--config")
_SHORTEST_GRACE = 60
_LONGEST_NAME = 40
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control and format characters, lone surrogates, line ends


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a job runs, and on what."""

    command: str
    """The command that the settings file names, with underscores."""
    source: str
    """The settings file, run folder or recipe, as `bertie run` takes it."""
    settings: Mapping[str, Any]
    """The settings of the file, the command's name included."""
    out: str
    flags: tuple[str, ...] = ()
    """Further flags of the command."""
    name: str
    nodes: int
    gpus: int
    """GPUs of each node."""
    processes: int
    """Processes on each node."""
    cpus: int
    """Cores of each node."""
    memory: int | None
    """GiB of each node; the engine's default if None."""
    slices: int | None
    """Number of slices; None for a training."""
    grace: int
    """Seconds to save a checkpoint."""
    restarts: int
    port: int

    @property
    def is_training(self) -> bool:
        """Whether all processes work together, instead of one for each slice."""
        return self.command in TRAINING

    @property
    def threads(self) -> int:
        """Threads of each process."""
        return max(1, self.cpus // self.processes)


def training_words(job: Job, source: str, endpoint: str, identity: str) -> tuple[list[str], list[str]]:
    """Return the words of the command that each node runs: those of torchrun, and those of bertie.

    A first start and every later one are the same command: --resume begins a run whose folder doesn't exist.

    Args:
        job: the job.
        source: the settings file as the node sees it.
        endpoint: host and port where the nodes meet.
        identity: a name that the nodes of a job share.
    """
    torchrun = [
        "torchrun",
        f"--nnodes={job.nodes}",
        f"--nproc-per-node={job.processes}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={endpoint}",
        f"--rdzv-id={identity}",
        "--rdzv-conf=join_timeout=1800,read_timeout=600",
        f"--max-restarts={job.restarts}",
    ]
    return torchrun, ["-m", "bertie", "run", source, "--out", job.out, *job.flags, "--resume"]


def slice_words(job: Job, source: str, index: str) -> list[str]:
    """Return the words of the command that makes one slice.

    Args:
        job: the job.
        source: the settings file as the node sees it.
        index: the slice's number, from 0, or an expression for it.
    """
    words = ["bertie", "run", source, "--out", job.out, *job.flags, "--runner", "slice"]
    return [*words, "--index", index, "--of", str(job.slices)]


def seal_words(job: Job) -> list[str]:
    """Return the words of the command that joins the slices."""
    return ["bertie", "seal", job.out]


def name_from(text: str) -> str:
    """Return a name for a job: lower-case letters, digits and dashes, at most 40 characters.

    >>> name_from("out/My run (2)")
    'my-run-2'
    """
    plain = unicodedata.normalize("NFKD", Path(text).name).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    name = name if name[:1].isalpha() else f"bertie-{name}"
    return name[:_LONGEST_NAME].strip("-")


def check(job: Job) -> None:
    """Check a job's numbers, its texts and its flags.

    Raises:
        SettingsError: one of them can't be used, or has no effect.
    """
    refuse_line_ends(job, "")
    _check_flags(job.flags)
    shown = job.command.replace("_", "-")
    if job.is_training and job.slices is not None:
        raise SettingsError(f"--slices has no effect for {shown}, which runs on all nodes together; give --nodes")
    if not job.is_training and job.slices is None:
        raise SettingsError(f"{shown} runs as slices; give their number by --slices")
    if not job.is_training and job.nodes != 1:
        raise SettingsError(f"--nodes has no effect for {shown}; its slices run on any nodes; give --slices")
    least = {
        **dict.fromkeys(("nodes", "processes", "cpus", "memory", "slices"), 1),
        **dict.fromkeys(("gpus", "restarts"), 0),
        "grace": _SHORTEST_GRACE,
    }
    for name, bound in least.items():
        value = getattr(job, name)
        if value is not None and value < bound:
            raise SettingsError(f"--{name} is {value}; give {bound} or more")
    if not 1024 <= job.port <= 65535:
        raise SettingsError(f"--port is {job.port}; give a port from 1024 to 65535")


def _check_flags(flags: Sequence[str]) -> None:
    """Refuse flags of the command that the job file sets itself."""
    for flag in (word.partition("=")[0].replace("_", "-") for word in flags):
        if flag == "--out":
            raise SettingsError("--out is given after --; give it before, as a flag of launch")
        if flag in _LAUNCH_SETS:
            raise SettingsError(f"{flag} is given after --, but the job file sets it; leave it out")


def refuse_line_ends(values: Any, key: str) -> None:
    """Refuse text that can't stand on one line of a job file, in any field of a dataclass or tuple.

    Args:
        values: text, a path, a dataclass, a tuple or a number.
        key: its name, for the error message.

    Raises:
        SettingsError: a text has a line end, a control or format character, or isn't valid UTF-8.
    """
    if is_dataclass(values):
        for field in fields(values):
            if field.name != "settings":
                refuse_line_ends(getattr(values, field.name), f"{key}.{field.name}".removeprefix("."))
    elif isinstance(values, tuple):
        for value in values:
            refuse_line_ends(value, key)
    elif isinstance(values, str | Path):
        for character in str(values):
            if unicodedata.category(character) in _UNSAFE:
                raise SettingsError(
                    f"{key.replace('_', '-')}: {str(values)!r:.80} has the character U+{ord(character):04X}, which a "
                    "job file can't hold; choose a name of one line without control characters"
                )
