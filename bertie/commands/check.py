"""Check data before any training: what is in the files, and what will go wrong."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args, get_type_hints

from bertie import progress
from bertie.commands.command import UNBOUNDED_WIDTH, Report
from bertie.config import Positional
from bertie.corpus.findings import Finding, verdict
from bertie.errors import DataError, SettingsError

if TYPE_CHECKING:
    from bertie.corpus.survey import CorpusSurvey
    from bertie.tasks.task import Task
    from bertie.tokenizer.tokenizer import Tokenizer

_WIDTH = 100


@dataclass(frozen=True, kw_only=True)
class CheckReport(Report):
    """What was found in the files."""

    @property
    def findings(self) -> list[Finding]:
        """Everything worth knowing, errors first."""
        return [Finding(**found) for found in self.values["findings"]]

    def as_text(self, width: int = UNBOUNDED_WIDTH) -> str:
        """Lay out the verdict, the findings, and the figures of every file with a bar for each label."""
        from bertie.reports.check import bars, example, finding

        width = min(width, _WIDTH)
        blocks = [self.title, *(finding(found, width) for found in self.findings)]
        for figures in self.values["files"]:
            shown = {name: value for name, value in figures.items() if name not in ("file", "examples")}
            if "labels" in shown:
                shown["labels"] = bars(shown["labels"])
            blocks.append(Report(title=figures["file"], values=shown).as_text(width))
            if examples := figures.get("examples"):
                seen = "pieces" in examples[0]
                heading = "as the model will see them" if seen else "some of them (with --model, as it will see them)"
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
    """Check data before any training: what is in the files, and what will go wrong.

    With --task, files are labelled data to fine-tune on: columns, labels and their balance, lengths, casing, copies,
    overlap, misaligned answers or tags, examples. Without, they are raw text to pre-train on.

    Args:
        files: with --task, files of that task's kind, or data sets such as hub:folder:train; else text files, folders
            and glob patterns.
        task: what the data is for; a file of bertie/tasks, or a class of yours as package.module:Class.
        dev: file to measure on, with --task; it is compared with the others.
        model: model or tokenizer, a folder or hub id, to count pieces with; words are counted when not given.
        length: tokens of the longest item.
        columns: what the columns hold, such as text=body,label=tag, and how a file is read that leaves it open, such
            as header=no,delimiter=semicolon (docs/tasks.md); found out when not given.
        settings: further settings of the task, such as multi_label=true.
        documents: what parts documents in .txt files of raw text: blank-line, or file: each file is one document.

    Returns:
        Findings with places and remedies, and figures. The exit code is 3 when the data can't be used.
    """
    tokenizer = None if model is None else _tokenizer(model)
    if task is None:
        given = {"dev": dev, "settings": settings}
        if useless := [name for name, value in given.items() if value is not None]:
            raise SettingsError(f"--{useless[0]} goes with --task; without it, files are raw text to pre-train on")
        return _check_text(files, tokenizer, length=length, columns=columns, documents=documents, model=model)
    if documents != "blank-line":
        raise SettingsError("--documents goes with raw text; leave it out, or leave out --task")
    return _check_items(files, dev, task, tokenizer, length=length, columns=columns, settings=settings, model=model)


def _tokenizer(model: str) -> "Tokenizer":
    from bertie.tokenizer.tokenizer import Tokenizer

    if Path(model).exists():
        return Tokenizer.load(model)
    from bertie.formats.huggingface import resolve

    return Tokenizer.load(resolve(model))


def _check_text(
    files: Sequence[Path],
    tokenizer: "Tokenizer | None",
    *,
    length: int,
    columns: dict[str, str] | None,
    documents: Literal["blank-line", "file"],
    model: str | None,
) -> CheckReport:
    """Look at raw text."""
    from bertie.corpus.advice import advise
    from bertie.corpus.encoding import Encoder
    from bertie.corpus.survey import survey

    if unknown := sorted((columns or {}).keys() - {"text"}):
        raise SettingsError(f"--columns {unknown[0]}: raw text has one column, text; labelled data needs --task")
    column = (columns or {}).get("text")
    encoder = None if tokenizer is None else Encoder(tokenizer)
    found = survey(list(files), separator=documents, text_column=column, encoder=encoder)
    share = _random_share(found, length)
    # Other commands on raw text call it --text-column.
    findings = [
        replace(one, what=one.what.replace("--text-column ", "--columns text="))
        for one in advise(found, separator=documents, random_share=share)
    ]
    named = " ".join(map(shlex.quote, map(str, files)))
    following = f"train-tokenizer {named} --out out/tokenizer"
    if model is not None:
        following = f"prepare-corpus {named} --tokenizer {shlex.quote(model)} --out out/corpus"
    figures = {"file": ", ".join(map(str, files)), **found.figures(), "estimated_random_next_share": share}
    return _report(files, findings, [figures], following)


def _random_share(found: "CorpusSurvey", length: int) -> float | None:
    """Plan the pairs of the first epoch, as pretrain will, and return how many are random; None where none can be."""
    from bertie.data.plan import pair_plan

    try:
        return pair_plan(cast(Any, found), seed=0, epoch=0, length=length).random_share
    except DataError:
        return None


@dataclass
class _Looked:
    """One file of labelled data, looked at."""

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
        """Add what would stop training, unless it was found already, and by more than its first line."""
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
    """Look at labelled data, file by file, and at what the dev file has in common with the others."""
    from bertie.data.survey import survey_overlap
    from bertie.data.survey_labels import unseen
    from bertie.tasks.task import parse_settings, task_class

    kind = task_class(task)
    names = {one.name for one in fields(cast(Any, kind))}
    wishes = {**({"max_length": length} if "max_length" in names else {}), **(settings or {})}
    given = parse_settings(kind, wishes)
    limit = int(given.get("max_length", length))
    _bare(kind, given)  # refuses bad ones
    looked = [_look(kind, path, tokenizer, limit, columns, given) for path in (*files, *([] if dev is None else [dev]))]
    trains = looked[: len(files)]
    settled = [_settle(kind, one, given, tokenizer) for one in trains]
    if dev is not None:
        last = looked[-1]
        for one in trains:
            last.add(survey_overlap(one.items, last.items, one.path, dev))
        known = [item for one in trains for item in one.items]
        if known and last.items and kind.needs_labels and _has_labels(kind):
            last.findings += unseen(known, last.items, dev, many=_several(known, given))
        if settled[0] is not None and last.items:
            _admit(settled[0], last)
    findings = [found for one in looked for found in one.findings]
    following = f"finetune {model or 'MODEL'} --task {task} --train {shlex.quote(str(files[0]))}"
    for flag, pairs in (("columns", columns), ("settings", settings)):
        following += f" --{flag} {','.join(f'{name}={value}' for name, value in pairs.items())}" if pairs else ""
    following += f"{f' --dev {shlex.quote(str(dev))}' if dev else ''} --out out/{kind.name}"
    return _report([one.path for one in looked], findings, [one.figures for one in looked], following)


def _look(
    kind: "type[Task]",
    path: Path,
    tokenizer: "Tokenizer | None",
    limit: int,
    columns: dict[str, str] | None,
    given: dict[str, Any],
) -> _Looked:
    """Read a file and survey its items."""
    from bertie.data.survey import survey_copies, survey_texts
    from bertie.data.survey_labels import survey_labels
    from bertie.data.survey_pieces import survey_casing, survey_lengths, survey_targets

    looked, stopped = _Looked(path, figures={"file": str(path)}), None
    with progress.collected() as said:
        try:
            table = kind.read(path, columns=columns, labelled=kind.needs_labels)
        except DataError as error:
            stopped, table = error, _unlabelled(kind, path, columns)
    looked.findings += _warned(said, path)
    if table is not None:
        looked.items = items = table.items
        looked.figures |= {"columns": table.mapping, "items": len(items)}
        if table.reading is not None and table.reading.num_left_out:
            looked.figures["left_out"] = {one.reason: one.count for one in table.reading.left_out}
        looked.findings += survey_texts(items, path)
        if kind.writes:
            most = given.get("max_target", getattr(kind, "max_target", limit))
            looked.add(survey_targets(items, path, tokenizer=tokenizer, limit=most))
        elif kind.needs_labels:
            looked.add(survey_labels(items, path, classes=_has_labels(kind), many=_several(items, given)))
        looked.add(survey_copies(items, path))
        looked.add(
            survey_lengths(items, path, tokenizer=tokenizer, limit=limit, **_ways(kind, given, items, tokenizer))
        )
        if tokenizer is not None:
            looked.add(survey_casing(items, path, tokenizer))
    if stopped is not None:
        looked.labelled = False
        looked.add_error(stopped)
    return looked


def _ways(
    kind: "type[Task]", given: dict[str, Any], items: Sequence[Any], tokenizer: "Tokenizer | None"
) -> dict[str, Any]:
    """Find out how the task lays out items: pairs in one sequence or two, long ones how, questions how long."""
    from bertie.data.items import Text

    apart = False
    if tokenizer is not None and isinstance(items[0], Text):
        apart = len(_bare(kind, given).encode([Text("a", "b")], tokenizer)) == 2
    own = {name: getattr(kind, name) for name in ("truncation", "max_query") if hasattr(kind, name)}
    wished = {name: given.get(name, value) for name, value in own.items()}
    return {"apart": apart, "choices": get_args(get_type_hints(kind).get("truncation")), **wished}


def _bare(kind: "type[Task]", given: dict[str, Any]) -> "Task":
    """Make the task without what it learns from a table; enough to encode."""
    return kind(**{name: given[name] for name in ("max_length", "truncation") if name in given})


def _has_labels(kind: "type[Task]") -> bool:
    """Tell whether a task's labels are names out of a list."""
    return any(one.name == "labels" for one in fields(cast(Any, kind)))


def _several(items: Sequence[Any], given: dict[str, Any]) -> bool:
    """Tell whether items may have any number of labels: the user says so, or some stand in lists."""
    listed = any(isinstance(getattr(item, "label", None), tuple) for item in items)
    return bool(given.get("multi_label", listed))


def _unlabelled(kind: "type[Task]", path: Path, columns: dict[str, str] | None) -> Any:
    """Read a file whose labels can't be used, to look at the rest of it; None when nothing can be read."""
    try:
        return kind.read(path, columns=columns)
    except DataError:
        return None


def _settle(kind: "type[Task]", looked: _Looked, given: dict[str, Any], tokenizer: "Tokenizer | None") -> "Task | None":
    """Learn the task's settings from a file, as training would, and add examples; None when that can't be done."""
    from bertie.data.survey_pieces import examples

    if not looked.items:
        return None
    task = None
    try:
        learned = kind.learn(looked.items, given) if kind.needs_labels and looked.labelled else {}
        task = kind(**{**learned, **given}) if looked.labelled else None
    except (DataError, SettingsError) as error:
        looked.add_error(error)
    plain = task or _bare(kind, given)
    encode = None if tokenizer is None else (lambda items: plain.encode(items, tokenizer))
    try:
        looked.figures["examples"] = examples(looked.items, encode, tokenizer)
    except DataError as error:  # such as a longer text with truncation=error
        looked.add_error(error)
    return task


def _admit(task: "Task", dev: _Looked) -> None:
    """Ask the task whether it can be measured on the dev items."""
    with progress.collected() as said:
        try:
            task.admit(dev.items, dev.path)
        except (DataError, SettingsError) as error:
            dev.add_error(error)
    dev.findings += _warned(said, dev.path)


def _warned(said: Sequence[str], path: Path) -> list[Finding]:
    """Turn what was warned of while reading a file into findings."""
    return [Finding("warning", line.removeprefix(f"{path}: "), str(path)) for line in said]


def _report(
    paths: Sequence[Path], findings: list[Finding], figures: list[dict[str, Any]], following: str
) -> CheckReport:
    ranks = ("error", "warning", "note")
    ordered = sorted(findings, key=lambda found: ranks.index(found.severity))
    usable = not ordered or ordered[0].severity != "error"
    said = verdict(ordered)
    return CheckReport(
        title=f"{', '.join(map(str, paths))}: {said}",
        values={"verdict": said, "findings": [asdict(found) for found in ordered], "files": figures},
        next_command=f"bertie {following}" if usable else None,
        exit_code=0 if usable else DataError.exit_code,
    )
