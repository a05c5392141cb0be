"""Draw the tables and plots of docs/measured/benchmarks.md from the committed results.

    python -m benchmarks.draw            the page between its markers, and one docs/images/benchmark-NAME.svg a result

Plots are plain SVG, so that they have the same bytes on every machine.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from benchmarks import ledger
from benchmarks.page import filled

PAGE = Path(__file__).parents[1] / "docs" / "measured" / "benchmarks.md"
IMAGES = PAGE.parents[1] / "images"
SCRIPT = "benchmarks/draw.py"
_WIDTH, _NAMES, _FIGURES, _BAR, _TITLE = 880, 330, 170, 24, 34
_OURS, _PEER, _LINE, _TEXT = "#2563a8", "#9aa5b1", "#333333", "#222222"


def results(folder: Path = ledger.RESULTS) -> list[dict[str, Any]]:
    """Read all committed results, in the order of their names."""
    return [ledger.read(path) for path in sorted(folder.glob("*.json"))]


def section(result: Mapping[str, Any]) -> str:
    """Return a result as Markdown: question, machine, plot, and one table for each case."""
    image = f"../images/benchmark-{result['name']}.svg"
    lines = [
        f"### {result['name'].replace('_', ' ')}",
        "",
        result["question"],
        "",
        f"{_machine(result)}",
        "",
        f"![{result['name']}: medians with least and most]({image})",
    ]
    for case in result["cases"]:
        lines += ["", f"**{case['name']}**, {case['unit']}, {case['better']} is better", "", *_table(case)]
        lines += [f"\nNot installed: {name} (`{hint}`)." for name, hint in case["missing"].items()]
        lines += [f"\nNot timed: {name}: {reason}." for name, reason in case["left_out"].items()]
    return "\n".join(lines)


def _machine(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    parts = [f"{machine['processor']}"]
    if "accelerator" in machine:
        parts.append(machine["accelerator"])
    if "cores" in machine:
        parts.append(f"{machine['cores']} cores")
    parts.append(f"{machine['threads']} threads")
    if "memory" in machine:
        parts.append(machine["memory"])
    parts.append(", ".join(machine["flags"]) if machine["flags"] else "neither AVX-512 nor native bf16")
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    environment = "".join(f", {name}={value}" for name, value in result.get("environment", {}).items())
    return f"{result['date']}; {'; '.join(parts)}; {versions}{environment}."


def _table(case: Mapping[str, Any]) -> list[str]:
    more = list(dict.fromkeys(key for row in case["rows"].values() for key in ledger.extras(row)))
    head = ["", f"median, {case['unit']}", "least to most", "repeats", f"{case['reference']}, times as fast"]
    head += [key.replace("_mb", ", MB").replace("_", " ") for key in more]
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    for name, row in case["rows"].items():
        ratio = case["faster_by"].get(name)
        cells = [
            name,
            ledger.figure(row["median"]),
            f"{ledger.figure(row['min'])} to {ledger.figure(row['max'])}",
            str(row["repeats"]),
            "" if ratio is None else _ratio(ratio),
            *("" if key not in row else ledger.figure(row[key]) for key in more),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _ratio(spread: Mapping[str, float]) -> str:
    shown = f"{spread['median']:.2f}"
    return shown if spread["min"] == spread["max"] else f"{shown} [{spread['min']:.2f}, {spread['max']:.2f}]"


def plot(result: Mapping[str, Any]) -> str:
    """Return an SVG with a bar for each median and a line from the least to the most; each case has its own scale."""
    top, parts = 8, []
    for case in result["cases"]:
        parts.append(
            f'<text x="8" y="{top + 20}" font-weight="bold">{escape(case["name"])} '
            f"({escape(case['unit'])}, {case['better']} is better)</text>"
        )
        top += _TITLE
        largest = max((row["max"] for row in case["rows"].values()), default=1.0)
        room = _WIDTH - _NAMES - _FIGURES
        for name, row in case["rows"].items():
            start, middle = _NAMES, top + _BAR // 2
            low, median, high = (start + room * row[key] / largest for key in ("min", "median", "max"))
            colour = _OURS if name == case["reference"] or name.startswith("bertie") else _PEER
            parts += [
                f'<text x="{_NAMES - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>',
                f'<rect x="{start}" y="{top + 4}" width="{median - start:.1f}" height="{_BAR - 8}" fill="{colour}"/>',
                f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" stroke="{_LINE}" stroke-width="2"/>',
                f'<text x="{max(high, median) + 8:.1f}" y="{middle + 4}">{ledger.figure(row["median"])}</text>',
            ]
            top += _BAR
        top += 10
    style = f'font-family="system-ui, sans-serif" font-size="13" fill="{_TEXT}"'
    size = f'width="{_WIDTH}" height="{top}" viewBox="0 0 {_WIDTH} {top}"'
    background = f'<rect width="{_WIDTH}" height="{top}" fill="white"/>'
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{background}\n{body}\n</svg>\n'


def drawn(page: str, found: Sequence[Mapping[str, Any]]) -> str:
    """Return the page with the given results between its markers.

    Raises:
        SystemExit: the page has no markers.
    """
    body = "\n\n".join(section(result) for result in found) or "No result has been committed yet."
    return filled(page, body, SCRIPT, PAGE.name)


def main() -> None:
    """Write the page and its plots."""
    found = results()
    PAGE.write_text(drawn(PAGE.read_text(encoding="utf-8"), found), encoding="utf-8")
    for result in found:
        (IMAGES / f"benchmark-{result['name']}.svg").write_text(plot(result), encoding="utf-8")


if __name__ == "__main__":
    main()
