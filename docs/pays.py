"""Measure what a pre-training buys, by task and number of labels, and draw the table of it.

    python docs/pays.py run DATA --model "30 minutes=out/mini/model" --random out/mini/model --classical --out out/pays
    python docs/pays.py draw                      the table in docs/measured/plateau.md and plateau.zh.md

Each start learns every task from the same items, with the settings that `bertie finetune` chooses by itself, from
several seeds. `--random MODEL` is a network of that shape and vocabulary whose weights are random. `--classical` is
logistic regression on features that people wrote down (`bertie/inference/classical.py`). It has no seed where it learns
from all items, and other items a seed where it learns from a part, as the others do. DATA is a folder where the files
lie as the settings files in configs/finetune have them. What was measured once is not measured again.
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
from bertie.data.items import part, row
from bertie.reports.machine import this_machine
from docs.fitting import entries_of, pairs

DOCS = Path(__file__).parent
LEDGER = DOCS / "studies" / "pays.json"
CONFIGS = DOCS.parent / "configs" / "finetune"
PAGES = {"en": DOCS / "measured" / "plateau.md", "zh": DOCS / "measured" / "plateau.zh.md"}
SCRIPT = "docs/pays.py"
RANDOM, CLASSICAL = "random weights", "features + logistic regression"


@dataclass(frozen=True)
class Exam:
    """A task to learn."""

    title: str
    config: str
    """A file of configs/finetune: its data, columns and length."""
    score: str
    sizes: tuple[int, ...]
    """Items to learn from; 0 for all."""
    columns: Mapping[str, str] | None = None
    """In place of the settings file's."""


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
    """Read what a settings file says of its data, with the files as they lie under `data`."""
    said = tomllib.loads((CONFIGS / f"{exam.config}.toml").read_text(encoding="utf-8"))
    places = {name: data / str(said[name]).removeprefix("data/") for name in ("train", "dev")}
    kept = {name: said[name] for name in ("task", "columns", "length", "truncation") if name in said}
    return {**kept, **places, **({"columns": dict(exam.columns)} if exam.columns else {})}


def drawn_items(settings: Mapping[str, Any], size: int, seed: int) -> tuple[list[Any], list[Any]]:
    """Read what is learned from, `size` of the items (0: all) by the seed, and what is measured on."""
    from bertie.tasks.task import read_items, task_class

    kind = task_class(settings["task"])
    columns = settings.get("columns")
    train = read_items(kind, settings["train"], columns=columns, labelled=True)
    dev = read_items(kind, settings["dev"], columns=columns, labelled=True, like=train.reading).items
    if size == 0 or size >= len(train.items):
        return train.items, dev
    return part(train.items, size, seed=seed), dev


def by_network(model: Path, exam: Exam, settings: Mapping[str, Any], size: int, seed: int) -> dict[str, Any]:
    """Fine-tune a model folder on a draw of a task, with the settings that finetune chooses."""
    items, dev = drawn_items(settings, size, seed)
    with tempfile.TemporaryDirectory() as folder:
        run = bertie.finetune(
            str(model),
            task=settings["task"],
            train=[row(item) for item in items],
            dev=[row(item) for item in dev],
            out=Path(folder) / "run",
            length=settings["length"],
            truncation=settings.get("truncation"),
            seed=seed,
        )
    return {"score": round(100 * run.scores[exam.score], 2), "items": len(items)}


def by_features(exam: Exam, settings: Mapping[str, Any], size: int, seed: int) -> dict[str, Any]:
    """Learn a draw of a task the classical way."""
    from bertie.inference import classical
    from bertie.tasks.task import task_class

    items, dev = drawn_items(settings, size, seed)
    kind = task_class(settings["task"])
    task: Any = kind(**kind.learn(items, {}))
    scores = task.score(classical.fit(items)(dev), dev)
    return {"score": round(100 * scores[exam.score], 2), "items": len(items)}


def random_twin(model: Path, seed: int, folder: Path) -> Path:
    """Write a network of a model's shape, vocabulary and task with random weights."""
    from bertie.formats.format import new
    from bertie.formats.huggingface import read, write

    trained = read(model)
    out = folder / f"random-{seed}"
    if not out.exists():
        write(new(trained.config, trained.task, trained.tokenizer, seed, architecture=trained.architecture), out)
    return out


def wanted(options: argparse.Namespace) -> Iterator[tuple[str, str, int, int]]:
    """List (start, task, size, seed) of everything to measure, small ones first."""
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
    """Measure what isn't in the ledger yet, and write each figure down as it comes."""
    options.out.mkdir(parents=True, exist_ok=True)
    for start, name, size, seed in wanted(options):
        known = ledger()
        if any((row["start"], row["task"], row["size"], row["seed"]) == (start, name, size, seed) for row in known):
            continue
        exam, began = EXAMS[name], time.monotonic()
        settings = settings_of(exam, options.data)
        if start == CLASSICAL:
            found = by_features(exam, settings, size, seed)
        else:
            model = random_twin(options.random, seed, options.out) if start == RANDOM else options.models[start]
            found = by_network(model, exam, settings, size, seed)
        facts = {"start": start, "task": name, "size": size, "seed": seed, **found}
        facts |= {"seconds": round(time.monotonic() - began, 1), "date": time.strftime("%Y-%m-%d", time.gmtime())}
        known.append({**facts, "machine": this_machine()["Processor"]})
        LEDGER.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(json.dumps(facts), flush=True)


def ledger() -> Figures:
    """Read what was measured."""
    return entries_of(LEDGER)


def table(figures: Figures, language: str) -> str:
    """Lay the means out, with the spread over seeds; the best of a row is bold."""
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
    said = f"{mean(scores):.1f}"
    spread = f" ± {stdev(scores):.1f}" if len(scores) > 1 else ""
    return f"**{said}**{spread}" if mean(scores) == best else f"{said}{spread}"


def main(words: Sequence[str] | None = None) -> None:
    """Measure, or draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="measure what isn't measured yet")
    running.add_argument("data", type=Path, help="folder with the data of configs/finetune")
    running.add_argument("--model", action="append", default=[], metavar="NAME=FOLDER", help="a pre-trained model")
    running.add_argument("--random", type=Path, help="a model whose twin of random weights is measured")
    running.add_argument("--classical", action="store_true", help="logistic regression on features")
    running.add_argument("--tasks", default=",".join(EXAMS), help="(%(default)s)")
    running.add_argument("--sizes", default="", help="such as 500,0 (0: all items); every size of a task")
    running.add_argument("--seeds", default="1,2,3", help="(%(default)s)")
    running.add_argument("--out", type=Path, required=True, help="folder for the twins")
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
