"""The whole life on real text, offline, in minutes: vocabulary, corpus, pre-training, what that buys, report."""

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie import config, progress
from bertie.commands._demo_files import DemoFiles, gather
from bertie.commands._demo_report import CLASSICAL, PRETRAINED, RANDOM, Outcome, report
from bertie.commands._held_out import is_held_out
from bertie.commands._random import ModelSettings
from bertie.commands._seeds import checked
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
_EVALUATE_EVERY = 300  # steps: some seconds
_DEV_TOKENS = 40_000
_HELD_OUT_EVERY = 20  # documents: one of them is kept from pre-training


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
    """Show the whole life on real text, offline, in minutes: vocabulary, corpus, pre-training, what that buys, report.

    Without files of your own it reads news and sentences with marked names from installed pip packages, in English, or
    with --language zh in Chinese.
    What pre-training bought is measured with few labelled items: the same model from random weights, and a classical
    way without a network, learn from the same ones, seed by seed.

    Args:
        language: of the demo's own text, en or zh.
        corpus: text of your own to pre-train on.
        train: labelled table of your own: texts with labels, or words with tags.
        dev: labelled table to measure on; goes with --train.
        task: of your own tables; found by their form when not given.
        out: folder for everything; out/demo, or out/demo-2 and so on, when not given.
        vocab_size: pieces of the vocabulary.
        size: of the encoder, layers/hidden.
        budget: time for pre-training.
        labels: labelled items to learn from, drawn anew for each seed; all of your own table, 100 of the demo's, when
            not given.
        epochs: passes over them; as finetune chooses when not given.
        seeds: such as 1,2,3 or 1-5: for each of them a draw of labelled items and a model of each way.

    Returns:
        The figures that are in the report.
    """
    started, used = time.monotonic(), time.process_time()
    if (train is None) != (dev is None):
        raise SettingsError("--train and --dev go together")
    if task is not None and train is None:
        raise SettingsError("--task goes with tables of your own, --train and --dev")
    if language != "en" and corpus and train is not None:
        raise SettingsError("--language chooses between the demo's own texts; with files of your own leave it out")
    draws, folder = checked(seeds), _new_folder(out)
    tables = None if train is None or dev is None else (train, dev)
    files = gather(folder, corpus, tables, task=task, labels=labels, seeds=draws, language=language)
    progress.note(f"1/5  vocabulary of {vocab_size:,} pieces")
    with progress.without_notes():
        train_tokenizer(tuple(str(path) for path in files.corpus), out=folder / "tokenizer", vocab_size=vocab_size)
    progress.note("2/5  corpus")
    read, held_out = _prepare(folder, files)
    progress.note(f"3/5  pre-training for {budget}")
    life = _pretrain(folder, held_out, size=size, budget=budget)
    progress.note(
        f"4/5  {2 * len(seeds)} models from {files.num_labelled:,} labelled items: pre-trained and random weights"
    )
    scores, model = _finetune(folder, files, size=size, epochs=epochs)
    progress.note("5/5  the classical way")
    scores |= _classical(files)
    outcome = Outcome(
        folder=folder,
        files=files,
        documents=read.num_documents,
        tokens=read.num_tokens,
        life=life.values,
        scores=scores,
        model=model,
        seconds=time.monotonic() - started,
        processor_seconds=time.process_time() - used,
    )
    return report(outcome, _masked(folder, held_out or folder / "corpus"))


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


def _prepare(folder: Path, files: DemoFiles) -> "tuple[Corpus, Path | None]":
    """Turn the text into corpora of token ids: one to read, and one of held-out documents if there are enough."""
    from bertie.corpus.prepare import prepare

    tokenizer, held_out = folder / "tokenizer", folder / "held-out"
    corpus = list(files.corpus)
    with progress.without_notes():
        kept = partial(is_held_out, every=_HELD_OUT_EVERY)
        read = prepare(corpus, tokenizer=tokenizer, out=folder / "corpus", take=lambda number: not kept(number))
        if read.num_documents < _HELD_OUT_EVERY:
            return read, None
        prepare(corpus, tokenizer=tokenizer, out=held_out, take=kept)
    return read, held_out


def _model(size: str) -> ModelSettings:
    return ModelSettings(size=size, max_positions=128, dropout=0.0)


def _pretrain(folder: Path, held_out: Path | None, *, size: str, budget: str) -> Report:
    """Pre-train with what learned most in a few minutes (docs/measured/studies.md); hide single Chinese characters."""
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
        mask_rate=0.3,
        settings={"mask_rate_end": 0.15},
        optimizer=OptimizerSettings("muon"),
        training=TrainingSettings(save_every=0, evaluate_every=None if held_out is None else _EVALUATE_EVERY),
    )


def _finetune(folder: Path, files: DemoFiles, *, size: str, epochs: int | None) -> tuple[dict[str, list[float]], Path]:
    """Fine-tune from the encoder and from random weights, seed by seed on the same items.

    Returns:
        The scores of both, and the first model that began from the encoder.
    """
    scores: dict[str, list[float]] = {PRETRAINED: [], RANDOM: []}
    for seed, draw in files.draws:
        for way, reached in scores.items():
            begun = _model(size) if way == RANDOM else str(folder / "encoder" / "model")
            out = folder / f"{way}-{seed}"
            with progress.without_notes():  # six times the same
                tuned = finetune(
                    begun,
                    tokenizer=folder / "tokenizer" if way == RANDOM else None,
                    train=draw,
                    dev=files.dev_table,
                    out=out,
                    task=files.task,
                    epochs=epochs,
                    length=_LENGTH,
                    seed=seed,
                )
            reached.append(tuned.scores[files.criterion])
            progress.note(_said(way, seed, config.read(out), files.criterion, reached[-1]))
    return scores, folder / f"{PRETRAINED}-{files.draws[0][0]}" / "model"


def _said(way: str, seed: int, settings: Mapping[str, Any], criterion: str, score: float) -> str:
    """Say what a fine-tuning chose and reached."""
    from bertie.training.fitting import rate_in_words

    rate = rate_in_words(settings["learning_rate"])
    chosen = f"learning rate {rate}, batch {settings['batch_size']}, {settings['epochs']} epochs"
    return f"     {way}, seed {seed}: {chosen}; {criterion} {score:.3f}"


def _classical(files: DemoFiles) -> dict[str, list[float]]:
    """Measure the classical way on the same items; nothing where scikit-learn isn't installed."""
    from bertie.inference.classical import fit, is_installed
    from bertie.tasks.task import read_items, task_class

    if not is_installed():
        progress.warn("the classical way needs scikit-learn, so it is left out; type: pip install 'bertie[eval]'")
        return {}
    kind = task_class(files.task)
    reached = []
    for _, draw in files.draws:
        with progress.without_notes():
            items = read_items(kind, draw, labelled=True).items
        task = kind(**kind.learn(items, {}))
        found = task.score(fit(items)(files.dev), files.dev)
        reached.append(round(found[files.criterion], 4))
    return {CLASSICAL: reached}


def _masked(folder: Path, text: Path) -> "list[MaskedSentence]":
    """Fill ten holes with random weights and with the encoder."""
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
