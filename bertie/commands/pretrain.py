"""Pre-train an encoder on a prepared corpus, from random weights or from an existing model."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie import config, progress, registry
from bertie.commands.command import Report
from bertie.errors import DataError, SettingsError
from bertie.training.settings import OptimizerSettings, ScheduleSettings, TrainingSettings

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.formats.format import Bundle
    from bertie.tokenizer.tokenizer import Tokenizer
    from bertie.training.run import Position
    from bertie.training.runfolder import RunFolder
    from bertie.training.schedule import Horizon


@dataclass(frozen=True)
class ModelSettings:
    """The encoder to start from random weights."""

    architecture: str = "bert"
    """A file of bertie/models."""
    size: str = "mini"
    """tiny, mini, small, medium, base, large, or layers/hidden such as 4/256."""
    dropout: float = 0.1
    """Rate on embeddings and residual branches."""
    attention_dropout: float = 0.0
    """Rate on attention weights; the paper has 0.1, which fast GPU kernels refuse."""
    activation: Literal["gelu", "gelu_tanh"] = "gelu"
    """gelu (erf, as Hugging Face) or gelu_tanh (as the original code)."""
    max_positions: int = 512
    """Longest sequence the model will ever take."""
    initializer_range: float = 0.02
    """Standard deviation of the first weights; 0.02 as in the paper."""


def pretrain(
    *,
    corpus: Path,
    out: Path,
    model: ModelSettings = ModelSettings(),
    from_: str | None = None,
    dev: Path | None = None,
    task: Literal["pretraining", "masked_lm"] = "pretraining",
    steps: int | None = None,
    tokens: int | None = None,
    epochs: int | None = None,
    budget: str | None = None,
    length: int = 128,
    stages: str | None = None,
    batch_tokens: int = 8192,
    learning_rate: float = 1e-3,
    mask_rate: float = 0.15,
    max_masked: int | None = None,
    dev_tokens: int = 200_000,
    optimizer: OptimizerSettings = OptimizerSettings(),
    schedule: ScheduleSettings = ScheduleSettings(),
    training: TrainingSettings = TrainingSettings(),
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    device: str = "auto",
    threads: int | None = None,
    seed: int = 0,
    resume: bool = False,
) -> Report:
    """Pre-train an encoder on a prepared corpus, from random weights or from an existing model.

    Args:
        corpus: folder that prepare-corpus made.
        out: run folder; must not exist unless --resume.
        model: the encoder, when it starts from random weights.
        from_: model folder or hub id to go on from; its vocabulary must be the corpus's.
        dev: a second prepared corpus, to measure on.
        task: pretraining (masked LM + next sentence) or masked_lm alone.
        steps: updates to do; give one of steps, tokens, epochs, budget.
        tokens: tokens to train on.
        epochs: passes over the corpus.
        budget: time to spend, such as 20m; the learning rate falls to zero by the clock.
        length: tokens of the longest sequence.
        stages: several lengths and their shares of the run, such as 128:90%,512:10%.
        batch_tokens: tokens of one update at most.
        learning_rate: peak.
        mask_rate: share of the tokens to guess.
        max_masked: most tokens to guess in one sequence.
        dev_tokens: tokens of the dev corpus that an evaluation reads.
        optimizer: how weights are updated.
        schedule: the learning rate over the run.
        training: how the run is logged, evaluated and saved.
        precision: auto is bf16 products on fp32 weights where the processor has bf16, else fp32.
        device: auto, cpu, cuda.
        threads: CPU threads; all cores when not given.
        seed: of weights, order, masks and dropout.
        resume: go on with the run in `out`.

    Returns:
        The run's figures.
    """
    parameters = dict(locals())
    from bertie.corpus.shards import Corpus
    from bertie.nn.device import resolve_device, set_threads
    from bertie.reports.parts import masked_sentences
    from bertie.tokenizer.tokenizer import Tokenizer
    from bertie.training.feed import corpus_feed
    from bertie.training.precision import resolve
    from bertie.training.run import Job, run
    from bertie.training.runfolder import RunFolder
    from bertie.training.schedule import parse_stages

    if training.selects or training.evaluate_each_epoch:
        raise SettingsError("training.best, .patience and .evaluate_each_epoch are finetune's; pretrain goes by steps")
    if schedule.batch_warmup > 0.0 and epochs is not None:
        raise SettingsError("with schedule.batch_warmup nobody knows the steps of an epoch; give --tokens or --budget")
    text = Corpus.open(corpus)
    tokenizer = Tokenizer.load(corpus / "tokenizer")
    parts = parse_stages(stages, length=length)
    longest = max(part.length for part in parts)
    objective = registry.load("tasks", task).TASK(max_length=longest, mask_rate=mask_rate, max_masked=max_masked)
    pairs, place = task == "pretraining", resolve_device(device)
    parameters |= {"threads": set_threads(threads), "precision": resolve(precision, place), "device": place.type}
    bundle = _start(objective, model, from_, tokenizer, seed=seed, longest=longest)
    horizon = _horizon(text, steps, tokens, epochs, budget, seed=seed, length=longest, size=batch_tokens, pairs=pairs)
    with RunFolder.open(
        out, "pretrain", parameters, resume=resume, data=text.fingerprint, write_config=config.write
    ) as folder:
        if folder.finished:
            progress.note(f"{out} is finished already; nothing was done")
            return _report(folder, folder.values)
        job = Job(
            model=bundle.model,
            task=objective,
            feed=lambda done, state: corpus_feed(
                text,
                objective,
                tokenizer,
                stages=parts,
                batch_tokens=batch_tokens,
                micro_tokens=training.micro_tokens,
                seed=seed,
                pairs=pairs,
                progress=done,
                state=state,
                schedule=schedule,
            ),
            horizon=horizon,
            peak=learning_rate,
            optimizer=optimizer,
            schedule=schedule,
            training=training,
            precision=resolve(precision, place),
            device=place,
            seed=seed,
            evaluate=_evaluation(dev, bundle, dev_tokens=dev_tokens, length=longest, place=place),
        )
        clozes, before = _guesses(bundle, text, dev, place, seed=seed)
        position = run(job, folder)
        after = _guesses(bundle, text, dev, place, seed=seed)[1]
        return _finish(bundle, folder, position, text, masked_sentences(clozes, before, after, tokenizer))


def _start(
    objective: Any, settings: ModelSettings, source: str | None, tokenizer: "Tokenizer", *, seed: int, longest: int
) -> "Bundle":
    """Make the network: an existing model with the corpus's vocabulary, or random weights."""
    from bertie.formats.format import new
    from bertie.formats.huggingface import read, resolve

    if source is None:
        if longest > settings.max_positions:
            raise SettingsError(f"--length {longest} is more than --model.max-positions {settings.max_positions}")
        shape = registry.load("models", settings.architecture).CONFIG.sized(
            settings.size, vocab_size=tokenizer.vocab_size
        )
        names = ("dropout", "attention_dropout", "activation", "initializer_range", "max_positions")
        changes = {name: getattr(settings, name) for name in names}
        return new(
            replace(shape, **changes, pad_id=tokenizer.pad),
            objective,
            tokenizer,
            seed,
            architecture=settings.architecture,
        )
    bundle = read(resolve(source), task=objective.name, new_head=True, seed=seed)
    if bundle.tokenizer.fingerprint != tokenizer.fingerprint:
        raise DataError(
            f"{source} has a vocabulary of {bundle.tokenizer.vocab_size} pieces and the corpus one of "
            f"{tokenizer.vocab_size}, and they differ; prepare the corpus with --tokenizer {source}"
        )
    for line in bundle.notes:
        progress.note(line)
    if bundle.config.max_positions < longest:
        raise SettingsError(f"--length {longest} is more than the {bundle.config.max_positions} positions of {source}")
    return replace(bundle, task=objective)


def _horizon(
    corpus: "Corpus",
    steps: int | None,
    tokens: int | None,
    epochs: int | None,
    budget: str | None,
    *,
    seed: int,
    length: int,
    size: int,
    pairs: bool,
) -> "Horizon":
    """Turn the four ways to say how long into a horizon; epochs become the steps they hold."""
    from bertie.data.sampler import Sampler
    from bertie.training.schedule import Horizon, parse_duration

    if epochs is not None and steps is None and tokens is None and budget is None:
        if epochs < 1:
            raise SettingsError(f"--epochs must be at least 1; got {epochs}")
        sampler = Sampler(corpus, seed=seed, length=length, batch_tokens=size, pairs=pairs)
        steps = sum(sampler.num_batches(epoch) for epoch in range(epochs))
    elif epochs is not None:
        raise SettingsError("give one of --steps, --tokens, --epochs or --budget, not several")
    return Horizon(steps, tokens, None if budget is None else parse_duration(budget))


def _evaluation(dev: Path | None, bundle: "Bundle", *, dev_tokens: int, length: int, place: Any) -> Any:
    """Prepare the dev batches once, with fixed pairs and masks, and return a function that measures on them."""
    if dev is None:
        return None
    from bertie.corpus.shards import Corpus
    from bertie.data.instances import draw_instances
    from bertie.data.sampler import Sampler
    from bertie.inference.evaluate import evaluate_batches

    text = Corpus.open(dev)
    if text.tokenizer_fingerprint != bundle.tokenizer.fingerprint:
        raise DataError(f"{dev} was prepared with another tokenizer than the training corpus; prepare it anew")
    pairs = bundle.task.name == "pretraining"
    sampler = Sampler(text, seed=0, length=length, batch_tokens=8192, pairs=pairs)
    count = min(sampler.num_batches(0), max(1, dev_tokens // 8192))
    drawn = [draw_instances(sampler, step, bundle.tokenizer) for step in range(count)]
    batches = [bundle.task.encode(instances, bundle.tokenizer, instances.keys) for instances in drawn]
    return lambda: evaluate_batches(bundle.model, bundle.task, batches, device=place)


def _guesses(bundle: "Bundle", corpus: "Corpus", dev: Path | None, place: Any, *, seed: int) -> tuple[Any, Any]:
    """Let the model, as it is now, fill ten holes in sentences of the dev corpus, or of the corpus without one."""
    from bertie.corpus.shards import Corpus
    from bertie.inference.cloze import choose, guess

    clozes = choose(corpus if dev is None else Corpus.open(dev), bundle.tokenizer, seed=seed)
    return clozes, guess(bundle.model.to(place), clozes, bundle.tokenizer, device=place)


def _finish(bundle: "Bundle", folder: "RunFolder", position: "Position", data: "Corpus", masked: Any) -> Report:
    """Write the model and the report of a run that reached its end."""
    from bertie.data.plan import pair_plan
    from bertie.formats.huggingface import write
    from bertie.reports.card import model_card
    from bertie.reports.run import RunReport
    from bertie.reports.run import write as write_report
    from bertie.training.journal import read

    records = read(folder.metrics)
    values = _figures(folder, records, position)
    notes = [f"The model was pre-trained on {data.num_tokens:,} tokens of {data.num_documents:,} documents."]
    if bundle.task.name == "pretraining":
        longest = bundle.task.max_length  # type: ignore[attr-defined]
        share = pair_plan(data, seed=0, epoch=0, length=longest).random_share
        values["random_next_share"] = round(share, 4)
        notes.append(f"{share:.1%} of the pairs are random: a chunk of one sentence has no second half of its own.")
    notes.append("Random replacements are drawn from the vocabulary without its special tokens, unlike the original.")
    settings = folder.config.read_text(encoding="utf-8")
    command = f"bertie run {folder.config}"
    scores = {name: value for name, value in values.items() if name.startswith("dev_")}
    card = model_card(
        task=bundle.task.name,
        command=command,
        scores=scores,
        settings=settings,
        data=data.fingerprint,
        name=folder.path.name,
        num_parameters=sum(value.numel() for value in bundle.model.parameters()),
        steps=position.step,
        tokens=position.tokens,
    )
    extra = {"data": data.fingerprint, "steps": position.step, "tokens": position.tokens}
    write(replace(bundle, card=card, extra=extra), folder.model, overwrite=True)
    write_report(
        folder.report,
        RunReport(
            title=f"Pre-training {folder.path.name}",
            kind="pretrain",
            summary=values,
            records=records,
            settings=settings,
            command=command,
            masked=masked,
            notes=notes,
        ),
    )
    folder.mark_finished(values)
    return _report(folder, values)


def _figures(folder: "RunFolder", records: list[dict[str, Any]], position: "Position") -> dict[str, Any]:
    """Collect what a run reached: its length, and the last figures of training and dev."""
    last: dict[str, Any] = {
        kind: next((row for row in reversed(records) if row["kind"] == kind), {}) for kind in ("train", "dev")
    }
    names = ("loss", "mlm_loss", "mlm_accuracy", "nsp_loss", "nsp_accuracy")
    return {
        "folder": str(folder.path),
        "steps": position.step,
        "tokens": position.tokens,
        "seconds": round(position.seconds, 1),
        "tokens_per_second": round(position.tokens / max(1e-9, position.seconds)),
        **{
            f"{kind}_{name}": round(row[name], 4)
            for kind, row in last.items()
            for name in names
            if row.get(name) is not None
        },
    }


def _report(folder: "RunFolder", values: dict[str, Any]) -> Report:
    return Report(
        title=f"Pre-trained {folder.model}",
        values={**values, "report": str(folder.report)},
        next_command=f"bertie finetune {folder.model} --task classification --train TRAIN.tsv --dev DEV.tsv --out OUT",
    )
