"""What the demo found, in figures, in a table, in words, and as a page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import config, progress
from bertie.commands.command import Report
from bertie.metrics.spread import mean, spread_of

if TYPE_CHECKING:
    from bertie.commands._demo_files import DemoFiles
    from bertie.reports.masked import MaskedSentence

PRETRAINED, RANDOM, CLASSICAL = "pre-trained", "random", "classical"
NAMES = {PRETRAINED: "pre-trained", RANDOM: "random weights", CLASSICAL: "classical way"}
"""The ways that are compared, as the page calls them."""
_HOW = {
    "en": {"tagging": "word, neighbours, affixes", "classification": "TF-IDF of words and pairs"},
    "zh": {"tagging": "character, neighbours, pairs of them", "classification": "TF-IDF of characters and pairs"},
}
_SCORE = {"f1": "F1", "accuracy": "Accuracy"}
_NUM_SHOWN = 5  # sentences with a hole in the terminal; the page has all


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the demo did."""

    folder: Path
    files: DemoFiles
    documents: int
    tokens: int
    """Of the corpus."""
    life: Mapping[str, Any]
    """Figures of pre-training."""
    scores: Mapping[str, Sequence[float]]
    """Of each way, a score a seed."""
    model: Path
    """The first of the models begun from the pre-trained encoder."""
    seconds: float
    processor_seconds: float


def remark(outcome: Outcome) -> str:
    """Say in words what came out, whatever it is."""
    files, scores = outcome.files, outcome.scores
    kind = "sentences" if files.task == "tagging" else "texts"
    seeds = len(scores[PRETRAINED])
    draws = ", each with its own draw" if files.num_labelled < files.num_train else ""
    often = f"{seeds} seeds{draws}" if seeds > 1 else "one seed, so nothing is known of the spread"
    said = (
        f"{_SCORE[files.criterion]} on {len(files.dev):,} {kind} that nothing learned from, after "
        f"{files.num_labelled:,} labelled ones ({often}). "
        f"{outcome.life['seconds']:.0f} seconds of pre-training on text without labels: "
        f"{_against(scores, RANDOM)} random weights"
    )
    if CLASSICAL not in scores:
        return f"{said}. Without scikit-learn the classical way was not measured."
    how = _HOW[files.language][files.task]
    return f"{said}, {_against(scores, CLASSICAL)} the classical way (logistic regression on {how})."


def masks_remark(life: Mapping[str, Any]) -> str:
    """Say how many hidden words are guessed right in held-out text, beside what counts reach; empty without figures."""
    reached, counted = life.get("dev_mask_accuracy"), life.get("yardstick_neighbours_accuracy")
    if reached is None or counted is None:
        return ""
    gain = life["yardstick_neighbours_loss"] - life["dev_mask_loss"]
    return (
        f"In text that was held out {reached:.1%} of the hidden pieces are guessed right; counts of the two pieces "
        f"beside them reach {counted:.1%}. The loss is {abs(gain):.2f} nats {'below' if gain >= 0 else 'above'} theirs."
    )


def _against(scores: Mapping[str, Sequence[float]], other: str) -> str:
    """Say how far the pre-trained models are above or below another way, and whether that is more than chance."""
    gain = 100 * (mean(scores[PRETRAINED]) - mean(scores[other]))
    said = f"{abs(gain):.1f} points {'above' if gain >= 0 else 'below'}"
    pairs = [one - another for one, another in zip(scores[PRETRAINED], scores[other], strict=True)]
    if len(pairs) > 1 and len({pair > 0 for pair in pairs}) > 1:
        return f"{said} (not for every seed, so perhaps by chance)"
    return said


def figures(outcome: Outcome) -> dict[str, Any]:
    """Collect the figures that are single numbers."""
    life, name = outcome.life, outcome.files.criterion
    return {
        "minutes": round(outcome.seconds / 60, 2),
        "processor_minutes": round(outcome.processor_seconds / 60, 2),
        "documents": outcome.documents,
        "tokens_in_corpus": outcome.tokens,
        "steps": life["steps"],
        "tokens_trained_on": life["tokens"],
        "tokens_per_second": life["tokens_per_second"],
        **{
            key: value
            for key, value in life.items()
            if key.startswith(("train_", "dev_", "yardstick_", "plateau_left_"))
        },
        "labelled": outcome.files.num_labelled,
        **{f"{name}_{_key(way)}": round(mean(values), 4) for way, values in outcome.scores.items()},
    }


def _key(way: str) -> str:
    return way.replace("-", "")


def report(outcome: Outcome, masked: Sequence[MaskedSentence]) -> Report:
    """Write the page, and return the figures with two tables: the ways, and some sentences with a hole."""
    files, name = outcome.files, outcome.files.criterion
    values, said = figures(outcome), remark(outcome)
    place = outcome.folder / "report.html"
    _write_page(place, outcome, values, said, masked)
    ways = [
        {
            "way": NAMES[way],
            name: round(mean(scores), 4),
            "spread": None if len(scores) < 2 else round(spread_of(scores).deviation or 0.0, 4),
            "seeds": list(scores),
        }
        for way, scores in outcome.scores.items()
    ]
    holes = [
        {"sentence": _with_hole(one), "hidden": one.answer, "before": _first(one.before), "after": _first(one.after)}
        for one in masked
    ]
    remarks = [line for line in (masks_remark(outcome.life), said) if line]
    for line in remarks:
        progress.note(line)
    parts = {"masks": holes[:_NUM_SHOWN], "ways": ways}
    return Report(
        title="The whole life",
        values={**values, **parts, "remarks": remarks, "report": str(place)},
        next_command=_next(outcome.model, files.samples),
    )


def _next(model: Path, samples: Sequence[str]) -> str:
    words = shlex.quote(samples[0]) if samples else '"a text of yours" --pair "what goes with it"'
    return f"bertie predict {shlex.quote(str(model))} {words}"


def _with_hole(sentence: MaskedSentence) -> str:
    from bertie.reports.text import spaced

    pieces = ["___" if place == sentence.place else piece for place, piece in enumerate(sentence.pieces)]
    return "".join(f"{' ' if space else ''}{word}" for word, space in spaced(pieces))


def _first(guesses: Sequence[tuple[str, float]]) -> str:
    return f"{guesses[0][0]} ({guesses[0][1]:.0%})" if guesses else ""


def _write_page(
    place: Path, outcome: Outcome, values: dict[str, Any], said: str, masked: Sequence[MaskedSentence]
) -> None:
    from bertie.inference.evaluate import evaluate
    from bertie.inference.predictor import load
    from bertie.reports.parts import findings
    from bertie.reports.run import Comparison, RunReport, write
    from bertie.training.journal import read

    files = outcome.files
    with progress.without_notes():
        model = load(outcome.model)
        guesses = model.predict(list(files.samples))
    measured = evaluate(model.model, model.task, files.dev, model.tokenizer)
    rows = [(NAMES[way], list(scores)) for way, scores in outcome.scores.items()]
    encoder = outcome.folder / "encoder"
    write(
        place,
        RunReport(
            title="From raw text to a model of your own",
            kind="demo",
            summary=values,
            records=read(encoder / "metrics.jsonl"),
            settings=config.render(command="pretrain", parameters=config.read(encoder)),
            command="bertie demo" if files.language == "en" else f"bertie demo --language {files.language}",
            masked=masked,
            findings=findings(measured, model.task, files.dev),
            comparisons=[Comparison("What pre-training bought", rows, said, unit="%")],
            predictions=[(text, _told(each), each.score) for text, each in zip(files.samples, guesses, strict=True)],
        ),
    )


def _told(prediction: Any) -> str:
    """Say what was predicted: a label, or the names found."""
    if hasattr(prediction, "label"):
        return str(prediction.label)
    return ", ".join(f"{span.label} {span.text}" for span in prediction.spans) or "no names"
