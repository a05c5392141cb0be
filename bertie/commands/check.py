"""Check data before training: describe the files, and find errors in them."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_type_hints

from bertie import progress
from bertie.commands.command import UNBOUNDED_WIDTH, Report
from bertie.config import Positional
from bertie.errors import DataError, SettingsError
from bertie.findings import Finding, verdict
from bertie.tokenizer.reading import load_tokenizer

if TYPE_CHECKING:
    from bertie.checks.corpus import CorpusSurvey
    from bertie.tasks.task import Task
    from bertie.tokenizer.tokenizer import Tokenizer

_WIDTH = 100


@dataclass(frozen=True, kw_only=True)
class CheckReport(Report):
    """The findings about the files."""

    @property
    def findings(self) -> list[Finding]:
        """All findings, errors first."""
        return [Finding(**found) for found in self.values["findings"]]

    def as_text(self, width: int = UNBOUNDED_WIDTH) -> str:
        """Return the verdict, the findings, and the figures of each file with a bar for each label."""
        from bertie.reports.check import bars, example, finding

        width = min(width, _WIDTH)
        blocks = [self.title, *(finding(found, width) for found in self.findings)]
        for figures in self.values["files"]:
            values = {name: value for name, value in figures.items() if name not in ("file", "examples")}
            if "labels" in values:
                values["labels"] = bars(values["labels"])
            blocks.append(Report(title=figures["file"], values=values).as_text(width))
            if examples := figures.get("examples"):
                has_pieces = "pieces" in examples[0]
                heading = (
                    "examples as the model will see them"
                    if has_pieces
                    else "examples (give --model to show its pieces)"
                )
                blocks.append("\n".join([heading, *(example(row, width) for row in examples)]))
        return "\n\n".join(blocks)


def check(
    files: Positional[tuple[Path, ...]],
    *,
    task: str | None = None,
    dev: Path | None = None,
    model: str | None = None,
    length: int = 128,
    columns: dict[str, str] | None = None,
    settings: dict[str, Any] | None = None,
    documents: Literal["blank-line", "file"] = "blank-line",
) -> CheckReport:
    """Check data before training: describe the files, and find errors in them.

    With --task, the files are labelled data for fine-tuning: columns, labels and their balance, lengths, casing,
    copies, overlap, misaligned answers or tags, and examples are checked. Without it, they are raw text for
    pre-training.

    Args:
        files: with --task, files in the task's formats, or data sets such as hub:folder:train; otherwise text files,
            folders and glob patterns.
        task: the task of the data; a file of bertie/tasks, or your own class as package.module:Class.
        dev: dev file, with --task; it is compared with the others.
        model: folder or hub id of a model or tokenizer, to count pieces; words are counted when not given.
        length: largest number of tokens in an item.
        columns: roles of the columns, such as text=body,label=tag, and the format of an ambiguous file, such as
            header=no,delimiter=semicolon (docs/tasks.md); detected when not given.
        settings: further settings of the task, such as multi_label=true.
        documents: what separates documents in .txt files of raw text: blank-line, or file (each file is one document).

    Returns:
        Findings with their positions and remedies, and figures. The exit code is 3 if the data can't be used.
    """
    tokenizer = None if model is None else _tokenizer(model)
    if task is None:
        labelled_only = {"dev": dev, "settings": settings}
        if unusable := [name for name, value in labelled_only.items() if value is not None]:
            raise SettingsError(f"--{unusable[0]} requires --task; without it, files are raw text for pre-training")
        return _check_text(files, tokenizer, length=length, columns=columns, documents=documents, model=model)
    if documents != "blank-line":
        raise SettingsError("--documents is for raw text; leave it out, or leave out --task")
    return _check_items(files, dev, task, tokenizer, length=length, columns=columns, settings=settings, model=model)


def _tokenizer(model: str) -> "Tokenizer":

    if Path(model).exists():
        return load_tokenizer(model)
    from bertie.formats.huggingface import resolve

    return load_tokenizer(resolve(model))


def _check_text(
    files: Sequence[Path],
    tokenizer: "Tokenizer | None",
    *,
    length: int,
    columns: dict[str, str] | None,
    documents: Literal["blank-line", "file"],
    model: str | None,
) -> CheckReport:
    """Check raw text."""
    from bertie.checks.advice import advise
    from bertie.checks.corpus import survey
    from bertie.corpus.encoding import TextEncoder

    if unknown := sorted((columns or {}).keys() - {"text"}):
        raise SettingsError(f"--columns {unknown[0]}: raw text has one column, text; labelled data needs --task")
    column = (columns or {}).get("text")
    encoder = None if tokenizer is None else TextEncoder(tokenizer)
    text_survey = survey(list(files), separator=documents, text_column=column, encoder=encoder)
    share = _random_share(text_survey, length)
    # Other commands for raw text have the flag --text-column instead.
    findings = [
        replace(one, what=one.what.replace("--text-column ", "--columns text="))
        for one in advise(text_survey, separator=documents, random_share=share)
    ]
    quoted_files = " ".join(map(shlex.quote, map(str, files)))
    next_command = f"train-tokenizer {quoted_files} --out out/tokenizer"
    if model is not None:
        next_command = f"prepare-corpus {quoted_files} --tokenizer {shlex.quote(model)} --out out/corpus"
    figures = {"file": ", ".join(map(str, files)), **text_survey.figures(), "estimated_random_next_share": share}
    return _report(files, findings, [figures], next_command)


def _random_share(text_survey: "CorpusSurvey", length: int) -> float | None:
    """Return the share of random pairs in the first epoch of pretrain; None if the text has no pairs."""
    from bertie.sampling.plan import pair_plan

    try:
        return pair_plan(cast(Any, text_survey), seed=0, epoch=0, length=length).random_share
    except DataError:
        return None


@dataclass
class _FileSurvey:
    """The items, figures and findings of one file of labelled data."""

    path: Path
    items: list[Any] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    labelled: bool = True
    """Whether its labels could be read."""

    def add(self, found: tuple[dict[str, Any], list[Finding]]) -> None:
        self.figures |= found[0]
        self.findings += found[1]

    def add_error(self, error: Exception) -> None:
        """Add an error that would stop training, unless the survey found a more precise one already."""
        if not any(found.severity == "error" for found in self.findings):
            self.findings.append(Finding("error", str(error), str(self.path)))


def _check_items(
    files: Sequence[Path],
    dev: Path | None,
    task: str,
    tokenizer: "Tokenizer | None",
    *,
    length: int,
    columns: dict[str, str] | None,
    settings: dict[str, Any] | None,
    model: str | None,
) -> CheckReport:
    """Check labelled data file by file, and compare the dev file with the others."""
    from bertie.checks.items import survey_overlap
    from bertie.checks.labels import unseen
    from bertie.tasks._lookup import task_class
    from bertie.tasks.task import parse_settings

    task_type = task_class(task)
    names = {one.name for one in fields(cast(Any, task_type))}
    requested = {**({"max_length": length} if "max_length" in names else {}), **(settings or {})}
    parsed = parse_settings(task_type, requested)
    limit = int(parsed.get("max_length", length))
    _bare_task(task_type, parsed)  # raises for invalid settings
    surveys = [
        _survey_file(task_type, path, tokenizer, limit, columns, parsed)
        for path in (*files, *([] if dev is None else [dev]))
    ]
    train_surveys = surveys[: len(files)]
    tasks = [_learn_settings(task_type, one, parsed, tokenizer) for one in train_surveys]
    if dev is not None:
        dev_survey = surveys[-1]
        for one in train_surveys:
            dev_survey.add(survey_overlap(one.items, dev_survey.items, one.path, dev))
        train_items = [item for one in train_surveys for item in one.items]
        if train_items and dev_survey.items and task_type.needs_labels and _has_labels(task_type):
            dev_survey.findings += unseen(train_items, dev_survey.items, dev, many=_many_labels(train_items, parsed))
        if tasks[0] is not None and dev_survey.items:
            _admit(tasks[0], dev_survey)
    findings = [each for one in surveys for each in one.findings]
    next_command = f"finetune {model or 'MODEL'} --task {task} --train {shlex.quote(str(files[0]))}"
    for flag, pairs in (("columns", columns), ("settings", settings)):
        next_command += f" --{flag} {','.join(f'{name}={value}' for name, value in pairs.items())}" if pairs else ""
    next_command += f"{f' --dev {shlex.quote(str(dev))}' if dev else ''} --out out/{task_type.name}"
    return _report([one.path for one in surveys], findings, [one.figures for one in surveys], next_command)


def _survey_file(
    kind: "type[Task]",
    path: Path,
    tokenizer: "Tokenizer | None",
    limit: int,
    columns: dict[str, str] | None,
    given: dict[str, Any],
) -> _FileSurvey:
    """Read a file and survey its items."""
    from bertie.checks.items import survey_copies, survey_texts
    from bertie.checks.labels import survey_labels
    from bertie.checks.pieces import survey_casing, survey_lengths, survey_targets

    survey, failure = _FileSurvey(path, figures={"file": str(path)}), None
    with progress.collected() as warnings:
        try:
            table = kind.read(path, columns=columns, labelled=kind.needs_labels)
        except DataError as error:
            failure, table = error, _unlabelled(kind, path, columns)
    survey.findings += _as_findings(warnings, path)
    if table is not None:
        survey.items = items = table.items
        survey.figures |= {"columns": table.mapping, "items": len(items)}
        if table.reading is not None and table.reading.num_left_out:
            survey.figures["left_out"] = {one.reason: one.count for one in table.reading.left_out}
        survey.findings += survey_texts(items, path)
        if kind.generates_text:
            max_target = given.get("max_target", getattr(kind, "max_target", limit))
            survey.add(survey_targets(items, path, tokenizer=tokenizer, limit=max_target))
        elif kind.needs_labels:
            survey.add(survey_labels(items, path, classes=_has_labels(kind), many=_many_labels(items, given)))
        survey.add(survey_copies(items, path))
        survey.add(
            survey_lengths(items, path, tokenizer=tokenizer, limit=limit, **_layout(kind, given, items, tokenizer))
        )
        if tokenizer is not None:
            survey.add(survey_casing(items, path, tokenizer))
    if failure is not None:
        survey.labelled = False
        survey.add_error(failure)
    return survey


def _layout(
    kind: "type[Task]", given: dict[str, Any], items: Sequence[Any], tokenizer: "Tokenizer | None"
) -> dict[str, Any]:
    """Return how the task encodes items: pairs in one sequence or two, its truncation, and its limit for questions."""
    from bertie.items.text import Text

    apart = False
    if tokenizer is not None and isinstance(items[0], Text):
        apart = len(_bare_task(kind, given).encode([Text("a", "b")], tokenizer)) == 2
    defaults = {name: getattr(kind, name) for name in ("truncation", "max_query") if hasattr(kind, name)}
    values = {name: given.get(name, value) for name, value in defaults.items()}
    return {"apart": apart, "choices": get_args(get_type_hints(kind).get("truncation")), **values}


def _bare_task(kind: "type[Task]", given: dict[str, Any]) -> "Task":
    """Return the task without settings from a table, which suffices to encode items."""
    return kind(**{name: given[name] for name in ("max_length", "truncation") if name in given})


def _has_labels(kind: "type[Task]") -> bool:
    """Check whether a task's labels are names from a list."""
    return any(one.name == "labels" for one in fields(cast(Any, kind)))


def _many_labels(items: Sequence[Any], given: dict[str, Any]) -> bool:
    """Check whether items may have several labels: by the setting multi_label, or because some labels are lists."""
    listed = any(isinstance(getattr(item, "label", None), tuple) for item in items)
    return bool(given.get("multi_label", listed))


def _unlabelled(kind: "type[Task]", path: Path, columns: dict[str, str] | None) -> Any:
    """Read a file without its labels, which can't be used; None if that fails too."""
    try:
        return kind.read(path, columns=columns)
    except DataError:
        return None


def _learn_settings(
    kind: "type[Task]", survey: _FileSurvey, given: dict[str, Any], tokenizer: "Tokenizer | None"
) -> "Task | None":
    """Return the task with settings learned from a file, as in training, and add examples; None after an error."""
    from bertie.checks.pieces import examples

    if not survey.items:
        return None
    task = None
    try:
        learned = kind.learn(survey.items, given) if kind.needs_labels and survey.labelled else {}
        task = kind(**{**learned, **given}) if survey.labelled else None
    except (DataError, SettingsError) as error:
        survey.add_error(error)
    encoding_task = task or _bare_task(kind, given)
    encode = None if tokenizer is None else (lambda items: encoding_task.encode(items, tokenizer))
    try:
        survey.figures["examples"] = examples(survey.items, encode, tokenizer)
    except DataError as error:  # for example a longer text with truncation=error
        survey.add_error(error)
    return task


def _admit(task: "Task", dev: _FileSurvey) -> None:
    """Check that the task can be evaluated on the dev items."""
    with progress.collected() as warnings:
        try:
            task.check_items(dev.items, dev.path)
        except (DataError, SettingsError) as error:
            dev.add_error(error)
    dev.findings += _as_findings(warnings, dev.path)


def _as_findings(warnings: Sequence[str], path: Path) -> list[Finding]:
    """Return the warnings about a file as findings."""
    return [Finding("warning", line.removeprefix(f"{path}: "), str(path)) for line in warnings]


def _report(
    paths: Sequence[Path], findings: list[Finding], figures: list[dict[str, Any]], next_command: str
) -> CheckReport:
    ranks = ("error", "warning", "note")
    ordered = sorted(findings, key=lambda found: ranks.index(found.severity))
    usable = not ordered or ordered[0].severity != "error"
    conclusion = verdict(ordered)
    return CheckReport(
        title=f"{', '.join(map(str, paths))}: {conclusion}",
        values={"verdict": conclusion, "findings": [asdict(found) for found in ordered], "files": figures},
        next_command=f"bertie {next_command}" if usable else None,
        exit_code=0 if usable else DataError.exit_code,
    )
