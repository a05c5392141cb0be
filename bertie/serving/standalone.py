"""Put the attention explorer of the playground into one HTML file, for one text: `bertie show MODEL --attention`.

The page is made of the playground's own files. It loads nothing, and its security policy allows only the script and the
style sheet that it holds. Text is in it as JSON, and is shown as text nodes only.

Shapes: L layers, N heads, S tokens of the text.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from bertie.errors import BertieError, SettingsError
from bertie.inference.attention import ShownTokens, attention_of, has_attention, tokens_of
from bertie.inference.predictor import Predictor
from bertie.items.question import Question
from bertie.items.text import Text
from bertie.nn.block import SelfAttention
from bertie.serving.page_models import FOLDER, described
from bertie.tasks._prediction import plain

MAX_TOKENS = 128
"""Tokens that the page shows at most, so that it stays readable."""
MAX_WEIGHTS = 1_700_000 // 2 * 3 // 4
"""Weights that the page holds at most: two bytes each, as base64, are less than 1.7 MB."""
_SCRIPTS = ("dom", "words", "attention", "frame", "panels", "explorer")
"""Each file imports only from those before it."""
_IMPORT = re.compile(r'^import (\{[^}]*\}) from "\.{1,2}/(?:playground/)?(\w+)\.js";', re.MULTILINE)
_EXPORT = re.compile(r"^export (?:(?:async )?function|const) (\w+)", re.MULTILINE)
_GENERATOR = '<meta name="generator" content="bertie">'
_ALONE, _ALONE_OR_PAIR = {"fill", "spans", "replaced", "writing"}, {"classes", "number"}
"""Panels that draw a prediction for one text, and for a text or a pair."""


@dataclass(frozen=True, eq=False)
class Explored:
    """How a model reads a text."""

    model: dict[str, Any]
    """What the page says of the model."""
    text: str
    pair: str | None
    shown: ShownTokens
    weights: Tensor
    """(L, N, S, S) in fp32."""
    prediction: Any
    """The prediction as JSON can hold it; None if a page for one text can't show the task's."""
    values: dict[str, str]
    """The text by the names of the panel's fields."""


def explore(predictor: Predictor[Any], name: str, text: str, pair: str | None = None) -> Explored:
    """Compute all that the page shows.

    Args:
        predictor: the model.
        name: of the model, for readers.
        text: the text. Pieces beyond what the page can show are left out, see `ShownTokens.cut`.
        pair: the second text of a pair.

    Raises:
        SettingsError: the model was exported, so its attention can't be seen.
        DataError: a text has a lone surrogate.
    """
    if not has_attention(predictor):
        raise SettingsError(
            f"{name} is an exported model, whose attention can't be seen; give the folder that it was exported from"
        )
    encoder: Any = predictor.bundle.model.encoder
    heads = encoder.config.num_layers * max(
        part.num_heads for part in encoder.modules() if isinstance(part, SelfAttention)
    )
    length = min(MAX_TOKENS, math.isqrt(MAX_WEIGHTS // heads), getattr(predictor.task, "max_length", MAX_TOKENS))
    shown = tokens_of(predictor.tokenizer, text, pair, max_length=length)
    weights = attention_of(predictor, shown.batch)
    model = described(name, predictor)
    prediction, values = _prediction(predictor, model["panel"], text, pair)
    return Explored(model, text, pair, shown, weights, prediction, values)


def _prediction(predictor: Predictor[Any], panel: str, text: str, pair: str | None) -> tuple[Any, dict[str, str]]:
    """Return the prediction of a panel and the values of its fields; None if there is nothing that it can draw."""
    item: Any = Text(text, pair)
    values = {"text": text, "pair": pair or ""}
    if panel == "answer" and pair is not None:
        item, values = Question(text, pair), {"question": text, "context": pair}
    elif panel not in _ALONE_OR_PAIR and not (panel in _ALONE and pair is None):
        return None, values
    try:
        return plain(predictor.predict([item])[0]), values
    except BertieError:  # such as a text without a mask: the page then shows how the model reads it
        return None, values


def page(explored: Explored) -> str:
    """Return the page."""
    return one_file([FOLDER / f"{name}.js" for name in _SCRIPTS], [FOLDER / "style.css"], _data(explored))


def one_file(scripts: Sequence[Path], styles: Sequence[Path], data: Mapping[str, Any]) -> str:
    """Return a page in one file, which loads nothing.

    Args:
        scripts: files of JavaScript; each imports only from those before it.
        styles: style sheets, in order.
        data: what JSON can hold; the page's scripts find it in the element "shown".
    """
    style = "".join(path.read_text(encoding="utf-8") for path in styles)
    names = [path.stem for path in scripts]
    script = "\n".join(
        _as_scope(path.stem, path.read_text(encoding="utf-8"), names[:number]) for number, path in enumerate(scripts)
    )
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    icon = base64.b64encode((FOLDER / "icon.svg").read_bytes()).decode()
    parts = {
        '<meta charset="utf-8">': f'<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" '
        f'content="{policy}">\n{_GENERATOR}',
        "playground/icon.svg": f"data:image/svg+xml;base64,{icon}",
        '<link rel="stylesheet" href="playground/style.css">': f"<style>{style}</style>",
        '<script type="module" src="playground/app.js"></script>\n': "",
        "</body>": f'<script type="application/json" id="shown">{_as_json(data)}</script>\n'
        f'<script type="module">{script}</script>\n</body>',
        "<title>bertie playground</title>": "<title>bertie</title>",
        ">playground</span>": "></span>",
    }
    shell = (FOLDER / "index.html").read_text(encoding="utf-8")
    for old, new in parts.items():
        if shell.count(old) != 1:
            raise AssertionError(f"index.html must have {old} once")
        shell = shell.replace(old, new)
    return shell


def is_page(start: str) -> bool:
    """Tell by the first characters of a file whether `page` made it."""
    return _GENERATOR in start


def _as_scope(name: str, module: str, before: Sequence[str]) -> str:
    """Return a module as a constant of its name, which holds what the module exports, for a page with all modules."""
    if strangers := [other for _, other in _IMPORT.findall(module) if other not in before]:
        raise AssertionError(f"{name}.js imports {strangers[0]}.js, which the page doesn't hold before it")
    exported = ", ".join(_EXPORT.findall(module))
    body = re.sub(r"^export ", "", _IMPORT.sub(r"const \1 = \2;", module), flags=re.MULTILINE)
    return f"const {name} = (() => {{\n{body.strip()}\nreturn {{ {exported} }};\n}})();"


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _data(explored: Explored) -> dict[str, Any]:
    weights = explored.weights.double().numpy()
    shares = np.rint(weights * 65535).astype("<u2")
    return {
        "model": explored.model,
        "text": explored.text,
        "pair": explored.pair,
        "values": explored.values,
        "prediction": explored.prediction,
        "tokens": [vars(token) for token in explored.shown.tokens],
        "cut": explored.shown.cut,
        "weights": {"shape": list(shares.shape[:3]), "shares": base64.b64encode(shares.tobytes()).decode()},
    }


def _as_json(data: Mapping[str, Any]) -> str:
    """Return JSON without a character that could end the script element which holds it."""
    text = json.dumps(data, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
