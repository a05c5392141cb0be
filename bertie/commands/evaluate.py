"""Measure a model on a table, or on a suite of minimal pairs: scores, and what it gets wrong."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie import config, progress
from bertie.commands._against import compare, load_as_asked
from bertie.commands._seeds import averages, model_folders
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import SettingsError

if TYPE_CHECKING:
    from bertie.data.minimal_pairs import MinimalPair
    from bertie.inference.evaluate import Evaluation
    from bertie.inference.predictor import Predictor

_MAX_CLASSES = 12  # a wider confusion matrix is no table to look at; --json has it


@dataclass(frozen=True, kw_only=True)
class Scores(Report):
    """What a model reached."""

    @property
    def scores(self) -> dict[str, float]:
        """The scores by name."""
        return dict(self.values["scores"])

    def as_table(self) -> dict[str, Any]:
        """Leave out a confusion matrix too wide to read, texts too long to, and the many paradigms of a suite."""
        shown = {name: value for name, value in self.values.items() if name != "paradigms"}
        if len(shown.get("confusion", ())) > _MAX_CLASSES:
            del shown["confusion"]
        for name in ("rows_model_better", "rows_against_better"):
            if name in shown:
                shown[name] = [{**row, "text": _short(row["text"])} for row in shown[name]]
        if "differences" in shown or "over_seeds" in shown:
            del shown["scores"]
        worst = [{**row, "text": _short(row["text"])} for row in shown.pop("worst", ())]
        return {**shown, "surest mistakes": worst} if worst else shown


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
    length: int | None = None,
    truncation: Literal["truncate", "error", "window"] | None = None,
    settings: dict[str, Any] | None = None,
    batch_tokens: int = 4096,
    precision: Literal["exact", "bf16", "int8"] | None = None,
    backend: str = "auto",
    device: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    report: Path | None = None,
) -> Scores:
    """Measure a model on a table, or on a suite of minimal pairs: scores, and what it gets wrong.

    A masked LM needs no labels: tokens are masked at random, and its loss and accuracy on them are measured. --suite
    measures what it knows of a language instead: how often it finds the acceptable one of two sentences likelier.

    --against compares it with another model on the same rows: the difference of their scores with a 95 % interval and a
    paired test, and the rows on which they differ.

    A folder that --seeds made stands for all of its models: their scores, mean, deviation and interval.

    Args:
        model: model folder or hub id.
        file: .tsv, .csv, .jsonl or .parquet with texts and labels; or .txt, one text a line, for a masked LM.
        against: a second model, of the same task and labels, to compare with.
        suite: minimal pairs in place of a file: blimp (English) or zhoblimp (Chinese).
        data: where the suite lies: a folder or tar of its .jsonl files, compressed or not.
        limit: pairs of each of the suite's paradigms, for a quick look; all when not given.
        scoring: what each piece of a suite's sentences is guessed from: all the others (masked) or those before it
            (causal); what the model was made for when not given.
        columns: what the columns hold, such as text=body,label=tag, and how a file is read that leaves it open, such
            as header=no,delimiter=semicolon (docs/tasks.md); found out when not given.
        task: what to do with the model; what it was made for when not given.
        length: tokens of the longest text; what the model brings when not given.
        truncation: cut longer texts, stop at them (error), or slide a window over them; what the model brings when
            not given.
        settings: further settings of the task, instead of those that the model brings, such as stride=32;
            names in their order as labels=bad|good.
        batch_tokens: tokens of a batch at most; fewer need less memory.
        precision: how near the encoder's vectors come to fp32's: exact (within 1e-4), bf16 or int8 (a mean cosine of
            0.9999 or 0.995 at least); exact, or what a folder was exported in, when not given.
        backend: what runs the encoder: eager (torch), onnx or openvino; the fastest one that is installed, by a fixed
            rule, when auto.
        device: auto, cpu, cuda.
        threads: CPU threads; all cores when not given.
        seed: of the masks, and of the samples that --against draws.
        report: HTML file to write: classes, calibration, worst errors, and examples drawn in their texts.

    Returns:
        Scores, confusion matrix, figures of every class, and the worst mistakes; of a suite the accuracy on every
        phenomenon and paradigm; of several seeds the scores of each and of all together.

    Raises:
        SettingsError: neither a file nor a suite, settings of one with the other, or a report of several seeds.
    """
    parameters = dict(locals())
    _check_source(parameters)
    if against is not None:
        compared = compare(parameters)
        return Scores(title=compared.title, values=compared.values)
    if models := model_folders(model):
        return _each(models, parameters)
    from bertie.data.frames import called
    from bertie.data.minimal_pairs import read_suite
    from bertie.data.reading import learned
    from bertie.inference.evaluate import evaluate as measure
    from bertie.tasks.task import read_items

    pairs = None if suite is None or data is None else read_suite(suite, data, limit=limit)
    predictor = load_as_asked(model, parameters)
    if pairs is not None:
        return _measure_suite(predictor, pairs, parameters)
    assert file is not None  # checked above
    like, needs_labels = learned(predictor.bundle.extra), predictor.task.needs_labels
    table = read_items(predictor.task, file, columns=columns, labelled=needs_labels, like=like)
    items = table.items
    if predictor.task.needs_labels:
        predictor.task.admit(items, file)
    network = predictor.expect(len(items))
    with progress.bar("Evaluating", total=len(items), unit="texts") as bar:
        found = measure(
            network, predictor.task, items, predictor.tokenizer, max_tokens=batch_tokens, seed=seed, bar=bar
        )
    shown = called(file)
    values = {"model": model, "file": shown, "task": predictor.task.name, **_figures(found)}
    if report is not None:
        _write_report(report, predictor, items, found, parameters)
        values["report"] = str(report)
    return Scores(title=f"{predictor.task.name} by {model} on {shown}", values=values)


def _each(models: Sequence[Path], parameters: dict[str, Any]) -> Scores:
    """Measure the models of several seeds, one after the other."""
    from bertie.metrics.spread import spread_of

    folder = parameters["model"]
    if parameters["report"] is not None:
        raise SettingsError(f"{folder} is a folder of several seeds, and a report is of one model; name one of them")
    found = []
    for number, model in enumerate(models, 1):
        progress.note(f"{model}, {number} of {len(models)}")
        found.append(evaluate(**{**parameters, "model": str(model)}).values)
    shared = ("file", "task", "items", "suite", "scoring", "pairs")
    common: dict[str, Any] = {name: found[0][name] for name in shared if name in found[0]}
    scores = [{**({"loss": each["loss"]} if "loss" in each else {}), **each["scores"]} for each in found]
    names = [name for name in scores[0] if all(name in each for each in scores)]
    spreads = {name: spread_of([each[name] for each in scores]) for name in names}
    rows = [{"model": str(model), **each} for model, each in zip(models, scores, strict=True)]
    return Scores(
        title=f"{len(models)} seeds of {folder} on {common.get('suite') or common['file']}",
        values={"model": folder, **common, "runs": rows, **averages(spreads, len(models))},
    )


def _check_source(parameters: dict[str, Any]) -> None:
    """Refuse what says neither or both of a file and a suite."""
    given = {name for name, value in parameters.items() if value is not None}
    if "suite" not in given:
        if stray := given & {"data", "limit", "scoring"}:
            raise SettingsError(f"--{min(stray)} is of a suite; name it, such as --suite blimp")
        if "file" not in given:
            raise SettingsError("what to measure on? Give a FILE, or --suite blimp --data FOLDER")
    elif stray := given & {"file", "columns", "against"}:
        raise SettingsError(f"--suite is measured without {min(stray)}; leave one of the two out")
    elif "data" not in given:
        raise SettingsError(f"--suite {parameters['suite']} needs --data, the folder or tar of its .jsonl files")


def _measure_suite(predictor: "Predictor", pairs: Sequence["MinimalPair"], parameters: dict[str, Any]) -> Scores:
    """Measure on minimal pairs in place of a table."""
    from bertie.inference.suite import measure
    from bertie.reports.minimal_pairs import write

    model, suite, path = str(parameters["model"]), parameters["suite"], parameters["report"]
    predictor.expect(len(pairs))
    with progress.bar("Evaluating", total=len(pairs), unit="pairs") as bar:
        found = measure(predictor, pairs, scoring=parameters["scoring"], bar=bar)
    values = {"model": model, "suite": suite, **found.figures()}
    title = f"{suite} by {model}"
    if path is not None:
        write(path, title, found, settings=config.render(command="evaluate", parameters=parameters))
        values["report"] = str(path)
    return Scores(title=title, values=values)


def _write_report(
    path: Path, predictor: "Predictor", items: Sequence[Any], found: "Evaluation", parameters: dict[str, Any]
) -> None:
    """Write what was found as a page."""
    from bertie.reports.parts import findings
    from bertie.reports.run import RunReport, write

    model, file = str(parameters["model"]), parameters["file"]
    figures = {"loss": found.loss, "items": found.num_items, "items_cut": found.num_cut, **found.scores}
    write(
        path,
        RunReport(
            title=f"{Path(model).name} on {file.name}",
            kind="evaluate",
            summary={**figures, "task": predictor.task.name},
            command=shlex.join(["bertie", "evaluate", model, str(file), "--report", str(path)]),
            settings=config.render(command="evaluate", parameters=parameters),
            findings=findings(found, predictor.task, items),
        ),
    )


def _figures(found: "Evaluation") -> dict[str, Any]:
    """Arrange an evaluation as tables."""
    from bertie.inference.plain_text import sides

    values: dict[str, Any] = {
        "items": found.num_items,
        "items_cut": found.num_cut,
        "loss": found.loss,
        "scores": found.scores,
    }
    if found.labels:
        values["classes"] = [{"label": label, **found.per_class[label]} for label in found.labels]
    if found.confusion:
        values["confusion"] = [
            {"gold": label, **{f"guess {name}": count for name, count in zip(found.labels, row, strict=True)}}
            for label, row in zip(found.labels, found.confusion, strict=True)
        ]
    if found.worst:
        values["worst"] = [
            {
                "line": getattr(wrong.item, "line", 0) or wrong.number + 1,
                "gold": wrong.gold,
                "guess": wrong.guess,
                "score": wrong.score,
                **sides(wrong.item),
            }
            for wrong in found.worst
        ]
    return values


def _short(text: str, columns: int = 60) -> str:
    return text if len(text) <= columns else f"{text[: columns - 1]}…"
