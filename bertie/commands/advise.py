"""Say what a pre-training run would reach in a given time on this machine, before it is begun."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bertie.commands._begin import peak_of, with_optimizer
from bertie.commands._dial import MEASURED_TASK, dial
from bertie.commands._random import ModelSettings, RandomStart
from bertie.commands._recipe import complete
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

    if budget is None and tokens is None:
        raise SettingsError("nothing says how long the run would be: give --budget, such as 30m, or --tokens")
    if from_ is not None and dev is None:
        raise SettingsError(f"how good {from_} is already is measured on held-out text: give --dev, a prepared corpus")
    text = Corpus.open(corpus)
    tokenizer = Tokenizer.load(text.tokenizer_path)
    place = resolve_device(device)
    open_ones = dict.fromkeys(("settings", "mask_rate", "max_masked", "batch_tokens", "steps", "epochs"))
    parameters |= {**open_ones, "task": MEASURED_TASK, "training": TrainingSettings(), "threads": set_threads(threads)}
    parameters |= {"precision": resolve(precision, place), "device": place.type}
    recipe = complete(parameters, length)
    parameters["optimizer"] = with_optimizer(OptimizerSettings(), None, recipe.objective, Path(), resume=False)
    dialled = dial(parameters, recipe, text, tokenizer, length, has_dev=dev is not None)
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
    flags = f"--corpus {corpus} --out OUT {f'--budget {budget}' if budget is not None else f'--tokens {tokens}'}"
    flags += "" if dev is None else f" --dev {dev}"
    source = ""
    if from_ is not None and dev is not None:
        values["going_on"] = _going_on(from_, text, dev, length, dev_tokens, place)
        source, values["advice"] = _advice(from_, values)
    return Report(
        title=f"What {budget or f'{tokens:,} tokens'} of pre-training would reach on {corpus}",
        values=values,
        next_command=f"bertie pretrain {flags}{source}",
    )


def _row(rung: Rung, unigram: float) -> dict[str, Any]:
    """Say what a size would reach."""
    weights, tokens = f"{rung.weights / 1e6:.2g} M", f"{rung.tokens / 1e6:,.3g} M"
    row = {"size": rung.size, "weights_in_blocks": weights, "tokens": tokens, "passes": round(rung.passes, 3)}
    return {**row, "expected_mask_loss": round(rung.left * unigram, 3)}


def _held_out(path: Path, bundle: "Bundle", length: int, num_tokens: int, device: "torch.device") -> "DevCorpus":
    """Open a corpus to measure a model on."""
    from bertie.commands._held_out import DevCorpus
    from bertie.training.schedule import Stage

    network = bundle.task.network(bundle.model, seed=0).to(device)
    return DevCorpus(path, bundle, network, (Stage(length, 1.0),), num_tokens, device)


def _going_on(
    source: str, corpus: "Corpus", dev: Path, length: int, num_tokens: int, device: "torch.device"
) -> dict[str, Any]:
    """Measure a trained model on the held-out text, if it can guess hidden words.

    Raises:
        DataError: it has another vocabulary than the corpus.
    """
    from bertie.formats.huggingface import objective, read, resolve

    folder = resolve(source)
    task = objective(folder)
    bundle = read(folder, task=task, settings={"max_length": length}, new_head=True)
    if bundle.tokenizer.fingerprint != corpus.tokenizer_fingerprint:
        raise DataError(
            f"{source} has another vocabulary than {corpus.path}; prepare the text once more with --tokenizer {source}"
        )
    new_head = any("initialized at random" in note for note in bundle.notes)
    if new_head or not bundle.task.fills_masks:
        return {"model": source, "mask_loss": None}
    figures = _held_out(dev, bundle, length, num_tokens, device).figures({})
    return {"model": source, "mask_loss": round(figures["mask_loss"], 4)}


def _advice(source: str, values: dict[str, Any]) -> tuple[str, str]:
    """Compare a trained model with what a new one is expected to reach; return what to type more, and the advice."""
    now, hoped = values["going_on"]["mask_loss"], values["expected_mask_loss"]
    if now is None:
        said = (
            f"{source} has no head that guesses words, so that losses can't be compared. An encoder that was trained "
            "on far more text than yours is usually the better start. Go on from it with --probe TABLE, which measures "
            "on labelled rows of yours whether that pays"
        )
        return f" --from {source}", said
    if now < hoped:
        return (
            f" --from {source}",
            f"go on from {source}: it is at {now:.2f} already, a new one would reach {hoped:.2f}",
        )
    return "", f"begin anew: {source} is at {now:.2f}, a new one would reach {hoped:.2f} in that time"
