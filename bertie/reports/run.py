"""The report of a run: one HTML file with its curves, what it guesses, its mistakes, and how to repeat it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Literal

from bertie import __version__
from bertie.files.atomic import write_text
from bertie.reports.chart import Series, dots, heat_map, lines
from bertie.reports.page import cards, page, section, table

# (title, figure in the records, format of the axis), in the order of the page
_CURVES = (
    ("Loss", "loss", "{:g}"),
    ("Masked LM loss", "mlm_loss", "{:g}"),
    ("Masked LM accuracy", "mlm_accuracy", "{:.0%}"),
    ("Next sentence loss", "nsp_loss", "{:g}"),
    ("Next sentence accuracy", "nsp_accuracy", "{:.0%}"),
    ("Accuracy", "accuracy", "{:.0%}"),
    ("Macro F1", "macro_f1", "{:g}"),
    ("Learning rate", "learning_rate", "{:g}"),
    ("Tokens a second", "tokens_per_second", "{:,.0f}"),
)


@dataclass(frozen=True)
class MaskedSentence:
    """A sentence with a hole, and what the model put into it before and after training."""

    pieces: Sequence[str]
    place: int
    """Index of the hole in `pieces`."""
    answer: str
    before: Sequence[tuple[str, float]]
    after: Sequence[tuple[str, float]]


@dataclass(frozen=True)
class ClassifierReport:
    """What a classifier got right and wrong on the dev table."""

    labels: Sequence[str]
    confusion: Sequence[Sequence[int]]
    """Row = gold, column = guess."""
    per_class: Mapping[str, Mapping[str, float]]
    worst: Sequence[tuple[str, str, str, float]]
    """(text, gold, guess, probability of the guess), surest first."""


@dataclass(frozen=True)
class Comparison:
    """The same score of several ways, one value a seed."""

    title: str
    rows: Sequence[tuple[str, Sequence[float]]]
    remark: str = ""


@dataclass(frozen=True)
class RunReport:
    """Everything a report shows; empty parts are left out."""

    title: str
    kind: Literal["pretrain", "finetune", "demo"]
    summary: Mapping[str, Any]
    """Big figures on top, by name."""
    records: Sequence[Mapping[str, Any]] = ()
    """Lines of metrics.jsonl."""
    settings: str = ""
    """Text of config.toml."""
    command: str = ""
    """Repeats the run."""
    masked: Sequence[MaskedSentence] = ()
    classifier: ClassifierReport | None = None
    comparisons: Sequence[Comparison] = ()
    predictions: Sequence[tuple[str, str, float]] = ()
    """(text, label, probability) of a few texts nobody labelled."""
    notes: Sequence[str] = field(default_factory=tuple)


_KINDS = {
    "pretrain": "pre-training run",
    "finetune": "fine-tuning run",
    "demo": "the whole life, from text to classifier",
}


def write(path: Path, run: RunReport) -> None:
    """Write the report, whole or not at all."""
    write_text(path, render(run))


def render(run: RunReport) -> str:
    """Return the report's HTML."""
    sections = [
        cards({name.replace("_", " "): _figure(value) for name, value in run.summary.items() if _shown(name, value)}),
        *(section(part.title, dots(part.rows), remark=part.remark) for part in run.comparisons),
        section("Curves", _curves(run.records)),
        section(
            "Ten holes, before and after",
            _masked(run.masked),
            remark="Sentences of held-out text where there is some, with one word hidden. Shades are probabilities.",
        ),
        *_classifier(run.classifier),
        section("Texts nobody labelled", table(("text", "label", "probability"), run.predictions)),
        section("Good to know", _notes(run.notes)),
        section("Repeat it", _settings(run.command, run.settings)),
    ]
    return page(
        run.title, _KINDS[run.kind], sections, footer=f"Written by bertie {__version__}. This page loads nothing."
    )


def _shown(name: str, value: Any) -> bool:
    return isinstance(value, int | float | str) and name not in ("folder", "report")


def _figure(value: float | str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def _curves(records: Sequence[Mapping[str, Any]]) -> str:
    """Draw every figure that the records hold, training and dev in one frame."""
    drawn: list[str] = []
    for title, name, form in _CURVES:
        series = []
        for kind in ("train", "dev"):
            points = [(float(row["step"]), row[name]) for row in records if row.get("kind") == kind and name in row]
            if points:
                series.append(Series(kind, points, marked=kind == "dev" and len(points) <= 60))
        if series and not (title == "Loss" and any("mlm_loss" in row for row in records) and len(drawn) > 3):
            drawn.append(lines(title, series, x_label="steps", y_format=form))
    return f'<div class="charts">{"".join(drawn)}</div>' if drawn else ""


def _masked(sentences: Sequence[MaskedSentence]) -> str:
    if not sentences:
        return ""
    rows = []
    for sentence in sentences:
        left = _text(sentence.pieces[: sentence.place])
        right = _text(sentence.pieces[sentence.place + 1 :])
        before, after = _guesses(sentence, sentence.before), _guesses(sentence, sentence.after)
        rows.append(
            f'<div class="cloze"><p dir="auto">{escape(left)} <span class="hole">{escape(sentence.answer)}</span> '
            f'{escape(right)}</p><div class="guesses"><span>before</span><div>{before}</div>'
            f"<span>after</span><div>{after}</div></div></div>"
        )
    return f'<div class="panel">{"".join(rows)}</div>'


def _text(pieces: Sequence[str]) -> str:
    """Join pieces: continuations to what is before them."""
    return " ".join(pieces).replace(" ##", "")


def _guesses(sentence: MaskedSentence, guesses: Sequence[tuple[str, float]]) -> str:
    return "".join(
        f'<span class="guess{" hit" if token == sentence.answer else ""}" style="--share:{score:.3f}">{escape(token)}'
        f"<small>{score:.0%}</small></span>"
        for token, score in guesses
    )


def _classifier(report: ClassifierReport | None) -> list[str]:
    if report is None:
        return []
    scores = [
        (label, row["precision"], row["recall"], row["f1"], int(row["support"]))
        for label, row in report.per_class.items()
    ]
    return [
        section("Confusion", heat_map(report.labels, report.confusion) if len(report.labels) <= 40 else ""),
        section("By class", table(("label", "precision", "recall", "F1", "items"), scores)),
        section(
            "Worst errors",
            table(("text", "gold", "guess", "probability"), report.worst),
            remark="Mistakes the model was surest of: often where the data are wrong, or hard.",
        ),
    ]


def _notes(notes: Sequence[str]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{escape(line)}</li>" for line in notes)}</ul>' if notes else ""


def _settings(command: str, settings: str) -> str:
    parts = f'<div class="panel"><pre>{escape(command)}</pre></div>' if command else ""
    if settings:
        parts += f'<details class="panel"><summary>config.toml</summary><pre>{escape(settings)}</pre></details>'
    return parts
