"""Pre-train an encoder on text or on a prepared corpus, from random weights or from an existing model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie import config, progress
from bertie.basic import Basic
from bertie.commands._chinese_words import warn_of_single_characters
from bertie.commands._clozes import guesses, side_by_side
from bertie.commands._continuing import ContinuedRun, kept_share, peak_for, shortened, train_new_head
from bertie.commands._first_weights import first_guesses, peak_of, set_first_weights, with_optimizer
from bertie.commands._fitting import corpus_horizon
from bertie.commands._held_out import DevCorpus, opened
from bertie.commands._new_model import ModelSettings, RandomStart
from bertie.commands._prepared_text import Request, prepared, reusing
from bertie.commands._pretrained import finish, summary
from bertie.commands._probe import LIMITS, Probe
from bertie.commands._recipe import choose_recipe, earlier_choices, fit_to_corpus
from bertie.commands._seeds import with_seeds
from bertie.commands._size_choice import choose_size, expected
from bertie.commands._teacher import with_teacher
from bertie.commands._together import together
from bertie.commands._yardsticks import Yardsticks, measure_yardsticks, recipe_of
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import DataError, SettingsError
from bertie.training.settings import (
    CardSettings,
    DistillSettings,
    OptimizerSettings,
    ScheduleSettings,
    TrackerName,
    TrainingSettings,
)

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.formats.format import Bundle
    from bertie.tasks.task import Task, TaskModel
    from bertie.tokenizer.tokenizer import Tokenizer
    from bertie.training.loop import StepBatches
    from bertie.training.schedule import RunLength, Stage
    from bertie.training.spec import RunSpec


def _like_first_run(parameters: Mapping[str, Any], settings: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Return parameters for the runs of further seeds: the choices and the prepared text of the first run."""
    return {**earlier_choices(parameters, settings), **reusing(parameters, out)}


@together
@with_seeds(_like_first_run)
def pretrain(
    files: Positional[tuple[str, ...]] = (),
    *,
    corpus: Basic[Path | None] = None,
    out: Path,
    model: ModelSettings = ModelSettings(),
    from_: Basic[str | None] = None,
    add_words: str | None = None,
    dev: Basic[Path | None] = None,
    probe: Path | None = None,
    vocab_size: Basic[int | None] = None,
    task: Basic[str | None] = None,
    steps: Basic[int | None] = None,
    tokens: int | None = None,
    epochs: int | None = None,
    budget: Basic[str | None] = None,
    length: Basic[int] = 128,
    stages: str | None = None,
    batch_tokens: int | None = None,
    learning_rate: Basic[float | None] = None,
    keep: float | None = None,
    mask_rate: float | None = None,
    max_masked: int | None = None,
    settings: dict[str, Any] | None = None,
    dev_tokens: int = 200_000,
    optimizer: OptimizerSettings = OptimizerSettings(),
    schedule: ScheduleSettings = ScheduleSettings(),
    training: TrainingSettings = TrainingSettings(),
    distill: DistillSettings = DistillSettings(),
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    device: str = "auto",
    threads: int | None = None,
    seed: Basic[int] = 0,
    seeds: Basic[tuple[int, ...] | None] = None,
    track: tuple[TrackerName, ...] = (),
    card: CardSettings = CardSettings(),
    resume: Basic[bool] = False,
    accept_changes: bool = False,
) -> Report:
    """Pre-train an encoder on text or on a prepared corpus, from random weights or from an existing model.

    Args:
        files: text files, folders or globs; a vocabulary and a corpus are made from them first, in OUT/prepared.
        corpus: a folder that prepare-corpus wrote, instead of files.
        out: run folder; must not exist, except with --resume.
        model: the encoder, if it starts from random weights. Without a size, it gets the one with the lowest expected
            loss. Dropout is 0 unless the text is read more than ten times or model.start is paper.
        from_: model folder or hub id to continue from; its vocabulary must be the corpus's.
        add_words: with --from: number of whole words to add to the vocabulary, chosen among the corpus's words of
            several pieces; or a file with one word per line.
        dev: a second prepared corpus, to measure on; from files, every fiftieth document is held out.
        probe: with --from: a labelled table of texts or text pairs with labels or numbers, or of words with tags. At
            the end, the model of --from and the new one are fine-tuned on up to 500 of its rows with three seeds and
            compared on other rows. The budget doesn't include this time.
        vocab_size: number of pieces to learn from files; 8,192 when not given.
        task: the objective: masked_lm, pretraining (masked LM and next sentence, as in the paper), another file of
            bertie/tasks that learns from a corpus, or your own class as package.module:Class. When not given, the
            objective of the model of --from or the architecture's default, which is masked_lm for most.
        steps: number of updates; give one of steps, tokens, epochs, budget.
        tokens: number of tokens to train on.
        epochs: passes over the corpus.
        budget: time to train, such as 20m; the learning rate falls to zero by the clock.
        length: largest number of tokens in a sequence.
        stages: several lengths with their shares of the run, such as 128:90%,512:10%.
        batch_tokens: largest number of tokens in one update; when not given 8,192, in short runs of tiny encoders
            4,096, with --from on a CPU 2,048.
        learning_rate: peak of the learning rate; by default that of the optimizer: (nor)muon 6e-3, less for models
            wider than 256 (with model.start paper 4e-3), lamb 1e-2, others 1e-3; with --from by the size of weights.
        keep: with --from: share of that model's weights in the written model, a weighted mean of both; when not given
            0.5 if the encoder gets a new head, else 0.
        mask_rate: share of the tokens to predict; by default 0.15, for masked_lm from random weights 0.3 falling to
            0.15.
        max_masked: largest number of tokens to predict in a sequence.
        settings: further settings of the task, such as masking=span,mask_rate_end=0.15.
        dev_tokens: number of tokens of the dev corpus that an evaluation reads.
        optimizer: how weights are updated.
        schedule: the learning rate over the run.
        training: how the run is logged, evaluated and saved.
        distill: a teacher to learn from in addition to the text, by its logits at masked tokens.
        precision: fp32, bf16 (bf16 products on fp32 weights), or auto: bf16 if the processor has it, else fp32.
        device: auto, cpu, cuda.
        threads: CPU threads; all cores when not given.
        seed: seed of random weights, the order of the text, masks and dropout.
        seeds: several, such as 1,2,3 or 1-5: one run for each in a subfolder of `out`, then mean, deviation, interval.
        track: programs that show the figures while the run trains, such as tensorboard (docs/tasks.md).
        card: licence and languages that the model card names.
        resume: continue the run in `out`.
        accept_changes: with --resume: continue although settings or files of the run have changed since it started.

    Returns:
        The run's figures.

    Example:
        bertie pretrain texts/*.txt --budget 20m --out out/encoder
        bertie finetune out/encoder/model --train train.csv --dev 20% --out out/reviews
    """
    parameters = {**locals(), "files": files or None}  # None, as in runs older than this parameter
    from bertie.nn.device import resolve_device, set_threads
    from bertie.training.feed import corpus_feed
    from bertie.training.precision import resolve
    from bertie.training.run import run
    from bertie.training.runfolder import RunFolder
    from bertie.training.schedule import parse_stages

    _check_settings(training, schedule, steps, tokens, epochs, budget)
    stage_list = parse_stages(stages, length=length)
    longest = max(part.length for part in stage_list)
    hardware = resolve_device(device)
    parameters |= {"threads": set_threads(threads), "precision": resolve(precision, hardware), "device": hardware.type}
    request = Request(files, corpus, dev, vocab_size=vocab_size, words=add_words, source=from_)
    recipe = choose_recipe(parameters, longest)
    probe_table = Probe.read(probe, from_, out, resume=resume)
    prepared_text = prepared(request, out, resume=resume)
    text, tokenizer, dev = prepared_text.corpus, prepared_text.tokenizer, prepared_text.dev
    recipe = fit_to_corpus(recipe, parameters, text, longest)
    objective = recipe.objective
    optimizer = parameters["optimizer"] = with_optimizer(optimizer, from_, objective, out, resume=resume)
    dialled = choose_size(parameters, recipe, text, tokenizer, longest, hardware)
    start = dialled.start
    parameters |= {"task": recipe.task, "settings": recipe.settings or None, "batch_tokens": dialled.batch_tokens}
    parameters |= {"mask_rate": getattr(objective, "mask_rate", None), "model": dialled.model}
    bundle = _start_bundle(objective, start, text, tokenizer, seed=seed, longest=longest, explicit=recipe.settings)
    objective = bundle.task
    network = _network(bundle, from_, text, seed=seed)
    if from_ is None:
        peak = peak_of(optimizer, start, learning_rate)
    else:
        peak = peak_for(bundle, optimizer, learning_rate, out, resume=resume)
    schedule = parameters["schedule"] = _with_positions(schedule, stage_list, bundle)
    parameters["keep"] = kept_share(bundle, network, from_, keep, out, resume=resume)
    parameters |= {"learning_rate": peak, "probe": None if probe_table is None else probe_table.path}
    learner, lesson = with_teacher(network, bundle, distill, seed=seed)
    size = dialled.batch_tokens
    horizon = corpus_horizon(text, objective, steps, tokens, epochs, budget, seed=seed, length=longest, size=size)
    facts: dict[str, Any] = {"data": text.fingerprint, "settings_file": config, "prepared": bool(files or add_words)}
    with RunFolder.open(out, "pretrain", parameters, resume=resume, **facts) as folder:
        if folder.finished:
            progress.note(f"{out} is already finished; nothing to do")
            return summary(folder, folder.values, objective)
        held_out, dev = opened(dev, bundle, network, stage_list, dev_tokens, hardware, named=request.dev is not None)
        warn_of_single_characters(objective, tokenizer, text, None if held_out is None else held_out.corpus)
        yardsticks = measure_yardsticks(text, held_out, bundle, longest, recipe_of(bundle, start, optimizer, peak))
        expected_losses = expected(dialled, {} if held_out is None else yardsticks.figures, folder)
        sizes: dict[str, Any] = {"stages": stage_list, "batch_tokens": size, "micro_tokens": training.micro_tokens}
        feed = partial(corpus_feed, text, objective, tokenizer, **sizes, schedule=schedule, seed=seed)
        job = _job(learner, lesson, feed, horizon, parameters, hardware, held_out, yardsticks)
        begun = set_first_weights(start, network, bundle, text, folder, seed=seed)
        begun = begun or train_new_head(bundle, network, text, job, stage_list[0].length, folder)
        before = first_guesses(folder, guesses(bundle, text, dev, hardware, seed=seed)[1], begun)
        onward = ContinuedRun.of(from_, bundle, network, text, held_out, stage_list, job, folder, probe_table)
        position = run(shortened(job, begun), folder)
        masked = side_by_side(before, bundle, text, dev, hardware, seed=seed)
        about: dict[str, Any] = {"stages": stage_list, "job": job, "begun": begun, "prepared": prepared_text.said}
        about |= {"expected": expected_losses, "onward": onward, "limits": {name: parameters[name] for name in LIMITS}}
        return finish(bundle, network, folder, position, text, masked, yardsticks, held_out=held_out, **about)


def _check_settings(
    training: TrainingSettings,
    schedule: ScheduleSettings,
    steps: int | None,
    tokens: int | None,
    epochs: int | None,
    budget: str | None,
) -> None:
    """Refuse settings that pre-training doesn't have, before reading any text."""
    from bertie.training.duration import parse_duration
    from bertie.training.schedule import RunLength

    if training.selects or training.evaluate_each_epoch:
        raise SettingsError("training.best, .patience and .evaluate_each_epoch are only for finetune; leave them out")
    if schedule.batch_warmup > 0.0 and epochs is not None:
        raise SettingsError("with schedule.batch_warmup the steps of an epoch are unknown; give --tokens or --budget")
    if epochs is None:  # RunLength refuses to be without one length, or to have several
        RunLength(steps, tokens, None if budget is None else parse_duration(budget))
    elif steps is not None or tokens is not None or budget is not None:
        raise SettingsError("give one of --steps, --tokens, --epochs and --budget, not several")
    elif epochs < 1:
        raise SettingsError(f"--epochs must be at least 1; got {epochs}")


def _job(
    learner: "TaskModel",
    lesson: "Task",
    feed: "Callable[..., Iterator[StepBatches]]",
    horizon: "RunLength",
    parameters: dict[str, Any],
    hardware: Any,
    held_out: DevCorpus | None,
    yardsticks: Yardsticks,
) -> "RunSpec":
    """Build the run's job from its decided settings."""
    from bertie.training.spec import RunSpec

    return RunSpec(
        model=learner,
        task=lesson,
        feed=lambda done, state: feed(progress=done, state=state),
        horizon=horizon,
        peak=parameters["learning_rate"],
        optimizer=parameters["optimizer"],
        schedule=parameters["schedule"],
        training=parameters["training"],
        precision=parameters["precision"],
        device=hardware,
        seed=parameters["seed"],
        keep=parameters["keep"],
        evaluate=None if held_out is None else held_out.figures,
        watch=yardsticks.watch,
    )


def _start_bundle(
    objective: "Task",
    start: str | RandomStart,
    corpus: "Corpus",
    tokenizer: "Tokenizer",
    *,
    seed: int,
    longest: int,
    explicit: Mapping[str, Any],
) -> "Bundle":
    """Return the network to train: an existing model with the corpus's vocabulary, or random weights.

    Settings of the objective that belong to a model come from the existing model, except those in `explicit`.
    """
    from bertie.formats.huggingface import read, resolve
    from bertie.tasks._lookup import task_name

    if isinstance(start, RandomStart):
        return start.draw(objective, seed=seed)
    stored_names = [name for name in objective.model_settings if name not in explicit]
    names = [each.name for each in fields(objective) if each.name not in stored_names]  # type: ignore[arg-type]
    settings = {name: getattr(objective, name) for name in names}
    bundle = read(resolve(start), task=task_name(objective), settings=settings, new_head=True, seed=seed)
    bundle = _with_vocabulary(bundle, start, corpus, tokenizer)
    for line in bundle.notes:
        progress.note(line)
    if bundle.config.max_positions < longest:
        raise SettingsError(f"--length {longest} is more than the {bundle.config.max_positions} positions of {start}")
    return replace(bundle, task=objective.adjusted({name: getattr(bundle.task, name) for name in stored_names}))


def _with_vocabulary(bundle: "Bundle", source: str, corpus: "Corpus", tokenizer: "Tokenizer") -> "Bundle":
    """Return the model with the corpus's vocabulary, which must be its own, with or without appended words.

    Raises:
        DataError: the corpus has another vocabulary.
    """
    from bertie.corpus.pairs import count_pairs
    from bertie.formats.widen import widen
    from bertie.tokenizer.widen import is_widened

    if bundle.tokenizer.fingerprint == tokenizer.fingerprint:
        return bundle
    if is_widened(tokenizer, bundle.tokenizer):
        return widen(bundle, tokenizer, count_pairs(corpus))
    raise DataError(
        f"the vocabularies of {source} ({bundle.tokenizer.vocab_size} pieces) and of the corpus "
        f"({tokenizer.vocab_size} pieces) differ; prepare the corpus with --tokenizer {source}"
    )


def _with_positions(schedule: ScheduleSettings, stages: "Sequence[Stage]", bundle: "Bundle") -> ScheduleSettings:
    """Decide whether sequences start at random positions; None if that makes no difference."""
    learned = getattr(bundle.model.encoder.embeddings, "position", None) is not None
    if learned and len({stage.length for stage in stages}) > 1:
        return replace(schedule, random_positions=schedule.random_positions is not False)
    if schedule.random_positions:
        reason = "the run has one length of sequences" if learned else f"{bundle.architecture} learns no positions"
        raise SettingsError(f"schedule.random_positions has no effect: {reason}; leave it out")
    return replace(schedule, random_positions=None)


def _network(bundle: "Bundle", source: str | None, corpus: "Corpus", *, seed: int) -> "TaskModel":
    """Return the network to train; its helper models continue from subfolders of the source model, if there are any."""
    from bertie.formats.huggingface import read, resolve

    network = bundle.task.network(bundle.model, seed=seed)
    if source is None:
        return network
    for name, (helper, _) in network.companions().items():
        folder = resolve(source) / name
        if not folder.is_dir():
            progress.note(f"{source} has no subfolder {name}: a new {name} starts from random weights (seed {seed})")
            continue
        stored = _with_vocabulary(read(folder), str(folder), corpus, bundle.tokenizer)
        if stored.config != helper.encoder.config:
            raise SettingsError(
                f"{folder} has another shape than --settings ask for; give the settings it was trained with"
            )
        helper.load_state_dict(stored.model.state_dict())
    return network
