"""Say what the playground needs to know of a model: its panel, its languages, its size."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bertie.inference.attention import has_attention
from bertie.inference.network import parameters_of
from bertie.inference.predictor import Predictor
from bertie.readers.reading import learned
from bertie.tasks.task import Task
from bertie.tokenizer.tokenizer import Tokenizer

FOLDER = Path(__file__).parent / "playground"
"""The files of the page."""
PANELS = {
    "classification": "classes",
    "next_sentence": "classes",
    "regression": "number",
    "tagging": "spans",
    "span_classification": "spans",
    "question_answering": "answer",
    "multiple_choice": "choice",
    "embedding": "similarity",
    "generation": "writing",
    "causal_lm": "writing",
    "replaced_token": "replaced",
}
"""The panel of the page for each task. Tasks that fill masks have the panel "fill", all others have none."""
_SCRIPTS = {"en": re.compile("[A-Za-z]{2}"), "zh": re.compile("[\u4e00-\u9fff]")}
# Words of a language that the model knows. Vocabularies of English text have some hundred Chinese characters too.
_MANY, _SHARE = 1000, 0.2


def described(name: str, predictor: Predictor[Any]) -> dict[str, Any]:
    """Return what the page needs to know of a model.

    Args:
        name: of the model, for readers.
        predictor: the model.
    """
    task, tokenizer = predictor.task, predictor.tokenizer
    model: Any = predictor.bundle.model
    config = getattr(getattr(model, "encoder", None), "config", None)
    return {
        "name": name,
        "task": task.name,
        "panel": panel_of(task),
        "labels": list(getattr(task, "labels", ())),
        "several": bool(getattr(task, "multi_label", False)),
        "pairs": _takes_pairs(task, predictor.bundle.extra),
        "languages": languages_of(tokenizer),
        "mask": tokenizer.tokens[tokenizer.mask],
        "vocabulary": tokenizer.vocab_size,
        "parameters": sum(value.numel() for value in parameters_of(model)) or None,
        "layers": getattr(config, "num_layers", None),
        "max_length": getattr(task, "max_length", None),
        "attention": has_attention(predictor),
    }


def _takes_pairs(task: Task, extra: Mapping[str, Any]) -> bool | None:
    """Tell whether a model has learned pairs of texts; None if it doesn't say."""
    reading = learned(extra)
    if task.name == "next_sentence" or reading is None:
        return task.name == "next_sentence" or None
    return "pair" in reading.columns


def panel_of(task: Task) -> str:
    """Return the panel of the page for a task; empty for one whose predictions the page can't draw."""
    return "fill" if task.fills_masks else PANELS.get(task.name, "")


def languages_of(tokenizer: Tokenizer) -> list[str]:
    """Return the languages of the page in which a vocabulary has words, the one with most of its words first."""
    words = [token for token in tokenizer.shown if token]
    counts = {language: sum(bool(script.search(token)) for token in words) for language, script in _SCRIPTS.items()}
    known = [language for language, count in counts.items() if count >= min(_MANY, _SHARE * len(words))]
    return sorted(known, key=lambda language: -counts[language])
