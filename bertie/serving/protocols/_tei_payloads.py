"""Private helper of `tei`: the payloads of text-embeddings-inference."""

from __future__ import annotations

from typing import Annotated, Any

from bertie.serving.protocols._payload import (
    STRINGS,
    Payload,
    Positive,
    Right,
    Strings,
    Texts,
    checked_by,
    shown,
    string_list,
)

Ids = list[int]
_IDS = {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1}
_ONE_OR_TWO = {**STRINGS, "maxItems": 2}
_BATCH = {"type": "array", "items": _ONE_OR_TWO, "minItems": 1}
_TEXT_OR_IDS = {"anyOf": [{"type": "string"}, _IDS]}


def is_ids(value: Any) -> bool:
    """Tell whether a value is a list of token ids, at least one."""
    return isinstance(value, list) and bool(value) and all(type(one) is int and one >= 0 for one in value)


def _inputs(value: Any) -> list[str | Ids]:
    """Return a text, a list of ids, or a list of such, as a list."""
    inputs = [value] if isinstance(value, str) or is_ids(value) else value
    if not isinstance(inputs, list) or not inputs:
        raise ValueError(f"must be a string, a list of token ids, or a list of such; got {shown(value)}")
    for number, one in enumerate(inputs):
        if not isinstance(one, str) and not is_ids(one):
            raise ValueError(f"number {number} must be a string or a list of token ids; got {shown(one)}")
    return inputs


def _lists_of_ids(value: Any) -> list[Ids]:
    """Return a list of ids, or a list of such lists, as a list of lists."""
    lists = [value] if is_ids(value) else value
    if not isinstance(lists, list) or not lists:
        raise ValueError(f"must be a list of token ids, or a list of such lists; got {shown(value)}")
    for number, one in enumerate(lists):
        if not is_ids(one):
            raise ValueError(f"number {number} must be a list of token ids; got {shown(one)}")
    return lists


def _predict_inputs(value: Any) -> tuple[bool, list[Any]]:
    """Return whether there are several items, and the items: strings, and tuples for pairs.

    A string is one text, and a list of strings one text or one pair. Several items are a list of such lists.
    """
    is_batch = isinstance(value, list) and bool(value) and isinstance(value[0], list)
    items = []
    for number, one in enumerate(value if is_batch else [value]):
        parts = [one] if isinstance(one, str) and not is_batch else one
        if not isinstance(parts, list) or len(parts) not in (1, 2):
            where = f"number {number} " if is_batch else ""
            raise ValueError(
                f"{where}must be a string, a pair [string, string], or a list of items [[string], [string, string]]; "
                f"got {shown(one)}"
            )
        string_list(parts)
        items.append(parts[0] if len(parts) == 1 else tuple(parts))
    return is_batch, items


class CutPayload(Payload):
    """The keys that say what happens to long texts."""

    truncate: bool | None = None
    """Whether to cut long texts. False: refuse them. None: the model's own rule."""
    truncation_direction: Right | None = None
    """The end at which a text is cut; bertie cuts at the right only."""

    def settings(self) -> dict[str, str]:
        """Return the task's settings."""
        return {} if self.truncate is None else {"truncation": "truncate" if self.truncate else "error"}


class EmbedAllPayload(CutPayload):
    """The payload of POST /embed_all."""

    inputs: Annotated[
        list[Any],
        *checked_by(
            _inputs, {"anyOf": [*_TEXT_OR_IDS["anyOf"], {"type": "array", "items": _TEXT_OR_IDS, "minItems": 1}]}
        ),
    ]
    prompt_name: None = None


class EmbedPayload(EmbedAllPayload):
    """The payload of POST /embed."""

    normalize: bool = True
    dimensions: Positive | None = None


class PredictPayload(CutPayload):
    """The payload of POST /predict."""

    inputs: Annotated[
        tuple[bool, list[Any]],
        *checked_by(_predict_inputs, {"anyOf": [{"type": "string"}, _ONE_OR_TWO, _BATCH]}),
    ]
    raw_scores: bool = False


class TeiRerankPayload(CutPayload):
    """The payload of POST /rerank."""

    query: str
    texts: Strings
    raw_scores: bool = False
    return_text: bool = False


class SimilarityInputs(Payload):
    """The texts of POST /similarity."""

    source_sentence: str
    sentences: Strings


class SimilarityParameters(CutPayload):
    """The settings of POST /similarity."""

    prompt_name: None = None


class SimilarityPayload(Payload):
    """The payload of POST /similarity."""

    inputs: SimilarityInputs
    parameters: SimilarityParameters | None = None


class TokenizePayload(Payload):
    """The payload of POST /tokenize."""

    inputs: Texts
    add_special_tokens: bool = True
    prompt_name: None = None


class DecodePayload(Payload):
    """The payload of POST /decode."""

    ids: Annotated[
        list[Ids], *checked_by(_lists_of_ids, {"anyOf": [_IDS, {"type": "array", "items": _IDS, "minItems": 1}]})
    ]
    skip_special_tokens: bool = True
