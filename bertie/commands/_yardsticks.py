"""The yardsticks of a pre-training run that predicts masks: the losses of counts alone, measured before the run.

The counts are of the training corpus. They are measured on the dev corpus. Without one, or if it is the training corpus
itself, they are measured on a sample of the training corpus that is left out of the counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.commands._held_out import DevCorpus
from bertie.commands._new_model import RandomStart
from bertie.training.plateau import Recipe, Watch, left
from bertie.training.settings import OptimizerSettings

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.formats.format import Bundle
    from bertie.sampling.yardsticks import Integers, Places

_SAMPLE = 100_000  # tokens of the training corpus to measure on, a twentieth of it at most
_UNIGRAM = "yardstick_unigram_loss"


@dataclass(frozen=True)
class Yardsticks:
    """The yardsticks of a run; empty for a task without masks."""

    recipe: Recipe
    """Settings of the run that decide how long its plateau is."""
    figures: dict[str, float] = field(default_factory=dict)
    """Yardsticks by their names in run.json."""
    said: str = ""
    """A sentence about the counted and the measured text."""

    @property
    def watch(self) -> Callable[[Mapping[str, Any], float], str]:
        """A function that returns a warning for a line of metrics if the run stays on the plateau, otherwise ""."""
        return Watch(self.figures[_UNIGRAM], self.recipe) if self.figures else lambda record, done: ""

    def values(self, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Return the yardsticks for run.json and, if the run left the plateau, the step, tokens and seconds of that."""
        plateau_end = left(records, self.figures[_UNIGRAM]) if self.figures else None
        plateau_figures = (
            {}
            if plateau_end is None
            else {f"plateau_left_{name}": plateau_end[name] for name in ("step", "tokens", "seconds")}
        )
        return {**self.figures, **plateau_figures}


def recipe_of(bundle: Bundle, start: str | RandomStart, optimizer: OptimizerSettings, peak: float) -> Recipe:
    """Return the settings that decide how soon a run leaves the plateau."""
    random = isinstance(start, RandomStart)
    return Recipe(
        task=bundle.task.name,
        optimizer=optimizer.name,
        peak=peak,
        vocab_size=bundle.tokenizer.vocab_size,
        start=start.settings.start if isinstance(start, RandomStart) else None,
        random=random,
        dropout=getattr(bundle.config, "dropout", 0.0),
    )


def measure_yardsticks(
    corpus: Corpus, dev: DevCorpus | None, bundle: Bundle, length: int, recipe: Recipe
) -> Yardsticks:
    """Count tokens and their neighbours, and measure the losses of predictions from these counts.

    Args:
        corpus: the training corpus.
        dev: the dev corpus, if there is one.
        bundle: the model with the run's task and tokenizer.
        length: tokens of the longest sequence.
        recipe: settings of the run that decide how long its plateau is.
    """
    from bertie.corpus.pairs import count_pairs
    from bertie.sampling.yardsticks import measure, places_of

    if not bundle.task.fills_masks:
        return Yardsticks(recipe)
    has_dev = dev is not None and not dev.holds(corpus)
    if has_dev:
        assert dev is not None
        places, left_out = places_of(dev.alone, bundle.tokenizer), None
    else:
        places, left_out = _sample(corpus, bundle, length)
    if not len(places.tokens):  # for example a task that draws only causal batches
        return Yardsticks(recipe)
    pairs = count_pairs(corpus, without=left_out)
    figures = measure(pairs, places, bundle.tokenizer.special_ids).figures()
    num_counted = int(pairs.tokens.sum())
    part = "" if num_counted > 0.9 * corpus.num_tokens else f" of the corpus's {corpus.num_tokens:,}, evenly spread"
    text_name = "dev" if has_dev else "a sample of the training corpus that is not counted"
    progress.note(
        f"yardsticks, loss at [MASK] of counts alone: unigram {figures['yardstick_unigram_loss']:.2f} "
        f"({figures['yardstick_unigram_accuracy']:.1%} correct), two neighbours "
        f"{figures['yardstick_neighbours_loss']:.2f} ({figures['yardstick_neighbours_accuracy']:.1%})"
    )
    sentence = (
        f"The yardsticks are counts of {num_counted:,} tokens{part}, measured on {text_name}: of single tokens "
        "(unigram), and of the tokens on both sides of a [MASK] (two neighbours)."
    )
    return Yardsticks(recipe, figures, sentence)


def _sample(corpus: Corpus, bundle: Bundle, length: int) -> tuple[Places, tuple[Integers, Integers]]:
    """Draw sequences of the training corpus; return their masked positions and the ranges of their tokens."""
    from bertie.inference.mask_alone import hidden
    from bertie.sampling.instances import gather
    from bertie.sampling.sampler import Sampler
    from bertie.sampling.yardsticks import places_of, ranges_of

    task = bundle.task.at(1.0)
    size = max(length, min(_SAMPLE, corpus.num_tokens // 20))
    sampler = Sampler(corpus, seed=0, length=length, batch_tokens=size, plan=task.corpus_plan())
    epoch, chosen = sampler.instances(0)
    plan = sampler.plan(epoch)
    drawn = gather(corpus, plan, chosen, bundle.tokenizer, seed=0, epoch=epoch)
    batches = [aspect.encode(drawn, bundle.tokenizer, drawn.keys) for aspect in task.objectives()]
    return places_of(hidden(batches, task, bundle.tokenizer), bundle.tokenizer), ranges_of(plan, chosen)
