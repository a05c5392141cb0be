"""Evaluate a model on a table or a suite of minimal pairs: scores, and the worst mistakes."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie import config, progress
from bertie.commands._against import compare
from bertie.commands._seeds import model_folders, seed_statistics
from bertie.commands._use import UseSettings, flat, with_use_settings
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import SettingsError

if TYPE_CHECKING:
    from bertie.inference.evaluate import Evaluation
    from bertie.inference.predictor import Predictor
    from bertie.readers.minimal_pairs import MinimalPair

_MAX_CLASSES = 12  # a wider confusion matrix is unreadable; --json has it


@dataclass(frozen=True, kw_only=True)
class Scores(Report):
    """The scores of a model."""

    @property
    def scores(self) -> dict[str, float]:
        """The scores by name."""
        return dict(self.values["scores"])

    def as_table(self) -> dict[str, Any]:
        """Return the values for the tables, without a wide confusion matrix, long texts and a suite's paradigms."""
        values = {name: value for name, value in self.values.items() if name != "paradigms"}
        if len(values.get("confusion", ())) > _MAX_CLASSES:
            del values["confusion"]
        for name in ("rows_model_better", "rows_against_better"):
            if name in values:
                values[name] = [{**row, "text": _short(row["text"])} for row in values[name]]
        if "differences" in values or "over_seeds" in values:
            del values["scores"]
        worst = [{**row, "text": _short(row["text"])} for row in values.pop("worst", ())]
        title = "most confident mistakes" if worst and "confidence" in worst[0] else "largest errors"
        return {**values, title: worst} if worst else values


@with_use_settings
def evaluate(
    model: Positional[str],
    file: Positional[Path | None] = None,
    *,
    against: str | None = None,
    suite: str | None = None,
    data: Path | None = None,
    limit: int | None = None,
    scoring: Literal["masked", "causal"] | None = None,
    columns: dict[str, str] | None = None,
    task: str | None = None,
    use: UseSettings,
    seed: int = 0,
    report: Path | None = None,
) -> Scores:
    """Evaluate a model on a table or a suite of minimal pairs: scores, and the worst mistakes.

    A masked LM needs no labels: tokens are masked at random, and its loss and accuracy on them are measured. --suite
    measures its knowledge of a language instead: how often it gives the acceptable one of two sentences the higher
    probability.

    --against compares the model with another one on the same rows: the difference of their scores with a 95 % interval
    and a paired test, and the rows on which they differ.

    For a folder that --seeds made, all of its models are evaluated: their scores, mean, deviation and interval.

    Args:
        model: model folder or hub id.
        file: table (.csv, .jsonl, .parquet, ...) with texts and labels; for a masked LM also .txt, one text per line.
        against: a second model with the same task and labels, to compare with.
        suite: minimal pairs instead of a file: blimp (English) or zhoblimp (Chinese).
        data: folder or tar with the suite's .jsonl files, compressed or not.
        limit: number of pairs from each of the suite's paradigms, for a quick test; all when not given.
        scoring: the context that predicts each piece of a suite's sentences: all other pieces (masked) or those before
            it (causal); by default as the model was trained.
        columns: roles of the columns, such as text=body,label=tag, and the format of an ambiguous file, such as
            header=no,delimiter=semicolon (docs/tasks.md); detected when not given.
        task: task of the model; the one it was trained for when not given.
        use: settings that predict, evaluate and search share.
        seed: seed of the masks, and of the samples that --against draws.
        report: HTML file to write, with classes, calibration, the worst mistakes, and examples shown in their texts.

    Returns:
        Scores, confusion matrix, figures of each class, and the worst mistakes; for a suite the accuracy on each
        phenomenon and paradigm; for several seeds the scores of each and their mean and spread.

    Raises:
        SettingsError: there is neither a file nor a suite, settings of one are given with the other, or a report is
            asked for several seeds.
    """
    parameters = flat(evaluate, locals())
    _check_source(parameters)
    if against is not None:
        compared = compare(parameters, use)
        return Scores(title=compared.title, values=compared.values)
    if models := model_folders(model):
        return _each(models, parameters)
    from bertie.inference.evaluate import evaluate as measure
    from bertie.readers.frames import called
    from bertie.readers.minimal_pairs import read_suite
    from bertie.readers.reading import learned
    from bertie.tasks._lookup import read_items

    pairs = None if suite is None or data is None else read_suite(suite, data, limit=limit)
    predictor = use.load(model, task=task)
    if pairs is not None:
        return _measure_suite(predictor, pairs, parameters)
    assert file is not None  # checked above
    like, needs_labels = learned(predictor.bundle.extra), predictor.task.needs_labels
    table = read_items(predictor.task, file, columns=columns, labelled=needs_labels, like=like)
    items = table.items
    if predictor.task.needs_labels:
        predictor.task.check_items(items, file)
    network = predictor.expect(len(items))
    with progress.bar("Evaluating", total=len(items), unit="texts") as bar:
        evaluation = measure(
            network, predictor.task, items, predictor.tokenizer, max_tokens=use.batch_tokens, seed=seed, bar=bar
        )
    file_name = called(file)
    values = {"model": model, "file": file_name, "task": predictor.task.name, **_figures(evaluation)}
    if report is not None:
        _write_report(report, predictor, items, evaluation, parameters)
        values["report"] = str(report)
    return Scores(title=f"{predictor.task.name} by {model} on {file_name}", values=values)


def _each(models: Sequence[Path], parameters: dict[str, Any]) -> Scores:
    """Evaluate the models of several seeds one by one, and return their scores with mean and spread."""
    from bertie.metrics.spread import spread_of

    folder = parameters["model"]
    if parameters["report"] is not None:
        raise SettingsError(f"{folder} has models of several seeds, but --report needs one model; name one of them")
    results = []
    for number, model in enumerate(models, 1):
        progress.note(f"{model}, {number} of {len(models)}")
        results.append(evaluate(**{**parameters, "model": str(model)}).values)
    shared = ("file", "task", "items", "suite", "scoring", "pairs")
    common: dict[str, Any] = {name: results[0][name] for name in shared if name in results[0]}
    scores = [{**({"loss": each["loss"]} if "loss" in each else {}), **each["scores"]} for each in results]
    names = [name for name in scores[0] if all(name in each for each in scores)]
    spreads = {name: spread_of([each[name] for each in scores]) for name in names}
    rows = [{"model": str(model), **each} for model, each in zip(models, scores, strict=True)]
    return Scores(
        title=f"{len(models)} seeds of {folder} on {common.get('suite') or common['file']}",
        values={"model": folder, **common, "runs": rows, **seed_statistics(spreads, len(models))},
    )


def _check_source(parameters: dict[str, Any]) -> None:
    """Check that either a file or a suite is given, with fitting settings."""
    given = {name for name, value in parameters.items() if value is not None}
    if "suite" not in given:
        if misplaced := given & {"data", "limit", "scoring"}:
            raise SettingsError(f"--{min(misplaced)} requires --suite, for example --suite blimp")
        if "file" not in given:
            raise SettingsError("no data to evaluate on; give a FILE, or --suite blimp --data FOLDER")
    elif misplaced := given & {"file", "columns", "against"}:
        raise SettingsError(f"--suite can't be combined with {min(misplaced)}; leave out one of the two")
    elif "data" not in given:
        raise SettingsError(f"--suite {parameters['suite']} needs --data, the folder or tar of its .jsonl files")


def _measure_suite(predictor: "Predictor", pairs: Sequence["MinimalPair"], parameters: dict[str, Any]) -> Scores:
    """Evaluate a model on minimal pairs."""
    from bertie.inference.suite import measure
    from bertie.reports.minimal_pairs import write

    model, suite, path = str(parameters["model"]), parameters["suite"], parameters["report"]
    predictor.expect(len(pairs))
    with progress.bar("Evaluating", total=len(pairs), unit="pairs") as bar:
        result = measure(predictor, pairs, scoring=parameters["scoring"], bar=bar)
    values = {"model": model, "suite": suite, **result.figures()}
    title = f"{suite} by {model}"
    if path is not None:
        write(path, title, result, settings=config.render(command="evaluate", parameters=parameters))
        values["report"] = str(path)
    return Scores(title=title, values=values)


def _write_report(
    path: Path, predictor: "Predictor", items: Sequence[Any], evaluation: "Evaluation", parameters: dict[str, Any]
) -> None:
    """Write the evaluation as a page."""
    from bertie.reports.parts import findings
    from bertie.reports.run import RunReport, write

    model, file = str(parameters["model"]), parameters["file"]
    figures = {
        "loss": evaluation.loss,
        "items": evaluation.num_items,
        "items_cut": evaluation.num_cut,
        **evaluation.scores,
    }
    write(
        path,
        RunReport(
            title=f"{Path(model).name} on {file.name}",
            kind="evaluate",
            summary={**figures, "task": predictor.task.name},
            command=shlex.join(["bertie", "evaluate", model, str(file), "--report", str(path)]),
            settings=config.render(command="evaluate", parameters=parameters),
            findings=findings(evaluation, predictor.task, items),
        ),
    )


def _figures(evaluation: "Evaluation") -> dict[str, Any]:
    """Return an evaluation as figures and tables."""
    from bertie.inference.render import sides

    values: dict[str, Any] = {
        "items": evaluation.num_items,
        "items_cut": evaluation.num_cut,
        "loss": evaluation.loss,
        "scores": evaluation.scores,
    }
    if evaluation.labels:
        values["classes"] = [{"label": label, **evaluation.per_class[label]} for label in evaluation.labels]
    if evaluation.confusion:
        values["confusion"] = [
            {"gold": label, **{f"guess {name}": count for name, count in zip(evaluation.labels, row, strict=True)}}
            for label, row in zip(evaluation.labels, evaluation.confusion, strict=True)
        ]
    if evaluation.worst:
        values["worst"] = [
            {
                "line": getattr(mistake.item, "line", 0) or mistake.number + 1,
                "gold": mistake.gold,
                "guess": mistake.guess,
                **({} if mistake.confidence is None else {"confidence": mistake.confidence}),
                **sides(mistake.item),
            }
            for mistake in evaluation.worst
        ]
    return values


def _short(text: str, columns: int = 60) -> str:
    return text if len(text) <= columns else f"{text[: columns - 1]}…"
