"""The text of a model card that depends on the task."""

from __future__ import annotations

from dataclasses import dataclass

CLOZE = "It fills in [MASK] tokens and is meant to be fine-tuned; it does not generate text."
GENERATED = "Generated text may be incoherent or factually wrong."


@dataclass(frozen=True)
class CardText:
    """What the card of a model says about its task. The defaults suit any encoder."""

    title: str = ""
    """What the model is; if empty, the card says it with the task's name."""
    pipeline: str = ""
    """The hub's name for the task; empty if the hub has none."""
    loader: str = "AutoModel"
    """The class of transformers that loads the folder."""
    output: str = "last_hidden_state"
    """The attribute of that class's output that holds the predictions."""
    limits: tuple[str, ...] = ()
    """Sentences on what the model can't do."""
    item: str = "text"
    """The input of a prediction: text, masked text, pair, question or choices."""
