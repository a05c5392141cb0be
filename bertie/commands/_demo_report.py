"""Report the demo's results: figures, tables, a conclusion in words, and an HTML page."""

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
NAMES = {PRETRAINED: "pre-trained", RANDOM: "random weights", CLASSICAL: "classical method"}
"""Display names of the compared methods."""
_FEATURES = {
    "en": {"tagging": "word, neighbours, affixes", "classification": "TF-IDF of words and pairs"},
    "zh": {"tagging": "character, neighbours, pairs of them", "classification": "TF-IDF of characters and pairs"},
}
_SCORE = {"f1": "F1", "accuracy": "Accuracy"}
_NUM_SHOWN = 5  # masked sentences shown on the terminal; the page shows all


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The demo's results."""

    folder: Path
    files: DemoFiles
    documents: int
    tokens: int
    """Tokens of the corpus."""
    life: Mapping[str, Any]
    """Figures of pre-training."""
    scores: Mapping[str, Sequence[float]]
    """For each method, one score per seed."""
    model: Path
    """The first model fine-tuned from the pre-trained encoder."""
    seconds: float
    processor_seconds: float
    live_page: Path | None = None
    """The page that holds the encoder, if there is one."""


def remark(outcome: Outcome) -> str:
    """Compare the scores of the methods in words."""
    files, scores = outcome.files, outcome.scores
    unit = "sentences" if files.task == "tagging" else "texts"
    seeds = len(scores[PRETRAINED])
    draws = ", each with its own draw" if files.num_labelled < files.num_train else ""
    runs = f"{seeds} seeds{draws}" if seeds > 1 else "one seed, so the spread is unknown"
    text = (
        f"{_SCORE[files.criterion]} on {len(files.dev):,} held-out {unit}, after fine-tuning on "
        f"{files.num_labelled:,} labelled ones ({runs}). "
        f"With {outcome.life['seconds']:.0f} seconds of pre-training on text without labels, the model is "
        f"{_compared(scores, RANDOM)} random weights"
    )
    if CLASSICAL not in scores:
        return f"{text}. The classical method was not measured, because scikit-learn is not installed."
    features = _FEATURES[files.language][files.task]
    return f"{text} and {_compared(scores, CLASSICAL)} the classical method (logistic regression on {features})."


def masks_remark(life: Mapping[str, Any]) -> str:
    """Compare accuracy and loss at hidden pieces with those of neighbour counts; return "" without held-out text."""
    accuracy, yardstick = life.get("dev_mask_accuracy"), life.get("yardstick_neighbours_accuracy")
    if accuracy is None or yardstick is None:
        return ""
    gain = life["yardstick_neighbours_loss"] - life["dev_mask_loss"]
    return (
        f"In held-out text the encoder predicts {accuracy:.1%} of the hidden pieces correctly; counts of the two "
        f"neighbouring pieces reach {yardstick:.1%}. "
        f"Its loss is {abs(gain):.2f} nats {'below' if gain >= 0 else 'above'} theirs."
    )


def _compared(scores: Mapping[str, Sequence[float]], other: str) -> str:
    """Return how far the pre-trained models are above or below another method, with a caveat if seeds disagree."""
    gain = 100 * (mean(scores[PRETRAINED]) - mean(scores[other]))
    text = f"{abs(gain):.1f} points {'above' if gain >= 0 else 'below'}"
    pairs = [one - another for one, another in zip(scores[PRETRAINED], scores[other], strict=True)]
    if len(pairs) > 1 and len({pair > 0 for pair in pairs}) > 1:
        return f"{text} (not for every seed, so possibly by chance)"
    return text


def figures(outcome: Outcome) -> dict[str, Any]:
    """Return the figures that are single numbers."""
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
        **{f"{name}_{_key(method)}": round(mean(values), 4) for method, values in outcome.scores.items()},
    }


def _key(way: str) -> str:
    return way.replace("-", "")


def report(outcome: Outcome, masked: Sequence[MaskedSentence]) -> Report:
    """Write the page, and return the figures with two tables: the methods, and some masked sentences."""
    files, name = outcome.files, outcome.files.criterion
    values, conclusion = figures(outcome), remark(outcome)
    page = outcome.folder / "report.html"
    _write_page(page, outcome, values, conclusion, masked)
    methods = [
        {
            "way": NAMES[method],
            name: round(mean(scores), 4),
            "spread": None if len(scores) < 2 else round(spread_of(scores).deviation or 0.0, 4),
            "seeds": list(scores),
        }
        for method, scores in outcome.scores.items()
    ]
    sentences = [
        {
            "sentence": _blanked(one),
            "hidden": one.answer,
            "before": _best_guess(one.before),
            "after": _best_guess(one.after),
        }
        for one in masked
    ]
    remarks = [line for line in (masks_remark(outcome.life), conclusion) if line]
    for line in remarks:
        progress.note(line)
    if outcome.live_page is not None:
        progress.note(
            f"Open {outcome.live_page} in a browser: the encoder is in the page. Hide words, guess before it does, and "
            "look at every number."
        )
    parts = {"masks": sentences[:_NUM_SHOWN], "ways": methods}
    pages = {"report": str(page)} | ({} if outcome.live_page is None else {"live_page": str(outcome.live_page)})
    return Report(
        title="From raw text to a fine-tuned model",
        values={**values, **parts, "remarks": remarks, **pages},
        next_command=_next_command(outcome.model, files.samples),
    )


def _next_command(model: Path, samples: Sequence[str]) -> str:
    words = shlex.quote(samples[0]) if samples else '"your text" --pair "the second text"'
    return f"bertie predict {shlex.quote(str(model))} {words}"


def _blanked(sentence: MaskedSentence) -> str:
    from bertie.reports.text import spaced

    pieces = ["___" if index == sentence.place else piece for index, piece in enumerate(sentence.pieces)]
    return "".join(f"{' ' if space else ''}{word}" for word, space in spaced(pieces))


def _best_guess(guesses: Sequence[tuple[str, float]]) -> str:
    return f"{guesses[0][0]} ({guesses[0][1]:.0%})" if guesses else ""


def _write_page(
    path: Path, outcome: Outcome, values: dict[str, Any], conclusion: str, masked: Sequence[MaskedSentence]
) -> None:
    from bertie.inference.evaluate import evaluate
    from bertie.inference.predictor import load
    from bertie.reports.parts import findings
    from bertie.reports.run import Comparison, RunReport, write
    from bertie.training.journal import read

    files = outcome.files
    with progress.without_notes():
        model = load(outcome.model)
        predictions = model.predict(list(files.samples))
    measured = evaluate(model.model, model.task, files.dev, model.tokenizer)
    rows = [(NAMES[method], list(scores)) for method, scores in outcome.scores.items()]
    encoder = outcome.folder / "encoder"
    write(
        path,
        RunReport(
            title="From raw text to a model of your own",
            kind="demo",
            summary=values,
            records=read(encoder / "metrics.jsonl"),
            settings=config.render(command="pretrain", parameters=config.read(encoder)),
            command="bertie demo" if files.language == "en" else f"bertie demo --language {files.language}",
            masked=masked,
            findings=findings(measured, model.task, files.dev),
            comparisons=[Comparison("Effect of pre-training", rows, conclusion, unit="%")],
            predictions=[
                (text, _prediction_text(each), each.score)
                for text, each in zip(files.samples, predictions, strict=True)
            ],
        ),
    )


def _prediction_text(prediction: Any) -> str:
    """Return a prediction as text: its label, or its names."""
    if hasattr(prediction, "label"):
        return str(prediction.label)
    return ", ".join(f"{span.label} {span.text}" for span in prediction.spans) or "no names"
