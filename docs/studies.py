"""Keep the studies of pre-training: each compares runs that differ in one thing.

    python docs/studies.py run rates --corpus out/corpus --out out    make all runs, two at once, one thread each
    python docs/studies.py add learning "bertie, bf16" out/bf16       add one run to docs/studies/learning.json
    python docs/studies.py draw                                       draw docs/measured/studies.md and its pictures

A run is a folder with a metrics.jsonl, which `bertie pretrain` and `benchmarks/pretraining_peers.py` write. A new run
replaces an older one with the same label. `docs/study_plans.py` holds the question of each study.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.page import filled
from bertie.reports.chart import NUM_COLOURS, Series, lines
from bertie.reports.machine import these_versions, this_machine
from bertie.reports.style import LIGHT
from bertie.training.journal import read
from docs.study_plans import STUDIES, Study

DOCS = Path(__file__).parent
LEDGER, PAGE, IMAGES = DOCS / "studies", DOCS / "measured" / "studies.md", DOCS / "images"
SCRIPT = "docs/studies.py"
NUM_POINTS = 120
_TAIL = 0.1  # the loss of a run is the mean over this last share of it
_WIDTH, _HEIGHT, _ROW = 540, 252, 18
_STYLE = """
text{font:11px system-ui,"Segoe UI",Roboto,sans-serif;fill:#586274}.end{text-anchor:end}.mid{text-anchor:middle}
.grid{stroke:var(--grid);fill:none}.base{stroke:var(--line);fill:none;stroke-width:1.2}.name{font-size:12px;fill:var(--ink)}
.line{fill:none;stroke:var(--c);stroke-width:2;stroke-linejoin:round}.raw{fill:none;stroke:var(--c);opacity:.28}
circle{fill:var(--c)}.band{display:none}.swatch{fill:var(--c)}
"""


def entry(label: str, folder: Path) -> dict[str, Any]:
    """Describe a run.

    Raises:
        SystemExit: it has no metrics.jsonl with training steps.
    """
    records = read(folder / "metrics.jsonl")
    steps = [record for record in records if record["kind"] == "train"]
    if not steps:
        sys.exit(f"{folder} has no metrics.jsonl with training steps; give the folder of a run that trained")
    file = folder / "run.json"
    record = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    kept = {
        key: value
        for key, value in record.get("settings", {}).items()
        if key not in ("corpus", "dev", "out", "from_", "resume")
    }
    return {
        "label": label,
        "tokens": steps[-1]["tokens"],
        "minutes": round(steps[-1]["seconds"] / 60, 2),
        "loss": tail(steps, steps[-1]["tokens"]),
        "dev": last_dev(records),
        "yardsticks": {key: value for key, value in record.get("values", {}).items() if key.startswith("yardstick_")},
        "points": [[row["tokens"], row["seconds"], row["loss"]] for row in thinned(steps)],
        "settings": kept,
        "date": time.strftime("%Y-%m-%d", time.gmtime((folder / "metrics.jsonl").stat().st_mtime)),
        "machine": this_machine(),
        "versions": these_versions(),
    }


def last_dev(records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the figures of the last evaluation; empty without one."""
    last: Mapping[str, Any] = next((record for record in reversed(records) if record["kind"] == "dev"), {})
    return {key: value for key, value in last.items() if isinstance(value, float) and key != "seconds"}


def thinned(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
    """Return means over neighbouring records, at most `NUM_POINTS` of them."""
    count = min(NUM_POINTS, len(steps))
    edges = [len(steps) * number // count for number in range(count + 1)]
    parts = [steps[start:end] for start, end in pairwise(edges)]
    digits = {"tokens": 0, "seconds": 1, "loss": 4}
    return [{key: round(mean(row[key] for row in part), places) for key, places in digits.items()} for part in parts]


def tail(steps: Sequence[Mapping[str, Any]], tokens: float) -> float:
    """Return the mean loss over the last tenth of the first `tokens`; without a record there, that of the next one."""
    weighted = [
        (float(row["loss"]), row["tokens"] - before["tokens"])
        for before, row in pairwise([{"tokens": 0}, *steps])
        if tokens * (1 - _TAIL) < row["tokens"] <= tokens
    ]
    if not weighted:
        return float(round(next(float(row["loss"]) for row in steps if row["tokens"] > tokens), 4))
    total = sum(loss * weight for loss, weight in weighted)
    return float(round(total / sum(weight for _, weight in weighted), 4))


def add(name: str, label: str, folder: Path) -> Path:
    """Add a run to a study's file, and return the file."""
    LEDGER.mkdir(exist_ok=True)
    path = LEDGER / f"{name}.json"
    runs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    runs = [run for run in runs if run["label"] != label] + [entry(label, folder)]
    path.write_text(json.dumps(runs, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def planned(name: str) -> dict[str, str]:
    """Return the runs of a study: label -> flags.

    Raises:
        SystemExit: its runs are added one by one, or it repeats the best of a study without runs.
    """
    study = STUDIES[name]
    chosen = dict(study.runs)
    if study.best_of:
        best: dict[str, Mapping[str, Any]] = {}
        for run in studies().get(study.best_of, []):
            kind = run["label"].split()[0]
            best[kind] = min(run, best.get(kind, run), key=lambda each: each["loss"])
        chosen = {run["label"]: STUDIES[study.best_of].runs[run["label"]] for run in best.values()}
    if not chosen:
        sys.exit(
            f"{name} has no planned runs"
            + (f"; run {study.best_of} first" if study.best_of else "; add finished runs: python docs/studies.py add")
        )
    return {label: f"{flags} {study.flags}" for label, flags in chosen.items()}


def run_all(name: str, corpus: Path, dev: Path | None, out: Path, *, at_once: int) -> None:
    """Make the runs of a study with one thread each, and add them to its file; finished runs are not repeated."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}

    runs = planned(name)
    folders = {label: out / f"{name}-{label.replace(' ', '-')}" for label in runs}

    def one(label: str) -> None:
        folder = folders[label]
        words = [sys.executable, "-m", "bertie", "pretrain", "--corpus", str(corpus), "--out", str(folder), "--quiet"]
        words += [*runs[label].split(), "--threads", "1", *(["--dev", str(dev)] if dev else [])]
        words += ["--resume"] if folder.exists() else []
        subprocess.run(words, check=True, env=environment, stdout=subprocess.DEVNULL)

    with ThreadPoolExecutor(at_once) as pool:
        for done in [pool.submit(one, label) for label in runs]:
            done.result()
    for label, folder in folders.items():
        add(name, label, folder)


def table(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a table of the runs, with the loss at the end and the loss after the tokens of the shortest run."""
    least = min(run["tokens"] for run in runs)
    points = [[dict(zip(("tokens", "seconds", "loss"), point, strict=True)) for point in run["points"]] for run in runs]
    common = [tail(part, least) for part in points]
    dev = list(dict.fromkeys(key for run in runs for key in run["dev"]))
    head = [
        "",
        "tokens",
        "minutes",
        "loss at its end",
        f"loss at {least / 1e6:.3g} M tokens",
        *(f"dev {key}" for key in dev),
    ]
    rows = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    for run, loss in zip(runs, common, strict=True):
        cells = [
            run["label"],
            f"{run['tokens'] / 1e6:.2f} M",
            f"{run['minutes']:.1f}",
            f"{run['loss']:.3f}",
            f"{loss:.3f}",
        ]
        cells += [f"{run['dev'][key]:.4g}" if key in run["dev"] else "" for key in dev]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def picture(study: Study, runs: Sequence[Mapping[str, Any]]) -> str:
    """Return a standalone SVG of the losses of the runs, at most the best six."""
    runs = [run for run in runs if run["label"].endswith(study.pictured)]
    shown = sorted(sorted(runs, key=lambda run: run["loss"])[:NUM_COLOURS], key=runs.index)
    scale, unit = (1 / 60, "min") if study.clock else (1e-6, "M")
    series = [
        Series(run["label"], [(point[1 if study.clock else 0] * scale, point[2]) for point in run["points"]])
        for run in shown
    ]
    figure = lines(study.title, series, x_label=unit, size="large")
    inner = re.search(r"<svg[^>]*>(.*)</svg>", figure, re.DOTALL)
    assert inner is not None
    colours = "".join(f".c{number}{{--c:var(--c{number})}}" for number in range(NUM_COLOURS))
    names = "".join(
        f'<rect class="swatch c{number}" x="14" y="{10 + _ROW * number}" width="10" height="10" rx="3"/>'
        f'<text class="name" x="30" y="{19 + _ROW * number}">{escape(run["label"])}: {run["loss"]:.3f}</text>'
        for number, run in enumerate(shown)
    )
    top = 14 + _ROW * len(shown)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + _HEIGHT}" width="{_WIDTH * 1.4:.0f}">'
        f"<style>:root{{{LIGHT}}}{colours}{_STYLE}</style>"
        f'<rect width="100%" height="100%" fill="#fff"/>{names}<g transform="translate(0 {top})">{inner[1]}</g></svg>\n'
    )


def studies() -> dict[str, list[dict[str, Any]]]:
    """Read the studies that have runs."""
    files = {name: LEDGER / f"{name}.json" for name in STUDIES}
    return {name: json.loads(file.read_text(encoding="utf-8")) for name, file in files.items() if file.exists()}


def drawn(page: str, found: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return the page with its current studies.

    Raises:
        SystemExit: the page has no markers.
    """
    parts = []
    for name, runs in found.items():
        study = STUDIES[name]
        machines = dict.fromkeys(
            f"{run['machine']['Processor']}, {run['settings'].get('threads', 1)} threads" for run in runs
        )
        parts += [f"### {study.title}", "", study.question, "", f"![{study.title}](../images/study-{name}.svg)", ""]
        parts += [
            *table(runs),
            "",
            f"*{'; '.join(machines)}; {', '.join(dict.fromkeys(run['date'] for run in runs))}.*",
            "",
        ]
    return filled(page, "\n".join(parts[:-1]), SCRIPT, PAGE.name)


def main(words: Sequence[str] | None = None) -> None:
    """Make the runs of a study, add a run, or draw the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    adding = commands.add_parser("add", help="add a run folder to a study")
    adding.add_argument("name", choices=sorted(STUDIES))
    adding.add_argument("label", help="how this run differs from the other runs")
    adding.add_argument("folder", type=Path)
    commands.add_parser("draw", help="draw docs/measured/studies.md and its pictures")
    running = commands.add_parser("run", help="make the runs of a study and add them")
    running.add_argument("name", choices=sorted(STUDIES))
    running.add_argument("--corpus", type=Path, required=True)
    running.add_argument("--dev", type=Path, help="a second corpus, for the dev loss")
    running.add_argument("--out", type=Path, required=True, help="folder for the run folders")
    running.add_argument("--at-once", type=int, default=2, help="number of simultaneous runs (%(default)s)")
    options = parser.parse_args(words)
    if options.command == "run":
        run_all(options.name, options.corpus, options.dev, options.out, at_once=options.at_once)
        return
    if options.command == "add":
        print(add(options.name, options.label, options.folder).relative_to(DOCS.parent))
        return
    found = studies()
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    for name, runs in found.items():
        (IMAGES / f"study-{name}.svg").write_text(picture(STUDIES[name], runs), encoding="utf-8")


if __name__ == "__main__":
    main()
