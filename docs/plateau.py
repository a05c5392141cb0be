"""Measure after how many tokens a pre-training leaves its plateau, and draw the table.

    python docs/plateau.py run --corpus 4k=CORPUS,DEV --corpus 30k=CORPUS,DEV --out out/plateau
    python docs/plateau.py draw                  into docs/measured/plateau.md and plateau.zh.md

On the plateau, a masked language model predicts the most frequent token at all positions, so its loss is that of the
unigram. A run has left the plateau at the first evaluation from which on its loss stays at least 1.0 below the
unigram's. The loss is measured on held-out text, with every chosen token shown as [MASK]. A run in the ledger is not
repeated, so a study can be stopped and continued.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

import bertie
from benchmarks.page import draw
from bertie.reports.machine import this_machine
from bertie.training.journal import read

DOCS = Path(__file__).parent
LEDGER = DOCS / "studies" / "plateau.json"
PAGES = {"en": DOCS / "measured" / "plateau.md", "zh": DOCS / "measured" / "plateau.zh.md"}
SCRIPT = "docs/plateau.py"
STARTS = ("neighbours", "paper")
BELOW = 1.0
"""A run has left the plateau when its loss is this many nats below the unigram's."""
_LOSSES = ("mask_loss", "mlm_loss", "causal_loss", "loss")  # the first one that a run has is used
_RECIPE: dict[str, Any] = {"optimizer": {"name": "muon"}, "learning_rate": 6e-3, "length": 64, "batch_tokens": 4096}
_REPLACED: dict[str, Any] = {"optimizer": {"name": "adamw"}, "learning_rate": 1e-3}
_MASKS: dict[str, Any] = {"mask_rate": 0.3, "settings": {"mask_rate_end": 0.15}}


@dataclass(frozen=True)
class Case:
    """A pre-training to measure."""

    vocabulary: str
    """The name of its corpus."""
    size: str
    tokens: int
    architecture: str = "bert"
    task: str = "masked_lm"


CASES = {
    "BERT": Case("4k", "2/128", 1_000_000),
    "RoBERTa": Case("4k", "2/128", 1_000_000, "roberta"),
    "DistilBERT": Case("4k", "2/128", 1_000_000, "distilbert"),
    "ALBERT": Case("4k", "2/128", 1_000_000, "albert"),
    "ELECTRA": Case("4k", "2/128", 1_000_000, "electra"),
    "ELECTRA's generator": Case("4k", "2/128", 1_000_000, "electra", "replaced_token"),
    "ModernBERT": Case("4k", "2/128", 1_000_000, "modernbert"),
    "RoFormer": Case("4k", "2/128", 1_000_000, "roformer"),
    "hybrid": Case("4k", "2/128", 1_000_000, "bert", "hybrid"),
    "causal": Case("4k", "2/128", 1_000_000, "causal", "causal_lm"),
    "BERT 4/256": Case("4k", "4/256", 1_000_000),
    "BERT, 30k": Case("30k", "2/128", 2_500_000),
    "BERT 4/256, 30k": Case("30k", "4/256", 2_500_000),
}
Figures = list[dict[str, Any]]


def run_case(case: Case, start: str, seed: int, corpora: tuple[Path, Path], folder: Path) -> dict[str, Any]:
    """Pre-train once and return the figures to keep."""
    masks = {} if case.task in ("causal_lm", "replaced_token") else _MASKS
    if case.task == "hybrid":
        masks = {"mask_rate": 0.3}
    bertie.pretrain(
        corpus=corpora[0],
        dev=corpora[1],
        out=folder,
        model={"architecture": case.architecture, "size": case.size, "start": start, **_dropout(case.architecture)},  # type: ignore[arg-type]
        task=case.task,
        tokens=case.tokens,
        seed=seed,
        dev_tokens=24_000,
        threads=1,
        training={"evaluate_every": 10, "save_every": 0},  # type: ignore[arg-type]
        **{**_RECIPE, **masks, **(_REPLACED if case.task == "replaced_token" else {})},
    )
    rows = [row for row in read(folder / "metrics.jsonl") if row["kind"] == "dev"]
    name = next(name for name in _LOSSES if name in rows[0])
    values = json.loads((folder / "run.json").read_text(encoding="utf-8"))["values"]
    unigram = values.get("yardstick_unigram_loss") or unigram_loss(*corpora)
    points = [[row["tokens"], round(row[name], 4)] for row in rows]
    return {"points": points, "unigram": round(unigram, 4), "seconds": values["seconds"], "loss": name}


def _dropout(architecture: str) -> dict[str, float]:
    return {"dropout": 0.0} if architecture != "modernbert" else {}


def unigram_loss(corpus: Path, dev: Path) -> float:
    """Return the loss of the corpus's token frequencies on the dev corpus."""
    import numpy as np

    from bertie.corpus.shards import Corpus

    trained, held = (Corpus.open(path) for path in (corpus, dev))
    starts, lengths = np.array([0]), np.array([trained.num_tokens])
    counts = np.bincount(trained.gather(starts, lengths), minlength=trained.vocab_size) + 0.5
    tokens = held.gather(starts, np.array([held.num_tokens]))
    return float(-np.log(counts / counts.sum())[tokens].mean())


def left_after(points: Sequence[Sequence[float]], unigram: float) -> int | None:
    """Return the tokens after which the loss stays at least `BELOW` under the unigram's; None if it never does.

    >>> left_after([(10, 5.0), (20, 3.5), (30, 3.4)], 5.0)
    20
    """
    left: int | None = None
    for tokens, loss in points:
        if loss > unigram - BELOW:
            left = None
        elif left is None:
            left = int(tokens)
    return left


def wanted(options: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Yield (case, start, seed) of all runs, with all cases of a seed before the next seed."""
    for seed in options.seeds:
        for start in options.starts:
            for name in options.cases:
                yield name, start, seed


def measure(options: argparse.Namespace) -> None:
    """Make all runs that the ledger lacks, and add each to it when it ends."""
    for name, start, seed in wanted(options):
        known = ledger()
        case = CASES[name]
        if any((row["case"], row["start"], row["seed"]) == (name, start, seed) for row in known):
            continue
        folder = options.out / f"{name.replace(' ', '-').replace('/', '-').replace(',', '')}-{start}-{seed}"
        shutil.rmtree(folder, ignore_errors=True)  # remains of an interrupted run
        figures = run_case(case, start, seed, options.corpora[case.vocabulary], folder)
        date = time.strftime("%Y-%m-%d", time.gmtime())
        facts = {"case": name, "start": start, "seed": seed, **figures, "date": date}
        known.append({**facts, "machine": this_machine()["Processor"]})
        text = "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in known) + "\n]\n"
        LEDGER.write_text(text, encoding="utf-8")
        print(name, start, seed, left_after(figures["points"], figures["unigram"]), figures["points"][-1], flush=True)


def ledger() -> Figures:
    """Read all runs of the ledger."""
    runs: Figures = json.loads(LEDGER.read_text(encoding="utf-8")) if LEDGER.exists() else []
    return runs


def table(figures: Figures, language: str) -> str:
    """Return a table of when the plateau was left, and of the loss at the end."""
    english = language == "en"
    head = (
        (
            "",
            "start",
            "seeds",
            "unigram",
            "left, of all seeds",
            "after (median; worst), M tokens",
            "loss at the end",
            "of M tokens",
        )
        if english
        else (
            "",
            "起点",
            "种子数",
            "一元频率",
            "离开平台期",
            "所需词元（中位数；最差），百万",
            "结束时的损失",
            "共百万词元",
        )
    )
    lines = [f"| {' | '.join(head)} |", f"| --- | --- |{' ---: |' * (len(head) - 2)}"]
    for name in CASES:
        for start in STARTS:
            rows = [row for row in figures if (row["case"], row["start"]) == (name, start)]
            if rows:
                lines.append(f"| {name} | `{start}` | {' | '.join(_cells(rows))} |")
    return "\n".join(lines)


def _cells(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    left = [found for row in rows if (found := left_after(row["points"], row["unigram"])) is not None]
    after = f"{median(left) / 1e6:.2f}; {max(left) / 1e6:.2f}" if left else "–"
    ends = [row["points"][-1] for row in rows]
    losses = [loss for _, loss in ends]
    return (
        str(len(rows)),
        f"{mean(row['unigram'] for row in rows):.2f}",
        f"{len(left)}/{len(rows)}",
        after,
        f"{mean(losses):.2f} ({min(losses):.2f} to {max(losses):.2f})",
        f"{mean(tokens for tokens, _ in ends) / 1e6:.1f}",
    )


def main(words: Sequence[str] | None = None) -> None:
    """Make all missing runs, or draw the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="make all missing runs")
    running.add_argument(
        "--corpus", action="append", default=[], metavar="NAME=CORPUS,DEV", help="a corpus; NAME is 4k or 30k"
    )
    running.add_argument("--cases", default="", help="names of cases, separated by semicolons (default: all)")
    running.add_argument("--starts", default=",".join(STARTS), help="starts (%(default)s)")
    running.add_argument("--seeds", default="1,2,3,4,5", help="seeds (%(default)s)")
    running.add_argument("--out", type=Path, required=True, help="folder for the runs")
    commands.add_parser("draw", help="draw the table")
    options = parser.parse_args(words)
    if options.command == "draw":
        draw(PAGES, lambda language: table(ledger(), language), SCRIPT)
        return
    named = [word.partition("=") for word in options.corpus]
    options.corpora = {name: tuple(Path(folder) for folder in folders.split(",")) for name, _, folders in named}
    options.cases = options.cases.split(";") if options.cases else list(CASES)
    options.starts = options.starts.split(",")
    options.seeds = [int(seed) for seed in options.seeds.split(",")]
    options.out.mkdir(parents=True, exist_ok=True)
    measure(options)


if __name__ == "__main__":
    main()
