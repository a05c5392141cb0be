"""Run a benchmark: all contestants in turn, each time in a fresh process, on the same inputs.

First each contestant computes its proof; one that disagrees with the first (bertie) is never timed. Then every round
runs all of them once, so that a change in the machine's speed affects all of them. Figures are medians with minimum and
maximum; `faster_by` is computed within each round. A missing package is listed with the command that installs it.
"""

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks import ledger, machine
from benchmarks.contest import Case, Contestant, Work

ROOT = Path(__file__).parents[1]
LEAST_REPEATS = 5
KEPT_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}
"""Makes glibc keep freed memory, as every training run of bertie does by itself; values set by the user win."""
_REASON_LENGTH = 200
_MODULES = {"llama-cpp-python": "llama_cpp"}
"""Packages whose module name can't be derived from their name."""
_ERROR = re.compile(r"[\w.]+(Error|Exception|Exit|Interrupt)\b")


class NoAnswerError(Exception):
    """A contestant's process ended without an answer; the message is its last error line."""


def installed(contestant: Contestant) -> bool:
    """Tell whether all packages that a contestant needs can be imported."""
    modules = [_MODULES.get(package, package.replace("-", "_")) for package in contestant.needs]
    return all(find_spec(module) is not None for module in modules)


class Run:
    """One run of a benchmark.

    Args:
        module: name of the benchmark's module.
        options: the parsed command line, with paths as absolute strings.
        folder: the folder that the contestants share.
        seconds: time after which no further process starts; None for no limit.
    """

    def __init__(self, module: str, options: argparse.Namespace, folder: Path, seconds: float | None = None) -> None:
        self.module, self.options, self.folder = module, options, folder
        self.deadline = None if seconds is None else time.monotonic() + seconds
        self._count = 0

    def ask(self, mode: str, case: str = "", contestant: str = "", repeats: int = 1) -> Any:
        """Let one contestant prove or time itself in a fresh process, and return its answer.

        Raises:
            NoAnswerError: it failed, or ran out of time.
        """
        self._count += 1
        order, answer = (self.folder / f"{kind}-{self._count}.json" for kind in ("order", "answer"))
        request = {
            "module": self.module,
            "options": vars(self.options),
            "folder": str(self.folder),
            "answer": str(answer),
            "mode": mode,
            "case": case,
            "contestant": contestant,
            "repeats": repeats,
        }
        order.write_text(json.dumps(request), encoding="utf-8")
        left = None if self.deadline is None else max(1.0, self.deadline - time.monotonic())
        words = [sys.executable, "-m", "benchmarks.rounds", str(order)]
        try:
            done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=left, check=False)
        except subprocess.TimeoutExpired as error:
            raise NoAnswerError("out of time") from error
        if done.returncode != 0 or not answer.exists():
            lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            reasons = [line for line in lines if _ERROR.match(line)] or lines or [f"exit status {done.returncode}"]
            raise NoAnswerError(reasons[-1].strip()[:_REASON_LENGTH])
        return json.loads(answer.read_text(encoding="utf-8"))

    def prove_all(self, cases: Sequence[Case]) -> list[dict[str, Any]]:
        """Prove each case; a case with `proof_of` takes the proofs of that case."""
        proven = {case.name: self.prove(case) for case in cases if not case.proof_of}
        found = []
        for case in cases:
            filled = proven.get(case.name) or proven.get(case.proof_of)
            if filled is None:  # the other case was not chosen
                filled = proven[case.name] = self.prove(case)
            copied = json.loads(json.dumps(filled))
            names = {contestant.name for contestant in case.contestants}
            for part in (copied["missing"], copied["left_out"], copied["agreement"]["values"]):
                for name in set(part) - names:
                    del part[name]
            found.append({**copied, **described(case)})
        return found

    def prove(self, case: Case) -> dict[str, Any]:
        """Compare the contestants' proofs, and return the case without figures.

        Raises:
            SystemExit: a contestant that must agree doesn't, or the first one fails.
        """
        found: dict[str, Any] = {
            **described(case),
            "agreement": {"measure": case.agreement.name, "limit": case.agreement.limit, "values": {}},
            "missing": {},
            "left_out": {},
            "rows": {},
        }
        reference = None
        for contestant in case.contestants:
            name = contestant.name
            if not installed(contestant):
                found["missing"][name] = f"pip install {' '.join(contestant.needs)}"
                continue
            say(f"{case.name}: {name} computes its proof")
            try:
                proof = np.asarray(self.ask("prove", case.name, name))
            except NoAnswerError as error:
                if reference is None:
                    sys.exit(f"{case.name}: {name} failed: {error}")
                found["left_out"][name] = f"failed: {error}"
                continue
            reference = proof if reference is None else reference
            value = case.agreement.measure(reference, proof) if proof.shape == reference.shape else float("nan")
            if case.agreement.holds(value):
                found["agreement"]["values"][name] = value
                continue
            reason = f"{case.agreement.name} {value:.4g}, the limit is {case.agreement.limit:g}"
            if not contestant.may_differ:
                sys.exit(f"{case.name}: {name} disagrees ({reason}); the benchmark stops before timing")
            found["left_out"][name] = f"outside this class: {reason}"
        return found

    def time(self, case: Case, found: dict[str, Any], repeats: int) -> None:
        """Add one round to a case; a contestant that fails is left out from then on."""
        for name in [each.name for each in case.contestants if each.timed]:
            if name in found["left_out"] or name not in found["agreement"]["values"]:
                continue
            if self.deadline is not None and time.monotonic() > self.deadline:
                if name not in found["rows"]:
                    found["left_out"][name] = "out of time"
                continue
            try:
                answer = self.ask("time", case.name, name, case.repeats or repeats)
            except NoAnswerError as error:
                found["left_out"][name] = f"failed: {error}"
                found["rows"].pop(name, None)
                continue
            row = found["rows"].setdefault(name, {"values": [], "peak_mb": 0.0, "first_seconds": []})
            row["values"].append(answer["values"])
            row["peak_mb"] = max(row["peak_mb"], answer["peak_mb"])
            row["first_seconds"].append(answer["first_seconds"])
            row.update(answer["derived"])
            say(f"{case.name}: {name}: {median(answer['values']):,.4g} {case.unit}")


def described(case: Case) -> dict[str, Any]:
    """Return the fields of a case in a result that are known before measuring."""
    return {
        "name": case.name,
        "unit": case.unit,
        "better": case.better,
        "settings": case.settings,
        "reference": case.reference,
    }


def say(line: str) -> None:
    """Print progress to stderr."""
    print(line, file=sys.stderr, flush=True)


def answer(order: Path) -> None:
    """Answer the request of a run in a fresh process: prepare the inputs, or prove or time one contestant."""
    request = json.loads(order.read_text(encoding="utf-8"))
    module = importlib.import_module(request["module"])
    work = Work(Path(request["folder"]), argparse.Namespace(**request["options"]))
    out = Path(request["answer"])
    if request["mode"] == "prepare":
        out.write_text(json.dumps(module.prepare(work)), encoding="utf-8")
        return
    case = next(case for case in module.cases(work.options) if case.name == request["case"])
    started = time.perf_counter()
    ready = next(each for each in case.contestants if each.name == request["contestant"]).make(work)
    if request["mode"] == "prove":
        out.write_text(json.dumps(np.asarray(ready.prove(), np.float64).tolist()), encoding="utf-8")
        return
    first = 0.0
    values, first = [], 0.0
    for number in range(ready.warmups + request["repeats"]):
        values.append(ready.repeat())
        first = first if number else time.perf_counter() - started
    values = values[ready.warmups :]
    found = {
        "values": values,
        "first_seconds": round(first, 2),
        "peak_mb": ready.peak_mb(),
        "derived": ready.derive(median(values)),
    }
    out.write_text(json.dumps(found), encoding="utf-8")


def parse(module: Any, words: Sequence[str] | None, *, rounds: int, repeats: int) -> argparse.Namespace:
    """Read the command line; a benchmark adds its own flags in `arguments(parser)`."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {module.__name__}", description=module.__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=rounds, help="processes of each contestant (%(default)s)")
    parser.add_argument("--repeats", type=int, default=repeats, help="repeats in each process (%(default)s)")
    parser.add_argument(
        "--threads", type=int, default=machine.description()["cores"], help="threads of every contestant (%(default)s)"
    )
    parser.add_argument("--huge-pages", action="store_true", help="THP_MEM_ALLOC_ENABLE=1 for every contestant")
    parser.add_argument("--case", help="only cases whose names contain this text")
    parser.add_argument(
        "--only",
        help="only contestants with these names or parts of names, separated by commas, and each case's reference",
    )
    parser.add_argument("--seconds", type=float, help="time after which no further process starts")
    parser.add_argument("--smoke", action="store_true", help="a tiny run that shows whether it works; writes no result")
    parser.add_argument("--out", type=Path, default=ledger.RESULTS, help="folder for the result")
    getattr(module, "arguments", lambda parser: None)(parser)
    options = parser.parse_args(words)
    if options.smoke:
        options.rounds = options.repeats = 1
    elif options.rounds * options.repeats < LEAST_REPEATS:
        parser.error(
            f"{options.rounds} rounds of {options.repeats} repeats are too few; give at least {LEAST_REPEATS} repeats "
            "in total, or --smoke"
        )
    for name, value in vars(options).items():
        setattr(options, name, str(value.resolve()) if isinstance(value, Path) else value)
    return options


def chosen(cases: Sequence[Case], options: argparse.Namespace) -> list[Case]:
    """Return the cases and contestants that `--case` and `--only` choose.

    Raises:
        SystemExit: no case fits.
    """
    kept = [case for case in cases if not options.case or options.case in case.name]
    if not kept:
        sys.exit(f"--case {options.case} fits no case; the cases are {', '.join(case.name for case in cases)}")
    if not options.only:
        return kept
    words = re.split(r",(?! )", options.only)  # names have commas followed by a space
    names = {each.name for case in kept for each in case.contestants}
    wanted = {name for word in words for name in names if name == word or (word not in names and word in name)}
    return [
        replace(
            case,
            contestants=tuple(
                each for each in case.contestants if not each.timed or each.name in wanted | {case.reference}
            ),
        )
        for case in kept
    ]


def main(name: str, words: Sequence[str] | None = None, *, rounds: int = 5, repeats: int = 1) -> None:
    """Run a benchmark from its command line: prove, time in rounds, print and write the result."""
    module = importlib.import_module(name)
    options = parse(module, words, rounds=rounds, repeats=repeats)
    os.environ.update(OMP_NUM_THREADS=str(options.threads), RAYON_NUM_THREADS=str(options.threads))
    if options.huge_pages:
        os.environ["THP_MEM_ALLOC_ENABLE"] = "1"
    if getattr(module, "KEEPS_MEMORY", False):
        for variable, value in KEPT_MEMORY.items():
            os.environ.setdefault(variable, value)
    cases = chosen(module.cases(options), options)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(name, options, Path(folder), options.seconds)
        inputs = run.ask("prepare") if hasattr(module, "prepare") else {}
        more_machine = inputs.pop("machine", {})
        found = run.prove_all(cases)
        for _ in range(options.rounds):
            for case, filled in zip(cases, found, strict=True):
                run.time(case, filled, 1 if options.smoke else options.repeats)
    result = {
        "name": name.rpartition(".")[2],
        "question": (module.__doc__ or "").strip().splitlines()[0],
        "cases": [ledger.summarized(case) for case in found],
        "inputs": inputs,
        "rounds": options.rounds,
        "machine": {**machine.description(), "threads": options.threads, **more_machine},
        "environment": machine.environment(),
        "versions": machine.versions({need for case in cases for each in case.contestants for need in each.needs}),
        "date": time.strftime("%Y-%m-%d"),
    }
    print(ledger.as_text(result))
    if options.smoke:
        say("a smoke run: the figures mean nothing, and no result was written")
        return
    say(f"written to {ledger.write(result, Path(options.out))}")


if __name__ == "__main__":
    answer(Path(sys.argv[1]))
