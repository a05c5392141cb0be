"""Measure the quality of an encoder before and after continued pre-training on text of a domain.

    python docs/going_on.py run DATA --model "as given=MODEL" --model "embedding, 10 minutes=out/topics/model"
    python docs/going_on.py draw                      the table in docs/measured/results.md

Three things are measured for each model:

- its vectors: logistic regression on the mean hidden vector of a text, for SST-2 and IMDb, from 100, 500 and 5,000
  labels; for 100 and 500, ten draws, which are the same for every model;
- its similarities: the correlation of cosines with STS-B's scores, without any training;
- fine-tuning: SST-2 from 100 and 500 labels, with three seeds and the settings that `bertie finetune` chooses.

DATA is a folder with the files of the recipes, at the paths that they have there. A figure in the ledger is not
measured again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.linear_model import LogisticRegression

import bertie
from benchmarks.page import draw
from bertie.reports.machine import this_machine
from bertie.sampling.part import part
from docs.fitting import entries_of, pairs
from docs.pays import EXAMS, Exam, by_network, drawn_items, settings_of

DOCS = Path(__file__).parent
LEDGER = DOCS / "studies" / "going_on.json"
PAGES = {"en": DOCS / "measured" / "results.md"}
SCRIPT = "docs/going_on.py"
DRAWS = {100: range(1, 11), 500: range(1, 11), 5000: range(1, 2)}
"""Number of labels -> the seeds of their draws."""
LENGTH, MOST = 128, 2000  # maximum length of a text in tokens; maximum number of dev texts
STRENGTH = 0.01  # the regression's C for 100 labels; it grows with the square root of their number
VECTORS, FINE_TUNED, LIKENESS = "regression on vectors", "fine-tuned", "cosines"
KEY = ("kind", "task", "size", "seed")
COLUMNS = [
    *(("SST-2", VECTORS, "sst2", size) for size in DRAWS),
    *(("IMDb", VECTORS, "imdb", size) for size in DRAWS),
    ("STS-B, cosines", LIKENESS, "stsb", 0),
    *(("SST-2, fine-tuned", FINE_TUNED, "sst2", size) for size in (100, 500)),
]
Figures = list[dict[str, Any]]


def of_vectors(model: Path, data: Path) -> Iterator[dict[str, Any]]:
    """Yield the accuracy of each logistic regression on mean hidden vectors, and the correlation of cosines."""
    predictor = bertie.load(
        model, task="embedding", precision="bf16", pooling="mean", max_length=LENGTH, truncation="truncate"
    )

    def vectors(texts: Sequence[str]) -> NDArray[np.float32]:
        return np.stack([prediction.vector for prediction in predictor.predict(list(texts))])

    for task in ("sst2", "imdb"):
        train, dev = items_of(task, data)
        inputs, dev_inputs = vectors([item.text for item in train]), vectors([item.text for item in dev])
        center, deviation = inputs.mean(0), inputs.std(0) + 1e-6
        inputs, dev_inputs = (inputs - center) / deviation, (dev_inputs - center) / deviation
        gold = np.array([item.label for item in dev])
        for size, seeds in DRAWS.items():
            for seed in seeds:
                chosen = part(range(len(train)), size, seed=seed)
                learner = LogisticRegression(C=STRENGTH * (size / 100) ** 0.5, max_iter=1000)
                learner.fit(inputs[chosen], [train[index].label for index in chosen])
                score = float((learner.predict(dev_inputs) == gold).mean())
                yield {"kind": VECTORS, "task": task, "size": size, "seed": seed, "score": round(100 * score, 2)}
    rated = pairs_of(data)
    first, second = vectors([pair[0] for pair in rated]), vectors([pair[1] for pair in rated])
    cosines = (first * second).sum(1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    score = float(spearmanr(cosines, [pair[2] for pair in rated])[0])
    yield {"kind": LIKENESS, "task": "stsb", "size": 0, "seed": 0, "score": round(100 * score, 2)}


def fine_tuned(model: Path, data: Path, known: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Yield the accuracies of fine-tuned models, except those with keys in `known`."""
    for size in (100, 500):
        for seed in (1, 2, 3):
            if (FINE_TUNED, "sst2", size, seed) not in known:
                result = by_network(model, EXAMS["sst2"], settings_of(EXAMS["sst2"], data), size, seed)
                yield {
                    "kind": FINE_TUNED,
                    "task": "sst2",
                    "size": size,
                    "seed": seed,
                    "score": round(result["score"], 2),
                }


@cache
def items_of(task: str, data: Path) -> tuple[list[Any], list[Any]]:
    """Read the training items (at least 5,000) and the dev items of a task."""
    train, dev = drawn_items(settings_of(EXAMS[task], data), 7500, seed=0)
    return train, part(dev, MOST, seed=0) if len(dev) > MOST else dev


@cache
def pairs_of(data: Path) -> list[tuple[str, str, float]]:
    """Read STS-B's dev pairs and their scores."""
    _, dev = drawn_items(settings_of(Exam("STS-B", "stsb-cosine", "spearman", ()), data), 1, seed=0)
    return [(item.text, item.pair, float(item.label)) for item in dev]


def measure(options: argparse.Namespace) -> None:
    """Measure all figures that the ledger lacks, and add each to it at once."""
    for name, model in options.models.items():
        known = {tuple(row[key] for key in KEY) for row in entries_of(LEDGER) if row["model"] == name}
        if not any(kind == LIKENESS for kind, *_ in known):  # this figure is measured last
            found = of_vectors(Path(model), options.data)
            keep(name, (row for row in found if tuple(row[key] for key in KEY) not in known))
        keep(name, fine_tuned(Path(model), options.data, known))


def keep(name: str, figures: Iterator[dict[str, Any]]) -> None:
    """Add figures of a model to the ledger."""
    began, about = time.monotonic(), {"date": time.strftime("%Y-%m-%d", time.gmtime())}
    about["machine"] = this_machine()["Processor"]
    for figure in figures:
        rows = [*entries_of(LEDGER), {"model": name, **figure, **about}]
        LEDGER.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        print(json.dumps({"model": name, **figure, "seconds": round(time.monotonic() - began, 1)}), flush=True)


def table(figures: Figures) -> str:
    """Return a table of the means, with deviations over draws or seeds."""
    heads = [f"{title}{f', {size:,}' if size else ''}" for title, _, _, size in COLUMNS]
    lines = [f"| encoder | {' | '.join(heads)} |", f"| --- |{' ---: |' * len(heads)}"]
    for model in dict.fromkeys(row["model"] for row in figures):
        cells = []
        for _, *key in COLUMNS:
            scores = [
                row["score"]
                for row in figures
                if row["model"] == model and [row[name] for name in ("kind", "task", "size")] == key
            ]
            cells.append(f"{mean(scores):.1f}" if scores else "")
            if len(scores) > 1:
                cells[-1] += f" ± {stdev(scores):.1f}"
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure all missing figures, or draw the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="measure all missing figures")
    running.add_argument("data", type=Path, help="folder with the data of bertie/recipes/finetune")
    running.add_argument("--model", action="append", default=[], metavar="NAME=FOLDER", help="an encoder")
    commands.add_parser("draw", help="draw the table")
    options = parser.parse_args(words)
    if options.command == "draw":
        draw(PAGES, lambda language: table(entries_of(LEDGER)), SCRIPT)
        return
    options.models = pairs(options.model)
    measure(options)


if __name__ == "__main__":
    main()
