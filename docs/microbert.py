"""Run examples/microbert.py from both starts with several seeds; record what it prints in docs/studies/microbert.json.

    python docs/microbert.py                     # six runs, one after the other, on one core
    python docs/microbert.py --from OUTPUT ...   # files of what the script printed, each named START-SEED.txt

`python -m examples.explanation_pictures` then draws the picture of docs/explanation/microbert.md.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LEDGER = ROOT / "docs" / "studies" / "microbert.json"
SCRIPT = ROOT / "examples" / "microbert.py"


def entry(start: str, seed: int, printed: str) -> dict[str, Any]:
    """Read one run from what it printed: points are [step, seconds, loss], scores are shares of passages in percent."""
    steps = re.findall(r"^step +(\d+), +(\d+) s, loss (\d+\.\d+)", printed, re.MULTILINE)
    scores = re.findall(r"^(pre-trained|random|begun|bag of words) +(.*%)$", printed, re.MULTILINE)
    (unigram,) = re.findall(r"by word frequencies alone: (\d+\.\d+)", printed)
    return {
        "start": start,
        "seed": seed,
        "unigram": float(unigram),
        "points": [[int(step), int(seconds), float(loss)] for step, seconds, loss in steps],
        "scores": {name: [float(score) for score in re.findall(r"[\d.]+", row)] for name, row in scores},
        "cpu": processor(),
        "python": platform.python_version(),
    }


def processor() -> str:
    """Return the name of the processor, as lscpu does."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text(encoding="utf-8")) if info.exists() else None
    return found[1] if found else platform.processor()


def write(entries: list[dict[str, Any]]) -> None:
    """Put entries into the ledger, in place of older ones of the same start and seed; one line a run."""
    old = json.loads(LEDGER.read_text(encoding="utf-8")) if LEDGER.exists() else []
    runs = {(run["start"], run["seed"]): run for run in [*old, *entries]}
    lines = [json.dumps(runs[key]) for key in sorted(runs)]
    LEDGER.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def main() -> None:
    """Run or read, and record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--from", nargs="+", type=Path, dest="outputs", help="outputs to record instead of new runs")
    options = parser.parse_args()
    for output in options.outputs or ():
        start, _, seed = output.stem.partition("-")
        write([entry(start, int(seed), output.read_text(encoding="utf-8"))])
    if options.outputs:
        return
    alone = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for seed in (1, 2, 3):
        for start in ("neighbours", "paper"):
            command = [sys.executable, str(SCRIPT), "--start", start, "--seed", str(seed)]
            printed = subprocess.run(command, env=alone, check=True, capture_output=True, text=True).stdout
            write([entry(start, seed, printed)])
            print(printed, flush=True)


if __name__ == "__main__":
    main()
