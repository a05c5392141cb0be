"""Write the report of a run or an evaluation: one HTML file with curves, predictions, errors and settings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bertie.files.atomic import write_text
from bertie.reports.bars import bars
from bertie.reports.curves import changes, curves, first_and_last, overlaid
from bertie.reports.figures import name_of, shown
from bertie.reports.findings import Findings, sections
from bertie.reports.machine import these_versions, this_machine
from bertie.reports.masked import MaskedSentence, masked_section
from bertie.reports.page import cards, chip, facts, folded, meter, page, section, table, text
from bertie.reports.text import safe
from bertie.reports.yardsticks import PREFIXES, yardsticks
from bertie.version import VERSION

_KINDS = {
    "pretrain": "Pre-training run",
    "finetune": "Fine-tuning run",
    "evaluate": "Evaluation",
    "seeds": "The same run with several seeds",
    "against": "Two models on the same data",
    "compare": "Runs compared",
    "demo": "From raw text to your own model",
}
_SEEDS = "All figures come from a single run. Another seed gives other figures; --seeds 1,2,3 measures the difference."
_SEEDS_DRAWN = "One line per seed, with dev values if there are any."
_MEANS = "Dev values if there are any. A bold line over pale ones is the mean of runs that differ by their seeds alone."
_ONE_RUN = {"pretrain": (_SEEDS,), "finetune": (_SEEDS,)}
# The figures to show large, most important first; dev values before training values.
_BIG = (
    *("f1_pretrained", "f1_random", "f1_classical", "accuracy_pretrained", "accuracy_random", "accuracy_classical"),
    *("exact_match", "f1", "precision", "recall", "accuracy", "matthews"),
    *("micro_f1", "macro_f1", "spearman", "pearson", "mask_accuracy", "mask_loss", "mlm_accuracy", "mlm_loss"),
    *("nsp_accuracy", "detection_recall"),
    *("loss", "seconds", "minutes", "tokens", "tokens_trained_on", "tokens_per_second"),
)
_IMPROVING = ("loss", "accuracy", "f1", "matthews", "spearman", "pearson", "exact_match")
_NUM_BIG = 6
_UNSHOWN = {"folder", "report"}


@dataclass(frozen=True)
class Comparison:
    """The same score of several methods, with one value per seed."""

    title: str
    rows: Sequence[tuple[str, Sequence[float]]]
    remark: str = ""
    unit: str = ""
    """The unit "%" writes shares of one in percent; any other unit is appended to the numbers."""


@dataclass(frozen=True)
class Rows:
    """A table in a section of its own; cells are plain text."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    remark: str = ""
    numbers: Sequence[int] = ()
    """Columns to align right."""


@dataclass(frozen=True)
class RunReport:
    """Everything that a report shows; empty parts are left out."""

    title: str
    kind: Literal["pretrain", "finetune", "evaluate", "demo", "seeds", "against", "compare"]
    summary: Mapping[str, Any]
    """Figures at the top, by name; the most important ones are shown large."""
    about: Mapping[str, str] = field(default_factory=dict)
    """Small print under a large figure, by the figure's name."""
    records: Sequence[Mapping[str, Any]] = ()
    """Lines of metrics.jsonl."""
    runs: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """The records of several runs, by name; their curves are drawn into the same charts."""
    groups: Mapping[str, str] = field(default_factory=dict)
    """The group of each of these runs; a group of several is drawn as its mean over pale lines."""
    tables: Sequence[Rows] = ()
    settings: str = ""
    """Text of config.toml."""
    command: str = ""
    """The command that repeats the run."""
    masked: Sequence[MaskedSentence] = ()
    findings: Findings | None = None
    """Results on labelled items; None if there was no evaluation."""
    comparisons: Sequence[Comparison] = ()
    predictions: Sequence[tuple[str, str, float]] = ()
    """(text, predicted label, probability) of a few unlabelled texts."""
    notes: Sequence[str] = ()
    """Remarks for the reader, one sentence each."""
    machine: Mapping[str, str] = field(default_factory=this_machine)
    """The machine of the run; this machine by default."""
    versions: Mapping[str, str] = field(default_factory=these_versions)


def write(path: Path, run: RunReport) -> None:
    """Write the report atomically.

    Raises:
        ResourceError: the disk is full.
        SettingsError: the path can't be written to.
    """
    write_text(path, render(run))


def render(run: RunReport) -> str:
    """Return the report's HTML."""
    parts = [
        _summary(run),
        *(
            section(part.title, table(part.head, _cells(part), numbers=part.numbers), remark=part.remark)
            for part in run.tables
        ),
        *(
            section(part.title, bars(part.title, part.rows, unit=part.unit), remark=part.remark)
            for part in run.comparisons
        ),
        yardsticks(run.summary),
        _curves(run),
        masked_section(run.masked),
        *_findings(run),
        section(
            "Predictions for unlabelled texts",
            table(
                ("text", "label", "probability"),
                [(text(of), chip(label), meter(share)) for of, label, share in run.predictions],
            ),
        ),
        section("Notes", _notes([*_ONE_RUN.get(run.kind, ()), *run.notes])),
        section("How to reproduce", _settings(run)),
    ]
    footer = f"Written by bertie {VERSION}. This page loads no other files."
    return page(run.title, _KINDS[run.kind], parts, footer=footer)


def _cells(part: Rows) -> list[list[str]]:
    return [
        [safe(cell) if column in part.numbers else text(cell) for column, cell in enumerate(row)] for row in part.rows
    ]


def _summary(run: RunReport) -> str:
    """Show the most important figures large, the others small."""
    known = {name: value for name, value in run.summary.items() if name not in _UNSHOWN and _is_figure(value)}
    elsewhere = PREFIXES if yardsticks(run.summary) else ()
    values = {name: value for name, value in known.items() if not name.startswith(elsewhere)}
    # Values on held-out data are more informative than training values, so they come first.
    present = [key for name in _BIG if (key := next((key for key in _keys(name) if key in values), ""))]
    if not present:
        present = list(values)
    big = present[:_NUM_BIG]
    head = [(name_of(_plain(name)), shown(name, values[name]), _about(run, name)) for name in big]
    return cards(head) + facts({name_of(name): shown(name, values[name]) for name in values if name not in big})


def _keys(name: str) -> tuple[str, ...]:
    return f"dev_{name}", name, f"train_{name}"


def _is_figure(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))


def _plain(name: str) -> str:
    return name.removeprefix("dev_").removeprefix("train_")


def _about(run: RunReport, name: str) -> str:
    """Return the small print of a figure: the data it was measured on, and its first value if it has a curve."""
    if name in run.about:
        return run.about[name]
    plain = _plain(name)
    kind = "train" if name.startswith("train_") else "dev"
    parts = [] if name == plain else [kind]
    if any(word in plain for word in _IMPROVING) and (ends := first_and_last(run.records, kind, plain)):
        parts = [*parts, f"initially {shown(name, ends[0])}"]
    return ", ".join(parts)


def _curves(run: RunReport) -> str:
    if run.kind in ("evaluate", "against"):
        return ""  # no training
    if run.runs:
        drawn = overlaid(run.runs, run.groups) or _missing("No figures were logged.")
        return section("Curves", drawn, remark=_MEANS if run.groups else _SEEDS_DRAWN)
    drawn = curves(run.records, run.summary) or _missing("No figures were logged.")
    return section("Curves", drawn, remark=_about_curves(run))


def _about_curves(run: RunReport) -> str:
    if not run.records:
        return ""
    parts = ["Faint lines show logged values, bold lines a running mean; its last value is above the chart."]
    if changes(run.records):
        parts.append("A label such as 128 → 512 marks a new sequence length, in tokens; dev values use the longest.")
    if any("mlm_loss" in row for row in run.records):
        parts.append("MLM: masked language model; NSP: next sentence prediction.")
    if any("mask_loss" in row for row in run.records):
        parts.append("[MASK] alone: without the chosen tokens that are shown unchanged or as a random token.")
    if not any(row.get("kind") == "dev" for row in run.records):
        parts.append("No dev set was given, so all values are for the training data.")
    return " ".join(parts)


def _findings(run: RunReport) -> list[str]:
    if run.findings is not None:
        return sections(run.findings)
    if run.kind != "finetune":
        return []
    return [section("Errors", _missing("No dev table was given, so the model was not evaluated."))]


def _missing(message: str) -> str:
    return f'<p class="empty">{safe(message)}</p>'


def _notes(notes: Sequence[str]) -> str:
    lines = "".join(f'<li dir="auto">{safe(line)}</li>' for line in notes)
    return f'<ul class="notes">{lines}</ul>' if lines else ""


def _settings(run: RunReport) -> str:
    """Show the command, the settings, the machine and the versions."""
    parts = f'<div class="panel"><pre>{safe(run.command)}</pre></div>' if run.command else ""
    if run.settings:
        parts += folded("config.toml", f"<pre>{safe(run.settings)}</pre>")
    return parts + facts({**run.machine, **run.versions})
