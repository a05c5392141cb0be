"""Has anything become slower? Runs benchmarks anew and compares their ratios with the committed results.

A ratio counts as worse where the spread of the fresh one lies wholly below that of the committed one. Results of other
machines or inputs are said to be such and not compared: absolute figures say nothing between machines. Exit status 1
when something is slower.

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
    """Compare, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="benchmarks; all that have a committed result when none is given")
    parser.add_argument("--committed", type=Path, default=ledger.RESULTS, help="folder of results")
    parser.add_argument("--fresh", type=Path, help="folder of results that were just measured, instead of a new run")
    given = list(sys.argv[1:] if words is None else words)
    place = given.index("--") if "--" in given else len(given)
    options, flags = parser.parse_args(given[:place]), given[place + 1 :]
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
        print("nothing is slower by more than the noise" if done else "nothing was compared")
    return int(bool(slower))


def check(committed: Path, fresh: Path | None, flags: Sequence[str]) -> list[str] | None:
    """Return lines on what is slower, None where nothing compares; say on stderr what can't be compared."""
    if not committed.exists():
        print(f"{committed.stem}: no committed result", file=sys.stderr)
        return None
    old = ledger.read(committed)
    mine = machine.description()
    # Known before an hour of measuring: the threads and the accelerator show themselves only then.
    if differing := [key for key, value in mine.items() if fresh is None and old["machine"].get(key) != value]:
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
        found = ledger.read(new)
        slower, apart = ledger.compared(old, found)
        compares = not ledger.comparable(old, found)
    for line in apart:
        print(f"{committed.stem}: {line}", file=sys.stderr)
    return slower if compares else None


if __name__ == "__main__":
    sys.exit(main())
