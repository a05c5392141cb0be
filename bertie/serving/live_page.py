"""Put a small masked language model into one HTML file that computes: `bertie show MODEL --live`.

The page holds the vocabulary, the weights and, if the run kept checkpoints, the weights at some of its steps. Its
JavaScript (`serving/live`) cuts texts into pieces, runs the encoder and explains every number. It loads nothing,
and its security policy allows only the script and the style sheet that it holds. A model's text is shown as text nodes.

`live_weights.py` stores the weights, rounded. What the rounding changes is measured on some sentences.

Shapes: V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bertie.errors import DataError, SettingsError
from bertie.inference.attention import attention_of, tokens_of
from bertie.inference.predictor import Predictor
from bertie.nn.heads import TokenLogits
from bertie.serving.live_weights import MAX_BYTES, Grade, Shapes, fitting, round_weights, thinned
from bertie.serving.live_weights import stage as packed_stage
from bertie.serving.page_models import FOLDER, described
from bertie.serving.standalone import one_file

MAX_TOKENS = 48
"""Tokens of the longest text that the page takes."""
_SPARE = 10_000  # bytes for what surrounds the weights of each step
_LIVE = Path(__file__).parent / "live"
_PACKAGE = Path(__file__).parents[1]
_SCRIPTS = (
    *(FOLDER / f"{name}.js" for name in ("dom", "words", "attention", "frame", "panels")),
    *(
        _LIVE / f"{name}.js"
        for name in ("wordpiece", "encoder", "weights", "words_live", "formulas", "learning", "live")
    ),
)
_TEXTS = {
    "en": ("The president of the United {} met the prime {} of Japan.", "She opened the {} and walked into the room."),
    "zh": ("北京是中国的{}都，也是全国的政治中心。", "今天天气很{}，我们去公园散步。"),
}
_LINES = {
    "score": ("ops/attention/attend.py", "scores = q @ k.transpose(1, 2)"),
    "weight": ("ops/attention/attend.py", "weights.append(scores.softmax(-1))"),
    "project": ("nn/block.py", "query, key, value = self.qkv(hidden)"),
    "transform": ("nn/heads.py", "transformed = self.norm(self.activation(self.dense("),
    "logit": ("nn/logits.py", "return linear(self.hidden, self.weight, self.bias)"),
    "probability": ("tasks/masked_lm.py", "scores = softmax(logit_table(outputs, some))"),
    "summed": ("nn/embeddings.py", "summed = summed + self.position(rows)"),
    "embedded": ("nn/embeddings.py", "embedded: Tensor = self.dropout(self.norm(summed), noise)"),
    "fed": ("nn/block.py", "return add_and_normalise(hidden, narrowed, self.feedforward_norm"),
}
"""The lines of Python that the page shows: file and beginning."""


@dataclass(frozen=True, eq=False)
class Stage:
    """The weights of a run at one of its steps."""

    step: int
    state: Mapping[str, Tensor]
    """By name, as in the network's state dict."""


@dataclass(frozen=True, eq=False)
class LivePage:
    """A page, and what was rounded for it."""

    content: str
    bits: list[int]
    """Bits of each of the finished model's weights: in queries, keys, values and positions, and elsewhere."""
    guess_difference: float
    """Largest difference of a probability between the page's weights and the model's, on some sentences."""
    attention_difference: float
    """That of an attention weight."""
    steps: tuple[int, ...]
    """Steps of the checkpoints that it holds."""
    stage_bits: list[int] | None
    """Bits of each of their weights, likewise; None without checkpoints."""


def live_page(
    predictor: Predictor[Any],
    name: str,
    *,
    stages: Sequence[Stage] = (),
    last_step: int | None = None,
    curve: Sequence[tuple[int, float]] = (),
) -> LivePage:
    """Return the page of a model.

    Args:
        predictor: the model.
        name: of the model, for readers.
        stages: checkpoints of its run, oldest first; as many as fit are kept, spread evenly.
        last_step: number of updates of the finished model, if known.
        curve: the run's loss at some steps.

    Raises:
        SettingsError: the page can't compute such a model, or the model is too large.
        DataError: a weight is not a finite number.
    """
    check(predictor, name)
    model: Any = predictor.bundle.model
    shapes, final = _tensors(model.state_dict(), predictor)
    data: dict[str, Any] = {
        "model": described(name, predictor),
        "config": _config(predictor),
        "tokenizer": _tokenizer(predictor),
        "shapes": shapes,
        "stages": [],
        "curve": [list(point) for point in curve],
        "differences": [0.0, 0.0],
        "lines": {key: _line(*place) for key, place in _LINES.items()},
    }
    room = MAX_BYTES - _SPARE - len(_page(data).encode())
    grade, packed = fitting(final, shapes, room, has_stages=bool(stages), name=name)
    chosen: list[dict[str, Any]] = []
    if stages:
        chosen = thinned(
            [stage.step for stage in stages],
            lambda place: _arrays(stages[place], shapes, predictor),
            shapes,
            room - len(packed),
            last_step or 0,
        )
    last = packed_stage(last_step, packed, grade)
    guesses, attention = _differences(predictor, grade)
    content = _page({**data, "stages": [*chosen, last], "differences": [guesses, attention]})
    steps = tuple(stage["step"] for stage in chosen)
    return LivePage(content, last["bits"], guesses, attention, steps, chosen[0]["bits"] if steps else None)


def check(predictor: Predictor[Any], name: str) -> None:
    """Check that the page can compute a model.

    Raises:
        SettingsError: it can't; the message says why.
    """
    model: Any = predictor.bundle.model
    encoder, kind = getattr(model, "encoder", None), predictor.bundle.architecture
    if encoder is None or not hasattr(encoder, "blocks"):
        raise SettingsError(f"{name} is an exported model; give the folder that it was exported from")
    if kind != "bert":
        raise SettingsError(
            f"{name} is a model of the architecture {kind}; the live page computes BERT alone: learned positions, a "
            "LayerNorm after each part. --attention shows where other models look"
        )
    if not predictor.task.fills_masks or type(getattr(model.head, "token_logits", None)) is not TokenLogits:
        raise SettingsError(
            f"{name} is a model for {predictor.task.name}, which guesses no hidden words; give a masked "
            "language model, such as one that bertie pretrain made. --attention shows where other models look"
        )
    if not predictor.tokenizer.is_plain:
        raise SettingsError(
            f"{name} has another tokenizer than BERT's WordPiece, or one with added rules; the live page has BERT's "
            "alone. --attention shows how it reads a text"
        )


def _config(predictor: Predictor[Any]) -> dict[str, Any]:
    config: Any = predictor.bundle.config
    return {
        "layers": config.num_layers,
        "heads": config.num_heads,
        "epsilon": config.layer_norm_eps,
        "activation": config.activation,
        "length": _length(predictor),
    }


def _length(predictor: Predictor[Any]) -> int:
    config: Any = predictor.bundle.config
    return min(MAX_TOKENS, int(config.max_positions), int(getattr(predictor.task, "max_length", MAX_TOKENS)))


def _tokenizer(predictor: Predictor[Any]) -> dict[str, Any]:
    tokenizer = predictor.tokenizer
    rules = tokenizer.settings
    strips = rules["strip_accents"]
    return {
        "tokens": tokenizer.tokens,
        "rules": {
            "lowercase": rules["lowercase"],
            "accents": rules["lowercase"] if strips is None else strips,
            "han": rules["handle_chinese_chars"],
        },
        "specials": list(tokenizer.special_ids),
        "unknown": tokenizer.unknown,
        "start": tokenizer.start,
        "separator": tokenizer.separator,
        "mask": tokenizer.mask,
    }


def _page(data: Mapping[str, Any]) -> str:
    return one_file(_SCRIPTS, [FOLDER / "style.css", _LIVE / "live.css"], data)


def _tensors(state: Mapping[str, Tensor], predictor: Predictor[Any]) -> tuple[Shapes, list[NDArray[Any]]]:
    """Return the tensors that the page needs, and before them their names and sizes."""
    model: Any = predictor.bundle.model
    config: Any = predictor.bundle.config
    wanted = [key for key in model.encoder.state_dict() if not key.startswith("embeddings.segment")]
    parts = {key: state[f"encoder.{key}"] for key in wanted}
    parts["embeddings.position.weight"] = parts["embeddings.position.weight"][: _length(predictor)]
    segments = state.get("encoder.embeddings.segment.weight")
    parts["embeddings.segment.weight"] = torch.zeros(config.hidden_size) if segments is None else segments[0]
    head = ("dense.weight", "dense.bias", "norm.weight", "norm.bias", "bias", *(() if config.tied else ("embedding",)))
    parts |= {f"head.{key}": state[f"head.token_logits.{key}"] for key in head}
    arrays = [value.detach().float().cpu().numpy() for value in parts.values()]
    if not all(np.isfinite(array).all() for array in arrays):
        raise DataError("a weight of the model is not a finite number, so it can't be shown")
    return [[key, *array.shape] for key, array in zip(parts, arrays, strict=True)], arrays


def _arrays(stage: Stage, shapes: Shapes, predictor: Predictor[Any]) -> list[NDArray[Any]]:
    """Return the tensors of a checkpoint.

    Raises:
        DataError: they are not those of the model.
    """
    try:
        found, arrays = _tensors(stage.state, predictor)
    except KeyError as error:
        raise DataError(f"the checkpoint of step {stage.step} has no {error}, which the model has") from error
    if found != shapes:
        raise DataError(f"the checkpoint of step {stage.step} has tensors of other sizes than the model")
    return arrays


def _differences(predictor: Predictor[Any], grade: Grade) -> tuple[float, float]:
    """Return how much the rounding changes probabilities and attention weights at most, on some sentences."""
    bundle = predictor.bundle
    model = copy.deepcopy(bundle.model)
    round_weights(model, grade)
    rounded = Predictor(replace(bundle, model=model))
    mask = predictor.tokenizer.tokens[predictor.tokenizer.mask]
    texts = [text.replace("{}", mask) for language in _TEXTS.values() for text in language]
    length = _length(predictor)
    guesses = attention = 0.0
    for text in texts:
        batch = tokens_of(predictor.tokenizer, text, max_length=length).batch
        both = [attention_of(one, batch) for one in (predictor, rounded)]
        attention = max(attention, float((both[0] - both[1]).abs().max()))
        chances = [_probabilities(one, text) for one in (predictor, rounded)]
        guesses = max(guesses, float((chances[0] - chances[1]).abs().max()))
    return guesses, attention


def _probabilities(predictor: Predictor[Any], text: str) -> Tensor:
    """Return the probabilities of all tokens at the first mask of a text, (V,)."""
    model: Any = predictor.bundle.model
    shown = tokens_of(predictor.tokenizer, text, max_length=_length(predictor))
    place = [token.id for token in shown.tokens].index(predictor.tokenizer.mask)
    with torch.inference_mode():
        hidden = model.encoder(shown.batch.to(predictor.device))
        logits: Tensor = model.head.token_logits(hidden[place : place + 1]).materialise()
    return logits[0].float().softmax(-1).cpu()


def _line(file: str, start: str) -> dict[str, Any]:
    """Return a line of bertie's own code by its beginning: its place and text."""
    lines = (_PACKAGE / file).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if line.strip().startswith(start):
            return {"place": f"bertie/{file}:{number}", "code": line.strip()}
    raise AssertionError(f"{file} has no line that starts with {start}")
