"""The report of a run or an evaluation: one HTML file with curves, guesses, mistakes, and how to repeat it."""

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
    "demo": "The whole life, from raw text to a model of one's own",
}
_SEEDS = "All figures are of one run. Another seed gives other ones: --seeds 1,2,3 measures by how much."
_ONE_RUN = {"pretrain": (_SEEDS,), "finetune": (_SEEDS,)}
# What is shown big, most wanted first; dev before train.
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
    """The same score of several ways, one value a seed."""

    title: str
    rows: Sequence[tuple[str, Sequence[float]]]
    remark: str = ""
    unit: str = ""
    """% writes shares of one in percent; anything else stands behind the numbers."""


@dataclass(frozen=True)
class Rows:
    """A table with a section of its own; cells are plain text."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    remark: str = ""
    numbers: Sequence[int] = ()
    """Columns that stand at the right."""


@dataclass(frozen=True)
class RunReport:
    """Everything a report shows; parts that are empty are left out."""

    title: str
    kind: Literal["pretrain", "finetune", "evaluate", "demo", "seeds", "against"]
    summary: Mapping[str, Any]
    """Figures on top, by name; the most telling ones are shown big."""
    about: Mapping[str, str] = field(default_factory=dict)
    """Small print under a big figure, by its name."""
    records: Sequence[Mapping[str, Any]] = ()
    """Lines of metrics.jsonl."""
    runs: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """The same of several runs, by name; their curves are drawn into one picture."""
    tables: Sequence[Rows] = ()
    settings: str = ""
    """Text of config.toml."""
    command: str = ""
    """Repeats the run."""
    masked: Sequence[MaskedSentence] = ()
    findings: Findings | None = None
    """What was found on labelled items; None when nothing was measured."""
    comparisons: Sequence[Comparison] = ()
    predictions: Sequence[tuple[str, str, float]] = ()
    """(text, label, probability) of a few texts nobody labelled."""
    notes: Sequence[str] = ()
    """What a reader should know, a sentence each."""
    machine: Mapping[str, str] = field(default_factory=this_machine)
    """What the run ran on; this machine, when not given."""
    versions: Mapping[str, str] = field(default_factory=these_versions)


def write(path: Path, run: RunReport) -> None:
    """Write the report, whole or not at all.

    Raises:
        ResourceError: the disk is full.
        SettingsError: the place can't be written to.
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
            "Texts nobody labelled",
            table(
                ("text", "label", "probability"),
                [(text(of), chip(label), meter(share)) for of, label, share in run.predictions],
            ),
        ),
        section("Good to know", _notes([*_ONE_RUN.get(run.kind, ()), *run.notes])),
        section("Repeat it", _settings(run)),
    ]
    return page(run.title, _KINDS[run.kind], parts, footer=f"Written by bertie {VERSION}. This page loads nothing.")


def _cells(part: Rows) -> list[list[str]]:
    return [
        [safe(cell) if place in part.numbers else text(cell) for place, cell in enumerate(row)] for row in part.rows
    ]


def _summary(run: RunReport) -> str:
    """Show the most telling figures big, the others small."""
    known = {name: value for name, value in run.summary.items() if name not in _UNSHOWN and _is_figure(value)}
    elsewhere = PREFIXES if yardsticks(run.summary) else ()
    values = {name: value for name, value in known.items() if not name.startswith(elsewhere)}
    # What was measured on held-out data tells more than what was trained on.
    wanted = [found for name in _BIG if (found := next((way for way in _ways(name) if way in values), ""))]
    if not wanted:
        wanted = list(values)
    big = wanted[:_NUM_BIG]
    head = [(name_of(_plain(name)), shown(name, values[name]), _about(run, name)) for name in big]
    return cards(head) + facts({name_of(name): shown(name, values[name]) for name in values if name not in big})


def _ways(name: str) -> tuple[str, ...]:
    return f"dev_{name}", name, f"train_{name}"


def _is_figure(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))


def _plain(name: str) -> str:
    return name.removeprefix("dev_").removeprefix("train_")


def _about(run: RunReport, name: str) -> str:
    """Say what a figure was measured on and, when it has a curve, where that began."""
    if name in run.about:
        return run.about[name]
    plain = _plain(name)
    kind = "train" if name.startswith("train_") else "dev"
    said = [] if name == plain else [kind]
    if any(word in plain for word in _IMPROVING) and (ends := first_and_last(run.records, kind, plain)):
        said = [*said, f"{shown(name, ends[0])} at first"]
    return ", ".join(said)


def _curves(run: RunReport) -> str:
    if run.kind in ("evaluate", "against"):
        return ""  # nothing was trained
    if run.runs:
        drawn = overlaid(run.runs) or _missing("No figure was logged.")
        return section("Curves", drawn, remark="A line for each seed; what was measured on dev where it was.")
    drawn = curves(run.records, run.summary) or _missing("No figure was logged.")
    return section("Curves", drawn, remark=_about_curves(run))


def _about_curves(run: RunReport) -> str:
    if not run.records:
        return ""
    said = ["Faint: every logged value; bold: a running mean. Above each chart stands where the bold lines end."]
    if changes(run.records):
        said.append("Dashed: from here on sequences have another length, in tokens; dev goes by the longest.")
    if any("mlm_loss" in row for row in run.records):
        said.append("MLM: masked language model; NSP: next sentence prediction.")
    if any("mask_loss" in row for row in run.records):
        said.append("[MASK] alone: places where the token is shown as it is, or another one, are left out.")
    if not any(row.get("kind") == "dev" for row in run.records):
        said.append("No dev set was given: what is shown was measured on the data trained on.")
    return " ".join(said)


def _findings(run: RunReport) -> list[str]:
    if run.findings is not None:
        return sections(run.findings)
    if run.kind != "finetune":
        return []
    said = _missing("No dev table was given, so nothing is known of what the model gets wrong.")
    return [section("Right and wrong", said)]


def _missing(what: str) -> str:
    return f'<p class="empty">{safe(what)}</p>'


def _notes(notes: Sequence[str]) -> str:
    lines = "".join(f'<li dir="auto">{safe(line)}</li>' for line in notes)
    return f'<ul class="notes">{lines}</ul>' if lines else ""


def _settings(run: RunReport) -> str:
    """Show the command, the settings, and what the run ran on."""
    parts = f'<div class="panel"><pre>{safe(run.command)}</pre></div>' if run.command else ""
    if run.settings:
        parts += folded("config.toml", f"<pre>{safe(run.settings)}</pre>")
    return parts + facts({**run.machine, **run.versions})
