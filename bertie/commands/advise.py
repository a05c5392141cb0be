"""Predict, before a pre-training run, which loss it will reach in a given time on this machine."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie.commands._first_weights import peak_of, with_optimizer
from bertie.commands._new_model import ModelSettings, RandomStart
from bertie.commands._recipe import choose_recipe, usual_task
from bertie.commands._size_choice import MEASURED_TASK, choose_size
from bertie.commands._yardsticks import measure_yardsticks, recipe_of
from bertie.commands.command import Report
from bertie.errors import DataError, SettingsError
from bertie.tokenizer.reading import load_tokenizer
from bertie.training.scaling import Rung
from bertie.training.settings import OptimizerSettings, TrainingSettings

if TYPE_CHECKING:
    import torch

    from bertie.commands._held_out import DevCorpus
    from bertie.corpus.shards import Corpus
    from bertie.formats.format import Bundle


def advise(
    *,
    corpus: Path,
    budget: str | None = None,
    tokens: int | None = None,
    dev: Path | None = None,
    from_: str | None = None,
    model: ModelSettings = ModelSettings(),
    length: int = 128,
    dev_tokens: int = 200_000,
    precision: Literal["auto", "fp32", "bf16"] = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> Report:
    """Predict, before a pre-training run, which loss it will reach in a given time on this machine.

    Encoder sizes are compared as in `bertie pretrain`: by their measured speed, and by a curve fitted to runs on
    Wikipedia. The losses are those of masked words, each shown as [MASK].

    Args:
        corpus: a prepared corpus.
        budget: time to train, such as 20m; give this or tokens.
        tokens: number of tokens to train on.
        dev: a second prepared corpus, to measure on; without it, on a sample of the corpus.
        from_: folder or hub id of a trained model; the advice says whether to continue from it or start from random
            weights.
        model: the encoder; its size is chosen when not given.
        length: largest number of tokens in a sequence.
        dev_tokens: number of tokens of the dev corpus to measure on.
        precision: fp32, bf16 (bf16 products on fp32 weights), or auto: bf16 if the processor has it, else fp32.
        device: auto, cpu, cuda.
        threads: CPU threads; all cores when not given.

    Returns:
        The compared sizes, the choice, its expected loss in this time and in twice the time, and the next command.
    """
    parameters: dict[str, Any] = {**locals(), "from_": None, "out": Path(), "resume": False}
    from bertie.corpus.shards import Corpus
    from bertie.nn.device import resolve_device, set_threads
    from bertie.training.precision import resolve

    if from_ is not None and dev is None:
        raise SettingsError(f"the current loss of {from_} is measured on held-out text: give --dev, a prepared corpus")
    if (default_task := usual_task(model)) != MEASURED_TASK:
        raise SettingsError(
            f"the curve is for {MEASURED_TASK}, but {model.architecture} learns {default_task}; choose another one"
        )
    text = Corpus.open(corpus)
    trained = None if from_ is None else _read_model(from_, text, length)
    tokenizer = load_tokenizer(text.tokenizer_path)
    hardware = resolve_device(device)
    undecided = dict.fromkeys(("settings", "mask_rate", "max_masked", "batch_tokens", "steps", "epochs"))
    parameters |= {**undecided, "task": MEASURED_TASK, "training": TrainingSettings(), "threads": set_threads(threads)}
    parameters |= {"precision": resolve(precision, hardware), "device": hardware.type}
    recipe = choose_recipe(parameters, length)
    parameters["optimizer"] = with_optimizer(OptimizerSettings(), None, recipe.objective, Path(), resume=False)
    dialled = choose_size(parameters, recipe, text, tokenizer, length, hardware)
    if dialled.rung is None or not isinstance(dialled.start, RandomStart):
        raise SettingsError("the curve doesn't hold for runs with --model.start paper; leave it out")
    bundle = dialled.start.draw(recipe.objective, seed=0)
    held_out = None if dev is None else _held_out(dev, bundle, length, dev_tokens, hardware)
    peak = peak_of(parameters["optimizer"], dialled.start, None)
    counted = recipe_of(bundle, dialled.start, parameters["optimizer"], peak)
    yardsticks = measure_yardsticks(text, held_out, bundle, length, counted)
    unigram = yardsticks.figures.get("yardstick_unigram_loss", 0.0)
    values: dict[str, Any] = {"size": dialled.model.size, "batch_tokens": dialled.batch_tokens}
    values["tokens"] = round(dialled.rung.tokens)
    values |= {"tokens_per_second": round(dialled.speed)} if dialled.speed is not None else {}
    values |= {"learning_rate": peak, **dialled.expected(unigram), **yardsticks.figures}
    values["sizes"] = [_row(rung, unigram) for rung in dialled.looked_at]
    continues = False
    if trained is not None and dev is not None:
        loss = _loss(trained, dev, length, dev_tokens, hardware)
        values["going_on"] = {"model": from_, "mask_loss": loss}
        continues, values["advice"] = _advice(str(from_), loss, values.get("expected_mask_loss", unigram))
    flags = {
        "corpus": corpus,
        "dev": dev,
        "budget": budget,
        "tokens": tokens,
        "length": None if length == 128 else length,
    }
    flags |= (
        {"from": from_} if continues else {f"model.{name}": value for name, value in _given_settings(model).items()}
    )
    return Report(
        title=f"Expected result of {budget or f'{tokens:,} tokens'} of pre-training on {corpus}",
        values=values,
        next_command=f"bertie pretrain {_as_flags(flags)} --out OUT",
    )


def _row(rung: Rung, unigram: float) -> dict[str, Any]:
    """Return the expected result of a size as a row of the table."""
    weights, tokens = f"{rung.weights / 1e6:.2g} M", f"{rung.tokens / 1e6:,.3g} M"
    row = {"size": rung.size, "weights_in_blocks": weights, "tokens": tokens, "passes": round(rung.passes, 3)}
    return {**row, "expected_mask_loss": round(rung.left * unigram, 3) if rung.left < 1.0 else None}


def _held_out(path: Path, bundle: "Bundle", length: int, num_tokens: int, device: "torch.device") -> "DevCorpus":
    """Open a dev corpus to evaluate a model on."""
    from bertie.commands._held_out import DevCorpus
    from bertie.training.schedule import Stage

    network = bundle.task.network(bundle.model, seed=0).to(device)
    return DevCorpus(path, bundle, network, (Stage(length, 1.0),), num_tokens, device)


def _read_model(source: str, corpus: "Corpus", length: int) -> "Bundle":
    """Read a trained model with the head of its objective.

    Raises:
        DataError: it has another vocabulary than the corpus.
    """
    from bertie.formats.huggingface import objective, read, resolve

    folder = resolve(source)
    bundle = read(folder, task=objective(folder), settings={"max_length": length}, new_head=True)
    if bundle.tokenizer.fingerprint != corpus.tokenizer_fingerprint:
        raise DataError(
            f"{source} has another vocabulary than {corpus.path}; prepare the corpus again with --tokenizer {source}"
        )
    return bundle


def _loss(bundle: "Bundle", dev: Path, length: int, num_tokens: int, device: "torch.device") -> float | None:
    """Return a trained model's loss on the held-out text; None if it has no head that predicts masked words."""
    if bundle.drawn or not bundle.task.fills_masks:
        return None
    return round(_held_out(dev, bundle, length, num_tokens, device).figures({})["mask_loss"], 4)


def _advice(source: str, current: float | None, expected: float) -> tuple[bool, str]:
    """Compare a trained model's loss with the expected loss of a new one.

    Returns:
        Whether to continue from the trained model, and the advice in words.
    """
    if current is None:
        text = (
            f"{source} has no head that predicts words, so its loss can't be compared. An encoder that was trained on "
            "far more text than yours is usually the better start, so continue from it: a sentence encoder learns "
            "which passages belong to one document, other encoders learn masked words. pretrain --probe TABLE measures "
            "the effect on your labelled rows"
        )
        return True, text
    if current < expected:
        return (
            True,
            f"continue from {source}: its loss is {current:.2f} already, a new model would reach {expected:.2f}",
        )
    return False, (
        f"start from random weights: the loss of {source} is {current:.2f}, a new model would reach {expected:.2f} in "
        "that time"
    )


def _given_settings(model: ModelSettings) -> dict[str, Any]:
    """Return the model settings that differ from their defaults."""
    defaults = ModelSettings()
    return {name: value for name, value in vars(model).items() if value != getattr(defaults, name)}


def _as_flags(flags: dict[str, Any]) -> str:
    """Return flags as a user types them, without those that have no value."""
    return " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in flags.items() if value is not None
    )
