"""evaluate --against: compare two models, or several seeds of each, on the same rows, and test which is better."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bertie import config, progress
from bertie.commands._seeds import model_folders
from bertie.errors import SettingsError

if TYPE_CHECKING:
    from bertie.commands._use import UseSettings
    from bertie.inference.compare import Comparison, Row, Side
    from bertie.metrics.paired import Difference
    from bertie.tasks.task import Task

_MAX_SHOWN = 10


@dataclass(frozen=True)
class Compared:
    """The title and figures that the command prints."""

    title: str
    values: dict[str, Any]


def compare(parameters: Mapping[str, Any], use: UseSettings) -> Compared:
    """Evaluate both models and compare them.

    Args:
        parameters: the parameters of evaluate, with `against` and `file`.
        use: how both models are loaded and run.

    Raises:
        SettingsError: the models can't be compared, or scipy isn't installed.
        DataError: the rows can't be used for evaluation.
    """
    from bertie.inference.compare import RESAMPLES
    from bertie.inference.compare import compare as find
    from bertie.metrics.paired import require
    from bertie.readers.frames import called

    require()  # before minutes of evaluation
    first, second, items = _evaluate_both(parameters, use)
    with progress.bar("Comparing", total=RESAMPLES, unit="samples of the rows") as bar:
        comparison = find(first, second, items, seed=parameters["seed"], step=lambda: bar.advance(1))
    file_name = called(parameters["file"])
    values: dict[str, Any] = {
        "model": first.name,
        "against": second.name,
        "file": file_name,
        "task": first.task.name,
        "items": len(items),
        "runs": [len(side.predictions) for side in (first, second)],
        "score": comparison.main,
        "verdict": verdict(comparison, first.name, second.name, len(items)),
        "told_apart": comparison.is_significant,
        "scores": {name: each.first for name, each in comparison.differences.items()},
        "differences": [difference_row(name, each) for name, each in comparison.differences.items()],
    }
    if comparison.over_runs is not None:
        values["over_runs"] = [difference_row(comparison.main, comparison.over_runs)]
    if comparison.num_first or comparison.num_second:
        values |= {"model_better_on": comparison.num_first, "against_better_on": comparison.num_second}
        values["rows_model_better"] = [_row_record(row, items) for row in comparison.first_alone[:_MAX_SHOWN]]
        values["rows_against_better"] = [_row_record(row, items) for row in comparison.second_alone[:_MAX_SHOWN]]
    title = f"{first.name} against {second.name} on {file_name}"
    if parameters["report"] is not None:
        _write_report(parameters, comparison, values, items)
        values["report"] = str(parameters["report"])
    return Compared(title, values)


def verdict(result: Comparison, first: str, second: str, num_rows: int) -> str:
    """Return in words whether one of the two models is better."""
    over_seeds, rows, format_number = result.over_runs, result.differences[result.main], _number_format(result.main)
    is_first = rows.difference >= 0 or not result.is_significant
    better, worse, sign = (first, second, 1) if is_first else (second, first, -1)

    def interval(each: Difference) -> str:
        low, high = sorted((sign * each.low, sign * each.high))
        return f"{format_number(low)} to {format_number(high)}, p {p_text(each.p)}"

    intervals = f"95 % interval {interval(rows)}"
    if over_seeds is not None:
        intervals += f" over rows; {interval(over_seeds)} over seeds"
    amount = f"{format_number(sign * rows.difference, sign=not result.is_significant)}{_unit(result.main)}"
    lead = f"{amount} of {result.main.replace('_', ' ')}"
    if result.is_significant:
        return f"{better} is better than {worse} by {lead} ({intervals})"
    return f"no significant difference on these {num_rows:,} rows: {first} minus {second} is {lead} ({intervals})"


def _evaluate_both(parameters: Mapping[str, Any], use: UseSettings) -> tuple[Side, Side, Sequence[Any]]:
    """Evaluate the models of both sides on the same rows."""
    from bertie.inference.compare import Side, check_alike

    sides: list[Side] = []
    items: Sequence[Any] = ()
    first_task: Task | None = None
    for name in (parameters["model"], parameters["against"]):
        predictions = []
        for model in model_folders(name) or [name]:
            predictor = use.load(model, task=parameters["task"])
            if first_task is None:
                items, first_task = _read_items(predictor, parameters), predictor.task
            check_alike(first_task, predictor.task, (str(parameters["model"]), str(model)))
            predictor.task.check_items(items, parameters["file"])
            predictions.append(
                predictions_of(
                    predictor, items, str(model), seed=parameters["seed"], batch_tokens=parameters["batch_tokens"]
                )
            )
        sides.append(Side(str(name), predictor.task, predictions))
    return sides[0], sides[1], items


def _read_items(predictor: Any, parameters: Mapping[str, Any]) -> Sequence[Any]:
    from bertie.readers.reading import learned
    from bertie.tasks._lookup import read_items

    if not predictor.task.needs_labels:
        raise SettingsError(
            f"{predictor.task.name} is evaluated on tokens that it masks itself, not on labels; --against needs a task "
            "with labelled rows"
        )
    like = learned(predictor.bundle.extra)
    table = read_items(predictor.task, parameters["file"], columns=parameters["columns"], labelled=True, like=like)
    return table.items


def predictions_of(predictor: Any, items: Sequence[Any], model: str, *, seed: int, batch_tokens: int) -> Sequence[Any]:
    """Predict labelled items.

    Args:
        predictor: a loaded model.
        items: labelled items.
        model: its name, for the progress bar.
        seed: seed of masks.
        batch_tokens: largest number of tokens in a batch.
    """
    from bertie.inference.evaluate import evaluate

    network = predictor.expect(len(items))
    with progress.bar(f"Evaluating {model}", total=len(items), unit="texts") as bar:
        evaluation = evaluate(
            network,
            predictor.task,
            items,
            predictor.tokenizer,
            max_tokens=batch_tokens,
            seed=seed,
            bar=bar,
        )
    return evaluation.predictions


def difference_row(name: str, each: Difference) -> dict[str, Any]:
    """Return one score's difference as figures."""
    return {
        "score": name,
        "model": each.first,
        "against": each.second,
        "difference": each.difference,
        "interval_from": each.low,
        "interval_to": each.high,
        "p": each.p,
        "test": each.test,
    }


def _row_record(row: Row, items: Sequence[Any]) -> dict[str, Any]:
    from bertie.inference.render import sides

    item = items[row.number]
    line = getattr(item, "line", 0) or row.number + 1
    return {"line": line, "gold": row.gold, "model": row.first, "against": row.second, **sides(item)}


def _number_format(name: str) -> Any:
    """Return a function that formats a score or a difference: shares as percentage points, others unchanged."""
    from bertie.reports.figures import is_share

    def write(value: float, *, sign: bool = False) -> str:
        plus = "+" if sign else ""
        return f"{100 * value:{plus}.1f}" if is_share(name) else f"{value:{plus}.3f}"

    return write


def _unit(name: str) -> str:
    from bertie.reports.figures import is_share

    return " points" if is_share(name) else ""


def p_text(value: float) -> str:
    """Return a probability as it follows the letter p: "= 0.03" or "< 0.001"."""
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"


def _short(first: str, second: str) -> tuple[str, str]:
    """Shorten two paths to the last parts in which they differ, without the `model` folders of runs.

    >>> _short("out/a/model", "out/b/model")
    ('a', 'b')
    """
    both = [[part for part in Path(name).parts if part != "model"] for name in (first, second)]
    for count in range(1, max(map(len, both)) + 1):
        first_name, second_name = ("/".join(parts[-count:]) for parts in both)
        if first_name != second_name:
            return first_name, second_name
    return first, second


def _score_cells(result: Comparison) -> list[list[str]]:
    """Return the rows of the report's table of scores, as text."""
    from bertie.reports.figures import name_of

    over_seeds = [] if result.over_runs is None else [(result.main, result.over_runs)]
    return [
        [
            name_of(name),
            *(_number_format(name)(value) for value in (one.first, one.second)),
            _number_format(name)(one.difference, sign=True),
            f"{_number_format(name)(one.low)} to {_number_format(name)(one.high)}",
            p_text(one.p).removeprefix("= "),
            one.test,
        ]
        for name, one in [*result.differences.items(), *over_seeds]
    ]


def _write_report(
    parameters: Mapping[str, Any], result: Comparison, values: Mapping[str, Any], items: Sequence[Any]
) -> None:
    """Write the comparison as a page."""
    from bertie.inference.compare import MOST_ROWS
    from bertie.inference.render import sides
    from bertie.reports.figures import name_of
    from bertie.reports.run import Rows, RunReport, write

    first, second = values["model"], values["against"]

    def lines(rows: Sequence[Row]) -> list[list[str]]:
        texts = [(row, "  |  ".join(map(str, sides(items[row.number]).values()))) for row in rows]
        return [[text, row.gold, row.first, row.second] for row, text in texts]

    first_name, second_name = _short(first, second)
    head = ("text", "right", first_name, second_name)
    lead, write_score = result.differences[result.main], _number_format(result.main)
    more = f"At most {MOST_ROWS} rows are listed, the largest differences first."
    write(
        parameters["report"],
        RunReport(
            title=f"{first_name} against {second_name}",
            kind="against",
            summary={
                "difference": f"{write_score(lead.difference, sign=True)}{_unit(result.main)}",
                "model": write_score(lead.first),
                "against": write_score(lead.second),
                "rows": len(items),
            },
            about={
                "difference": f"95 % interval {write_score(lead.low)} to {write_score(lead.high)}, p {p_text(lead.p)}",
                "model": f"{name_of(result.main)} of {first}",
                "against": f"{name_of(result.main)} of {second}",
                "rows": f"{result.num_first:,} better by the model, {result.num_second:,} by the other",
            },
            tables=[
                Rows(
                    "Scores",
                    ("score", "model", "against", "difference", "95 % interval", "p", "test"),
                    _score_cells(result),
                    remark=f"{values['verdict'][:1].upper()}{values['verdict'][1:]}.",
                    numbers=(1, 2, 3, 4, 5),
                ),
                Rows(
                    f"Better by {first_name}: {result.num_first:,} rows", head, lines(result.first_alone), remark=more
                ),
                Rows(
                    f"Better by {second_name}: {result.num_second:,} rows",
                    head,
                    lines(result.second_alone),
                    remark=more,
                ),
            ],
            settings=config.render(command="evaluate", parameters=parameters),
            command=shlex.join(["bertie", "evaluate", str(first), str(parameters["file"]), "--against", str(second)]),
        ),
    )
