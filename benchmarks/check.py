"""Has anything become slower? Runs benchmarks again and compares their ratios with the committed results.

A ratio is worse if the whole spread of the fresh one is below that of the committed one. Results from another machine
or other inputs are reported and not compared, because absolute figures of two machines can't be compared. The exit
status is 1 if something is slower.

Usage: python -m benchmarks.check [NAME ...] [--fresh FOLDER] [-- flags of the benchmark, as for the committed run]
"""

import argparse
import importlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import ledger, machine


def main(words: Sequence[str] | None = None) -> int:
    """Compare the results and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="benchmarks to run; default: all with a committed result")
    parser.add_argument("--committed", type=Path, default=ledger.RESULTS, help="folder of the committed results")
    parser.add_argument("--fresh", type=Path, help="folder of fresh results, to compare them without a new run")
    command = list(sys.argv[1:] if words is None else words)
    end = command.index("--") if "--" in command else len(command)
    options, flags = parser.parse_args(command[:end]), command[end + 1 :]
    names = options.names or sorted(path.stem for path in options.committed.glob("*.json"))
    slower, done = 0, 0
    for name in names:
        lines = check(options.committed / f"{name}.json", options.fresh, flags)
        if lines is None:
            continue
        done, slower = done + 1, slower + len(lines)
        for line in lines:
            print(f"{name}: {line}")
    if slower:
        print(f"{slower} ratios are worse by more than the noise")
    else:
        print("no ratio is worse by more than the noise" if done else "no results were compared")
    return int(bool(slower))


def check(committed: Path, fresh: Path | None, flags: Sequence[str]) -> list[str] | None:
    """Return a line for each slower ratio, or None if the results can't be compared, with the reason on stderr."""
    if not committed.exists():
        print(f"{committed.stem}: no committed result", file=sys.stderr)
        return None
    old = ledger.read(committed)
    current = machine.description()
    # Checked here to save an hour of measuring; threads and accelerator are known only from the fresh result.
    if differing := [key for key, value in current.items() if fresh is None and old["machine"].get(key) != value]:
        print(f"{committed.stem}: measured on another machine ({', '.join(differing)} differ)", file=sys.stderr)
        return None
    with tempfile.TemporaryDirectory() as folder:
        if fresh is None:
            module = importlib.import_module(f"benchmarks.{committed.stem}")
            module.main([*flags, "--out", folder])
        new = (fresh or Path(folder)) / committed.name
        if not new.exists():
            print(f"{committed.stem}: no fresh result", file=sys.stderr)
            return None
        result = ledger.read(new)
        slower, skipped = ledger.compared(old, result)
        compares = not ledger.comparable(old, result)
    for line in skipped:
        print(f"{committed.stem}: {line}", file=sys.stderr)
    return slower if compares else None


if __name__ == "__main__":
    sys.exit(main())
