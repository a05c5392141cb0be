"""The contract of `formats/`: a model on disk is read into a Bundle and written from one.

A format file offers `read(path, ...) -> Bundle` and `write(bundle, path)`. Both are strict: no tensor unused, none
missing, unless it was said that it may be; reading what was written gives the same Bundle.
"""

from dataclasses import dataclass, field
from typing import Any

import torch

from bertie.formats._causal import decoder_only
from bertie.formats._seq2seq import KIND, over
from bertie.models.model import Config
from bertie.nn.initialize import initialize
from bertie.tasks.generation import Generation
from bertie.tasks.task import Task, TaskModel
from bertie.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True, eq=False)
class Bundle:
    """A network and everything needed to use it."""

    model: TaskModel
    task: Task
    tokenizer: Tokenizer
    config: Config
    """Shape of the encoder."""
    architecture: str = "bert"
    """The file of models/ that made the encoder."""
    card: str = ""
    """Text of the model's README.md."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Further facts that travel with the model, as JSON."""
    notes: tuple[str, ...] = ()
    """What the reader had to infer, drop or initialize, one sentence each."""
    drawn: tuple[str, ...] = ()
    """Names of the head's parameters that the reader drew at random, because the folder has none."""


def new(config: Config, task: Task, tokenizer: Tokenizer, seed: int, *, architecture: str = "bert") -> Bundle:
    """Make a network of random weights.

    Args:
        config: shape of the encoder.
        task: decides the head; one that writes puts a decoder over an encoder without.
        tokenizer: no larger than the encoder's vocabulary.
        seed: of the weights; encoder and head have streams of their own, so one encoder comes with any head.
        architecture: the file of models/ that `config` is of.
    """
    if isinstance(task, Generation) and not hasattr(config, "start_id"):
        architecture, config = KIND, over(config, tokenizer, task)
    architecture, config = decoder_only(architecture, config, task)
    encoder: Any = config.build()
    encoder.initialize(seed)
    head = task.head(encoder)
    initialize_head(head, encoder, seed=seed)
    return Bundle(TaskModel(encoder, head), task, tokenizer, config, architecture)


def initialize_head(head: torch.nn.Module, encoder: Any, *, seed: int, names: set[str] | None = None) -> list[str]:
    """Draw a head's own parameters (those in `names` only, when given) and return what was drawn.

    Parameters that belong to the encoder, such as a tied output matrix, are left alone.
    """
    shared = {id(value) for value in encoder.parameters()}
    own = {name: value for name, value in head.named_parameters() if id(value) not in shared}
    kept = {name: value.detach().clone() for name, value in own.items() if names is not None and name not in names}
    tied = {name: value.detach().clone() for name, value in head.named_parameters() if id(value) in shared}
    generator = torch.Generator().manual_seed(seed + 1)
    initialize(head, deviation=encoder.config.initializer_range, generator=generator)
    parameters = dict(head.named_parameters())
    with torch.no_grad():
        for name, value in {**kept, **tied}.items():
            parameters[name].copy_(value)
    return sorted(set(own) - set(kept))
