"""Pre-train an encoder on text or on a prepared corpus, from random weights or from an existing model."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie import config, progress
from bertie.commands._begin import begin, peak_of, remembered, with_optimizer
from bertie.commands._chinese_words import warn_of_single_characters
from bertie.commands._clozes import guesses, side_by_side
from bertie.commands._dial import dial, expected
from bertie.commands._going_on import GoingOn, kept_share, peak_for, shortened, warmed
from bertie.commands._held_out import DevCorpus, opened
from bertie.commands._prepared_text import Request, made_by, prepared
from bertie.commands._pretrained import finish, summary
from bertie.commands._probe import LIMITS, Probe
from bertie.commands._random import ModelSettings, RandomStart
from bertie.commands._recipe import as_began, complete, fitted
from bertie.commands._seeds import with_seeds
from bertie.commands._teacher import taught
from bertie.commands._yardsticks import Counted, count, recipe_of
from bertie.commands.command import Report
from bertie.config import Positional
from bertie.errors import DataError, SettingsError
from bertie.training.settings import DistillSettings, OptimizerSettings, ScheduleSettings, TrainingSettings

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.formats.format import Bundle
    from bertie.tasks.task import Task, TaskModel
    from bertie.tokenizer.tokenizer import Tokenizer
    from bertie.training.loop import Draw
    from bertie.training.run import Job
    from bertie.training.schedule import Horizon, Stage


def _as_first(parameters: Mapping[str, Any], settings: Mapping[str, Any], out: Path) -> dict[str, Any]:
    """Let runs of further seeds choose and prepare nothing once more: they have what the first one has."""
    return {**as_began(parameters, settings), **made_by(parameters, out)}


@with_seeds(_as_first)
def pretrain(
    files: Positional[tuple[str, ...]] = (),
    *,
    corpus: Path | None = None,
    out: Path,
    model: ModelSettings = ModelSettings(),
    from_: str | None = None,
    add_words: str | None = None,
    dev: Path | None = None,
    probe: Path | None = None,
    vocab_size: int | None = None,
    task: str | None = None,
    steps: int | None = None,
    tokens: int | None = None,
    epochs: int | None = None,
    budget: str | None = None,
    length: int = 128,
    stages: str | None = None,
    batch_tokens: int | None = None,
    learning_rate: float | None = None,
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
    seed: int = 0,
    seeds: tuple[int, ...] | None = None,
    resume: bool = False,
    accept_changes: bool = False,
) -> Report:
    """Pre-train an encoder on text or on a prepared corpus, from random weights or from an existing model.

    Args:
        files: text files, folders or globs: a vocabulary is learned from them and a corpus prepared first, in
            OUT/prepared.
        corpus: in place of files, a folder that prepare-corpus made.
        out: run folder; must not exist unless --resume.
        model: the encoder, when it starts from random weights. Without a size it has the one that is expected to get
            furthest in the time or with the tokens; dropout is 0, unless the text is read more than ten times or the
            weights begin as in the paper.
        from_: model folder or hub id to go on from; its vocabulary must be the corpus's.
        add_words: with --from: how many whole words of the corpus that break into pieces the vocabulary gains, or a
            file with a word a line.
        dev: a second prepared corpus, to measure on; of files every fiftieth document is held out.
        probe: with --from: a labelled table, of texts or pairs of texts with labels or numbers, or of words with tags.
            At the end the model of --from and the new one are fine-tuned on up to 500 of its rows with three seeds and
            compared on others; a budget doesn't hold the time for that.
        vocab_size: of files: pieces to learn; 8,192 when not given.
        task: the objective: masked_lm, pretraining (masked LM + next sentence, as in the paper), or another file of
            bertie/tasks that learns from a corpus, or a class of yours as package.module:Class. When not given, what
            the model of --from learned by, or what suits the architecture, which is masked_lm for most.
        steps: updates to do; give one of steps, tokens, epochs, budget.
        tokens: tokens to train on.
        epochs: passes over the corpus.
        budget: time to spend, such as 20m; the learning rate falls to zero by the clock.
        length: tokens of the longest sequence.
        stages: several lengths and their shares of the run, such as 128:90%,512:10%.
        batch_tokens: tokens of one update at most; when not given 8,192, in short runs of tiny encoders 4,096, with
            --from on a CPU 2,048.
        learning_rate: peak; when not given that of the optimizer: muon 6e-3, less for models wider than 256 (with
            model.start paper 4e-3), lamb 1e-2, 1e-3 for the others; with --from one that suits the size of the weights.
        keep: with --from: share of the weights of that model in the one that is written, 0 for none; when not given 0.5
            where an encoder gets a new head, else 0.
        mask_rate: share of the tokens to guess; when not given 0.15, in masked_lm from random weights 0.3 falling to
            0.15.
        max_masked: most tokens to guess in one sequence.
        settings: further settings of the task, such as masking=span,mask_rate_end=0.15.
        dev_tokens: tokens of the dev corpus that an evaluation reads.
        optimizer: how weights are updated.
        schedule: the learning rate over the run.
        training: how the run is logged, evaluated and saved.
        distill: a teacher that is learned from beside the text; its logits are those of masked tokens.
        precision: auto is bf16 products on fp32 weights where the processor has bf16, else fp32.
        device: auto, cpu, cuda.
        threads: CPU threads; all cores when not given.
        seed: of weights, order, masks and dropout.
        seeds: several, such as 1,2,3 or 1-5: a run for each in a folder of `out`, then mean, deviation and interval.
        resume: go on with the run in `out`.
        accept_changes: with --resume: go on although settings, or files of the run, were changed since it began.

    Returns:
        The run's figures.
    """
    parameters = {**locals(), "files": files or None}  # runs from before there were files have none
    from bertie.nn.device import resolve_device, set_threads
    from bertie.training.feed import corpus_feed
    from bertie.training.precision import resolve
    from bertie.training.run import run
    from bertie.training.runfolder import RunFolder
    from bertie.training.schedule import parse_stages

    _check(training, schedule, steps, tokens, epochs, budget)
    parts = parse_stages(stages, length=length)
    longest = max(part.length for part in parts)
    place = resolve_device(device)
    parameters |= {"threads": set_threads(threads), "precision": resolve(precision, place), "device": place.type}
    request = Request(files, corpus, dev, vocab_size=vocab_size, words=add_words, source=from_)
    recipe = complete(parameters, longest)
    tried = Probe.read(probe, from_, out, resume=resume)
    ready = prepared(request, out, resume=resume)
    text, tokenizer, dev = ready.corpus, ready.tokenizer, ready.dev
    recipe = fitted(recipe, parameters, text, longest)
    objective = recipe.objective
    optimizer = parameters["optimizer"] = with_optimizer(optimizer, from_, objective, out, resume=resume)
    dialled = dial(parameters, recipe, text, tokenizer, longest, place)
    start = dialled.start
    parameters |= {"task": recipe.task, "settings": recipe.settings or None, "batch_tokens": dialled.batch_tokens}
    parameters |= {"mask_rate": getattr(objective, "mask_rate", None), "model": dialled.model}
    bundle = _start(objective, start, text, tokenizer, seed=seed, longest=longest, said=recipe.settings)
    objective = bundle.task
    network = _network(bundle, from_, text, seed=seed)
    if from_ is None:
        peak = peak_of(optimizer, start, learning_rate)
    else:
        peak = peak_for(bundle, optimizer, learning_rate, out, resume=resume)
    schedule = parameters["schedule"] = _with_positions(schedule, parts, bundle)
    parameters["keep"] = kept_share(bundle, network, from_, keep, out, resume=resume)
    parameters |= {"learning_rate": peak, "probe": None if tried is None else tried.path}
    learner, lesson = taught(network, bundle, distill, seed=seed)
    size = dialled.batch_tokens
    horizon = _horizon(text, objective, steps, tokens, epochs, budget, seed=seed, length=longest, size=size)
    kept: dict[str, Any] = {"data": text.fingerprint, "settings_file": config, "prepared": bool(files or add_words)}
    with RunFolder.open(out, "pretrain", parameters, resume=resume, **kept) as folder:
        if folder.finished:
            progress.note(f"{out} is finished already; nothing was done")
            return summary(folder, folder.values, objective)
        held_out, dev = opened(dev, bundle, network, parts, dev_tokens, place, named=request.dev is not None)
        warn_of_single_characters(objective, tokenizer, text, None if held_out is None else held_out.corpus)
        counted = count(text, held_out, bundle, longest, recipe_of(bundle, start, optimizer, peak))
        hoped = expected(dialled, {} if held_out is None else counted.figures, folder)
        sizes: dict[str, Any] = {"stages": parts, "batch_tokens": size, "micro_tokens": training.micro_tokens}
        feed = partial(corpus_feed, text, objective, tokenizer, **sizes, schedule=schedule, seed=seed)
        job = _job(learner, lesson, feed, horizon, parameters, place, held_out, counted)
        begun = begin(start, network, bundle, text, folder, seed=seed)
        begun = begun or warmed(bundle, network, text, job, parts[0].length, folder)
        before = remembered(folder, guesses(bundle, text, dev, place, seed=seed)[1], begun)
        onward = GoingOn.of(from_, bundle, network, text, held_out, parts, job, folder, tried)
        position = run(shortened(job, begun), folder)
        masked = side_by_side(before, bundle, text, dev, place, seed=seed)
        about: dict[str, Any] = {"stages": parts, "job": job, "begun": begun, "prepared": ready.said}
        about |= {"expected": hoped, "onward": onward, "limits": {name: parameters[name] for name in LIMITS}}
        return finish(bundle, network, folder, position, text, masked, counted, held_out=held_out, **about)


def _check(
    training: TrainingSettings,
    schedule: ScheduleSettings,
    steps: int | None,
    tokens: int | None,
    epochs: int | None,
    budget: str | None,
) -> None:
    """Refuse settings that pre-training doesn't have, before any text is read."""
    from bertie.training.schedule import Horizon, parse_duration

    if training.selects or training.evaluate_each_epoch:
        raise SettingsError("training.best, .patience and .evaluate_each_epoch are finetune's; pretrain goes by steps")
    if schedule.batch_warmup > 0.0 and epochs is not None:
        raise SettingsError("with schedule.batch_warmup the steps of an epoch are unknown; give --tokens or --budget")
    if epochs is None:
        Horizon(steps, tokens, None if budget is None else parse_duration(budget))  # refuses what is none
    elif steps is not None or tokens is not None or budget is not None:
        raise SettingsError("give one of --steps, --tokens, --epochs and --budget, not several")
    elif epochs < 1:
        raise SettingsError(f"--epochs must be at least 1; got {epochs}")


def _job(
    learner: "TaskModel",
    lesson: "Task",
    feed: "Callable[..., Iterator[Draw]]",
    horizon: "Horizon",
    parameters: dict[str, Any],
    place: Any,
    held_out: DevCorpus | None,
    counted: Counted,
) -> "Job":
    """Put together what the run does, of settings that are all decided."""
    from bertie.training.run import Job

    return Job(
        model=learner,
        task=lesson,
        feed=lambda done, state: feed(progress=done, state=state),
        horizon=horizon,
        peak=parameters["learning_rate"],
        optimizer=parameters["optimizer"],
        schedule=parameters["schedule"],
        training=parameters["training"],
        precision=parameters["precision"],
        device=place,
        seed=parameters["seed"],
        keep=parameters["keep"],
        evaluate=None if held_out is None else held_out.figures,
        watch=counted.watch,
    )


def _start(
    objective: "Task",
    start: str | RandomStart,
    corpus: "Corpus",
    tokenizer: "Tokenizer",
    *,
    seed: int,
    longest: int,
    said: Mapping[str, Any],
) -> "Bundle":
    """Make the network: an existing model with the corpus's vocabulary, or random weights.

    Settings of the objective that belong to a model are those of the existing one, unless they were `said`.
    """
    from bertie.formats.huggingface import read, resolve
    from bertie.tasks.task import task_name

    if isinstance(start, RandomStart):
        return start.draw(objective, seed=seed)
    own = [name for name in objective.of_model if name not in said]
    given = {each.name: getattr(objective, each.name) for each in fields(objective) if each.name not in own}  # type: ignore[arg-type]
    bundle = read(resolve(start), task=task_name(objective), settings=given, new_head=True, seed=seed)
    bundle = _with_vocabulary(bundle, start, corpus, tokenizer)
    for line in bundle.notes:
        progress.note(line)
    if bundle.config.max_positions < longest:
        raise SettingsError(f"--length {longest} is more than the {bundle.config.max_positions} positions of {start}")
    return replace(bundle, task=objective.adjusted({name: getattr(bundle.task, name) for name in own}))


def _with_vocabulary(bundle: "Bundle", source: str, corpus: "Corpus", tokenizer: "Tokenizer") -> "Bundle":
    """Return the model with the corpus's vocabulary: its own one, or that with whole words appended.

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
        f"{source} has a vocabulary of {bundle.tokenizer.vocab_size} pieces and the corpus one of "
        f"{tokenizer.vocab_size}, and they differ; prepare the corpus with --tokenizer {source}"
    )


def _with_positions(schedule: ScheduleSettings, stages: "Sequence[Stage]", bundle: "Bundle") -> ScheduleSettings:
    """Decide whether sequences begin at random positions; nothing is decided where that makes no difference."""
    learned = getattr(bundle.model.encoder.embeddings, "position", None) is not None
    if learned and len({stage.length for stage in stages}) > 1:
        return replace(schedule, random_positions=schedule.random_positions is not False)
    if schedule.random_positions:
        why = "the run has one length of sequences" if learned else f"{bundle.architecture} learns no positions"
        raise SettingsError(f"schedule.random_positions has no effect: {why}; leave it out")
    return replace(schedule, random_positions=None)


def _horizon(
    corpus: "Corpus",
    objective: "Task",
    steps: int | None,
    tokens: int | None,
    epochs: int | None,
    budget: str | None,
    *,
    seed: int,
    length: int,
    size: int,
) -> "Horizon":
    """Turn the four ways to say how long into a horizon; epochs become the steps they hold."""
    from bertie.data.sampler import Sampler
    from bertie.training.schedule import Horizon, parse_duration

    if epochs is not None:
        sampler = Sampler(corpus, seed=seed, length=length, batch_tokens=size, plan=objective.corpus_plan())
        steps = sum(sampler.num_batches(epoch) for epoch in range(epochs))
    return Horizon(steps, tokens, None if budget is None else parse_duration(budget))


def _network(bundle: "Bundle", source: str | None, corpus: "Corpus", *, seed: int) -> "TaskModel":
    """Make the network that learns; helpers of learning go on from the folders beside the model's files, if any."""
    from bertie.formats.huggingface import read, resolve

    network = bundle.task.network(bundle.model, seed=seed)
    if source is None:
        return network
    for name, (helper, _) in network.companions().items():
        folder = resolve(source) / name
        if not folder.is_dir():
            progress.note(f"{source} has no {name} beside its files: a new one is drawn from seed {seed}")
            continue
        found = _with_vocabulary(read(folder), str(folder), corpus, bundle.tokenizer)
        if found.config != helper.encoder.config:
            raise SettingsError(f"{folder} is of another shape than --settings ask for; give those it was made with")
        helper.load_state_dict(found.model.state_dict())
    return network
