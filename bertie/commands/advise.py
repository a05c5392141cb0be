"""Say what a pre-training run would reach in a given time on this machine, before it is begun."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie.commands._begin import peak_of, with_optimizer
from bertie.commands._dial import MEASURED_TASK, dial
from bertie.commands._random import ModelSettings, RandomStart
from bertie.commands._recipe import complete, usual_task
from bertie.commands._yardsticks import count, recipe_of
from bertie.commands.command import Report
from bertie.errors import DataError, SettingsError
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
    """Say what a pre-training run would reach in a given time on this machine, before it is begun.

    Sizes of encoders are compared as `bertie pretrain` does, by their measured speed and a curve that was fitted to
    runs on Wikipedia. The losses are those of masked words, each shown as [MASK].

    Args:
        corpus: a prepared corpus.
        budget: time to spend, such as 20m; give this or tokens.
        tokens: tokens to train on.
        dev: a second prepared corpus, to measure on; without it a sample of the first is left out of the counts.
        from_: a trained model, a folder or hub id: should one go on from it, or begin anew?
        model: the encoder; its size is what is asked for when not given.
        length: tokens of the longest sequence.
        dev_tokens: tokens of the dev corpus to measure on.
        precision: auto is bf16 products on fp32 weights where the processor has bf16, else fp32.
        device: auto, cpu, cuda.
        threads: CPU threads; all cores when not given.

    Returns:
        The sizes that were compared, the choice, what is expected of it and of twice the time, and what to type.
    """
    parameters: dict[str, Any] = {**locals(), "from_": None, "out": Path(), "resume": False}
    from bertie.corpus.shards import Corpus
    from bertie.nn.device import resolve_device, set_threads
    from bertie.tokenizer.tokenizer import Tokenizer
    from bertie.training.precision import resolve

    if from_ is not None and dev is None:
        raise SettingsError(f"how good {from_} is already is measured on held-out text: give --dev, a prepared corpus")
    if (usual := usual_task(model)) != MEASURED_TASK:
        raise SettingsError(f"the curve is one of masked words, and {model.architecture} learns {usual}; leave it out")
    text = Corpus.open(corpus)
    given = None if from_ is None else _given(from_, text, length)
    tokenizer = Tokenizer.load(text.tokenizer_path)
    place = resolve_device(device)
    open_ones = dict.fromkeys(("settings", "mask_rate", "max_masked", "batch_tokens", "steps", "epochs"))
    parameters |= {**open_ones, "task": MEASURED_TASK, "training": TrainingSettings(), "threads": set_threads(threads)}
    parameters |= {"precision": resolve(precision, place), "device": place.type}
    recipe = complete(parameters, length)
    parameters["optimizer"] = with_optimizer(OptimizerSettings(), None, recipe.objective, Path(), resume=False)
    dialled = dial(parameters, recipe, text, tokenizer, length, place)
    if dialled.rung is None or not isinstance(dialled.start, RandomStart):
        raise SettingsError("nothing is known of what runs that begin as in the paper reach: leave --model.start out")
    bundle = dialled.start.draw(recipe.objective, seed=0)
    held_out = None if dev is None else _held_out(dev, bundle, length, dev_tokens, place)
    peak = peak_of(parameters["optimizer"], dialled.start, None)
    counted = count(text, held_out, bundle, length, recipe_of(bundle, dialled.start, parameters["optimizer"], peak))
    unigram = counted.figures.get("yardstick_unigram_loss", 0.0)
    values: dict[str, Any] = {"size": dialled.model.size, "batch_tokens": dialled.batch_tokens}
    values["tokens"] = round(dialled.rung.tokens)
    values |= {"tokens_per_second": round(dialled.speed)} if dialled.speed is not None else {}
    values |= {"learning_rate": peak, **dialled.expected(unigram), **counted.figures}
    values["sizes"] = [_row(rung, unigram) for rung in dialled.looked_at]
    goes_on = False
    if given is not None and dev is not None:
        loss = _loss(given, dev, length, dev_tokens, place)
        values["going_on"] = {"model": from_, "mask_loss": loss}
        goes_on, values["advice"] = _advice(str(from_), loss, values.get("expected_mask_loss", unigram))
    flags = {
        "corpus": corpus,
        "dev": dev,
        "budget": budget,
        "tokens": tokens,
        "length": None if length == 128 else length,
    }
    flags |= {"from": from_} if goes_on else {f"model.{name}": value for name, value in _said(model).items()}
    return Report(
        title=f"What {budget or f'{tokens:,} tokens'} of pre-training would reach on {corpus}",
        values=values,
        next_command=f"bertie pretrain {_typed(flags)} --out OUT",
    )


def _row(rung: Rung, unigram: float) -> dict[str, Any]:
    """Say what a size would reach."""
    weights, tokens = f"{rung.weights / 1e6:.2g} M", f"{rung.tokens / 1e6:,.3g} M"
    row = {"size": rung.size, "weights_in_blocks": weights, "tokens": tokens, "passes": round(rung.passes, 3)}
    return {**row, "expected_mask_loss": round(rung.left * unigram, 3) if rung.left < 1.0 else None}


def _held_out(path: Path, bundle: "Bundle", length: int, num_tokens: int, device: "torch.device") -> "DevCorpus":
    """Open a corpus to measure a model on."""
    from bertie.commands._held_out import DevCorpus
    from bertie.training.schedule import Stage

    network = bundle.task.network(bundle.model, seed=0).to(device)
    return DevCorpus(path, bundle, network, (Stage(length, 1.0),), num_tokens, device)


def _given(source: str, corpus: "Corpus", length: int) -> "Bundle":
    """Read a trained model under the head for masked words.

    Raises:
        DataError: it has another vocabulary than the corpus.
    """
    from bertie.formats.huggingface import objective, read, resolve

    folder = resolve(source)
    bundle = read(folder, task=objective(folder), settings={"max_length": length}, new_head=True)
    if bundle.tokenizer.fingerprint != corpus.tokenizer_fingerprint:
        raise DataError(
            f"{source} has another vocabulary than {corpus.path}; prepare the text once more with --tokenizer {source}"
        )
    return bundle


def _loss(bundle: "Bundle", dev: Path, length: int, num_tokens: int, device: "torch.device") -> float | None:
    """Measure a trained model on the held-out text; None where it has no head that guesses hidden words."""
    if bundle.drawn or not bundle.task.fills_masks:
        return None
    return round(_held_out(dev, bundle, length, num_tokens, device).figures({})["mask_loss"], 4)


def _advice(source: str, now: float | None, hoped: float) -> tuple[bool, str]:
    """Compare a trained model's loss with what a new one is expected to reach; say whether to go on, and why."""
    if now is None:
        said = (
            f"{source} has no head that guesses words, so that losses can't be compared. An encoder that was trained "
            "on far more text than yours is usually the better start. Go on from it: a sentence encoder learns which "
            "passages are of one document, any other masked words. --probe TABLE measures on labelled rows of yours "
            "whether that pays"
        )
        return True, said
    if now < hoped:
        return True, f"go on from {source}: it is at {now:.2f} already, a new one would reach {hoped:.2f}"
    return False, f"begin anew: {source} is at {now:.2f}, a new one would reach {hoped:.2f} in that time"


def _said(model: ModelSettings) -> dict[str, Any]:
    """Return the settings of a model that differ from what is taken when nothing is said."""
    usual = ModelSettings()
    return {name: value for name, value in vars(model).items() if value != getattr(usual, name)}


def _typed(flags: dict[str, Any]) -> str:
    """Write flags as a user types them; those without a value are left out."""
    return " ".join(
        f"--{name.replace('_', '-')} {shlex.quote(str(value))}" for name, value in flags.items() if value is not None
    )
