"""Compare the settings that `bertie finetune` chooses with a grid of settings.

    python docs/fitting.py run --start mini=out/mini/model --random random=4/256,out/mini/model    all missing runs
    python docs/fitting.py draw                                               the table of docs/measured/studies.md

A cell is an encoder, a task and a number of examples. Its grid is halved after each seed: all settings run with the
first seed, the better half of them with the second, the better quarter with the third. Settings are ranked by their
scores on rows held out of the training file. The table shows scores on the dev file, for the defaults and for the best
setting of the grid.

Each run is added to docs/studies/fitting.json as soon as it ends, so `run` can be stopped and started again. After a
change to the rules of bertie/training/fitting.py, remove the entries with an empty `given`: the old rules chose their
settings.
"""

import argparse
import itertools
import json
import shutil
import sys
import time
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.page import filled
from bertie.reports.machine import these_versions, this_machine
from bertie.training.fitting import rate_in_words

DOCS = Path(__file__).parent
LEDGER, PAGE = DOCS / "studies" / "fitting.json", DOCS / "measured" / "studies.md"
CONFIGS = DOCS.parent / "bertie" / "recipes" / "finetune"
SCRIPT = "docs/fitting.py"
TASKS = {"sst2": "accuracy", "cola": "matthews", "conll2003": "f1", "pos": "accuracy"}
"""Task -> its score. Each is a recipe of bertie, except `pos`, which reads another column of conll2003."""
OTHER = {"pos": ("conll2003", {"words": "0", "tags": "1"})}
SIZES = (100, 500, 4_000)
RATES, BATCHES, EPOCHS = (1e-4, 3e-4, 1e-3, 3e-3), (8, 32), (5, 20)
SEEDS = (1, 2, 3)
HELD_OUT, MOST_DEV = "5%", 800
DEFAULTS: Mapping[str, float] = {}
"""The settings of a run for which `bertie finetune` chooses all of them."""

Settings = Mapping[str, float]
Entry = dict[str, Any]
Measure = Callable[[str, str, int, Settings, int], Entry]


def grid(rates: Iterable[float], batches: Iterable[int], epochs: Iterable[int]) -> list[dict[str, float]]:
    """Return all settings of a grid."""
    names = ("learning_rate", "batch_size", "epochs")
    return [dict(zip(names, each, strict=True)) for each in itertools.product(rates, batches, epochs)]


def find(entries: Iterable[Entry], start: str, task: str, size: int, settings: Settings) -> list[Entry]:
    """Return the runs with given settings in one cell."""
    cell = (start, task, size, dict(settings))
    return [each for each in entries if (each["start"], each["task"], each["examples"], each["given"]) == cell]


def halve(
    entries: list[Entry],
    cell: tuple[str, str, int],
    settings: Sequence[Settings],
    seeds: Sequence[int],
    measure: Measure,
) -> Iterator[Entry]:
    """Make the missing runs of a cell: each round has half the settings of the round before, and the defaults.

    Args:
        entries: the finished runs; new runs are appended.
        cell: encoder, task, examples.
        settings: the grid.
        seeds: one for each round.
        measure: makes a run.

    Yields:
        Each new run.
    """
    alive = list(settings)
    for seed in seeds:
        for given in (DEFAULTS, *alive):
            if not any(each["seed"] == seed for each in find(entries, *cell, given)):
                entry = measure(*cell, given, seed)
                entries.append(entry)
                yield entry
        alive = ranked(entries, cell, alive)[: max(1, len(alive) // 2)]


def ranked(entries: Sequence[Entry], cell: tuple[str, str, int], settings: Iterable[Settings]) -> list[Settings]:
    """Sort settings by their mean score on held-out rows, best first; ties keep their order."""
    return sorted(settings, key=lambda given: -mean(each["held_out"] for each in find(entries, *cell, given)))


def rows(entries: Sequence[Entry]) -> list[str]:
    """Return a table that compares the defaults with the best setting of the grid, with one line per cell."""
    cells: dict[tuple[str, str, int], list[Entry]] = defaultdict(list)
    for each in entries:
        cells[each["start"], each["task"], each["examples"]].append(each)
    head = ("encoder", "task", "examples", "chosen", "score", "best of the grid", "score", "difference", "grid")
    lines = [
        f"| {' | '.join(head)} |",
        f"| {' | '.join('---' if column < 2 else '---:' for column in range(len(head)))} |",
    ]
    for cell, found in cells.items():
        chosen = [each for each in found if not each["given"]]
        others = [dict(given) for given in {tuple(each["given"].items()): 0 for each in found if each["given"]}]
        most_seeds = max((len(find(found, *cell, given)) for given in others), default=0)
        last = [given for given in others if len(find(found, *cell, given)) == most_seeds]  # the last round's settings
        best = find(found, *cell, ranked(found, cell, last)[0]) if last else []
        both = [summary(chosen), summary(best)]
        gap = f"{100 * (mean(measured(chosen)) - mean(measured(best))):+.1f}" if chosen and best else ""
        words = [written(each[0]["chosen"]) if each else "" for each in (chosen, best)]
        cells_of = (cell[0], cell[1], f"{cell[2]:,}", words[0], both[0], words[1], both[1], gap, str(len(others)))
        lines.append(f"| {' | '.join(cells_of)} |")
    return lines


def measured(entries: Sequence[Entry]) -> list[float]:
    return [each["dev"] for each in entries]


def summary(entries: Sequence[Entry]) -> str:
    """Return mean, minimum and maximum of the dev scores as text, in percent."""
    scores = [100 * value for value in measured(entries)]
    if not scores:
        return ""
    spread = f" ({min(scores):.1f} to {max(scores):.1f})" if len(scores) > 1 else " (one run)"
    return f"{mean(scores):.1f}{spread}"


def written(settings: Settings) -> str:
    """Return learning rate, batch size and epochs as text, such as "1e-3, 8, 20 epochs"."""
    return f"{rate_in_words(settings['learning_rate'])}, {settings['batch_size']:g}, {settings['epochs']:g} epochs"


def runner(starts: Mapping[str, str], randoms: Mapping[str, str], data: Path, out: Path, *, dev_limit: int) -> Measure:
    """Return a function that makes one run with `bertie.finetune` and measures it."""
    import bertie
    from bertie.commands._new_model import ModelSettings

    def measure(start: str, task: str, size: int, given: Settings, seed: int) -> Entry:
        name, columns = OTHER.get(task, (task, None))
        config = tomllib.loads((CONFIGS / f"{name}.toml").read_text(encoding="utf-8"))
        train, dev = (data / Path(config[key]).relative_to("data") for key in ("train", "dev"))
        how = {"task": config["task"], "length": config["length"], "truncation": config["truncation"], "threads": 1}
        columns = columns or config["columns"]
        model: Any = starts.get(start)
        if model is None:
            shape, _, folder = randoms[start].partition(",")
            model, how["tokenizer"] = ModelSettings(size=shape), Path(folder)
        folder = out / "run"
        shutil.rmtree(folder, ignore_errors=True)
        limits = {"train_limit": size, "dev_limit": dev_limit}
        began = time.monotonic()
        run = bertie.finetune(
            model, train=train, dev=Path(HELD_OUT), out=folder, columns=columns, seed=seed, **limits, **how, **given
        )
        seconds = time.monotonic() - began
        scores = on_dev(folder / "model", dev, columns, dev_limit)
        settings = tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))
        return {
            "start": start,
            "task": task,
            "examples": size,
            "seed": seed,
            "given": dict(given),
            "chosen": {key: settings[key] for key in ("learning_rate", "batch_size", "epochs")},
            "held_out": run.scores[TASKS[task]],
            "dev": scores[TASKS[task]],
            "seconds": round(seconds, 1),
            "date": time.strftime("%Y-%m-%d", time.gmtime()),
            "machine": this_machine(),
            "versions": these_versions(),
        }

    return measure


def on_dev(model: Path, dev: Path, columns: dict[str, str], limit: int) -> dict[str, float]:
    """Return a model's scores on a random part of the dev file, which is the same in every call."""
    from bertie.formats.huggingface import read
    from bertie.inference.evaluate import evaluate
    from bertie.readers.reading import learned
    from bertie.sampling.part import part
    from bertie.tasks._lookup import read_items

    bundle = read(model)
    items = read_items(bundle.task, dev, columns=columns, labelled=True, like=learned(bundle.extra)).items
    chosen = items if limit >= len(items) else part(items, limit)
    return dict(evaluate(bundle.model, bundle.task, chosen, bundle.tokenizer).scores)


def entries_of(ledger: Path) -> list[Entry]:
    return json.loads(ledger.read_text(encoding="utf-8")) if ledger.exists() else []


def drawn(page: str, entries: Sequence[Entry]) -> str:
    """Return the page with the current table."""
    machines = dict.fromkeys(each["machine"]["Processor"] for each in entries)
    dates = dict.fromkeys(each["date"] for each in entries)
    note = f"*{'; '.join(machines)}, one thread; {', '.join(dates)}.*"
    return filled(page, "\n".join([*rows(entries), "", note]), SCRIPT, PAGE.name)


def pairs(words: Sequence[str]) -> dict[str, str]:
    """Split words of the form NAME=VALUE.

    Raises:
        SystemExit: a word has another form.
    """
    if wrong := [word for word in words if "=" not in word]:
        sys.exit(f"{wrong[0]!r} is not of the form NAME=VALUE")
    return dict(word.split("=", 1) for word in words)


def main(words: Sequence[str] | None = None) -> None:
    """Make the missing runs, or draw the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("draw", help="draw the table of docs/measured/studies.md")
    running = commands.add_parser("run", help="make all missing runs")
    running.add_argument("--start", action="append", default=[], metavar="NAME=FOLDER", help="a pre-trained encoder")
    running.add_argument("--random", action="append", default=[], metavar="NAME=SIZE,TOKENIZER", help="random weights")
    running.add_argument("--data", type=Path, default=Path("data"))
    running.add_argument("--out", type=Path, default=Path("out/fitting"))
    running.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    running.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    running.add_argument("--rates", nargs="*", type=float, default=RATES)
    running.add_argument("--batches", nargs="*", type=int, default=BATCHES)
    running.add_argument("--epochs", nargs="*", type=int, default=EPOCHS)
    running.add_argument("--seeds", nargs="+", type=int, default=SEEDS)
    running.add_argument("--dev-limit", type=int, default=MOST_DEV, help="maximum number of dev rows (%(default)s)")
    options = parser.parse_args(words)
    entries = entries_of(LEDGER)
    if options.command == "draw":
        PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8"), entries), encoding="utf-8")
        return
    starts, randoms = pairs(options.start), pairs(options.random)
    measure = runner(starts, randoms, options.data, options.out, dev_limit=options.dev_limit)
    settings = grid(options.rates, options.batches, options.epochs)
    for cell in itertools.product([*starts, *randoms], options.tasks, options.sizes):
        for entry in halve(entries, cell, settings, options.seeds, measure):
            LEDGER.write_text(json.dumps(entries, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            print(*cell, entry["seed"], written(entry["chosen"]), entry["held_out"], entry["dev"], flush=True)


if __name__ == "__main__":
    main()
