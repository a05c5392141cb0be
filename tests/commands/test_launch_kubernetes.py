"""`bertie launch kubernetes`: the YAML has only fields that the API knows, and holds any text."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie import cli
from bertie.commands._kubernetes_file import _yaml
from bertie.errors import SettingsError

yaml = pytest.importorskip("yaml")
launch: Any = bertie.launch
NEEDED = {"image": "registry.example.org/bertie:1", "claim": "bertie-data"}
HOSTILE = "a \"b\" 'c' $(JOB_COMPLETION_INDEX) $$ \\ # : - {x} &a *b !c %d @ ` é 文 \U0001f600"

_METADATA = {"name": str, "namespace": str, "labels": dict}
_CONTAINER = {
    "name": str,
    "image": str,
    "command": [str],
    "workingDir": str,
    "env": [{"name": str, "value": str}],
    "resources": {"requests": dict, "limits": dict},
    "volumeMounts": [{"name": str, "mountPath": str, "readOnly": bool}],
}
_POD = {
    "metadata": {"labels": dict},
    "spec": {
        "subdomain": str,
        "restartPolicy": str,
        "terminationGracePeriodSeconds": int,
        "containers": [_CONTAINER],
        "volumes": [
            {
                "name": str,
                "persistentVolumeClaim": {"claimName": str},
                "configMap": {"name": str},
                "emptyDir": {"medium": str, "sizeLimit": str},
            }
        ],
    },
}
_RULE = {
    "action": str,
    "onPodConditions": [{"type": str, "status": str}],
    "onExitCodes": {"containerName": str, "operator": str, "values": [int]},
}
_JOB = {
    **dict.fromkeys(("completions", "parallelism", "backoffLimit", "backoffLimitPerIndex"), int),
    "completionMode": str,
    "suspend": bool,
    "podFailurePolicy": {"rules": [_RULE]},
    "template": _POD,
}
_SERVICE = {
    "clusterIP": str,
    "publishNotReadyAddresses": bool,
    "selector": dict,
    "ports": [{"name": str, "port": int}],
}
# The fields of the API (v1 and batch/v1) that the files may use, with their types.
FIELDS: dict[str, Any] = {
    "ConfigMap": {"apiVersion": str, "kind": str, "metadata": _METADATA, "data": dict},
    "Service": {"apiVersion": str, "kind": str, "metadata": _METADATA, "spec": _SERVICE},
    "Job": {"apiVersion": str, "kind": str, "metadata": _METADATA, "spec": _JOB},
}


def wrong_fields(value: Any, known: Any, path: str = "") -> list[str]:
    """Return the fields that the API doesn't know, or that have another type."""
    if isinstance(known, dict) and isinstance(value, dict):
        inner = [wrong_fields(value[key], known.get(key), f"{path}.{key}") for key in value]
        return [wrong for each in inner for wrong in each]
    if isinstance(known, list) and isinstance(value, list):
        return [wrong for one in value for wrong in wrong_fields(one, known[0], f"{path}[]")]
    if known is dict and isinstance(value, dict):
        return [f"{path}.{key}" for key, one in value.items() if type(key) is not str or type(one) is not str]
    return [] if type(value) is known else [path]


def objects(text: str) -> dict[str, Any]:
    """Parse a file, check its fields, and return its objects by kind and name."""
    found = list(yaml.safe_load_all(text))
    assert [wrong for one in found for wrong in wrong_fields(one, FIELDS[one["kind"]], one["kind"])] == []
    return {f"{one['kind']} {one['metadata']['name']}": one for one in found}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make settings files in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.toml").write_text('command = "pretrain"\ncorpus = "corpus"\nout = "out/run"\n')
    (tmp_path / "prepare.toml").write_text(
        'command = "prepare-corpus"\nfiles = ["a"]\ntokenizer = "t"\nout = "out/c"\n'
    )
    return tmp_path


def test_a_run_on_several_nodes() -> None:
    report = launch("kubernetes", "run.toml", nodes=3, gpus=8, cpus=64, memory=200, grace=200, kubernetes=NEEDED)
    found = objects(report.values["file"])
    assert set(found) == {"ConfigMap run", "Service run", "Job run"}
    assert tomllib.loads(found["ConfigMap run"]["data"]["config.toml"])["out"] == "out/run"
    job = found["Job run"]["spec"]
    pod, labels = job["template"]["spec"], job["template"]["metadata"]["labels"]
    assert (job["completions"], job["parallelism"], job["completionMode"]) == (3, 3, "Indexed")
    assert pod["subdomain"] == "run"
    assert found["Service run"]["spec"]["selector"].items() <= labels.items()
    assert found["Service run"]["spec"]["clusterIP"] == "None"  # the text, not YAML's null
    assert pod["terminationGracePeriodSeconds"] > 200
    container = pod["containers"][0]
    assert {"name": "TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "value": "200"} in container["env"]
    assert container["resources"]["limits"] == {"memory": "200Gi", "nvidia.com/gpu": "8"}
    assert "--rdzv-endpoint=run-0.run:29400" in container["command"]
    place = container["command"].index("-m")
    assert container["command"][place:] == [
        *("-m", "bertie", "run", "/etc/bertie/config.toml", "--out", "out/run", "--resume")
    ]
    mounted = {one["name"] for one in container["volumeMounts"]}
    assert mounted == {one["name"] for one in pod["volumes"]}


def test_slices_and_the_job_that_joins_them() -> None:
    kubernetes = {**NEEDED, "parallelism": 4, "namespace": "team"}
    report = launch("kubernetes", "prepare.toml", slices=7, kubernetes=kubernetes)
    found = objects(report.values["file"])
    job, seal = found["Job c"]["spec"], found["Job c-seal"]["spec"]
    assert (job["completions"], job["parallelism"]) == (7, 4)
    words = "bertie run /etc/bertie/config.toml --out out/c --runner slice --index $(JOB_COMPLETION_INDEX) --of 7"
    assert job["template"]["spec"]["containers"][0]["command"] == words.split()
    assert seal["suspend"] is True
    assert seal["template"]["spec"]["containers"][0]["command"] == ["bertie", "seal", "out/c"]
    assert {one["metadata"]["namespace"] for one in found.values()} == {"team"}
    assert "kubectl wait --namespace team --for=condition=complete" in report.values["file"]


def test_hostile_values_stay_values(folder: Path) -> None:
    text = f"command = 'pretrain'\nout = {json.dumps(HOSTILE, ensure_ascii=False)}\n"
    text += 'corpus = "a\\u2028b\\u0085c\\td"\n'
    (folder / "hostile.toml").write_text(text, encoding="utf-8")
    kubernetes = {"image": HOSTILE, "claim": HOSTILE, "mount": "/a b #c"}
    report = launch("kubernetes", "hostile.toml", ("--task", HOSTILE), name="x", kubernetes=kubernetes)
    found = objects(report.values["file"])
    assert tomllib.loads(found["ConfigMap x"]["data"]["config.toml"]) == tomllib.loads(text)
    container = found["Job x"]["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == HOSTILE
    escaped = HOSTILE.replace("$", "$$")
    assert container["command"][-5:] == ["--out", escaped, "--task", escaped, "--resume"]


@pytest.mark.parametrize(
    "text", ["yes", "No", "null", "~", "1", "1e3", "0x1", "", " a", "a: b", "- a", "a #b", "a\x7f"]
)
def test_texts_stay_texts_in_yaml(text: str) -> None:
    assert yaml.safe_load("\n".join(_yaml({"a": [text, {"b": text}], "c": text}, 0))) == {
        "a": [text, {"b": text}],
        "c": text,
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kubernetes": {"claim": "x"}}, "--kubernetes.image is missing"),
        ({"kubernetes": {"image": "x"}}, "--kubernetes.claim is missing"),
        ({"name": "A b"}, "choose another --name"),
        ({"name": "x" * 41}, "choose another --name"),
        ({"kubernetes": {**NEEDED, "namespace": "a; rm"}}, "other characters"),
        ({"kubernetes": {**NEEDED, "mount": "data"}}, "no absolute path"),
        ({"kubernetes": {**NEEDED, "mount": "/dev/shm/"}}, "has already"),
        ({"kubernetes": {**NEEDED, "image": "a\nb"}}, "U\\+000A"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        launch("kubernetes", "run.toml", **{"kubernetes": NEEDED, **settings})


def test_the_command_line_and_its_json(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["launch", "kubernetes", "run.toml", "--kubernetes.image", "i", "--kubernetes.claim", "c"]
    assert cli.main([*words, "--json", "--", "--steps", "5"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["command"] == "pretrain"
    assert "--steps" in objects(values["file"])["Job run"]["spec"]["template"]["spec"]["containers"][0]["command"]
    assert cli.main(words) == 0
    assert set(objects(capsys.readouterr().out)) == {"ConfigMap run", "Service run", "Job run"}


def test_a_long_or_odd_output_still_gives_a_name() -> None:
    for out in ("out/" + "x1-" * 60, "out/123", "out/文", "/", "9" * 50):
        found = objects(launch("kubernetes", "run.toml", out=out, kubernetes=NEEDED).values["file"])
        assert len(found) == 3
