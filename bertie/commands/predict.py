"""Predict with a model: labels, tokens for [MASK], choices, vectors, for texts from arguments, stdin or a file."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie import progress
from bertie.commands._stdin import lines_of_stdin, refuse_names, refuse_table
from bertie.commands._use import UseSettings, flat, with_use_settings
from bertie.commands.command import UNBOUNDED_WIDTH, Report
from bertie.config import Positional
from bertie.errors import DataError, SettingsError
from bertie.items.choice import Choice

if TYPE_CHECKING:
    from bertie.inference.predictor import Predictor
    from bertie.runners._place import Place
    from bertie.tasks._prediction import Prediction

_OF_PLACE = ("runner", "index", "of", "address")
_MANY = 200  # from this number of texts on, a progress bar is shown


@dataclass(frozen=True, kw_only=True)
class Predictions(Report):
    """The predictions of a model; `--json` prints one JSON object per line and text."""

    items: Sequence[Any] = field(default_factory=tuple)
    """The items."""
    predictions: Sequence["Prediction | None"] = field(default_factory=tuple)
    """Their predictions, in the same order; None for an item without text."""
    places: Sequence[dict[str, Any]] = field(default_factory=tuple)
    """The line of each item, and its id if it has one; empty for texts from arguments."""

    def as_dict(self) -> dict[str, Any]:
        """Return every text with its prediction and with its line in the file."""
        from bertie.inference.render import records

        rows = records(self.items, self.predictions)
        places = self.places or [{}] * len(rows)
        return {"predictions": [{**place, **one} for place, one in zip(places, rows, strict=True)]}

    def as_json(self) -> str:
        """Return one line of JSON for each text."""
        return "\n".join(Report(title="", values=values).as_json() for values in self.as_dict()["predictions"])

    def as_text(self, width: int = UNBOUNDED_WIDTH) -> str:
        """Return the predictions as text, in a layout that suits the task."""
        from bertie.inference.render import show

        return show(self.items, self.predictions, width)


@dataclass(frozen=True, kw_only=True)
class PredictedSlice(Predictions):
    """The figures of a slice of a file of predictions. The predictions themselves are in files only."""

    def as_dict(self) -> dict[str, Any]:
        """Return the figures."""
        return Report.as_dict(self)

    def as_json(self) -> str:
        """Return the figures as one line of JSON."""
        return Report.as_json(self)

    def as_text(self, width: int = UNBOUNDED_WIDTH) -> str:
        """Return the figures as text."""
        return Report.as_text(self, width)


@dataclass(frozen=True, kw_only=True)
class PredictedFile(PredictedSlice):
    """The figures of a whole file of predictions."""

    @property
    def rows(self) -> int:
        """Number of rows in the file."""
        return int(self.values["rows"])

    @property
    def errors(self) -> int:
        """Number of rows without a prediction."""
        return int(self.values["errors"])

    @property
    def seconds(self) -> float:
        """Time of this call."""
        return float(self.values["seconds"])


@with_use_settings
def predict(
    model: Positional[str],
    texts: Positional[tuple[str, ...]] = (),
    *,
    pair: tuple[str, ...] = (),
    file: Path | None = None,
    out: Path | None = None,
    resume: bool = False,
    columns: dict[str, str] | None = None,
    task: str | None = None,
    top_k: int | None = None,
    joint: bool = False,
    targets: tuple[str, ...] = (),
    answer_length: int | None = None,
    likelihood: bool = False,
    scoring: Literal["masked", "causal"] | None = None,
    runner: Literal["local", "slice", "ray"] = "local",
    index: int | None = None,
    of: int | None = None,
    address: str | None = None,
    use: UseSettings,
) -> Predictions:
    """Predict with a model: labels, tokens for [MASK], choices, vectors, for texts from arguments, stdin or a file.

    Without texts and file, standard input is read, one text per line. A tab separates the two texts of a pair, or a
    text and its choices. --joint, --targets, --answer-length and --likelihood are for masked language models; give only
    one of them.

    Args:
        model: model folder or hub id.
        texts: texts to predict for; a tab separates the two texts of a pair.
        pair: second texts, one for each text; for multiple choice the choices of a single text.
        file: .txt (one text per line) or table (.csv, .jsonl, .parquet, ...) to read the texts from.
        out: with --file: file to write instead of printing, .jsonl, .csv, .tsv or .parquet. It has all rows and columns
            of the input in their order, then the columns of the predictions. A row without a prediction has the
            reason in the column error, and the exit code is then 3. Memory doesn't grow with the number of rows.
        resume: with --out: continue a run that was stopped.
        columns: roles of the file's columns, such as text=body,pair=title, and its format, such as
            header=no,delimiter=semicolon; when not given, as in the model's training file, or detected.
        task: task of the model; the one it was trained for when not given.
        top_k: number of predictions for each [MASK], or for all masks of a text together.
        joint: fill all [MASK] of a text together instead of each by itself.
        targets: answers to rank for the one [MASK] of each text, of any number of words, separated by commas.
        answer_length: find whole answers of 1 to this many pieces for the one [MASK] of each text.
        likelihood: score whole texts instead: log-likelihood (natural logarithm) and perplexity. For a masked LM it is
            a pseudo-log-likelihood; pieces to the right in the same word are masked too.
        scoring: the context that predicts each piece in a likelihood: all other pieces (masked) or those before it
            (causal); by default as the model was trained.
        runner: with --out: local (this process), slice (one of several parts, by --index and --of; bertie seal joins
            them) or ray (a Ray cluster); without effect on the result.
        index: which slice, from 0; by default as Slurm or Kubernetes numbers the jobs of an array.
        of: number of slices; by default as Slurm sets it.
        address: the Ray cluster: auto, or HOST:PORT; a new one of this machine when not given.
        use: settings that predict, evaluate and search share.

    Returns:
        One prediction for each text, in their order.
    """
    if scoring is not None and not likelihood:
        raise SettingsError("--scoring requires --likelihood; add it, or leave out --scoring")
    answer = _answering_function(
        joint=joint,
        targets=targets,
        answer_length=answer_length,
        likelihood=likelihood,
        scoring=scoring,
        top_k=top_k,
    )
    if out is None and resume:
        raise SettingsError("--resume requires --out; predictions that are printed can't be resumed")
    if out is not None and (file is None or texts or pair):
        raise SettingsError("--out requires --file, and no texts; it writes the rows of a file with their predictions")
    if runner != "local" and out is None:
        raise SettingsError(f"--runner {runner} requires --file and --out")
    if (runner, index, of, address) != ("local", None, None, None):
        _place(locals()).check()
    if runner == "slice" and resume:
        raise SettingsError("--resume has no effect with --runner slice; a slice that was stopped is made again")
    parameters = {**locals()}
    predictor = use.load(model, task=task, top_k=top_k)
    if out is not None and file is not None:
        return _predicted_file(predictor, answer, file, out, parameters)
    items, places = _items(texts, pair, file, columns, predictor)
    blank = [bool(places) and _is_blank(item) for item in items]
    texts_left = [item for item, is_blank in zip(items, blank, strict=True) if not is_blank]
    predictor.expect(len(texts_left))
    shows_progress = len(texts_left) >= _MANY
    with progress.bar("Predicting", total=len(texts_left), unit="texts") if shows_progress else nullcontext() as bar:
        predictions = answer(predictor, texts_left, bar=bar) if texts_left else []
    if len(texts_left) < len(items):
        predictions = _with_nulls(blank, places, predictions)
    return Predictions(title=f"{predictor.task.name} by {model}", items=items, predictions=predictions, places=places)


def _predicted_file(
    predictor: "Predictor", answer: Callable[..., list[Any]], file: Path, out: Path, parameters: dict[str, Any]
) -> Predictions:
    """Predict for all rows of a file, and write them into another."""
    from bertie.bulk.run import Job, predict_file

    flags = flat(predict, {name: parameters[name] for name in parameters if name != "answer"})
    without_effect = ("model", "texts", "pair", "file", "out", "resume", "threads", *_OF_PLACE)
    settings = {f"--{name.replace('_', '-')}": value for name, value in flags.items() if name not in without_effect}
    job = Job(file, out, parameters["columns"], settings)
    title = f"{predictor.task.name} by {parameters['model']}: {out}"
    if parameters["runner"] == "slice":
        from bertie.bulk.slices import COMMAND, predict_slice
        from bertie.commands._slices import changed_flags, slice_report
        from bertie.runners.slice import Slice, command_line

        started, place = time.monotonic(), Slice.chosen(parameters["index"], parameters["of"])
        typed = command_line(
            COMMAND, (parameters["model"],), changed_flags(predict, flags, without=("model", *_OF_PLACE))
        )
        is_new = predict_slice(predictor, answer, job, place, typed)
        return PredictedSlice(**vars(slice_report(out, place, time.monotonic() - started, is_new=is_new)))
    values = predict_file(predictor, answer, job, resume=parameters["resume"], place=_place(parameters))
    return predicted_file_report(title, out, values)


def _place(parameters: dict[str, Any]) -> "Place":
    from bertie.runners._place import Place

    return Place(**{name: parameters[name] for name in _OF_PLACE})


def predicted_file_report(title: str, out: Path, values: dict[str, Any]) -> PredictedFile:
    """Return the report of a file of predictions, after a warning if rows have no prediction.

    Args:
        title: its title.
        out: the file.
        values: the figures.
    """
    if values["errors"]:
        progress.warn(
            f"{values['errors']:,} of {values['rows']:,} rows have no prediction; the column error of {out} says why. "
            f"The first: {values['first_errors'][0]}"
        )
    code = DataError.exit_code if values["errors"] else 0
    return PredictedFile(title=title, values=values, exit_code=code)


def _answering_function(
    *,
    joint: bool,
    targets: Sequence[str],
    answer_length: int | None,
    likelihood: bool,
    scoring: Literal["masked", "causal"] | None,
    top_k: int | None,
) -> Callable[..., list[Any]]:
    """Return the function of (predictor, items, bar=) that the flags ask for."""
    flags = {
        "--joint": joint,
        "--targets": bool(targets),
        "--answer-length": answer_length is not None,
        "--likelihood": likelihood,
    }
    chosen_flags = [flag for flag, wanted in flags.items() if wanted]
    if len(chosen_flags) > 1:
        raise SettingsError(f"{' and '.join(chosen_flags)} can't be combined; give one of them")
    if likelihood and top_k is not None:
        raise SettingsError("--top-k has no effect with --likelihood; leave it out")
    if likelihood:
        from bertie.inference.likelihood import pseudo_log_likelihood

        return partial(pseudo_log_likelihood, scoring=scoring)
    if joint:
        from bertie.inference.filling import fill_jointly

        return fill_jointly
    if targets:
        from bertie.inference.answers import rank_targets

        words = [word.strip() for target in targets for word in target.split(",")]
        return lambda predictor, items, bar: [
            ranked[:top_k] for ranked in rank_targets(predictor, items, words, bar=bar)
        ]
    if answer_length is not None:
        from bertie.inference.answers import find_answers

        return partial(find_answers, max_pieces=answer_length)
    return lambda predictor, items, bar: predictor.predict(items, bar=bar)


def _items(
    texts: Sequence[str],
    pair: Sequence[str],
    file: Path | None,
    columns: dict[str, str] | None,
    predictor: "Predictor",
) -> tuple[list[Any], list[dict[str, Any]]]:
    """Return the items from arguments, stdin or a file, and their lines; a file is read like the training file."""
    from bertie.readers.reading import learned
    from bertie.tasks._lookup import read_items

    task = predictor.task
    if file is not None:
        if texts or pair:
            raise SettingsError("give texts or --file, not both")
        items = list(read_items(task, file, columns=columns, like=learned(predictor.bundle.extra)).items)
        return items, [_item_position(item) for item in items]
    if columns is not None:
        raise SettingsError("--columns requires --file")
    refuse_names((*texts, *pair))
    if pair and task.takes_choices:
        if len(texts) != 1:
            raise SettingsError(f"{len(texts)} texts with choices by --pair; give one text, or several by --file")
        return [Choice(texts[0], tuple(pair))], []
    if pair:
        if len(pair) != len(texts):
            raise SettingsError(
                f"{len(texts)} texts and {len(pair)} second texts by --pair; give the same number of both"
            )
        return list(zip(texts, pair, strict=True)), []
    from_stdin = not texts
    if from_stdin:
        texts = lines_of_stdin('no texts: give them as arguments ("a text" "another"), by --file, or on standard input')
        refuse_table(texts)
    items = [_split_text(text, number, choices=task.takes_choices) for number, text in enumerate(texts, 1)]
    return items, [{"line": number} for number in range(1, len(items) + 1)] if from_stdin else []


def _item_position(item: Any) -> dict[str, Any]:
    """Return an item's line and id in its file, by which users join predictions to rows."""
    position: dict[str, Any] = {"line": item.line} if getattr(item, "line", 0) else {}
    return {**position, "id": item.id} if getattr(item, "id", "") else position


def _is_blank(item: Any) -> bool:
    """Check whether an item has no text: an empty line, or a row with empty columns."""
    from bertie.inference.render import sides

    return not any(part.strip() for part in sides(item).values())


def _with_nulls(blank: Sequence[bool], places: Sequence[dict[str, Any]], predictions: Sequence[Any]) -> list[Any]:
    """Return the predictions with None for items without text, and write a note about these."""
    first = places[blank.index(True)].get("line", blank.index(True) + 1)
    progress.note(f"{sum(blank):,} of {len(blank):,} have no text, the first in line {first}; their prediction is null")
    remaining = iter(predictions)
    return [None if is_blank else next(remaining) for is_blank in blank]


def _split_text(text: str, number: int, *, choices: bool) -> Any:
    """Split a pair, or a text and its choices, at the tabs."""
    parts = text.split("\t")
    if choices:
        return Choice(parts[0], tuple(parts[1:]))
    if len(parts) > 2:
        raise DataError(f"text {number} has {len(parts) - 1} tabs; a pair has one, and a table is read by --file")
    return (parts[0], parts[1]) if len(parts) == 2 else text
