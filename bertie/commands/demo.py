"""Run all steps on real text, offline, in minutes: vocabulary, corpus, pre-training, fine-tuning, report."""

import shutil
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie import config, progress
from bertie.commands._demo_files import DemoFiles, gather
from bertie.commands._demo_report import CLASSICAL, PRETRAINED, RANDOM, Outcome, report
from bertie.commands._held_out import is_held_out
from bertie.commands._live import write_live_page
from bertie.commands._new_model import ModelSettings
from bertie.commands._seeds import checked_seeds
from bertie.commands.command import Report
from bertie.commands.finetune import finetune
from bertie.commands.pretrain import pretrain
from bertie.commands.train_tokenizer import train_tokenizer
from bertie.errors import SettingsError
from bertie.training.settings import OptimizerSettings, TrainingSettings

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.reports.masked import MaskedSentence

_LENGTH = 64
_EVALUATE_EVERY = 300  # steps; they take some seconds
_DEV_TOKENS = 40_000
_SAVE_EVERY, _KEPT = 50, 60  # steps, and checkpoints until the live page is written; some 10 MB each
_HELD_OUT_EVERY = 20  # every 20th document is held out from pre-training


def demo(
    *,
    language: Literal["en", "zh"] = "en",
    corpus: tuple[Path, ...] = (),
    train: Path | None = None,
    dev: Path | None = None,
    task: Literal["classification", "tagging"] | None = None,
    out: Path | None = None,
    vocab_size: int = 4096,
    size: str = "2/128",
    budget: str = "180s",
    labels: int | None = None,
    epochs: int | None = None,
    seeds: tuple[int, ...] = (1, 2, 3),
) -> Report:
    """Run all steps on real text, offline, in minutes: vocabulary, corpus, pre-training, fine-tuning, report.

    At the end it also writes live.html, a page that holds the pre-trained encoder and shows how it learned.

    Without files of your own, the demo reads news and sentences with marked names from installed pip packages, in
    English, or in Chinese with --language zh.
    It measures the benefit of pre-training with few labelled items: for each seed, the pre-trained model, the same
    model with random weights, and a classical method without a network learn from the same items.

    Args:
        language: language of the demo's own text, en or zh.
        corpus: text of your own to pre-train on.
        train: labelled table of your own: texts with labels, or words with tags.
        dev: labelled table to measure on; required with --train.
        task: task of your own tables; detected from their format when not given.
        out: folder for all files; out/demo, or out/demo-2 and so on, when not given.
        vocab_size: number of pieces in the vocabulary.
        size: size of the encoder, layers/hidden.
        budget: time for pre-training.
        labels: number of labelled items to learn from, drawn separately for each seed; when not given, all of your own
            table or 100 of the demo's.
        epochs: passes over the labelled items; when not given, chosen as by finetune.
        seeds: one or more seeds, such as 1,2,3 or 1-5; each draws its own labelled items and trains a model with each
            method.

    Returns:
        The figures of the report.
    """
    started, used = time.monotonic(), time.process_time()
    if (train is None) != (dev is None):
        raise SettingsError("--train and --dev go together")
    if task is not None and train is None:
        raise SettingsError("--task requires tables of your own; give --train and --dev, or leave it out")
    if language != "en" and corpus and train is not None:
        raise SettingsError("--language chooses among the demo's own texts; leave it out with files of your own")
    chosen_seeds, folder = checked_seeds(seeds), _new_folder(out)
    tables = None if train is None or dev is None else (train, dev)
    files = gather(folder, corpus, tables, task=task, labels=labels, seeds=chosen_seeds, language=language)
    progress.note(f"1/5  vocabulary of {vocab_size:,} pieces")
    with progress.without_notes():
        train_tokenizer(tuple(str(path) for path in files.corpus), out=folder / "tokenizer", vocab_size=vocab_size)
    progress.note("2/5  corpus")
    corpus_read, held_out = _prepare(folder, files)
    progress.note(f"3/5  pre-training for {budget}")
    life = _pretrain(folder, held_out, size=size, budget=budget)
    progress.note(
        f"4/5  fine-tuning {2 * len(seeds)} models, pre-trained and with random weights, on "
        f"{files.num_labelled:,} labelled items"
    )
    scores, model = _finetune(folder, files, size=size, epochs=epochs)
    progress.note("5/5  the classical method")
    scores |= _classical(files)
    outcome = Outcome(
        folder=folder,
        files=files,
        documents=corpus_read.num_documents,
        tokens=corpus_read.num_tokens,
        life=life.values,
        scores=scores,
        model=model,
        seconds=time.monotonic() - started,
        processor_seconds=time.process_time() - used,
        live_page=_live_page(folder),
    )
    return report(outcome, _masked(folder, held_out or folder / "corpus"))


def _new_folder(out: Path | None) -> Path:
    """Return `out`, which must not exist, or the first default folder that is free."""
    if out is not None:
        if out.exists():
            raise SettingsError(f"--out {out} exists; remove it or choose another folder")
        return out
    number = 1
    while (folder := Path("out") / ("demo" if number == 1 else f"demo-{number}")).exists():
        number += 1
    return folder


def _prepare(folder: Path, files: DemoFiles) -> "tuple[Corpus, Path | None]":
    """Prepare a corpus to train on and, if there are enough documents, one of held-out documents."""
    from bertie.corpus.prepare import prepare

    tokenizer, held_out = folder / "tokenizer", folder / "held-out"
    corpus = list(files.corpus)
    with progress.without_notes():
        is_kept = partial(is_held_out, every=_HELD_OUT_EVERY)
        read = prepare(corpus, tokenizer=tokenizer, out=folder / "corpus", take=lambda number: not is_kept(number))
        if read.num_documents < _HELD_OUT_EVERY:
            return read, None
        prepare(corpus, tokenizer=tokenizer, out=held_out, take=is_kept)
    return read, held_out


def _model(size: str) -> ModelSettings:
    return ModelSettings(size=size, max_positions=128, dropout=0.0)


def _pretrain(folder: Path, held_out: Path | None, *, size: str, budget: str) -> Report:
    """Pre-train with the settings that learned most in a few minutes (docs/measured/studies.md)."""
    return pretrain(
        corpus=folder / "corpus",
        dev=held_out,
        dev_tokens=_DEV_TOKENS,
        out=folder / "encoder",
        model=_model(size),
        task="masked_lm",
        budget=budget,
        length=_LENGTH,
        batch_tokens=4096,
        learning_rate=6e-3,
        mask_rate=0.5,
        settings={"mask_rate_end": 0.15},
        optimizer=OptimizerSettings("muon"),
        training=TrainingSettings(
            save_every=_SAVE_EVERY, keep=_KEPT, evaluate_every=None if held_out is None else _EVALUATE_EVERY
        ),
    )


def _live_page(folder: Path) -> Path | None:
    """Write the page that holds the encoder and shows how it learned; None if the encoder is too large for one.

    The checkpoints are removed afterwards.
    """
    page = folder / "live.html"
    try:
        with progress.without_notes():
            write_live_page(folder / "encoder", page)
    except SettingsError as error:
        progress.warn(f"no live page: {error}")
        return None
    finally:
        shutil.rmtree(folder / "encoder" / "checkpoints", ignore_errors=True)
    return page


def _finetune(folder: Path, files: DemoFiles, *, size: str, epochs: int | None) -> tuple[dict[str, list[float]], Path]:
    """Fine-tune the encoder and random weights on the same items, for each seed.

    Returns:
        The scores of both, and the folder of the first model fine-tuned from the encoder.
    """
    scores: dict[str, list[float]] = {PRETRAINED: [], RANDOM: []}
    for seed, draw in files.draws:
        for method, method_scores in scores.items():
            start = _model(size) if method == RANDOM else str(folder / "encoder" / "model")
            out = folder / f"{method}-{seed}"
            with progress.without_notes():  # they would repeat for every model
                finetuned = finetune(
                    start,
                    tokenizer=folder / "tokenizer" if method == RANDOM else None,
                    train=draw,
                    dev=files.dev_table,
                    out=out,
                    task=files.task,
                    epochs=epochs,
                    length=_LENGTH,
                    seed=seed,
                )
            method_scores.append(finetuned.scores[files.criterion])
            progress.note(_fine_tuning_note(method, seed, config.read(out), files.criterion, method_scores[-1]))
    return scores, folder / f"{PRETRAINED}-{files.draws[0][0]}" / "model"


def _fine_tuning_note(method: str, seed: int, settings: Mapping[str, Any], criterion: str, score: float) -> str:
    """Return a note with the settings that a fine-tuning chose and its score."""
    from bertie.training.fitting import rate_in_words

    rate = rate_in_words(settings["learning_rate"])
    chosen = f"learning rate {rate}, batch {settings['batch_size']}, {settings['epochs']} epochs"
    return f"     {method}, seed {seed}: {chosen}; {criterion} {score:.3f}"


def _classical(files: DemoFiles) -> dict[str, list[float]]:
    """Return the classical method's scores on the same items; no scores if scikit-learn isn't installed."""
    from bertie.inference.classical import fit, is_installed
    from bertie.tasks._lookup import read_items, task_class

    if not is_installed():
        progress.warn(
            "the classical method needs scikit-learn, so it is skipped; install it with: pip install 'bertie[eval]'"
        )
        return {}
    task_type = task_class(files.task)
    f_scores = []
    for _, draw in files.draws:
        with progress.without_notes():
            items = read_items(task_type, draw, labelled=True).items
        task = task_type(**task_type.learn(items, {}))
        measured = task.score(fit(items)(files.dev), files.dev)
        f_scores.append(round(measured[files.criterion], 4))
    return {CLASSICAL: f_scores}


def _masked(folder: Path, text: Path) -> "list[MaskedSentence]":
    """Predict the hidden tokens of ten sentences, with random weights and with the encoder."""
    import torch

    from bertie.corpus.shards import Corpus
    from bertie.formats.format import new
    from bertie.formats.huggingface import read
    from bertie.inference.cloze import choose, guess
    from bertie.reports.parts import masked_sentences

    after = read(folder / "encoder" / "model")
    before = new(after.config, after.task, after.tokenizer, seed=0)
    clozes = choose(Corpus.open(text), after.tokenizer, seed=0)
    device = torch.device("cpu")
    guesses = [guess(bundle.model, clozes, bundle.tokenizer, device=device) for bundle in (before, after)]
    return masked_sentences(clozes, guesses[0], guesses[1], after.tokenizer)
