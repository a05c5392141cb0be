"""Results of benchmarks: medians and ratios in one JSON file per question, as a plain table, and in comparison."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

RESULTS = Path(__file__).parent / "results"
# A 99th percentile is reported for cases with many repeats, such as single requests, whose slowest ones matter.
_ENOUGH_FOR_PERCENTILE = 100


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, minimum and maximum."""
    return {"median": median(values), "min": min(values), "max": max(values)}


def summarized(case: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the values of a case's rounds into rows, and into ratios to the reference contestant."""
    filled = {name: row for name, row in case["rows"].items() if row["values"]}
    rows: dict[str, Any] = {}
    for name, row in filled.items():
        values = [value for part in row["values"] for value in part]
        others = {key: value for key, value in row.items() if key not in ("values", "first_seconds")}
        rows[name] = {**spread(values), "repeats": len(values), **others, "first_seconds": median(row["first_seconds"])}
        if len(values) >= _ENOUGH_FOR_PERCENTILE:
            rows[name]["p99"] = float(np.percentile(values, 99))
    first = case["reference"]
    faster = {
        name: spread(ratios(filled[first]["values"], row["values"], higher_is_better=case["better"] == "higher"))
        for name, row in filled.items()
        if first in filled and name != first
    }
    return {**case, "rows": rows, "faster_by": faster}


def ratios(
    ours: Sequence[Sequence[float]], theirs: Sequence[Sequence[float]], *, higher_is_better: bool
) -> list[float]:
    """Return how many times as fast ours is in each round; in each repeat if there was only one round.

    >>> ratios([[10.0, 12.0], [9.0]], [[5.0, 6.0], [3.0]], higher_is_better=True)
    [2.0, 3.0]
    """
    if min(len(ours), len(theirs)) == 1:
        pairs = list(zip(ours[0], theirs[0], strict=False))
    else:
        pairs = [(median(a), median(b)) for a, b in zip(ours, theirs, strict=False)]
    return [a / b if higher_is_better else b / a for a, b in pairs]


def write(result: Mapping[str, Any], folder: Path) -> Path:
    """Write a result to NAME.json and return the path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['name']}.json"
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> dict[str, Any]:
    """Read a result; also one in the first layout, with a single case of pre-training and no spread of ratios.

    Raises:
        ValueError: the file is not a result.
    """
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if "cases" in found:
        return found
    if "tokens_per_second" not in found:
        raise ValueError(f"{path.name} holds no cases")
    case = {
        "name": f"{found['size']}, dropout 0.1",
        "unit": "tokens/s",
        "better": "higher",
        "settings": {},
        "reference": "bertie",
        "agreement": {"measure": "largest difference of the losses", "limit": 1e-4, "values": {}},
        "missing": {},
        "left_out": {},
        "rows": {name: {**row, "repeats": row["steps"]} for name, row in found["tokens_per_second"].items()},
        "faster_by": {name: {"median": value, "min": value, "max": value} for name, value in found["ratio"].items()},
    }
    versions = {name: found["machine"][name] for name in ("python", "torch")}
    flags = [name for name in ("bf16", "avx512") if found["machine"].get(name)]
    machine = {"processor": found["machine"]["processor"], "threads": found["machine"]["threads"], "flags": flags}
    return {
        "name": path.stem,
        "question": found["question"],
        "cases": [case],
        "machine": machine,
        "versions": versions,
        "date": found["date"],
    }


def as_text(result: Mapping[str, Any]) -> str:
    """Return a result as plain tables."""
    lines = [result["question"]]
    for case in result["cases"]:
        figures = [(name, _cells(case, name)) for name in case["rows"]]
        width = max((len(name) for name in [*case["rows"], *case["missing"], *case["left_out"]]), default=0)
        lines += ["", f"{case['name']} ({case['unit']}, {case['better']} is better)"]
        lines += [f"  {name:<{width}}  " + "  ".join(cells) for name, cells in figures]
        lines += [f"  {name:<{width}}  not installed: {hint}" for name, hint in case["missing"].items()]
        lines += [f"  {name:<{width}}  {reason}" for name, reason in case["left_out"].items()]
    return "\n".join(lines)


def _cells(case: Mapping[str, Any], name: str) -> list[str]:
    row = case["rows"][name]
    cells = [f"{figure(row['median']):>9} [{figure(row['min'])}, {figure(row['max'])}]"]
    if name in case["faster_by"]:
        cells.append(f"{case['reference']} is {figure(case['faster_by'][name]['median'])} times as fast")
    cells += [f"{key} {figure(row[key])}" for key in extras(row)]
    return cells


def extras(row: Mapping[str, Any]) -> list[str]:
    """Return the names of a row's figures other than median and spread."""
    known = ("median", "min", "max", "repeats", "steps", "first_seconds")
    return [key for key in row if key not in known]


def figure(value: float) -> str:
    """Format a number with three significant digits, or from 100 on as a whole number with commas."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def compared(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Compare the ratios of two results of one question.

    Returns:
        A line for each ratio to a peer that got worse by more than both spreads, and a line for each that can't be
        compared.
    """
    if reason := comparable(old, new):
        return [], [f"the committed result is of {reason}; nothing to compare"]
    slower, skipped = [], []
    fresh = {case["name"]: case for case in new["cases"]}
    for case in old["cases"]:
        if case["name"] not in fresh:
            skipped.append(f"{case['name']}: not in the fresh run")
            continue
        after = fresh[case["name"]]["faster_by"]
        for name, before in case["faster_by"].items():
            if name not in after:
                skipped.append(f"{case['name']}: {name} is not in the fresh run")
            elif after[name]["max"] < before["min"]:
                lost = 1 - after[name]["median"] / before["median"]
                slower.append(
                    f"{case['name']}: {_ratio(before)} times as fast as {name} before, now "
                    f"{_ratio(after[name])}: {lost:.0%} lost"
                )
    return slower, skipped


def comparable(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return the reason why two results can't be compared; "" if they can."""
    if differing := [key for key, value in old["machine"].items() if new["machine"].get(key) != value]:
        return f"another machine ({', '.join(differing)} differ)"
    return "" if old.get("inputs") == new.get("inputs") else "other inputs"


def _ratio(spread: Mapping[str, float]) -> str:
    return f"{spread['median']:.2f} [{spread['min']:.2f}, {spread['max']:.2f}]"
