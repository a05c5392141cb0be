"""What counting alone reaches where a pre-training run guesses masks: measured before it begins, told with its figures.

The counts are of the training corpus. They are measured on the dev corpus; without one, or where dev is the training
corpus itself, on a sample of the training corpus that is left out of the counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bertie import progress
from bertie.commands._held_out import DevCorpus
from bertie.commands._random import RandomStart
from bertie.training.plateau import Recipe, Watch, left
from bertie.training.settings import OptimizerSettings

if TYPE_CHECKING:
    from bertie.corpus.shards import Corpus
    from bertie.data.yardsticks import Integers, Places
    from bertie.formats.format import Bundle

_SAMPLE = 100_000  # tokens of the training corpus to measure on, a twentieth of it at most
_UNIGRAM = "yardstick_unigram_loss"


@dataclass(frozen=True)
class Counted:
    """Yardsticks of a run, and what follows from them; empty for a task without masks."""

    recipe: Recipe
    """The run's."""
    figures: dict[str, float] = field(default_factory=dict)
    """By their names in run.json."""
    said: str = ""
    """What they are of, a sentence."""

    @property
    def watch(self) -> Callable[[Mapping[str, Any], float], str]:
        """What looks at the lines of a run that is under way."""
        return Watch(self.figures[_UNIGRAM], self.recipe) if self.figures else lambda record, done: ""

    def values(self, records: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Return the yardsticks for run.json, and when a run with such records left the plateau, if it did."""
        moment = left(records, self.figures[_UNIGRAM]) if self.figures else None
        found = (
            {} if moment is None else {f"plateau_left_{name}": moment[name] for name in ("step", "tokens", "seconds")}
        )
        return {**self.figures, **found}


def recipe_of(bundle: Bundle, start: str | RandomStart, optimizer: OptimizerSettings, peak: float) -> Recipe:
    """Collect the settings that decide how soon a run leaves the plateau."""
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


def count(corpus: Corpus, dev: DevCorpus | None, bundle: Bundle, length: int, recipe: Recipe) -> Counted:
    """Count tokens and their neighbours, and measure how far that gets.

    Args:
        corpus: what is trained on.
        dev: what is measured on, if anything.
        bundle: says the task, as it is at the end of the run, and the tokenizer.
        length: tokens of the longest sequence.
        recipe: of the run.
    """
    from bertie.corpus.pairs import count_pairs
    from bertie.data.yardsticks import measure, places_of

    if not bundle.task.fills_masks:
        return Counted(recipe)
    held_out = dev is not None and not dev.holds(corpus)
    if held_out:
        assert dev is not None
        places, without = places_of(dev.alone, bundle.tokenizer), None
    else:
        places, without = _sample(corpus, bundle, length)
    if not len(places.tokens):  # such as of a task that draws causal batches only
        return Counted(recipe)
    pairs = count_pairs(corpus, without=without)
    figures = measure(pairs, places, bundle.tokenizer.special_ids).figures()
    counted = int(pairs.tokens.sum())
    part = "" if counted > 0.9 * corpus.num_tokens else f" of the corpus's {corpus.num_tokens:,}, evenly spread"
    where = "dev" if held_out else "a sample of the training corpus that they leave out"
    progress.note(
        f"yardsticks, [MASK] guessed by counts: unigram {figures['yardstick_unigram_loss']:.2f} "
        f"({figures['yardstick_unigram_accuracy']:.1%} right), two neighbours "
        f"{figures['yardstick_neighbours_loss']:.2f} ({figures['yardstick_neighbours_accuracy']:.1%})"
    )
    said = (
        f"The yardsticks are counts of {counted:,} tokens{part}, measured on {where}: of single tokens (unigram), and "
        "of the tokens on both sides of a [MASK] (two neighbours)."
    )
    return Counted(recipe, figures, said)


def _sample(corpus: Corpus, bundle: Bundle, length: int) -> tuple[Places, tuple[Integers, Integers]]:
    """Draw sequences of the training corpus, and say which of its tokens they hold."""
    from bertie.data.instances import gather
    from bertie.data.sampler import Sampler
    from bertie.data.yardsticks import places_of, ranges_of
    from bertie.inference.mask_alone import hidden

    task = bundle.task.at(1.0)
    size = max(length, min(_SAMPLE, corpus.num_tokens // 20))
    sampler = Sampler(corpus, seed=0, length=length, batch_tokens=size, plan=task.corpus_plan())
    epoch, chosen = sampler.instances(0)
    plan = sampler.plan(epoch)
    drawn = gather(corpus, plan, chosen, bundle.tokenizer, seed=0, epoch=epoch)
    batches = [aspect.encode(drawn, bundle.tokenizer, drawn.keys) for aspect in task.aspects()]
    return places_of(hidden(batches, task, bundle.tokenizer), bundle.tokenizer), ranges_of(plan, chosen)
