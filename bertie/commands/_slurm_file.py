"""The job file of `bertie launch slurm`: a batch script for sbatch, or a script that submits an array of slices."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from bertie.commands._launch_job import Job, seal_words, slice_words, training_words
from bertie.errors import SettingsError

_TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
_TRAINING = """
set -u
export OMP_NUM_THREADS={threads}
# torchrun passes a signal on, and waits this long for its processes to save.
export TORCH_ELASTIC_SHUTDOWN_TIMEOUT={grace}
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)

# {grace} seconds before the time limit Slurm sends USR1 to this script. It passes TERM to the processes with scancel:
# a TERM to srun itself would kill them. They save a checkpoint and end, and the job is queued again.
at_limit=no
trap 'at_limit=yes; scancel --signal=TERM "$SLURM_JOB_ID"' USR1
# When the job is cancelled or preempted, Slurm sends TERM to all; this script waits for the processes.
trap : TERM

srun --kill-on-bad-exit=0 --wait={grace} --cpus-per-task={cpus} \\
    {torchrun} \\
    {bertie} &
step=$!
while kill -0 "$step" 2>/dev/null; do wait "$step"; done
wait "$step"
code=$?
if [ "$at_limit" = yes ] && [ "$code" -ne 0 ]; then
    if [ "${{SLURM_RESTART_COUNT:-0}}" -lt {requeues} ]; then
        scontrol requeue "$SLURM_JOB_ID"
    else
        echo "the job was queued again {requeues} times, and isn't any more; submit it again to go on" >&2
    fi
fi
exit "$code"
"""
_SLICES = """#!/bin/bash
# Submits two jobs: {slices} slices, and one that joins them. Start it by: bash FILE
set -euo pipefail
slices=$(sbatch --parsable <<'END_OF_SLICES'
{array}END_OF_SLICES
)
# It starts when all slices have ended, and says which are missing. Then submit this file again: it makes only these.
sbatch --dependency="afterany:${{slices%%;*}}" <<'END_OF_SEAL'
{seal}END_OF_SEAL
"""


@dataclass(frozen=True)
class SlurmSettings:
    """What a job of Slurm needs besides machines."""

    partition: str | None = None
    """partition; the cluster's default when not given."""
    account: str | None = None
    """account that is charged."""
    qos: str | None = None
    """quality of service."""
    constraint: str | None = None
    """features that the nodes must have."""
    time: str = "24:00:00"
    """time limit as Slurm writes it, such as 2-12:00:00 for two and a half days."""
    requeues: int = 100
    """how often the job is queued again at its time limit."""
    logs: Path | None = None
    """existing folder for the logs; the folder of submission when not given."""
    environment: Path | None = None
    """folder of the Python environment that has bertie; the one that is active at submission when not given."""
    modules: tuple[str, ...] = ()
    """modules to load first, such as cuda/12.8."""


def slurm_file(job: Job, slurm: SlurmSettings) -> str:
    """Return the job file.

    Raises:
        SettingsError: a setting that Slurm can't use.
    """
    limit = seconds(slurm.time)
    if limit <= job.grace and job.is_training:
        raise SettingsError(f"slurm.time {slurm.time} is not longer than --grace, {job.grace} seconds; give more time")
    if slurm.requeues < 0:
        raise SettingsError(f"slurm.requeues is {slurm.requeues}; give 0 or more")
    return _training_file(job, slurm) if job.is_training else _slices_file(job, slurm)


def _training_file(job: Job, slurm: SlurmSettings) -> str:
    options = [
        *_options(job, slurm, log="%x-%j.out"),
        f"--nodes={job.nodes}",
        "--ntasks-per-node=1",
        *_resources(job),
        f"--signal=B:USR1@{job.grace}",
        "--requeue",
        "--open-mode=append",
    ]
    torchrun, bertie = training_words(job, job.source, "HEAD", "JOB")
    shell = " \\\n    ".join(shlex.join(words) for words in (torchrun[:3], torchrun[3:6], torchrun[6:]))
    shell = shell.replace("--rdzv-endpoint=HEAD", f'--rdzv-endpoint="$head:{job.port}"')
    shell = shell.replace("--rdzv-id=JOB", '--rdzv-id="$SLURM_JOB_ID"')
    body = _TRAINING.format(
        threads=job.threads,
        grace=job.grace,
        cpus=job.cpus,
        requeues=slurm.requeues,
        torchrun=shell,
        bertie=shlex.join(bertie),
    )
    return _script(options, "# Submit it by: sbatch FILE\n", slurm) + body


def _slices_file(job: Job, slurm: SlurmSettings) -> str:
    array = [
        *_options(job, slurm, log="%x-%A_%a.out"),
        f"--array=0-{(job.slices or 1) - 1}",
        "--nodes=1",
        "--ntasks=1",
        *_resources(job),
        "--requeue",
        "--open-mode=append",
    ]
    words = shlex.join(slice_words(job, job.source, "INDEX"))
    command = '"$SLURM_ARRAY_TASK_ID"'.join(words.rsplit("INDEX", 1))
    seal = [*_options(job, slurm, log="%x-%j.out", suffix="-seal"), "--nodes=1", "--ntasks=1", "--requeue"]
    return _SLICES.format(
        slices=job.slices,
        array=f"{_script(array, '', slurm)}\nexport OMP_NUM_THREADS={job.threads}\n{command}\n",
        seal=f"{_script(seal, '', slurm)}\n{shlex.join(seal_words(job))}\n",
    )


def _options(job: Job, slurm: SlurmSettings, *, log: str, suffix: str = "") -> list[str]:
    """Return the options of sbatch that say where the job runs and where its log is."""
    if slurm.logs is not None:
        if "\\" in str(slurm.logs):
            raise SettingsError(f"slurm.logs {slurm.logs} has a backslash, which Slurm doesn't allow in a log's name")
        log = f"{str(slurm.logs).replace('%', '%%')}/{log}"
    named = {
        "partition": slurm.partition,
        "account": slurm.account,
        "qos": slurm.qos,
        "constraint": slurm.constraint,
        "time": slurm.time,
        "output": log,
    }
    options = [f"--job-name={quoted(job.name + suffix)}"]
    return options + [f"--{name}={quoted(value)}" for name, value in named.items() if value is not None]


def _resources(job: Job) -> list[str]:
    options = [f"--cpus-per-task={job.cpus}"]
    options += [f"--gpus-per-node={job.gpus}"] if job.gpus else []
    return options + ([f"--mem={job.memory}G"] if job.memory is not None else [])


def _script(options: list[str], remark: str, slurm: SlurmSettings) -> str:
    """Return the head of a batch script, up to the environment."""
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in options)]
    text = "\n".join(lines) + "\n" + remark
    if slurm.modules:
        text += f"module load {shlex.join(slurm.modules)}\n"
    if slurm.environment is not None:
        text += f"source {shlex.quote(str(slurm.environment / 'bin' / 'activate'))}\n"
    return text


def quoted(value: str) -> str:
    r"""Return a value for a line of #SBATCH: in quotes, with a backslash before quotes and backslashes.

    >>> print(quoted('a "b" #c'))
    "a \"b\" #c"
    """
    if re.fullmatch(r"[A-Za-z0-9_./:%+,@-]+", value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def seconds(time: str) -> int:
    """Return a time limit in seconds.

    Args:
        time: minutes, MINUTES:SECONDS, HOURS:MINUTES:SECONDS, or DAYS-HOURS with minutes and seconds or without.

    Raises:
        SettingsError: it has none of these forms.

    >>> seconds("90"), seconds("24:00:00"), seconds("2-12")
    (5400, 86400, 216000)
    """
    found = _TIME.fullmatch(time) if time.isascii() else None
    if found is None:
        raise SettingsError(f"slurm.time {time!r} is no time limit; write HOURS:MINUTES:SECONDS or DAYS-HOURS")
    days, *numbers = found.groups()
    parts = [int(number) for number in numbers if number is not None]
    if days is None and len(parts) < 3:
        parts = [0, *parts]
    hours, minutes, rest = [*parts, 0, 0, 0][:3]
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + rest
