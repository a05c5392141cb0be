"""Measure the gain from pre-training, by task and number of labels, and draw its table.

    python docs/pays.py run DATA --model "30 minutes=out/mini/model" --random out/mini/model --classical --out out/pays
    python docs/pays.py draw                      the table in docs/measured/plateau.md and plateau.zh.md

Each start learns every task from the same items, with the settings that `bertie finetune` chooses, and with several
seeds. `--random MODEL` adds a network of MODEL's shape and vocabulary with random weights. `--classical` adds logistic
regression on hand-written features (`bertie/inference/classical.py`). It needs no seed when it learns from all items;
from a part of them, each seed draws other items, as for all starts. DATA is a folder with the files of
bertie/recipes/finetune, at the paths that they have there. A figure in the ledger is not measured again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import bertie
from benchmarks.page import draw
from bertie.reports.machine import this_machine
from bertie.sampling.part import part
from docs.fitting import entries_of, pairs

DOCS = Path(__file__).parent
LEDGER = DOCS / "studies" / "pays.json"
CONFIGS = DOCS.parent / "bertie" / "recipes" / "finetune"
PAGES = {"en": DOCS / "measured" / "plateau.md", "zh": DOCS / "measured" / "plateau.zh.md"}
SCRIPT = "docs/pays.py"
RANDOM, CLASSICAL = "random weights", "features + logistic regression"


@dataclass(frozen=True)
class Exam:
    """A task on which the starts are compared."""

    title: str
    config: str
    """A file of bertie/recipes/finetune, for its data, columns and length."""
    score: str
    sizes: tuple[int, ...]
    """Numbers of training items; 0 for all."""
    columns: Mapping[str, str] | None = None
    """Columns that replace those of the settings file."""


EXAMS = {
    "entities": Exam("entities, F1", "conll2003", "f1", (500, 3000, 0)),
    "pos": Exam("parts of speech, accuracy", "conll2003", "accuracy", (500, 0), {"words": "0", "tags": "1"}),
    "sst2": Exam("SST-2, accuracy", "sst2", "accuracy", (500, 0)),
    "cola": Exam("CoLA, Matthews", "cola", "matthews", (500, 0)),
    "mrpc": Exam("MRPC, accuracy", "mrpc", "accuracy", (500, 0)),
    "lingnli": Exam("LingNLI, accuracy", "lingnli", "accuracy", (500, 0)),
    "imdb": Exam("IMDb, accuracy", "imdb-truncate", "accuracy", (500, 0)),
}
Figures = list[dict[str, Any]]


def settings_of(exam: Exam, data: Path) -> dict[str, Any]:
    """Read the data settings of a settings file, with the paths of the files under `data`."""
    settings = tomllib.loads((CONFIGS / f"{exam.config}.toml").read_text(encoding="utf-8"))
    paths = {name: data / str(settings[name]).removeprefix("data/") for name in ("train", "dev")}
    kept = {name: settings[name] for name in ("task", "columns", "length", "truncation") if name in settings}
    return {**kept, **paths, **({"columns": dict(exam.columns)} if exam.columns else {})}


def drawn_items(settings: Mapping[str, Any], size: int, seed: int) -> tuple[list[Any], list[Any]]:
    """Read the training items, of which the seed draws `size` (0: all), and the dev items."""
    from bertie.tasks._lookup import read_items, task_class

    kind = task_class(settings["task"])
    columns = settings.get("columns")
    train = read_items(kind, settings["train"], columns=columns, labelled=True)
    dev = read_items(kind, settings["dev"], columns=columns, labelled=True, like=train.reading).items
    if size == 0 or size >= len(train.items):
        return train.items, dev
    return part(train.items, size, seed=seed), dev


def by_network(model: Path, exam: Exam, settings: Mapping[str, Any], size: int, seed: int) -> dict[str, Any]:
    """Fine-tune a model on drawn items of a task, with the settings that finetune chooses."""
    items, dev = drawn_items(settings, size, seed)
    with tempfile.TemporaryDirectory() as folder:
        run = bertie.finetune(
            str(model),
            task=settings["task"],
            train=[item.row() for item in items],
            dev=[item.row() for item in dev],
            out=Path(folder) / "run",
            length=settings["length"],
            truncation=settings.get("truncation"),
            seed=seed,
        )
    return {"score": round(100 * run.scores[exam.score], 2), "items": len(items)}


def by_features(exam: Exam, settings: Mapping[str, Any], size: int, seed: int) -> dict[str, Any]:
    """Train logistic regression on drawn items of a task."""
    from bertie.inference import classical
    from bertie.tasks._lookup import task_class

    items, dev = drawn_items(settings, size, seed)
    kind = task_class(settings["task"])
    task: Any = kind(**kind.learn(items, {}))
    scores = task.score(classical.fit(items)(dev), dev)
    return {"score": round(100 * scores[exam.score], 2), "items": len(items)}


def random_twin(model: Path, seed: int, folder: Path) -> Path:
    """Write a model of the same shape, vocabulary and task with random weights, and return its folder."""
    from bertie.formats.format import new
    from bertie.formats.huggingface import read, write

    trained = read(model)
    out = folder / f"random-{seed}"
    if not out.exists():
        write(new(trained.config, trained.task, trained.tokenizer, seed, architecture=trained.architecture), out)
    return out


def wanted(options: argparse.Namespace) -> Iterator[tuple[str, str, int, int]]:
    """Yield (start, task, size, seed) of all figures to measure, small sizes first."""
    starts = [*options.models, *([RANDOM] if options.random else []), *([CLASSICAL] if options.classical else [])]
    pairs = [
        (name, size)
        for name in options.tasks
        for size in EXAMS[name].sizes
        if not options.sizes or size in options.sizes
    ]
    for name, size in sorted(pairs, key=lambda pair: pair[1] or 10**9):
        for seed in options.seeds:
            for start in starts:
                if not (start == CLASSICAL and size == 0 and seed != options.seeds[0]):
                    yield start, name, size, seed


def measure(options: argparse.Namespace) -> None:
    """Measure all figures that the ledger lacks, and add each to it at once."""
    options.out.mkdir(parents=True, exist_ok=True)
    for start, name, size, seed in wanted(options):
        known = ledger()
        if any((row["start"], row["task"], row["size"], row["seed"]) == (start, name, size, seed) for row in known):
            continue
        exam, began = EXAMS[name], time.monotonic()
        settings = settings_of(exam, options.data)
        if start == CLASSICAL:
            result = by_features(exam, settings, size, seed)
        else:
            model = random_twin(options.random, seed, options.out) if start == RANDOM else options.models[start]
            result = by_network(model, exam, settings, size, seed)
        facts = {"start": start, "task": name, "size": size, "seed": seed, **result}
        facts |= {"seconds": round(time.monotonic() - began, 1), "date": time.strftime("%Y-%m-%d", time.gmtime())}
        known.append({**facts, "machine": this_machine()["Processor"]})
        LEDGER.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(json.dumps(facts), flush=True)


def ledger() -> Figures:
    """Read all measured figures."""
    return entries_of(LEDGER)


def table(figures: Figures, language: str) -> str:
    """Return a table of the means, with deviations over seeds; the best of a row is bold."""
    head = {"en": ("task", "learned from", "all"), "zh": ("任务", "标注数", "全部")}[language]
    starts = list(dict.fromkeys(row["start"] for row in figures))
    lines = [f"| {head[0]} | {head[1]} | {' | '.join(starts)} |", f"| --- | ---: |{' ---: |' * len(starts)}"]
    for name, exam in EXAMS.items():
        for size in exam.sizes:
            rows = [row for row in figures if (row["task"], row["size"]) == (name, size)]
            scores = {start: [row["score"] for row in rows if row["start"] == start] for start in starts}
            best = max((mean(each) for each in scores.values() if each), default=0.0)
            if rows:
                count = f"{head[2]} {rows[0]['items']:,}" if size == 0 else f"{size:,}"
                cells = [_cell(scores[start], best) for start in starts]
                lines.append(f"| {exam.title} | {count} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(scores: Sequence[float], best: float) -> str:
    if not scores:
        return ""
    shown = f"{mean(scores):.1f}"
    spread = f" ± {stdev(scores):.1f}" if len(scores) > 1 else ""
    return f"**{shown}**{spread}" if mean(scores) == best else f"{shown}{spread}"


def main(words: Sequence[str] | None = None) -> None:
    """Measure all missing figures, or draw the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="measure all missing figures")
    running.add_argument("data", type=Path, help="folder with the data of bertie/recipes/finetune")
    running.add_argument("--model", action="append", default=[], metavar="NAME=FOLDER", help="a pre-trained model")
    running.add_argument("--random", type=Path, help="also measure this model's shape with random weights")
    running.add_argument("--classical", action="store_true", help="also measure logistic regression on features")
    running.add_argument("--tasks", default=",".join(EXAMS), help="tasks (%(default)s)")
    running.add_argument("--sizes", default="", help="numbers of items, such as 500,0 (0: all); default: every size")
    running.add_argument("--seeds", default="1,2,3", help="seeds (%(default)s)")
    running.add_argument("--out", type=Path, required=True, help="folder for the models with random weights")
    commands.add_parser("draw", help="draw the table")
    options = parser.parse_args(words)
    if options.command == "draw":
        draw(PAGES, lambda language: table(ledger(), language), SCRIPT)
        return
    options.models = {name: Path(folder) for name, folder in pairs(options.model).items()}
    options.tasks = options.tasks.split(",")
    options.sizes = [int(size) for size in options.sizes.split(",") if size]
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    measure(options)


if __name__ == "__main__":
    main()
