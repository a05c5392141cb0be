"""The contract of `formats/`: read a model on disk into a Bundle, and write one from it.

A format file offers `read(path, ...) -> Bundle` and `write(bundle, path)`. Both are strict: no tensor may be unused or
missing unless the caller allows it. Reading a written model gives the same Bundle.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bertie.tasks.task import Task
from bertie.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch

    from bertie.models.model import Config
    from bertie.tasks._network import TaskModel


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
    """Further facts that are stored with the model, as JSON."""
    notes: tuple[str, ...] = ()
    """One sentence for each thing that the reader inferred, dropped or initialized."""
    drawn: tuple[str, ...] = ()
    """Names of the head's parameters that the folder lacks and the reader initialized at random."""


def new(config: Config, task: Task, tokenizer: Tokenizer, seed: int, *, architecture: str = "bert") -> Bundle:
    """Make a network with random weights.

    Args:
        config: shape of the encoder.
        task: decides the head; generation adds a decoder if the encoder has none.
        tokenizer: at most as large as the encoder's vocabulary.
        seed: of the weights; encoder and head draw from separate streams, so the encoder is the same under any head.
        architecture: the file of models/ that defines `config`.
    """
    from bertie.formats._causal import decoder_only
    from bertie.formats._seq2seq import KIND, over
    from bertie.tasks._network import TaskModel

    if task.needs_decoder and not hasattr(config, "start_id"):
        architecture, config = KIND, over(config, tokenizer, task)
    architecture, config = decoder_only(architecture, config, task)
    encoder: Any = config.build()
    encoder.initialize(seed)
    head = task.head(encoder)
    initialize_head(head, encoder, seed=seed)
    return Bundle(TaskModel(encoder, head), task, tokenizer, config, architecture)


def initialize_head(head: torch.nn.Module, encoder: Any, *, seed: int, names: set[str] | None = None) -> list[str]:
    """Initialize a head's own parameters at random, and return their names.

    With `names`, only these are initialized. Parameters of the encoder, such as a tied output matrix, don't change.
    """
    import torch

    from bertie.nn.initialize import initialize

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
