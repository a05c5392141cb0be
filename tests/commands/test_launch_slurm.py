"""`bertie launch slurm`: sbatch and bash read the files rightly, and they run, with stand-ins for Slurm's programs."""

import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

import bertie
from bertie.commands._slurm_file import quoted, seconds
from bertie.errors import SettingsError

launch: Any = bertie.launch
HOSTILE = """a "b" 'c' $(touch hacked) `touch hacked` \\ # ; & | ${HOME} %j é 文"""
RECORD = """#!/bin/bash
printf '%s\\0' "$(basename "$0")" "$@" END >> "$RECORDS"
"""
# It runs the command, and remembers its process for the scancel below, as Slurm does for a job's processes.
SRUN = """while [[ $1 == -* ]]; do shift; done
"$@" &
echo $! > "$RECORDS.pid"
wait $!
"""
# It runs until TERM, and then saves, for a while.
TORCHRUN = """trap 'sleep 0.3; echo saved > "$RECORDS.saved"; exit 1' TERM
echo started > "$RECORDS.started"
while [ "${TORCHRUN_ENDS:-}" = "" ]; do sleep 0.05; done
exit "$TORCHRUN_ENDS"
"""
PROGRAMS = {
    "srun": SRUN,
    "torchrun": TORCHRUN,
    "scontrol": "if [ $1 = show ]; then printf 'node7\\nnode8\\n'; fi",
    "scancel": 'kill -TERM "$(cat "$RECORDS.pid")"',
    "bertie": "exit 0",
    "sbatch": 'cat > "$RECORDS.script-$(ls "$RECORDS".script-* 2>/dev/null | wc -l)"; echo "42;cluster"',
}


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put programs that record their arguments on the PATH, and return the folder to work in."""
    programs, work = tmp_path / "programs", tmp_path / "work"
    programs.mkdir()
    work.mkdir()
    for name, rest in PROGRAMS.items():
        (programs / name).write_text(RECORD + rest + "\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("RECORDS", str(tmp_path / "records"))
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[7-8]")
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    monkeypatch.chdir(work)
    (work / "run.toml").write_text('command = "pretrain"\ncorpus = "corpus"\nout = "out/run"\n')
    (work / "prepare.toml").write_text('command = "prepare-corpus"\nfiles = ["a"]\ntokenizer = "t"\nout = "out/c"\n')
    return work


def records(work: Path) -> list[list[str]]:
    """Return the command lines that the programs recorded."""
    words = (work.parent / "records").read_text().split("\0END\0")
    return [line.split("\0") for line in words if line]


def printed(*words: Any, **settings: Any) -> str:
    """Return the job file."""
    text = launch(*words, **settings).values["file"]
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    if checker := shutil.which("shellcheck"):
        done = subprocess.run([checker, "-e", "SC1091", "-"], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
    assert isinstance(text, str)
    return text


def options_of(script: str) -> dict[str, str]:
    """Read the lines of #SBATCH as sbatch does: a backslash escapes anywhere, and # outside of quotes ends the line."""
    found = {}
    for line in script.split("\n"):
        if not line.startswith("#"):
            break
        if not line.startswith("#SBATCH"):
            continue
        word, quote, escaped = "", "", False
        for character in line.removeprefix("#SBATCH").strip():
            if escaped:
                word, escaped = word + character, False
            elif character == "\\":
                escaped = True
            elif quote and character == quote:
                quote = ""
            elif not quote and character in "\"'":
                quote = character
            elif not quote and (character == "#" or character.isspace()):
                pytest.fail(f"sbatch reads more than one word in {line}")
            else:
                word += character
        assert not quote and not escaped
        name, _, value = word.partition("=")
        found[name] = value
    return found


def start(text: str) -> subprocess.Popen[str]:
    """Start a batch script as Slurm does."""
    Path("job.sh").write_text(text)
    return subprocess.Popen(["bash", "job.sh"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a file exists; the process must not end before."""
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def test_the_options_and_the_command_of_a_run(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHRUN_ENDS", "0")
    slurm = {"partition": "gpu", "time": "2-0", "logs": "."}
    text = printed("slurm", "run.toml", nodes=2, gpus=4, cpus=16, memory=64, grace=120, slurm=slurm)
    options = options_of(text)
    assert options.items() >= {
        ("--nodes", "2"),
        ("--ntasks-per-node", "1"),
        ("--gpus-per-node", "4"),
        ("--cpus-per-task", "16"),
        ("--mem", "64G"),
        ("--time", "2-0"),
        ("--signal", "B:USR1@120"),
        ("--requeue", ""),
        ("--open-mode", "append"),
        ("--output", "./%x-%j.out"),
        ("--partition", "gpu"),
        ("--job-name", "run"),
    }
    process = start(text)
    process.communicate()
    assert process.returncode == 0
    lines = {line[0]: line[1:] for line in records(cluster)}
    assert lines["scontrol"] == ["show", "hostnames", "node[7-8]"]
    assert lines["srun"][:3] == ["--kill-on-bad-exit=0", "--wait=120", "--cpus-per-task=16"]
    torchrun = lines["torchrun"]
    assert {"--nnodes=2", "--nproc-per-node=4", "--rdzv-endpoint=node7:29400", "--rdzv-id=77"} <= set(torchrun)
    assert torchrun[torchrun.index("-m") :] == ["-m", "bertie", "run", "run.toml", "--out", "out/run", "--resume"]


def test_torchrun_knows_the_options(cluster: Path) -> None:
    run = pytest.importorskip("torch.distributed.run")
    text = printed("slurm", "run.toml", nodes=2)
    line = text[text.index("torchrun --nnodes") : text.index(" &\nstep=")].replace("\\\n", " ")
    words = shlex.split(line)[1:]
    parsed = run.parse_args(words)
    assert (parsed.nnodes, parsed.module, parsed.training_script) == ("2", True, "bertie")
    assert parsed.training_script_args == ["run", "run.toml", "--out", "out/run", "--resume"]


@pytest.mark.parametrize(("restarts", "is_queued"), [("", True), ("1", True), ("2", False)])
def test_the_signal_saves_and_queues_again(
    cluster: Path, monkeypatch: pytest.MonkeyPatch, restarts: str, is_queued: bool
) -> None:
    if restarts:
        monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    process = start(printed("slurm", "run.toml", slurm={"requeues": 2}))
    wait_for(cluster.parent / "records.started", process)
    process.send_signal(signal.SIGUSR1)
    _, errors = process.communicate()
    assert process.returncode == 1
    assert (cluster.parent / "records.saved").exists()
    assert ["scancel", "--signal=TERM", "77"] in records(cluster)
    assert (["scontrol", "requeue", "77"] in records(cluster)) == is_queued
    assert ("submit it again" in errors) == (not is_queued)


def test_a_cancelled_job_saves_and_is_not_queued_again(cluster: Path) -> None:
    process = start(printed("slurm", "run.toml"))
    wait_for(cluster.parent / "records.started", process)
    process.terminate()
    wait_for(cluster.parent / "records.pid", process)
    os.kill(int((cluster.parent / "records.pid").read_text()), signal.SIGTERM)  # Slurm signals the processes too
    process.communicate()
    assert process.returncode == 1
    assert (cluster.parent / "records.saved").exists()
    assert not [line for line in records(cluster) if line[:2] == ["scontrol", "requeue"]]


def test_a_failed_run_is_not_queued_again(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHRUN_ENDS", "3")
    process = start(printed("slurm", "run.toml"))
    process.communicate()
    assert process.returncode == 3
    assert not [line for line in records(cluster) if line[:2] == ["scontrol", "requeue"]]


def test_slices_and_the_job_that_joins_them(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = start(printed("slurm", "prepare.toml", slices=7))
    process.communicate()
    assert process.returncode == 0
    assert records(cluster) == [["sbatch", "--parsable"], ["sbatch", "--dependency=afterany:42"]]
    array, seal = ((cluster.parent / f"records.script-{number}").read_text() for number in (0, 1))
    assert options_of(array)["--array"] == "0-6"
    assert "--array" not in options_of(seal)
    (cluster.parent / "records").unlink()
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    for script in (array, seal):
        process = start(script)
        process.communicate()
        assert process.returncode == 0
    making, joining = records(cluster)
    assert making == shlex.split("bertie run prepare.toml --out out/c --runner slice --index 3 --of 7")
    assert joining == ["bertie", "seal", "out/c"]


def test_hostile_values_stay_values(cluster: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHRUN_ENDS", "0")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")
    name, environment = HOSTILE, cluster / "it's $(touch hacked)"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "activate").write_text('echo active > "$RECORDS.active"\n')
    slurm = dict.fromkeys(("partition", "account", "qos", "constraint"), HOSTILE)
    slurm |= {"environment": str(environment), "logs": "50%j 'of' it"}
    cases: list[tuple[str, dict[str, Any]]] = [("run.toml", {}), ("prepare.toml", {"slices": 2})]
    for file, more in cases:
        hostile = f"{HOSTILE} INDEX HEAD.toml"
        Path(hostile).write_text(Path(file).read_text())
        out = f"{HOSTILE} {file}"
        text = printed("slurm", hostile, ("--language", HOSTILE), out=out, name=name, slurm=slurm, **more)
        process = start(text)
        process.communicate()
        assert process.returncode == 0
        script = text
        if more:
            script = (cluster.parent / "records.script-0").read_text()
            process = start(script)
            process.communicate()
        options = options_of(script)
        assert [options[f"--{key}"] for key in ("job-name", "partition", "account", "qos", "constraint")] == [name] * 5
        assert options["--output"].startswith("50%%j 'of' it/%x-")
        last = records(cluster)[-1]
        assert last[last.index("run") + 1 :][:5] == [hostile, "--out", out, "--language", HOSTILE]
    assert (cluster.parent / "records.active").exists()
    assert not Path("hacked").exists()


@pytest.mark.parametrize("bad", ["a\nscancel x", "a\r", "a\u2028b", "a\x85", "\x1b[31m", "a\u202eb", "a\0"])
def test_values_of_several_lines_are_refused(cluster: Path, bad: str) -> None:
    for settings in ({"name": bad}, {"out": bad}, {"flags": (bad,)}, {"slurm": {"partition": bad}}):
        with pytest.raises(SettingsError, match=r"U\+00|U\+20"):
            launch("slurm", "run.toml", **settings)
    with pytest.raises(SettingsError, match=r"U\+00|U\+20"):
        launch("slurm", "run.toml", slurm={"modules": ["cuda", bad]})


@pytest.mark.parametrize(
    ("file", "settings", "message"),
    [
        ("run.toml", {"nodes": 0}, "--nodes is 0"),
        ("run.toml", {"slices": 3}, "--slices has no effect"),
        ("prepare.toml", {}, "by --slices"),
        ("prepare.toml", {"slices": 2, "nodes": 2}, "--nodes has no effect"),
        ("run.toml", {"slurm": {"time": "5"}}, "not longer than --grace"),
        ("run.toml", {"slurm": {"time": "1 day"}}, "no time limit"),
        ("run.toml", {"grace": 5}, "give 60 or more"),
        ("run.toml", {"port": 80}, "1024 to 65535"),
        ("run.toml", {"flags": ("--resume",)}, "leave it out"),
        ("run.toml", {"flags": ("--out=x",)}, "give it before"),
        ("run.toml", {"slurm": {"logs": "a\\b"}}, "backslash"),
        ("show.toml", {}, "show can't be launched"),
        ("wrong.toml", {}, "unknown key 'stepps'"),
        ("nothing.toml", {}, "no such file"),
        ("outless.toml", {}, "give --out"),
    ],
)
def test_wrong_settings(cluster: Path, file: str, settings: dict[str, Any], message: str) -> None:
    Path("show.toml").write_text('command = "show"\npath = "x"\n')
    Path("wrong.toml").write_text('command = "pretrain"\nstepps = 3\n')
    Path("outless.toml").write_text('command = "pretrain"\ncorpus = "c"\n')
    with pytest.raises(SettingsError, match=message):
        launch("slurm", file, **settings)


def test_the_quotes_of_sbatch_and_its_times() -> None:
    for value in (HOSTILE, "", " ", "\\", '"', "'", "#"):
        assert options_of(f"#SBATCH --x={quoted(value)}\n") == {"--x": value}
    times = {"90": 5400, "90:30": 5430, "1:00:00": 3600, "1-0": 86400, "1-12:30": 131400, "0-0:0:5": 5}
    assert {time: seconds(time) for time in times} == times
