"""Fine-tune a pre-trained model on a labelled table."""

import hashlib
import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie import config, progress, registry
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import SettingsError
from bertie.training.settings import OptimizerSettings, ScheduleSettings, TrainingSettings

if TYPE_CHECKING:
    from bertie.formats.format import Bundle
    from bertie.training.run import Position
    from bertie.training.runfolder import RunFolder
    from bertie.training.schedule import Horizon


@dataclass(frozen=True, kw_only=True)
class FinetuneReport(Report):
    """What a fine-tuning run reached."""

    @property
    def scores(self) -> dict[str, float]:
        """Scores on the dev table, by name; empty without one."""
        return dict(self.values.get("scores", {}))


def finetune(
    model: Positional[str],
    *,
    train: Path,
    out: Path,
    task: str = "classification",
    dev: Path | None = None,
    columns: dict[str, str] | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    budget: str | None = None,
    batch_size: int = 32,
    length: int = 128,
    truncation: Literal["truncate", "error"] = "truncate",
    learning_rate: float = 5e-5,
    optimizer: OptimizerSettings = OptimizerSettings(),
    schedule: ScheduleSettings = ScheduleSettings(),
    training: TrainingSettings = TrainingSettings(save_every=0),
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    device: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    resume: bool = False,
) -> FinetuneReport:
    """Fine-tune a pre-trained model on a labelled table.

    Args:
        model: folder or hub id of the pre-trained model.
        train: table to learn from (.tsv, .csv, .jsonl).
        out: run folder; must not exist unless --resume.
        task: what the model shall do; a file of bertie/tasks.
        dev: table to measure on.
        columns: what the columns hold, such as text=body,label=tag; found out when not given.
        steps: updates to do; give one of steps, epochs, budget. Three epochs when none is given.
        epochs: passes over the training table.
        budget: time to spend, such as 10m.
        batch_size: items of one update.
        length: tokens of the longest item.
        truncation: what to do with longer items: cut them (and say how many) or stop.
        learning_rate: peak.
        optimizer: how weights are updated.
        schedule: the learning rate over the run.
        training: how the run is logged, evaluated and saved.
        precision: auto is bf16 products on fp32 weights where the processor has bf16, else fp32.
        device: auto, cpu, cuda.
        threads: CPU threads; all cores when not given.
        seed: of the new head, the order and dropout.
        resume: go on with the run in `out`.

    Returns:
        Scores on the dev table.
    """
    parameters = dict(locals())
    from bertie.data.table import label_names, read_table, refuse_unseen
    from bertie.nn.device import resolve_device, set_threads
    from bertie.training.feed import table_feed
    from bertie.training.precision import resolve
    from bertie.training.run import Job, run
    from bertie.training.runfolder import RunFolder

    table = read_table(train, columns=columns, labelled=True)
    dev_items = [] if dev is None else read_table(dev, columns=columns, labelled=True).items
    labels = label_names(table.items)
    if len(labels) < 2:
        raise SettingsError(f"{train}: every row has the label {labels[0]!r}; classification needs two or more")
    if dev is not None:
        refuse_unseen(dev_items, labels, dev)
    place = resolve_device(device)
    chosen = resolve(precision, place)
    parameters |= {"threads": set_threads(threads), "precision": chosen, "device": place.type}
    bundle = _start(model, task, {"labels": labels, "max_length": length, "truncation": truncation}, seed=seed)
    horizon = _horizon(len(table.items), batch_size, steps, epochs, budget)
    with RunFolder.open(
        out, "finetune", parameters, resume=resume, data=_fingerprint(table.items), write_config=config.write
    ) as folder:
        if folder.finished:
            progress.note(f"{out} is finished already; nothing was done")
            return _report(folder, folder.values)
        job = Job(
            model=bundle.model,
            task=bundle.task,
            feed=lambda done, state: table_feed(
                table.items,
                bundle.task,
                bundle.tokenizer,
                batch_size=batch_size,
                micro_tokens=training.micro_tokens,
                seed=seed,
                state=state,
            ),
            horizon=horizon,
            peak=learning_rate,
            optimizer=optimizer,
            schedule=schedule,
            training=training,
            precision=chosen,
            device=place,
            seed=seed,
            evaluate=_evaluation(bundle, dev_items),
        )
        position = run(job, folder)
        return _finish(bundle, folder, position, dev_items)


def _start(model: str, task: str, settings: dict[str, Any], *, seed: int) -> "Bundle":
    """Read the pre-trained model and put a new head on it."""
    from bertie.formats.huggingface import read, resolve

    known = {field.name for field in fields(registry.load("tasks", task).TASK)}
    if "labels" not in known:
        raise SettingsError(f"--task {task} is not fine-tuned on a table of labels; use classification")
    bundle = read(resolve(model), task=task, settings=settings, new_head=True, seed=seed)
    limit = bundle.config.max_positions
    if settings["max_length"] > limit:
        raise SettingsError(f"--length {settings['max_length']} is more than the {limit} positions of {model}")
    for line in bundle.notes:
        progress.note(line)
    return bundle


def _horizon(num_items: int, batch_size: int, steps: int | None, epochs: int | None, budget: str | None) -> "Horizon":
    """Turn the ways to say how long into a horizon; three epochs when nothing is said."""
    from bertie.training.schedule import Horizon, parse_duration

    if batch_size < 1:
        raise SettingsError(f"--batch-size must be at least 1; got {batch_size}")
    if epochs is not None and (steps is not None or budget is not None):
        raise SettingsError("give one of --steps, --epochs or --budget, not several")
    if steps is None and budget is None:
        passes = 3 if epochs is None else epochs
        if passes < 1:
            raise SettingsError(f"--epochs must be at least 1; got {passes}")
        steps = passes * -(-num_items // batch_size)
    return Horizon(steps, None, None if budget is None else parse_duration(budget))


def _fingerprint(items: Any) -> str:
    """Hash the training table, for a resumed run."""
    return hashlib.sha256(json.dumps([[item.text, item.pair, item.label] for item in items]).encode()).hexdigest()


def _evaluation(bundle: "Bundle", items: Any) -> Any:
    """Return a function that measures on the dev table, or None without one."""
    if not items:
        return None
    from bertie.inference.evaluate import evaluate

    def measure() -> dict[str, float]:
        found = evaluate(bundle.model, bundle.task, items, bundle.tokenizer)
        return {**({} if found.loss is None else {"loss": found.loss}), **found.scores}

    return measure


def _finish(bundle: "Bundle", folder: "RunFolder", position: "Position", items: Any) -> FinetuneReport:
    """Write the model and the report of a run that reached its end."""
    from bertie.formats.huggingface import write
    from bertie.inference.evaluate import evaluate
    from bertie.reports.card import model_card
    from bertie.reports.parts import classifier
    from bertie.reports.run import RunReport
    from bertie.reports.run import write as write_report
    from bertie.training.journal import read

    values: dict[str, Any] = {
        "folder": str(folder.path),
        "steps": position.step,
        "seconds": round(position.seconds, 1),
    }
    shown = None
    if items:
        found = evaluate(bundle.model, bundle.task, items, bundle.tokenizer)
        values["scores"] = {name: round(score, 4) for name, score in found.scores.items()}
        values["dev_items"] = found.num_items
        values["dev_items_cut"] = found.num_cut
        shown = classifier(found)
    settings, command = folder.config.read_text(encoding="utf-8"), f"bertie run {folder.config}"
    scores = values.get("scores", {})
    card = model_card(
        task=bundle.task.name,
        command=command,
        scores=scores,
        settings=settings,
        name=folder.path.name,
        labels=getattr(bundle.task, "labels", ()),
        num_parameters=sum(value.numel() for value in bundle.model.parameters()),
        steps=position.step,
    )
    write(replace(bundle, card=card, extra={"scores": scores}), folder.model, overwrite=True)
    write_report(
        folder.report,
        RunReport(
            title=f"Fine-tuning {folder.path.name}",
            kind="finetune",
            summary={**{key: value for key, value in values.items() if key != "scores"}, **scores},
            records=read(folder.metrics),
            settings=settings,
            command=command,
            classifier=shown,
        ),
    )
    folder.mark_finished(values)
    return _report(folder, values)


def _report(folder: "RunFolder", values: dict[str, Any]) -> FinetuneReport:
    return FinetuneReport(
        title=f"Fine-tuned {folder.model}",
        values={**values, "report": str(folder.report)},
        next_command=f'bertie predict {folder.model} "a text of yours"',
    )
