"""Fine-tune a model, pre-trained or with random weights, on labelled data."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie import config, progress
from bertie.basic import Basic
from bertie.commands._fitting import horizon_of, origin
from bertie.commands._new_model import ModelSettings, RandomStart, start_of
from bertie.commands._seeds import with_seeds
from bertie.commands._teacher import with_teacher
from bertie.commands._together import together
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import DataError, SettingsError
from bertie.training.settings import (
    CardSettings,
    DistillSettings,
    LoraSettings,
    OptimizerSettings,
    ScheduleSettings,
    TrackerName,
    TrainingSettings,
)

if TYPE_CHECKING:
    from bertie.commands._dev import DevTable
    from bertie.formats.format import Bundle
    from bertie.readers.reading import Table
    from bertie.tasks.task import Task, TaskModel
    from bertie.training.activations import Activations
    from bertie.training.runfolder import RunFolder
    from bertie.training.spec import RunSpec, RunState


@dataclass(frozen=True, kw_only=True)
class FinetuneReport(Report):
    """The results of a fine-tuning run."""

    @property
    def scores(self) -> dict[str, float]:
        """Scores on the dev table, by name; empty without one."""
        return dict(self.values.get("scores", {}))


@together
@with_seeds()
def finetune(
    model: Positional[str | ModelSettings | None] = None,
    *,
    train: Path,
    out: Path,
    task: Basic[str] = "classification",
    tokenizer: Path | None = None,
    dev: Basic[Path | None] = None,
    train_limit: int | None = None,
    dev_limit: int | None = None,
    columns: Basic[dict[str, str] | None] = None,
    steps: int | None = None,
    epochs: Basic[int | None] = None,
    budget: Basic[str | None] = None,
    batch_size: Basic[int | None] = None,
    length: Basic[int | None] = None,
    truncation: Literal["truncate", "error", "window"] | None = None,
    stride: int | None = None,
    settings: dict[str, Any] | None = None,
    learning_rate: Basic[float | None] = None,
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
    seed: Basic[int] = 0,
    seeds: Basic[tuple[int, ...] | None] = None,
    track: tuple[TrackerName, ...] = (),
    card: CardSettings = CardSettings(),
    split_seed: int | None = None,
    resume: Basic[bool] = False,
    accept_changes: bool = False,
) -> FinetuneReport:
    """Fine-tune a model, pre-trained or with random weights, on labelled data.

    Args:
        model: folder or hub id of a pre-trained model; for random weights use --model.size and its sibling flags.
        train: file to learn from, in one of the task's formats (.tsv, .csv or .jsonl with texts and labels, ...).
        out: run folder; must not exist, except with --resume.
        task: the task to learn; a file of bertie/tasks, or your own class as package.module:Class.
        tokenizer: folder of the tokenizer, for a model with random weights.
        dev: table to measure on, or a share of the training table to hold out, such as 20%.
        train_limit: largest number of items to learn from; drawn from the whole table, the same items for every seed.
        dev_limit: largest number of items to measure on, drawn in the same way.
        columns: roles of the columns, such as text=body,label=tag, and the format of an ambiguous file, such as
            header=no,delimiter=semicolon (docs/tasks.md); detected when not given.
        steps: number of updates; give one of steps, epochs, budget.
        epochs: passes over the training table; chosen by the number of examples when none of the three is given.
        budget: time to train, such as 10m.
        batch_size: items of one update; when not given 8 to 32, more for larger tables.
        length: largest number of tokens in a sequence; the task's default (128, for question answering 384) when not
            given.
        truncation: what to do with longer items: truncate (and report how many), error (stop), or window (read them in
            overlapping windows); the task's default when not given.
        stride: tokens from the start of a window to the start of the next; the task's default when not given.
        settings: further settings of the task, such as label_smoothing=0.1,class_weights=balanced.
        learning_rate: peak of the learning rate; when not given, chosen by the size of the weights, the task and the
            number of examples, reported in a note and written to config.toml.
        optimizer: how weights are updated.
        schedule: the learning rate over the run.
        training: how the run is logged, evaluated and saved, and whether dev scores select the weights or end the run.
        freeze: number of blocks, from the lowest, that are frozen with the embeddings and run without dropout; -1
            freezes all but the head.
        freeze_cache: largest size, in gigabytes, of the cache in `out` for the outputs of frozen layers; 0 for none.
        lora: small updates that are trained instead of the encoder's matrices.
        distill: a teacher to learn from in addition to the labels.
        precision: fp32, bf16 (bf16 products on fp32 weights), or auto: bf16 if the processor has it, else fp32.
        device: auto, cpu, cuda.
        threads: CPU threads; all cores when not given.
        seed: seed of random weights, the new head, LoRA's updates, the order of items and dropout.
        seeds: several, such as 1,2,3 or 1-5: one run for each in a subfolder of `out`, then mean, deviation, interval.
        split_seed: seed of the share that --dev 20% holds out; when not given, the run's seed, or 0 with --seeds.
        track: programs that show the figures while the run trains, such as tensorboard (docs/tasks.md).
        card: licence and languages that the model card names.
        resume: continue the run in `out`.
        accept_changes: with --resume: continue although settings or files of the run have changed since it started.

    Returns:
        Scores on the dev table.

    Example:
        bertie finetune bert-base-uncased --train train.csv --dev 20% --out out/reviews
        bertie predict out/reviews/model "A film to remember."
    """
    parameters = dict(locals())
    from bertie.commands._dev import DevTable
    from bertie.commands._tables import fingerprint, read_tables
    from bertie.nn.device import resolve_device, set_threads
    from bertie.tasks._lookup import task_class
    from bertie.training.feed import table_feed
    from bertie.training.precision import resolve
    from bertie.training.run import run
    from bertie.training.runfolder import RunFolder
    from bertie.training.spec import RunSpec
    from bertie.training.trainable import choose

    if training.selects and dev is None:
        raise SettingsError("training.best and training.patience need the scores on a dev table; give one with --dev")
    _refuse_pretraining_settings(schedule)
    optimizer = parameters["optimizer"] = optimizer.chosen("adamw")
    start, task_type, limits = start_of(model, tokenizer), task_class(task), (train_limit, dev_limit)
    split = seed if split_seed is None else split_seed
    tables = read_tables(task_type, train, dev, out=out, columns=columns, limits=limits, seed=split)
    table, dev_items = tables.train, tables.dev
    task_settings = {"max_length": length, "truncation": truncation, "stride": stride}
    parameters["model"] = getattr(start, "settings", model)
    bundle = _start_bundle(start, task_type, task, table, {**task_settings, **(settings or {})}, seed=seed)
    if dev is not None:
        bundle.task.check_items(dev_items, dev)
    resolved = resolve(precision, hardware := resolve_device(device))
    parameters |= {"threads": set_threads(threads), "precision": resolved, "device": hardware.type, **tables.names}
    horizon, epoch_steps, fit = horizon_of(bundle, len(table.items), parameters)
    parameters |= asdict(fit)
    held_out = DevTable(bundle, dev_items, final=resolved == "fp32" and lora.rank == 0 and not training.best)
    network = choose(bundle.model, freeze=freeze, lora=lora, seed=seed)
    learner, lesson = with_teacher(network, bundle, distill, seed=seed)
    with RunFolder.open(
        out, "finetune", parameters, resume=resume, data=fingerprint(table.items), settings_file=config
    ) as folder:
        if folder.finished:
            progress.note(f"{out} is already finished; nothing to do")
            return _report(folder, folder.values, table.items[0])
        tables.keep(folder)
        gigabytes = freeze_cache if horizon.steps is None or horizon.steps > epoch_steps else 0.0
        activations = _frozen_outputs(network, bundle, table.items, folder, gigabytes, resolved, hardware)
        sizes = {"batch_size": fit.batch_size, "micro_tokens": training.micro_tokens}
        job = RunSpec(
            model=learner,
            task=lesson,
            feed=lambda done, state: table_feed(
                table.items, bundle.task, bundle.tokenizer, **sizes, seed=seed, state=state, activations=activations
            ),
            horizon=horizon,
            peak=fit.learning_rate,
            optimizer=optimizer,
            schedule=schedule,
            training=training,
            precision=resolved,
            device=hardware,
            seed=seed,
            evaluate=(lambda feed: held_out.figures()) if dev_items else None,
            epoch_steps=epoch_steps,
        )
        return _report(folder, _finish(held_out, folder, run(job, folder), job), table.items[0])


def _refuse_pretraining_settings(schedule: ScheduleSettings) -> None:
    """Refuse settings of the schedule that only pre-training uses."""
    if schedule.batch_warmup > 0.0:
        raise SettingsError("schedule.batch_warmup is only for pretrain; leave it out here and use --batch-size")
    if schedule.random_positions is not None:
        raise SettingsError("schedule.random_positions is for the --stages of pretrain; leave it out here")


def _start_bundle(
    start: str | RandomStart,
    task_type: "type[Task]",
    task: str,
    table: "Table[Any]",
    requested: dict[str, Any],
    *,
    seed: int,
) -> "Bundle":
    """Read the pre-trained model, or draw random weights, with a new head that fits the training table."""
    from bertie.commands._reading import carried
    from bertie.formats._objective import make_task
    from bertie.formats.huggingface import read, resolve
    from bertie.tasks.task import parse_settings

    settings = parse_settings(task_type, {name: value for name, value in requested.items() if value is not None})
    # Without a default here, a finished model would supply its number of positions.
    settings.setdefault("max_length", getattr(task_type, "max_length", 512))
    try:
        settings |= task_type.learn(table.items, settings)
    except (DataError, SettingsError) as error:
        raise type(error)(f"{table.path}: {error}") from error
    if isinstance(start, str):
        bundle = read(resolve(start), task=task, settings=settings, new_head=True, seed=seed)
    elif settings.get("decoder") == "copy":
        raise SettingsError("decoder=copy copies a pre-trained encoder's weights, and these are random; leave it out")
    else:
        bundle = start.draw(make_task(task, {}, {}, start.shape.max_positions, settings), seed=seed)
    limit, longest = bundle.config.max_positions, getattr(bundle.task, "max_length", 0)
    if longest > limit:
        name = start if isinstance(start, str) else f"this {bundle.architecture} (--model.max-positions)"
        raise SettingsError(f"--length {longest} is more than the {limit} positions of {name}")
    for line in bundle.notes:
        progress.note(line)
    return replace(bundle, extra={**origin(bundle), **carried(table.reading)})


def _frozen_outputs(
    network: "TaskModel",
    bundle: "Bundle",
    items: Any,
    folder: "RunFolder",
    gigabytes: float,
    precision: Literal["fp32", "bf16"],
    device: Any,
) -> "Activations | None":
    """Compute the outputs of frozen layers for the training table; None without frozen layers or disk space for them.

    `gigabytes` limits the disk space. It is 0 for a run of one epoch, which would read no output again.
    """
    from bertie.training.activations import remember
    from bertie.training.parallel import group
    from bertie.training.trainable import FrozenModel

    if not isinstance(network, FrozenModel) or gigabytes <= 0.0 or group().size > 1:
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


def _finish(dev: "DevTable", folder: "RunFolder", position: "RunState", job: "RunSpec") -> dict[str, Any]:
    """Measure a finished run, write its model and report, and return its figures."""
    from bertie.commands._card import about
    from bertie.commands._finetuned import notes, remarks
    from bertie.commands._reading import carried, said
    from bertie.formats.huggingface import write
    from bertie.nn.lora import merge
    from bertie.readers.reading import learned
    from bertie.reports.card import model_card
    from bertie.reports.parts import findings
    from bertie.reports.run import RunReport
    from bertie.reports.run import write as write_report
    from bertie.training.journal import read

    values: dict[str, Any] = {"folder": str(folder.path), "steps": position.step, "seconds": round(position.seconds, 1)}
    values |= position.chosen
    dev_findings = None
    merge(dev.bundle.model)
    if dev.items:
        evaluation, tuned = dev.conclude()
        if tuned:  # such as a threshold, chosen on these dev items: reported, and stored with the model
            values["tuned_on_dev"] = tuned
        values["scores"] = {name: round(score, 4) for name, score in evaluation.scores.items()}
        values["dev_items"] = evaluation.num_items
        values["dev_items_cut"] = evaluation.num_cut
        dev_findings = findings(evaluation, dev.bundle.task, dev.items)
    records = read(folder.metrics)
    values |= remarks(job, position, records, dev)
    bundle, run, scores, saved = dev.bundle, about(folder), values.get("scores", {}), config.read(folder.config)
    card = model_card(
        **run,
        task=bundle.task,
        scores=scores,
        base_model="" if isinstance(saved["model"], dict) or Path(saved["model"]).exists() else saved["model"],
        dev_data=_dev_name(saved) if dev.items else "",
        seed=saved["seed"],
        labels=getattr(bundle.task, "labels", ()),
        num_parameters=sum(value.numel() for value in bundle.model.parameters()),
        steps=position.step,
        reading=said(bundle.extra),
        classes=dev.found.per_class if dev.found else None,
    )
    write(replace(bundle, card=card, extra={**bundle.extra, "scores": scores}), folder.model, overwrite=True)
    write_report(
        folder.report,
        RunReport(
            title=f"Fine-tuning {folder.path.name}",
            kind="finetune",
            summary={**{key: value for key, value in values.items() if key not in ("scores", "remarks")}, **scores},
            records=records,
            settings=run["settings"],
            command=run["command"],
            findings=dev_findings,
            notes=notes(values, said(bundle.extra)),
        ),
    )
    folder.mark_finished({**values, **carried(learned(bundle.extra))})
    return values


def _dev_name(saved: dict[str, Any]) -> str:
    """Return the name of the dev data for the model card."""
    held_out = str(saved["dev"]).endswith("%")
    return f"{saved['dev']} of {Path(saved['train']).name}, held out" if held_out else Path(saved["dev"]).name


def _report(folder: "RunFolder", values: dict[str, Any], item: Any) -> FinetuneReport:
    from bertie.items.text import sides

    pair = "" if sides(item)[1] is None else ' --pair "the second text"'
    return FinetuneReport(
        title=f"Fine-tuned {folder.model}",
        values={**{name: value for name, value in values.items() if name != "reading"}, "report": str(folder.report)},
        next_command=f'bertie predict {folder.model} "your text"{pair}',
    )
