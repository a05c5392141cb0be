"""A model of random weights, as `--model.architecture`, `--model.size` and their siblings describe it; no command."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from bertie import registry
from bertie.errors import SettingsError

if TYPE_CHECKING:
    from bertie.formats.format import Bundle
    from bertie.tasks.task import Task
    from bertie.tokenizer.tokenizer import Tokenizer


@dataclass(frozen=True)
class ModelSettings:
    """The model to start from random weights."""

    architecture: str = "bert"
    """A file of bertie/models."""
    size: str | None = None
    """A named size of the architecture (tiny, mini, small, base, ...), or layers/hidden such as 4/256."""
    num_heads: int | None = None
    """Attention heads of a layer; the size's own when not given."""
    dropout: float | None = None
    """Rate on embeddings and residual branches; the architecture's own when not given."""
    attention_dropout: float | None = None
    """Rate on attention weights; 0 when not given. The paper has 0.1, which fast GPU kernels refuse."""
    activation: Literal["gelu", "gelu_tanh"] | None = None
    """gelu (erf, as Hugging Face) or gelu_tanh (as the original code); the architecture's own when not given."""
    max_positions: int | None = None
    """Longest sequence the model will ever take; the architecture's own when not given."""
    initializer_range: float | None = None
    """Standard deviation of the first weights; the architecture's own (0.02 for BERT) when not given."""
    start: str | None = None
    """Where the weights begin, a file of bertie/starts: paper (normal draws) or neighbours (heads look at the tokens
    beside them, word vectors and output bias are those of counts). Not given: neighbours, in finetune paper."""


_CHOICES = tuple(field.name for field in fields(ModelSettings) if field.name not in ("architecture", "size", "start"))


@dataclass(frozen=True)
class RandomStart:
    """A model of random weights that is not yet made."""

    settings: ModelSettings
    """With everything said that the architecture has a say in, for the run's settings file."""
    shape: Any
    """The architecture's config."""
    tokenizer: "Tokenizer"
    """Its vocabulary is the model's."""

    @classmethod
    def of(cls, settings: ModelSettings, tokenizer: "Tokenizer") -> Self:
        """Look up architecture and size.

        Raises:
            SettingsError: there is none of that name, or a setting that this architecture doesn't have.
        """
        from bertie.models.model import architecture

        if settings.size is None:
            raise SettingsError("random weights need a --model.size, such as mini or 4/256")
        kind = architecture(settings.architecture).config
        shape = kind.sized(settings.size, vocab_size=tokenizer.vocab_size)
        known = {field.name for field in fields(shape)}
        said = {name: value for name in _CHOICES if (value := getattr(settings, name)) is not None}
        if strange := sorted(said.keys() - known):
            raise SettingsError(f"{settings.architecture} has no --model.{strange[0].replace('_', '-')}; leave it out")
        ids = {"pad_id": tokenizer.pad, "start_id": tokenizer.start, "end_id": tokenizer.separator}
        own = {name: value for name, value in {**ids, "attention_dropout": 0.0}.items() if name in known}
        shape = replace(shape, **own | said)
        whole = {name: getattr(shape, name) for name in _CHOICES if name in known}
        return cls(replace(settings, **whole), shape, tokenizer)

    def draw(self, task: "Task", *, seed: int) -> "Bundle":
        """Make the network, under the task's head.

        Raises:
            SettingsError: this architecture has no head for this task.
        """
        from bertie.formats.format import new

        return new(self.shape, task, self.tokenizer, seed, architecture=self.settings.architecture)


def start_of(model: str | ModelSettings | None, tokenizer: Path | None) -> str | RandomStart:
    """Tell which of the two starts was given: a pre-trained model's folder or hub id, or random weights.

    Args:
        model: what was given to start from.
        tokenizer: what was given beside it; a pre-trained model has its own.

    Raises:
        SettingsError: nothing was given, or one without the other.
    """
    from bertie.tokenizer.tokenizer import Tokenizer

    if model is None:
        raise SettingsError(
            "nothing to start from: give MODEL, a folder or hub id, or for random weights --model.size and --tokenizer"
        )
    if isinstance(model, str):
        if tokenizer is not None:
            raise SettingsError(f"{model} has a tokenizer of its own; --tokenizer {tokenizer} goes with --model.size")
        return model
    if tokenizer is None:
        raise SettingsError("random weights need a vocabulary: give --tokenizer, a folder that train-tokenizer made")
    if model.start is not None and registry.load("starts", model.start).READS_CORPUS:
        raise SettingsError(
            f"--model.start {model.start} takes its first weights from a prepared corpus, and finetune has none; leave "
            f"it out, or run bertie pretrain --model.start {model.start} first and give its folder as MODEL"
        )
    return RandomStart.of(model, Tokenizer.load(tokenizer))
