"""Describe runs for `show`: one run, the runs of several seeds, and a checkpoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertie import config
from bertie.commands._integrity import DAMAGED as CHANGED
from bertie.commands._integrity import WHOLE, run_files
from bertie.commands._seeds import folder_of
from bertie.commands._shown import DAMAGED, Description, integrity, quoted, scores_in_words, size
from bertie.commands.command import Report
from bertie.errors import DataError
from bertie.files.checksums import has_own_sum
from bertie.files.lock import is_held
from bertie.untrusted import check_regular, parse_object, read_object, read_text

_FINETUNE = "bertie finetune {model} --task classification --train TABLE --dev TABLE --out OUT"
_LONG = ("optimizer", "schedule", "training", "lora", "distill", "resume", "out", "freeze_cache", "dev_tokens")
"""Settings that only ``--json`` and config.toml show."""


def describe_run(folder: Path) -> Report:
    """Describe a run: finished, running, or stopped."""
    settings = config.read(folder)
    command = settings.pop("command", None)
    if isinstance(settings.get("seeds"), list) and settings["seeds"] and not (folder / "run.json").exists():
        return _describe_seeds(folder, str(command), settings)
    record = _record(folder)
    latest, num_lines = _latest_metrics(folder / "metrics.jsonl")
    state = state_of(folder)
    results = record["values"] if isinstance(record.get("values"), dict) else {}
    remarks = results.get("remarks")
    values: dict[str, Any] = {
        "kind": "run",
        "path": str(folder),
        "command": command,
        "state": state,
        "checkpoints": sorted(entry.name for entry in _entries(folder / "checkpoints")),
        "logged_lines": num_lines,
        **{f"last_{kind}": line for kind, line in latest.items()},
        **({"results": results} if results else {}),
        **({"torch": record["torch"]} if "torch" in record else {}),
        "settings": settings,
    }
    values["files"], is_whole = run_files(folder)
    facts = {
        "made by": _made_by(folder, record),
        "state": _progress(folder, state, values, settings),
        **_inputs(settings),
        "scores": scores_in_words(results.get("scores", {})) if isinstance(results.get("scores"), dict) else "",
        "last measured": "" if "scores" in results else _last(latest.get("dev", {})),
        "remarks": "; ".join(map(str, remarks)) if isinstance(remarks, list) else "",
        "files": integrity(values["files"]),
        "settings changed": values["files"].get("settings_changed"),
        "all settings": str(folder / "config.toml"),
    }
    return Description(
        title=f"{folder}: a run of {command}, {state}",
        values=values,
        facts=facts,
        next_command=_next(folder, str(command), state, results),
        exit_code=0 if is_whole else DAMAGED,
    )


def state_of(folder: Path) -> str:
    """Return whether a run is finished, running (a process holds its lock), or unfinished."""
    if finished(folder):
        return "finished"
    return "running" if is_held(folder / ".lock") else "unfinished"


def finished(folder: Path) -> bool:
    """Check whether a run is finished: it writes its figures last."""
    return "values" in _record(folder)


def _record(folder: Path) -> dict[str, Any]:
    file = folder / "run.json"
    values = read_object(file) if file.exists() else {}
    if not has_own_sum(values):
        raise DataError(f"{file} is damaged: it has changed since it was written")
    return values


def _made_by(folder: Path, record: Mapping[str, Any]) -> str:
    """Return the version that wrote config.toml, and that of torch."""
    first = read_text(folder / "config.toml").partition("\n")[0]
    version = first.removeprefix("# ").partition(";")[0] if first.startswith("# bertie ") else ""
    return ", ".join(filter(None, (version, f"torch {record['torch']}" if "torch" in record else "")))


def _inputs(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that tell runs apart."""
    shown = {name: value for name, value in settings.items() if name not in _LONG and not isinstance(value, dict)}
    model = settings.get("model")
    if isinstance(model, dict) and model.get("size"):
        shown["model"] = f"{model.get('architecture', 'bert')} {model['size']}"
    return {name.replace("_", " "): value for name, value in shown.items()}


def _progress(folder: Path, state: str, values: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    if state == "finished":
        results = values.get("results", {})
        seconds = results.get("seconds")
        took = f" in {seconds:,.0f} seconds" if isinstance(seconds, int | float) else ""
        return f"finished after {results.get('steps', '?')} steps{took}"
    last = values.get("last_train", {})
    holder = ""
    if state == "running":
        holder = f" (process {(folder / '.lock').read_text(encoding='utf-8', errors='replace').strip()[:20]})"
    saved = values["checkpoints"]
    kept = f"; the newest checkpoint is {saved[-1]}" if saved else "; without a checkpoint it begins again"
    return f"{state}{holder} at step {last.get('step', 0)}{_goal(last, settings)}{kept}"


def _goal(last: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Return the length of a run, as it was given; tokens with those that are done."""
    if "steps" in settings:
        return f" of {settings['steps']} steps"
    if isinstance(tokens := settings.get("tokens"), int) and isinstance(done := last.get("tokens", 0), int):
        return f", with {done:,} of {tokens:,} tokens"
    if "epochs" in settings:
        return f" of {settings['epochs']} epochs"
    return f" of a run of {settings['budget']}" if "budget" in settings else ""


def _last(line: Mapping[str, Any]) -> str:
    return scores_in_words({name: value for name, value in line.items() if name not in ("seconds", "tokens")})


def _next(folder: Path, command: str, state: str, results: Mapping[str, Any]) -> str | None:
    model = quoted(folder / "model")
    if state == "running":
        return f"tail -f {quoted(folder / 'metrics.jsonl')}"
    if state != "finished":
        return f"bertie run {quoted(folder / 'config.toml')} --resume"
    if not (folder / "model").is_dir():
        return None
    return f'bertie predict {model} "a text"' if command == "finetune" else _FINETUNE.format(model=model)


def _describe_seeds(folder: Path, command: str, settings: dict[str, Any]) -> Report:
    """Describe a folder that --seeds made: the state of each run and, when all are finished, their mean and spread."""
    runs = {seed: folder_of(folder, seed) for seed in settings["seeds"]}
    states = {seed: state_of(run) if run.is_dir() else "not begun" for seed, run in runs.items()}
    all_ended = set(states.values()) == {"finished"}
    files: dict[int, tuple[Any, bool]] = {seed: run_files(run) for seed, run in runs.items() if run.is_dir()}
    summary = read_object(folder / "seeds.json") if (folder / "seeds.json").is_file() else {}
    is_done = all_ended and summary.get("seeds") == settings["seeds"]
    over_seeds = {
        name: value for name, value in summary.items() if is_done and name in ("best", "typical", "over_seeds")
    }
    values = {
        "kind": "runs of several seeds",
        "path": str(folder),
        "command": command,
        "state": "finished" if is_done else "running" if "running" in states.values() else "unfinished",
        "runs": [{"seed": seed, "state": state, "folder": str(runs[seed])} for seed, state in states.items()],
        **over_seeds,
        "settings": settings,
        "files": {f"seed-{seed}": found for seed, (found, _) in files.items()},
    }
    all_unchanged = all(is_whole for _, is_whole in files.values())
    model = quoted(Path(str(summary.get("best", folder_of(folder, settings["seeds"][0]) / "model"))))
    next_command = f'bertie predict {model} "a text"' if command == "finetune" else _FINETUNE.format(model=model)
    if not is_done:
        next_command = f"bertie run {quoted(folder / 'config.toml')} --resume"
    changed = [f"seed-{seed}: {integrity(found)}" for seed, (found, is_whole) in files.items() if not is_whole]
    return Description(
        title=f"{folder}: {len(runs)} runs of {command} with different seeds, {values['state']}",
        values=values,
        facts={
            **_inputs(settings),
            **over_seeds,
            "files": f"{CHANGED}: {'; '.join(changed)}" if changed else WHOLE,
            "runs": values["runs"],
        },
        next_command=next_command,
        exit_code=0 if all_unchanged else DAMAGED,
    )


def describe_checkpoint(folder: Path) -> Report:
    """Describe a checkpoint of a run, and compare its files with its manifest."""
    from bertie.training import checkpoint_files

    step, run = checkpoint_files.step_of(folder), folder.absolute().parent.parent
    files: dict[str, Any] = {"state": WHOLE}
    try:
        checkpoint_files.facts(folder)
    except DataError as error:
        files = {"state": CHANGED, "changed": [str(error)]}
    values: dict[str, Any] = {
        "kind": "checkpoint",
        "path": str(folder),
        "step": step,
        "bytes": sum(file.stat().st_size for file in folder.iterdir()),
        "run": str(run) if (run / "config.toml").is_file() else None,
        "files": files,
    }
    return Description(
        title=f"{folder}: a checkpoint of a run, after {step:,} steps",
        values=values,
        facts={
            "holds": "weights, the optimizer's state and the place in the data; no model that predict reads",
            "size": size(values["bytes"]),
            "run": values["run"],
            "files": integrity(files),
        },
        next_command=f"bertie run {quoted(run / 'config.toml')} --resume" if values["run"] else None,
        exit_code=0 if files["state"] == WHOLE else DAMAGED,
    )


def _latest_metrics(file: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """Return the last line of each kind in a journal, without its kind, and the number of lines."""
    latest: dict[str, dict[str, Any]] = {}
    number = 0
    if not file.exists():
        return latest, number
    check_regular(file)
    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.endswith(b"\n"):
                number -= 1  # the run is still writing this line
                break
            entry = parse_object(line, f"{file}:{number}")
            latest[str(entry.pop("kind", "line"))] = entry
    return latest, number


def _entries(folder: Path) -> list[Path]:
    return [entry for entry in folder.iterdir() if not entry.name.startswith(".")] if folder.is_dir() else []
