"""Keep a ledger of fine-tuning runs with their scores, and draw the tables of results.md from it.

    python docs/results.py add out/sst2-1 --name sst2      write a small JSON into docs/results/ for a finished run
    python docs/results.py add peers.json                  add the output of benchmarks/finetune_peers.py
    python docs/results.py draw                            draw the tables of docs/measured/results.md

A run's settings come from its run.json, with paths reduced to file names. Its name is that of a file in
bertie/recipes. Settings that differ from this file are listed in the entry and in the table. A run replaces an older
one with the same settings and seed.
"""

import argparse
import hashlib
import json
import math
import subprocess
import sys
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from benchmarks.page import filled
from bertie.reports.machine import these_versions, this_machine

DOCS = Path(__file__).parent
LEDGER = DOCS / "results"
PAGE = DOCS / "measured" / "results.md"
CONFIGS = DOCS.parent / "bertie" / "recipes" / "finetune"
SCRIPT = "docs/results.py"
OURS = "bertie"
TARGETS_OF = "minilm"
# Settings that are paths, and settings that may differ between two runs of one row.
_PATHS = ("model", "tokenizer", "train", "dev", "out")
_FREE = {"model", "out", "seed", "threads", "device", "precision", "resume", "training.keep"}


@dataclass(frozen=True)
class Row:
    """A row of the table: a data set and its scores."""

    title: str
    score: str
    """The official score."""
    others: tuple[str, ...] = ()
    target: float | None = None
    """The target for the encoder `TARGETS_OF`."""
    peer: float | None = None
    """The score of a plain transformers loop with that encoder on the same files, one seed."""


ROWS = {
    "sst2": Row("SST-2 dev, accuracy", "accuracy", target=91.0, peer=90.25),
    "cola": Row("CoLA dev, Matthews", "matthews", ("accuracy",), target=31.0, peer=28.8),
    "mrpc": Row("MRPC dev, accuracy", "accuracy", ("macro_f1",), target=81.0, peer=79.6),
    "rte": Row("RTE dev, accuracy", "accuracy", peer=55.2),
    "stsb": Row("STS-B dev, Spearman", "spearman", ("pearson",), target=86.5, peer=85.65),
    "stsb-cosine": Row("STS-B dev, Spearman, by two vectors", "spearman", ("pearson",), target=86.5),
    "lingnli": Row("LingNLI dev, accuracy", "accuracy", ("macro_f1",)),
    "imdb-truncate": Row("IMDB test, accuracy, cut at 256 tokens", "accuracy"),
    "imdb-window": Row("IMDB test, accuracy, windows of 256", "accuracy"),
    "conll2003": Row("CoNLL-2003 test, span F1", "f1", ("precision", "recall"), target=87.5, peer=86.7),
    "squad1.1": Row("SQuAD 1.1 part, exact match", "exact_match", ("f1",)),
    "squad2.0": Row("SQuAD 2.0 part, exact match", "exact_match", ("f1", "has_answer_f1", "no_answer_f1")),
    "chnsenticorp": Row("ChnSentiCorp dev, accuracy", "accuracy"),
    "tnews": Row("TNEWS dev, accuracy", "accuracy", ("macro_f1",)),
    "afqmc": Row("AFQMC dev, accuracy", "accuracy"),
    "ocnli": Row("OCNLI dev, accuracy", "accuracy"),
    "cluener": Row("CLUENER dev, span F1", "f1", ("precision", "recall")),
    "cmrc2018": Row("CMRC 2018 trial, exact match", "exact_match", ("f1",)),
    "wiki-title": Row("Wikipedia, paragraph to title, chrF", "chrf", ("exact_match",)),
    "wiki-next": Row("Wikipedia, paragraph to next sentence, chrF", "chrf"),
}


def entry_of_run(folder: Path, name: str) -> dict[str, Any]:
    """Describe a finished run.

    Raises:
        SystemExit: the run isn't finished, or has no scores.
    """
    try:
        file = folder / "run.json"
        record = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        sys.exit(f"{folder} is not a run: {error.strerror}: {error.filename}")
    values = record.get("values", {})
    if not values.get("scores"):
        sys.exit(f"{folder} has no scores: the run isn't finished, or had no dev data")
    settings = {key: _without_path(key, value) for key, value in record["settings"].items()}
    changed = _changed(name, settings)
    flags = [_flag(key, value) for key, value in changed.items() if value is not None]
    model = settings.get("model")
    start = [_flag("model", model)]
    if model is None:
        model = f"random {settings['model.size']}"
        start = [_flag(key, value) for key, value in settings.items() if _is_of_random(key)]
    command = ["bertie run", name, *start, f"--seed {settings.get('seed')}", *flags]
    return {
        "name": name,
        "by": OURS,
        "model": model,
        "seed": settings.get("seed"),
        "scores": values["scores"],
        "minutes": round(values["seconds"] / 60, 2),
        "date": time.strftime("%Y-%m-%d", time.gmtime(file.stat().st_mtime)),
        "command": " ".join(command),
        "changed": changed,
        "settings": settings,
        "figures": {key: value for key, value in values.items() if key not in ("scores", "folder", "seconds")},
        "data": record["data"][:16],
        "commit": _commit(),
        "machine": {**this_machine(), "precision": settings.get("precision")},
        "versions": {**these_versions(), "torch": record["torch"]},
    }


def _without_path(key: str, value: Any) -> Any:
    """Reduce a path to its last part, or RUN/model to RUN; a hub id, such as owner/name, stays."""
    if key not in _PATHS:
        return value
    path = Path(value)
    if not (path.is_absolute() or value.startswith(("~", ".")) or path.exists()):
        return value
    return path.parent.name if key == "model" and path.name == "model" else path.name


def _flag(key: str, value: Any) -> str:
    """Return a setting as a flag of the command line."""
    return f"--{key.replace('_', '-')} {value}"


def _is_of_random(key: str) -> bool:
    """Tell whether a setting describes a model with random weights."""
    return key.startswith("model.") or key == "tokenizer"


def _changed(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run's settings that differ from the data set's file; None for a setting that the run lacks."""
    file = CONFIGS / f"{name}.toml"
    if not file.exists():
        sys.exit(f"bertie/recipes/finetune has no {file.name}; give one of {', '.join(sorted(ROWS))}")
    fixed = _flat(tomllib.loads(file.read_text(encoding="utf-8")))
    del fixed["command"]
    fixed |= {split: Path(fixed[split]).name for split in ("train", "dev")}
    keys = [key for key in {**fixed, **settings} if key not in _FREE and not _is_of_random(key)]
    usual = _defaults()
    return {
        key: settings.get(key) for key in keys if settings.get(key) != (fixed[key] if key in fixed else usual.get(key))
    }


def _defaults() -> dict[str, Any]:
    """Return the default settings of `bertie finetune`."""
    from bertie import config
    from bertie.commands.finetune import finetune

    parameters = config.signature(finetune).items()
    defaults = {name: config.plain(part.default) for name, part in parameters if part.default is not part.empty}
    return _flat(defaults)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        elif value is not None:
            flat[prefix + key] = value
    return flat


def _commit() -> str:
    """Return the repository's current commit, with a + if tracked files differ from it."""
    words = ["git", "-C", str(DOCS), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def write_entry(entry: Mapping[str, Any], ledger: Path) -> Path:
    """Write one file of the ledger; its name depends on data set, program, model, seed and settings."""
    changed = {key: value for key, value in entry.get("changed", {}).items() if value is not None}
    settings = {key: value for key, value in {**entry["settings"], **changed}.items() if key not in _FREE}
    identity = [entry["name"], entry["by"], entry["model"], entry["seed"], settings]
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
    by = "" if entry["by"] == OURS else f"{entry['by'].split()[0]}-"
    path = ledger / f"{entry['name']}-{by}{entry['seed']}-{digest}.json"
    ledger.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(entry, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_ledger(ledger: Path) -> list[dict[str, Any]]:
    """Read all entries, in the order of names and seeds."""
    entries = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(ledger.glob("*.json"))]
    return sorted(entries, key=lambda entry: (entry["name"], entry["by"], entry["seed"]))


def tables(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return both tables: all data sets, and those that a plain transformers loop learned with the same settings."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for entry in entries:
        changed = json.dumps(entry.get("changed", {}))
        # Runs with different data are different rows, even if the names of their files are the same.
        groups[(entry["name"], entry["by"], str(entry["model"]), changed, entry.get("data", ""))].append(entry)
    order = list(ROWS)
    ordered = sorted(groups.items(), key=lambda group: (order.index(group[0][0]), *group[0][1:]))
    ours = [(key, runs) for key, runs in ordered if key[1] == OURS]
    if not ours:
        return "No run has been added yet."
    lines = [
        "| data and score | encoder | mean ± deviation | seeds | minutes | target | plain loop | other scores |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_line(ROWS[name], model, json.loads(changed), runs) for (name, _, model, changed, _), runs in ours),
    ]
    peers = {(key[0], *key[2:4]): runs for key, runs in ordered if key[1] != OURS}
    pairs = [(key, runs) for key, runs in ours if (key[0], *key[2:4]) in peers]
    if pairs:
        lines += [
            "",
            "The same settings in a plain transformers loop (`benchmarks/finetune_peers.py`); errors are standard",
            "errors of the difference of both means:",
            "",
            "| data and score | bertie | transformers | difference | runs | minutes |",
            "| --- | --- | --- | --- | --- | --- |",
            *(_beside(ROWS[key[0]], json.loads(key[3]), runs, peers[(key[0], *key[2:4])]) for key, runs in pairs),
        ]
    return "\n".join(lines)


def _line(row: Row, model: str, changed: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    others = "; ".join(f"{name.replace('_', ' ')} {_spread(_scores(runs, name))}" for name in row.others)
    cells = [
        _titled(row, changed),
        model,
        _spread(_scores(runs, row.score)),
        ", ".join(str(run["seed"]) for run in runs),
        f"{mean(run['minutes'] for run in runs):.1f}",
        "" if row.target is None or model != TARGETS_OF else f"{row.target:g}",
        "" if row.peer is None or model != TARGETS_OF else f"{row.peer:g}",
        others,
    ]
    return f"| {' | '.join(cells)} |"


def _titled(row: Row, changed: Mapping[str, Any]) -> str:
    return row.title + "".join(f", {key} {value}" for key, value in changed.items())


def _beside(
    row: Row, changed: Mapping[str, Any], ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]
) -> str:
    a, b = _scores(ours, row.score), _scores(theirs, row.score)
    error = math.hypot(*(stdev(part) / math.sqrt(len(part)) for part in (a, b) if len(part) > 1))
    minutes = [f"{mean(run['minutes'] for run in runs):.1f}" for runs in (ours, theirs)]
    difference = mean(a) - mean(b)
    distance = f"{difference:+.2f}" + (f", {difference / error:+.1f} errors" if error else "")
    counts = f"{len(a)} and {len(b)}"
    return (
        f"| {_titled(row, changed)} | {_spread(a)} | {_spread(b)} | {distance} | {counts} | {' and '.join(minutes)} |"
    )


def _scores(runs: Iterable[Mapping[str, Any]], name: str) -> list[float]:
    return [100 * run["scores"][name] for run in runs if name in run["scores"]]


def _spread(scores: Sequence[float]) -> str:
    if not scores:
        return "–"
    if len(scores) == 1:
        return f"{scores[0]:.2f} (one run)"
    return f"{mean(scores):.2f} ± {stdev(scores):.2f}"


def drawn(page: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """Return the page with its current tables.

    Raises:
        SystemExit: the page has no markers.
    """
    return filled(page, tables(entries), SCRIPT, PAGE.name)


def main(words: Sequence[str] | None = None) -> None:
    """Add runs to the ledger, or draw the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    adding = commands.add_parser("add", help="add a run folder, or a file that finetune_peers.py printed")
    adding.add_argument("path", type=Path)
    adding.add_argument("--name", choices=sorted(ROWS), help="data set of a run folder; a peer's file names its own")
    commands.add_parser("draw", help="draw the tables of results.md")
    options = parser.parse_args(words)
    if options.command == "draw":
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(drawn(page, read_ledger(LEDGER)), encoding="utf-8")
        return
    if options.path.is_dir():
        if options.name is None:
            sys.exit("a run folder needs --name NAME, the name of its data set")
        entries = [entry_of_run(options.path, options.name)]
    else:
        entries = json.loads(options.path.read_text(encoding="utf-8"))
    for entry in entries:
        print(write_entry(entry, LEDGER).relative_to(DOCS.parent))


if __name__ == "__main__":
    main()
