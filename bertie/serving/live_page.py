"""Put a small masked language model into one HTML file that computes: `bertie show MODEL --live`.

The page holds the vocabulary, the weights and, if the run kept checkpoints, the weights at some of its steps. Its
JavaScript (`serving/live`) cuts texts into pieces, runs the encoder and explains every number. The page loads nothing;
its security policy allows only the script and the style sheet that it holds. All text of a model is shown as text nodes.

Weights are stored as whole numbers with one scale for each row of a matrix. The finest numbers that fit are chosen, and
what the rounding changes is measured on some sentences.

Shapes: V vocabulary, H hidden, R rows of a matrix, C columns.
"""

from __future__ import annotations

import base64
import copy
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import bertie
from bertie.errors import DataError, SettingsError
from bertie.inference.attention import attention_of, tokens_of
from bertie.inference.predictor import Predictor
from bertie.nn.heads import TokenLogits
from bertie.serving.page_models import FOLDER, described
from bertie.serving.standalone import one_file

MAX_BYTES = 5_000_000
"""A page is smaller than this."""
MAX_TOKENS = 48
"""Tokens of the longest text that the page takes."""
MAX_STAGES = 12
"""Checkpoints that the page shows at most, the finished model not counted."""
_ROOM = MAX_BYTES - 200_000  # without scripts, styles and what is small
_LIVE = Path(__file__).parent / "live"
_SCRIPTS = (
    *(FOLDER / f"{name}.js" for name in ("dom", "words", "attention", "frame", "panels")),
    *(_LIVE / f"{name}.js" for name in ("wordpiece", "encoder", "weights", "words_live", "formulas", "learning", "live")),
)
Shapes = list[list[Any]]
"""Name and sizes of each tensor of the page."""
Grade = tuple[int, int]
"""Largest whole number of a row in queries, keys, values and positions, and in other matrices. Heads that look sharply
at a neighbour multiply an error, so theirs are finer."""
_FINE: tuple[Grade, ...] = ((32767, 32767), (32767, 2047), (2047, 127), (127, 127), (127, 63))
"""Grades from which that of the finished model is chosen, the finest first."""
_COARSE: tuple[Grade, ...] = ((2047, 127), (2047, 63), (2047, 31))
"""Those of the checkpoints before it."""
_SHARP = (".attention.qkv.weight", "embeddings.position.weight")
_BYTE = 127  # larger numbers take two bytes
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
    room = _ROOM - _vocabulary_bytes(predictor)
    grade, packed = _fitting(final, shapes, room, has_stages=bool(stages), name=name)
    chosen, stage_bits = _chosen(stages, shapes, room - len(packed), predictor, last_step)
    guesses, attention = _differences(predictor, grade)
    last = _stage(last_step, packed, grade)
    bits = last["bits"]
    data = {
        "model": described(name, predictor),
        "config": _config(predictor),
        "tokenizer": _tokenizer(predictor),
        "shapes": shapes,
        "stages": [*chosen, last],
        "curve": [list(point) for point in curve],
        "differences": [guesses, attention],
        "lines": {key: _line(*place) for key, place in _LINES.items()},
    }
    content = one_file(_SCRIPTS, [FOLDER / "style.css", _LIVE / "live.css"], data)
    if len(content.encode()) >= MAX_BYTES:
        raise SettingsError(f"{name} is too large for a page of {MAX_BYTES / 1e6:.0f} MB; show a smaller model")
    steps = tuple(stage["step"] for stage in chosen)
    return LivePage(content, bits, guesses, attention, steps, stage_bits)


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
            f"{name} is a model for {predictor.task.name}, which guesses no hidden words; give a masked language model, "
            "such as one that bertie pretrain made. --attention shows where other models look"
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
    return min(MAX_TOKENS, config.max_positions, getattr(predictor.task, "max_length", MAX_TOKENS))


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


def _vocabulary_bytes(predictor: Predictor[Any]) -> int:
    return sum(4 + 6 * len(token) for token in predictor.tokenizer.tokens)  # a character takes up to six in JSON


def _tensors(state: Mapping[str, Tensor], predictor: Predictor[Any]) -> tuple[Shapes, list[NDArray[Any]]]:
    """Return names and shapes of the tensors that the page needs, and the tensors in that order."""
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


def _rounded(matrix: NDArray[Any], levels: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return a scale for each row, (R,), and whole numbers from -levels to levels, (R, C)."""
    scales = (np.abs(matrix).max(1) / levels).astype("<f4")
    return scales, np.rint(matrix / np.where(scales > 0, scales, 1)[:, None]).clip(-levels, levels).astype("<i2")


def _level(name: str, grade: Grade) -> int:
    return grade[0] if name.endswith(_SHARP) else grade[1]


def _bits(grade: Grade) -> list[int]:
    return [(2 * level + 1).bit_length() for level in grade]


def _pack(arrays: Sequence[NDArray[Any]], shapes: Shapes, grade: Grade) -> str:
    """Return all tensors as text; see `serving/live/weights.js`."""
    parts: list[bytes] = []
    for (name, *_), array in zip(shapes, arrays, strict=True):
        if array.ndim == 1:
            parts.append(array.astype("<f4").tobytes())
            continue
        level = _level(name, grade)
        scales, whole = _rounded(array, level)
        parts.append(scales.tobytes())
        if level > _BYTE:
            parts += [(whole >> 8).astype("i1").tobytes(), (whole & 255).astype("u1").tobytes()]
        else:
            parts.append(whole.astype("i1").tobytes())
    return base64.b64encode(zlib.compress(b"".join(parts), 9)).decode()


def _stage(step: int | None, packed: str, grade: Grade) -> dict[str, Any]:
    """Return what the page holds of the model at a step."""
    wide = [level > _BYTE for level in grade]
    return {"step": step, "bytes": packed, "bits": _bits(grade), "wide": wide}


def _fitting(
    arrays: Sequence[NDArray[Any]], shapes: Shapes, room: int, *, has_stages: bool, name: str
) -> tuple[Grade, str]:
    """Return the finest grade with which the finished model fits, and its packed tensors.

    Raises:
        SettingsError: it doesn't fit.
    """
    numbers = sum(array.size for array in arrays)
    for part, grades in ((0.6, _FINE[1:2]), (1.0, _FINE[1:])) if has_stages else ((1.0, _FINE),):
        for grade in grades:
            if numbers * _bits(grade)[1] / 8 <= 1.2 * part * room:  # packing a far too large model would take long
                packed = _pack(arrays, shapes, grade)
                if len(packed) <= part * room:
                    return grade, packed
    raise SettingsError(
        f"{name} has {numbers / 1e6:.1f} million weights, too many for a page of {MAX_BYTES / 1e6:.0f} MB, which holds "
        "about 4 million; show a smaller model. --attention shows where a large one looks"
    )


def _chosen(
    stages: Sequence[Stage], shapes: Shapes, room: int, predictor: Predictor[Any], last_step: int | None
) -> tuple[list[dict[str, Any]], list[int] | None]:
    """Return the checkpoints that fit, packed, and the bits of their weights.

    Their steps are spread evenly on a logarithmic scale, because a model learns most in the beginning. The finest grade
    is taken with which all fit; with the coarsest, fewer are kept.
    """
    if not stages:
        return [], None
    sample = _tensors(stages[-1].state, predictor)
    if sample[0] != shapes:
        raise DataError(f"the checkpoint of step {stages[-1].step} has other tensors than the model")
    count, grade = 0, _COARSE[-1]
    for grade in _COARSE:
        count = min(len(stages), MAX_STAGES, int(room / (1.05 * len(_pack(sample[1], shapes, grade)))))
        if count == min(len(stages), MAX_STAGES):
            break
    steps = [stage.step for stage in stages]
    wanted = np.geomspace(max(1, steps[0]), last_step or steps[-1] + 1, count + 1)[:-1] if count else []
    kept = sorted({int(np.abs(np.asarray(steps) - step).argmin()) for step in wanted})
    packed = [
        _stage(steps[place], _pack(_tensors(stages[place].state, predictor)[1], shapes, grade), grade)
        for place in kept
    ]
    while packed and sum(len(stage["bytes"]) for stage in packed) > room:
        packed.pop()
    return packed, _bits(grade) if packed else None


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
        logits = model.head.token_logits(hidden[place : place + 1]).materialise()
    return logits[0].float().softmax(-1).cpu()


def round_weights(model: Any, grade: Grade) -> None:
    """Round the matrices of a network as the page stores them, in place."""
    segments = getattr(model.encoder.embeddings.segment, "weight", None)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim == 2 and value is not segments:
                scales, whole = _rounded(value.float().cpu().numpy(), _level(name, grade))
                value.copy_(torch.from_numpy(whole * scales[:, None]))


def _line(file: str, start: str) -> dict[str, Any]:
    """Return a line of bertie's own code by its beginning: its place and text."""
    lines = (Path(bertie.__file__).parent / file).read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        if line.strip().startswith(start):
            return {"place": f"bertie/{file}:{number}", "code": line.strip()}
    raise AssertionError(f"{file} has no line that starts with {start}")
