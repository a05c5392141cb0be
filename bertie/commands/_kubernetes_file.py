"""The job file of `bertie launch kubernetes`: Indexed Jobs with the settings file, as YAML."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bertie import toml
from bertie.commands._launch_job import Job, name_from, seal_words, slice_words, training_words
from bertie.errors import SettingsError

_SETTINGS = "/etc/bertie/config.toml"
_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_BARE = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:[./-][A-Za-z0-9_]+)*")
"""Texts that need no quotes in YAML."""
_WORDS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
"""Words that YAML reads as something other than text."""
_LABELS = {"app.kubernetes.io/name": "bertie"}
_IGNORE_DISRUPTION = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
_TRAINING = """\
# Start it by: kubectl apply --filename FILE
# Each pod is a node. A pod that ends early starts again, and the run goes on from its newest checkpoint.
"""
_SLICES = """\
# Start it by: kubectl apply --filename FILE
# Each pod makes slices. When all are complete, let the second job join them:
#   kubectl wait{namespace} --for=condition=complete --timeout=-1s job/{name}
#   kubectl patch{namespace} job/{name}-seal --type=merge --patch '{{"spec": {{"suspend": false}}}}'
"""


@dataclass(frozen=True)
class KubernetesSettings:
    """What a job of Kubernetes needs besides machines."""

    image: str | None = None
    """container image that has bertie; required."""
    namespace: str | None = None
    """namespace; that of kubectl when not given."""
    claim: str | None = None
    """persistent volume claim with the data and for the output, which all pods can write; required."""
    mount: str = "/data"
    """folder where the claim is mounted; relative paths in the settings start there."""
    shared_memory: int = 8
    """GiB of /dev/shm in each pod."""
    parallelism: int | None = None
    """slices that run at the same time; all when not given."""


def kubernetes_file(job: Job, kubernetes: KubernetesSettings) -> str:
    """Return the job file: one YAML document for each object.

    Raises:
        SettingsError: a setting is missing, or Kubernetes can't use it.
    """
    for name in ("image", "claim"):
        if not getattr(kubernetes, name):
            raise SettingsError(f"--kubernetes.{name} is missing; Kubernetes can't start a pod without it")
    if not kubernetes.mount.startswith("/") or ":" in kubernetes.mount:
        raise SettingsError(f"kubernetes.mount {kubernetes.mount!r} is no absolute path without a colon; try /data")
    if kubernetes.mount.rstrip("/") in ("", "/dev/shm", "/etc/bertie"):
        raise SettingsError(f"kubernetes.mount can't be {kubernetes.mount}, which the pod has already; try /data")
    if kubernetes.namespace is not None and not _NAMESPACE.fullmatch(kubernetes.namespace):
        raise SettingsError(f"kubernetes.namespace {kubernetes.namespace!r} has other characters than a-z, 0-9 and -")
    if job.name != name_from(job.name):
        raise SettingsError(
            f"name {job.name!r}: Kubernetes allows at most 40 lower-case letters, digits and dashes, a letter first; "
            "choose another --name"
        )
    if kubernetes.shared_memory < 1 or (kubernetes.parallelism is not None and kubernetes.parallelism < 1):
        raise SettingsError("kubernetes.shared-memory and kubernetes.parallelism must be at least 1")
    config_map = {
        **_head("v1", "ConfigMap", job.name, kubernetes),
        "data": {"config.toml": toml.dumps(dict(job.settings))},
    }
    if job.is_training:
        remark, objects = _TRAINING, [config_map, _service(job, kubernetes), _training_job(job, kubernetes)]
    else:
        place = f" --namespace {kubernetes.namespace}" if kubernetes.namespace else ""
        remark = _SLICES.format(name=job.name, namespace=place)
        objects = [config_map, _slices_job(job, kubernetes), _seal_job(job, kubernetes)]
    return remark + "".join("---\n" + "\n".join(_yaml(one, 0)) + "\n" for one in objects)


def _service(job: Job, kubernetes: KubernetesSettings) -> dict[str, Any]:
    """Return the service without an address of its own that gives every pod a host name, also before it is ready."""
    return {
        **_head("v1", "Service", job.name, kubernetes),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {"app.kubernetes.io/instance": job.name},
            "ports": [{"name": "rendezvous", "port": job.port}],
        },
    }


def _training_job(job: Job, kubernetes: KubernetesSettings) -> dict[str, Any]:
    torchrun, bertie = training_words(job, _SETTINGS, f"{job.name}-0.{job.name}:{job.port}", job.name)
    words = [*_literal(torchrun), *_literal(bertie)]
    # torchrun passes a signal on, and waits this long for its processes to save.
    variables = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(job.grace)}
    return {
        **_head("batch/v1", "Job", job.name, kubernetes),
        "spec": {
            "completions": job.nodes,
            "parallelism": job.nodes,
            "completionMode": "Indexed",
            # When a pod dies, the others may end too.
            "backoffLimit": job.restarts * job.nodes,
            # Kubernetes itself removed the pod, for example from a node that is drained: not counted.
            "podFailurePolicy": {"rules": [_IGNORE_DISRUPTION]},
            "template": _pod(job, kubernetes, words, variables, resources=_resources(job)),
        },
    }


def _slices_job(job: Job, kubernetes: KubernetesSettings) -> dict[str, Any]:
    slices = job.slices or 1
    *words, index, of, count = slice_words(job, _SETTINGS, "$(JOB_COMPLETION_INDEX)")
    # Settings or data that bertie can't use stay so: these exit codes end the slice at once.
    hopeless = {"containerName": "bertie", "operator": "In", "values": [2, 3]}
    return {
        **_head("batch/v1", "Job", job.name, kubernetes),
        "spec": {
            "completions": slices,
            "parallelism": min(slices, kubernetes.parallelism or slices),
            "completionMode": "Indexed",
            "backoffLimitPerIndex": job.restarts,
            "podFailurePolicy": {"rules": [_IGNORE_DISRUPTION, {"action": "FailIndex", "onExitCodes": hopeless}]},
            "template": _pod(job, kubernetes, [*_literal(words), index, of, count], {}, resources=_resources(job)),
        },
    }


def _seal_job(job: Job, kubernetes: KubernetesSettings) -> dict[str, Any]:
    return {
        **_head("batch/v1", "Job", f"{job.name}-seal", kubernetes),
        "spec": {
            "suspend": True,
            "backoffLimit": job.restarts,
            "template": _pod(job, kubernetes, _literal(seal_words(job)), {}, resources={}),
        },
    }


def _pod(
    job: Job, kubernetes: KubernetesSettings, words: Sequence[str], variables: Mapping[str, str], resources: Any
) -> dict[str, Any]:
    container = {
        "name": "bertie",
        "image": kubernetes.image,
        "command": list(words),
        "workingDir": kubernetes.mount,
        "env": [
            {"name": name, "value": value} for name, value in {"OMP_NUM_THREADS": str(job.threads), **variables}.items()
        ],
        **({"resources": resources} if resources else {}),
        "volumeMounts": [
            {"name": "data", "mountPath": kubernetes.mount},
            {"name": "settings", "mountPath": "/etc/bertie", "readOnly": True},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
        ],
    }
    return {
        "metadata": {"labels": {**_LABELS, "app.kubernetes.io/instance": job.name}},
        "spec": {
            **({"subdomain": job.name} if job.is_training else {}),
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": job.grace + 30,
            "containers": [container],
            "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": kubernetes.claim}},
                {"name": "settings", "configMap": {"name": job.name}},
                {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": _shared(kubernetes)}},
            ],
        },
    }


def _shared(kubernetes: KubernetesSettings) -> str:
    return f"{kubernetes.shared_memory}Gi"


def _resources(job: Job) -> dict[str, Any]:
    requests: dict[str, Any] = {"cpu": str(job.cpus)}
    limits: dict[str, Any] = {}
    if job.memory is not None:
        requests["memory"] = limits["memory"] = f"{job.memory}Gi"
    if job.gpus:
        limits["nvidia.com/gpu"] = str(job.gpus)
    return {"requests": requests, **({"limits": limits} if limits else {})}


def _head(version: str, kind: str, name: str, kubernetes: KubernetesSettings) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if kubernetes.namespace:
        metadata["namespace"] = kubernetes.namespace
    metadata["labels"] = {**_LABELS, "app.kubernetes.io/instance": name.removesuffix("-seal")}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


def _literal(words: Sequence[str]) -> list[str]:
    """Return words in which Kubernetes replaces no $(VARIABLE)."""
    return [word.replace("$", "$$") for word in words]


def _yaml(value: Any, depth: int) -> Iterator[str]:
    """Yield the lines of a value in YAML; texts are in double quotes, in which JSON is YAML."""
    indent = "  " * depth
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if isinstance(inner, str) and "\n" in inner and _is_block(inner):
                yield f"{indent}{_scalar(key)}: |"
                yield from (f"{indent}  {line}" if line else "" for line in inner.removesuffix("\n").split("\n"))
            elif isinstance(inner, Mapping | list) and inner:
                yield f"{indent}{_scalar(key)}:"
                yield from _yaml(inner, depth + 1)
            else:
                yield f"{indent}{_scalar(key)}: {_scalar(inner)}"
        return
    for item in value:
        if isinstance(item, Mapping):
            first, *rest = _yaml(item, depth + 1)
            yield f"{indent}- {first.lstrip()}"
            yield from rest
        else:
            yield f"{indent}- {_scalar(item)}"


def _is_block(text: str) -> bool:
    """Check whether a text can stand as it is, line by line: YAML must read the same line ends in it."""
    return text.endswith("\n") and not text.endswith("\n\n") and text[0] not in " \n" and _is_plain(text)


def _is_plain(text: str) -> bool:
    return all(character.isprintable() for character in text.replace("\n", ""))


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if _BARE.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return "".join(
        character if character.isprintable() else f"\\U{ord(character):08x}"
        for character in json.dumps(value, ensure_ascii=False)
    )
