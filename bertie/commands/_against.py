"""evaluate --against: two models on the same rows, or several seeds of each, and whether one is better."""

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
    from bertie.inference.compare import Comparison, Row, Side
    from bertie.inference.predictor import Predictor
    from bertie.metrics.paired import Difference
    from bertie.tasks.task import Task

_MOST_SHOWN = 10


@dataclass(frozen=True)
class Compared:
    """What the command prints."""

    title: str
    values: dict[str, Any]


def compare(parameters: Mapping[str, Any]) -> Compared:
    """Measure both models and compare them.

    Args:
        parameters: of evaluate, `against` and `file` among them.

    Raises:
        SettingsError: models that can't be compared, or scipy isn't installed.
        DataError: rows that can't be measured on.
    """
    from bertie.data.frames import called
    from bertie.inference.compare import RESAMPLES
    from bertie.inference.compare import compare as find
    from bertie.metrics.paired import require

    require()  # before minutes of measuring
    first, second, items = _measured(parameters)
    with progress.bar("Comparing", total=RESAMPLES, unit="samples of the rows") as bar:
        found = find(first, second, items, seed=parameters["seed"], step=lambda: bar.advance(1))
    shown = called(parameters["file"])
    values: dict[str, Any] = {
        "model": first.name,
        "against": second.name,
        "file": shown,
        "task": first.task.name,
        "items": len(items),
        "runs": [len(side.predictions) for side in (first, second)],
        "score": found.main,
        "verdict": verdict(found, first.name, second.name, len(items)),
        "told_apart": found.told,
        "scores": {name: each.first for name, each in found.differences.items()},
        "differences": [_as_row(name, each) for name, each in found.differences.items()],
    }
    if found.over_runs is not None:
        values["over_runs"] = [_as_row(found.main, found.over_runs)]
    if found.num_first or found.num_second:
        values |= {"model_better_on": found.num_first, "against_better_on": found.num_second}
        values["rows_model_better"] = [_as_line(row, items) for row in found.first_alone[:_MOST_SHOWN]]
        values["rows_against_better"] = [_as_line(row, items) for row in found.second_alone[:_MOST_SHOWN]]
    title = f"{first.name} against {second.name} on {shown}"
    if parameters["report"] is not None:
        _write_report(parameters, found, values, items)
        values["report"] = str(parameters["report"])
    return Compared(title, values)


def verdict(found: Comparison, first: str, second: str, num_rows: int) -> str:
    """Say in words whether one of the two is better."""
    over, rows, write = found.over_runs, found.differences[found.main], _writer(found.main)
    is_first = rows.difference >= 0 or not found.told
    better, worse, sign = (first, second, 1) if is_first else (second, first, -1)

    def interval(each: Difference) -> str:
        low, high = sorted((sign * each.low, sign * each.high))
        return f"{write(low)} to {write(high)}, p {_p(each.p)}"

    sure = f"95 % interval {interval(rows)}"
    if over is not None:
        sure += f" over rows; {interval(over)} over seeds"
    lead = f"{write(sign * rows.difference, sign=not found.told)}{_unit(found.main)} of {found.main.replace('_', ' ')}"
    if found.told:
        return f"{better} is better than {worse} by {lead} ({sure})"
    return f"no difference can be told on these {num_rows:,} rows: {first} less {second} is {lead} ({sure})"


def _measured(parameters: Mapping[str, Any]) -> tuple[Side, Side, Sequence[Any]]:
    """Measure both sides, model by model, on the same rows."""
    from bertie.inference.compare import Side, check_alike

    sides: list[Side] = []
    items: Sequence[Any] = ()
    known: Task | None = None
    for name in (parameters["model"], parameters["against"]):
        predictions = []
        for model in model_folders(name) or [name]:
            predictor = load_as_asked(model, parameters)
            if known is None:
                items, known = _read(predictor, parameters), predictor.task
            check_alike(known, predictor.task, (str(parameters["model"]), str(model)))
            predictor.task.admit(items, parameters["file"])
            predictions.append(_predictions(predictor, items, parameters, str(model)))
        sides.append(Side(str(name), predictor.task, predictions))
    return sides[0], sides[1], items


def load_as_asked(model: Any, parameters: Mapping[str, Any]) -> Predictor:
    """Load a model by the parameters of evaluate: its task, length and settings, and what runs it."""
    from bertie.inference.predictor import load

    wishes = {"max_length": parameters["length"], "truncation": parameters["truncation"]}
    given = {name: value for name, value in wishes.items() if value is not None} | (parameters["settings"] or {})
    running = {name: parameters[name] for name in ("task", "device", "threads", "precision", "backend")}
    return load(model, max_tokens=parameters["batch_tokens"], **running, **given)


def _read(predictor: Any, parameters: Mapping[str, Any]) -> Sequence[Any]:
    from bertie.data.reading import learned
    from bertie.tasks.task import read_items

    if not predictor.task.needs_labels:
        raise SettingsError(
            f"{predictor.task.name} is measured on what it hides itself, not on rows with labels; --against compares "
            "answers to labelled rows"
        )
    like = learned(predictor.bundle.extra)
    found = read_items(predictor.task, parameters["file"], columns=parameters["columns"], labelled=True, like=like)
    return found.items


def _predictions(predictor: Any, items: Sequence[Any], parameters: Mapping[str, Any], model: str) -> Sequence[Any]:
    from bertie.inference.evaluate import evaluate

    network = predictor.expect(len(items))
    with progress.bar(f"Evaluating {model}", total=len(items), unit="texts") as bar:
        found = evaluate(
            network,
            predictor.task,
            items,
            predictor.tokenizer,
            max_tokens=parameters["batch_tokens"],
            seed=parameters["seed"],
            bar=bar,
        )
    return found.predictions


def _as_row(name: str, each: Difference) -> dict[str, Any]:
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


def _as_line(row: Row, items: Sequence[Any]) -> dict[str, Any]:
    from bertie.inference.plain_text import sides

    item = items[row.number]
    line = getattr(item, "line", 0) or row.number + 1
    return {"line": line, "gold": row.gold, "model": row.first, "against": row.second, **sides(item)}


def _writer(name: str) -> Any:
    """Return what writes a difference: shares of one in points, anything else as it is."""
    from bertie.reports.figures import is_share

    def write(value: float, *, sign: bool = False) -> str:
        plus = "+" if sign else ""
        return f"{100 * value:{plus}.1f}" if is_share(name) else f"{value:{plus}.3f}"

    return write


def _unit(name: str) -> str:
    from bertie.reports.figures import is_share

    return " points" if is_share(name) else ""


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"


def _short(first: str, second: str) -> tuple[str, str]:
    """Shorten two paths to the last parts by which they differ; a run's own `model` says nothing."""
    both = [[part for part in Path(name).parts if part != "model"] for name in (first, second)]
    for count in range(1, max(map(len, both)) + 1):
        ours, theirs = ("/".join(parts[-count:]) for parts in both)
        if ours != theirs:
            return ours, theirs
    return first, second


def _write_report(
    parameters: Mapping[str, Any], found: Comparison, values: Mapping[str, Any], items: Sequence[Any]
) -> None:
    """Write what was found as a page."""
    from bertie.inference.compare import MOST_ROWS
    from bertie.inference.plain_text import sides
    from bertie.reports.figures import name_of
    from bertie.reports.run import Rows, RunReport, write

    first, second = values["model"], values["against"]
    each = [*found.differences.items(), *([] if found.over_runs is None else [(found.main, found.over_runs)])]
    scores = [
        [
            name_of(name),
            *(_writer(name)(value) for value in (one.first, one.second)),
            _writer(name)(one.difference, sign=True),
            f"{_writer(name)(one.low)} to {_writer(name)(one.high)}",
            _p(one.p).removeprefix("= "),
            one.test,
        ]
        for name, one in each
    ]

    def lines(rows: Sequence[Row]) -> list[list[str]]:
        said = [(row, "  |  ".join(map(str, sides(items[row.number]).values()))) for row in rows]
        return [[text, row.gold, row.first, row.second] for row, text in said]

    ours, theirs = _short(first, second)
    head, lead, write_score = ("text", "right", ours, theirs), found.differences[found.main], _writer(found.main)
    more = f"At most {MOST_ROWS} are listed, those that differ most first."
    write(
        parameters["report"],
        RunReport(
            title=f"{ours} against {theirs}",
            kind="against",
            summary={
                "difference": f"{write_score(lead.difference, sign=True)}{_unit(found.main)}",
                "model": write_score(lead.first),
                "against": write_score(lead.second),
                "rows": len(items),
            },
            about={
                "difference": f"95 % interval {write_score(lead.low)} to {write_score(lead.high)}, p {_p(lead.p)}",
                "model": f"{name_of(found.main)} of {first}",
                "against": f"{name_of(found.main)} of {second}",
                "rows": f"{found.num_first:,} better by the model, {found.num_second:,} by the other",
            },
            tables=[
                Rows(
                    "Scores",
                    ("score", "model", "against", "difference", "95 % interval", "p", "test"),
                    scores,
                    remark=f"{values['verdict'][:1].upper()}{values['verdict'][1:]}.",
                    numbers=(1, 2, 3, 4, 5),
                ),
                Rows(f"Better by {ours}: {found.num_first:,} rows", head, lines(found.first_alone), remark=more),
                Rows(f"Better by {theirs}: {found.num_second:,} rows", head, lines(found.second_alone), remark=more),
            ],
            settings=config.render(command="evaluate", parameters=parameters),
            command=shlex.join(["bertie", "evaluate", str(first), str(parameters["file"]), "--against", str(second)]),
        ),
    )
