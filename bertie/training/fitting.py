"""Choose the learning rate, the batch and the epochs of a fine-tuning run from its model and its data: pure functions.

The rules were measured on small encoders (docs/measured/studies.md):

- AdamW moves each weight by about the learning rate, whatever its size. Larger weights need a higher rate, a wider
  matrix a lower one, because more weights add up in each output. So the rate is a share of RMS / width.
- Random weights have no size worth keeping. Their rate depends on the width alone.
- A model learns in steps. Few examples take small batches and many epochs, many examples large batches and few epochs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from bertie.optimizers.optimizer import optimizer_class
from bertie.training.layers import num_matrices

_SHARE = 0.5  # of RMS / width, the rate of a trained encoder
_FURTHER = 2.0  # of RMS / width, the rate of continued pre-training
_RANDOM = 0.128  # divided by the width, the rate of random weights: 5e-4 for a width of 256
_SMALL = 10_000_000  # weights in blocks; a smaller encoder knows less that a high rate would destroy
_SMALL_TAGS, _SMALL_TEXTS = 2.0, 0.7  # at 2.5 times the second, CoLA (one label per text) is not learned at all
_TAGS_FACTOR = 2.0  # a target on every word: gradients are less noisy than those of one label a text
_LORA_FACTOR = 5.0
_HEAD_RATE = 2e-3  # of a head on frozen layers
_LOWEST, _HIGHEST = 1e-5, 3e-3
_BATCHES = ((1_000, 8), (10_000, 16))  # up to so many examples; 32 for more
_LARGE_BATCH = 32
_PASSES = 450.0  # epochs = this / sqrt(examples)
_MOST_EPOCHS, _FEWEST_EPOCHS = 30, 2
_USUAL_EPOCHS = 3
_MANY = 20_000  # examples; fewer get the usual epochs at least
_WORK = 1e12  # the most weights in blocks x examples x epochs, where there are more epochs than usual
_UNTRAINED = 0.01  # the largest RMS distance of LayerNorms from 1 and of biases from 0 in random weights
_NICE = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class EncoderFacts:
    """The encoder that a run begins with."""

    rms: float
    """Root mean square of the weights of the blocks' matrices; 0 for a network without blocks."""
    width: int
    """Elements of a hidden vector; 0 for a network without blocks."""
    num_weights: int
    """Weights in the blocks' matrices."""
    trained: bool
    """False for random weights."""
    tokens: int | None = None
    """Tokens of its pre-training; None if unknown."""

    def __str__(self) -> str:
        if not self.trained:
            return f"random weights of width {self.width}" if self.width else "random weights"
        source = "" if self.tokens is None else f" from {_amount(self.tokens)} tokens of pre-training"
        return f"weights of RMS {self.rms:.2g}{source}" if self.width else "an encoder without blocks"


@dataclass(frozen=True, kw_only=True)
class TaskProfile:
    """The task of a run, and how it is learned."""

    num_items: int
    """Examples in the training table."""
    tags: bool = False
    """Whether each word of an example has a target of its norm_ids."""
    generates_text: bool = False
    """Whether a new decoder learns to generate text."""
    large_batch: bool = False
    """Whether the loss compares the items of a batch, or is a pre-training objective."""
    lora: bool = False
    head_only: bool = False
    """Whether all layers below the head are frozen."""
    optimizer: str = "adamw"
    """A file of `optimizers/`."""


@dataclass(frozen=True, kw_only=True)
class UserSettings:
    """The user's settings; None lets `fit` choose."""

    learning_rate: float | None = None
    batch_size: int | None = None
    epochs: int | None = None
    steps: int | None = None
    """Length of the run, in place of epochs."""
    budget: bool = False
    """Whether a time sets the length of the run, in place of epochs."""


NOTHING = UserSettings()


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Settings of a run."""

    learning_rate: float
    batch_size: int
    epochs: int | None
    """None if steps or a budget set the length of the run."""


def inspect(model: nn.Module, *, tokens: Any = None) -> EncoderFacts:
    """Measure the weights of an encoder, with or without a head.

    Args:
        model: the network.
        tokens: of its pre-training, as its model folder has the number. Anything but a positive integer is unknown.
    """
    matrices = [value.detach() for name, value in model.named_parameters() if num_matrices(name, value)]
    count = sum(value.numel() for value in matrices)
    total = sum(float(torch.linalg.vector_norm(value.float())) ** 2 for value in matrices)
    known = tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens > 0 else None
    return EncoderFacts(
        rms=math.sqrt(total / count) if count and math.isfinite(total) else 0.0,
        width=min((min(value.shape) for value in matrices), default=0),
        num_weights=count,
        trained=not _is_untouched(model),
        tokens=known,
    )


def _is_untouched(model: nn.Module) -> bool:
    """Return whether the encoder's LayerNorms and biases still have the values of random weights."""
    encoder = getattr(model, "encoder", model)
    norms = [part.weight for part in encoder.modules() if isinstance(part, nn.LayerNorm)]
    norm_ids = {id(value) for value in norms}
    offsets = [value.detach().float() - 1.0 for value in norms]
    offsets += [
        value.detach().float() for value in encoder.parameters() if value.dim() == 1 and id(value) not in norm_ids
    ]
    moved = torch.cat([value.flatten() for value in offsets]) if offsets else torch.ones(1)
    return float(moved.square().mean().sqrt()) < _UNTRAINED


def fit(encoder: EncoderFacts, lesson: TaskProfile, given: UserSettings = NOTHING) -> Fit:
    """Choose the settings that the user left open.

    The rate depends on the number of steps. For half the steps that `fit` would choose, it is higher by sqrt(2). The
    factor stays between 0.5 and 2.

    Args:
        encoder: the encoder that the run begins with.
        lesson: the task.
        given: the user's settings.
    """
    batch, passes = _batch(lesson), _epochs(encoder, lesson)
    usual = passes * -(-lesson.num_items // batch)
    size = batch if given.batch_size is None else given.batch_size
    epochs = given.epochs
    if epochs is None and given.steps is None and not given.budget:
        epochs = passes
    rate = given.learning_rate
    if rate is None:
        updates = given.steps or (epochs or 0) * -(-lesson.num_items // max(1, size)) or usual
        rate = _nice(_rate(encoder, lesson) * min(2.0, max(0.5, math.sqrt(usual / max(1, updates)))))
    return Fit(learning_rate=rate, batch_size=size, epochs=epochs)


def further_rate(encoder: EncoderFacts, optimizer: str, *, guesses: bool) -> float:
    """Choose the peak of the learning rate for continued pre-training.

    It is a share of RMS / width as in fine-tuning, but four times as high: every batch has some thousand targets, and
    no text is repeated. An objective that only compares whole texts has fewer targets, and the rate is twice as high as
    in fine-tuning. Random weights have the rate of pre-training.

    Args:
        encoder: the encoder that the run begins with.
        optimizer: a file of `optimizers/`.
        guesses: whether the objective predicts tokens.
    """
    if not encoder.trained or not encoder.width or not encoder.rms:
        return optimizer_class(optimizer).peak
    share = _FURTHER if guesses else _FURTHER / 2
    rate = min(_peak_of_adamw(), max(_LOWEST, share * encoder.rms / encoder.width))
    return _nice(rate * optimizer_class(optimizer).peak / _peak_of_adamw())


def _rate(encoder: EncoderFacts, lesson: TaskProfile) -> float:
    """Return the peak of the learning rate for the usual number of steps."""
    if not encoder.width:
        rate = 5e-5
    elif encoder.trained and not lesson.generates_text:
        rate = _SHARE * encoder.rms / encoder.width * (_TAGS_FACTOR if lesson.tags else 1.0)
        if encoder.num_weights < _SMALL:
            rate *= _SMALL_TAGS if lesson.tags else _SMALL_TEXTS
    else:
        rate = _RANDOM / encoder.width
    if lesson.head_only:
        rate = _HEAD_RATE
    elif lesson.lora:
        rate *= _LORA_FACTOR
    return min(_HIGHEST, max(_LOWEST, rate)) * optimizer_class(lesson.optimizer).peak / _peak_of_adamw()


def _peak_of_adamw() -> float:
    """Return the peak of AdamW, for which the rules were measured."""
    return optimizer_class("adamw").peak


def _batch(lesson: TaskProfile) -> int:
    if lesson.large_batch:
        return _LARGE_BATCH
    return next((size for limit, size in _BATCHES if lesson.num_items <= limit), _LARGE_BATCH)


def _epochs(encoder: EncoderFacts, lesson: TaskProfile) -> int:
    """Return the number of epochs: fewer, the more examples there are and the more work an epoch is."""
    least = _USUAL_EPOCHS if lesson.num_items < _MANY else _FEWEST_EPOCHS
    if lesson.large_batch:
        return _USUAL_EPOCHS
    wanted = min(_MOST_EPOCHS, round(_PASSES / math.sqrt(max(1, lesson.num_items))))
    affordable = _WORK / max(1, encoder.num_weights * lesson.num_items)
    return max(least, min(wanted, int(affordable)))


def _nice(rate: float) -> float:
    """Round a rate to a number that people would type."""
    exponent = math.floor(math.log10(rate))
    nearest = min(_NICE, key=lambda digit: abs(math.log(rate / 10**exponent / digit)))
    return float(f"{nearest}e{exponent}")


def rate_in_words(rate: float) -> str:
    """Format a rate as people type it, such as 1e-3 or 1.5e-4."""
    digits, _, power = f"{rate:.1e}".partition("e")
    return f"{digits.removesuffix('.0')}e{int(power)}"


def _amount(tokens: int) -> str:
    for unit, name in ((10**9, " G"), (10**6, " M"), (10**3, " k")):
        if tokens >= unit:
            return f"{tokens / unit:.3g}{name}"
    return str(tokens)
