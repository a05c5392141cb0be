"""Fine-tune a model, pre-trained or of random weights, on labelled data."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie import config, progress
from bertie.commands._fitting import horizon_of, origin
from bertie.commands._random import ModelSettings, RandomStart, start_of
from bertie.commands._seeds import with_seeds
from bertie.commands._teacher import taught
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import DataError, SettingsError
from bertie.training.settings import (
    DistillSettings,
    LoraSettings,
    OptimizerSettings,
    ScheduleSettings,
    TrainingSettings,
)

if TYPE_CHECKING:
    from bertie.commands._dev import DevTable
    from bertie.data.items import Table
    from bertie.formats.format import Bundle
    from bertie.tasks.task import Task, TaskModel
    from bertie.training.activations import Activations
    from bertie.training.run import Job, Position
    from bertie.training.runfolder import RunFolder


@dataclass(frozen=True, kw_only=True)
class FinetuneReport(Report):
    """What a fine-tuning run reached."""

    @property
    def scores(self) -> dict[str, float]:
        """Scores on the dev table, by name; empty without one."""
        return dict(self.values.get("scores", {}))


@with_seeds()
def finetune(
    model: Positional[str | ModelSettings | None] = None,
    *,
    train: Path,
    out: Path,
    task: str = "classification",
    tokenizer: Path | None = None,
    dev: Path | None = None,
    train_limit: int | None = None,
    dev_limit: int | None = None,
    columns: dict[str, str] | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    budget: str | None = None,
    batch_size: int | None = None,
    length: int | None = None,
    truncation: Literal["truncate", "error", "window"] | None = None,
    stride: int | None = None,
    settings: dict[str, Any] | None = None,
    learning_rate: float | None = None,
    optimizer: OptimizerSettings = OptimizerSettings(),
    schedule: ScheduleSettings = ScheduleSettings(),
    training: TrainingSettings = TrainingSettings(save_every=0),
    freeze: int = 0,
    freeze_cache: float = 8.0,
    lora: LoraSettings = LoraSettings(),
    distill: DistillSettings = DistillSettings(),
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    device: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    seeds: tuple[int, ...] | None = None,
    split_seed: int | None = None,
    resume: bool = False,
    accept_changes: bool = False,
) -> FinetuneReport:
    """Fine-tune a model, pre-trained or of random weights, on labelled data.

    Args:
        model: folder or hub id of a pre-trained model; or, by --model.size and its like, one of random weights.
        train: file to learn from, in one of the task's forms (a .tsv, .csv, .jsonl of texts and labels, ...).
        out: run folder; must not exist unless --resume.
        task: what the model shall do; a file of bertie/tasks, or a class of yours as package.module:Class.
        tokenizer: folder of the tokenizer, for a model of random weights.
        dev: table to measure on; or a share of the training table to hold out for it, such as 20%.
        train_limit: items to learn from at most; drawn from all over the table, the same ones whatever the seed.
        dev_limit: items to measure on at most, drawn alike.
        columns: what the columns hold, such as text=body,label=tag, and how a file is read that leaves it open, such
            as header=no,delimiter=semicolon (docs/tasks.md); found out when not given.
        steps: updates to do; give one of steps, epochs, budget.
        epochs: passes over the training table; when none of the three is given, as many as suit the number of examples.
        budget: time to spend, such as 10m.
        batch_size: items of one update; 8 to 32 when not given: the more examples, the more.
        length: tokens of the longest sequence; the task's own choice (128, for question answering 384) when not given.
        truncation: what to do with longer items: cut them (and say how many), stop (error), or slide a window over
            them; the task's own choice when not given.
        stride: tokens from one window to the next; the task's own choice when not given.
        settings: further settings of the task, such as label_smoothing=0.1,class_weights=balanced.
        learning_rate: peak; when not given one that suits the size of the weights, the task and the number of examples,
            which is said in a line and kept in config.toml.
        optimizer: how weights are updated.
        schedule: the learning rate over the run.
        training: how the run is logged, evaluated and saved, and whether dev scores choose weights and end.
        freeze: embeddings and so many blocks from below don't learn, and run without dropout; -1: all but the head.
        freeze_cache: gigabytes of disk in `out` at most for what frozen layers make of the training table; 0: none.
        lora: small updates that learn in place of the encoder's matrices.
        distill: a teacher that is learned from beside the labels.
        precision: auto is bf16 products on fp32 weights where the processor has bf16, else fp32.
        device: auto, cpu, cuda.
        threads: CPU threads; all cores when not given.
        seed: of random weights, the new head and LoRA's updates, the order and dropout.
        seeds: several, such as 1,2,3 or 1-5: a run for each in a folder of `out`, then mean, deviation and interval.
        split_seed: of the share that --dev 20% holds out; when not given the run's seed, and 0 for all runs of --seeds.
        resume: go on with the run in `out`.
        accept_changes: with --resume: go on although settings, or files of the run, were changed since it began.

    Returns:
        Scores on the dev table.
    """
    parameters = dict(locals())
    from bertie.commands._dev import DevTable
    from bertie.commands._tables import fingerprint, read_tables
    from bertie.nn.device import resolve_device, set_threads
    from bertie.tasks.task import task_class
    from bertie.training.feed import table_feed
    from bertie.training.precision import resolve
    from bertie.training.run import Job, run
    from bertie.training.runfolder import RunFolder
    from bertie.training.trainable import choose

    if training.selects and dev is None:
        raise SettingsError("training.best and training.patience go by the scores on a dev table; give one with --dev")
    _refuse_pretraining(schedule)
    optimizer = parameters["optimizer"] = optimizer.chosen("adamw")
    start, kind, limits = start_of(model, tokenizer), task_class(task), (train_limit, dev_limit)
    split = seed if split_seed is None else split_seed
    tables = read_tables(kind, train, dev, out=out, columns=columns, limits=limits, seed=split)
    table, dev_items = tables.train, tables.dev
    wishes = {"max_length": length, "truncation": truncation, "stride": stride}
    parameters["model"] = getattr(start, "settings", model)
    bundle = _start(start, kind, task, table, {**wishes, **(settings or {})}, seed=seed)
    if dev is not None:
        bundle.task.admit(dev_items, dev)
    place = resolve_device(device)
    chosen = resolve(precision, place)
    parameters |= {"threads": set_threads(threads), "precision": chosen, "device": place.type, **tables.names}
    horizon, epoch_steps, fit = horizon_of(bundle, len(table.items), parameters)
    parameters |= asdict(fit)
    held_out = DevTable(bundle, dev_items, final=chosen == "fp32" and lora.rank == 0 and not training.best)
    network = choose(bundle.model, freeze=freeze, lora=lora, seed=seed)
    learner, lesson = taught(network, bundle, distill, seed=seed)
    with RunFolder.open(
        out, "finetune", parameters, resume=resume, data=fingerprint(table.items), settings_file=config
    ) as folder:
        if folder.finished:
            progress.note(f"{out} is finished already; nothing was done")
            return _report(folder, folder.values, table.items[0])
        tables.keep(folder.path)
        again = horizon.steps is None or horizon.steps > epoch_steps
        known = _activations(network, bundle, table.items, folder, freeze_cache if again else 0.0, chosen, place)
        sizes = {"batch_size": fit.batch_size, "micro_tokens": training.micro_tokens}
        job = Job(
            model=learner,
            task=lesson,
            feed=lambda done, state: table_feed(
                table.items, bundle.task, bundle.tokenizer, **sizes, seed=seed, state=state, activations=known
            ),
            horizon=horizon,
            peak=fit.learning_rate,
            optimizer=optimizer,
            schedule=schedule,
            training=training,
            precision=chosen,
            device=place,
            seed=seed,
            evaluate=(lambda feed: held_out.figures()) if dev_items else None,
            epoch_steps=epoch_steps,
        )
        return _report(folder, _finish(held_out, folder, run(job, folder), job), table.items[0])


def _refuse_pretraining(schedule: ScheduleSettings) -> None:
    """Refuse the parts of a schedule that are of no use for a table."""
    if schedule.batch_warmup > 0.0:
        raise SettingsError("schedule.batch_warmup is pretrain's; here every batch has --batch-size texts")
    if schedule.random_positions is not None:
        raise SettingsError("schedule.random_positions is for the --stages of pretrain; leave it out here")


def _start(
    start: str | RandomStart, kind: "type[Task]", task: str, table: "Table[Any]", wishes: dict[str, Any], *, seed: int
) -> "Bundle":
    """Read the pre-trained model, or draw one, and put a new head on it, with what the training table decides."""
    from bertie.commands._reading import carried
    from bertie.formats._objective import make_task
    from bertie.formats.huggingface import read, resolve
    from bertie.tasks.task import parse_settings

    given = parse_settings(kind, {name: value for name, value in wishes.items() if value is not None})
    given.setdefault("max_length", getattr(kind, "max_length", 512))  # a finished model's own would be its positions
    try:
        given |= kind.learn(table.items, given)
    except (DataError, SettingsError) as error:
        raise type(error)(f"{table.path}: {error}") from error
    if isinstance(start, str):
        bundle = read(resolve(start), task=task, settings=given, new_head=True, seed=seed)
    elif given.get("decoder") == "copy":
        raise SettingsError("decoder=copy copies a pre-trained encoder's weights, and these are random; leave it out")
    else:
        bundle = start.draw(make_task(task, {}, {}, start.shape.max_positions, given), seed=seed)
    limit, longest = bundle.config.max_positions, getattr(bundle.task, "max_length", 0)
    if longest > limit:
        name = start if isinstance(start, str) else f"this {bundle.architecture} (--model.max-positions)"
        raise SettingsError(f"--length {longest} is more than the {limit} positions of {name}")
    for line in bundle.notes:
        progress.note(line)
    return replace(bundle, extra={**origin(bundle), **carried(table.reading)})


def _activations(
    network: "TaskModel",
    bundle: "Bundle",
    items: Any,
    folder: "RunFolder",
    gigabytes: float,
    precision: Literal["fp32", "bf16"],
    device: Any,
) -> "Activations | None":
    """Work out what frozen layers make of the training table; None without such layers, or without room."""
    from bertie.training.activations import remember
    from bertie.training.trainable import FrozenModel

    if not isinstance(network, FrozenModel) or gigabytes <= 0.0:
        return None
    return remember(
        network,
        bundle.task,
        items,
        bundle.tokenizer,
        folder=folder.path,
        gigabytes=gigabytes,
        precision=precision,
        device=device,
    )


def _finish(dev: "DevTable", folder: "RunFolder", position: "Position", job: "Job") -> dict[str, Any]:
    """Write the model and the report of a run that reached its end, and return its figures."""
    from bertie.commands._finetuned import notes, remarks
    from bertie.commands._reading import carried, said
    from bertie.data.reading import learned
    from bertie.formats.huggingface import write
    from bertie.nn.lora import merge
    from bertie.reports.card import model_card
    from bertie.reports.parts import findings
    from bertie.reports.run import RunReport
    from bertie.reports.run import write as write_report
    from bertie.training.journal import read

    values: dict[str, Any] = {"folder": str(folder.path), "steps": position.step, "seconds": round(position.seconds, 1)}
    values |= position.chosen
    shown = None
    merge(dev.bundle.model)
    if dev.items:
        found, tuned = dev.conclude()
        if tuned:  # a threshold, chosen on these very items: said, and stored with the model
            values["tuned_on_dev"] = tuned
        values["scores"] = {name: round(score, 4) for name, score in found.scores.items()}
        values["dev_items"] = found.num_items
        values["dev_items_cut"] = found.num_cut
        shown = findings(found, dev.bundle.task, dev.items)
    records = read(folder.metrics)
    values |= remarks(job, position, records, dev)
    bundle = dev.bundle
    settings, command = folder.config.read_text(encoding="utf-8"), f"bertie run {folder.config}"
    scores, given = values.get("scores", {}), config.read(folder.config)
    card = model_card(
        task=bundle.task.name,
        command=command,
        scores=scores,
        settings=settings,
        name=folder.path.name,
        base_model="" if isinstance(given["model"], dict) or Path(given["model"]).exists() else given["model"],
        dev_data=_dev_name(given) if dev.items else "",
        seed=given["seed"],
        labels=getattr(bundle.task, "labels", ()),
        num_parameters=sum(value.numel() for value in bundle.model.parameters()),
        steps=position.step,
        reading=said(bundle.extra),
    )
    write(replace(bundle, card=card, extra={**bundle.extra, "scores": scores}), folder.model, overwrite=True)
    write_report(
        folder.report,
        RunReport(
            title=f"Fine-tuning {folder.path.name}",
            kind="finetune",
            summary={**{key: value for key, value in values.items() if key not in ("scores", "remarks")}, **scores},
            records=records,
            settings=settings,
            command=command,
            findings=shown,
            notes=notes(values, said(bundle.extra)),
        ),
    )
    folder.mark_finished({**values, **carried(learned(bundle.extra))})
    return values


def _dev_name(given: dict[str, Any]) -> str:
    """Name the data of the dev scores for the card."""
    held_out = str(given["dev"]).endswith("%")
    return f"{given['dev']} of {Path(given['train']).name}, held out" if held_out else Path(given["dev"]).name


def _report(folder: "RunFolder", values: dict[str, Any], item: Any) -> FinetuneReport:
    from bertie.data.items import sides

    pair = "" if sides(item)[1] is None else ' --pair "what goes with it"'
    return FinetuneReport(
        title=f"Fine-tuned {folder.model}",
        values={**{name: value for name, value in values.items() if name != "reading"}, "report": str(folder.report)},
        next_command=f'bertie predict {folder.model} "a text of yours"{pair}',
    )
