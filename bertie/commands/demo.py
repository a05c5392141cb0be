"""The whole life on real text, offline, in minutes: vocabulary, corpus, pre-training, classifier, report."""

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bertie import progress
from bertie.commands._random import ModelSettings
from bertie.commands.command import Report
from bertie.commands.finetune import FinetuneReport, finetune
from bertie.commands.prepare_corpus import prepare_corpus
from bertie.commands.pretrain import pretrain
from bertie.commands.train_tokenizer import train_tokenizer
from bertie.errors import SettingsError
from bertie.training.settings import OptimizerSettings, TrainingSettings

_UNLABELLED = (
    "a tender, funny and wonderfully acted film",
    "a dull, predictable mess that wastes its cast",
    "not bad, but far too long",
)


@dataclass(frozen=True)
class _Files:
    """What the demo reads."""

    corpus: tuple[Path, ...]
    train: Path
    dev: Path


def demo(
    *,
    corpus: tuple[Path, ...] = (),
    train: Path | None = None,
    dev: Path | None = None,
    out: Path | None = None,
    vocab_size: int = 4096,
    size: str = "2/128",
    budget: str = "180s",
    epochs: int = 1,
    seeds: int = 3,
) -> Report:
    """Show the whole life on real text, offline, in minutes: vocabulary, corpus, pre-training, classifier, report.

    Without files of your own it reads news stories and film snippets from two installed pip packages. What pre-training
    bought is measured: the same classifier from random weights, as long, from as many seeds.

    Args:
        corpus: text of your own to pre-train on.
        train: labelled table of your own.
        dev: labelled table to measure on; goes with --train.
        out: folder for everything; out/demo, or out/demo-2 and so on, when not given.
        vocab_size: pieces of the vocabulary.
        size: of the encoder, layers/hidden.
        budget: time for pre-training.
        epochs: passes over the labelled table.
        seeds: classifiers trained from each start.

    Returns:
        The figures that are in the report.
    """
    started = time.monotonic()
    if (train is None) != (dev is None):
        raise SettingsError("--train and --dev go together")
    if seeds < 1:
        raise SettingsError(f"--seeds must be at least 1; got {seeds}")
    folder = _new_folder(out)
    files = _files(folder, corpus, train, dev)
    progress.note(f"1/5  vocabulary of {vocab_size:,} pieces")
    words = tuple(str(path) for path in files.corpus)
    train_tokenizer(words, out=folder / "tokenizer", vocab_size=vocab_size)
    progress.note("2/5  corpus")
    prepared = prepare_corpus(files.corpus, tokenizer=folder / "tokenizer", out=folder / "corpus")
    progress.note(f"3/5  pre-training for {budget}")
    every = TrainingSettings(save_every=0)
    life = pretrain(
        corpus=folder / "corpus",
        out=folder / "encoder",
        model=ModelSettings(size=size, max_positions=128),
        budget=budget,
        length=64,
        batch_tokens=4096,
        learning_rate=2e-3,
        optimizer=OptimizerSettings("muon"),  # of equal loss, its encoders made better classifiers than AdamW's here
        training=every,
    )
    progress.note("4/5  the same encoder with random weights, for comparison")
    _write_random(folder)
    progress.note(f"5/5  {2 * seeds} classifiers: pre-trained and random, {seeds} seeds each")
    runs: dict[str, list[FinetuneReport]] = {"pre-trained": [], "random": []}
    for start, reports in runs.items():
        for seed in range(seeds):
            reports.append(
                finetune(
                    str(folder / ("encoder" if start == "pre-trained" else "random") / "model"),
                    train=files.train,
                    dev=files.dev,
                    out=folder / f"classifier-{start}-{seed}",
                    epochs=epochs,
                    learning_rate=5e-4,
                    length=64,
                    seed=seed,
                    training=every,
                )
            )
    return _report(folder, files, prepared, life, runs, time.monotonic() - started)


def _new_folder(out: Path | None) -> Path:
    """Return the folder asked for, which must not exist, or the first free one of the default names."""
    if out is not None:
        if out.exists():
            raise SettingsError(f"--out {out} exists; remove it or choose another folder")
        return out
    number = 1
    while (folder := Path("out") / ("demo" if number == 1 else f"demo-{number}")).exists():
        number += 1
    return folder


def _files(folder: Path, corpus: tuple[Path, ...], train: Path | None, dev: Path | None) -> _Files:
    """Take the user's files, and the embedded ones for what is not given."""
    if corpus and train is not None and dev is not None:
        return _Files(corpus, train, dev)
    from bertie.data.embedded import write_demo_text

    text = write_demo_text(folder / "text")
    progress.note(
        f"{text.num_documents:,} documents to read, {text.num_train:,} labelled snippets to learn from and "
        f"{text.num_dev:,} of other films to measure on"
    )
    return _Files(corpus or (text.corpus,), train or text.train, dev or text.dev)


def _write_random(folder: Path) -> None:
    """Write the encoder's twin: same shape and vocabulary, weights as they are drawn."""
    from bertie.formats.format import new
    from bertie.formats.huggingface import read, write

    trained = read(folder / "encoder" / "model")
    random = new(trained.config, trained.task, trained.tokenizer, seed=0)  # where pre-training began
    write(replace(random, card="The demo's encoder before any training.\n"), folder / "random" / "model")


def _report(
    folder: Path, files: _Files, prepared: Report, life: Report, runs: dict[str, list[FinetuneReport]], seconds: float
) -> Report:
    """Put everything into one report and one table."""
    from bertie import config
    from bertie.data.table import read_table
    from bertie.inference.evaluate import evaluate
    from bertie.inference.predictor import load
    from bertie.reports.parts import findings
    from bertie.reports.run import Comparison, RunReport
    from bertie.reports.run import write as write_report
    from bertie.training.journal import read

    scores = {start: [report.scores["accuracy"] for report in reports] for start, reports in runs.items()}
    means = {start: statistics.mean(values) for start, values in scores.items()}
    values: dict[str, Any] = {
        "minutes": round(seconds / 60, 2),
        "documents": prepared.values["documents"],
        "tokens_in_corpus": prepared.values["tokens"],
        "steps": life.values["steps"],
        "tokens_trained_on": life.values["tokens"],
        "tokens_per_second": life.values["tokens_per_second"],
        **{name: value for name, value in life.values.items() if name.startswith("train_")},
        "random_next_share": life.values["random_next_share"],
        "accuracy_pretrained": round(means["pre-trained"], 4),
        "accuracy_random": round(means["random"], 4),
    }
    best = folder / "classifier-pre-trained-0"
    model = load(best / "model")
    verdicts = model.predict(list(_UNLABELLED))
    items = read_table(files.dev, labelled=True).items
    measured = evaluate(model.model, model.task, items, model.tokenizer)
    spread = {start: statistics.stdev(part) if len(part) > 1 else 0.0 for start, part in scores.items()}
    remark = (
        f"Accuracy on films the classifier never saw, {len(scores['random'])} seeds each, the same steps and settings. "
        f"Pre-training for {life.values['seconds']:.0f} seconds bought "
        f"{100 * (means['pre-trained'] - means['random']):+.1f} points."
    )
    write_report(
        folder / "report.html",
        RunReport(
            title="From raw text to a classifier",
            kind="demo",
            summary=values,
            records=read(folder / "encoder" / "metrics.jsonl"),
            settings=config.render(command="pretrain", parameters=config.read(folder / "encoder")),
            command="bertie demo",
            masked=_masked(folder),
            findings=findings(measured, model.task, items),
            comparisons=[Comparison("What pre-training bought", list(scores.items()), remark, unit="%")],
            predictions=[(text, each.label, each.score) for text, each in zip(_UNLABELLED, verdicts, strict=True)],
        ),
    )
    table = [
        {"start": start, "accuracy": round(means[start], 4), "spread": round(spread[start], 4), "seeds": scores[start]}
        for start in scores
    ]
    return Report(
        title="The whole life",
        values={**values, "classifiers": table, "report": str(folder / "report.html")},
        next_command=f'bertie predict {best / "model"} "a film of yours"',
    )


def _masked(folder: Path) -> Any:
    """Fill ten holes with the encoder as it began and as it ended."""
    import torch

    from bertie.corpus.shards import Corpus
    from bertie.formats.huggingface import read
    from bertie.inference.cloze import choose, guess
    from bertie.reports.parts import masked_sentences

    before, after = (read(folder / name / "model") for name in ("random", "encoder"))
    clozes = choose(Corpus.open(folder / "corpus"), after.tokenizer, seed=0)
    device = torch.device("cpu")
    guesses = [guess(bundle.model, clozes, bundle.tokenizer, device=device) for bundle in (before, after)]
    return masked_sentences(clozes, guesses[0], guesses[1], after.tokenizer)
