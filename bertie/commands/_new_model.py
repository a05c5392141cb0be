"""A model with random weights, described by `--model.architecture`, `--model.size` and the like."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from bertie import registry
from bertie.basic import Basic
from bertie.errors import SettingsError
from bertie.tokenizer.reading import load_tokenizer

if TYPE_CHECKING:
    from bertie.formats.format import Bundle
    from bertie.tasks.task import Task
    from bertie.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class ModelSettings:
    """A model with random weights."""

    architecture: str = "bert"
    """A file of bertie/models."""
    size: Basic[str | None] = None
    """A named size of the architecture (tiny, mini, small, base, ...), or layers/hidden such as 4/256."""
    num_heads: int | None = None
    """Attention heads of a layer; by default those of the size."""
    dropout: float | None = None
    """Dropout rate on embeddings and residual branches; by default that of the architecture."""
    attention_dropout: float | None = None
    """Dropout rate on attention weights; 0 by default. The paper uses 0.1, which fast GPU kernels don't support."""
    activation: Literal["gelu", "gelu_tanh"] | None = None
    """gelu (erf, as in Hugging Face) or gelu_tanh (as in the original code); by default that of the architecture."""
    max_positions: int | None = None
    """Longest sequence that the model can read; by default that of the architecture."""
    initializer_range: float | None = None
    """Standard deviation of random weights; by default that of the architecture (0.02 for BERT)."""
    start: str | None = None
    """Method that sets the first weights, a file of bertie/starts: paper (normal distribution) or neighbours (attention
    heads look at neighbouring tokens; word vectors and output bias come from counts). Default: neighbours for pretrain,
    paper for finetune."""


_SHAPE_FIELDS = tuple(
    field.name for field in fields(ModelSettings) if field.name not in ("architecture", "size", "start")
)


@dataclass(frozen=True)
class RandomStart:
    """The description of a model with random weights, before the weights are drawn."""

    settings: ModelSettings
    """Complete: the architecture's defaults are filled in, for the run's settings file."""
    shape: Any
    """The architecture's config."""
    tokenizer: "Tokenizer"
    """The tokenizer with the model's vocabulary."""

    @classmethod
    def of(cls, settings: ModelSettings, tokenizer: "Tokenizer") -> Self:
        """Look up the architecture and the size, and complete the settings.

        Raises:
            SettingsError: an unknown architecture or size, or a setting that the architecture doesn't have.
        """
        from bertie.models.model import architecture

        if settings.size is None:
            raise SettingsError("random weights need a --model.size, such as mini or 4/256")
        config_type = architecture(settings.architecture).config
        shape = config_type.sized(settings.size, vocab_size=tokenizer.vocab_size)
        known = {field.name for field in fields(shape)}
        given = {name: value for name in _SHAPE_FIELDS if (value := getattr(settings, name)) is not None}
        if unknown := sorted(given.keys() - known):
            raise SettingsError(f"{settings.architecture} has no --model.{unknown[0].replace('_', '-')}; leave it out")
        ids = {"pad_id": tokenizer.pad, "start_id": tokenizer.start, "end_id": tokenizer.separator}
        defaults = {name: value for name, value in {**ids, "attention_dropout": 0.0}.items() if name in known}
        shape = replace(shape, **defaults | given)
        complete = {name: getattr(shape, name) for name in _SHAPE_FIELDS if name in known}
        return cls(replace(settings, **complete), shape, tokenizer)

    def draw(self, task: "Task", *, seed: int) -> "Bundle":
        """Return the network with random weights and the task's head.

        Raises:
            SettingsError: the architecture has no head for the task.
        """
        from bertie.formats.format import new

        return new(self.shape, task, self.tokenizer, seed, architecture=self.settings.architecture)


def start_of(model: str | ModelSettings | None, tokenizer: Path | None) -> str | RandomStart:
    """Return a run's start: the folder or hub id of a pre-trained model, or random weights.

    Args:
        model: a folder, a hub id, or the settings of random weights.
        tokenizer: the tokenizer's folder for random weights; a pre-trained model has its own.

    Raises:
        SettingsError: no model is given, or the tokenizer doesn't go with it.
    """
    if model is None:
        raise SettingsError(
            "nothing to start from: give MODEL, a folder or hub id, or for random weights --model.size and --tokenizer"
        )
    if isinstance(model, str):
        if tokenizer is not None:
            raise SettingsError(
                f"{model} has a tokenizer of its own; give --tokenizer {tokenizer} only with --model.size"
            )
        return model
    if tokenizer is None:
        raise SettingsError("random weights need a vocabulary: give --tokenizer, a folder of train-tokenizer")
    if model.start is not None and registry.load("starts", model.start).READS_CORPUS:
        raise SettingsError(
            f"--model.start {model.start} takes its first weights from a prepared corpus, and finetune has none; leave "
            f"it out, or run bertie pretrain --model.start {model.start} first and give its model folder as MODEL"
        )
    return RandomStart.of(model, load_tokenizer(tokenizer))
