"""Print the file that runs a settings file on a cluster: a job of Slurm or Kubernetes.

The file is made in ``_slurm_file`` and ``_kubernetes_file``.
"""

from typing import Any, Literal

from bertie import config, registry
from bertie.commands._kubernetes_file import KubernetesSettings, kubernetes_file
from bertie.commands._launch_job import SLICED, TRAINING, Job, check, name_from, refuse_line_ends
from bertie.commands._recipe_files import settings_file
from bertie.commands._slurm_file import SlurmSettings, slurm_file
from bertie.commands.command import Report
from bertie.commands.run import command_of
from bertie.config import Positional
from bertie.errors import SettingsError


def launch(
    engine: Positional[Literal["slurm", "kubernetes"]],
    file: Positional[str],
    flags: Positional[tuple[str, ...]] = (),
    *,
    out: str | None = None,
    name: str | None = None,
    nodes: int = 1,
    gpus: int = 0,
    processes: int | None = None,
    cpus: int = 8,
    memory: int | None = None,
    slices: int | None = None,
    grace: int = 300,
    restarts: int = 10,
    port: int = 29400,
    slurm: SlurmSettings = SlurmSettings(),
    kubernetes: KubernetesSettings = KubernetesSettings(),
) -> Report:
    """Print the file that runs a settings file on a cluster: a job of Slurm or Kubernetes.

    pretrain and finetune run with torchrun on all nodes together. When the job must end, it saves a checkpoint; when it
    starts again, it goes on from there. prepare-corpus and predict run as --slices parts, which bertie seal joins.

    bertie launch slurm out/mini/config.toml --nodes 2 --gpus 8 > mini.sbatch, and then sbatch mini.sbatch

    Args:
        engine: slurm or kubernetes.
        file: as for bertie run: the config.toml of a run, the folder that holds it, or the name of a recipe.
        flags: after --: further flags of the command, which replace settings of the file.
        out: what the command writes; that of the settings file when not given.
        name: name of the job; by default that of the output.
        nodes: number of machines.
        gpus: GPUs of each machine.
        processes: processes on each machine; by default one for each GPU, or one.
        cpus: cores of each machine.
        memory: GiB of each machine; the cluster's default when not given.
        slices: number of slices of prepare-corpus or predict.
        grace: seconds that a run gets to save a checkpoint before it is ended.
        restarts: how often processes that fail start again.
        port: port on the first machine where the others meet it.
        slurm: settings of Slurm.
        kubernetes: settings of Kubernetes.

    Returns:
        The file, and how to submit it.

    Raises:
        SettingsError: the settings file can't be read, its command can't be launched, or a value doesn't suit it.
    """
    command, settings = _read(file)
    chosen_out = out or str(settings.get("out") or "")
    if not chosen_out:
        raise SettingsError(f"{file} has no out; give --out, which names what the job writes")
    job = Job(
        command=command,
        source=f"./{file}" if file.startswith("-") else file,
        settings=settings,
        out=chosen_out,
        flags=flags,
        name=name or name_from(chosen_out),
        nodes=nodes,
        gpus=gpus,
        processes=processes if processes is not None else max(1, gpus),
        cpus=cpus,
        memory=memory,
        slices=slices,
        grace=grace,
        restarts=restarts,
        port=port,
    )
    check(job)
    refuse_line_ends(slurm, "slurm")
    refuse_line_ends(kubernetes, "kubernetes")
    text = slurm_file(job, slurm) if engine == "slurm" else kubernetes_file(job, kubernetes)
    submit = {"slurm": "sbatch FILE" if job.is_training else "bash FILE", "kubernetes": "kubectl apply --filename FILE"}
    return Report(
        title=f"{job.name}: {engine}",
        values={
            "engine": engine,
            "command": job.command.replace("_", "-"),
            "name": job.name,
            "out": job.out,
            "nodes": job.nodes,
            "processes": job.nodes * job.processes,
            "slices": job.slices,
            "submit": submit[engine],
            "file": text,
        },
        text=text.removesuffix("\n"),
        next_command=submit[engine],
    )


def _read(file: str) -> tuple[str, dict[str, Any]]:
    """Return the command of a settings file, with underscores, and the settings with the command's name."""
    found = settings_file(file)
    command, settings = command_of(found), config.read(found)
    if command not in (*TRAINING, *SLICED):
        names = ", ".join(each.replace("_", "-") for each in (*TRAINING, *SLICED))
        raise SettingsError(f"{found}: {command.replace('_', '-')} can't be launched; these can: {names}")
    function = getattr(registry.load("commands", command), command)
    values = {key: value for key, value in settings.items() if key != "command"}
    config.validate(function, values, source=str(found), partial=True)
    return command, settings
